"""What a content block looks like in a panel: its kind, its title, its state, its pieces of HTML.

Strategy: one function for each kind of block, from the block to `View`s. An answer that streams and one that
is read from the history are made of the same blocks, and so look the same to the last character: `blocks`
goes through both. All HTML is from `render`; titles are plain text, made visible here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from bedrock_nb import render
from bedrock_nb.conversation.history import Exchange
from bedrock_nb.errors import BedrockNbError, StreamError, without_accounts
from bedrock_nb.message import (
    Block,
    ImageBlock,
    Message,
    ReasoningBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from bedrock_nb.panel.document import Document
from bedrock_nb.toolruns import ToolRun

__all__ = ["MATH", "Call", "View", "can", "ended", "left_out", "put", "views"]

#: A widget's output is not typeset by JupyterLab.
MATH: Final = "mathml"
#: Characters of a tool's arguments that are shown while they are written, of them and of a result at the end,
#: and of a tool's name. Arguments that somebody has to approve are shown whole.
_GROWING, _MOST, _NAME = 20_000, 50_000, 80


class View(NamedTuple):
    """A block of the document; see there."""

    kind: str
    title: str = ""
    state: str = ""
    pieces: Sequence[str] = ()
    ask: str | None = None


class Call(NamedTuple):
    """What there is to know of a tool's call beside what the model wrote.

    ``state`` is where it stands while it has no result; None of a call that is history.
    """

    state: str | None = None
    run: ToolRun | None = None
    result: ToolResultBlock | None = None
    ask: str | None = None


def put(document: Document, turn: int, at: int, view: View) -> None:
    """Let a block of the document be this; only what differs is told."""
    kind, title, state, made, ask = view
    document.set_block(turn, at, kind=kind, title=title, state=state, ask=ask)
    document.set_pieces(turn, at, made)


def views(block: Block, call: Call = Call(), *, images: Collection[str] = ()) -> list[View]:  # noqa: B008
    """The blocks of the document that show a content block: none where there is nothing to see, up to two."""
    match block:
        case TextBlock(text, citations):
            made = render.pieces(text, math=MATH, images=images)
            said = [View("text", pieces=made)] if text.strip() else []
            return [*said, *sources(citations)]
        case ReasoningBlock(text):
            made = render.pieces(text, math=MATH, images=images)
            return [View("reasoning", "Reasoning", pieces=made)] if text.strip() else []
        case ToolUseBlock():
            return [_called(block, call)]
        case ImageBlock():
            return [View("image", pieces=[_plain(block)])]
        case _:
            return [View("note", pieces=[_plain(block)])]


def sources(citations: Sequence[dict[str, Any]]) -> list[View]:
    """What a text cites."""
    return [View("sources", "Sources", pieces=[_plain(TextBlock("", tuple(citations)))])] if citations else []


def _plain(block: Block) -> str:
    """A block as it stands in any message."""
    return render.html(Message("assistant", (block,)))


# -- tools -----------------------------------------------------------------------------------------


def _called(block: ToolUseBlock, call: Call) -> View:
    run, result = call.run, call.result
    if run is not None:
        state = str(run.outcome)
    elif result is not None:
        state = "error" if result.status == "error" else "success"
    elif call.state is not None:
        state = call.state
    else:
        state = "broken" if block.input is None else ""
    arguments = render.described(block)[1]
    if call.ask is None:  # who decides sees all of it
        arguments = _cut(arguments, _GROWING if state == "writing" else _MOST)
    made = [render.verbatim(arguments)]
    if result is not None:
        made.append("".join(_given(result.content)))
    return View("tool", _title(block.name, run), state, made, call.ask if run is None else None)


def _title(name: str, run: ToolRun | None) -> str:
    """The name of a tool, in one line, and how long it ran."""
    name = " ".join(render.visible(name).split()) or "(no name)"
    name = f"{name[:_NAME]}…" if len(name) > _NAME else name
    if run is None or run.began_s is None:
        return name
    seconds = run.ended_s - run.began_s
    return f"{name} · {seconds:,.2f} s" if seconds >= 1 else f"{name} · {seconds * 1000:.0f} ms"


def _given(content: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What a tool gave: its pictures, and all else as text that stands together."""
    for is_picture, items in groupby(content, _is_picture):
        if is_picture:
            for item in items:
                yield _plain(ImageBlock(item["image"]["format"], item["image"]["source"]))
        else:
            _, said = render.described(ToolResultBlock("", tuple(map(dict, items))))
            yield render.verbatim(_cut(said, _MOST))


def _is_picture(item: Mapping[str, Any]) -> bool:
    match item:
        case {"image": {"format": str(), "source": {"bytes": bytes()}}}:
            return True
        case _:
            return False


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}\n… {len(text) - most:,} characters more"


# -- how a turn ended ------------------------------------------------------------------------------

#: Statuses of a turn that may be asked again.
_FAILED = ("error", "incomplete", "cancelled")
#: What is to be said of an answer that stopped for such a reason.
_STOPPED = {
    "max_tokens": "The answer has reached its limit of tokens and is cut. Continue goes on from there.",
    "model_context_window_exceeded": "The model's context window is full: the answer is cut.",
    "guardrail_intervened": "A guardrail stepped in.",
    "content_filtered": "The service has filtered this answer.",
    "malformed_model_output": "The model wrote something that the service could not read.",
    "malformed_tool_use": "The model asked for a tool in a way that the service could not read.",
}
#: What happened, by how a turn ended, where no exception tells.
_WORDS = {
    "error": "The turn failed.",
    "incomplete": "The answer broke off before it was whole.",
    "limited": "A limit ended this turn before the model was done.",
}


def can(exchange: Exchange) -> list[str]:
    """Which of retry and continue make sense after an exchange that is over."""
    if exchange.status in _FAILED:
        return ["retry", "continue"] if exchange.messages else ["retry"]
    cut = exchange.status == "limited" or exchange.stop_reason == "max_tokens"
    return ["continue"] if cut and exchange.messages else []


def left_out(exchange: Exchange) -> list[View]:
    """That the model was not sent all that was said before, where it was not."""
    n = exchange.left_out
    if not n:
        return []
    oldest = "oldest turn was" if n == 1 else f"{n} oldest turns were"
    return [_note(f"The {oldest} left out of what the model was sent: there was no room.")]


def ended(exchange: Exchange) -> list[View]:
    """How an exchange ended, where it did not simply end."""
    status, error = exchange.status, exchange.error
    if status == "cancelled":
        return [
            _note("Stopped. What came is kept." if exchange.messages else "Stopped before anything came.")
        ]
    if status == "limited":
        kept = " Continue goes on from there." if exchange.messages else ""
        return [_note(f"{error.what if error else _WORDS[status]}{kept}")]
    if status in _WORDS:
        return [_wrong(exchange, error)]
    return [_note(_STOPPED[exchange.stop_reason])] if exchange.stop_reason in _STOPPED else []


def _note(said: str) -> View:
    return View("note", pieces=[render.remark(said)])


def _wrong(exchange: Exchange, error: BedrockNbError | None) -> View:
    """What went wrong in plain words, what is kept, what to try."""
    came = bool(exchange.messages)
    title = "Not whole" if came else "No answer"
    facts = {
        "kept": "What came, and your prompt." if came else "Your prompt.",
        "to try": "Retry asks again; Continue goes on from what came." if came else "Retry asks again.",
    }
    if error is not None:
        facts = {"error": type(error).__name__, **facts}
        # Some remedies are for who has the exception in hand.
        if error.remedy and "err.reply" not in error.remedy:
            facts["to try"] = f"{error.remedy} {facts['to try']}"
        if isinstance(error, StreamError) and error.request_id:
            facts["request"] = error.request_id
    said = without_accounts(error.what if error is not None else _WORDS[exchange.status])
    return View("error", pieces=[render.error(title, said, facts)])
