"""Pictures of streams: how they grow, their pace and gaps, many below each other (data and artists)."""

from __future__ import annotations

import math

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.errors import RequestError
from bedrock_nb.events import (
    ReasoningDelta,
    TextDelta,
    ToolInputDelta,
)
from bedrock_nb.message import TextBlock
from bedrock_nb.plot.canvas import ink, style
from bedrock_nb.plot.data.growth import growth, moving_rate
from bedrock_nb.plot.data.parts import Band
from bedrock_nb.plot.data.phases import MOST_ROWS, fall, phases
from bedrock_nb.plot.data.reader import read, words_over_time
from bedrock_nb.plot.data.spacing import bins, spacing
from bedrock_nb.plot.naming import compact, tell_apart
from bedrock_nb.recording import Recording, Unrecorded
from bedrock_nb.server.latency import Latency
from tests.test_plot import CASES, ROWS, by_hand, part, timed


def whole():
    """A plain call, as it is recorded: all at one moment."""
    recording = by_hand([(0.9, event) for _, event in ROWS])
    recording.envelope["operation"] = "Converse"
    return recording


def labelled(recording, started=None, **labels):
    recording.labels, recording.started = labels, started
    return recording


def grid(n):
    """Recordings as an experiment makes them: labels, wall-clock times, some that went wrong."""
    made = []
    for i in range(n):
        rows = [(t + 0.01 * (i % 5), event) for t, event in ROWS[: 7 if i % 6 == 5 else None]]
        recording = by_hand(rows, status="cancelled" if i % 6 == 5 else "complete", closed=2.0)
        made.append(labelled(recording, 1e9 + 0.3 * i, prompt=("short", "long")[i % 2], run=i // 2))
    return made


def again(i):
    """A reply that was asked for twice, on a new connection: every phase there is before content."""
    marks = {"sent 1": 0.01, "sent": 0.21, "connecting": 0.22, "resolved": 0.23, "connected": 0.26}
    return labelled(by_hand(ROWS, **marks, secured=0.3, headers=0.32), run=i)


HOSTILE = [
    labelled(by_hand(ROWS), name=name) for name in ("$a_b$", "$\\frac{$", "a\nb\x00c", "x" * 300, "<b>")
]
SOURCES = {
    **CASES,
    "whole": whole(),
    "not kept": Unrecorded({"modelId": "m"}),
    "no recording": [],
    "mixed": [*(CASES[name] for name in CASES if name != "5,000 deltas"), whole()],
    "grid": grid(12),
    "hostile": HOSTILE,
}
PLOTS = {
    "timeline": nb.plot.timeline,
    "gaps": nb.plot.gaps,
    "waterfall": nb.plot.waterfall,
    "throughput": nb.plot.throughput,
    "reading_speed": nb.plot.reading_speed,
}
SEVERAL = [name for name in PLOTS if name != "reading_speed"]
#: What is drawn of each: where something can go wrong there, and by turns all the rest; layouts take long.
TELLING = {
    "timeline": ["by hand", "canned", "5,000 deltas", "many blocks", "one delta", "signs", "whole"],
    "gaps": ["by hand", "bursts", "at once", "5,000 deltas", "one delta"],
    "waterfall": ["by hand", "one event", "nothing", "signs", "whole"],
    "throughput": ["canned", "bursts", "one delta", "whole"],
    "reading_speed": ["canned", "long wait", "5,000 deltas", "image", "nothing"],
}
LISTS = [name for name, source in SOURCES.items() if isinstance(source, list)]
DRAWN = sorted(
    {(plot, source) for plot, sources in TELLING.items() for source in sources}
    | {(plot, source) for plot in ("timeline", "waterfall") for source in ("mixed", "grid", "hostile")}
    | {("gaps", "mixed"), ("throughput", "grid")}
    | {([*PLOTS][i % 5], source) for i, source in enumerate(SOURCES) if source not in LISTS}
)


pytestmark = pytest.mark.usefixtures("closed_figures")


def words(ax):
    """Every text that can be seen."""
    axes_ = [ax, *ax.child_axes]
    ticks = [
        text
        for one in axes_
        for axis in (one.xaxis, one.yaxis)
        for t, text in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
        if min(axis.get_view_interval()) <= t <= max(axis.get_view_interval())
    ]
    legends = [one for one in ax.get_children() if isinstance(one, mpl.legend.Legend)]
    titles = [ax.title, *(one for one in ax.get_children() if isinstance(one, mpl.text.Text))]
    labels = [one.label for axis in axes_ for one in (axis.xaxis, axis.yaxis)]
    keys = [text for legend in legends for text in legend.get_texts()]
    return [text for text in {*titles, *labels, *ticks, *keys} if text.get_text() and text.get_visible()]


def said(ax):
    """What notes and an empty picture say."""
    return "\n".join(one.get_text() for one in [*part(ax, "note"), *part(ax, "empty")])


def points(line):
    return [*zip(*(map(float, axis) for axis in line.get_data()), strict=True)]


# -- every picture ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("plot", "source"), DRAWN)
def test_no_text_lies_on_another(plot, source):
    """Of any recordings a picture can be made, in which all words can be read and none leaves the page."""
    number = DRAWN.index((plot, source))
    with plt.style.context("dark_background" if number % 3 == 0 else "default"):
        _, ax = plt.subplots(figsize=((10, 4), (6, 4), (4, 3), (3, 2.2))[number % 4], layout="constrained")
        assert PLOTS[plot](SOURCES[source], ax=ax) is ax
        ax.figure.draw_without_rendering()
        boxes = [(text.get_text(), text.get_window_extent()) for text in words(ax)]
    page = ax.figure.bbox
    for i, (text, box) in enumerate(boxes):
        if text not in (ax.get_xlabel(), ax.get_ylabel()):  # longer than a very small figure
            assert box.x0 >= page.x0 - 1, text
            assert box.x1 <= page.x1 + 1, text
            assert box.y1 <= page.y1 + 1, text
        for other, other_box in boxes[i + 1 :]:
            assert not box.overlaps(other_box), f"{text!r} lies on {other!r}"
    assert ax.get_title("left")
    assert ax.lines or ax.collections or ax.patches or part(ax, "empty")


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("failed", "Too many tokens"),
        ("cancelled", "Cancelled before the end"),
        ("no content", "Missing: content"),
    ],
)
def test_a_picture_says_what_is_missing(plot, source, text):
    """A recording that is not whole is drawn as far as it goes, and the picture says what happened."""
    _, ax = plt.subplots(figsize=(10, 8), layout="constrained")
    assert text in said(PLOTS[plot](SOURCES[source], ax=ax))


@pytest.mark.parametrize("plot", SEVERAL)
def test_no_recording_is_told(plot):
    """A collection with nothing in it gives a picture that says so."""
    assert said(PLOTS[plot]([])) == "No recording was given."


@pytest.mark.parametrize("plot", PLOTS)
def test_rcparams_and_other_axes_are_left_alone(plot):
    """A picture changes nothing but the axes that it was given."""
    before = dict(mpl.rcParams)
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
    PLOTS[plot](CASES["by hand"], ax=right)
    assert dict(mpl.rcParams) == before
    assert tuple(figure.get_size_inches()) == (12, 4)
    assert not left.get_lines()
    assert not left.texts


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nb.plot.timeline(nb.summary(CASES["by hand"])), "a table of replies has none"),
        (lambda: nb.plot.gaps(42), "An int is no recording"),
        (lambda: nb.plot.gaps([], ax="here"), "ax is a str"),
        (lambda: nb.plot.reading_speed([]), "shows one recording; 0 were given"),
        (lambda: nb.plot.reading_speed(CASES["canned"], wpm=0), "wpm is 0; words per minute above 0"),
        (lambda: nb.plot.reading_speed(CASES["canned"], wpm=math.nan), "wpm is nan"),
        (lambda: nb.plot.throughput([], window_s=-1), "window_s is -1; seconds above 0"),
        (lambda: nb.plot.throughput([], window_s="1"), "window_s is '1'"),
        (lambda: nb.plot.waterfall([], by="modle"), "no column 'modle'.* There are: model, status"),
        (lambda: nb.plot.waterfall([], sort="tfft"), "no column 'tfft'"),
        (lambda: nb.plot.waterfall([], align="wall"), "align is 'wall'; 'request' or 'clock'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    """The error says what was given and what is wanted, and leaves no figure behind."""
    with pytest.raises(RequestError, match=message):
        call()
    assert not plt.get_fignums()


# -- growth -------------------------------------------------------------------------------------------


def test_content_grows_in_steps_of_its_kind():
    """Each kind of content has a curve of its own that goes on where the one before it ended."""
    grown = growth(CASES["by hand"])
    (thought, text, tool) = ([(x, y) for x, y in zip(xs, ys, strict=True)] for _, xs, ys in grown.steps())
    assert thought == [(0.35, 0), (0.35, 4), (0.5, 4), (0.5, 7), (0.5, 7), (0.5, 7), (0.9, 7)]
    assert text == [(0.9, 7), (0.9, 13), (1.0, 13), (1.0, 20), (1.4, 20)]
    assert tool == [(1.4, 20), (1.4, 29), (1.5, 29), (1.5, 37), (1.5, 37)]
    assert [kind for kind, _, _ in grown.steps()] == ["reasoning", "text", "tool input"]
    assert (grown.total, grown.tokens, grown.end) == (37, 9, 1.51)


def test_the_scale_of_tokens_is_that_of_characters_times_a_constant():
    """At the height of all characters stand all output tokens; nowhere without their number."""
    ax = nb.plot.timeline(CASES["by hand"])
    (scale,) = ax.child_axes
    ax.figure.draw_without_rendering()
    low, high = ax.get_ylim()
    assert scale.get_ylim() == pytest.approx((low * 9 / 37, high * 9 / 37))
    assert max(scale.get_yticks()) == 9
    assert not nb.plot.timeline(CASES["failed"]).child_axes
    assert not nb.plot.timeline([CASES["by hand"]] * 2).child_axes


def test_one_stream_over_time_has_its_moments():
    """TTFT and TTLT are written at their lines, as are a fault and its time."""
    ax = nb.plot.timeline(CASES["failed"])
    assert [points(line)[0][0] for line in part(ax, "mark:first content")] == [0.35]
    texts = [text.get_text() for text in ax.texts]
    assert "first content (TTFT) 350 ms" in texts
    assert "failed: throttlingException 1.10 s" in texts
    (cross,) = part(ax, "end:0")
    assert points(cross) == [(1.1, 20.0)]
    assert cross.get_marker() == "X"


def test_several_streams_are_told_apart_by_colour_marker_and_name():
    """The legend names what differs; hollow markers stand at the first content, filled ones at the last."""
    ax = nb.plot.timeline(grid(3))
    assert [t.get_text() for t in ax.get_legend().get_texts()][:3] == [
        "short · run 0",
        "long · run 0",
        "short · run 1",
    ]
    assert [points(line) for line in part(ax, "first:")] == [[(0.35 + 0.01 * i, 0)] for i in range(3)]
    assert [points(line)[0][1] for line in part(ax, "last:")] == [37.0] * 3
    looks = {(line.get_color(), line.get_marker()) for line in part(ax, "last:")}
    assert len({colour for colour, _ in looks}) == len({marker for _, marker in looks}) == 3


# -- throughput ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "amounts", "window", "edges", "values"),
    [
        ([], [], 1.0, [], []),
        ([0.5], [3], 2.0, [0.5], [1.5]),
        ([0.0, 1.0, 2.0], [3, 3, 3], 1.0, [0.0, 1.0, 2.0], [3.0, 3.0, 3.0]),
        ([0.0, 0.5, 3.0], [2, 2, 2], 1.0, [0.0, 0.5, 1.0, 1.5, 3.0], [2.0, 4.0, 2.0, 0.0, 2.0]),
        ([1.0, 1.0], [1, 2], 0.5, [1.0], [6.0]),
    ],
)
def test_a_moving_rate_is_what_came_in_the_window(times, amounts, window, edges, values):
    """At each edge the rate is that of the window that ends there, which is open at its beginning."""
    assert moving_rate(times, amounts, window) == (edges, pytest.approx(values))


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 50)), min_size=1, max_size=30),
    st.integers(1, 300),
)
def test_a_moving_rate_is_exact_everywhere(came, window):
    """Counting what lies in the window gives the same at every edge."""
    came.sort()
    rate = moving_rate([float(t) for t, _ in came], [n for _, n in came], float(window))
    for edge, value in zip(*rate, strict=True):
        assert value == pytest.approx(sum(n for t, n in came if edge - window < t <= edge) / window)
    assert rate.edges[-1] == came[-1][0]


def test_the_mean_is_that_of_the_table():
    """The line of one answer is output_tps from its first to its last content."""
    ax = nb.plot.throughput(CASES["canned"], window_s=0.5)
    (line,) = part(ax, "mean")
    pace = nb.metrics.measure(CASES["canned"])
    assert points(line) == [
        (pytest.approx(pace["ttft_s"]), pytest.approx(pace["output_tps"])),
        (pytest.approx(pace["ttlt_s"]), pytest.approx(pace["output_tps"])),
    ]
    assert ax.get_ylabel() == "tokens per second"


def test_several_add_up_by_the_wall_clock():
    """Of answers at the same time the rates are added, and the total counts from the first request."""
    pair = [labelled(by_hand(ROWS), 1e9), labelled(by_hand(ROWS), 1e9 + 10.0)]
    ax = nb.plot.throughput(pair, window_s=1.0)
    assert points(part(ax, "mean")[0]) == [
        (0.0, pytest.approx(18 / 11.51)),
        (11.51, pytest.approx(18 / 11.51)),
    ]
    rate = points(part(ax, "rate")[0])
    assert rate[0] == (0.35, 0.0)
    assert rate[-1][0] == pytest.approx(11.5)
    alone = points(part(nb.plot.throughput(pair[0], window_s=1.0), "rate")[0])
    together = nb.plot.throughput([pair[0], labelled(by_hand(ROWS), 1e9)], window_s=1.0)
    assert [(t, 2 * n) for t, n in alone] == [
        (t, pytest.approx(n)) for t, n in points(part(together, "rate")[0])
    ]


def test_a_window_that_is_not_full_is_hatched():
    """Time before the first content is in the first window of one answer: its rise is no rise in pace."""
    (filling,) = part(nb.plot.throughput(CASES["canned"], window_s=0.25), "filling")
    first = nb.metrics.measure(CASES["canned"])["ttft_s"]
    assert filling.get_x() == first
    assert filling.get_width() == pytest.approx(0.25)
    assert not part(nb.plot.throughput(grid(3)), "filling")


def test_names_that_find_no_room_are_said_to_be_missing():
    """In a small figure names get shorter; curves without any are never left without a word."""
    names = []
    for size in ((10, 4), (5, 4), (3, 2.2)):
        _, ax = plt.subplots(figsize=size, layout="constrained")
        nb.plot.timeline([CASES["by hand"], *grid(8)], ax=ax)
        names.append(
            [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else said(ax)
        )
    assert "short · run 0" in names[0]
    assert len(names[1]) == len(names[0])
    assert "No room for the legend" in names[2]


def test_streams_beyond_those_named_have_no_look_of_theirs():
    """A colour or marker that comes again would name another reply; grey lines name none."""
    ax = nb.plot.timeline(grid(12))
    assert part(ax, "line:9:")[0].get_color() == style(9).colour
    assert {line.get_color() for n in (10, 11) for line in part(ax, f"line:{n}:")} == {ink()}
    assert part(ax, "first:9")
    assert not part(ax, "first:10")
    assert "Thin and grey, without a name: those after the first 10." in said(ax)


def test_signs_are_seen_whatever_the_style():
    """Some styles give markers no edge; crosses and strokes are nothing else."""
    with plt.style.context({"lines.markeredgewidth": 0}):
        axes = [plot(CASES["cancelled"]) for plot in (nb.plot.waterfall, nb.plot.timeline, nb.plot.anatomy)]
    signs = (part(ax, gid)[0] for ax, gid in zip(axes, ("mark:ended", "end:0", "span:ttft"), strict=True))
    assert [sign.get_markeredgewidth() for sign in signs] == [1, 1, 1]


def test_what_a_throughput_leaves_out_is_said():
    """Replies without a number of tokens, or without a wall-clock time, are counted in a note."""
    one = labelled(by_hand(ROWS), 1e9)
    assert "Not counted, number unknown: 1 of 2 replies" in said(
        nb.plot.throughput([one, labelled(by_hand(ROWS[:7]), 1e9)])
    )
    assert "no wall-clock time: 1 of 2 replies" in said(nb.plot.throughput([one, by_hand(ROWS)]))
    assert "No reply has a wall-clock time" in said(nb.plot.throughput([by_hand(ROWS)] * 2))
    assert "at one moment" in said(nb.plot.throughput(whole()))
    characters = nb.plot.throughput(CASES["cancelled"])
    assert "Missing: the number of tokens" in said(characters)
    assert characters.get_ylabel() == "characters per second"


# -- a reader -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words_", "waits", "end", "ahead"),
    [
        ([], (), None, 0),
        ([(2.0, 10)], (), 12.0, 10),  # all at once: never a wait after the first
        ([(1.0, 2), (5.0, 3)], ((3.0, 5.0),), 6.0, 2),
        ([(1.0, 1), (2.0, 2), (3.0, 3)], (), 4.0, 1),  # in step with the reader
        ([(1.0, 1), (3.0, 2), (5.0, 3)], ((2.0, 3.0), (4.0, 5.0)), 6.0, 1),  # half as fast
        ([(0.5, 3), (1.5, 3), (2.5, 9)], (), 9.5, 7),  # the buffer lasts
        ([(0.0, 0), (1.0, 1)], (), 2.0, 1),  # white space first
    ],
)
def test_a_reader_waits_where_text_is_missing(words_, waits, end, ahead):
    """A reader of a word a second stands still exactly where all words that came are read."""
    reading = read(words_, 60)
    assert reading.waits == waits
    assert (reading.path[-1][0] if reading.path else None) == end
    assert reading.ahead == ahead


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 20)), min_size=1, max_size=30), st.floats(30, 1000)
)
def test_a_reader_never_reads_what_has_not_come(came, wpm):
    """The line never runs ahead of the words, and time is reading and waiting and nothing else."""
    times = sorted(t for t, _ in came)
    totals = [sum(n for _, n in came[: i + 1]) for i in range(len(came))]
    reading = read(list(zip(times, totals, strict=True)), wpm)
    if not totals[-1]:
        assert reading.path == ()
        return
    first = next(t for t, n in zip(times, totals, strict=True) if n)
    assert reading.path[0] == (first, 0)
    assert reading.path[-1][1] == totals[-1]
    assert reading.path[-1][0] == pytest.approx(first + totals[-1] * 60 / wpm + reading.waited_s)
    for (t, n), (u, m) in zip(reading.path, reading.path[1:], strict=False):
        assert t <= u + 1e-9
        assert n <= m
    for t, done in reading.path:
        assert done <= max(n for at, n in zip(times, totals, strict=True) if at <= t + 1e-9)


@given(st.text(st.sampled_from("ab \n"), min_size=1), st.lists(st.integers(1, 5), min_size=1))
def test_words_are_those_of_the_whole_text(text, sizes):
    """However a text is cut into deltas, its words are as many as in one piece."""
    recording, at = Recording(), 0
    for i in range(len(text)):
        piece = text[at : at + sizes[i % len(sizes)]]
        if not piece:
            break
        recording.append(TextDelta(0, piece), float(i))
        at += len(piece)
    assert words_over_time(recording)[-1][1] == len(text.split())


def test_only_visible_text_is_read():
    """Reasoning and tool input are no words of the reader's, and a new block begins a new word."""
    rows = [
        (0.1, ReasoningDelta(0, "let me see")),
        (0.2, TextDelta(1, "one tw")),
        (0.3, TextDelta(1, "o")),
        (0.4, TextDelta(2, "three")),
        (0.5, ToolInputDelta(3, '{"a": 1}')),
    ]
    assert words_over_time(by_hand(rows)) == [(0.2, 2), (0.3, 2), (0.4, 3)]


@pytest.mark.parametrize(
    ("words_", "sentence"),
    [
        ([], "gets nothing to read."),
        ([(0.4, 5)], "waits 400 ms for the first word and never again: a faster pace would not be noticed."),
        ([(1.0, 2), (5.0, 3)], "waits 1.00 s for the first word, then 1 more time, 2.00 s together."),
        ([(1.0, 1), (3.0, 2), (5.0, 3)], "for the first word, then 2 more times, 2.00 s together."),
        ([(1.0, 1), (2.05, 2)], "word and then never long enough to notice: 1 more time, 50 ms together."),
        ([(1.0, 1), (2.0004, 2)], "and never again: a faster pace would not be noticed."),
    ],
)
def test_one_sentence_says_whether_it_was_fast_enough(words_, sentence):
    """The verdict counts the waits after the first, and does not count what nobody notices."""
    assert read(words_, 60).verdict().endswith(sentence)


def test_a_reader_is_never_done_before_the_last_word():
    """A late delta that ends a word is no word of its own: the reader may have been done by then."""
    ax = nb.plot.reading_speed(by_hand([(0.5, TextDelta(0, "a b")), (9.5, TextDelta(0, "c"))]), wpm=60)
    assert "the reader is done 2.00 s after the last of them" in said(ax)


def test_the_reader_is_drawn_beside_the_stream():
    """Both lines end at all words, waits are shaded, and the pace is written."""
    slow = by_hand([(1.0, TextDelta(0, "one two ")), (5.0, TextDelta(0, "three"))])
    ax = nb.plot.reading_speed(slow, wpm=60)
    assert points(part(ax, "reader")[0]) == [(1.0, 0.0), (3.0, 2.0), (5.0, 2.0), (6.0, 3.0)]
    assert points(part(ax, "stream")[0])[-1] == (6.0, 3.0)
    spans = [
        (path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in part(ax, "wait")[0].get_paths()
    ]
    assert spans == [(0.0, 1.0), (3.0, 5.0)]
    assert "A reader at 60 words a minute waits 1.00 s" in said(ax)
    assert "238 words a minute" in said(nb.plot.reading_speed(CASES["canned"]))


def test_waits_that_nobody_notices_are_not_shaded():
    """What the sentence calls too short to notice is no wait in the picture either."""
    for second, shaded in ((2.05, [(0.0, 1.0)]), (2.2, [(0.0, 1.0), (2.0, 2.2)])):
        reply = by_hand([(1.0, TextDelta(0, "one ")), (second, TextDelta(0, "two"))])
        ax = nb.plot.reading_speed(reply, wpm=60)
        spans = [path.vertices[:, 0] for path in part(ax, "wait")[0].get_paths()]
        assert [(span.min(), span.max()) for span in spans] == shaded
        assert ("never long enough to notice" in said(ax)) is (len(shaded) == 1)


@pytest.mark.parametrize(("status", "head"), [("complete", "A reader"), ("streaming", "So far, a reader")])
def test_of_a_stream_without_its_end_the_sentence_says_so_far(status, head):
    """What is true of the words that came need not be true of those that will."""
    ax = nb.plot.reading_speed(by_hand([(0.5, TextDelta(0, "a b"))], status=status))
    assert said(ax).startswith(head)


@pytest.mark.parametrize(("plot", "gid"), [(nb.plot.reading_speed, "wait"), (nb.plot.throughput, "tint")])
def test_tints_are_stronger_on_dark_ground(plot, gid):
    """What is faint on white cannot be seen on black."""
    light = part(plot(CASES["canned"]), gid)[0].get_alpha()
    with plt.style.context("dark_background"):
        assert part(plot(CASES["canned"]), gid)[0].get_alpha() > 2 * light


def test_a_script_without_spaces_is_warned_of():
    """Where words cannot be told apart, the picture says that its reader means nothing."""
    ax = nb.plot.reading_speed(by_hand([(0.5, TextDelta(0, "xy" * 60))]))
    assert "words cannot be counted" in said(ax)


# -- gaps ---------------------------------------------------------------------------------------------


def burst_of(*reads, late=()):
    """Deltas at the times of their reads; the reader was late for some of these."""
    recording = Recording({"modelId": "m"})
    recording.status = "complete"
    for number, (t, n) in enumerate(reads):
        for _ in range(n):
            recording.append(TextDelta(0, "word "), t, number)
        if number in late:
            recording.late[number] = 0.2
    recording.spent["client_s"] = 0.1
    return recording


def test_gaps_of_nothing_are_counted_by_who_made_them():
    """Deltas that one read brought are counted apart, and the others are gaps of their length."""
    recording = burst_of((1.0, 3), (1.5, 1), (1.75, 4), late=[2])
    known = spacing([recording])
    assert dict(known.together) == {"service": 2, "client": 3}
    assert known.apart == [0.5, 0.25]
    assert (known.total, known.median, known.p99) == (7, 0.0, None)
    assert (
        known.said[0]
        == "7 gaps; 71 % of them are 0: within one network read; no 99th percentile: it needs 100 gaps."
    )
    assert spacing([recording, recording]).total == 14


def test_bars_of_gaps_are_as_high_as_their_number():
    """The bars add up to all gaps, and those of no gap stand on each other at the left."""
    ax = nb.plot.gaps(burst_of((1.0, 3), (1.5, 1), (1.75, 4), late=[2]))
    (service,), (client,) = part(ax, "bar:service"), part(ax, "bar:client")
    assert (service.get_height(), client.get_height(), client.get_y()) == (2, 3, 2)
    assert service.get_facecolor() != client.get_facecolor()
    assert client.get_hatch()
    assert service.get_x() + service.get_width() / 2 == 0
    (apart,) = part(ax, "bars:apart")
    assert sum(apart.get_data().values) == 2
    assert "The service batches" in said(ax) or "The client batches" in said(ax)


@pytest.mark.parametrize("name", ["canned", "bursts", "5,000 deltas"])
def test_percentiles_of_gaps_are_those_of_the_metrics(name):
    """Lines stand at the median and the 99th percentile of the summary table, with their values."""
    ax = nb.plot.gaps(CASES[name])
    numbers = nb.metrics.measure(CASES[name])
    for mark, value in (("median", numbers["gap_p50_s"]), ("p99", numbers["gap_p99_s"])):
        (line,) = part(ax, f"mark:{mark}")
        assert points(line)[0][0] == pytest.approx(value, abs=1e-9)


@given(st.lists(st.floats(1e-6, 100), min_size=1, max_size=50))
def test_every_gap_has_a_bin(gaps_):
    """Edges rise, hold all gaps, and are so few that bars can be seen."""
    edges, log = bins(gaps_)
    assert edges == sorted(set(edges))
    assert edges[0] <= min(gaps_)
    assert edges[-1] >= max(gaps_)
    assert 2 <= len(edges) <= 90
    assert log == (max(gaps_) > 20 * min(gaps_))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (whole(), "Plain calls (Converse) come whole: there are no gaps."),
        (CASES["one delta"], "A single content delta came: there is no gap."),
    ],
)
def test_a_stream_without_gaps_is_told(source, text):
    """Where there is no gap, the picture says why."""
    assert said(nb.plot.gaps(source)) == text


# -- a waterfall --------------------------------------------------------------------------------------


def test_phases_follow_each_other_from_the_request_on():
    """Waiting is split where marks allow, then come the blocks, and what is after them."""
    assert phases(CASES["by hand"]) == [
        Band("set-up", 0.0, 0.004, "preparing"),
        Band("headers", 0.004, 0.25, "waiting for headers"),
        Band("wait", 0.25, 0.35, "waiting for content"),
        Band("reasoning", 0.35, 0.52, "block 0: reasoning"),
        Band("text", 0.90, 1.00, "block 1: text"),
        Band("tool input", 1.20, 1.50, "block 2: tool get_weather"),
        Band("after", 1.50, 1.51, "after the content"),
    ]
    kinds = [(band.kind, band.begin, band.end) for band in phases(again(0))][:7]
    assert kinds == [
        ("set-up", 0.0, 0.01), ("retries", 0.01, 0.21), ("set-up", 0.21, 0.22), ("set-up", 0.22, 0.23),
        ("set-up", 0.23, 0.26), ("set-up", 0.26, 0.3), ("headers", 0.3, 0.32),
    ]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_phases_leave_nothing_out_before_content(name):
    """Up to the first block, each phase begins where the one before ends, whatever was recorded."""
    bands = [band for band in phases(CASES[name]) if band.kind in ("set-up", "retries", "headers", "wait")]
    assert [band.begin for band in bands] == [0.0, *(band.end for band in bands)][: len(bands)]
    assert all(band.end >= band.begin for band in phases(CASES[name]))


def test_rows_stand_in_the_order_that_was_asked_for():
    """As given, by a column with missing values last, in groups, by the wall clock."""
    a, b, c = (labelled(by_hand(ROWS), 1e9 - i, run=i, kind=k) for i, k in enumerate("xyx"))
    late = [(t + 0.5, event) for t, event in ROWS]
    d = labelled(by_hand(late), 1e9 + 1, run=3, kind="y")
    e = labelled(CASES["no event"].like(), None, run=4, kind="x")

    def order(**wanted):
        asked = {"by": None, "sort": None, "align": "request"} | wanted
        return [row.name.rpartition("run ")[2] for row in fall([d, e, a, b, c], **asked).rows]

    assert order() == ["3", "4", "0", "1", "2"]
    assert order(sort="ttft_s") == ["0", "1", "2", "3", "4"]
    assert [row.group for row in fall([d, e, a, b, c], "kind", None, "request").rows] == list("yyxxx")
    assert list(fall([d, e, a, b, c], "run", None, "request").groups) == ["0", "1", "2", "3", "4"]
    assert fall([d, e, a, b, c], ["kind", "run"], None, "request").groups[0] == "y, 3"
    by_clock = fall([d, e, a, b, c], None, None, "clock")
    assert [row.name.rpartition("run ")[2] for row in by_clock.rows] == ["2", "1", "0", "3"]
    assert [row.first for row in by_clock.rows] == pytest.approx([0.35, 1.35, 2.35, 3.85])
    assert by_clock.said == ("Not drawn, no wall-clock time: 1 of 5 replies.",)


def test_a_waterfall_draws_each_row_at_its_times():
    """Bands have their begin and end, a tick stands at the first content, a cross where a reply broke off."""
    replies = [CASES["by hand"], CASES["failed"], CASES["cancelled"], again(0)]
    ax = nb.plot.waterfall(replies)
    boxes = [path.vertices for path in part(ax, "band:text")[0].get_paths()]
    assert [(box[:, 0].min(), box[:, 0].max()) for box in boxes] == [
        (0.9, 1.0),
        (0.9, 1.1),
        (0.9, 1.3),
        (0.9, 1.0),
    ]
    assert [math.floor(box[:, 1].min()) for box in boxes] == [0, 1, 2, 3]
    ticks = [segment[0][0] for segment in part(ax, "ticks")[0].get_segments()]
    assert ticks == [0.35] * 4
    assert [points(line) for line in part(ax, "mark:failed")] == [[(1.1, 1.5)]]
    assert [points(line) for line in part(ax, "mark:ended")] == [[(1.3, 2.5)]]
    assert [part(ax, f"label:{row}")[0].get_text() for row in (1, 2)] == [
        "failed: throttlingException",
        "cancelled",
    ]
    assert len(part(ax, "band:retries")[0].get_paths()) == 1
    heights = {kind: part(ax, f"band:{kind}")[0].get_paths()[0].vertices[:, 1] for kind in ("wait", "text")}
    assert max(heights["wait"]) - min(heights["wait"]) < max(heights["text"]) - min(heights["text"])


def test_groups_have_a_strip_each_and_a_key():
    """Rows of one value stand together at a strip of one colour, which the legend names."""
    ax = nb.plot.waterfall(grid(8), by="prompt")
    strips = part(ax, "group:")
    assert [(round(strip.get_y()), round(strip.get_height())) for strip in strips] == [(0, 4), (4, 4)]
    assert strips[0].get_facecolor() != strips[1].get_facecolor()
    keys = {text.get_text() for text in words(ax)}
    assert {"prompt: short", "prompt: long", "TTFT", "text", "ended early"} <= keys
    assert "run 0" in keys  # what the group says is not said again


def test_groups_have_the_colours_of_conditions():
    """A condition has one colour in all plots; of more than there are colours each has a shade of its own."""
    few = part(nb.plot.waterfall(grid(8), by="prompt", sort="ttft"), "group:")
    assert [mpl.colors.to_hex(strip.get_facecolor()) for strip in few] == [
        style(number).colour.lower() for number in range(2)
    ]
    many = part(nb.plot.waterfall(grid(16), by="run"), "group:")
    assert len({strip.get_facecolor() for strip in many}) == 8


def test_rows_beyond_the_most_are_said():
    """Of too many replies the first are drawn, and the picture says how many there were."""
    one = timed([TextBlock("Yes.")], Latency(ttft=0.2))
    ax = nb.plot.waterfall([one] * (MOST_ROWS + 10))
    assert f"Drawn: the first {MOST_ROWS} of {MOST_ROWS + 10} replies." in said(ax)
    assert ax.get_ylim()[0] == MOST_ROWS
    shown = [text for text in ax.get_yticklabels() if text.get_visible()]
    assert 10 < len(shown) < MOST_ROWS / 2


def test_rows_without_a_name_keep_their_numbers():
    """Whatever groups and order they stand in, the number is their place in what was given."""
    replies = [labelled(by_hand(ROWS), kind=kind) for kind in ("x", "y", "x", "y")]
    assert [row.name for row in fall(replies, "kind", None, "request").rows] == [
        "reply 1",
        "reply 3",
        "reply 2",
        "reply 4",
    ]


# -- names --------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["a", "a · 1", ""]), st.none() | st.integers(0, 2)), max_size=8))
def test_names_tell_all_apart(made):
    """Whatever models and labels are alike, no two names are."""
    recordings = [labelled(Recording({"modelId": model}), run=run) for model, run in made]
    names = tell_apart(recordings)
    assert len(set(names)) == len(made)
    assert all(names)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([{}], ["reply 1"]),
        ([{}, {}], ["reply 1", "reply 2"]),
        ([{"run": 1}, {"run": 2}], ["run 1", "run 2"]),
        ([{"kind": "long", "n": 3}, {"kind": "short", "n": 3}], ["long", "short"]),
        ([{"run": 1}, {}, {"run": 2}, {}], ["run 1", "reply 2", "run 2", "reply 4"]),
        ([{"k": "reply 2"}, {}], ["reply 2", "reply 2 · 1"]),
        ([{"cached": True}, {"cached": False}], ["cached yes", "cached no"]),
        ([{"p": "a", "q": "x"}, {"p": "a", "q": "y"}, {"p": "b", "q": "y"}], ["a · x", "a · y", "b · y"]),
    ],
)
def test_a_name_says_what_differs(labels, names):
    """Labels that all have in common are left out, and a bare number comes with its name."""
    assert tell_apart([labelled(Recording(), **one) for one in labels]) == names


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (["us.anthropic.claude-sonnet-4-20250514-v1:0", "us.amazon.nova-lite-v1:0"],
         ["anthropic.claude-sonnet-4", "amazon.nova-lite"]),
        (["us.amazon.nova-lite-v1:0", "eu.amazon.nova-lite-v1:0"],
         ["us.amazon.nova-lite-v1:0", "eu.amazon.nova-lite-v1:0"]),
        (["deepseek.v3.1", "qwen.qwen3-32b-v1:0"], ["deepseek.v3.1", "qwen.qwen3-32b"]),
    ],
)  # fmt: skip
def test_model_ids_are_short_where_they_stay_different(models, names):
    """Region and version are left out, unless they are what differs."""
    assert compact(models) == names
