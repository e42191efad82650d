"""Rendering: what hostile text must never become, and what honest text must look like."""

from __future__ import annotations

import re
from base64 import b64encode
from html.parser import HTMLParser

import pytest

from bedrock_nb import render
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
)
from bedrock_nb.render.coloured import STYLES
from bedrock_nb.render.markup import cleaner
from tests.xss import CASES

PNG = b"\x89PNG\r\n\x1a\n and so on"
IMAGES = {"png": PNG, "jpeg": b"\xff\xd8\xff\xe0", "gif": b"GIF89a", "webp": b"RIFF\x0a\n\x00\x00WEBPVP8 "}

# -- an independent reader of HTML -----------------------------------------------------------------

MARKDOWN_TAGS = {
    "p",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "ul",
    "ol",
    "li",
    "hr",
    "br",
    "pre",
    "code",
}
MARKDOWN_TAGS |= {"em", "strong", "s", "a", "span", "table", "thead", "tbody", "tr", "th", "td"}
WRAPPER_TAGS = {"div", "details", "summary", "img"}
VOID = {"hr", "br", "img"}
ATTRIBUTES = {
    "a": {"href", "title", "target", "rel"},
    "ol": {"start"},
    "div": {"class", "style"},
    "span": {"class", "style"},
    "p": {"style"},
    "pre": {"style"},
    "details": {"style", "open"},
    "th": {"style"},
    "td": {"style"},
    "img": {"src", "alt", "style"},
}
MATH_TAGS = {"math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mfrac", "msqrt", "mroot", "msub", "msup"}
MATH_TAGS |= {"msubsup", "munder", "mover", "munderover", "mtable", "mtr", "mtd", "mstyle", "mpadded"}
MATH_TAGS |= {"mphantom", "menclose", "mmultiscripts", "mprescripts", "none"}
MATH_ATTRIBUTES = {"display", "stretchy", "fence", "separator", "accent", "displaystyle", "largeop", "form"}
MATH_ATTRIBUTES |= {"movablelimits", "scriptlevel", "mathvariant", "mathcolor", "notation", "width", "height"}
MATH_ATTRIBUTES |= {"depth", "lspace", "rspace", "voffset", "linethickness", "minsize", "maxsize", "mathsize"}
MATH_ATTRIBUTES |= {"rowspacing", "columnspacing", "rowlines", "columnlines", "columnalign"}
MATH_STYLES = {("style", style) for style in ("text-align:left", "text-align:right")}
MATH_STYLES |= {("style", f"font-{look}") for look in ("weight:bold", "style:italic", "family:monospace")}
MATH_STYLES |= {("style", "font-family:sans-serif"), ("style", "font-weight:bold;font-style:italic")}
FETCHED = {"loading": "lazy", "referrerpolicy": "no-referrer", "style": "max-width:100%"}
CLASSES = {("div", "bedrock-nb"), ("span", "math")}
LINK = re.compile(r"https?://[a-zA-Z0-9._-]+(:\d+)?([/?#][!-~]*)?|mailto:[!-~]+")
DATA = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+=*")
TEX = re.compile(
    r"\\(href|style|bbox|fcolorbox|class|cssId|mmlToken|require|def|let|new|renew|csname|html|url|data)"
)


class Audit(HTMLParser):
    """Everything in a piece of HTML that should not be there, as a list of sentences.

    MathML and images from the network should not, unless ``math`` and ``hosts`` say so.
    """

    def __init__(
        self, html: str, styles: set[str], *, math: bool = False, hosts: tuple[str, ...] = ()
    ) -> None:
        super().__init__(convert_charrefs=True)
        self.styles, self.text, self.roots = styles, "", 0
        self.math, self.hosts = math, hosts
        self.problems: list[str] = []
        self.open: list[tuple[str, str | None]] = []
        self.feed(html)
        if "<" in self.rawdata:
            self.problems.append(f"a tag without an end: {self.rawdata!r}")
        self.close()
        if self.open:
            self.problems.append(f"never closed: {self.open}")

    def handle_starttag(self, tag, attrs):
        self.roots += not self.open
        in_math = self.math and (tag == "math" or ("math", None) in self.open)
        if in_math and tag in MATH_TAGS:
            self.check_math(tag, attrs)
        elif tag == "img" and self.hosts:
            self.check_fetched(dict(attrs))
        else:
            if tag not in MARKDOWN_TAGS | WRAPPER_TAGS or in_math:
                self.problems.append(f"element <{tag}>{' in maths' * in_math}")
            for name, value in attrs:
                self.check(tag, name, value or "")
        if tag == "a" and dict(attrs).get("rel") != "noopener noreferrer nofollow":
            self.problems.append(f"a link without rel: {attrs}")
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("class")))

    def check_math(self, tag, attrs):
        for name, value in attrs:
            if (name, value) not in MATH_STYLES and not (
                name in MATH_ATTRIBUTES and re.fullmatch(r"[-+.# a-zA-Z0-9]*", value)
            ):
                self.problems.append(f"attribute {name}={value!r} of <{tag}>")

    def check_fetched(self, attrs):
        host = re.match("https://([a-z0-9.-]+)(?:[/?#]|$)", attrs.pop("src", f"https://{self.hosts[0]}"))
        attrs.pop("alt", None)
        if attrs != FETCHED or host is None or host[1] not in self.hosts:
            self.problems.append(f"an image from {host} with {attrs}")

    def check(self, tag, name, value):
        wrong = {
            "href": lambda: not LINK.fullmatch(value),
            "src": lambda: not DATA.fullmatch(value),
            "style": lambda: value not in self.styles,
            "class": lambda: (tag, value) not in CLASSES,
            "target": lambda: value != "_blank",
        }.get(name, lambda: False)
        if name not in ATTRIBUTES.get(tag, set()) or wrong():
            self.problems.append(f"attribute {name}={value!r} of <{tag}>")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop()[0] != tag:
            self.problems.append(f"</{tag}> closes nothing of its own")

    def handle_data(self, data):
        self.text += data
        if any(tag in ("pre", "code") for tag, _ in self.open):
            return  # MathJax and KaTeX leave code alone
        if self.math and ("math", None) in self.open:
            if data.count("$") > 1 or ("\\" in data and data != "\\"):
                self.problems.append(f"TeX in MathML: {data!r}")
        elif ("span", "math") in self.open:
            if TEX.search(data):
                self.problems.append(f"TeX {data!r}")
        elif ("$" in data or "\\" in data) and not (
            data in ("$", "\\") and self.open[-1:] == [("span", None)]
        ):
            self.problems.append(f"text that a typesetter may take for maths: {data!r}")

    def stray(self, *_):
        self.problems.append(f"a comment or declaration: {_}")

    handle_comment = handle_decl = handle_pi = unknown_decl = stray


def shot(data: bytes, format: str = "png") -> dict:
    """A picture as a tool gives it."""
    return {"image": {"format": format, "source": {"bytes": data}}}


def everywhere(text: str) -> Message:
    """A message with this text at every place where a stranger can put text."""
    web = {"title": text, "source": text, "location": {"web": {"url": text, "domain": text}}}
    titled = {"title": text, "location": {"web": {"url": "https://a.example"}}}
    hidden = {"title": "x", "location": {"web": {"url": f"https://{text}"}}}
    place = {
        "source": text,
        "location": {"documentPage": {"documentIndex": text, "start": text, "end": text}},
    }
    return Message(
        text,
        (
            ReasoningBlock(text, text),
            TextBlock(text, (web, titled, hidden, place, {"location": text, "title": [text]})),
            ToolUseBlock(text, text, {text: [text]}, text, text),
            ToolUseBlock(text, text, None, text, text),
            ToolResultBlock(text, ({"text": text}, {"json": {text: text}}, {text: PNG}), text, text),
            ToolResultBlock("elsewhere", (shot(PNG), shot(PNG, text), {"text": text}, {"image": text})),
            ImageBlock(text, {"bytes": PNG}),
            ImageBlock("png", {"bytes": text.encode(errors="replace")}),
            ImageBlock("png", {"bytes": PNG}, {"message": text}),
            ImageBlock("png", {"s3Location": {"uri": text}}),
            ImageBlock("png", {"bytes": PNG}),
            RedactedBlock(text.encode(errors="replace")),
            UnknownBlock({text: {"bytes": PNG, "text": text}}),
        ),
    )


def prefixes(text: str, step: int) -> list[str]:
    """What is there of a text at each step of a stream, and in larger steps beyond 80 characters."""
    return [
        text[:end] for end in [*range(1, min(len(text), 80), step), *range(80, len(text), len(text) // 8)]
    ]


def shape(html: str) -> str:
    """HTML with the attributes of each element in the order of their names."""
    given = re.compile(r' [^ =>]+="[^"]*"')
    return re.sub(
        r'<\w+(?: [^ =>]+="[^"]*")*',
        lambda tag: tag[0].split()[0] + "".join(sorted(given.findall(tag[0]))),
        html,
    )


def styles(html: str) -> set[str]:
    return set(re.findall(r'style="([^"]*)"', html))


CODE = styles(render.markdown("    code")).pop()
PROSE = {"text-align:left", "text-align:center", "text-align:right", CODE} | STYLES
OURS = styles(render.html(everywhere("plain")) + render.error("a", "b", {"c": "d"})) | PROSE
hostile = pytest.mark.parametrize("payload", [text for _, text in CASES], ids=[name for name, _ in CASES])

# -- hostile text ----------------------------------------------------------------------------------


def test_there_are_payloads_enough():
    """The table holds hundreds of different payloads, and the reader of HTML catches raw ones."""
    assert len({payload for _, payload in CASES}) == len(CASES) > 300
    raw = [
        payload for _, payload in CASES if re.match(r"<(script|img|svg|math|iframe|style|form|p)\b", payload)
    ]
    assert len(raw) > 40
    assert [payload for payload in raw if not Audit(payload, OURS).problems] == []
    assert [payload for payload in raw if not Audit(payload, OURS, math=True).problems] == []


@hostile
def test_markdown_of_hostile_text_is_harmless(payload):
    """Markdown gives no element, attribute, style, address or TeX outside the allow-list, in any manner."""
    assert Audit(render.markdown(payload), PROSE).problems == []
    drawn = render.markdown(payload, math="mathml", images=["allowed.example"])
    assert Audit(drawn, PROSE, math=True, hosts=("allowed.example",)).problems == []
    # A browser reads from it what was written: no element changes its place or its language.
    assert shape(cleaner("mathml", frozenset({"allowed.example"})).clean(drawn)) == shape(drawn)


@hostile
def test_hostile_text_is_harmless_at_every_place_of_a_message(payload):
    """Names, arguments, results, reasoning, citations, errors: none of them leaves its place."""
    for live in (False, True):
        audit = Audit(render.html(everywhere(payload), live=live), OURS)
        assert (audit.problems, audit.roots) == ([], 1)
    audit = Audit(render.html(everywhere(payload), math="mathml"), OURS, math=True)
    assert (audit.problems, audit.roots) == ([], 1)
    for card in (
        render.card(payload, {payload: payload}),
        render.error(payload, payload, {payload: payload}),
    ):
        audit = Audit(card, OURS)
        assert (audit.problems, audit.roots) == ([], 1)


@hostile
def test_hostile_text_is_harmless_while_it_arrives(payload):
    """The same holds for what is there of the text in the course of a stream, in both manners of maths."""
    for part in prefixes(payload, 3):
        assert Audit(render.markdown(part), PROSE).problems == []
        assert Audit(render.markdown(part, math="mathml"), PROSE, math=True).problems == []
    for part in prefixes(payload, 9):
        assert Audit(render.html(everywhere(part), live=True), OURS).problems == []


@hostile
def test_the_second_line_of_defence_holds_alone(payload):
    """The allow-list makes raw markup harmless even if the Markdown parser let it through."""
    problems = Audit(cleaner("tex", frozenset()).clean(render.printable(payload)), PROSE).problems
    both = cleaner("mathml", frozenset({"allowed.example"})).clean(render.printable(payload))
    problems += Audit(both, PROSE, math=True, hosts=("allowed.example",)).problems
    # Maths is the first line's business, and MathML's texts may hold HTML; elements, attributes and addresses
    # are everybody's.
    assert [
        problem
        for problem in problems
        if not problem.startswith(("TeX", "text that a typesetter")) and not problem.endswith("> in maths")
    ] == []


@hostile
def test_plain_text_obeys_no_control_characters(payload):
    """Plain text can be printed: no escape sequences, no carriage returns, and it is valid Unicode."""
    plain = render.text(everywhere(payload))
    plain.encode()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", plain)


@pytest.mark.parametrize(
    "hidden",
    [
        "\u202e",
        "\u200b",
        "\u2066",
        "\ufeff",
        "\U000e0041",
        "\u034f",
        "\u115f",
        "\u17b4",
        "\u180e",
        "\u2800",
        "\u3164",
        "\uffa0",
        "\ufff9",
        "\ufe01",
        "\ufe0f",
        "\U000e0101",
    ],
    ids=ascii,
)
def test_what_a_reader_approves_hides_nothing(hidden):
    """Invisible characters in a tool's name and arguments are spelled out."""
    message = Message("assistant", (ToolUseBlock("id", f"a{hidden}b", {f"c{hidden}": hidden}, "{}"),))
    for shown in (render.html(message), render.text(message)):
        assert hidden not in shown
        assert shown.count(f"u{ord(hidden):04x}") == 3


def test_the_host_of_a_link_stays_behind_its_label():
    """Neither a title of a source nor an image's description turns the direction of what comes after it."""
    cited = {"title": "a\u202e", "location": {"web": {"url": "https://a.example"}}}
    message = Message("assistant", (TextBlock("![b\u202e](https://b.example)", (cited,)),))
    shown = render.html(message)
    assert "\u202e" not in shown
    assert Audit(shown, OURS).text == "image: b\\u202e (b.example)\n[1] a\\u202e (a.example)"
    assert render.text(message).endswith("[1] a\\u202e, https://a.example")


@pytest.mark.parametrize(
    "text", ["\u2764\ufe0f \u2600\ufe0e", "1\ufe0f\u20e3", "\U0001f5d1\ufe0f"], ids=ascii
)
def test_what_makes_a_sign_colourful_is_not_hidden(text):
    """A selector after a sign that it changes can be seen; another one after it cannot."""
    assert render.visible(text) == text
    assert render.visible(f"{text}\ufe0f") == f"{text}\\ufe0f"


@pytest.mark.parametrize(
    ("format", "data"),
    [
        ("png", b"<svg onload=xss()>"),
        ("svg", b"<svg>"),
        ("svg+xml", PNG),
        ('png" onerror="xss()', PNG),
        ("gif", PNG),
        ("png", b""),
        ("webp", b"RIFF----WAVE"),
        ("", PNG),
    ],
)
def test_only_images_become_images(format, data):
    """A format that Bedrock does not name, or bytes of another format, are named and not shown."""
    audit = Audit(render.html(Message("assistant", (ImageBlock(format, {"bytes": data}),))), OURS)
    assert audit.problems == []
    assert audit.text == f"Image: {format}, {len(data)} bytes"


@pytest.mark.parametrize(
    "text",
    ["[" * 3000, "> " * 3000, "*a_" * 2000, "`" * 3000, "$" * 3000, "1. " * 500, "|" * 3000, "![" * 1000],
    ids=lambda text: text[:3],
)
def test_absurd_nesting_is_survived(text):
    """Text that nests without end is rendered, harmlessly."""
    assert Audit(render.markdown(text), PROSE).problems == []


def test_json_that_cannot_be_shown_does_not_break_the_message():
    """Arguments too deep for the encoder are replaced by a remark."""
    deep: dict = {}
    for _ in range(100_000):
        deep = {"a": deep}
    message = Message("assistant", (ToolUseBlock("id", "tool", deep, ""), TextBlock("after")))
    assert "that JSON cannot express" in render.html(message)
    assert "after" in render.text(message)


# -- honest text -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# One\n\n### Three", "<h1>One</h1>\n<h3>Three</h3>\n"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n"),
        ("3. a\n4. b", '<ol start="3">\n<li>a</li>\n<li>b</li>\n</ol>\n'),
        ("**b** *i* ~~s~~ `c<d`", "<p><strong>b</strong> <em>i</em> <s>s</s> <code>c&lt;d</code></p>\n"),
        ("> q", "<blockquote>\n<p>q</p>\n</blockquote>\n"),
        ("a\\\nb\n\n---", "<p>a<br>\nb</p>\n<hr>\n"),
        ("```\nif a < b:\n```", f'<pre style="{CODE}"><code>if a &lt; b:\n</code></pre>\n'),
        ("<b>x</b> & y", "<p>&lt;b&gt;x&lt;/b&gt; &amp; y</p>\n"),
        ("a www.a.example b", "<p>a www.a.example b</p>\n"),
        ("naïve 日本語 \U0001f308", "<p>naïve 日本語 \U0001f308</p>\n"),
        ("", ""),
    ],
)
def test_markdown(text, expected):
    """The Markdown that models write comes out as the HTML that readers expect."""
    assert render.markdown(text) == expected


@pytest.mark.parametrize(
    ("text", "math"),
    [
        ("the $x^2$ of", ["$x^2$"]),
        ("$a < b$ and $c & d$", ["$a < b$", "$c & d$"]),
        (
            r"$\frac{a}{b}$, $\left(x\right)$, $\cancel{y}$",
            [r"$\frac{a}{b}$", r"$\left(x\right)$", r"$\cancel{y}$"],
        ),
        ("$$\n\\begin{aligned}\na &= b \\\\\n\\newline c_1 * d_2 *\n\\end{aligned}\n$$", None),
        ("inline $$x$$ display", ["$$x$$"]),
        ("$a*b*c$ and _d_", ["$a*b*c$"]),
        ("from $5 to $10, or $5-$10", []),
        ("`$x$`", []),
        (r"\$x\$", []),
    ],
)
def test_maths_reaches_the_typesetter_unchanged(text, math):
    """Dollar maths keeps its TeX to the letter; money and code are not maths."""
    found = re.findall(r'<span class="math">(.*?)</span>', render.markdown(text), re.DOTALL)
    read = [Audit(f'<span class="math">{source}</span>', PROSE).text for source in found]
    assert read == ([text] if math is None else math)


@pytest.mark.parametrize("text", ["costs $5", "C:\\dir", r"a \\ b", "100 % of $x", r"\alpha", "$", "\\"])
def test_text_reads_as_it_did(text):
    """The walls round dollars and backslashes are not seen by a reader."""
    assert Audit(render.card("x", {"y": text}), OURS).text == f"xy{text}"


def test_tables_are_aligned_as_written():
    """Cells go to the left unless the Markdown says otherwise, whatever the page's own style."""
    html = render.markdown("|a|b|c|\n|-|:-:|--:|\n|1|2|3|")
    sides = ["left", "center", "right"]
    assert re.findall(r'<th style="text-align:(\w+)">', html) == sides
    assert re.findall(r'<td style="text-align:(\w+)">', html) == sides


@pytest.mark.parametrize(
    ("text", "href", "label"),
    [
        ("[a](https://a.example/b?c=d&e#f 'title')", "https://a.example/b?c=d&amp;e#f", "a"),
        ("[a][1]\n\n[1]: http://a.example:8080", "http://a.example:8080", "a"),
        ("<https://a.example/b>", "https://a.example/b", "https://a.example/b"),
        ("<a@b.example>", "mailto:a@b.example", "a@b.example"),
        ("[ä](https://bücher.example/ü)", "https://xn--bcher-kva.example/%C3%BC", "ä"),
        ("<https://xn--bcher-kva.example>", "https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("![a *b*](https://a.example/c.png)", "https://a.example/c.png", "image: a b (a.example)"),
        ("![](https://a.example/c.png)", "https://a.example/c.png", "image: untitled (a.example)"),
        ("[![b](https://i.example/b)](https://a.example)", "https://a.example", "image: b (i.example)"),
    ],
)
def test_links(text, href, label):
    """A link opens a page of its own, tells it nothing, and has its address for a title."""
    opened = f'<a href="{href}" title="{href}" target="_blank" rel="noopener noreferrer nofollow">'
    assert render.markdown(text) == f"<p>{opened}{label}</a></p>\n"


def test_an_image_links_unless_a_link_holds_it():
    """Of an image within a link and one after it, the second is a link of its own."""
    html = render.markdown("[![b](https://i.example/b)](https://a.example) ![c](https://i.example/c)")
    assert re.findall('href="(.*?)"', html) == ["https://a.example", "https://i.example/c"]


@pytest.mark.parametrize(
    "url",
    [
        "javascript:xss()",
        "data:image/png;base64,AA",
        "/api",
        "http:api",
        "//a.example",
        "#a",
        "https://u@a.example",
    ],
)
def test_what_cannot_be_a_link_is_shown_as_written(url):
    """A refused address stays readable, in a link and in an image."""
    for source in (f"[a]({url})", f"![a]({url})"):
        assert render.markdown(source) == f"<p>{source}</p>\n"


# -- messages --------------------------------------------------------------------------------------


def one(*blocks: Block) -> Message:
    return Message("assistant", blocks)


def read(message: Message) -> str:
    return Audit(render.html(message), OURS).text


@pytest.mark.parametrize(
    ("block", "as_html", "as_text"),
    [
        (TextBlock("a *b*"), "a b\n", "a *b*"),
        (ReasoningBlock("so *far*", "sig"), "Reasoningso far\n", "[Reasoning]\nso *far*"),
        (RedactedBlock(b"abc"), "Reasoning: redacted, 3 bytes", "[Reasoning: redacted, 3 bytes]"),
        (ToolUseBlock("1", "f", {"a": "ü"}, ""), 'Tool use: f{"a": "ü"}', '[Tool use: f]\n{"a": "ü"}'),
        (
            ToolUseBlock("1", "f", None, '{"a'),
            'Tool use: f, arguments not one whole JSON object{"a',
            '[Tool use: f, arguments not one whole JSON object]\n{"a',
        ),
        (
            ToolResultBlock("1", ({"text": "sun"}, {"json": [1]}, {"video": b"12"}), "success"),
            'Tool result: successsun\n[1]\n{"video": "(2 bytes)"}',
            '[Tool result: success]\nsun\n[1]\n{"video": "(2 bytes)"}',
        ),
        (ImageBlock("png", {"bytes": PNG}), "", f"[Image: png, {len(PNG)} bytes]"),
        (ImageBlock("png", {}, {"message": "no"}), "Image: png, failed: no", "[Image: png, failed: no]"),
        (
            ImageBlock("gif", {"s3Location": {"uri": "s3://a/b"}}),
            'Image: gif{"s3Location": {"uri": "s3://a/b"}}',
            '[Image: gif]\n{"s3Location": {"uri": "s3://a/b"}}',
        ),
        (UnknownBlock({"new": 1}), 'Block: new{"new": 1}', '[Block: new]\n{"new": 1}'),
        (
            UnknownBlock({"document": {"name": "<b>", "format": "txt"}}),
            'Document: <b> (txt){"document": {"name": "<b>", "format": "txt"}}',
            '[Document: <b> (txt)]\n{"document": {"name": "<b>", "format": "txt"}}',
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_each_block_says_what_it_is(block, as_html, as_text):
    """Every kind of block is readable in both forms."""
    assert read(one(block)) == as_html
    assert render.text(one(block)) == as_text


@pytest.mark.parametrize("format", IMAGES)
def test_images_from_bedrock_are_shown_inline(format):
    """The bytes that came in the reply are in the page; nothing is fetched."""
    html = render.html(one(ImageBlock(format, {"bytes": IMAGES[format]})))
    assert f'<img src="data:image/{format};base64,{b64encode(IMAGES[format]).decode()}" alt="Image: ' in html


@pytest.mark.parametrize(
    ("citation", "as_html", "as_text"),
    [
        (
            {"title": "T", "location": {"web": {"url": "https://a.example/b", "domain": "aws.com"}}},
            "[1] T (a.example)",
            "[1] T, https://a.example/b",
        ),
        ({"title": "T", "source": "http://a.example"}, "[1] T (a.example)", "[1] T, http://a.example"),
        ({"source": "https://a.example"}, "[1] https://a.example (a.example)", "[1] https://a.example"),
        ({"source": "javascript:xss()"}, "[1] javascript:xss()", "[1] javascript:xss()"),
        (
            {"title": "D", "location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}},
            "[1] D, document 0, pages 1 to 2",
            "[1] D, document 0, pages 1 to 2",
        ),
        (
            {"location": {"searchResultLocation": {"searchResultIndex": 3, "start": 0, "end": 1}}},
            "[1] untitled source, search result 3, blocks 0 to 1",
            "[1] search result 3, blocks 0 to 1",
        ),
    ],
)
def test_citations(citation, as_html, as_text):
    """A citation names its source, and the host that its link really leads to."""
    message = one(TextBlock("x", (citation,)))
    assert read(message) == f"x\n{as_html}"
    assert render.text(message) == f"x\n{as_text}"


def test_citations_are_numbered_through_the_message():
    """The second block's first source does not begin at one again."""
    source = {"title": "T"}
    message = one(TextBlock("a", (source, source)), TextBlock("b", (source,)))
    assert (
        re.findall(r"\[(\d)\]", read(message)) == re.findall(r"\[(\d)\]", render.text(message)) == list("123")
    )


def test_reasoning_is_folded_once_something_follows():
    """While reasoning arrives it can be watched; after that it is out of the way."""
    thought = ReasoningBlock("hm")
    assert "<details" in render.html(one(thought))
    assert " open>" not in render.html(one(thought))
    assert " open>" in render.html(one(thought), live=True)
    assert " open>" not in render.html(one(thought, TextBlock("so")), live=True)


CALLED = one(ToolUseBlock("1", "wea\u202ether", {}, "{}"))


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (None, "Result of wea\\u202ether"),
        ("success", "Result of wea\\u202ether"),
        ("error", "Result of wea\\u202ether: error"),
    ],
)
def test_a_result_has_the_name_of_its_tool(status, title):
    """Its call is looked up in the message and in what was said before; nothing is hidden in the name."""
    result = ToolResultBlock("1", ({"text": "sun"},), status)
    whole, alone = one(*CALLED.content, result), one(result)
    assert read(whole).endswith(f"{title}sun")
    assert render.text(whole).endswith(f"[{title}]\nsun")
    assert Audit(render.html(alone, before=[CALLED]), OURS).text == f"{title}sun"
    assert render.text(alone, before=[CALLED]) == f"[{title}]\nsun"
    assert "Result of" not in read(alone)


def test_an_id_that_comes_twice_means_the_last_call():
    """As in a turn of several rounds whose model counts from one each time."""
    first, second = (ToolUseBlock("1", name, {}, "{}") for name in "ab")
    result = ToolResultBlock("1", ())
    shown = re.findall("Result of (.)", render.text(one(first, result, second, result)))
    assert shown == ["a", "b"]


def test_a_picture_of_a_tool_is_shown():
    """In the page as an image where its bytes are one, between the text; in plain text by its size."""
    content = ({"text": "a"}, shot(PNG), {"text": "b"}, shot(b"<svg onload=xss()>"), {"json": 1})
    message = one(ToolResultBlock("1", content))
    html = render.html(message)
    sources = re.findall('src="(.*?)"', html)
    assert sources == [f"data:image/png;base64,{b64encode(PNG).decode()}"]
    assert re.findall("<code>(.*?)</code>", html, re.DOTALL) == ["a", "b\n(image: png, 18 bytes)\n1"]
    assert html.index("<details") < html.index("<code>a") < html.index("<img") < html.index("<code>b")
    sizes = [f"(image: png, {len(data)} bytes)" for data in (PNG, b"<svg onload=xss()>")]
    assert render.text(message) == "\n".join(["[Tool result]", "a", sizes[0], "b", sizes[1], "1"])


def test_a_picture_of_a_tool_waits_for_the_end():
    """Each repaint of what is still arriving would send it again, so it is named only."""
    live = render.html(one(ToolResultBlock("1", (shot(PNG),))), live=True)
    assert "<img" not in live
    assert f"(image: png, {len(PNG)} bytes)" in live


def test_a_running_tool_is_told():
    """A call without a result says so while the message arrives, and no longer when it has ended."""
    calls = [ToolUseBlock(id, name, {}, "{}") for id, name in [("1", "a"), ("2", "b")]]
    message = one(*calls, ToolResultBlock("1", ({"text": "x"},)))
    live = Audit(render.html(message, live=True), OURS).text
    assert "Tool use: a{}Tool use: b, no result yet{}" in live
    assert "no result" not in read(message) + render.text(message)


def test_an_empty_message_is_an_empty_root():
    """Nothing to show is shown as nothing."""
    assert render.html(one()) == '<div class="bedrock-nb"></div>'
    assert render.text(one()) == ""


def test_a_card_is_a_title_over_a_table():
    """Names and values stand in the order given."""
    audit = Audit(render.card("Reply", {"model": "m", "events": "12"}), OURS)
    assert (audit.problems, audit.text) == ([], "Replymodelmevents12")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb\rc\td", "a\nb\nc\td"),
        ("\x1b[31m", "\ufffd[31m"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ud83d", "\ufffd"),
    ],
    ids=ascii,
)
def test_printable(text, expected):
    """Line ends are line feeds, halves of characters are joined or marked, control characters are marked."""
    assert render.printable(text) == expected
