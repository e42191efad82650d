"""panel/document.py: a page that applies what it is told shows what the document has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_nb.panel.document import Document
from tests.panel.pages import Page

TEXT = st.text(st.sampled_from("ab<ñ日\U0001f600"), max_size=6)
PLACE = st.integers(0, 3)

#: What is called on a document, with places that are brought into range where it is called.
CALLS = st.lists(
    st.tuples(st.just("add"))
    | st.tuples(st.just("keep"), st.lists(PLACE, max_size=3))
    | st.tuples(st.just("set_turn"), PLACE, st.sampled_from(["streaming", "complete"]))
    | st.tuples(st.just("set_block"), PLACE, PLACE, TEXT)
    | st.tuples(st.just("insert_block"), PLACE, PLACE, TEXT)
    | st.tuples(st.just("cut_blocks"), PLACE, PLACE)
    | st.tuples(st.just("set_pieces"), PLACE, PLACE, PLACE, st.lists(TEXT, max_size=3))
    | st.tuples(st.just("live"), PLACE)
    | st.tuples(st.just("set_state"), TEXT)
    | st.tuples(st.just("say"), TEXT)
    | st.tuples(st.just("take"))
    | st.tuples(st.just("hello")),
    max_size=40,
)


def call(document: Document, name: str, *args: Any) -> None:
    """Call a method on a turn, a block and a piece that are there."""
    ids = list(document.turns)
    if name == "keep":
        document.keep([ids[n] for n in dict.fromkeys(args[0]) if n < len(ids)])
    elif name == "set_state":
        document.set_state(model=args[0])
    elif name in ("add", "say"):
        getattr(document, name)(*args)
    elif ids:
        turn, *rest = ids[args[0] % len(ids)], *args[1:]
        blocks = document.turns[turn]["blocks"]
        at = rest[0] % (len(blocks) + 1) if rest and isinstance(rest[0], int) else 0
        if name == "set_turn":
            document.set_turn(turn, status=rest[0])
        elif name == "live":
            document.live(turn, 0.5, 2, 3)
        elif name == "cut_blocks":
            document.cut_blocks(turn, at)
        elif name in ("set_block", "insert_block"):
            getattr(document, name)(turn, at, title=rest[1])
        elif at < len(blocks):
            document.set_pieces(turn, at, rest[2], rest[1] % (len(blocks[at]["pieces"]) + 1))


@given(CALLS)
def test_a_page_shows_what_the_document_has(calls):
    """Whatever is changed, and whenever it is told; also a page that came in between."""
    document, page, late = Document({"model": "a"}), Page("first"), Page("late")
    page.receive(document.snapshot("first"))
    for name, *args in calls:
        if name in ("take", "hello"):
            if (message := document.take()) is not None:
                page.receive(message)
                late.receive(message)
            if name == "hello":
                late.receive(document.snapshot("late"))
        else:
            call(document, name, *args)
    rest = document.take() or {"told": "", "back": False}
    for each in (page, late):
        each.receive(rest)
    whole = document.snapshot("any")["snap"]
    assert page.shown == whole
    assert late.shown in ({}, whole)
    assert page.missed == late.missed == 0


def test_nothing_is_told_where_nothing_differs():
    """And what differs is told once."""
    document = Document({"busy": False})
    turn = document.add()
    assert document.take() == {"n": 1, "ops": [["turns", [turn]]]}
    for _ in range(2):
        document.set_turn(turn, status="complete")
        document.set_block(turn, 0, kind="note")
        document.set_pieces(turn, 0, ["<p>a</p>", "<p>b</p>"])
        document.set_state(busy=True)
        document.cut_blocks(turn, 1)
    assert [op[0] for op in document.take()["ops"]] == ["turn", "block", "piece", "piece", "state"]
    assert document.take() is None


@pytest.mark.parametrize(
    ("old", "new", "op"),
    [
        ("<p>one two</p>", "<p>one two!</p>", ["grow", 10, "!</p>"]),
        ("<p>\U0001f600 ñ ñ</p>", "<p>\U0001f600 ñ ñ!</p>", ["grow", 9, "!</p>"]),
        ("<p>one two</p>", "<p>one</p>", ["grow", 6, "</p>"]),
        ("<h1>a</h1>", "<p>something else</p>", ["piece", "<p>something else</p>"]),
    ],
)
def test_of_a_growing_piece_the_end_is_told(old, new, op):
    """In UTF-16 units, as a page counts; a piece that has little in common is told whole."""
    document = Document({})
    turn = document.add()
    document.set_block(turn, 0)
    document.set_pieces(turn, 0, [old])
    document.take()
    document.set_pieces(turn, 0, [new])
    (told,) = document.take()["ops"]
    assert [told[0], *told[4:]] == op


def test_a_snapshot_does_not_change():
    """It may be sent when others have gone on."""
    document = Document({"model": "a"})
    turn = document.add()
    document.set_block(turn, 0, kind="text")
    document.set_pieces(turn, 0, ["<p>a</p>"])
    snapshot = document.snapshot("page")
    before = json.dumps(snapshot)
    document.set_pieces(turn, 0, ["<p>ab</p>", "<p>c</p>"])
    document.set_turn(turn, status="complete")
    document.set_state(model="b")
    assert json.dumps(snapshot) == before
