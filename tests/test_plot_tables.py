"""Plots of many replies: conditions, units, bins, knees (pure), and what is drawn (artists, not pixels)."""

from __future__ import annotations

import math

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.compare import compare as compared
from bedrock_nb.errors import RequestError
from bedrock_nb.plot.canvas import style, tick
from bedrock_nb.plot.conditions import conditions, distinct, numbers
from bedrock_nb.plot.data.bins import binned, edges_for
from bedrock_nb.plot.data.knee import knee
from bedrock_nb.plot.units import quantity
from tests.test_plot import CASES

LOAD = (1, 2, 4, 8, 12, 16, 24, 32)


def replies(n=30, models=("small", "big"), *, seed=0, **columns):
    """A table of replies: the second model is half as slow again, and so on."""
    lot = np.random.default_rng(seed)
    parts = [
        pd.DataFrame(
            {
                "model": model,
                "status": "complete",
                "ttft_s": 0.2 * (1 + i / 2) * lot.lognormal(0, 0.2, n),
                "e2e_s": lot.uniform(1, 4, n),
                "output_tokens": lot.integers(20, 800, n),
                "total_input_tokens": np.round(10 ** lot.uniform(1, 4, n)),
                "concurrency": np.resize(LOAD, n),
            }
        )
        for i, model in enumerate(models)
    ]
    return pd.concat(parts, ignore_index=True).assign(**columns)


def under_load(slots=8, n=12, levels=LOAD, y="ttft_s", base=0.3, noise=0.03):
    """Replies of a server with so many places: level up to them, then in proportion."""
    lot = np.random.default_rng(0)
    parts = [
        pd.DataFrame({"concurrency": level, y: base * max(1, level / slots) * lot.lognormal(0, noise, n)})
        for level in levels
    ]
    return pd.concat(parts, ignore_index=True)


HOSTILE = [f"$a_{i}$ <b>of\nsixty</b> letters \\frac{{ and no end of them, {i}" for i in range(20)]
FAILED = replies(5).assign(status="error", ttft_s=math.nan, e2e_s=math.nan)

SOME_FAILED = pd.concat([replies(), FAILED], ignore_index=True)

#: Everything that a plot of a table must get along with.
TABLES = {
    "one recording": CASES["by hand"],
    "recordings": [
        CASES[name] for name in ("by hand", "canned", "failed", "cancelled", "nothing", "cut off")
    ],
    "one condition": replies(120, ["small"]),
    "20 hostile names": replies(8, HOSTILE),
    "missing": pd.concat(
        [
            replies(6, ["small", None]),
            FAILED.assign(model="gone"),
            replies(6, ["vague"], output_tokens=math.nan, concurrency=math.nan),
        ],
        ignore_index=True,
    ).convert_dtypes(),
    "all equal": replies(12, ttft_s=0.5, e2e_s=0.5, output_tokens=7, concurrency=4),
    "five decades": replies(40, ttft_s=np.geomspace(1e-3, 200, 80), e2e_s=np.geomspace(1e-3, 200, 80)),
}

PLOTS = {
    "ecdf": lambda source, ax=None: nb.plot.ecdf(source, by="model", ax=ax),
    "compare": lambda source, ax=None: nb.plot.compare(source, ax=ax, resamples=99),
    "load": lambda source, ax=None: nb.plot.load(source, "output_tokens", ax=ax),
    "load of conditions": lambda source, ax=None: nb.plot.load(source, "output_tokens", by="model", ax=ax),
    "heatmap": lambda source, ax=None: nb.plot.heatmap(source, ax=ax),
}


pytestmark = pytest.mark.usefixtures("closed_figures")


def part(ax, gid):
    """The artists with a gid, or whose gid begins so."""
    return [artist for artist in ax.get_children() if (artist.get_gid() or "").startswith(gid)]


def said(ax):
    """All that is written inside of the axes; a space is a space."""
    return "\n".join(text.get_text() for text in ax.texts).replace("\u00a0", " ")


def words(figure):
    """Every text that can be seen, with its box."""
    texts = []
    for ax in figure.axes:
        texts += [*ax.texts, ax.xaxis.label, ax.yaxis.label]
        texts += [child for child in ax.get_children() if isinstance(child, mpl.text.Text)]
        for axis, limits in ((ax.xaxis, sorted(ax.get_xlim())), (ax.yaxis, sorted(ax.get_ylim()))):
            ticks = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=False)
            texts += [label for t, label in ticks if limits[0] <= t <= limits[1]]
        if legend := ax.get_legend():
            texts += [*legend.get_texts(), legend.get_title()]
    seen = {id(text): text for text in texts if text.get_text() and text.get_visible()}
    return [(text, text.get_window_extent()) for text in seen.values()]


# -- conditions --------------------------------------------------------------------------------------


def test_conditions_stand_in_order():
    """By first appearance, numbers by size; what is missing is a condition too."""
    table = pd.DataFrame({"a": ["b", None, "a", "b"], "n": [10, 9, math.nan, 10]})
    assert [part.name for part in conditions(table, "a")] == ["b", "no a", "a"]
    assert [part.name for part in conditions(table, "n")] == ["9", "10", "no n"]
    assert [list(part.rows) for part in conditions(table, "n")] == [[1], [0, 3], [2]]
    assert [part.name for part in conditions(table, ["a", "n"])] == ["b, 10", "no a, 9", "a, no n"]
    assert [(part.name, len(part.rows)) for part in conditions(table, None)] == [("", 4)]


def test_labels_of_any_kind_are_conditions():
    """A list, a dict, a truth: a label may be anything, and equal ones belong together."""
    table = pd.DataFrame({"a": [[1], {"x": 2}, [1], True, pd.NA]})
    assert [(part.name, list(part.rows)) for part in conditions(table, "a")] == [
        ("[1]", [0, 2]),
        ("{'x': 2}", [1]),
        ("True", [3]),
        ("no a", [4]),
    ]


def test_models_are_named_without_region_and_version():
    """As in the plots of streams, as long as that tells them apart."""
    models = ["us.anthropic.claude-sonnet-4-20250514-v1:0", "amazon.nova-lite-v1:0"]
    table = pd.DataFrame({"model": models, "n": [1, 2]})
    assert [part.name for part in conditions(table, "model")] == [
        "anthropic.claude-sonnet-4",
        "amazon.nova-lite",
    ]
    assert conditions(table, ["model", "n"])[1].name == "amazon.nova-lite, 2"
    alike = table.assign(model=["us.a.b-v1:0", "eu.a.b-v1:0"])
    assert [part.name for part in conditions(alike, "model")] == ["us.a.b-v1:0", "eu.a.b-v1:0"]


def test_a_single_reply_does_not_press_all_others_flat():
    """One that is far above every level is told, and the axis is that of the others."""
    table = under_load()
    table.loc[5, "ttft_s"] = 60.0
    ax = nb.plot.load(table)
    assert ax.get_ylim()[1] < 10
    assert "Not shown: 1 reply above the axis, at 60.00 s." in said(ax).replace("\n", " ")
    assert "Not shown" not in said(nb.plot.load(under_load()))


def test_the_axis_of_a_comparison_ends_with_the_data():
    """Where only words are, there is no scale."""
    table = replies()
    ax = nb.plot.compare(table, resamples=99)
    low, high = ax.spines["bottom"].get_bounds()
    assert low <= table["ttft_s"].min()
    assert table["ttft_s"].max() <= high < ax.get_xlim()[1]
    assert all(low <= tick <= high for tick in ax.get_xticks())


def test_short_times_are_in_ms_even_if_one_is_not():
    """A gap of a second among thousands of some milliseconds does not make the axis one of 0.001 s."""
    assert quantity("ttft_s", np.array([0.01] * 9 + [1.5])).label == "time to first token [ms]"
    assert quantity("ttft_s", np.array([0.3, 1.5])).label == "time to first token [s]"
    assert quantity("ttft_s", np.array([0.01] * 9 + [15])).label == "time to first token [s]"


def test_an_arn_shows_no_account():
    """The name of a condition is the last part of an ARN."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    assert conditions(pd.DataFrame({"model": [arn]}), "model")[0].name == "abc"


@given(
    st.lists(st.text(max_size=40) | st.sampled_from(["a", "a (1)", "a" * 40, "a" * 39 + "b"]), max_size=12)
)
def test_names_are_short_lines_and_differ(texts):
    """Whatever the texts are, no two names are alike, and none is empty or has a second line."""
    names = distinct(texts, 12)
    assert len(set(names)) == len(names) == len(texts)
    assert all(name and len(name.splitlines()) == 1 and len(name) <= 12 + len(" (12)") for name in names)


def test_names_are_cut_where_they_are_alike():
    """Long names that differ at the end keep their ends, others their beginnings."""
    assert distinct(["a long name, 1", "a long name, 2"], 9) == ["a lo…e, 1", "a lo…e, 2"]
    assert distinct(["one long name", "two long name"], 9) == ["one long…", "two long…"]


def test_styles_come_again_late():
    """36 conditions differ in colour and marker."""
    assert len({(style(i).colour, style(i).marker) for i in range(36)}) == 36


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("nothing", "no column 'nothing'.*There are: model, status, ttft_s"),
        ("tfft_s", r"no column 'tfft_s'.*Did you mean ttft_s\? There are: model"),
        (["ttft_s"], "no column"),
        ("model", "Column 'model' holds 'small', which is no number"),
    ],
)
def test_a_column_that_cannot_be_drawn_is_refused(column, message):
    """The message names the column and lists those that there are."""
    with pytest.raises(RequestError, match=message):
        numbers(replies(2), column)


def test_the_unit_of_a_time_may_be_left_out():
    """What `compare` takes as the name of a metric, every plot of a table takes."""
    table = replies(12)
    labels = {
        nb.plot.ecdf(table, "ttft").get_xlabel(),
        nb.plot.compare(table, metric="ttft", resamples=99).get_xlabel(),
        nb.plot.load(table, y="ttft").get_ylabel(),
        nb.plot.heatmap(table, "ttft", "output_tokens", "e2e").get_xlabel().replace("[s]", "[ms]"),
    }
    assert labels == {"time to first token [ms]"}


def test_two_columns_of_one_name_are_refused():
    """Which one is meant nobody can know."""
    with pytest.raises(RequestError, match="several columns 'a'"):
        numbers(pd.DataFrame([[1, 2]], columns=["a", "a"]), "a")


def test_numbers_that_are_none_are_missing():
    """NA, None and infinity are no numbers; a nullable column is read like any other."""
    table = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64"), "b": [1.5, math.inf, None]})
    assert numbers(table, "a") == pytest.approx([1, math.nan, 3], nan_ok=True)
    assert numbers(table, "b") == pytest.approx([1.5, math.nan, math.nan], nan_ok=True)


# -- units -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values", "label", "value", "words"),
    [
        ("ttft_s", [0.3], "time to first token [ms]", 0.3, "300 ms"),
        ("ttft_s", [0.3, 2], "time to first token [s]", 0.3, "300 ms"),
        ("tpot_s", [0.02], "time per output token [ms/token]", 0.02, "20 ms/token"),
        ("gap_s", [2], "gap between content deltas [s]", 1.5, "1.50 s"),
        ("server_latency_ms", [5000], "server latency [ms]", 5000, "5.00 s"),
        ("output_tokens", [5], "output tokens", 1234, "1,234 tokens"),
        ("output_tokens", [5], "output tokens", 1, "1 token"),
        ("total_input_tokens", [5], "input tokens, cached ones included", 1, "1 token"),
        ("output_tps", [50], "output pace [token/s]", 51.27, "51.3 tokens/s"),
        ("retries", [1], "retries [count]", 2, "2"),
        ("requests_per_s", [0.1], "requests_per_s", 0.1, "0.1"),
        ("think_s", [0.1], "think [ms]", 0.1, "100 ms"),
        ("queue_ms", [5], "queue [ms]", 5, "5 ms"),
        ("read_tps", [5], "read [token/s]", 5, "5 tokens/s"),
        ("shown_tokens", [5], "shown_tokens", 5, "5 tokens"),
        ("_s", [5], "_s [s]", 5, "5.00 s"),
    ],
)
def test_a_quantity_has_words_and_a_fitting_unit(column, values, label, value, words):
    """Axes name the unit in which numbers are easily read; of no metric the end of the name is the unit."""
    unit = quantity(column, np.array(values))
    assert unit.label == label
    assert unit.say(value) == words
    assert unit.say(-value) == f"-{words}"
    assert unit.say(value, signed=True) == f"+{words}"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.05, "0.05"), (200.0, "200"), (5000, "5,000"), (20_000, "20k"), (1.5e6, "1.5M"), (-3, "-3"),
     (1e-6, "1e-06"), (math.inf, "")],
)  # fmt: skip
def test_ticks_are_short(value, text):
    """Large numbers are written with a letter, and none with needless zeros."""
    assert tick(value) == text


# -- bins --------------------------------------------------------------------------------------------


def test_few_values_stand_for_themselves():
    """Up to as many different values as bins are ticks of their own, in their order; none is no bin."""
    found = binned([400, 50, None, 100, 50], 8)
    assert found.names == ["50", "100", "400"]
    assert list(found.of) == [2, 0, -1, 1, 0]
    assert binned(["b", "a", "b"], 8).names == ["b", "a"]


@pytest.mark.parametrize(
    ("values", "most", "names", "of"),
    [
        ([426, 6, 90, 7, 91, 90], 8, ["6–7", "90–91", "426"], [2, 0, 1, 0, 1, 1]),
        ([6, 7, 8, 9], 8, ["6", "7", "8", "9"], [0, 1, 2, 3]),  # even steps
        ([1, 2, 4, 8, 12, 16], 8, ["1", "2", "4", "8", "12", "16"], [0, 1, 2, 3, 4, 5]),
        ([99, 100, 102, 990, 10_000, 10_100], 4, ["99–102", "990", "10k–10.1k"], [0, 0, 0, 1, 2, 2]),
        ([*range(95, 105), 500], 8, ["95–104", "500"], [0] * 10 + [1]),  # however many they are
        ([100, 104, 107, 120, 135], 4, ["100–110", "110–120", "120–130", "130–140"], [0, 0, 0, 2, 3]),
        ([-91, -90, 0, 7], 8, ["-91–-90", "0", "7"], [0, 0, 1, 2]),
        ([6, 7, None, math.inf], 8, ["6", "7", ""], [0, 1, -1, 2]),
    ],
)
def test_numbers_in_narrow_groups_have_a_bin_each(values, most, names, of):
    """Levels stay apart, near-equal numbers share a bin, and only what has no gaps gets round edges."""
    found = binned(values, most)
    assert found.names == names
    assert list(found.of) == of


@given(st.lists(st.integers(-50, 500) | st.floats(-1e300, 1e300), min_size=1, max_size=30), st.integers(1, 9))
def test_every_number_has_one_of_so_many_bins(values, most):
    """Whatever the numbers are, greater ones are in no lower bin."""
    found = binned(values, most)
    assert len(found.names) <= most
    places = [found.of[i] for i in np.argsort(values, kind="stable")]
    assert places == sorted(places)
    assert all(0 <= place < len(found.names) for place in places)


def test_text_beyond_the_bins_shares_one():
    """The last bin is for all the others, and says how many they are."""
    found = binned(list("abcde"), 3)
    assert found.names == ["a", "b", "3 others"]
    assert list(found.of) == [0, 1, 2, 2, 2]


def test_bins_have_round_edges():
    """Even steps for a narrow range; growing ones for a wide one."""
    assert binned(range(11, 59), 6).names == ["10–20", "20–30", "30–40", "40–50", "50–60"]
    wide = binned(np.geomspace(12, 9000, 50), 10)
    assert wide.names[:4] == ["10–20", "20–50", "50–100", "100–200"]
    assert binned(np.geomspace(12, 90_000, 50), 4).names == ["10–100", "100–1k", "1k–10k", "10k–100k"]


def test_given_edges_are_kept():
    """A lower edge belongs to its bin, the last upper one too, and what is outside has no bin."""
    found = binned([0, 5, 9.9, 10, 20, 21, math.nan, -1], 2, [0, 10, 20])
    assert found.names == ["0–10", "10–20"]
    assert list(found.of) == [0, 0, 0, 1, 1, -1, -1, -1]


@given(
    st.lists(st.floats(-1e6, 1e6) | st.floats(1e-3, 1e7) | st.floats(0, 1e300), min_size=2, max_size=40),
    st.integers(1, 12),
)
def test_edges_hold_every_value(values, most):
    """Rising, at most so many bins, and every value inside."""
    if len(set(values)) < 2:
        return
    cuts = edges_for(np.array(values), most)
    assert 2 <= len(cuts) <= most + 1
    assert (np.diff(cuts) > 0).all()
    assert cuts[0] <= min(values)
    assert cuts[-1] >= max(values)


# -- knee --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [3, 4, 6, 8, 10])
@pytest.mark.parametrize("levels", [LOAD, (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16)])
def test_the_knee_of_a_law_is_its_capacity(slots, levels):
    """Latency, throughput and pace of a server with so many places bend where they are all taken."""
    x = np.array(levels, dtype=float)
    busy = np.maximum(1, x / slots)
    for y, side in ((0.3 * busy, "before"), (x / busy / 0.3, "after"), (50 / busy, "before")):
        found = knee(x, y)
        assert (found.x, found.level) == (pytest.approx(slots), side)
        assert found.y == pytest.approx(np.interp(slots, x, y), rel=0.2)
        assert found.at(x) == pytest.approx(y)
        assert found.proportional


def test_think_time_moves_the_knee():
    """With a pause between requests latency grows less than in proportion, and the knee comes later."""
    x = np.array(LOAD, dtype=float)
    found = knee(x, np.maximum(0.3, x * 0.05 - 0.2))
    assert found.x == pytest.approx(10)
    assert found.slope == pytest.approx(0.05)
    assert not found.proportional


@pytest.mark.parametrize(
    "y",
    [
        lambda x: 0 * x + 0.3,
        lambda x: 0.3 * x,
        lambda x: 1 + 0.1 * x,
        lambda x: 0 * x,
        lambda x: np.sqrt(x),
        lambda x: np.where(x < 8, 0.300, 0.301),
    ],
    ids=["level", "proportional", "straight", "zero", "root", "a hair"],
)
def test_what_does_not_bend_has_no_knee(y):
    """A straight line, a smooth curve, a step too small to matter: there is no knee to be seen."""
    assert knee(LOAD, y(np.array(LOAD, dtype=float))) is None


@pytest.mark.parametrize(
    ("x", "y"),
    [([1, 2, 4], [1, 1, 2]), ([], []), ([1, 1, 2, 4], [1, 1, 1, 3]), ([1, 2, 4, 8], [1, 1, math.nan, 9])],
)
def test_few_levels_have_no_knee(x, y):
    """Three levels are not enough, nor are four of which one is missing or twice the same."""
    assert knee(x, y) is None


def test_noise_hides_no_knee_and_makes_none():
    """With 3 % of noise a knee at 8 is nearly always found near 8, and hardly ever one in a straight line."""
    lot = np.random.default_rng(0)
    x = np.array(LOAD, dtype=float)
    bent = [knee(x, 0.3 * np.maximum(1, x / 8) * lot.lognormal(0, 0.03, 8)) for _ in range(100)]
    straight = [knee(x, (0.3 + 0.05 * x) * lot.lognormal(0, 0.03, 8)) for _ in range(100)]
    assert sum(found is not None and 6.5 < found.x < 9.5 for found in bent) >= 95
    assert sum(found is not None for found in straight) <= 5


# -- every plot of every table -----------------------------------------------------------------------


@pytest.mark.parametrize("plot", ["ecdf", "compare", "load", "heatmap"])
@pytest.mark.parametrize("name", TABLES)
def test_words_keep_apart_and_nothing_is_missed(plot, name):
    """Whatever the table: no text lies on another, what is missing is said, and data or words are there."""
    ax = PLOTS[plot](TABLES[name], plt.subplots(figsize=(10, 4))[1])
    assert_readable(ax.figure)
    assert part(ax, "note") or part(ax, "empty")
    assert part(ax, "empty") or part(ax, ("line", "dots", "cells"))


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize(
    ("table", "size", "style"),
    [
        (TABLES["20 hostile names"], (6, 4), "dark_background"),
        (SOME_FAILED, (4, 3), "ggplot"),
        (SOME_FAILED, None, "default"),
    ],
    ids=["narrow and dark", "small", "new"],
)
def test_words_stay_inside_of_figures_of_any_size(plot, table, size, style):
    """Where there is less room there are fewer words, in the colour of the style; none leaves the figure."""
    with plt.style.context(style):
        given = plt.subplots(figsize=size, layout="constrained")[1] if size else None
        ax = PLOTS[plot](table, given)
        assert ax is given or given is None
        assert_readable(ax.figure, inside=True)
        assert {text.get_color() for text in part(ax, "note")} == {mpl.rcParams["text.color"]}


def assert_readable(figure, inside=False):
    figure.draw_without_rendering()
    boxes = words(figure)
    page = figure.bbox
    for i, (text, box) in enumerate(boxes):
        if inside and text.get_text() not in [ax.get_ylabel() for ax in figure.axes]:
            assert box.x0 >= page.x0 - 1, text
            assert box.x1 <= page.x1 + 1, text
            assert box.y0 >= page.y0 - 1, text
            assert box.y1 <= page.y1 + 1, text
        for other, other_box in boxes[i + 1 :]:
            turned = (
                text.get_rotation() % 90 and other.get_rotation() % 90
            )  # their boxes are larger than they
            assert turned or not box.overlaps(other_box), f"{text} lies on {other}"


@pytest.mark.parametrize("plot", PLOTS)
def test_nothing_to_draw_is_said(plot):
    """Without any reply, or any number, words stand in the place of data."""
    assert "There is no reply to draw." in said(PLOTS[plot]([]))
    assert "status: 10 error" in said(PLOTS[plot](FAILED))


@pytest.mark.parametrize("plot", PLOTS)
def test_replies_without_the_number_are_counted(plot):
    """The words say how many there are, which number they lack, and how they ended."""
    wrapped = said(PLOTS[plot](SOME_FAILED)).replace("\n", " ")
    assert "10 of 70 replies have no" in wrapped
    assert "(status: 10 error)" in wrapped


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda t: nb.plot.ecdf(t, "nothing"), "no column 'nothing'"),
        (lambda t: nb.plot.ecdf(t, "model"), "which is no number"),
        (lambda t: nb.plot.ecdf(t, by="nothing"), "no column 'nothing'"),
        (lambda t: nb.plot.ecdf(t, by=5), "by is 5; the name of a column is wanted"),
        (lambda t: nb.plot.ecdf(t, failures="maybe"), "failures is 'maybe'"),
        (lambda t: nb.plot.ecdf(t, "gap_s", failures="count"), "never came cannot be counted"),
        (lambda t: nb.plot.ecdf(t, "gap_s"), "no column 'gap_s'"),
        (lambda t: nb.plot.ecdf(t, ax="here"), "ax is a str"),
        (lambda t: nb.plot.compare(t, by="nothing"), "no column 'nothing'"),
        (lambda t: nb.plot.compare(t, metric="status"), "which is no number"),
        (lambda t: nb.plot.compare(t, metric=["ttft_s", "e2e_s"]), "a picture compares one column"),
        (lambda t: nb.plot.compare(t, baseline="nobody"), "no condition 'nobody'"),
        (lambda t: nb.plot.compare(t, "status", comparison=compared(t)), "not one of these replies"),
        (lambda t: nb.plot.load(t, "nothing"), "no column 'nothing'"),
        (lambda t: nb.plot.load(t, "model"), "which is no number"),
        (lambda t: nb.plot.heatmap(t, "nothing"), "no column 'nothing'"),
        (lambda t: nb.plot.heatmap(t, value="model"), "which is no number"),
        (lambda t: nb.plot.heatmap(t, bins=0), "bins is 0"),
        (lambda t: nb.plot.heatmap(t, bins=([3, 2], 4)), r"bins is \[3, 2\]; .* rising edges"),
        (lambda t: nb.plot.heatmap(42), "An int is no recording"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    """The error says what was given and what there is, and leaves no figure behind."""
    with pytest.raises(RequestError, match=message):
        draw(replies(3))
    assert not plt.get_fignums()


def test_a_new_figure_or_the_given_axes_and_no_setting_changed():
    """Without axes each call makes a figure; rcParams stay as they were; a table is not changed."""
    before, table = dict(mpl.rcParams), replies(4)
    copy = table.copy()
    drawn = [plot(table) for plot in PLOTS.values()]
    assert len({id(ax.figure) for ax in drawn}) == len(PLOTS)
    assert dict(mpl.rcParams) == before
    pd.testing.assert_frame_equal(table, copy)


# -- ecdf --------------------------------------------------------------------------------------------


def test_a_line_rises_at_each_value():
    """Sorted values against their shares; a condition without any value has no line and is named."""
    ax = nb.plot.ecdf(pd.concat([replies(), FAILED.assign(model="gone")]), by="model")
    values = replies().query("model == 'big'")["ttft_s"].to_numpy()
    (line,) = part(ax, "line:1")
    assert line.get_drawstyle() == "steps-post"
    assert line.get_xdata()[1:] == pytest.approx(np.sort(values))
    assert line.get_ydata() == pytest.approx(np.arange(31) / 30)
    assert "without any value: gone" in said(ax)


def test_percentiles_are_marked_as_far_as_there_are_values():
    """Of 120 values p50 and p90 are full, p99 is hollow; of 30 there is no p99; of one there is none."""
    ax = nb.plot.ecdf(TABLES["one condition"])
    values = TABLES["one condition"]["ttft_s"]
    for p, full in ((50, True), (90, True), (99, False)):
        (mark,) = [artist for artist in part(ax, f"mark:p{p}") if artist.get_gid() == f"mark:p{p}"]
        assert mark.get_xdata()[0] == pytest.approx(values.quantile(p / 100))
        assert mark.get_ydata() == [p / 100]
        assert (mark.get_markerfacecolor() == mark.get_color()) is full
        assert part(ax, f"label:p{p}")[0].get_text() == f"{values.quantile(p / 100) * 1000:.0f} ms"
    assert "Hollow" in said(ax)
    ax = nb.plot.ecdf(replies(30, ["small"]))
    assert not part(ax, "mark:p99")
    assert "Too few replies for p99 (it takes 100)." in said(ax)
    assert not part(nb.plot.ecdf(replies(1, ["small"])), "mark")


def test_failures_can_count_as_never():
    """Then a line ends below 100 %, percentiles are of all replies, and one beyond the end has no mark."""
    table = replies(60, ["small"])
    table.loc[:19, ["ttft_s", "status"]] = [math.nan, "error"]
    values = np.sort(table["ttft_s"].dropna())
    ax = nb.plot.ecdf(table, failures="count")
    assert part(ax, "line")[0].get_ydata()[-1] == pytest.approx(40 / 60)
    assert part(ax, "mark:p50")[0].get_xdata()[0] == pytest.approx(np.interp(29.5, range(40), values))
    assert not part(ax, "mark:p90")
    assert "they count as never" in said(ax)
    assert "The line ends below p90, p99." in said(ax).replace("\n", " ")
    apart = nb.plot.ecdf(table)
    assert part(apart, "line")[0].get_ydata()[-1] == 1
    assert part(apart, "mark:p50")[0].get_xdata()[0] == pytest.approx(np.median(values))


def test_why_a_percentile_has_no_mark_is_said_for_each_reason():
    """Too few replies, or a line that ends below: once each, with the lines that it is true of."""
    table = pd.concat([replies(5, ["few"]), replies(120, ["all", "broken"])], ignore_index=True)
    table.loc[table.index[-6:], "ttft_s"] = math.nan
    words_ = said(nb.plot.ecdf(table, by="model", failures="count")).replace("\n", " ")
    few = "Too few replies for p90 (it takes 10) in 1 of 3 lines, p99 (it takes 100) in 1 of 3 lines."
    assert few in words_
    assert "Lines end below p99 (1 of 3)." in words_


def test_a_line_of_ones_own_stays_below_the_words():
    """As the docstring says: from 0 to 1 it runs through the data, and neither moves nor meets the words."""
    ax = nb.plot.ecdf(SOME_FAILED, by="model")
    before = ax.get_ylim()
    ax.vlines(0.3, 0, 1)
    ax.figure.draw_without_rendering()
    assert ax.get_ylim() == before
    end = ax.transData.transform((0.3, 1))[1]
    assert min(note.get_window_extent().y0 for note in part(ax, "note")) >= end


def test_gaps_of_all_recordings_are_pooled():
    """With ``gap_s`` every gap counts, by the columns of its reply; the table of events gives the same."""
    chosen = [CASES["by hand"], CASES["canned"]]
    gaps = np.sort(nb.events(chosen)["gap_s"].dropna())
    for source in (chosen, iter(chosen), nb.events(chosen)):
        (line,) = part(nb.plot.ecdf(source, "gap_s"), "line:0")
        assert len(line.get_xdata()) == len(gaps) + 1
        assert line.get_xdata()[-1] == pytest.approx(gaps[-1])
    assert len(part(nb.plot.ecdf(chosen, "gap_s", by="status"), "line:")) == 1


def test_an_axis_is_logarithmic_if_values_span_widely():
    """Over two decades, and then zeros stand at the left edge, which is said; ticks are in a fitting unit."""
    assert nb.plot.ecdf(replies()).get_xscale() == "linear"
    assert nb.plot.ecdf(TABLES["five decades"]).get_xscale() == "log"
    ax = nb.plot.ecdf(replies(10, ttft_s=np.r_[np.zeros(10), np.geomspace(1e-4, 1, 10)]))
    assert ax.get_xscale() == "log"
    assert part(ax, "line:0")[0].get_xdata()[0] == pytest.approx(ax.get_xlim()[0])
    assert "50% of the replies are 0" in said(ax)
    assert nb.plot.ecdf(replies()).get_xlabel() == "time to first token [ms]"


def test_more_conditions_than_can_be_told_apart_are_said():
    """Twenty lines are drawn, and the words say of how many."""
    ax = nb.plot.ecdf(replies(2, [f"m{i}" for i in range(25)]), by="model")
    assert len(part(ax, "line:")) == 20
    assert "The first 20 of 25 conditions are drawn." in said(ax).replace("\n", " ")


# -- compare -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("baseline", "order"), [(None, ["small", "big"]), ("big", ["big", "small"])])
def test_a_row_shows_values_estimate_interval_and_difference(baseline, order):
    """Dots are all values, the bar is the interval and the words are the numbers of `nb.compare`."""
    table = replies(30)
    found = compared(table, baseline=baseline)
    made, sentence = found
    ax = nb.plot.compare(table, comparison=found) if baseline else nb.plot.compare(table)
    for number, row in made.iterrows():
        drawn = np.concatenate([artist.get_xdata() for artist in part(ax, f"dots:{number}")])
        assert sorted(drawn) == pytest.approx(sorted(table["ttft_s"][table["model"] == row["model"]]))
        assert list(part(ax, f"interval:{number}")[0].get_xdata()) == [row["low"], row["high"]]
        assert list(part(ax, f"estimate:{number}")[0].get_xdata()) == [row["estimate"]]
        assert f"{row['estimate'] * 1000:.0f} ms, n = 30" in part(ax, f"label:{number}")[0].get_text()
    assert "baseline" in part(ax, "label:0")[0].get_text()
    assert f"{made['diff'][1] * 1000:+.0f} ms" in part(ax, "label:1")[0].get_text()
    assert list(part(ax, "baseline")[0].get_xdata()) == [made["estimate"][0]] * 2
    assert said(ax).replace("\n", " ").startswith(sentence[:60])
    assert [label.get_text() for label in ax.get_yticklabels()] == order


def test_outliers_and_warm_up_are_shown():
    """An outlier is a hollow dot and a reply of the warm-up a cross; both are explained."""
    table = replies(20, ["small"])
    table.loc[7, "ttft_s"] = 5.0
    ax = nb.plot.compare(table, warmup=2)
    assert list(part(ax, "outliers:0")[0].get_xdata()) == [5.0]
    assert list(part(ax, "warm-up:0")[0].get_xdata()) == list(table["ttft_s"][:2])
    assert "Hollow: 1 outlier." in said(ax)
    assert "Crosses: 2 of the warm-up, not counted." in said(ax)


def test_a_number_stays_with_its_unit():
    """No line of the sentence ends between the two, whatever the width; other texts have plain spaces."""
    for inches in (4.0, 5.5, 7.0, 10.0):
        ax = nb.plot.compare(replies(12), ax=plt.subplots(figsize=(inches, 6))[1])
        lines = [note.get_text() for note in part(ax, "note")]
        assert len(lines) > 1
        assert not any(line[-1].isdigit() for line in lines)
        assert not any(line.split()[0] in ("s", "ms", "%", "=", "<") for line in lines)
    assert "\u00a0" not in compared(replies(12)).sentence


def test_rows_make_a_figure_higher():
    """So that twenty conditions are as easy to read as two."""
    few, many = (
        PLOTS["compare"](table).figure.get_figheight() for table in (replies(), TABLES["20 hostile names"])
    )
    assert many > few + 8


# -- load --------------------------------------------------------------------------------------------


def test_levels_have_medians_intervals_and_a_tail():
    """The line goes through the medians; p90 is hollow where rough, p99 is missing and said so."""
    table = under_load(n=20)
    ax = nb.plot.load(table)
    grouped = table.groupby("concurrency")["ttft_s"]
    (line,) = part(ax, "median:0")
    assert list(line.get_xdata()) == list(LOAD)
    assert line.get_ydata() == pytest.approx(grouped.median().to_numpy())
    assert len(part(ax, "interval:0")[0].get_segments()) == len(LOAD)
    tail = part(ax, "tail:p90")
    assert tail[0].get_ydata() == pytest.approx(grouped.quantile(0.9).to_numpy())
    assert tail[1].get_markerfacecolor() == ax.get_facecolor()
    assert not part(ax, "tail:p99")
    assert "no p99 at any level: it takes 100 replies" in said(ax).replace("\n", " ")
    assert sorted(part(ax, "dots:0")[0].get_ydata()) == pytest.approx(sorted(table["ttft_s"]))


@pytest.mark.parametrize("y", ["ttft_s", "output_tps"])
def test_the_knee_is_marked_and_told(y):
    """A vertical line at the capacity, and words that say what happens beyond it."""
    table = under_load(8, y="ttft_s")
    if y == "output_tps":
        table[y] = 20 / table["ttft_s"]
    ax = nb.plot.load(table, y=y)
    (line,) = part(ax, "knee:0")
    assert line.get_xdata()[0] == pytest.approx(8, rel=0.1)
    way = {"ttft_s": "time to first token grows in", "output_tps": "output pace falls in inverse"}[y]
    assert part(ax, "label:knee")[0].get_text().endswith(f"beyond it {way} proportion")


@pytest.mark.parametrize(
    ("levels", "slots", "words"),
    [
        ((1, 2, 4), 2, "no knee is looked for: it takes 4 levels, here are 3"),
        ((5,), 2, "no knee is looked for: it takes 4 levels, here is 1"),
        (LOAD, 100, "no clear knee in this range"),
        (LOAD, 1, "no clear knee in this range"),
    ],
)
def test_without_a_knee_the_reason_is_told(levels, slots, words):
    """Too few levels, or a curve that does not bend."""
    ax = nb.plot.load(under_load(slots, levels=levels))
    assert words in said(ax).replace("\n", " ")
    assert not part(ax, "knee")


def test_each_condition_has_its_curve_and_knee():
    """With ``by`` the legend names the conditions and their knees."""
    table = pd.concat([under_load(8, noise=0.0).assign(site="a"), under_load(4, noise=0.0).assign(site="b")])
    ax = nb.plot.load(table, by="site")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "a: knee at about 8",
        "b: knee at about 4",
    ]
    assert len(part(ax, "median:")) == len(part(ax, "knee:")) == 2
    assert not part(ax, "tail")


def test_a_measured_load_is_put_into_groups():
    """Hundreds of different rates become some levels of neighbours, and the words say so."""
    lot = np.random.default_rng(0)
    table = pd.DataFrame({"rate": lot.uniform(1, 50, 300), "ttft_s": lot.uniform(1, 2, 300)})
    ax = nb.plot.load(table, "rate")
    assert len(part(ax, "median:0")[0].get_xdata()) == 12
    assert "groups of neighbours" in said(ax).replace("\n", " ")


def test_axes_of_load_are_logarithmic_if_they_must():
    """Levels by more than a factor of 64, medians over two decades."""
    ax = nb.plot.load(under_load(1, levels=(1, 10, 100, 1000)))
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert nb.plot.load(under_load()).get_xscale() == "linear"


# -- heatmap -----------------------------------------------------------------------------------------


def test_a_cell_has_the_median_and_the_count():
    """Each cell: the median of its replies as a colour and a number, and their count; few are hatched."""
    table = pd.DataFrame(
        {
            "output_tokens": [10, 10, 10, 20, 20, 20],
            "total_input_tokens": [100, 100, 100, 100, 200, 200],
            "e2e_s": [1.0, 2.0, 9.0, 3.0, math.nan, math.nan],
        }
    )
    ax = nb.plot.heatmap(table)
    (mesh,) = part(ax, "cells")
    assert mesh.get_array().filled(-1).tolist() == [[2, 3], [-1, -1]]
    texts = {label.get_gid(): label.get_text() for label in part(ax, "label:")}
    assert texts == {
        "label:0,0": "2\nn = 3",
        "label:1,0": "3\nn = 1",
        "label:0,1": "–",
        "label:1,1": "none\nof 2",
    }
    assert [patch.get_xy() for patch in part(ax, "few")] == [(1, 0)]
    assert mesh.colorbar.ax.get_ylabel() == "end-to-end time [s]"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["10", "20"]
    for words_ in ("hatched: fewer than 3", "–: no reply", "2 of 6 replies have no e2e_s"):
        assert words_ in said(ax).replace("\n", " ")


def test_every_reply_is_in_a_cell_or_counted():
    """The counts of all cells and of those outside of given edges add up."""
    table = replies(60)
    ax = nb.plot.heatmap(table, bins=([0, 200, 400], 4))
    inside = sum(
        int(label.get_text().split("n = ")[1]) for label in part(ax, "label:") if "n = " in label.get_text()
    )
    assert inside == (table["output_tokens"] <= 400).sum()
    assert f"{120 - inside} of 120 replies are in no cell" in said(ax).replace("\n", " ")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0–200", "200–400"]


def test_a_reply_that_is_in_no_cell_is_counted_once():
    """What lacks the axes and the value is said to be in no cell, and is not counted again for the value."""
    table = replies(30)
    table.loc[:1, ["output_tokens", "total_input_tokens", "e2e_s"]] = math.nan
    table.loc[:1, "status"] = "error"
    table.loc[5, "e2e_s"] = math.nan
    words_ = said(nb.plot.heatmap(table)).replace("\n", " ")
    outside = "2 of 60 replies are in no cell: without output_tokens or total_input_tokens (status: 2 error)."
    assert outside in words_
    assert "1 of 60 replies has no e2e_s (status: 1 complete)." in words_


def test_text_may_be_an_axis():
    """Conditions in rows stand from the top downwards, as one reads."""
    ax = nb.plot.heatmap(replies(9, ["first", "second"]), y="model", value="ttft_s")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["second", "first"]


def test_figures_can_be_read_on_every_colour():
    """Words on dark cells are white, on light ones black; the darkest and the lightest differ."""
    ax = nb.plot.heatmap(replies(100), value="output_tokens", bins=4)
    colours = {label.get_color() for label in part(ax, "label:") if "n = " in label.get_text()}
    assert colours == {"white", "black"}


def test_cells_too_small_for_figures_have_none():
    """Then the words say so, and the colours remain."""
    ax = plt.subplots(figsize=(3, 2))[1]
    nb.plot.heatmap(replies(500), bins=40, ax=ax)
    assert not part(ax, "label:")
    assert "too small" in said(ax)
    assert part(ax, "cells")


def test_colours_stand_for_powers_if_medians_span_widely():
    """A colour bar over two decades is logarithmic; one of equal medians is not empty."""
    table = replies(40).assign(e2e_s=lambda t: t["output_tokens"] ** 4 / 1e6)
    assert isinstance(part(nb.plot.heatmap(table), "cells")[0].norm, mpl.colors.LogNorm)
    norm = part(nb.plot.heatmap(TABLES["all equal"]), "cells")[0].norm
    assert norm.vmin < 0.5 < norm.vmax
