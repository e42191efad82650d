"""What Markdown may bring beside words: code in colours, maths, images from the network."""

from __future__ import annotations

import re
from functools import partial
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bedrock_nb import render
from bedrock_nb.errors import RequestError
from bedrock_nb.message import Message, ReasoningBlock, TextBlock
from bedrock_nb.render.coloured import LANGUAGES, STYLES, coloured
from bedrock_nb.render.tex import mathml
from tests.test_growing import calls
from tests.test_render import PROSE, Audit

# -- code ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["python", "Python", "json", "bash", "html", "c++", "sql", "r"])
def test_code_is_coloured_and_reads_as_it_did(language):
    """Colours change no character of the code, not even the dollars and backslashes in it."""
    code = "if a < b and \"$x$\" != '\\\\n':  # <b> & c\n\n  -1.5e3 /* d */\n"
    audit = Audit(render.markdown(f"```{language}\n{code}```"), PROSE)
    assert (audit.problems, audit.text) == ([], code + "\n")
    assert "style=" in str(coloured(code, language))


def test_colours_follow_the_theme():
    """A keyword has the keyword's colour, a comment is set back, and runs of one colour are one element."""
    html = coloured("def f():  # a b c\n", "python")
    found = re.findall(r'<span style="color:var\(--jp-([a-z0-9-]+),.*?">(.*?)</span>', html)
    assert found == [
        ("mirror-editor-keyword-color", "def"),
        ("mirror-editor-def-color", "f"),
        ("content-font-color2", "# a b c"),
    ]


def brightness(colour: str) -> float:
    """Relative luminance of ``#rrggbb``, as WCAG 2.2 has it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("style", sorted(STYLES))
def test_colours_without_a_theme_can_be_read(style):
    """Each style is one colour of the theme; its fallbacks have a contrast of 4.5 on white and on #111."""
    form = r"color:var\(--jp-[a-z0-9-]+,light-dark\((#[0-9a-f]{6}),(#[0-9a-f]{6})\)\)(;font-style:italic)?"
    light, dark, _ = re.fullmatch(form, style).groups()
    assert 1.05 / (brightness(light) + 0.05) >= 4.5
    assert (brightness(dark) + 0.05) / (brightness("#111111") + 0.05) >= 4.5


@pytest.mark.parametrize("info", ["", "klingon", "no such", '"onclick="xss()', "py\u202ethon", "_", "0"])
def test_code_of_no_known_language_stays_plain(info):
    """What is not one of Pygments' names changes nothing."""
    assert render.markdown(f"```{info}\nif a: b\n```") == render.markdown("```\nif a: b\n```")


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", '{"a":\n' * 1_700),
        ("java", "a b\n" * 1_001),
        ("json", "[" + "1," * 250 + "]"),
        ("yaml", "a: b\n" + "\n" * 21),
    ],
)
def test_long_code_is_not_cut_into_tokens(language, code):
    """Beyond its limits no work is done, however long it is: lexers may take time as the square of it."""
    assert coloured(code[-30:].strip() + "\n", language)
    for much in (code, 10 * code):
        coloured.cache_clear()
        assert calls(partial(coloured, much, language)) < 50 + 2 * much.count("\n")
        assert coloured(much, language) is None
    assert "color:" not in render.markdown(f"```{language}\n{code}\n```")


def test_all_languages_are_known():
    """Each name is one of Pygments', and other names of the same language count too."""
    assert [name for name in LANGUAGES if coloured("a\n", name) is None] == []
    assert coloured("x = 1", "py") == coloured("x = 1", "Python3") == coloured("x = 1", "python")


@given(st.sampled_from(["python", "js", "html+django", "tex", "yaml", "console", "md"]), st.text(max_size=80))
def test_any_text_may_be_code(language, code):
    """Whatever is said to be code comes out as it is, or not coloured at all."""
    html = coloured(code, language)
    assert html is None or unescape(re.sub("<[^>]*>", "", html)) == render.printable(code)
    assert html is None or Audit(f"<code>{html}</code>", PROSE).problems == []


def test_code_that_is_still_coming_has_no_colours():
    """Of a message that arrives, the last block is shown in one colour."""
    message = Message("assistant", (TextBlock("```python\nif a: b\n```"),))
    assert "color:var(--jp-mirror" in render.html(message)
    assert "color:var(--jp-mirror" not in render.html(message, live=True)


# -- effort ----------------------------------------------------------------------------------------

BUSY = ["[", "![", "[a][", "[[](", "![[", "[a](", '[a](b "', "[a](<", "[](", "[a]: x '\n", "![a"]


@pytest.mark.parametrize("pattern", BUSY)
def test_twice_as_many_brackets_take_twice_as_long(pattern):
    """However links are begun and not ended, and whatever addresses are known, time grows with the length."""
    few, many = (
        calls(partial(render.markdown, "[z]: https://a.example\n\n" + pattern * (n // len(pattern))))
        for n in (4_000, 8_000)
    )
    assert many < 2.3 * few
    assert many < 8_000 * 90


@pytest.mark.parametrize(
    ("begin", "again"),
    [("|a" * 60 + "\n|" + "-|" * 60, "\n|"), (f"[a]: https://a.example/{'z' * 3_000}\n\n", "[a]")],
    ids=["cells", "addresses"],
)
def test_a_short_text_makes_no_long_page(begin, again):
    """Cells that are filled up, and addresses that are named again, are shown as text beyond a bound."""
    assert len(render.markdown(begin + again * 30)) > 50_000
    assert len(render.markdown(begin + again * 4_000)) < 600_000


@pytest.mark.parametrize(
    "text",
    [
        "[" * 30 + "a" + "](https://a.example)",
        "| a | b | c |\n|---|---|---|\n" + "| 1 |\n" * 500,
        f"[a](https://a.example/{'z' * 3_900} 'title')",
        f"[{'*a*, ' * 80}](https://a.example)",
    ],
    ids=["brackets", "rows", "a long address", "a long text"],
)
def test_what_somebody_would_write_is_not_too_much(text):
    """Long links and tables are what they were: the same elements as without our bounds."""
    plain = MarkdownIt("js-default").render(text)
    for tag in ("<a", "<td"):
        assert render.markdown(text).count(tag) == plain.count(tag)


# -- maths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "shown", "element"),
    [
        (r"x^2", "x2", "msup"),
        (r"\frac{a}{b}", "ab", "mfrac"),
        (r"\sum_{i=1}^n x_i", "∑i=1nxi", "msub"),
        (r"\sqrt{a < b}", "a<b", "msqrt"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "(1234)", "mtable"),
        (r"\begin{aligned}a&=b\\c&=d\end{aligned}", "a=bc=d", "mtable"),
        (r"\mathbb{R}\;\alpha", "\u211d\u03b1", "mspace"),
        (r"\text{if } x", "if\u00a0x", "mtext"),
        (r"\color{red}{x}", "x", "mstyle"),
        (r"\operatorname*{arg\,max}_x f", "argmaxxf", "msub"),
        (r"\boxed{x}", "x", "menclose"),
    ],
)
def test_maths_is_drawn_without_a_script(source, shown, element):
    """As MathML, in a line and by itself, with every sign of it."""
    for text, display in ((f"${source}$", "inline"), (f"$$\n{source}\n$$", "block")):
        html = render.markdown(text, math="mathml")
        audit = Audit(html, PROSE, math=True)
        assert (audit.problems, audit.text.strip()) == ([], shown)
        assert f'<math display="{display}">' in html
        assert f"<{element}" in html


@pytest.mark.parametrize(
    "source",
    [
        r"\href{javascript:xss()}{x}",
        r"\unknowncommand{x}",
        r"\frac{a}",
        r"\begin{nothing}a\end{nothing}",
        r"\text{\(x\)}",
        r"\newcommand{\z}{x}",
        "{" * 900 + "x" + "}" * 900,
        "x" * 2_001,
        r"\left(" * 300,
    ],
    ids=lambda source: source[:9],
)
def test_maths_that_cannot_be_drawn_is_shown_as_source(source):
    """What is unsafe, unknown, wrong, too long or too deep stands there as it was written."""
    html = render.markdown(f"a ${source}$", math="mathml")
    assert unescape(html) == f"<p>a <code>${source}$</code></p>\n"


def test_text_in_maths_is_text():
    """What looks like markup, or like a character reference, is shown as it was written."""
    html = render.markdown(r"$\text{<img src=x onerror=xss()> &lt;b&gt;&#xd800;&#x1b;}$", math="mathml")
    audit = Audit(html, PROSE, math=True)
    assert (audit.problems, audit.text) == (
        [],
        "<img src=x onerror=xss()> &lt;b&gt;\ufffd\ufffd\n".replace(" ", "\u00a0"),
    )


@given(st.text(st.sampled_from("ab1{}^_&\\$<>'\" \n[]()%~"), max_size=40), st.booleans())
def test_any_text_may_be_maths(source, block):
    """Whatever stands between dollars gives harmless MathML or none."""
    drawn = mathml(source, block=block)
    assert drawn is None or Audit(drawn, PROSE, math=True).problems == []


@pytest.mark.parametrize("block", [TextBlock("$x$"), ReasoningBlock("$x$")])
def test_a_message_takes_the_same_manner(block):
    """Text and reasoning are shown in the manner that was asked for."""
    message = Message("assistant", (block,))
    assert "<math" in render.html(message, math="mathml")
    assert '<span class="math">$x$</span>' in render.html(message)
    with pytest.raises(RequestError, match="math="):
        render.html(message, math="latex")


# -- images ----------------------------------------------------------------------------------------


def sources(markdown: str, *hosts: str) -> list[str]:
    html = render.markdown(markdown, images=hosts)
    assert Audit(html, PROSE, hosts=tuple(map(str.lower, hosts))).problems == []
    return re.findall('<img src="(.*?)"', html)


def test_an_image_from_an_allowed_host_is_shown():
    """It comes when it is looked at, its host is not told from where, and it is no wider than the page."""
    html = render.markdown("![a *b* \"$](https://i.example/c?d&e 'title')", images=["I.example"])
    loads = 'loading="lazy" referrerpolicy="no-referrer" style="max-width:100%"'
    assert html == f'<p><img src="https://i.example/c?d&amp;e" alt="a b &quot;$" {loads}></p>\n'


@pytest.mark.parametrize(
    "markdown",
    [
        "[![a](https://i.example/b)](https://a.example)",
        "![a][i]\n\n[i]: https://i.example/b",
        "# ![](https://i.example/b)",
        "|a|\n|-|\n|![a](https://i.example/b)|",
        "- > ![a](<https://i.example/b>)",
    ],
)
def test_an_allowed_image_may_stand_anywhere(markdown):
    """In a link, by reference, in a heading, a cell, a quotation."""
    assert sources(markdown, "I.Example", "j.example") == ["https://i.example/b"]
    assert sources(markdown, "j.example") == sources(markdown) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://i.example/a",
        "https://i.example:8443/a",
        "https://i.example.evil.example/a",
        "https://evil.example/i.example",
        "https://u@i.example/a",
        "https://evil.example#https://i.example/a",
        "//i.example/a",
        "https:i.example/a",
        "data:image/png;base64,AA",
        "mailto:i.example",
    ],
)
def test_only_the_host_itself_is_allowed(url):
    """Over TLS, at its own name and the usual port."""
    assert sources(f"![a]({url})", "i.example", "") == []


def test_hosts_are_a_collection():
    """One text would allow each of its letters."""
    with pytest.raises(RequestError, match="collection of host names"):
        render.markdown("a", images="i.example")


# -- errors ----------------------------------------------------------------------------------------


def test_an_error_is_told_in_plain_words():
    """A title, a sentence, a table if there are facts; nothing in it is markup, and nothing is hidden."""
    html = render.error("No <b>access</b>", "The model\nsaid $x$.", {"code": "Access\u202eDenied"})
    audit = Audit(html, PROSE | set(re.findall('style="(.*?)"', html)))
    assert audit.problems == []
    assert audit.text == "No <b>access</b>The modelsaid $x$.codeAccess\\u202eDenied"
    assert "border-left:3px solid var(--jp-error-color1,#b00020)" in html
    assert "<table>" not in render.error("a", "b", {})
