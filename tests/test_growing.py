"""Markdown that is still coming: pieces that no later text changes, however it is cut."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bedrock_nb import render
from bedrock_nb.errors import RequestError
from bedrock_nb.render import Growing, pieces
from tests.test_render import PROSE, Audit, hostile

#: What Markdown is made of, and what may be half there at the end of a delta.
ATOMS = [
    *"a 1-*+>#|=_`$\\\n\t:![]()<'\"",
    "\n\n",
    "    ",
    "- ",
    "1. ",
    "2",
    "# ",
    "```",
    "~~~",
    "---",
    "* * *",
]
ATOMS += ["\n---\n", "|a|b|\n", "|-|-|\n", "|-", "$$", "$$\n", "$x$", "**", "[a]", "[b]:", "\r\n", "\r", "é"]
ATOMS += ["\ud83d", "\ude00", "<b>", "<https://d.example>", "'t", "```py\n", "![a](https://i.example/x)"]
DEFINITIONS = ["[a]: https://a.example/x\n", "[a]: https://a.example", "[b]: <https://b.example>\n't'"]

texts = st.lists(st.sampled_from(ATOMS), max_size=24).map("".join)
defining = st.lists(st.sampled_from(ATOMS + DEFINITIONS), max_size=24).map("".join)
cuts = st.lists(st.integers(1, 12), min_size=1, max_size=8)


def grown(parts: Iterable[str], **manner) -> list[str]:
    """All pieces of a text that comes in parts, with a look after each."""
    text, found = Growing(**manner), []
    for part in parts:
        text.feed(part)
        found += text.take()[0]
    return found + text.end()


def cut(text: str, lengths: list[int]) -> list[str]:
    """A text in parts of these lengths, over and over."""
    parts, at = [], 0
    while at < len(text):
        length = lengths[len(parts) % len(lengths)]
        parts.append(text[at : at + length])
        at += length
    return parts


@given(texts, cuts)
@example("- a\n\n- b\n\n\n  c\n\nd", [1])
@example("- a\n*b*", [1])
@example("> q\n#tag", [1])
@example("a\n```x``` b", [1])
@example("1. a\n\n2. b", [1])
@example("$$\n# a\n$$", [1])
@example("- $$\n# a\n$$", [1])
@example("a\n|x|\n|-|x", [1])
@example("# a|\n---\nb", [1])
@example("a\r\n---\r\nb", [1])
def test_pieces_do_not_depend_on_the_cuts(text, lengths):
    """However a text is cut, its pieces are those of the whole text, and joined they are its HTML."""
    whole = pieces(text)
    assert grown(cut(text, lengths)) == whole
    assert "".join(whole) == render.markdown(text)
    assert all(whole)


@given(defining, cuts)
@example("[a]: https://a.example\n't\nu'\n\n[a]", [1])
@example("[a]\n\n[a]: https://a.example\n\n[a]: https://b.example\n\n[a]", [1])
def test_definitions_of_links_do_not_depend_on_the_cuts_either(text, lengths):
    """Where links are defined, pieces are the same for all cuts, and as many as of the whole text."""
    found = grown(cut(text, lengths))
    assert found == grown([text]) == grown(text)
    assert len(found) == len(pieces(text))


def test_a_link_that_is_defined_later_stays_text():
    """The one difference from the whole text: what is finished does not change any more."""
    before, after = "[a]\n\n", "[a]: https://a.example\n\n[a]\n"
    early, late = grown(before + after)
    assert early == "<p>[a]</p>\n"
    assert late == pieces(before + after)[0] == pieces(before + after)[1] == pieces(after)[0]
    assert 'href="https://a.example"' in late


@pytest.mark.parametrize(
    "text",
    [
        "- a\n- b\n\n- c\n\n  d\n\ne",
        "```\na\n\n\nb\n```\n\nc",
        "| a | b |\n|---|---|\n| 1 | 2 |\n\nc",
        "1. a\n   - b\n     - c\n\n     d\n2. e\n\nf",
        "Title\nmore\n===\n\nb",
        "<div>\n\n*a*\n\n</div>\n\n<!-- b -->",
        "> a\nb\n> - c\n\nd",
        "$$\na\n\\\\\nb\n$$\n\nc $x$",
        "    code\n\n    more\n\nb\n***\nc",
        "```python\nif a:\n    b = 'c'\n```\n~~~\nd",
    ],
    ids=lambda text: text[:6],
)
@pytest.mark.parametrize("math", ["tex", "mathml"])
def test_one_character_at_a_time(text, math):
    """Constructs that span lines come out whole, and each piece is given once."""
    assert grown(text, math=math) == pieces(text, math=math)


def test_the_tail_is_what_is_not_finished():
    """Pieces and tail together show all that came; a look without new text gives the same tail, no piece."""
    text = Growing()
    text.feed("# A\n\nb *c")
    assert text.take() == (["<h1>A</h1>\n"], "<p>b *c</p>\n")
    assert text.take() == ([], "<p>b *c</p>\n")
    text.feed("*\n\n- d")
    assert text.take() == (["<p>b <em>c</em></p>\n"], "<ul>\n<li>d</li>\n</ul>\n")
    assert text.end() == ["<ul>\n<li>d</li>\n</ul>\n"]
    assert text.take() == ([], "")


def test_code_has_colours_once_it_is_finished():
    """While it grows, code is not cut into tokens at each look."""
    text = Growing()
    text.feed("```python\nif a:\n")
    assert "color:" not in text.take()[1]
    text.feed("```\n\nb")
    (code,), _ = text.take()
    assert "color:" in code
    assert code == pieces("```python\nif a:\n```")[0]


def test_halves_wait_for_the_other_half():
    """A surrogate or a carriage return at the end of a delta is not shown before the next."""
    text = Growing()
    for part in ("a\ud83d", "\ude00b\r", "\nc", "\ud83d"):
        text.feed(part)
    assert text.take() == ([], "<p>a\U0001f600b\nc</p>\n")
    assert text.end() == ["<p>a\U0001f600b\nc\ufffd</p>\n"]


def test_a_new_text_may_follow_the_end():
    """Nothing of the first text is left, not even the addresses that it defined."""
    text = Growing()
    text.feed("[c]: https://a.example\n\n# b")
    assert text.end() == ["<h1>b</h1>\n"]
    text.feed("[c]")
    assert text.take() == ([], "<p>[c]</p>\n")
    assert repr(text) == "<Growing, 3 characters not finished>"


def test_a_manner_that_is_none_is_refused_at_once():
    """Not at the first formula, and not at the first image."""
    with pytest.raises(RequestError, match="math="):
        Growing(math="latex")
    with pytest.raises(RequestError, match="collection of host names"):
        Growing(images="a.example")


def calls(do: Callable[[], object]) -> int:
    """How many calls of Python functions something takes: its time, on any machine."""
    count = 0

    def see(frame, event, arg):
        nonlocal count
        count += event == "call"

    sys.setprofile(see)
    try:
        do()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    "block", ["a *b* c\n\n", "- a\n\nb\n\n", "```py\na = 1\n```\n\n", "[a]: https://a.example\n\n"]
)
def test_what_is_finished_is_never_parsed_again(block):
    """Four times the blocks take four times the calls, not sixteen times."""
    few, many = (calls(partial(grown, [block] * n)) for n in (20, 80))
    assert few * 3 < many < few * 5


@hostile
def test_hostile_text_is_harmless_at_every_character(payload):
    """Whatever is there of it: neither pieces nor tail hold anything outside the allow-list."""
    text, seen = Growing(math="mathml", images=["allowed.example"]), set()
    step = max(1, len(payload) // 80)
    for at in range(0, len(payload), step):
        text.feed(payload[at : at + step])
        found, tail = text.take()
        seen |= {*found, tail}
    for html in seen.union(text.end()):
        assert Audit(html, PROSE, math=True, hosts=("allowed.example",)).problems == []
