"""What was said, as an output of its own below the widget: what is left when the widget is not.

Strategy: a saved notebook, a page made of it, a reopened one have no widget, and to change a widget's own
output would build the page anew under the reader's hands. So the transcript is a second output with a name of
its own, folded up, which is updated where it stands, once a turn and from whatever thread. A turn that was
written is kept as it is written; a long one is plain text, and of one that is very long only the beginning.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from bedrock_nb import render
from bedrock_nb.conversation import transcript
from bedrock_nb.conversation.history import Exchange
from bedrock_nb.message import Message

__all__ = ["BEGINNING", "DRESSED", "LONGEST", "Transcript"]

#: Most characters of a turn's text that stands there with headings, tables and formulas; more is plain text:
#: JupyterLab reads the whole output at each update, for headings to list and for maths to typeset.
DRESSED = 15_000
#: Most characters of a turn, pictures among them. Of a longer one the beginning stays.
LONGEST, BEGINNING = 600_000, 20_000
_CUT = "This turn is too long to stand here whole: panel.export('talk.html') has it."


class _Written(NamedTuple):
    """A turn in both forms, and what they were made of."""

    exchange: Exchange
    facts: tuple[object, ...]
    html: str
    plain: str


class Transcript:
    """The output that shows it, once it was displayed.

    Parameters
    ----------
    note : function
        A line under a turn. Called once for a turn that is over, and anew if it has lost recordings.
    """

    def __init__(self, note: Callable[[Exchange], str] = lambda _: "") -> None:
        self._note = note
        self._name: str | None = None
        self._has: dict[str, str] | None = None
        self._written: list[_Written] = []

    @property
    def displayed(self) -> bool:
        """Whether there is such an output."""
        return self._name is not None

    def bundle(self, exchanges: Sequence[Exchange]) -> dict[str, str]:
        """All turns of a conversation, in both forms that an output has.

        Parameters
        ----------
        exchanges : sequence of Exchange

        Returns
        -------
        dict
            ``text/html``: a `details` element, closed. ``text/plain``: the same, safe to print.
        """
        before: list[Message] = []
        written: list[_Written] = []
        for number, exchange in enumerate(exchanges):
            facts = _facts(exchange)
            known = next(iter(self._written[number : number + 1]), None)
            if not facts or known is None or known.exchange is not exchange or known.facts != facts:
                known = _Written(exchange, facts, *_forms(number, exchange, self._note(exchange), before))
            written.append(known)
            before = exchange.messages
        self._written = written
        title = f"Transcript, {len(exchanges)} turn{'s' * (len(exchanges) != 1)}"
        said = render.together(*(each.html for each in written))
        return {
            "text/html": f'<details class="mathjax_ignore"><summary>{title}</summary>{said}</details>',
            "text/plain": "\n\n".join([title, *(each.plain for each in written)]).rstrip(),
        }

    def display(self, data: dict[str, str]) -> None:
        """Make the output, in the cell that runs."""
        from IPython.display import display  # late: who only asks needs no IPython

        self._name, self._has = self._name or uuid.uuid4().hex, data
        display(data, raw=True, display_id=self._name)

    def update(self, data: dict[str, str]) -> None:
        """Let it show this, where it is displayed and shows something else."""
        from IPython.display import update_display  # late, as above

        if self._name is not None and data != self._has:
            self._has = data
            update_display(data, raw=True, display_id=self._name)


def _facts(exchange: Exchange) -> tuple[object, ...]:
    """What may still change in a turn that is over; none of one on its way, all of which may."""
    if exchange.status == "streaming":
        return ()
    return exchange.status, len(exchange.messages), len(exchange.tools), len(exchange.recordings)


def _forms(number: int, exchange: Exchange, note: str, before: Sequence[Message]) -> tuple[str, str]:
    """A turn in both forms."""
    plain = "\n\n".join(_plain(exchange))
    notes = [note] if note else []
    if len(plain) <= DRESSED:
        html = transcript.chapter(number + 1, exchange, *notes, before=before, math="mathml")
        if len(html) <= LONGEST:
            return html, "\n\n".join([plain, *map(render.printable, notes)])
    if len(plain) > LONGEST:
        plain, notes = f"{plain[:BEGINNING]}…", [_CUT, *notes]
    html = render.chapter(f"{number + 1} · User", render.verbatim(plain), *map(render.remark, notes))
    return html, "\n\n".join([plain, *map(render.printable, notes)])


def _plain(exchange: Exchange) -> Iterator[str]:
    """A turn as text to be printed: as Markdown that no viewer runs it would take ten times as long."""
    yield f"You: {render.text(exchange.prompt)}"
    before: list[Message] = []
    for message in exchange.messages:
        yield render.text(message, before=before)
        before.append(message)
    yield "\n".join(f"{render.visible(run.name)}: {run.outcome}" for run in exchange.tools)
