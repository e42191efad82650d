"""Markdown from a model as safe HTML.

Strategy: markdown-it-py parses it with raw HTML off; an nh3 allow-list is the second line of defence, which
would hold if the first did not. Images become links, so showing a reply fetches nothing, unless their host is
one that the reader allowed. JupyterLab typesets TeX wherever it finds it on the page, which makes TeX a
second markup language: only what the parser recognised as maths reaches it, every other ``$`` and backslash
is walled off, and maths with commands that link, style or define is shown as source.

A text is a row of top-level blocks. Each is rendered by itself, so `growing` can do one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Literal, TypeAlias

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from mdit_py_plugins.dollarmath import dollarmath_plugin

from bedrock_nb.errors import RequestError
from bedrock_nb.render import tex
from bedrock_nb.render.characters import escaped, printable, visible
from bedrock_nb.render.coloured import STYLES, coloured
from bedrock_nb.render.effort import bound

__all__ = ["PARSER", "REL", "Manner", "Maths", "address", "cleaner", "host_of", "manner", "markdown"]

#: ``$…$`` for JupyterLab to typeset, or MathML, which browsers draw by themselves.
Maths: TypeAlias = Literal["tex", "mathml"]

# An absolute URL with a plain host: no user part to dress up as one ("https://aws.amazon.com@evil.example"),
# no "http:path", which a browser takes as relative to the page, that is to the reader's own Jupyter server.
_URL = re.compile(r"(?:https?://([a-z0-9._-]+)(?::\d+)?(?:[/?#]|$)|mailto:[^/?])[^\s\"'<>\\]*", re.IGNORECASE)

#: What a link tells the page that it opens: nothing.
REL = "noopener noreferrer nofollow"


# Characters of all addresses in a text: one that is defined once may be named thousands of times.
_ADDRESSES = 200_000


@dataclass(frozen=True, slots=True)
class Manner:
    """How Markdown is shown: what becomes of maths, hosts of images, whether code has colours."""

    math: Maths = "tex"
    images: frozenset[str] = frozenset()
    colours: bool = True


def manner(math: Maths, images: Collection[str], *, colours: bool = True) -> Manner:
    """The manner that a caller asked for; raises RequestError for what is none."""
    if math not in ("tex", "mathml"):
        raise RequestError(
            f"Maths cannot be shown as {math!r}.",
            remedy='Write math="tex", for JupyterLab to typeset, or math="mathml", for other pages.',
        )
    if isinstance(images, str | bytes):
        raise RequestError(
            f"images is a collection of host names; this is one text, {images!r}.",
            remedy='Write images=["upload.wikimedia.org"].',
        )
    return Manner(math, frozenset(host.lower() for host in images), colours)


def host_of(url: str) -> str | None:
    """The host of a URL that may be a link ("" for mailto), or None."""
    found = _URL.fullmatch(url)
    return None if found is None else found[1] or ""


def address(url: str) -> str:
    """A URL in the form that goes into an attribute: percent-encoded, its host in punycode."""
    return PARSER.normalizeLink(url)


def _fetched(url: str, hosts: Collection[str]) -> bool:
    """Whether an image may be fetched: over TLS, from a host that is allowed, at the usual port."""
    host = (host_of(url) or "").lower()
    rest = url.lower().removeprefix(f"https://{host}")
    return host in hosts and rest[:8] != "https://" and rest[:1] in ("", "/", "?", "#")


_IMAGE = {"loading": "lazy", "referrerpolicy": "no-referrer", "style": "max-width:100%"}
_IMAGE_LOADS = "".join(f' {name}="{_IMAGE[name]}"' for name in _IMAGE)


# -- the parser, and tokens as HTML ----------------------------------------------------------------


class _Renderer(RendererHTML):
    """Tokens to HTML; methods are named after the token types that they render.

    ``env["manner"]`` is the `Manner`; ``env["link"]`` is true within a link.
    """

    def text(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return escaped(tokens[idx].content)

    def definition(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return ""  # of a link; `growing` needs to know where it stands

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        code, named = tokens[idx].content, tokens[idx].info.split(maxsplit=1)
        shown = coloured(code, named[0]) if named and env["manner"].colours else None
        return f"<pre><code>{escape(code) if shown is None else shown}</code></pre>\n"

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        address = str(tokens[idx].attrs["href"])
        env["addresses"] = env.get("addresses", 0) + len(address)
        env["link"] = env["addresses"] <= _ADDRESSES
        if not env["link"]:
            return ""
        # The title is the address, whatever the model would rather have there.
        tokens[idx].attrs["title"] = address
        return self.renderToken(tokens, idx, options, env)

    def link_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        linked, env["link"] = env["link"], False
        return self.renderToken(tokens, idx, options, env) if linked else ""

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        url = str(tokens[idx].attrs["src"])
        alt = self.renderInlineAsText(tokens[idx].children, options, env)
        if _fetched(url, env["manner"].images):
            return f'<img src="{escape(url)}" alt="{escape(alt)}"{_IMAGE_LOADS}>'
        # What turns the direction would hide the host.
        shown = f"image: {visible(alt) or 'untitled'} ({host_of(url) or url})"
        label, href = escaped(shown), escape(url)
        # HTML has no links within links.
        return label if env.get("link") else f'<a href="{href}" title="{href}">{label}</a>'

    def th_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        # JupyterLab aligns the cells of an HTML table to the right; only a style of their own undoes that.
        tokens[idx].attrs.setdefault("style", "text-align:left")
        return self.renderToken(tokens, idx, options, env)

    td_open = th_open

    def math_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        fence, source = tokens[idx].markup, tokens[idx].content
        if env["manner"].math == "mathml":
            drawn = tex.mathml(source.strip(), block=fence == "$$")
        else:
            unfit = tex.heavy(source) or tex.UNSAFE_TEX.search(source)
            drawn = None if unfit else escape(fence + source + fence)
            drawn = drawn and f'<span class="math">{drawn}</span>'
        return drawn or f"<code>{escape(fence + source + fence)}</code>"

    def math_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"<p>{self.math_inline(tokens, idx, options, env)}</p>\n"


class _Markdown(MarkdownIt):
    """The parser: js-default (raw HTML off) with dollar maths and our idea of a link."""

    def __init__(self) -> None:
        super().__init__("js-default", {"inline_definitions": True}, renderer_cls=_Renderer)
        bound(self)
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


PARSER = _Markdown()


# -- the second line of defence --------------------------------------------------------------------

_TAGS = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "hr", "br", "pre", "code"}
_TAGS |= {"em", "strong", "s", "a", "span", "table", "thead", "tbody", "tr", "th", "td"}
_ALIGNMENT = {"text-align:left", "text-align:center", "text-align:right"}
_CODE = "margin:0 0 1em;padding:.4em .8em;overflow:auto;border:1px solid var(--jp-border-color2,#8888)"
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
_VALUES = {"th": {"style": _ALIGNMENT}, "td": {"style": _ALIGNMENT}, "span": {"style": set(STYLES)}}
_SET = {"a": {"target": "_blank"}, "pre": {"style": _CODE}}


@lru_cache(maxsize=16)
def cleaner(math: Maths, images: frozenset[str]) -> nh3.Cleaner:
    """The allow-list: elements, attributes and values; MathML and images only where they are asked for."""
    tags, attributes, values, fixed = set(_TAGS), dict(_ATTRIBUTES), dict(_VALUES), dict(_SET)
    if math == "mathml":
        tags |= tex.ELEMENTS
        attributes |= {name: set(tex.ATTRIBUTES) for name in tex.ELEMENTS}
        values |= {name: {"style": set(tex.STYLES)} for name in tex.ELEMENTS}
    if images:
        tags |= {"img"}
        attributes |= {"img": {"src", "alt", *_IMAGE}}  # those of ours are set, and stay in their order
        fixed |= {"img": _IMAGE}

    def checked(tag: str, name: str, value: str) -> str | None:
        if name == "href":
            allowed = host_of(value) is not None
        elif name == "src":
            allowed = _fetched(value, images)
        elif tag in tex.ELEMENTS and name in tex.ATTRIBUTES:
            allowed = tex.ATTRIBUTES[name].fullmatch(value) is not None
        else:
            allowed = True
        return value if allowed else None

    return nh3.Cleaner(
        tags=tags,
        clean_content_tags={"script", "style"},
        attributes=attributes,
        tag_attribute_values=values,
        set_tag_attribute_values=fixed,
        allowed_classes={"span": {"math"}},
        url_schemes={"http", "https", "mailto"},
        attribute_filter=checked,
        link_rel=REL,
    )


def markdown(text: str, *, math: Maths = "tex", images: Collection[str] = (), colours: bool = True) -> str:
    """Markdown from a model as HTML that runs nothing, styles nothing, and fetches only what was allowed.

    Parameters
    ----------
    text : str
        CommonMark with tables, strikethrough and dollar maths; raw HTML is shown as text.
    math : {"tex", "mathml"}
        Maths as ``$…$`` and ``$$…$$``, for JupyterLab to typeset, or as MathML, which browsers draw without
        a script. Maths that is not safe, and for MathML what is not known, is shown as source.
    images : collection of str
        Host names. An image over HTTPS from one of them is shown; all others are links. A host that is
        allowed is told the address of each image, and may answer from elsewhere.
    colours : bool
        Code of a well-known language is coloured, up to 10,000 characters a block.

    Returns
    -------
    str
        An HTML fragment.

    Raises
    ------
    RequestError
        ``math`` is neither, or ``images`` is a text and not a collection.
    """
    asked = manner(math, images, colours=colours)
    html = PARSER.render(printable(text), {"manner": asked})
    return cleaner(asked.math, asked.images).clean(html)
