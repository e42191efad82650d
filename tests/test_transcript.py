"""transcript.py and inert.py: all of a conversation is there, and nothing of it runs, fetches or pretends."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bedrock_nb import render
from bedrock_nb.conversation import inert, transcript
from bedrock_nb.conversation.history import Exchange
from bedrock_nb.message import Message, ReasoningBlock, TextBlock, ToolResultBlock, ToolUseBlock
from bedrock_nb.toolruns import ToolRun
from tests.messages import MESSAGES
from tests.test_render import OURS, PNG, Audit, everywhere, styles
from tests.xss import CASES

# -- an independent reader of Markdown -------------------------------------------------------------

VIEWERS = [
    MarkdownIt("commonmark"),  # raw HTML runs
    MarkdownIt("commonmark").enable(["table", "strikethrough"]),
]
for viewer in VIEWERS:
    viewer.validateLink = lambda url: True  # type: ignore[method-assign]  # a careless viewer
ELEMENTS = {
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
ELEMENTS |= {"em", "strong", "s", "a", "table", "thead", "tbody", "tr", "th", "td"}
ATTRIBUTES = {"href", "title", "start", "class", "style"}
LINK = re.compile(r"https?://[a-zA-Z0-9._-]+(:\d+)?([/?#]\S*)?|mailto:\S+")
RUNS = re.compile(
    r"\\(href|style|class|cssId|bbox|mmlToken|require|data|[egx]?def|let|csname|html|url|include)"
)


class Shown(HTMLParser):
    """What a viewer makes of a text: what should not be there, its headings, its text outside of code."""

    def __init__(self, text: str, viewer: MarkdownIt) -> None:
        super().__init__(convert_charrefs=True)
        self.problems: list[str] = []
        self.headings: list[tuple[str, str]] = []
        self.prose, self.code, self.heading = "", 0, ""
        self.feed(viewer.render(text))
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in ELEMENTS:
            self.problems.append(f"element <{tag}>")
        for name, value in attrs:
            if name not in ATTRIBUTES:
                self.problems.append(f"attribute {name}")
            if name == "href" and not LINK.fullmatch(value or ""):
                self.problems.append(f"link to {value!r}")
            if name == "class" and not re.fullmatch(r"language-(?!mermaid|math)[\w+#.-]*", value or ""):
                self.problems.append(f"class {value!r}")
            if name == "style" and not re.fullmatch("text-align:(left|center|right)", value or ""):
                self.problems.append(f"style {value!r}")
        self.code += tag == "code"
        if re.fullmatch(r"h\d", tag):
            self.headings.append((tag, ""))
            self.heading = tag

    def handle_endtag(self, tag):
        self.code -= tag == "code"
        if tag == self.heading:
            self.heading = ""

    def handle_data(self, data):
        if self.heading:
            tag, text = self.headings[-1]
            self.headings[-1] = (tag, text + data)
        if not self.code:
            self.prose += data

    def stray(self, *_):
        self.problems.append(f"a comment or declaration: {_}")

    handle_comment = handle_decl = handle_pi = unknown_decl = stray


def read(text: str) -> tuple[list[str], list[list[tuple[str, str]]]]:
    """What should not be there, and the headings of the first three levels in each viewer."""
    shown = [Shown(text, viewer) for viewer in VIEWERS]
    problems = [problem for one in shown for problem in (*one.problems, *RUNS.findall(one.prose))]
    return problems, [[head for head in one.headings if head[0] < "h4"] for one in shown]


def problems(text: str) -> list[str]:
    return read(text)[0]


def hostile_exchange(text: str) -> Exchange:
    message = everywhere(text)
    return Exchange(
        Message("user", (TextBlock(text),)),
        [
            Message("assistant", message.content, partial=True),
            Message("user", (ToolResultBlock(text, ({"text": text}, {"json": {text: text}}), "success"),)),
        ],
        "cancelled",
        text,
        [{text: 1}],
        [ToolRun(text, text, "error", 0.0, 0.5, 1.0, error=text)],
    )


HEADS = [("h2", "1 · User"), ("h3", "Assistant"), ("h3", "Tool results"), ("h2", "2 · User")]
END = Exchange(Message("user", (TextBlock("end"),)), [], "complete")
cases = pytest.mark.parametrize("payload", [text for _, text in CASES], ids=[name for name, _ in CASES])

# -- hostile text ----------------------------------------------------------------------------------


def test_the_reader_catches_what_is_raw():
    """The judge of these tests finds something in most payloads as they are."""
    assert sum(bool(problems(payload)) for _, payload in CASES) > 0.8 * len(CASES)


@cases
def test_hostile_text_is_harmless_as_markdown(payload):
    """In the question, the answer, names, inputs and results; and all turns are where they were."""
    text = transcript.markdown([hostile_exchange(payload), END], facts={payload: payload})
    assert read(text) == ([], [HEADS] * len(VIEWERS))


@cases
def test_hostile_text_is_harmless_as_html(payload):
    """No element, attribute or address outside of what render makes; a page holds the same."""
    page = transcript.html([hostile_exchange(payload)], title=payload, facts={payload: payload}, page=True)
    head, _, body = page.partition("<body>")
    audit = Audit(body.split("</body>")[0].strip(), STYLES, math=True)
    assert (audit.problems, audit.roots) == ([], 1)
    assert re.sub("<title>[^<]*</title>", "", head) == re.sub("<title>[^<]*</title>", "", EMPTY)


STYLES = OURS | styles(transcript.html([hostile_exchange("plain")]))
EMPTY = transcript.html([], page=True).split("<body>")[0]


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from([text for _, text in CASES]) | st.text("`~$<>![]()#-=|\\ \n\tab/:", max_size=12))
)
def test_hostile_pieces_together_are_harmless(pieces):
    """Payloads and shreds of markup in any order, in lines of their own and in one."""
    for text in ("\n".join(pieces), "".join(pieces)):
        shown = f"## 1 · User\n\n{inert.harmless(text)}\n\n## 2 · User\n"
        assert read(shown) == ([], [[HEADS[0], HEADS[-1]]] * len(VIEWERS))
        assert inert.harmless(inert.harmless(text)) == inert.harmless(text)


@pytest.mark.parametrize(
    "text",
    [
        "## 2 · User",
        "2 · User\n---",
        "2 · User\n===",
        "> ## 2 · User",
        "- 2 · User\n  ---",
        "#\t2 · User",
        "```\n## 2 · User",
        "~~~~\n```\n## 2 · User",
        "- ```\n\n## 2 · User",
        "<!--\n\n## 2 · User",
        "<h2>2 · User</h2>",
        "$$\n## 2 · User",
        "> " * 60 + "## 2 · User",
        "`a\n## 2 · User\n`",
        "| a |\n## 2 · User",
        "[a]: https://a.example '\n## 2 · User\n'",
    ],
)
def test_an_answer_cannot_pretend_to_be_a_turn(text):
    """Headings of the upper levels are ours, and what an answer begins it ends."""
    answer = Message("assistant", (ReasoningBlock(text), TextBlock(text)))
    written = transcript.markdown([Exchange(Message("user", (TextBlock(text),)), [answer], "complete"), END])
    assert read(written) == ([], [[HEADS[0], HEADS[1], HEADS[3]]] * len(VIEWERS))


def test_an_image_of_two_messages_is_none():
    """An address that one turn defines makes no image of what another says."""
    asked = Message("user", (TextBlock("[p]: https://attacker.invalid/p.png"),))
    told = Message("assistant", (TextBlock("Look: ![p] and ![x][p]"),))
    assert problems(transcript.markdown([Exchange(asked, [told])])) == []


@pytest.mark.parametrize("text", ["[" * 500, "> " * 500, "*a_" * 300, "`" * 500, "$" * 500, "|" * 500])
def test_absurd_nesting_is_survived(text):
    """Text that nests without end is shown, harmlessly."""
    assert problems(inert.harmless(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "[a](<" * 1_000,
        "[](" * 1_500,
        "![a" * 1_500,
        '[a](b "' * 700,
        "[a][" * 1_500,
        f"|{'a|' * 60}\n|{'-|' * 60}{chr(10)}|" + "\n|" * 2_000,
    ],
    ids=["address", "empty", "images", "titles", "names", "cells"],
)
def test_what_is_made_to_keep_us_busy_is_code(text):
    """Text whose links or cells nobody could find in time is not guessed at, but shown as it is."""
    assert inert.harmless(text) == inert.code(text)


# -- honest text -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "- a\n- b\n  1. c\n\n     d\n\n> q *e* **b** ~~s~~\n\n---",
        "| a | b |\n|:--|--:|\n| `x` | [l](https://a.example/x_(y) 'T') |",
        "```python\nif a<b:\n\tprint('<img src=x> ![x](y) ## h')\n```",
        "~~~~\n```\n<b>\n~~~~",
        "\t<b>indented</b>\n\n    ## code",
        "inline `<b>` and ``a ` <i>`` stay, a < b too, so do *5 * 3*, C:\\data and \\def",
        "$a^2 < b$ and\n\n$$\n\\frac{a}{b} \\\\ \\left(x\\right)\n$$",
        "<https://a.example> and <a@b.example>, [r], [s][r]\n\n[r]: https://a.example 'T'",
        "It costs $5 & more; wow! [not a link]",
        "###### deep",
        "naïve 日本語 \U0001f308",
    ],
)
def test_harmless_markdown_stays_as_written(text):
    """Lists, tables, code, maths and links to hosts are not touched."""
    assert inert.harmless(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A\n\n## B\n\n#### C", "##### A\n\n###### B\n\n###### C"),
        ("A\n---", "A\n\\---"),
        ("x<y <b>z</b>", "x&lt;y &lt;b>z&lt;/b>"),
        ("$a<b$", "$a< b$"),
        (r"$\href{a}{b}$", r"$\ href{a}{b}$"),
        (r"\$&#92;href{a}{b}\$", r"\$\\ href{a}{b}\$"),
        (r"$`\href{a}{b}`$", r"$`\ href{a}{b}`$"),
        ("![a *b*](https://a.example/c.png 'T')", "[image: a *b* (a.example)](https://a.example/c.png 'T')"),
        ("![](https://a.example)", "[image: untitled (a.example)](https://a.example)"),
        ("![](mailto:a@b.example)", "[image: untitled (mail)](mailto:a@b.example)"),
        ("![p]\n\n[p]: https://a.example", "[image: p (a.example)][p]\n\n[p]: https://a.example"),
        ("[![b](https://i.example)](https://a.example)", "[image: b (i.example)](https://a.example)"),
        ("![x](javascript:y)", "!\\[x\\](javascript:y)"),
        ("[x](/api)", "\\[x\\](/api)"),
        ("- > [x](/api)\n  > ![p](https://a.example)", None),
        ("[[a](https://a.example) b](javascript:y)", "[[a](https://a.example) b\\](javascript:y)"),
        ("[1]: javascript:x()(", "[1\\]: javascript:x()("),
        ("- a\n===", "- a\n\\==="),
        ("https://a.example\\<div>", "https://a.example\\&lt;div>"),
        ("a ~~~`![x](https://a.example)\\~~`", "a \\~\\~\\~`![x](https://a.example)\\~~`"),
        ("```mermaid\na\n```", "```text\na\n```"),
        ("```{python}\na\n```", "```text\na\n```"),
        ("```py title=x\na\n```", "```py\na\n```"),
        ("```py\na", "```py\na\n```"),
        ("| a |\n|---|\n| <b>x</b> | <b>x</b> |", "| a |\n|---|\n| &lt;b>x&lt;/b> | &lt;b>x&lt;/b> |"),
        ("| <b>\\| |\n|---|", "```text\n| <b>\\| |\n|---|\n```"),
    ],
)
def test_what_is_edited(text, expected):
    """Each only where it must be; the rest of the line stays."""
    want = (
        "- > \\[x\\](/api)\n  > [image: p (a.example)](https://a.example)" if expected is None else expected
    )
    assert inert.harmless(text) == want


@pytest.mark.parametrize("text", ["a", "a\n", "```\n````", "", "`", "\u202e<b>", "a\r\nb"])
def test_code_reads_as_it_did(text):
    """Nothing in it ends the block; invisible characters are spelled out."""
    token, *more = MarkdownIt("commonmark").parse(inert.code(text))
    assert more == []
    assert token.content == f"{render.visible(text)}\n".replace("\n\n", "\n") if text else "\n"


@pytest.mark.parametrize(
    "text",
    [
        "get_weather",
        "__init__",
        "1. a",
        "- a",
        "+ a",
        "# a",
        "=",
        "---",
        "<b>&amp; `x` *a* [b](c) ![d](e)",
        "a|b~~c~~",
        "\\",
        "1) x",
    ],
)
def test_words_read_as_they_did(text):
    """Plain text is one paragraph of these words, in a list too."""
    for viewer in VIEWERS:
        for mark in ("", "- "):
            shown = Shown(mark + inert.words(text), viewer)
            assert (shown.prose.strip(), shown.problems, shown.headings) == (text, [], [])


# -- the whole -------------------------------------------------------------------------------------

ASKED = Message("user", (TextBlock("What is *this*?"),))
CALLED = Message(
    "assistant", (ReasoningBlock("I should\n\nlook."), ToolUseBlock("1", "get_weather", {"a": "é"}, ""))
)
RESULTS = Message("user", (ToolResultBlock("1", ({"text": "```\nsun"},), "success"),))
TOLD = Message(
    "assistant", (TextBlock("Sun.", ({"title": "T", "source": "https://a.example"},)),), partial=True
)
RUN = ToolRun("1", "get_weather", "success", 0.5, 2.0, 2.25, waited_s=1.5, eager=True)
ALL = Exchange(
    ASKED, [CALLED, RESULTS, TOLD], "cancelled", "tool_use", [{"inputTokens": 3}, {"inputTokens": 4}], [RUN]
)

WRITTEN = """\
# Talk

- model: m.n-1

## 1 · User

What is *this*?

### Assistant

#### Reasoning

> I should
>
> look.

#### Tool use: get_weather

```json
{"a": "é"}
```

### Tool results

#### Result of get_weather

````text
```
sun
````

### Assistant

Sun.

#### Sources

1. T, https://a.example

#### Not whole: cancelled

#### Tools

- get_weather: success, ran 0.250 s, waited 1.500 s for approval, began before the answer had ended

#### Ended: cancelled, tool_use · 7 input tokens
"""


def test_a_whole_conversation_as_markdown():
    """Turns, reasoning, calls, results, sources, what broke off, what tools did, what it cost."""
    assert transcript.markdown([ALL], title="Talk", facts={"model": "m.n-1"}) == WRITTEN


def test_your_own_results_are_named_too():
    """A prompt that answers calls of the exchange before says of which tools; later ones do not guess."""
    prompts = [Exchange(ASKED, [CALLED], "complete"), Exchange(RESULTS, [TOLD]), Exchange(RESULTS)]
    written, shown = transcript.markdown(prompts), transcript.html(prompts)
    assert written.count("#### Result of get_weather") == shown.count("Result of get_weather") == 1
    assert written.count("#### Tool result: success") == shown.count("Tool result: success") == 1


@pytest.mark.parametrize(
    ("exchange", "shown"),
    [
        (ALL, "Exchange(cancelled: 'What is *this*?', 3 messages, 1 tool call)"),
        (Exchange(ASKED, [TOLD]), "Exchange(streaming: 'What is *this*?', 1 message, 0 tool calls)"),
        (
            Exchange(Message("user", (TextBlock("\x1b" + "x" * 40),))),
            f"Exchange(streaming: '\\x1b{'x' * 39}…', 0 messages, 0 tool calls)",
        ),
    ],
)
def test_an_exchange_in_a_line(exchange, shown):
    """How it stands, how its prompt begins, and how much came of it."""
    assert repr(exchange) == shown


def test_a_whole_conversation_as_html():
    """The same, to be read in a notebook."""
    audit = Audit(transcript.html([ALL], title="Talk", facts={"model": "m.n-1"}), STYLES)
    assert audit.problems == []
    said = [
        "Talk",
        "m.n-1",
        "1 · User",
        "What is this?",
        "I should",
        "get_weather",
        '{"a": "é"}',
        "Result of get_weather",
        "sun",
        "Sun.",
    ]
    said += [
        "[1] T (a.example)",
        "Not whole: cancelled",
        "ran 0.250 s",
        "Ended: cancelled, tool_use · 7 input tokens",
    ]
    assert [text for text in said if text not in audit.text] == []


def test_a_page_needs_nothing_but_itself():
    """It has its images, says which characters it is in, and forbids scripts and whatever is elsewhere."""
    page = transcript.html([hostile_exchange("x")], page=True)
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n')
    policy = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    assert len(policy) == 1
    assert policy[0].startswith("default-src 'none'; img-src data:; ")
    assert "script" not in page
    assert set(re.findall(r'src="(.*?),', page)) == {"data:image/png;base64"}
    assert "color-scheme:light dark" in page
    assert "<title>Conversation</title>" in page


def test_an_image_is_named_with_its_size():
    """Markdown does not hold its bytes."""
    text = transcript.markdown([Exchange(everywhere("png"))])
    assert f"#### Image: png, {len(PNG)} bytes\n" in text
    assert "#### Reasoning: redacted, 3 bytes\n" in text


def test_a_page_is_the_piece_in_a_frame():
    """What a notebook shows stands in the page as it is."""
    assert transcript.html([ALL], title="T") in transcript.html([ALL], title="T", page=True)


def test_nothing_gives_nothing():
    """No exchanges, no title."""
    assert transcript.markdown([]) == "\n"
    assert transcript.html([]) == '<div class="bedrock-nb"></div>'


@settings(max_examples=25)
@given(st.lists(MESSAGES, max_size=3))
def test_any_messages_can_be_shown(messages):
    """Whatever blocks there are, in whatever order."""
    exchange = Exchange(Message("user"), messages, "error")
    text = transcript.markdown([exchange])
    found, headings = read(text)
    assert found == []
    assert {head for heads in headings for head in heads} <= {*HEADS[:3]}
    assert Audit(transcript.html([exchange]), STYLES).problems == []
