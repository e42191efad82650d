"""The chat panel: a conversation in an output cell, to talk in, to watch, to measure.

Strategy: a `ChatPanel` is a widget that holds a conversation and knows nothing by itself. Turns are read and
the page is painted in threads (`painter`), what is shown is a `document` that `blocks` keeps in line with the
conversation, and what a page asks goes through one table (`requests`) to the same methods that code calls.
The conversation does not know its panels: code may talk in it as ever, and panels show that, too.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from bedrock_nb.conversation import Conversation
from bedrock_nb.conversation.turn import Turn
from bedrock_nb.errors import RequestError
from bedrock_nb.panel import arguments, choices, exporting, requests, showing
from bedrock_nb.panel.blocks import Follower
from bedrock_nb.panel.desk import Desk
from bedrock_nb.panel.document import Document
from bedrock_nb.panel.painter import Painter, Readers
from bedrock_nb.panel.showing import Branch
from bedrock_nb.panel.transcript import Transcript
from bedrock_nb.recording import Recording

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ChatPanel"]

_HERE = Path(__file__).parent
#: Seconds that closing waits for threads that were told to end.
_PATIENCE_S = 2.0
#: What is said to a model whose answer broke off, or reached its limit.
_GO_ON = "Go on exactly where you stopped."


class _Ear:
    """Hears a conversation for a panel, and does not keep it alive."""

    def __init__(self, panel: ChatPanel) -> None:
        self._panel = weakref.ref(panel)

    def on_change(self, conversation: Conversation) -> None:
        if (panel := self._panel()) is not None:
            panel._hear(conversation)


class ChatPanel(anywidget.AnyWidget):
    """Talk with a model in an output cell: replies as they come, their timing, tools, branches.

    Display it, by its name on the last line of a cell, and type; or call its methods. Below it stands a
    folded transcript that a saved notebook keeps. Replies come in threads of their own, so cells can be run
    meanwhile; a turn that a cell begins in the same conversation is shown as well, and arrives to its end.

    Parameters
    ----------
    conversation : Conversation or boto3 client, optional
        What to show. Of a client, and by default of ``connect()``, a new conversation is made.
    images : iterable of str
        Hosts from which pictures in answers may be loaded, such as ``"upload.wikimedia.org"``. All others
        are links: to load one tells its host that it was read.
    transcript : bool
        Whether to show the transcript.
    height : str or int
        The most that the panel may have, as CSS (``"36rem"``), or in pixels.
    **settings
        For a new conversation, as `Conversation` takes them: ``model``, ``system``, ``tools`` …

    Raises
    ------
    RequestError
        An argument that cannot work.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> panel = nb.ChatPanel(nb.connect("local", verbose=False), system="Be brief.")
    >>> panel.ask("Count from 1 to 3", wait=True).text
    '1, 2, 3.'
    >>> len(panel.table)
    1
    """

    # As texts: what anywidget watches a file with would hold every panel for ever.
    _esm = (_HERE / "panel.js").read_text(encoding="utf-8")
    _css = (_HERE / "panel.css").read_text(encoding="utf-8")

    height = traitlets.Unicode("36rem").tag(sync=True)

    def __init__(
        self,
        conversation: Any = None,
        *,
        images: Iterable[str] = (),
        transcript: bool = True,
        height: str | int = "36rem",
        **settings: Any,
    ) -> None:
        high, chat = arguments.css(height), arguments.conversation_of(conversation, settings)
        self._images = (images,) if isinstance(images, str) else tuple(images)
        self._branches: list[Branch] = []
        self._models: dict[str, str] = {}  # that a page may choose
        self._view: str | None = None  # the page that asked last
        self._ear = _Ear(self)
        self._transcript = Transcript(showing.note) if transcript else None
        self._readers = Readers(self._touch)
        self._painter = Painter(self._paint, self._rest)
        self._closed = False
        self._stale = False  # the transcript does not say what was said
        self._document = Document({})
        super().__init__(height=high)
        self.on_msg(requests.handle)
        self._show(chat, "Branch 1")

    # -- what there is -----------------------------------------------------------------------------

    @property
    def conversation(self) -> Conversation:
        """The conversation that is shown; another may be set, and the old one stays in `conversations`."""
        return self._branch.conversation

    @conversation.setter
    def conversation(self, conversation: Conversation) -> None:
        chat = arguments.another(conversation)
        self._check_open()
        self._show(chat, f"Branch {len(self._branches) + 1}")

    @property
    def conversations(self) -> tuple[Conversation, ...]:
        """All conversations that this panel has shown, its branches, in the order in which they came."""
        return tuple(branch.conversation for branch in self._branches)

    @property
    def recordings(self) -> list[Recording]:
        """The recordings of all branches, oldest first: for tables, plots, `save`."""
        known = {id(each): each for chat in self.conversations for each in tuple(chat.recordings)}
        return sorted(known.values(), key=lambda recording: recording.started or 0.0)

    @property
    def table(self) -> pd.DataFrame:
        """A row per call of a model, as `bedrock_nb.summary` makes it."""
        from bedrock_nb.table import summary  # late: it needs pandas

        return summary(self.recordings)

    @property
    def busy(self) -> bool:
        """Whether an answer is on its way in the conversation that is shown."""
        return self._readers.busy(self.conversation)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no answer is on its way, in any branch, and all that came is painted.

        While a cell waits here, no page is heard: a tool that waits for approval waits on. An interrupt of
        the cell ends the waiting, and no answer.

        Parameters
        ----------
        timeout : float, optional
            Seconds.

        Returns
        -------
        bool
            False if that was not enough.
        """
        begin = time.monotonic()
        if not self._readers.wait(timeout):
            return False
        return self._painter.wait(None if timeout is None else timeout + begin - time.monotonic())

    # -- talking -----------------------------------------------------------------------------------

    def ask(self, prompt: Any, *, wait: bool = False) -> Turn | None:
        """Say something, as if it were typed into the panel.

        Parameters
        ----------
        prompt : str, or list of content blocks, texts and images
        wait : bool
            Go on to the end before returning. An interrupt then stops the turn, and tools that ask do so
            at the keyboard. By default a thread goes on with it.

        Returns
        -------
        Turn or None
            The turn, at its end, if you waited and the service began to answer. What went wrong with an
            answer is in the panel, and in ``turn.error``.

        Raises
        ------
        RequestError
            An argument that cannot work, or an answer is on its way; nothing was sent.
        """
        said = arguments.said(prompt)
        return self._begin(lambda chat: chat.stream(said), wait)

    def stop(self) -> None:
        """Stop the answer that is on its way, at whatever point of it; what came stays. From any thread."""
        self._readers.stop(self._branch.conversation)
        self._branch.desk.release()

    def retry(self, *, wait: bool = False) -> Turn | None:
        """Ask the last prompt once more; its answer goes. Returns and raises what `ask` does."""
        return self.rerun(wait=wait)

    def go_on(self, *, wait: bool = False) -> Turn | None:
        """Ask the model to go on with an answer that broke off. Returns and raises what `ask` does."""
        arguments.number_of(-1, self.conversation)
        return self.ask(_GO_ON, wait=wait)

    def rerun(self, turn: int = -1, *, wait: bool = False) -> Turn | None:
        """Ask an earlier prompt once more; its answer and what came after go.

        Parameters
        ----------
        turn : int
            Which, counted from 0, or from the end if below 0.
        wait : bool
            As `ask` takes it, which says what is returned and raised, too.
        """
        number = arguments.number_of(turn, self.conversation)
        return self._begin(lambda chat: chat.rerun(turn=number), wait)

    def edit(self, text: Any, turn: int = -1, *, wait: bool = False) -> Turn | None:
        """Ask something else in place of an earlier prompt; its answer and what came after go.

        Parameters
        ----------
        text : str, or list
            As `ask` takes it.
        turn, wait
            As `rerun` takes them.
        """
        said, number = arguments.said(text), arguments.number_of(turn, self.conversation)
        return self._begin(lambda chat: chat.edit(said, turn=number), wait)

    def _begin(self, start: Callable[[Conversation], Turn], wait: bool) -> Turn | None:
        self._check_open()
        chat, before = self.conversation, list(self.conversation.exchanges)

        def ended(turn: Turn | None, error: Exception | None) -> None:
            # What failed before there was a turn is shown where the prompt stays; or else it is told, unless
            # it is raised to who waits.
            new = [each for each in chat.exchanges[-1:] if not any(each is other for other in before)]
            if turn is not None:
                self._announce(chat, turn.status, error)
            elif new:
                self._announce(chat, new[0].status, error)
            elif error is not None and not (wait and isinstance(error, RequestError)):
                requests.tell(self, showing.told(error, whole=True), back=True)
            self._hear(chat)  # code may have begun a turn in the meantime

        return self._readers.begin(chat, lambda: start(chat), ended, wait=wait)

    def _announce(self, chat: Conversation, status: str, error: Exception | None) -> None:
        """Have it read aloud that a turn is over, and how it ended."""
        if chat is self.conversation:
            self._document.say(showing.ended(status, error))

    # -- changing what was said --------------------------------------------------------------------

    def undo(self) -> None:
        """Take the last turn back."""
        self._check_idle()
        self.conversation.undo()

    def clear(self) -> None:
        """Take all turns back. Their recordings stay."""
        self._check_idle()
        if len(self.conversation):
            self.conversation.undo(len(self.conversation))

    def fork(self, turn: int = -1) -> Conversation:
        """Go on in a branch of its own, with the turns up to and with one; the old one stays as it is.

        Parameters
        ----------
        turn : int
            Which, counted from 0, or from the end if below 0.

        Returns
        -------
        Conversation
            The branch, which is shown from now on.
        """
        self._check_open()
        number = arguments.number_of(turn, self.conversation)
        branch = self.conversation.fork(number + 1)
        self._show(branch, f"Branch {len(self._branches) + 1}, from turn {number + 1}")
        return branch

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write the conversation to a file.

        Parameters
        ----------
        path : path
            Its suffix says what is written: ``.md`` Markdown, ``.html`` a page that needs nothing else,
            ``.json`` a conversation for `Conversation.load`, ``.zip`` the recordings of all branches.

        Raises
        ------
        RequestError
            Another suffix.
        RecordingError
            The file cannot be written.
        """
        return exporting.write(path, self.conversation, self.recordings)

    def close(self) -> None:
        """Stop what is on its way, and end: the widget is gone from its pages, the conversation stays."""
        if not getattr(self, "_closed", True):  # also called for a widget that could not be made
            self._closed = True
            self._readers.close()
            for branch in self._branches:
                if self._readers.busy(branch.conversation):
                    self._readers.stop(branch.conversation)
                branch.desk.leave(self)
            self.wait(_PATIENCE_S)
            self._painter.close()
            for chat in self.conversations:
                chat.off(self._ear)
        super().close()

    def _check_open(self) -> None:
        if self._closed:
            raise RequestError("This panel is closed.", remedy="Make another: nb.ChatPanel(conversation).")

    def _check_idle(self) -> None:
        self._check_open()
        self._readers.check_idle(self.conversation)

    # -- what is shown -----------------------------------------------------------------------------

    def _show(self, chat: Conversation, name: str) -> None:
        """Show a conversation, from now on or again."""
        branch = next((each for each in self._branches if each.conversation is chat), None)
        if branch is None:
            branch = Branch(chat, name, Desk.for_(chat))
            branch.desk.join(self)
            self._branches.append(branch)
            chat.on(self._ear)
        with self._painter.painting:
            self._branch = branch
            self._models = choices.offered(chat.client)
            self._follower = Follower(self._document, images=self._images)
        self._hear(chat)

    def _hear(self, chat: Conversation) -> None:
        """Something has changed in a conversation; in any thread, at any point of it."""

        def ended(turn: Turn | None, error: Exception | None) -> None:
            if turn is not None:
                self._announce(chat, turn.status, error)
            self._touch()

        self._readers.follow(chat, ended)
        self._touch()

    def _touch(self) -> None:
        """Something that is shown may be new."""
        self._painter.touch()

    def _paint(self) -> int | None:
        """Bring the document in line, and send what is new: how much that was, None if no turn is growing."""
        chat, desk = self._branch.conversation, self._branch.desk
        growing = self._follower.look(chat, desk.asking)
        self._document.set_state(**showing.state(self._branches, self._branch, self._models, self.busy))
        size = 0
        if (message := self._document.take()) is not None:
            self._stale = self._stale or showing.is_news(message)
            self.send(message)
            size = sum(len(part) for op in message["ops"] for part in op if isinstance(part, str))
        return size if growing else None

    def _rest(self) -> None:
        """Nothing grows: let the transcript say what was said."""
        if self._stale and self._transcript is not None and self._transcript.displayed:
            self._stale = False
            self._transcript.update(self._transcript.bundle(tuple(self.conversation.exchanges)))

    def _ipython_display_(self) -> None:
        """The widget, and below it the transcript as an output of its own."""
        from IPython.core.getipython import get_ipython  # late: who only asks needs no IPython
        from IPython.display import display

        if self._closed or not hasattr(get_ipython(), "kernel"):  # a terminal shows neither of both
            display({"text/plain": repr(self)}, raw=True)
            return
        data, metadata = self._repr_mimebundle_() or ({}, {})
        display({**data, "text/plain": showing.STILL}, metadata=metadata, raw=True)
        if self._transcript is not None:
            self._transcript.display(self._transcript.bundle(tuple(self.conversation.exchanges)))

    def _greet(self, view: str) -> None:
        """A page is new, or has missed something: give it everything."""
        with self._painter.painting:
            self._paint()
            self.send(self._document.snapshot(view))

    def __repr__(self) -> str:
        return f"<ChatPanel of {self.conversation!r}>"
