"""A message as safe HTML, block by block.

Strategy: a table by kind of block. Prose goes through `markup`; all else, titles too, is escaped text in
constant markup. Pictures stand in the page itself, and only if their bytes begin as their format does.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from itertools import count
from typing import Any

from bedrock_nb.message import (
    Block,
    ImageBlock,
    Message,
    ReasoningBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    image_format,
)
from bedrock_nb.render import markup
from bedrock_nb.render.cards import BOX, DIM, ROOT
from bedrock_nb.render.characters import escaped, verbatim, visible
from bedrock_nb.render.words import cited, described, result, with_tools

__all__ = ["html"]

_LINK = f'target="_blank" rel="{markup.REL}"'


def html(
    message: Message,
    *,
    live: bool = False,
    before: Iterable[Message] = (),
    math: markup.Maths = "tex",
    images: Collection[str] = (),
) -> str:
    """A whole message as safe HTML under one ``<div class="bedrock-nb">``.

    Parameters
    ----------
    message : Message
    live : bool
        The message is still arriving: its last block is shown unfolded, a call of a tool says that it has no
        result yet, and pictures from tools are named only, for each repaint would send them again. Code in
        the last block has no colours yet.
    before : iterable of Message
        What was said before it, where the names of tools are looked up (see `with_tools`).
    math : {"tex", "mathml"}
    images : collection of str
        What becomes of maths and of images from the network: see `markdown`.

    Returns
    -------
    str
        HTML for JupyterLab's light and dark themes and for pages made by nbconvert. JupyterLab's sanitiser,
        in a notebook that is not trusted, takes nothing from it but colours and borders.
    """
    parts, numbers = [], count(1)
    waiting = _waiting(message) if live else ()
    for place, (block, tool) in enumerate(with_tools(message, before)):
        title, body = described(block, tool)
        title += ", no result yet" * (place in waiting)
        unfolded = live and block is message.content[-1]
        asked = markup.manner(math, images, colours=not unfolded)
        parts.append(_block(block, escaped(visible(title)), body, asked, unfolded, not live))
        if isinstance(block, TextBlock) and block.citations:
            sources = (f"[{next(numbers)}] {_source(citation)}" for citation in block.citations)
            parts.append(f'<p style="{DIM}">{"<br>".join(sources)}</p>')
    return ROOT.format("".join(parts))


def _waiting(message: Message) -> Sequence[int]:
    """The places of a message's calls of tools that have no result in it."""
    places: dict[str, int] = {}
    for place, block in enumerate(message.content):
        if isinstance(block, ToolUseBlock):
            places[block.id] = place
        elif isinstance(block, ToolResultBlock):
            places.pop(block.id, None)
    return list(places.values())


def _block(block: Block, title: str, body: str, asked: markup.Manner, unfolded: bool, pictures: bool) -> str:
    """A block as HTML; its title is HTML already, its body is not."""
    match block:
        case TextBlock(text):
            return _prose(text, asked)
        case ImageBlock(format, {"bytes": bytes(data)}, None) if picture := _picture(format, data, title):
            return picture
        case ToolResultBlock(_, content) if pictures and body:
            inner, style = _results(content), BOX
        case ToolUseBlock():
            return f'<div style="{BOX}">{title}{verbatim(body)}</div>'
        case ReasoningBlock(text):
            inner, style = _prose(text, asked), f"{BOX};{DIM}"
        case _ if not body:
            return f'<p style="{DIM}">{title}</p>'
        case _:
            inner, style = verbatim(body), BOX
    return f'<details style="{style}"{" open" * unfolded}><summary>{title}</summary>{inner}</details>'


def _prose(text: str, asked: markup.Manner) -> str:
    return markup.markdown(text, math=asked.math, images=asked.images, colours=asked.colours)


def _picture(format: str, data: bytes, title: str) -> str:
    """An image in the page itself; empty if it does not begin as its format does. The title is HTML."""
    if image_format(data) != format:
        return ""
    address = f"data:image/{format};base64,{b64encode(data).decode()}"
    return f'<p><img src="{address}" alt="{title}" style="max-width:100%"></p>'


def _results(content: Iterable[Mapping[str, Any]]) -> str:
    """What a tool gave: its pictures, and all else as text that stands together."""
    parts, lines = [], list[str]()
    for item in content:
        match item:
            case {"image": {"format": str(format), "source": {"bytes": bytes(data)}}}:
                picture = _picture(format, data, escaped(visible(result(item))))
            case _:
                picture = ""
        if not picture:
            lines.append(result(item))
            continue
        parts += [verbatim("\n".join(lines)), picture] if lines else [picture]
        lines.clear()
    return "".join([*parts, *([verbatim("\n".join(lines))] if lines else [])])


def _source(citation: Mapping[str, Any]) -> str:
    """A citation as a link that shows its host, or as text where its address cannot be a link."""
    title, url, place = map(visible, cited(citation))  # what turns the direction would hide the host
    address = markup.address(url)
    host, href = markup.host_of(address), escape(address)
    if host:
        label = f'<a href="{href}" title="{href}" {_LINK}>{escaped(title or url)}</a> ({host})'
    else:
        label = escaped(" ".join(filter(None, (title, url))) or "untitled source")
    return f"{label}, {escaped(place)}" if place else label
