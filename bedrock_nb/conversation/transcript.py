"""A conversation to read, keep and hand out: as Markdown, and as HTML.

Strategy: exchanges are walked once each way, and nothing of them is left out. A result has the name of its
tool from the messages before it, in this exchange or, in a prompt, the last. What strangers wrote goes
through `inert` or `render`; headings of the upper four levels are ours alone, so no answer can pretend to be
somebody else's turn. Times are those of the tools; when it was said is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import count

from bedrock_nb import render
from bedrock_nb.conversation import inert
from bedrock_nb.conversation.history import Exchange, total
from bedrock_nb.message import Message, ReasoningBlock, TextBlock, ToolUseBlock
from bedrock_nb.render.markup import Maths
from bedrock_nb.toolruns import ToolRun

__all__ = ["chapter", "html", "markdown"]


def markdown(
    exchanges: Iterable[Exchange],
    *,
    title: str | None = None,
    facts: Mapping[str, str] | None = None,
) -> str:
    """A conversation as Markdown that any viewer may show.

    Parameters
    ----------
    exchanges : iterable of Exchange
    title : str, optional
        The first heading.
    facts : mapping of str to str, optional
        What else there is to say at the head: the model, the day.

    Returns
    -------
    str
        CommonMark without raw HTML. Text stands as the model wrote it but for what a viewer would run,
        fetch or take for a heading of ours (see `inert.harmless`).
    """
    parts = [] if title is None else [f"# {inert.words(title)}"]
    if facts:
        parts.append("\n".join(f"- {inert.words(name)}: {inert.words(facts[name])}" for name in facts))
    before: list[Message] = []
    for number, exchange in enumerate(exchanges, 1):
        parts.append(f"## {number} · User")
        parts += _written(exchange.prompt, before)
        before = []
        for message in exchange.messages:
            parts.append(f"### {inert.words(_who(message))}")
            parts += _written(message, before)
            before.append(message)
            if message.partial:
                parts.append(f"#### {_cut(exchange)}")
        if exchange.tools:
            parts.append("#### Tools")
            parts.append("\n".join(f"- {inert.words(_ran(run))}" for run in exchange.tools))
        parts.append(f"#### {inert.words(_cost(exchange))}")
    return "\n\n".join(part for part in parts if part) + "\n"


def html(
    exchanges: Iterable[Exchange],
    *,
    title: str | None = None,
    facts: Mapping[str, str] | None = None,
    page: bool = False,
) -> str:
    """A conversation as safe HTML.

    Parameters
    ----------
    exchanges : iterable of Exchange
    title : str, optional
    facts : mapping of str to str, optional
        What else there is to say at the head: the model, the day.
    page : bool
        A whole document, which runs and fetches nothing, rather than a piece for a notebook.

    Returns
    -------
    str
        HTML for light and dark pages. Images of the conversation are in it. Maths is left for JupyterLab to
        typeset, and in a document is MathML.
    """
    math: Maths = "mathml" if page else "tex"
    parts = [render.card(title or "", facts or {})] if title or facts else []
    before: list[Message] = []
    for number, exchange in enumerate(exchanges, 1):
        parts.append(chapter(number, exchange, before=before, math=math))
        before = exchange.messages
    return render.page(title or "Conversation", *parts) if page else render.together(*parts)


def chapter(
    number: int,
    exchange: Exchange,
    *notes: str,
    before: Iterable[Message] = (),
    math: Maths,
) -> str:
    """One exchange as safe HTML, a piece for `render.together`.

    Parameters
    ----------
    number : int
        Which it is, from 1.
    exchange : Exchange
    *notes : str
        Lines under it.
    before : iterable of Message
        What was said in the exchange before it: its prompt may answer calls of tools there.
    math : {"tex", "mathml"}
        How maths is written: for JupyterLab to typeset, or as MathML.
    """
    said = [render.html(exchange.prompt, before=before, math=math)]
    before = []
    for message in exchange.messages:
        cut = [render.remark(_cut(exchange))] if message.partial else []
        told = render.html(message, before=before, math=math)
        said.append(render.chapter(_who(message), told, *cut, level=3))
        before.append(message)
    said += (render.remark(_ran(run)) for run in exchange.tools)
    said += map(render.remark, (_cost(exchange), *notes))
    return render.chapter(f"{number} · User", *said)


# -- what both say ---------------------------------------------------------------------------------


def _who(message: Message) -> str:
    return "Tool results" if message.role == "user" else message.role.capitalize()


def _cut(exchange: Exchange) -> str:
    return f"Not whole: {exchange.status}" if exchange.status != "complete" else "Not whole"


def _ran(run: ToolRun) -> str:
    """A call of a tool in one line; times in seconds."""
    said = [f"{run.name}: {run.outcome}"]
    if run.began_s is not None:
        said.append(f"ran {run.ended_s - run.began_s:.3f} s")
    if run.waited_s:
        said.append(f"waited {run.waited_s:.3f} s for approval")
    if run.eager:
        said.append("began before the answer had ended")
    return ", ".join([*said, *([run.error] if run.error else [])])


def _cost(exchange: Exchange) -> str:
    """How an exchange ended, and its tokens; their sum would say nothing new."""
    status = "" if exchange.status == "complete" and exchange.stop_reason else exchange.status
    ended = ", ".join(filter(None, (status, exchange.stop_reason)))
    counts = total([exchange]).items()
    tokens = ", ".join(_counted(name, number) for name, number in counts if name != "totalTokens")
    return " · ".join(filter(None, (f"Ended: {ended}", tokens)))


def _counted(name: str, number: int) -> str:
    """A count of Bedrock's in plain words: ``cacheReadInputTokens`` as ``7 cache read input tokens``."""
    words = re.sub(r"(?<=[a-z])[A-Z]", r" \g<0>", name).lower()
    return f"{number:,} {words.removesuffix('s') if number == 1 else words}"


# -- Markdown --------------------------------------------------------------------------------------


def _written(message: Message, before: Iterable[Message]) -> Iterator[str]:
    """A message block by block. All but text has a heading, and so has text that comes after such a block."""
    numbers, headed = count(1), False
    for block, tool in render.with_tools(message, before):
        title, body = render.described(block, tool)
        if not isinstance(block, TextBlock):
            headed = True
            yield f"#### {inert.words(title)}"
        match block:
            case TextBlock(text, citations):
                if headed and text.strip():
                    yield "#### Text"
                yield inert.harmless(text) if text.strip() else ""
                if citations:
                    headed = True
                    yield "#### Sources"
                    yield "\n".join(
                        f"{next(numbers)}. {inert.words(', '.join(filter(None, render.cited(citation))))}"
                        for citation in citations
                    )
            case ReasoningBlock(text):
                yield inert.harmless(text, quoted=True) if text.strip() else ""
            case ToolUseBlock(input=dict()):
                yield inert.code(body, "json")
            case _:
                yield inert.code(body) if body else ""
