"""One reply that is shown: its events, what is to be seen of it now, and what stays of it.

Strategy: painters know when and where to paint, a `Lane` knows what. Whoever reads it counts its events, so
that a painter in another thread sees whether there is something new. What fails is kept until everything is
painted, and raised by `live` afterwards: beside others a reply that fails must not end them. All HTML is
made by `render`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from bedrock_nb import render
from bedrock_nb.errors import BedrockNbError, without_accounts
from bedrock_nb.message import Message
from bedrock_nb.recording import Recording
from bedrock_nb.timing import Meter, Timing, timing

__all__ = ["Lane", "Problem", "Showable", "heads", "numbered"]

_TITLES = {"incomplete": "The answer broke off", "limited": "A limit ended the turn"}
#: How what an error keeps begins: on a card the name of the row says it.
_KEPT = "What came is kept: "
#: Labels that a conversation gives to its rounds: they tell no reply from another.
_OWN_LABELS = ("round", "at_s")


@runtime_checkable
class Showable(Protocol):
    """A `Reply`, or a conversation's `Turn`."""

    @property
    def snapshot(self) -> Message:
        """What came so far."""

    @property
    def status(self) -> str:
        """``streaming``, then how it ended."""

    def __iter__(self) -> Iterator[Any]:
        """Every event as it comes."""

    def drain(self) -> Any:
        """Read to the end."""

    def cancel(self) -> None:
        """Stop, from any thread."""


class Problem(NamedTuple):
    """What went wrong in plain words: a title, a sentence, and facts by their names."""

    title: str
    said: str
    facts: dict[str, str]


class Lane:
    """A reply on its way to the screen.

    Parameters
    ----------
    reply : Reply or Turn
    head : str
        What stands over it; empty where it is the only one.
    timed : bool
        Whether its times are told.
    """

    def __init__(self, reply: Showable, head: str = "", *, timed: bool = True) -> None:
        self.reply, self.head, self.timed = reply, head, timed
        self.seen, self.over = 0, False
        self.error: Exception | None = None
        self._meter = Meter(lambda: self.recordings)
        self._painted: tuple[tuple[int, bool], str] | None = None

    def events(self) -> Iterator[Any]:
        """Every event as it comes, counted; what ended the reply badly is ``error`` afterwards."""
        try:
            for event in self.reply:
                self.seen += 1
                yield event
        except Exception as err:
            self.error = err
        finally:
            self.over = True

    def read(self) -> None:
        """Go on to the end; for a thread of its own."""
        for _ in self.events():
            pass

    @property
    def recordings(self) -> Sequence[Recording]:
        """The recording of each call so far, oldest first."""
        several = getattr(self.reply, "recordings", None)
        return [self.reply.recording] if several is None else several  # type: ignore[attr-defined]

    def took(self, seconds: float) -> None:
        """Add to what its painting took, in the recording that is growing."""
        for recording in self.recordings[-1:]:
            recording.spend("display_s", seconds)

    # -- what is seen of it ------------------------------------------------------------------------

    @property
    def state(self) -> tuple[int, bool]:
        """Changes whenever there is something new to be seen."""
        return self.seen, self.over

    def html(self) -> str:
        """What is there now; all that stays of it, once it is over. Made anew only if something is new."""
        state = self.state
        if self._painted is None or self._painted[0] != state:
            self._painted = state, self._whole() if self.over else self._growing()
        return self._painted[1]

    def _growing(self) -> str:
        # MathML while it grows: JupyterLab would typeset each formula again at each repaint.
        html = render.html(self.reply.snapshot, live=True, math="mathml")
        # Beside others the times are what one looks at; alone they would only flicker.
        return html + render.remark(self._meter.words or "waiting") if self.head and self.timed else html

    def _whole(self) -> str:
        html, problem, timed = render.html(self.reply.snapshot), self.problem, self.timing
        if problem is not None:
            html += render.error(*problem)
        elif self.reply.status != "complete":
            html += render.card("Not whole", {"status": self.reply.status})
        return html if timed is None else html + render.remark(timed.line)

    def text(self) -> str:
        """The same as plain text, safe to print."""
        timed = self.timing
        parts = (render.text(self.reply.snapshot), self.ending, "" if timed is None else timed.line)
        return "\n".join(filter(None, parts))

    @property
    def ending(self) -> str:
        """How it ended, as a paragraph that is safe to print; empty if it came to its end."""
        if self.problem is not None:
            return "\n" + in_words(self.problem)
        status = self.reply.status
        return "" if status == "complete" else f"This reply is not whole: {status}."

    def facts(self) -> dict[str, Any]:
        """Model, status and times as strict JSON, for programs that read the notebook."""
        known = self.recordings
        model = render.printable(without_accounts(known[0].model)) if known else ""
        told = {"model": model, "status": self.reply.status}
        timed = self.timing
        return told if timed is None else {**timed.to_json(), **told}

    @property
    def timing(self) -> Timing | None:
        """Its times; None where they are not to be told, or nothing was asked."""
        return timing(self.recordings) if self.timed and self.recordings else None

    @property
    def problem(self) -> Problem | None:
        """What ended it badly; None if nothing did."""
        err = self.error
        if err is None:
            return None
        facts = {"error": type(err).__name__}
        if isinstance(err, BedrockNbError):
            # The first note of a turn's error is the conversation's: what it has.
            notes = [] if hasattr(self.reply, "recording") else getattr(err, "__notes__", [])[:1]
            kept = " ".join([err.kept.removeprefix(_KEPT), *notes]).strip()
            facts |= {"kept": kept, "to try": err.remedy}
        title = _TITLES.get(self.reply.status, "The answer failed")
        said = err.what if isinstance(err, BedrockNbError) else str(err)
        return Problem(title, without_accounts(said), {name: told for name, told in facts.items() if told})


def in_words(problem: Problem) -> str:
    """A problem as a paragraph that is safe to print."""
    told = (f"{name.capitalize()}: {told}" for name, told in problem.facts.items())
    return render.printable("\n".join((f"[error] {problem.title}", problem.said, *told)))


def heads(replies: Sequence[Showable]) -> list[str]:
    """What stands over each of several: who runs in a race, or its model and labels, numbered if equal."""
    return numbered([_head(Lane(reply).recordings) for reply in replies])


def numbered(names: Sequence[str]) -> list[str]:
    """Names that tell their bearers apart: those that are equal get numbers."""
    return [
        f"{name} ({names[:i].count(name) + 1})" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]


def _head(recordings: Sequence[Recording]) -> str:
    if not recordings:
        return "Turn"
    labels = recordings[0].labels
    if "racer" in labels:
        return render.printable(str(labels["racer"]))
    own = (f"{name} {value}" for name, value in labels.items() if name not in _OWN_LABELS)
    return render.printable(", ".join((without_accounts(recordings[0].model) or "Reply", *own)))
