"""A message as safe HTML, and as plain text.

Strategy: whatever a model, a tool or a cited source wrote is hostile. Markdown is parsed by markdown-it-py
with raw HTML off; images become links, so showing a reply fetches nothing; the result then passes an nh3
allow-list, the second line of defence, which would hold if the first did not. All other text is escaped and
set into constant markup of ours. JupyterLab typesets TeX wherever it finds it on the page, which makes TeX a
second markup language: only what the parser recognised as maths reaches it, every other ``$`` and backslash
is walled off, and maths with commands that link, style or define is shown as source.

Not here: when to paint (`live`), and any script of a page.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import count
from typing import Any, assert_never

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from mdit_py_plugins.dollarmath import dollarmath_plugin

from bedrock_nb.message import (
    Block,
    ImageBlock,
    Message,
    ReasoningBlock,
    RedactedBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
    image_format,
)

__all__ = [
    "UNSAFE_TEX",
    "card",
    "chapter",
    "cited",
    "described",
    "host_of",
    "html",
    "markdown",
    "page",
    "paragraph",
    "printable",
    "remark",
    "table",
    "text",
    "together",
    "visible",
    "with_tools",
]

# -- characters ------------------------------------------------------------------------------------

# Terminals obey control characters (some sequences even write to the clipboard); HTML has no use for them.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Zero-width and direction-changing characters and "tag" letters make a tool call look like another one.
_INVISIBLE = re.compile("[\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")


def printable(text: str) -> str:
    """Text that is safe to print in a terminal and to encode as UTF-8.

    CR LF and CR become LF; other control characters but tab, and lone surrogates, become U+FFFD.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # joins pairs, too
    return _CONTROL.sub("\ufffd", text)


def visible(text: str) -> str:
    r"""The same with invisible characters spelled out, as in ``\u202e``, for what a reader has to approve."""
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", printable(text))


def _text(value: str) -> str:
    """Escaped text that no typesetter will touch: MathJax never looks for maths across an element's edge."""
    return escape(printable(value)).replace("\\", "<span>\\</span>").replace("$", "<span>$</span>")


def _pre(value: str) -> str:
    return f"<pre><code>{escape(visible(value))}</code></pre>"


# -- Markdown --------------------------------------------------------------------------------------

# An absolute URL with a plain host: no user part to dress up as one ("https://aws.amazon.com@evil.example"),
# no "http:path", which a browser takes as relative to the page, that is to the reader's own Jupyter server.
_URL = re.compile(r"(?:https?://([a-z0-9._-]+)(?::\d+)?(?:[/?#]|$)|mailto:[^/?])[^\s\"'<>\\]*", re.IGNORECASE)

# TeX that links, styles, names an element, loads code, or defines something that outlives the reply: MathJax
# 2 to 4 and KaTeX. JupyterLab's MathJax filters links and styles; the one in a page by nbconvert does not.
UNSAFE_TEX = re.compile(
    r"""\\(?: href | url | html | style | class | cssId | data | bbox | fcolorbox | enclose | mmlToken
      | unicode | require | includegraphics | setOptions | mathtoolsset | csname | [egx]?def | let | futurelet
      | global | (?:re)?new(?!line) | provide | define | Declare | Newextarrow | usetagform
      | texttip | mathtip | toggle | [mh]?kern | hskip | hspace | raise | lower | (?:math)?[lrc]lap | rule
      | colou?rbox | smash )""",
    re.VERBOSE,
)


def host_of(url: str) -> str | None:
    """The host of a URL that may be a link ("" for mailto), or None."""
    found = _URL.fullmatch(url)
    return None if found is None else found[1] or ""


class _Renderer(RendererHTML):
    """Tokens to HTML; methods are named after the token types that they render."""

    def text(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return _text(tokens[idx].content)

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        # The title is the address, whatever the model would rather have there.
        env["link"] = True
        tokens[idx].attrs["title"] = tokens[idx].attrs["href"]
        return self.renderToken(tokens, idx, options, env)

    def link_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        env["link"] = False
        return self.renderToken(tokens, idx, options, env)

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        url = str(tokens[idx].attrs["src"])
        alt = self.renderInlineAsText(tokens[idx].children, options, env)
        label, href = _text(f"image: {alt or 'untitled'} ({host_of(url) or url})"), escape(url)
        # HTML has no links within links.
        return label if env.get("link") else f'<a href="{href}" title="{href}">{label}</a>'

    def th_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        # JupyterLab aligns the cells of an HTML table to the right; only a style of their own undoes that.
        tokens[idx].attrs.setdefault("style", "text-align:left")
        return self.renderToken(tokens, idx, options, env)

    td_open = th_open

    def math_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        fence = tokens[idx].markup
        source = escape(fence + tokens[idx].content + fence)
        safe = UNSAFE_TEX.search(tokens[idx].content) is None
        return f'<span class="math">{source}</span>' if safe else f"<code>{source}</code>"

    def math_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"<p>{self.math_inline(tokens, idx, options, env)}</p>\n"


class _Markdown(MarkdownIt):
    """The parser: js-default (raw HTML off) with dollar maths and our idea of a link."""

    def __init__(self) -> None:
        super().__init__("js-default", renderer_cls=_Renderer)
        # No space inside and no digit outside the dollars, else "$5 to $10" would be maths.
        spaces = {"allow_space": False, "allow_digits": False, "allow_blank_lines": False}
        # The plugin brings rules for rendering, which ours then replace.
        self.use(dollarmath_plugin, allow_labels=False, double_inline=True, **spaces)
        self.add_render_rule("math_inline", _Renderer.math_inline)
        self.add_render_rule("math_inline_double", _Renderer.math_inline)
        self.add_render_rule("math_block", _Renderer.math_block)

    def validateLink(self, url: str) -> bool:
        return host_of(url) is not None

    def normalizeLinkText(self, link: str) -> str:
        return link  # not decoded: an address in punycode stays recognisable


_PARSER = _Markdown()
_REL = "noopener noreferrer nofollow"
_ALIGNMENT = {"text-align:left", "text-align:center", "text-align:right"}
_CODE = "margin:0 0 1em;padding:.4em .8em;overflow:auto;border:1px solid var(--jp-border-color2,#8888)"
_CLEANER = nh3.Cleaner(
    tags={"p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "hr", "br", "pre", "code"}
    | {"em", "strong", "s", "a", "span", "table", "thead", "tbody", "tr", "th", "td"},
    clean_content_tags={"script", "style"},
    attributes={"a": {"href", "title"}, "ol": {"start"}},
    tag_attribute_values={"th": {"style": _ALIGNMENT}, "td": {"style": _ALIGNMENT}},
    set_tag_attribute_values={"a": {"target": "_blank"}, "pre": {"style": _CODE}},
    allowed_classes={"span": {"math"}},
    url_schemes={"http", "https", "mailto"},
    attribute_filter=lambda _, name, value: None if name == "href" and host_of(value) is None else value,
    link_rel=_REL,
)


def markdown(text: str) -> str:
    """Markdown from a model as HTML that runs nothing, fetches nothing and styles nothing.

    Parameters
    ----------
    text : str
        CommonMark with tables, strikethrough and dollar maths; raw HTML is shown as text, images as links.

    Returns
    -------
    str
        An HTML fragment. Maths stands there as ``$…$`` or ``$$…$$``, for JupyterLab to typeset.
    """
    return _CLEANER.clean(_PARSER.render(printable(text)))


# -- blocks as a title and a body, both plain text -------------------------------------------------


def _json(value: object) -> str:
    """A JSON-like value as text, in one line if it is short; bytes by their number."""
    try:
        line = json.dumps(value, ensure_ascii=False, default=_opaque)
        return line if len(line) <= 80 else json.dumps(value, indent=2, ensure_ascii=False, default=_opaque)
    except (RecursionError, TypeError, ValueError):  # absurdly deep, keys of odd types, a circle
        return f"({type(value).__name__} that JSON cannot express)"


def _opaque(value: object) -> str:
    return f"({len(value)} bytes)" if isinstance(value, bytes) else f"({type(value).__name__})"


def with_tools(message: Message, before: Iterable[Message] = ()) -> Iterator[tuple[Block, str]]:
    """Each block of a message, and for a tool's result the name of that tool ("" where it is not known).

    Parameters
    ----------
    message : Message
    before : iterable of Message
        What was said before it: a result names its call by the id alone, and the call may stand there.
    """
    names = {call.id: call.name for each in before for call in each.tool_uses}
    for block in message.content:
        if isinstance(block, ToolUseBlock):
            names[block.id] = block.name  # an id that comes twice means the call that came last
        yield block, names.get(block.id, "") if isinstance(block, ToolResultBlock) else ""


def described(block: Block, tool: str = "") -> tuple[str, str]:
    """A block's title (empty for text) and its body: both as they came, to be escaped by who shows them.

    ``tool`` is the name of the tool whose result the block is, from `with_tools`.
    """
    match block:
        case TextBlock(text):
            return "", text
        case ReasoningBlock(text):
            return "Reasoning", text
        case RedactedBlock(data):
            return f"Reasoning: redacted, {len(data)} bytes", ""
        case ToolUseBlock(_, name, None, raw):
            return f"Tool use: {name}, arguments not one whole JSON object", raw
        case ToolUseBlock(_, name, input):
            return f"Tool use: {name}", _json(input)
        case ToolResultBlock(_, content, status):
            # Next to a name that nothing went wrong needs no words.
            told = "" if not status or (tool and status == "success") else f": {status}"
            return f"{f'Result of {tool}' if tool else 'Tool result'}{told}", "\n".join(map(_result, content))
        case ImageBlock(format, {"bytes": bytes(data)}, None):
            return f"Image: {format}, {len(data)} bytes", ""
        case ImageBlock(format, _, {"message": str(message)}):
            return f"Image: {format}, failed: {message}", ""
        case ImageBlock(format, source, error):
            return f"Image: {format}", _json(source if error is None else error)
        case UnknownBlock(payload):
            return f"Block: {', '.join(map(str, payload))}", _json(payload)
        case _:
            assert_never(block)


def _result(item: Mapping[str, Any]) -> str:
    match item:
        case {"text": str(given)}:
            return given
        case {"image": {"format": str(format), "source": {"bytes": bytes(data)}}}:
            return f"(image: {format}, {len(data)} bytes)"
        case _:
            return _json(item.get("json", item))


# Members of Bedrock's CitationLocation other than ``web``: what they point into, its index, and the unit.
_PLACES = {
    "documentChar": ("document", "documentIndex", "characters"),
    "documentPage": ("document", "documentIndex", "pages"),
    "documentChunk": ("document", "documentIndex", "chunks"),
    "searchResultLocation": ("search result", "searchResultIndex", "blocks"),
}


def cited(citation: Mapping[str, Any]) -> tuple[str, str, str]:
    """A citation's title, its address and its place within the source; each may be empty."""
    title, url, location = citation.get("title"), citation.get("source"), citation.get("location")
    places = []
    for name, found in location.items() if isinstance(location, Mapping) else ():
        if name == "web" and isinstance(found, Mapping):
            url = found.get("url") or url
        elif name in _PLACES and isinstance(found, Mapping):
            kind, index, unit = _PLACES[name]
            places.append(f"{kind} {found.get(index)}, {unit} {found.get('start')} to {found.get('end')}")
    return str(title or ""), str(url or ""), ", ".join(places)


def text(message: Message, *, before: Iterable[Message] = ()) -> str:
    """A whole message as plain text, safe to print: for ``text/plain`` and for terminals.

    ``before`` is what was said before it, where the names of tools are looked up (see `with_tools`).
    """
    parts, numbers = [], count(1)
    for block, tool in with_tools(message, before):
        title, body = described(block, tool)
        parts.append(f"[{visible(title)}]\n{visible(body)}".strip() if title else body)
        for citation in block.citations if isinstance(block, TextBlock) else ():
            parts[-1] += f"\n[{next(numbers)}] {', '.join(filter(None, cited(citation)))}"
    return printable("\n\n".join(parts))


# -- blocks as HTML --------------------------------------------------------------------------------

# Colours come from JupyterLab's theme, or are half transparent, which suits light and dark pages alike.
_BOX = "margin:.5em 0;padding:.3em .8em;border-left:3px solid var(--jp-border-color2,#8888)"
_DIM = "color:var(--jp-content-font-color2,inherit)"
_ROOT = '<div class="bedrock-nb">{}</div>'
_LINK = f'target="_blank" rel="{_REL}"'


def html(message: Message, *, live: bool = False, before: Iterable[Message] = ()) -> str:
    """A whole message as safe HTML under one ``<div class="bedrock-nb">``.

    Parameters
    ----------
    message : Message
    live : bool
        The message is still arriving: its last block is shown unfolded, a call of a tool says that it has no
        result yet, and pictures from tools are named only, for each repaint would send them again.
    before : iterable of Message
        What was said before it, where the names of tools are looked up (see `with_tools`).

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
        parts.append(_block(block, _text(visible(title)), body, unfolded=unfolded, pictures=not live))
        if isinstance(block, TextBlock) and block.citations:
            sources = (f"[{next(numbers)}] {_source(citation)}" for citation in block.citations)
            parts.append(f'<p style="{_DIM}">{"<br>".join(sources)}</p>')
    return _ROOT.format("".join(parts))


def card(title: str, facts: Mapping[str, str]) -> str:
    """A small card for an object's ``_repr_html_``: a title over a table of names and values, all escaped."""
    left = 'style="text-align:left"'
    rows = (f"<tr><th {left}>{_text(name)}</th><td {left}>{_text(facts[name])}</td></tr>" for name in facts)
    return _ROOT.format(
        f"<p><strong>{_text(title)}</strong></p><table><tbody>{''.join(rows)}</tbody></table>"
    )


def chapter(title: str, *parts: str, level: int = 2) -> str:
    """Pieces that `html`, `card`, `remark` and this function made, under a heading that is escaped."""
    return f'<h{level}>{_text(visible(title))}</h{level}><div style="{_BOX}">{"".join(parts)}</div>'


def paragraph(text: str) -> str:
    """A line of plain text that says what matters, escaped; for what stands beside it see `remark`."""
    return f"<p>{_text(visible(text))}</p>"


def remark(text: str) -> str:
    """A line of plain text beside what was said, escaped."""
    return f'<p style="{_DIM}">{_text(visible(text))}</p>'


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of plain texts under their heads, all escaped."""
    left = 'style="text-align:left"'
    heads = "".join(f"<th {left}>{_text(visible(cell))}</th>" for cell in head)
    body = ("".join(f"<td {left}>{_text(visible(cell))}</td>" for cell in row) for row in rows)
    filled = "".join(f"<tr>{row}</tr>" for row in body)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{filled}</tbody></table>"


def together(*parts: str) -> str:
    """Such pieces as one, under one ``<div class="bedrock-nb">``."""
    return _ROOT.format("".join(parts))


# Nothing runs and nothing is fetched, whatever may stand in it; the images of a message are in the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_LOOK = (
    ":root{color-scheme:light dark}"
    "body{max-width:50em;margin:2em auto;padding:0 1em;font:1rem/1.5 system-ui,sans-serif}"
    "th,td{padding:.1em .8em .1em 0}"
)


def page(title: str, *parts: str) -> str:
    """Such pieces as a whole HTML document that needs nothing but itself."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(visible(title))}</title>\n<style>{_LOOK}</style>\n</head>\n"
        f"<body>\n{together(*parts)}\n</body>\n</html>\n"
    )


def _waiting(message: Message) -> Sequence[int]:
    """The places of a message's calls of tools that have no result in it."""
    places: dict[str, int] = {}
    for place, block in enumerate(message.content):
        if isinstance(block, ToolUseBlock):
            places[block.id] = place
        elif isinstance(block, ToolResultBlock):
            places.pop(block.id, None)
    return list(places.values())


def _block(block: Block, title: str, body: str, *, unfolded: bool, pictures: bool) -> str:
    """A block as HTML; its title is HTML already, its body is not."""
    match block:
        case TextBlock(text):
            return markdown(text)
        case ImageBlock(format, {"bytes": bytes(data)}, None) if picture := _picture(format, data, title):
            return picture
        case ToolResultBlock(_, content) if pictures and body:
            inner, style = _results(content), _BOX
        case ToolUseBlock():
            return f'<div style="{_BOX}">{title}{_pre(body)}</div>'
        case ReasoningBlock(text):
            inner, style = markdown(text), f"{_BOX};{_DIM}"
        case _ if not body:
            return f'<p style="{_DIM}">{title}</p>'
        case _:
            inner, style = _pre(body), _BOX
    return f'<details style="{style}"{" open" * unfolded}><summary>{title}</summary>{inner}</details>'


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
                picture = _picture(format, data, _text(visible(_result(item))))
            case _:
                picture = ""
        if not picture:
            lines.append(_result(item))
            continue
        parts += [_pre("\n".join(lines)), picture] if lines else [picture]
        lines.clear()
    return "".join([*parts, *([_pre("\n".join(lines))] if lines else [])])


def _source(citation: Mapping[str, Any]) -> str:
    """A citation as a link that shows its host, or as text where its address cannot be a link."""
    title, url, place = cited(citation)
    address = _PARSER.normalizeLink(printable(url))
    host, href = host_of(address), escape(address)
    if host:
        label = f'<a href="{href}" title="{href}" {_LINK}>{_text(title or url)}</a> ({host})'
    else:
        label = _text(" ".join(filter(None, (title, url))) or "untitled source")
    return f"{label}, {_text(place)}" if place else label
