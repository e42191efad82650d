"""Pictures: what they say (pure data), where labels stand (geometry), what is drawn (artists, not pixels)."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.errors import IncompleteStreamError, RecordingError, RequestError, service_fault
from bedrock_nb.events import (
    CONTENT,
    KIND_OF,
    BlockStop,
    ImageDelta,
    ImageStart,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    ReasoningSignature,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUseStart,
    Unknown,
)
from bedrock_nb.message import ReasoningBlock, TextBlock, ToolUseBlock
from bedrock_nb.plot.canvas import OKABE_ITO, duration
from bedrock_nb.plot.data.parts import Band, Bar, dissect
from bedrock_nb.plot.labels import PAD, Label, place
from bedrock_nb.plot.stream import LOOKS
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server.latency import Latency
from bedrock_nb.server.prepared import canned
from bedrock_nb.server.writing import recorded

MODEL = "us.anthropic.claude-sonnet-4-20250514-v1:0"
USAGE = {"inputTokens": 5, "outputTokens": 9, "totalTokens": 14}

#: Reasoning, visible text, a tool request: every time by hand.
ROWS = [
    (0.30, MessageStart("assistant")),
    (0.35, ReasoningDelta(0, "hmm ")),
    (0.50, ReasoningDelta(0, "yes")),
    (0.50, ReasoningSignature(0, "c2ln")),
    (0.52, BlockStop(0)),
    (0.90, TextDelta(1, "I look")),
    (1.00, TextDelta(1, " it up.")),
    (1.00, BlockStop(1)),
    (1.20, ToolUseStart(2, "t1", "get_weather")),
    (1.40, ToolInputDelta(2, '{"city": ')),
    (1.50, ToolInputDelta(2, '"Paris"}')),
    (1.50, BlockStop(2)),
    (1.50, MessageStop("tool_use")),
    (1.51, Metadata(USAGE, 1490)),
]


SIZES = ((10, 4), (6, 4), (4, 3), (3, 2))


def by_hand(rows, *, status="complete", clock="wire", model=MODEL, **marks):
    recording = Recording({"modelId": model}, clock=clock)
    recording.status = status
    for name, t in ({"sent": 0.004, "headers": 0.25} | marks).items():
        recording.mark(name, t)
    for t, event in rows:
        recording.append(event, t)
    return recording


def timed(content, law, extra=None):
    """An answer of the embedded server by a latency law."""
    request = Request(MODEL, "Tell me about rainbows", extra=extra or {})
    return law.retime(canned(request) if content is None else recorded(request, content))


TOOLS = [ToolUseBlock(f"t{i}", f"look_up_{i}", {"q": i}, f'{{"q": {i}}}') for i in range(6)]
WAITING = by_hand([], status="cancelled", closed=2.0)

CASES = {
    "by hand": by_hand(ROWS),
    "canned": timed(None, Latency(jitter=0.5)),
    "bursts": timed(None, Latency(burst=8)),
    "at once": timed(None, Latency.none()),
    "short": timed([TextBlock("Yes, of course.")], Latency(ttft=0.4)),
    "long wait": timed([TextBlock("Forty two.")], Latency(ttft=20.0, per_token=0.01)),
    "5,000 deltas": timed([TextBlock("rain and sun " * 3000)], Latency(per_token=0.01, jitter=0.5)),
    "many blocks": timed([b for tool in TOOLS for b in (TextBlock("I look it up. "), tool)], Latency()),
    "late text": timed([ReasoningBlock("Let me see. " * 60, "sig"), TextBlock("Yes.")], Latency(jitter=0.3)),
    "failed": by_hand(
        [*ROWS[:7], (1.1, StreamFault(service_fault("throttlingException", "Too many tokens.")))],
        status="error",
    ),
    "cut off": by_hand([*ROWS[:7], (1.2, StreamFault(IncompleteStreamError("The body ended early.")))]),
    "cancelled": by_hand(ROWS[:7], status="cancelled", closed=1.3),
    "incomplete": by_hand(ROWS[:7], status="incomplete", closed=1.3),
    "interrupted": by_hand(ROWS[:7], status="interrupted"),
    "streaming": by_hand(ROWS[:3], status="streaming"),
    "no content": by_hand([ROWS[0], *ROWS[-2:]]),
    "one event": by_hand(ROWS[:1], status="incomplete", closed=0.9),
    "one delta": by_hand(ROWS[1:2], status="incomplete"),
    "no event": WAITING,
    "nothing": Recording(),
    "signs": by_hand(
        [
            (0.3, ToolUseStart(0, "t", "$cost_$\nof\tall")),
            (0.4, Unknown("newThing", {"a": 1})),
            (0.5, StreamFault(service_fault("x$y$", "costs $1\nto $2 \\frac{")))
        ],
        model="$a_b$" + "long" * 60,
        status="error",
    ),
    "blocks at once": by_hand(
        [*((0.2 + i / 20, TextDelta(i % 2, f"{i} ")) for i in range(9)), (0.7, BlockStop(0))]
    ),
    "image": by_hand([(0.4, ImageStart(0, "png")), (0.5, ImageDelta(0, {"bytes": b"x"}))]),
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("closed_figures")


def part(ax, gid):
    """The artists with a gid, or whose gid begins so."""
    return [artist for artist in ax.get_children() if (artist.get_gid() or "").startswith(gid)]


def xs(artist):
    return list(artist.get_xdata())


def words(ax):
    return [text for text in [*ax.texts, ax.xaxis.label, ax.yaxis.label, *part_titles(ax)] if text.get_text()]


def part_titles(ax):
    return [ax.title, *(t for t in ax.get_children() if isinstance(t, mpl.text.Text) and t not in ax.texts)]


# -- what there is to see ----------------------------------------------------------------------------


def test_marks_bands_bars_and_spans_are_those_of_the_recording():
    """Every part of a stream is found, at the time at which it came."""
    stream = dissect(CASES["by hand"])
    assert {mark.name: mark.t for mark in stream.marks} == {
        "request": 0.0,
        "sent": 0.004,
        "headers": 0.25,
        "first event": 0.30,
        "first content": 0.35,
        "first visible text": 0.90,
        "last content": 1.50,
        "stop": 1.50,
        "metadata": 1.51,
    }
    assert stream.bands == (
        Band("waiting", 0.0, 0.25, "waiting for headers"),
        Band("waiting", 0.25, 0.35, "waiting for content"),
        Band("reasoning", 0.35, 0.52, "block 0: reasoning"),
        Band("text", 0.90, 1.00, "block 1: text"),
        Band("tool input", 1.20, 1.50, "block 2: tool get_weather"),
    )
    assert [(bar.kind, bar.t, bar.chars) for bar in stream.bars] == [
        ("reasoning", 0.35, 4),
        ("reasoning", 0.50, 3),
        ("reasoning", 0.50, 0),
        ("text", 0.90, 6),
        ("text", 1.00, 7),
        ("tool input", 1.40, 9),
        ("tool input", 1.50, 8),
    ]
    assert [(span.name, span.begin, span.end) for span in stream.spans] == [
        ("ttft", 0.0, 0.35),
        ("ttfvt", 0.0, 0.90),
        ("ttlt", 0.0, 1.50),
        ("gap", 0.50, 0.90),
    ]
    assert stream.summary == "7 content deltas, 37 characters, 9 output tokens, median gap 125 ms"
    assert stream.notes == ()
    assert stream.end == 1.51


@pytest.mark.parametrize("name", CASES)
def test_spans_are_the_metrics(name):
    """TTFT, TTFVT and TTLT are those of the summary table to the last bit; it has no TTLT of a cut reply."""
    numbers = nb.metrics.measure(CASES[name])
    spans = {span.name: span.end for span in dissect(CASES[name]).spans}
    assert spans.get("ttft") == numbers["ttft_s"]
    assert numbers["ttlt_s"] in (spans.get("ttlt"), None)
    assert spans.get("ttfvt", spans.get("ttft")) == numbers["ttfvt_s"] or numbers["ttfvt_s"] is None


def test_deltas_of_one_moment_stand_on_each_other():
    """The second of two deltas with the same time begins where the first ends; a later one at 0."""
    stream = dissect(
        by_hand([(0.4, TextDelta(0, "four")), (0.4, TextDelta(0, "x")), (0.5, TextDelta(0, "y"))])
    )
    assert stream.bars == (Bar("text", 0.4, 4, 0), Bar("text", 0.4, 1, 4), Bar("text", 0.5, 1, 0))


def test_a_block_that_never_stops_lasts_to_the_end():
    """The band of an open block ends with the stream; one whose kind changes is two, as in the message."""
    rows = [(0.4, ReasoningDelta(0, "a")), (0.6, TextDelta(0, "b"))]
    bands = dissect(by_hand(rows, status="cancelled", closed=1.0)).bands
    assert bands[-2:] == (
        Band("reasoning", 0.4, 0.6, "block 0: reasoning"),
        Band("text", 0.6, 1.0, "block 0: text"),
    )


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("canned", []),
        ("failed", ["Failed: Bedrock ended the reply with throttlingException: Too many tokens.",
                    "Missing: stop, metadata."]),
        ("cut off", ["Failed: The body ended early.", "Missing: stop, metadata."]),
        ("cancelled", ["Cancelled before the end.", "Missing: stop, metadata."]),
        ("incomplete", ["The body ended before the message did.", "Missing: stop, metadata."]),
        ("interrupted", ["The recording was interrupted: its file has no end.", "Missing: stop, metadata."]),
        ("no content", ["Missing: content."]),
        ("no event", ["Cancelled before the end.", "Missing: events."]),
        ("nothing", ["Still streaming: this is what came so far.", "Missing: headers, events."]),
    ],
)  # fmt: skip
def test_notes_say_what_happened_and_what_is_missing(name, notes):
    """A recording that is not whole says so, and a whole one says nothing."""
    assert list(dissect(CASES[name]).notes) == notes


@pytest.mark.parametrize(
    ("name", "mark", "t", "text"),
    [
        ("failed", "fault", 1.1, "failed: throttlingException"),
        ("cut off", "fault", 1.2, "failed: IncompleteStreamError"),
        ("cancelled", "closed", 1.3, "cancelled"),
        ("incomplete", "closed", 1.3, "cut off"),
    ],
)
def test_a_bad_end_is_a_mark(name, mark, t, text):
    """Where a stream failed, was cancelled or was cut off, there is a mark, and the picture ends there."""
    stream = dissect(CASES[name])
    assert (mark, t, text) in [one[:3] for one in stream.marks]
    assert stream.end == t


def test_the_connections_end_is_no_mark_of_a_sound_reply():
    """A connection that was closed long after the metadata does not stretch the picture."""
    stream = dissect(by_hand(ROWS, closed=9.0))
    assert stream.end == 1.51
    assert "closed" not in [mark.name for mark in stream.marks]


def test_a_model_arn_is_shortened_to_its_name():
    """A title shows no account number."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
    assert dissect(by_hand(ROWS, model=arn)).title == "Anatomy of one stream: abc123"


def test_every_kind_of_content_has_a_look():
    """Each content event has a kind, and each kind a colour and a marker of its own."""
    assert set(CONTENT) <= set(KIND_OF)
    assert set(KIND_OF.values()) == set(LOOKS)
    assert len({look.colour for look in LOOKS.values()}) == len({look.marker for look in LOOKS.values()})
    assert {look.colour for look in LOOKS.values()} <= set(OKABE_ITO.values())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"), (0.00042, "0.42 ms"), (0.0042, "4.2 ms"), (0.01, "10 ms"), (0.35, "350 ms"),
        (0.9996, "1.00 s"), (3.214, "3.21 s"), (99.99, "99.99 s"), (100.0, "100.0 s"), (1234.5, "1,234.5 s"),
        (2.04e8, "204,000,000 s"),
    ],
)  # fmt: skip
def test_a_duration_has_a_fitting_unit(seconds, text):
    """Times are written with a unit in which they are easily read."""
    assert duration(seconds) == text


# -- where labels stand ------------------------------------------------------------------------------

LABELS = st.lists(
    st.builds(Label, st.floats(0, 900), st.floats(10, 300), st.integers(0, 9)), min_size=1, max_size=12
)


@given(LABELS, st.integers(0, 5))
def test_placed_labels_keep_apart(labels, levels):
    """No text leaves the axes or its levels, lies on another, or is run through by another's line."""
    slots = place(labels, 900, levels)
    there = [(label, slot) for label, slot in zip(labels, slots, strict=True) if slot]
    for i, (a, at) in enumerate(there):
        assert at.left >= 0
        assert at.left + a.width <= 900 + 1e-6
        assert 0 <= at.level < levels
        assert at.left in (a.x + PAD, a.x - PAD - a.width)
        for b, bt in there[i + 1 :]:
            meet = at.left < bt.left + b.width and bt.left < at.left + a.width
            assert at.level != bt.level or not meet
            for (line, top), (text, place_) in (((a, at), (b, bt)), ((b, bt), (a, at))):
                inside = place_.left < line.x < place_.left + text.width
                assert line.x == text.x or not (inside and place_.level <= top.level)


@given(LABELS)
def test_the_label_of_highest_rank_always_has_a_place(labels):
    """Whatever else there is, the most important label that fits the axes at all is placed."""
    labels = [*labels, Label(450, 300, 10)]
    assert place(labels, 900, 1)[-1] is not None


def test_labels_close_together_stand_like_stairs():
    """Near the left edge levels fall to the right, near the right edge they fall to the left."""
    slots = place([Label(x, 100) for x in (10, 20, 30, 880, 890)], 900, 4)
    assert slots == [(2, 14), (1, 24), (0, 34), (0, 776), (1, 786)]


# -- what is drawn -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size", "style"),
    [
        *((name, SIZES[i % 4], "default") for i, name in enumerate(CASES)),
        *((name, SIZES[(i + 2) % 4], "default") for i, name in enumerate(CASES) if i % 2),
        ("by hand", (10, 4), "dark_background"),
        ("by hand", (10, 4), "ggplot"),
    ],
    ids=str,
)
def test_no_text_lies_on_another(name, size, style):
    """In every case and size all words can be read: none overlap, none leave the figure."""
    with plt.style.context(style):
        _, ax = plt.subplots(figsize=size, layout="constrained")
        nb.plot.anatomy(CASES[name], ax=ax)
        ax.figure.canvas.draw()
        boxes = [(text.get_text(), text.get_window_extent()) for text in words(ax)]
    page = ax.figure.bbox
    for i, (text, box) in enumerate(boxes):
        if text not in (ax.get_ylabel(), ax.get_xlabel()):  # longer than a very small figure
            assert box.x0 >= page.x0 - 1, text
            assert box.x1 <= page.x1 + 1, text
        for other, other_box in boxes[i + 1 :]:
            assert not box.overlaps(other_box), f"{text!r} lies on {other!r}"


@pytest.mark.parametrize("name", ["by hand", "canned", "many blocks", "failed", "no event"])
def test_the_layout_stays(name):
    """Drawing again moves nothing: labels stay where they were placed."""
    ax = nb.plot.anatomy(CASES[name])
    seen = []
    for _ in range(3):
        plt.gcf().draw_without_rendering()
        seen.append(ax.get_window_extent().bounds)
    assert seen[0] == pytest.approx(seen[2], abs=0.5)


@pytest.mark.parametrize("name", CASES)
def test_marks_and_spans_are_drawn_where_the_data_say(name):
    """Each mark is a vertical line at its time, each span a line of its length, in seconds."""
    stream = dissect(CASES[name])
    ax = nb.plot.anatomy(CASES[name])
    for mark in stream.marks:
        assert [xs(line) for line in part(ax, f"mark:{mark.name}")] == [[mark.t, mark.t]]
    for span in stream.spans:
        assert [xs(line) for line in part(ax, f"span:{span.name}")] == [[span.begin, span.end]]
    drawn = [(patch.get_x(), patch.get_width()) for patch in part(ax, "band:")]
    assert drawn == [(band.begin, pytest.approx(band.end - band.begin)) for band in stream.bands]
    low, high = ax.get_xlim()
    assert low < 0
    assert high > stream.end


@pytest.mark.parametrize("name", CASES)
def test_every_delta_is_a_bar_of_its_size(name):
    """Bars stand at the deltas' times and are as high as their characters, in the colour of their kind."""
    stream = dissect(CASES[name])
    ax = nb.plot.anatomy(CASES[name])
    for kind, look in LOOKS.items():
        bars = [bar for bar in stream.bars if bar.kind == kind]
        drawn = part(ax, f"bars:{kind}")
        assert len(drawn) == bool(bars)
        for collection in drawn:
            assert mpl.colors.same_color(collection.get_color()[0][:3], look.colour)
            segments = [segment.tolist() for segment in collection.get_segments()]
            assert segments == [[[b.t, b.base], [b.t, b.base + b.chars]] for b in bars]
        markers = [line.get_marker() for line in part(ax, f"tops:{kind}")]
        assert markers == [look.marker] * bool(
            bars and (len(stream.bars) <= 150 or not all(b.chars for b in bars))
        )
    assert ax.get_ylim()[1] >= max((bar.base + bar.chars for bar in stream.bars), default=0)


def test_ttft_and_ttlt_are_written_with_values_and_units():
    """A reader finds the two numbers, what they stand for, and every moment with its time."""
    ax = nb.plot.anatomy(CASES["by hand"])
    said = [text.get_text() for text in ax.texts]
    assert "TTFT 350 ms: time to first token" in said
    assert "TTFVT 900 ms: time to first visible text" in said
    assert "TTLT 1.50 s: time to last token" in said
    assert "longest gap 400 ms" in said
    assert "headers 250 ms" in said
    assert {"reasoning", "text", "block 2: tool get_weather"} <= set(said)
    assert ax.get_title("left") == f"Anatomy of one stream: {MODEL}"


@pytest.mark.parametrize("name", ["canned", "short", "5,000 deltas", "late text", "long wait"])
def test_ttft_and_ttlt_are_never_left_out(name):
    """However small they are against the whole, both are written."""
    ax = nb.plot.anatomy(CASES[name])
    assert [label.get_text()[:5] for label in part(ax, "label:tt")][:1] == ["TTFT "]
    assert part(ax, "label:ttlt")


def test_marks_that_coincide_share_a_label():
    """Last content, stop and metadata, milliseconds apart, are one label and three lines."""
    ax = nb.plot.anatomy(CASES["canned"])
    (label,) = part(ax, "label:last content")
    assert label.get_text().startswith("last content, stop (end_turn)")
    assert "metadata" in label.get_text()
    assert len(part(ax, "mark:stop") + part(ax, "mark:metadata") + part(ax, "mark:last content")) == 3


@pytest.mark.parametrize(("name", "unit", "ticks"), [("canned", "s", {"1", "2"}), ("short", "ms", {"100"})])
def test_the_time_axis_names_its_unit(name, unit, ticks):
    """Ticks of a stream shorter than a second are in ms, of others in s; the data are in seconds."""
    ax = nb.plot.anatomy(CASES[name])
    plt.gcf().draw_without_rendering()
    assert ax.get_xlabel() == f"time since the request [{unit}]"
    assert ticks <= {tick.get_text() for tick in ax.get_xticklabels()}


def test_a_failure_is_marked_and_told():
    """A fault has a line and a cross in its own colour, its code as label, and its words above."""
    ax = nb.plot.anatomy(CASES["failed"])
    (line,) = part(ax, "mark:fault")
    assert line.get_color() == OKABE_ITO["vermillion"]
    assert line.get_marker() == "X"
    said = [text.get_text() for text in ax.texts]
    assert "failed: throttlingException 1.10 s" in said
    assert any("Too many tokens" in text for text in said)


def test_dark_styles_have_light_words():
    """Text and lines are in the colours of the style in use."""
    with plt.style.context("dark_background"):
        ax = nb.plot.anatomy(CASES["by hand"])
    assert {text.get_color() for text in ax.texts} == {"white"}
    assert part(ax, "span:ttft")[0].get_color() == "white"


def test_signs_are_not_taken_for_mathematics():
    """A dollar sign in a model id, a tool's name or an error is written as it is."""
    ax = nb.plot.anatomy(CASES["signs"])
    ax.figure.canvas.draw()
    said = " ".join(text.get_text() for text in ax.texts)
    assert "costs $1 to $2 \\frac{" in said
    assert "tool $cost_$ of all" in said


def test_letters_without_a_glyph_are_question_marks():
    """What the fonts in use cannot draw makes no warning at each drawing, and no row of empty boxes."""
    ax = nb.plot.anatomy(by_hand(ROWS, model="café-\u6a21\u578b"))
    ax.figure.draw_without_rendering()
    assert ax.get_title("left") == "Anatomy of one stream: café-??"


def test_without_axes_a_new_figure_is_made():
    """Two calls in one cell do not draw over each other."""
    first, second = nb.plot.anatomy(CASES["by hand"]), nb.plot.anatomy(CASES["canned"])
    assert first.figure is not second.figure
    figure = plt.gcf()
    assert second.figure is figure
    assert tuple(figure.get_size_inches()) == (10, 4)
    assert type(figure.get_layout_engine()).__name__ == "ConstrainedLayoutEngine"


@pytest.mark.parametrize("layout", ["constrained", "tight", "none"])
def test_given_axes_are_drawn_into(layout):
    """The caller's axes come back, their figure as large as before, its other axes untouched."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout=layout)
    assert nb.plot.anatomy(CASES["by hand"], ax=right) is right
    assert tuple(figure.get_size_inches()) == (9, 3)
    assert plt.get_fignums() == [figure.number]
    assert not left.lines
    assert not left.texts


def test_subfigures_work():
    """Axes of a subfigure are axes."""
    ax = plt.figure(layout="constrained").subfigures(1, 2, squeeze=False)[0, 1].subplots()
    assert nb.plot.anatomy(CASES["by hand"], ax=ax) is ax


def test_rcparams_are_left_alone():
    """No plot changes how other plots look."""
    before = dict(mpl.rcParams)
    nb.plot.anatomy(CASES["by hand"])
    assert dict(mpl.rcParams) == before


def test_a_path_or_a_reply_will_do(tmp_path):
    """A recording in a file, and the reply that made one, are drawn like the recording itself."""
    path = CASES["by hand"].save(tmp_path / "one.jsonl")
    reply = nb.Reply({"stream": [{"messageStart": {"role": "assistant"}}]})
    reply.next_event()
    assert len(part(nb.plot.anatomy(path), "bars:")) == 3
    assert part(nb.plot.anatomy(reply), "mark:first event")
    reply.close()


@pytest.mark.parametrize(
    ("source", "ax", "message"),
    [
        ([], None, "shows one recording; 0 were given"),
        ([Recording(), Recording()], None, "shows one recording; 2 were given"),
        (42, None, "An int is no recording"),
        (Recording(), "here", "ax is a str; matplotlib Axes are wanted"),
    ],
)
def test_what_cannot_be_drawn_is_refused(source, ax, message):
    """The error says what was given and what is wanted, and leaves no figure behind."""
    with pytest.raises(RequestError, match=message):
        nb.plot.anatomy(source, ax=ax)
    assert not plt.get_fignums()


def test_a_file_that_is_missing_is_told(tmp_path):
    """A path without a recording is the recording's own error."""
    with pytest.raises(RecordingError):
        nb.plot.anatomy(tmp_path / "none.jsonl")
