"""What a page may ask of its panel, and what it is answered.

Strategy: one table from the name of a request to a function, and nothing else is done. A page is not
trusted: every argument is checked, and whatever is wrong with one is told to that page in words; nothing is
raised into the kernel's own loop. A function hands the work on to the panel, whose methods code calls, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from bedrock_nb import content, render
from bedrock_nb.errors import BedrockNbError, RequestError
from bedrock_nb.panel import choices, exporting, showing

if TYPE_CHECKING:
    from bedrock_nb.panel import ChatPanel

__all__ = ["handle", "tell"]

_LOG = logging.getLogger("bedrock_nb.panel")

#: Files with one prompt: how many, and bytes together. Bedrock takes 20 images of 3.75 MB each and 5
#: documents (Amazon Bedrock API reference, Message); what goes through a notebook's websocket should be less.
_MOST_FILES, _MOST_BYTES = 8, 20 * 2**20
_LONGEST_VIEW = 100  # characters of the name that a page has for itself

_Message: TypeAlias = Mapping[str, Any]
_Buffers: TypeAlias = Sequence[Any]


def handle(panel: ChatPanel, asked: object, buffers: _Buffers | None) -> None:
    """Do what a page asks; what is wrong with it is told to the page. Never raises."""
    message = asked if isinstance(asked, Mapping) else {}
    view = message.get("view")
    panel._view = view if isinstance(view, str) and len(view) <= _LONGEST_VIEW else None
    try:
        do = message.get("do")
        act = _ACTIONS.get(do) if isinstance(do, str) else None
        if act is None:
            raise RequestError(
                "The page asked for something that this panel does not know.",
                remedy="Reload the page; if that does not help, run the cell again.",
            )
        act(panel, message, list(buffers or ()))
    except BedrockNbError as err:
        tell(panel, str(err))
    except Exception as err:  # a fault of ours: the kernel's loop has nowhere to show it
        _LOG.exception("A panel failed in what a page asked")
        tell(panel, f"This did not work: {type(err).__name__}. The log `bedrock_nb.panel` has more.")


def tell(panel: ChatPanel, text: str, *, back: bool = False) -> None:
    """Tell the page that asked last what was wrong, and whether its prompt is to be put back."""
    _answer(panel, {"told": showing.seen(text), "back": back})


def _answer(panel: ChatPanel, message: _Message, buffers: Sequence[bytes] | None = None) -> None:
    """Send something to the page that asked last."""
    to = {} if panel._view is None else {"for": panel._view}
    panel.send({**to, **message}, buffers)


def _get(message: _Message, name: str, kind: type, default: Any = None) -> Any:
    """A member of a message, of the type that it must have."""
    value = message.get(name, default)
    if type(value) is not kind:
        raise RequestError(
            f"The page sent a {name} that is a {type(value).__name__}.", remedy="Reload the page."
        )
    return value


def _turn(panel: ChatPanel, message: _Message) -> int:
    """Which turn of the conversation a page means."""
    number: int = panel._follower.number(_get(message, "turn", int), panel.conversation)
    return number


def _ask(panel: ChatPanel, message: _Message, buffers: _Buffers) -> None:
    text, files = _get(message, "text", str), _get(message, "files", list, [])
    if len(files) != len(buffers) or len(files) > _MOST_FILES:
        raise RequestError(
            f"The page sent {len(files)} files in {len(buffers)} parts.",
            remedy=f"At most {_MOST_FILES} files go with a prompt.",
        )
    data = [bytes(buffer) for buffer in buffers]
    if sum(map(len, data)) > _MOST_BYTES:
        raise RequestError(
            f"The files have {sum(map(len, data)) / 2**20:.1f} MB together.",
            remedy=f"A panel takes {_MOST_BYTES // 2**20} MB with a prompt; from code, files may be larger.",
        )
    blocks = [_block(file, each) for file, each in zip(files, data, strict=True)]
    panel.ask([*([text] if text.strip() or not blocks else []), *blocks])


def _block(file: object, data: bytes) -> dict[str, Any]:
    """An attached file as a content block, by its type; pictures by what they are."""
    named = file if isinstance(file, Mapping) else {}
    name, kind = _get(named, "name", str, ""), _get(named, "type", str, "")
    if kind.startswith("image/"):
        return content.image(data)
    suffix = name.rpartition(".")[2].lower() if "." in name else None
    return content.document(data, name=name.rpartition(".")[0] or name, format=suffix)


def _set(panel: ChatPanel, message: _Message, _: _Buffers) -> None:
    texts = _get(message, "settings", dict, {})
    model = _get(message, "model", str) if message.get("model") is not None else None
    if not all(isinstance(text, str) for text in texts.values()):
        raise RequestError("The page sent a setting that is no text.", remedy="Reload the page.")
    choices.change(panel.conversation, texts, model)
    panel._touch()


def _approve(panel: ChatPanel, message: _Message, _: _Buffers) -> None:
    key, yes = _get(message, "call", str), _get(message, "yes", bool)
    if not panel._branch.desk.answer(key, yes, _get(message, "reason", str, "").strip()):
        raise RequestError("That call of a tool does not wait any more.")


def _branch(panel: ChatPanel, message: _Message, _: _Buffers) -> None:
    branch = _get(message, "branch", int)
    if not 0 <= branch < len(panel.conversations):
        raise RequestError(f"There is no branch {branch}.", remedy="Reload the page.")
    panel.conversation = panel.conversations[branch]


def _copy(panel: ChatPanel, message: _Message, _: _Buffers) -> None:
    """The text of the answers of a turn, as the model wrote it."""
    number = _turn(panel, message)
    exchange = panel.conversation.exchanges[number]
    answers = [answer for answer in exchange.messages if answer.role == "assistant"]
    partial = panel.conversation.partial
    if partial is not None and number == len(panel.conversation) - 1:
        answers.append(partial)
    text = "\n\n".join(filter(None, (answer.text for answer in answers)))
    _answer(panel, {"copy": render.printable(text)})


def _export(panel: ChatPanel, message: _Message, _: _Buffers) -> None:
    name, kind, data = exporting.made(message.get("as"), panel.conversation, panel.recordings)
    _answer(panel, {"file": name, "type": kind}, [data])


def _picture(panel: ChatPanel, message: _Message, _: _Buffers) -> None:
    number, dark = _turn(panel, message), _get(message, "dark", bool, False)
    exchange = panel.conversation.exchanges[number]
    recordings = exchange.recordings if exchange.messages else []  # as its strip: without an answer, no times
    png, words = exporting.picture(number + 1, recordings, dark=dark)
    _answer(panel, {"picture": message["turn"], "alt": words}, [png])


def _hello(panel: ChatPanel, message: _Message, _: _Buffers) -> None:
    """A page is new, or has missed something: give it everything."""
    panel._greet(_get(message, "view", str))


#: What a page may ask -> what is done.
_ACTIONS: dict[str, Callable[[ChatPanel, _Message, _Buffers], object]] = {
    "hello": _hello,
    "ask": _ask,
    "stop": lambda panel, message, _: panel.stop(),
    "retry": lambda panel, message, _: panel.retry(),
    "continue": lambda panel, message, _: panel.go_on(),
    "undo": lambda panel, message, _: panel.undo(),
    "clear": lambda panel, message, _: panel.clear(),
    "edit": lambda panel, message, _: panel.edit(_get(message, "text", str), _turn(panel, message)),
    "rerun": lambda panel, message, _: panel.rerun(_turn(panel, message)),
    "fork": lambda panel, message, _: panel.fork(_turn(panel, message)),
    "branch": _branch,
    "set": _set,
    "approve": _approve,
    "copy": _copy,
    "export": _export,
    "picture": _picture,
}
