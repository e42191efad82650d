"""The picture of one turn: where rounds and tools lie on one clock, what is said of them, what is drawn."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

import bedrock_nb as nb
from bedrock_nb.errors import RequestError, service_fault
from bedrock_nb.events import BlockStop, MessageStart, MessageStop, StreamFault, TextDelta, ToolUseStart
from bedrock_nb.plot.canvas import OKABE_ITO
from bedrock_nb.plot.data.loop import MOST_ROWS, unroll
from bedrock_nb.plot.data.parts import Band
from bedrock_nb.plot.stream import LOOKS
from bedrock_nb.recording import Recording
from bedrock_nb.toolruns import ToolRun

MODEL = "us.anthropic.claude-sonnet-4-20250514-v1:0"
FAULT = service_fault("throttlingException", "Too many tokens.")


def of_round(at, *runs, stop="tool_use", started=None, status="complete", fault=None):
    """Text from 0.5 to 1 s, a tool's input to 2 s, the message's end at 2.25 s; and these runs."""
    labels = {} if at is None else {"at_s": at}
    recording = Recording({"modelId": MODEL}, labels=labels, started=started)
    rows = [(MessageStart("assistant"), 0.25), (TextDelta(0, "I look"), 0.5), (BlockStop(0), 1.0)]
    rows += [(ToolUseStart(1, "t1", "get_weather"), 1.0), (BlockStop(1), 2.0)]
    end = StreamFault(fault) if fault else MessageStop(stop) if stop else None
    for event, t in [*rows, *([(end, 2.25)] if end else [])]:
        recording.append(event, t)
    recording.mark("headers", 0.125)
    recording.status = status
    recording.tools.extend(runs)
    return recording


EAGER = ToolRun("t1", "get_weather", "success", 2.0, 2.0, 3.0, eager=True)
ASKED = ToolRun("t2", "send_mail", "success", 2.0, 4.0, 4.5, waited_s=1.5)
DENIED = ToolRun("t3", "delete_files", "denied", 2.0, None, 3.5, waited_s=1.0, error="No.")
BROKE = ToolRun("t4", "flaky", "error", 2.0, 2.5, 3.0, error="boom")
STRANGE = ToolRun("t5", "$a_b$\n\u4e16" + "x" * 80, "unknown", 2.0, None, 2.0)

CASES = {
    "one round": [of_round(0.0, stop="end_turn")],
    "two rounds": [of_round(0.0, EAGER), of_round(3.5, stop="end_turn")],
    "all outcomes": [of_round(0.0, EAGER, ASKED, DENIED, BROKE, STRANGE), of_round(5.0, fault=FAULT)],
    "many": [of_round(5.0 * i, *[EAGER] * 6) for i in range(3)],
    "nothing": [Recording()],
    "cut": [of_round(0.0, stop=None, status="incomplete")],
}


pytestmark = pytest.mark.usefixtures("closed_figures")


def part(ax, gid):
    """The artists whose gid begins so."""
    return [artist for artist in ax.get_children() if (artist.get_gid() or "").startswith(gid)]


# -- what there is to see ----------------------------------------------------------------------------


def test_a_round_and_its_calls_lie_on_the_clock_of_the_turn():
    """Every time of a recording and of its tools is moved by the round's ``at_s``."""
    loop = unroll([of_round(0.0), of_round(10.0, EAGER, ASKED, DENIED)])
    stream, eager, asked, denied = loop.rows[1:]
    assert stream.bands == (
        Band("waiting", 10.0, 10.5, "waiting"),
        Band("text", 10.5, 11.0, "text"),
        Band("tool input", 11.0, 12.0, "tool get_weather"),
    )
    assert (stream.name, stream.stop, stream.end, stream.words) == ("round 2", 12.25, 12.25, "tool_use")
    assert [band[:3] for band in eager.bands] == [("running", 12.0, 13.0)]
    assert [band[:3] for band in asked.bands] == [
        ("queued", 12.0, 12.5), ("approval", 12.5, 14.0), ("running", 14.0, 14.5)
    ]  # fmt: skip
    assert [band[:3] for band in denied.bands] == [("queued", 12.0, 12.5), ("approval", 12.5, 13.5)]
    assert [row.words for row in (eager, asked, denied)] == ["1.00 s, eager", "500 ms", "denied"]
    assert [row.failed for row in loop.rows] == [False, False, False, False, True]
    assert (
        loop.summary
        == "2 rounds, 3 tool calls, tools ran 1.50 s, 250 ms of it while a message streamed; 14.50 s in all"
    )
    assert (loop.end, loop.notes) == (14.5, ())


@pytest.mark.parametrize(
    ("rounds", "begins"),
    [
        ([of_round(0.5), of_round(4.0)], [0.5, 4.0]),
        ([of_round(None, started=100.0), of_round(None, started=107.5)], [0.0, 7.5]),
        ([of_round(0.5, started=100.0), of_round(None, started=107.5)], [0.5, 8.0]),
        ([of_round(None), of_round(None, EAGER), of_round(None)], [0.0, 2.25, 5.25]),
        ([of_round(None, started=100.0), of_round(None, started=90.0)], [0.0, 2.25]),
        ([of_round("soon"), of_round(float("nan"))], [0.0, 2.25]),
    ],
    ids=[
        "label",
        "wall clock",
        "label, then wall clock",
        "neither",
        "clock set back",
        "labels that are no times",
    ],
)
def test_a_round_is_placed_by_what_is_known_of_it(rounds, begins):
    """By its label, else by the wall clock, else after the round before and its tools."""
    streams = [row for row in unroll(rounds).rows if not row.is_call]
    assert [row.bands[0].begin for row in streams] == begins


@pytest.mark.parametrize(
    "turns",
    [
        [[0.0, 3.0], [0.0, 4.0]],
        [[0.001], [0.002, 4.0]],
    ],
    ids=["times go back", "the wall clock tells"],
)
def test_of_several_turns_the_last_is_drawn(turns):
    """A conversation has the rounds of all its turns; the picture is of one, and says so."""
    rounds = [of_round(at, started=1000.0 * i + at) for i, turn in enumerate(turns) for at in turn]
    loop = unroll(rounds)
    assert [row.bands[0].begin for row in loop.rows] == turns[-1]
    assert loop.notes == ("The last of 2 turns.",)


@pytest.mark.parametrize(
    ("rounds", "notes"),
    [
        ([of_round(None, stop="end_turn")] * 4,
         ("Rounds 1 to 3 did not end with a tool call: not one turn?",)),
        ([of_round(None, stop="end_turn"), *[of_round(None)] * 2],
         ("Round 1 did not end with a tool call: not one turn?",)),
        ([of_round(None, stop=stop) for stop in ("end_turn", "tool_use", "end_turn", "end_turn")],
         ("2 rounds before the last did not end with a tool call: not one turn?",)),
        ([of_round(None), of_round(None, stop="end_turn")], ()),
        ([of_round(0.0, stop="end_turn"), of_round(3.0, stop="end_turn")], ()),
    ],
    ids=["unrelated", "one", "some", "a turn", "labelled as one"],
)  # fmt: skip
def test_rounds_that_called_no_tool_are_doubted(rounds, notes):
    """Replies that have nothing to do with each other are no turn, unless their labels say so."""
    assert unroll(rounds).notes == notes


@pytest.mark.parametrize(
    ("recording", "words", "failed"),
    [
        (of_round(0.0, stop="end_turn"), "end_turn", False),
        (of_round(0.0, fault=FAULT, status="error"), "failed: throttlingException", True),
        (of_round(0.0, stop=None, status="interrupted"), "interrupted", True),
        (of_round(0.0, stop=None, status="streaming"), "still streaming", False),
    ],
    ids=["ended", "failed", "interrupted", "streaming"],
)
def test_a_round_says_how_it_ended(recording, words, failed):
    """The reason for which it stopped, or what befell it."""
    (row,) = unroll([recording]).rows
    assert (row.words, row.failed, row.stop is None) == (words, failed, recording.stop_reason is None)


def test_rows_beyond_the_most_are_counted():
    """A turn of very many calls is drawn up to a limit, and the picture says what is not in it."""
    loop = unroll([of_round(0.0, *[EAGER] * (MOST_ROWS + 4))])
    assert len(loop.rows) == MOST_ROWS
    assert loop.notes == (f"5 rows more: only the first {MOST_ROWS} are drawn.",)


# -- what is drawn -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_every_band_is_drawn_in_its_row(name):
    """At its times, in the row of its round or call; kinds of content have the colours of the anatomy."""
    loop = unroll(CASES[name])
    ax = nb.plot.tool_rounds(CASES[name])
    wanted = [
        (f"band:{b.kind}", i + 0.5, b.begin, b.end) for i, row in enumerate(loop.rows) for b in row.bands
    ]
    drawn = [
        (bar.get_gid(), bar.get_y() + bar.get_height() / 2, bar.get_x(), bar.get_x() + bar.get_width())
        for bar in part(ax, "band:")
    ]
    assert [one[0] for one in drawn] == [one[0] for one in wanted]
    assert [one[1:] for one in drawn] == [pytest.approx(one[1:]) for one in wanted]
    for bar in part(ax, "band:text"):
        assert mpl.colors.same_color(bar.get_facecolor()[:3], LOOKS["text"].colour)
    stops = [line.get_xdata()[0] for line in part(ax, "mark:stop")]
    assert stops == [row.stop for row in loop.rows if row.stop is not None]
    assert ax.get_xlim()[1] > loop.end


def test_approval_is_hatched_and_what_went_wrong_is_crossed():
    """Not by colour alone: a hatch, a cross, and words behind the row."""
    ax = nb.plot.tool_rounds(CASES["all outcomes"])
    assert [bar.get_hatch() for bar in part(ax, "band:approval")] == ["////"] * 2
    assert {bar.get_hatch() for bar in part(ax, "band:running")} == {None}
    crosses = part(ax, "mark:failed")
    assert [(line.get_marker(), line.get_color()) for line in crosses] == [("X", OKABE_ITO["vermillion"])] * 4
    assert [text.get_text() for text in part(ax, "label:")] == [
        "tool_use", "1.00 s, eager", "500 ms", "denied", "error after 500 ms", "unknown",
        "failed: throttlingException",
    ]  # fmt: skip
    said = {text.get_text() for text in ax.get_legend().get_texts()}
    assert said >= {
        "text",
        "tool input",
        "tool running",
        "waiting for approval",
        "message ended",
        "went wrong",
    }
    assert "reasoning" not in said


def test_eager_tools_begin_left_of_the_line_at_which_the_message_ended():
    """The dotted line of a round runs through the rows of its calls, and no further."""
    ax = nb.plot.tool_rounds(CASES["two rounds"])
    first, second = part(ax, "mark:stop")
    (bar,) = part(ax, "band:running")
    assert bar.get_x() < first.get_xdata()[0] < bar.get_x() + bar.get_width()
    assert [round(y) for y in first.get_ydata()] == [0, 2]
    assert [round(y) for y in second.get_ydata()] == [2, 3]


@pytest.mark.parametrize(
    ("name", "size", "style"),
    [
        *((name, None, "default") for name in ("two rounds", "all outcomes", "nothing")),
        *(("all outcomes", size, "default") for size in ((4, 3), (3, 2))),
        ("many", (6, 4), "default"),
        ("many", (4, 1.5), "default"),
        ("all outcomes", None, "dark_background"),
    ],
    ids=str,
)
def test_no_text_lies_on_another(name, size, style):
    """In every case and size all words can be read: none overlap, none leave the figure."""
    with plt.style.context(style):
        ax = None if size is None else plt.subplots(figsize=size, layout="constrained")[1]
        ax = nb.plot.tool_rounds(CASES[name], ax=ax)
        ax.figure.draw_without_rendering()
        legend = [] if ax.get_legend() is None else ax.get_legend().get_texts()
        names = [
            tick
            for tick in ax.get_yticklabels()
            if tick.get_visible() and ax.yaxis.get_tick_params()["labelleft"]
        ]
        titles = [t for t in ax.get_children() if isinstance(t, mpl.text.Text)]
        texts = [text for text in {*titles, *legend, *names} if text.get_text()]
        boxes = [(text.get_text(), mpl.text.Text.get_window_extent(text)) for text in texts]
    for i, (text, box) in enumerate(boxes):
        assert box.x1 <= ax.figure.bbox.x1 + 1, text
        for other, other_box in boxes[i + 1 :]:
            assert not box.overlaps(other_box), f"{text!r} lies on {other!r}"
    if style == "dark_background":
        assert all(mpl.colors.same_color(text.get_color(), "white") for text in [*ax.texts, *legend])


def test_the_rows_set_the_height():
    """A new figure is 10 inches wide and as high as its rows need; ax= is left as it is."""
    short = nb.plot.tool_rounds(CASES["one round"]).figure.get_size_inches()
    tall = nb.plot.tool_rounds(CASES["many"]).figure.get_size_inches()
    assert short[0] == tall[0] == 10
    assert tall[1] > short[1] + 4
    figure, ax = plt.subplots(figsize=(7, 3))
    before = dict(mpl.rcParams)
    assert nb.plot.tool_rounds(CASES["many"], ax=ax) is ax
    assert tuple(figure.get_size_inches()) == (7, 3)
    assert dict(mpl.rcParams) == before


def test_a_name_from_a_model_is_drawn_as_it_is_and_short():
    """Neither mathematics nor signs that no font has, and no more letters than there is room for."""
    ax = nb.plot.tool_rounds(CASES["all outcomes"])
    ax.figure.canvas.draw()
    name = ax.get_yticklabels()[5].get_text()
    assert name.startswith("$a_b$ ?xxx")
    assert name.endswith("…")
    assert len(name) == 26


def test_a_turn_is_a_source():
    """Anything with a list of recordings, by the name `recordings`."""
    turn = SimpleNamespace(recordings=CASES["two rounds"])
    assert len(part(nb.plot.tool_rounds(turn), "mark:stop")) == 2


@pytest.mark.parametrize(
    ("source", "ax", "message"),
    [
        ([], None, "no recording was given"),
        (SimpleNamespace(recordings=[]), None, "no recording was given"),
        (42, None, "An int is no recording"),
        (Recording(), "here", "ax is a str; matplotlib Axes are wanted"),
    ],
    ids=["none", "a turn without rounds", "a number", "no axes"],
)
def test_what_cannot_be_drawn_is_refused(source, ax, message):
    """The error says what was given and what is wanted, and leaves no figure behind."""
    with pytest.raises(RequestError, match=message):
        nb.plot.tool_rounds(source, ax=ax)
    assert not plt.get_fignums()
