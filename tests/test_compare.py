"""compare: conditions sorted, warm-up and pairs by rule, tables with known answers, words that fit them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import bedrock_nb as nb
from bedrock_nb import stats
from bedrock_nb.compare import COLUMNS, compare
from bedrock_nb.errors import RequestError, service_fault
from bedrock_nb.events import MessageStart, StreamFault, TextDelta
from bedrock_nb.recording import Recording
from tests.recordings import recorded
from tests.test_render import OURS, Audit
from tests.xss import CASES

QUICK: Any = {"resamples": 199}
BASE = 0.4 + np.random.default_rng(3).normal(0, 0.02, 20)


def table(**conditions: Any) -> pd.DataFrame:
    """A row per reply: the model is the name of the argument, its values are times to first token."""
    rows = [
        {"model": model, "status": "complete" if t is not None else "error", "ttft_s": t, "prompt": i}
        for model, values in conditions.items()
        for i, t in enumerate(values)
    ]
    frame = pd.DataFrame(rows, columns=["model", "status", "ttft_s", "prompt"])
    return frame.astype({"ttft_s": "float64"})


def row(found: Any, name: Any, by: str = "model") -> Any:
    """The row of a condition, by attribute."""
    return next(r for r in found.table.itertuples() if getattr(r, by) == name)


def all_said(found: Any) -> str:
    """The result and the notes."""
    return " ".join((found.sentence, *found.notes))


def reply(t: float, *, started: float | None = None, fresh: bool = False, **labels: Any) -> Recording:
    """A reply whose first token came at ``t``."""
    made = recorded(
        (MessageStart("assistant"), t / 2),
        (TextDelta(0, "Hi"), t),
        request={"modelId": "amazon.nova-lite-v1:0"},
        labels=labels,
        started=started,
    )
    if fresh:
        made.mark("connecting", 0.0)
    return made


# -- the table -------------------------------------------------------------------------------------


def test_every_condition_is_measured_and_compared():
    """The numbers are those of `stats`, on the values of each condition."""
    found = compare(table(a=BASE, b=BASE - 0.1), **QUICK)
    a, b = row(found, "a"), row(found, "b")
    alone, apart = stats.interval(BASE, **QUICK), stats.difference(BASE, BASE - 0.1, **QUICK)
    assert (a.estimate, a.low, a.high, a.n) == alone[:4]
    assert (b.diff, b.diff_low, b.diff_high, b.ratio, b.p_raw) == apart[:5]
    assert (a.baseline, b.baseline, b.test, b.effect) == (True, False, apart.test, apart.effect)
    assert (a.unit, a.statistic, a.metric) == ("s", "median", "ttft_s")
    assert (a.p90_trust, a.p99_trust) == ("weak", "no")
    assert a.p90 == pytest.approx(np.quantile(BASE, 0.9))
    assert np.isnan(a.p99)
    assert np.isnan(a.diff)


@pytest.mark.parametrize("conditions", [{}, {"a": []}, {"a": [0.5]}, {"a": BASE, "b": [None], "c": BASE}])
def test_the_table_has_its_columns_and_types_whatever_it_holds(conditions):
    """Also of no reply, of one, and of failed ones."""
    made = compare(table(**conditions), **QUICK).table
    assert list(made) == ["model", *COLUMNS]
    for name, kind in COLUMNS.items():
        assert made[name].dtype == pd.Series(dtype=kind).dtype, name


def test_a_table_and_recordings_say_the_same():
    """So do files in a folder and a generator, which are walked one recording at a time."""
    replies = [reply(t, condition=name) for name in ("x", "y") for t in (0.2, 0.3, 0.5, 0.6)]
    found = compare(replies, by="condition", **QUICK)
    assert_frame_equal(found.table, compare(nb.summary(replies), by="condition", **QUICK).table)
    assert_frame_equal(found.table, compare((r for r in replies), by="condition", **QUICK).table)


def test_a_folder_can_be_compared(tmp_path):
    """By its path."""
    for i, t in enumerate((0.2, 0.3)):
        reply(t, condition="x").save(tmp_path / f"{i}.jsonl")
    assert row(compare(tmp_path, by="condition"), "x", "condition").estimate == 0.25


def test_real_replies_can_be_compared(service):
    """Of the embedded server, by a label, and in the units of the metric."""
    replies = [
        nb.stream(service.client, "Hi", labels={"warmth": warmth}).drain() for warmth in (1.0, 0.5, 1.0, 0.5)
    ]
    found = compare(replies, by="warmth", metric=["ttft", "output_tokens"], **QUICK)
    assert found.table[["warmth", "metric", "n"]].values.tolist() == [
        [0.5, "ttft_s", 2],
        [1.0, "ttft_s", 2],
        [0.5, "output_tokens", 2],
        [1.0, "output_tokens", 2],
    ]


def test_the_same_numbers_give_the_same_table():
    """All chance is seeded."""
    data = table(a=BASE, b=BASE - 0.01)
    again = [compare(data, seed=seed, **QUICK).table for seed in (0, 0, 5)]
    assert_frame_equal(again[0], again[1])
    assert again[0].diff_low[1] != again[2].diff_low[1]


def test_it_unpacks_into_table_and_sentence():
    """Both are attributes as well; what is shown has the table, the result, and then the notes."""
    found = compare(table(a=BASE), **QUICK)
    made, said = found
    assert made is found.table
    assert said is found.sentence
    assert found.notes
    assert repr(found).split("\n\n")[1:] == [said, "\n".join(found.notes)]
    assert repr(compare(table(), **QUICK)).endswith("\n\nThere are no replies to compare.")


# -- conditions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["b", "a", "b"], ["b", "a"]),
        ([16, 2, None, 8], [2, 8, 16, None]),
        ([10.0, 9.5, 10.0], [9.5, 10.0]),
        ([["x"], ["y"], ["x"]], [["x"], ["y"]]),
    ],
    ids=["appearance", "numbers", "fractions", "lists"],
)
def test_conditions_stand_in_a_natural_order(values, order):
    """Numbers by size, all others as they appear, the missing value among them; the first is the baseline."""
    found = compare([reply(0.5, k=value) for value in values], by="k", **QUICK).table
    assert [None if not isinstance(v, list) and pd.isna(v) else v for v in found["k"]] == order
    assert found["baseline"].tolist() == [True] + [False] * (len(order) - 1)


def test_a_condition_may_be_of_several_columns():
    """Its baseline is then a tuple."""
    replies = [reply(0.5, a=a, b=b) for a in ("x", "y") for b in (1, 2)]
    found = compare(replies, by=["a", "b"], baseline=("y", 1), **QUICK)
    assert found.table.loc[found.table.baseline, ["a", "b"]].values.tolist() == [["y", 1]]
    assert "x, b 2 and y, b 1 are equal, but one reply each" in found.sentence


def test_a_label_whose_name_is_taken_is_kept_apart():
    """A label ``n`` does not become the number of replies."""
    found = compare([reply(0.5, n=7)], by="n", **QUICK).table
    assert (found.by_n[0], found.n[0]) == (7, 1)


def test_more_conditions_than_a_sentence_holds_are_in_the_table():
    """They are counted, and the ends told; p-values are corrected for all."""
    found = compare([reply(0.4 + i / 100, k=k) for k in range(25) for i in range(3)], by="k", **QUICK)
    assert len(found.table) == 25
    assert found.sentence == (
        "Of 24 conditions, 24 show no clear difference from k 0; "
        "median time to first token is 410 ms for all."
    )
    assert "All are compared with the first condition, k 0" in all_said(found)
    assert found.table.p_value[1:].tolist() == stats.holm(found.table.p_raw[1:].tolist())


def test_p_values_are_corrected_for_all_comparisons_of_the_table():
    """Two metrics of three conditions are four questions."""
    data = table(a=BASE, b=BASE - 0.01, c=BASE + 0.02).assign(other_s=lambda t: 1 / t.ttft_s)
    found = compare(data, metric=["ttft_s", "other_s"], **QUICK)
    others = found.table[~found.table.baseline]
    assert others.p_value.tolist() == stats.holm(others.p_raw.tolist())
    assert "corrected for 4 comparisons (Holm)" in all_said(found)


# -- what is left out, and what is not -------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "order"),
    [([30.0, 10.0, 20.0], [0.5, 0.25]), ([30.0, None, 20.0], [0.5, 0.125])],
    ids=["by the clock", "as given"],
)
def test_warm_up_is_the_first_by_the_clock(times, order):
    """Or in the order given, if a reply's wall-clock time is not known."""
    data = [reply(t, started=s) for t, s in zip((0.25, 0.5, 0.125), times, strict=True)]
    found = compare(data, warmup=1, **QUICK)
    assert (found.table.dropped[0], found.table.n[0]) == (1, 2)
    kept = {0.25, 0.5, 0.125} - {0.5 if times[1] else 0.25}
    assert found.table.estimate[0] == np.median(list(kept))
    assert "the first 1 reply of each condition" in all_said(found)


def test_warm_up_may_be_new_connections():
    """Those that had to open one are left out, and the result says so."""
    data = [reply(0.9, fresh=True), reply(0.4), reply(0.5)]
    found = compare(data, warmup="connection", **QUICK)
    assert (found.table.dropped[0], found.table.estimate[0]) == (1, 0.45)
    assert "Left out as warm-up, for they opened a connection: amazon.nova-lite-v1:0 1." in all_said(found)
    assert "no reply opened a connection" in all_said(compare(data[1:], warmup="connection", **QUICK))


@pytest.mark.parametrize(
    ("fresh", "told"),
    [
        (True, '1 reply of m opened a connection and is slower than the others. warmup="connection"'),
        (False, "The first reply is slower than the others: m (2,000 ms). warmup=1"),
    ],
)
def test_warm_up_that_was_not_left_out_is_told(fresh, told):
    """By default nothing is dropped; what looks like warm-up is named."""
    data = [reply(2.0, fresh=fresh, k="m"), *(reply(0.4 + i / 100, k="m") for i in range(9))]
    found = compare(data, by="k", **QUICK)
    assert told in all_said(found)
    assert (found.table.dropped[0], found.table.n[0], found.table.outliers[0]) == (0, 10, 1)
    assert "Values far outside of the others, which are kept: m 1" in all_said(found)
    assert "outside" not in all_said(compare(data[1:], by="k", **QUICK))


def test_a_quick_first_reply_is_no_warm_up():
    """A warm-up makes slow: a first reply far below the others is an outlier, and no hint is given."""
    found = compare([reply(0.01), *(reply(0.4 + i / 100) for i in range(9))], **QUICK)
    assert (found.table.outliers[0], "warmup" in found.sentence) == (1, False)


def test_late_reads_are_told():
    """A reader that was busy makes times too long: the notes say of whom, and by how much."""
    data = [reply(0.4 + i / 100, k="m") for i in range(4)]
    for one, late in zip(data, (0.0, 0.005, 0.25, 0.1), strict=True):
        one.spent["client_s"], one.late = 0.3, {1: late} if late else {}
    assert (
        "Read late, so that their times may be too long: m 2 (by 0.25 s)."
        in compare(data, by="k", **QUICK).notes
    )
    assert "Read late" not in all_said(compare(data[:2], by="k", **QUICK))


def test_failed_replies_are_kept_apart_and_told():
    """They are in no estimate; one that has the number although it failed is in it."""
    failed = recorded(
        (StreamFault(service_fault("throttlingException", "slow down")), 0.1), labels={"k": "m"}
    )
    cut = reply(0.4, k="m")
    failed.status, cut.status = "error", "incomplete"
    found = compare([failed, cut, reply(0.6, k="m")], by="k", **QUICK)
    m = row(found, "m", "k")
    assert (m.n, m.missing, m.failed, m.estimate) == (2, 1, 2, 0.5)
    assert "Replies without this number, which are not in it: m 1 of 3 (1 error)." in all_said(found)
    assert "1 reply of m failed after this number was measured; it is counted in." in all_said(found)


def test_where_every_reply_failed_nothing_is_compared():
    """The sentence says how many there were."""
    found = compare(table(a=[None, None], b=[None]), **QUICK)
    assert found.sentence == "No reply has this number: time to first token."
    assert found.notes == (
        "Replies without this number, which are not in it: a 2 of 2 (2 error), b 1 of 1 (1 error).",
    )
    assert found.table.estimate.isna().all()


# -- pairs -----------------------------------------------------------------------------------------


def test_pairs_are_made_of_equal_values():
    """Whatever the order; replies without a partner are left out and counted."""
    data = table(a=[0.1, 0.5, 0.9, 0.3, None], b=[0.2, 0.7, 1.2])
    found = compare(data.iloc[::-1], paired_by="prompt", baseline="a", **QUICK)
    b = row(found, "b")
    assert (b.pairs, b.left_out, b.test) == (3, 2, "signed ranks")
    assert b.diff == pytest.approx(0.2)
    assert b.p_raw == pytest.approx(0.25)
    assert "Compared pair by pair, by prompt" in all_said(found)
    assert "; 2 without a partner left out." in all_said(found)


def test_several_replies_to_one_prompt_make_one_number():
    """Otherwise a prompt that was asked more often would count for more."""
    data = [reply(t, side="a", prompt=1) for t in (0.1, 0.2, 0.9)] + [reply(0.5, side="b", prompt=1)]
    data += [reply(0.7, side="b"), reply(0.7, side="a")]  # of no prompt that is known
    by_median, by_mean = (
        row(compare(data, by="side", paired_by=["prompt"], statistic=s, **QUICK), "b", "side")
        for s in ("median", "mean")
    )
    assert (by_median.diff, by_mean.diff) == (pytest.approx(0.3), pytest.approx(0.1))
    assert (by_median.pairs, by_median.left_out) == (1, 2)
    assert "1 pair made of several replies" in all_said(compare(data, by="side", paired_by="prompt"))


def test_pairing_takes_the_differences_between_prompts_out():
    """What no comparison of samples can see, pairs show."""
    easy_to_hard = np.linspace(0.2, 2.0, 12)
    data = table(a=easy_to_hard, b=easy_to_hard * 0.97)
    assert "No difference is shown" in compare(data, **QUICK).sentence
    assert "faster than a" in compare(data, paired_by="prompt", **QUICK).sentence


# -- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "options", "words"),
    [
        (
            {"a": BASE, "b": BASE - 0.15},
            {},
            [
                "b is 150 ms (38 %) faster than a: median time to first token 245 ms against 395 ms; ",
                "95 % interval of the difference 1",
                "Mann-Whitney p < 0.001, 20 replies each.",
                "The p of Mann-Whitney: if both were samples of the same thing",
            ],
        ),
        ({"a": BASE, "b": BASE - 0.15}, {"baseline": "b"}, ["a is 150 ms (61 %) slower than b"]),
        ({"a": BASE, "b": BASE * 4}, {}, ["4.0 times as much"]),
        ({"a": BASE / 10, "b": BASE / 5}, {}, ["b is 39.5 ms (100 %) slower than a"]),
        (
            {"a": BASE[:8], "b": BASE[8:16]},
            {},
            [
                "No difference is shown between b and a",
                "faster to",
                "ms slower",
                ", 8 replies each.",
                "A difference that is not shown may still be there",
            ],
        ),
        (
            {"a": [0.1, 0.2, 0.3], "b": [0.7, 0.8, 0.9]},
            {},
            [
                "Whether b and a differ stays open",
                "; 3 replies each cannot give a p below 0.05, so the test cannot decide.",
                "cannot give a p below 0.05, however far apart they lie: b.",
                "narrow",
            ],
        ),
        (
            {"a": [0.5], "b": [0.4]},
            {},
            ["b is 100 ms (20 %) faster than a, but one reply each says next to nothing"],
        ),
        ({"a": [0.5], "b": BASE}, {}, ["but a single reply says next to nothing"]),
        ({"a": BASE}, {}, ["Median time to first token: a 395 ms", "n = 20)."]),
        ({"a": BASE, "b": BASE}, {"statistic": "p99"}, ["99th percentile", "wants at least 100 values"]),
        ({"a": BASE, "b": BASE - 0.1}, {"statistic": "mean"}, ["mean time", "permutation p < 0.001"]),
        ({"a": BASE}, {"confidence": 0.9}, ["90 % interval"]),
        (
            {f"m{i}": BASE + (i > 1) * 0.1 for i in range(6)},
            {},
            ["Of 5 conditions, 4 are slower than m0 and 1 shows no"],
        ),
        ({"a": [1.0] * 9, "b": [1.0] * 9}, {}, ["b and a do not differ", "no spread, no interval"]),
        (
            {"a": [None], "b": BASE},
            {},
            ["b 395 ms", "b cannot be compared with a: no reply of a has this number."],
        ),
        ({}, {}, ["There are no replies to compare."]),
    ],
)
def test_the_sentence_claims_what_the_table_shows(conditions, options, words):
    """What differs, by how much, how sure that is, and what else there is to know."""
    said = all_said(compare(table(**conditions), **QUICK, **options))
    for word in words:
        assert word in said


def test_pairs_that_are_too_few_for_the_test_are_told_in_the_sentence():
    """The interval leaves out 0, and five pairs never make a p below 0.05: so it stays open."""
    data = table(a=[0.5, 0.6, 0.7, 0.8, 0.9], b=[0.6, 0.71, 0.83, 0.94, 1.01])
    said = compare(data, paired_by="prompt", **QUICK).sentence
    assert said.startswith("Whether b and a differ stays open")
    assert said.endswith("5 pairs cannot give a p below 0.05, so the test cannot decide.")


@pytest.mark.parametrize(("factor", "unit", "other"), [(1, "ms", "s"), (4, "s", "ms")])
def test_all_numbers_of_a_metric_have_one_unit(factor, unit, other):
    """Values and differences, in the sentence and in the small table: milliseconds if all are below 1 s."""
    shown = repr(compare(table(a=BASE[:8] * factor, b=BASE[8:16] * factor), **QUICK))
    assert re.search(rf"\d {unit}\b", shown)
    assert not re.search(rf"\d {other}\b", shown)


def test_what_one_condition_could_be_told_apart_by_is_said():
    """Labels with several values, and the model; no metric, and no label with a single value."""
    replies = [reply(0.5 + i / 10, law="x", prompt=i, day="m") for i in range(3)]
    assert "One condition only. Labels with several values: prompt (by=…)." in compare(replies, **QUICK).notes
    assert "One condition" not in all_said(compare(replies, by="prompt", **QUICK))
    doubled = pd.concat([nb.summary(replies), nb.summary(replies)[["law"]]], axis=1)
    assert "several values: prompt (by" in all_said(compare(doubled, **QUICK))


@pytest.mark.parametrize("source", [[], pd.DataFrame()])
def test_of_no_replies_no_column_is_missed(source):
    """What is wrong is that there are none; and the table still has its columns."""
    found = compare(source, by="law", metric="speed", baseline="x")
    assert found.sentence == "There are no replies to compare."
    assert list(found.table) == ["law", *COLUMNS]


def test_replies_of_several_conditions_are_counted_in_one_note():
    """Each with its name; the verb fits their number."""
    replies = [reply(0.5, k=k) for k in "aab"]
    for one in replies:
        one.status = "incomplete"
    told = "2 replies of a and 1 of b failed after this number was measured; they are counted in."
    assert told in compare(replies, by="k", **QUICK).notes


def test_the_result_is_not_as_dim_as_the_notes():
    """In HTML the sentence has the ink of the page."""
    found = compare(table(a=BASE), **QUICK)
    shown = found._repr_html_()
    assert f"<p>{found.sentence}</p>" in shown
    assert f"<p>{found.notes[0]}" not in shown


def test_a_baseline_that_is_named_stands_first():
    """The others keep their order; ``order`` says where each condition stands by appearance."""
    replies = [reply(0.5, k=k) for k in "cab"]
    found = compare(replies, by="k", baseline="b", **QUICK)
    assert (found.table["k"].tolist(), found.order) == (["b", "c", "a"], (2, 0, 1))
    assert found.table["baseline"].tolist() == [True, False, False]
    assert repr(found).splitlines()[1].startswith("b ")
    assert compare(replies, by="k", **QUICK).order == (0, 1, 2)


@pytest.mark.parametrize("baseline", [8, "8", "k 8"])
def test_a_baseline_may_be_named_in_text(baseline):
    """As it is read in the sentence, or typed in a shell."""
    found = compare([reply(0.5, k=k) for k in (2, 8)], by="k", baseline=baseline, **QUICK)
    assert found.table.k[found.table.baseline].tolist() == [8]


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("output_tps", "2.00 tokens/s faster"),
        ("tpot_s", "ms/token slower"),
        ("output_tokens", "tokens more"),
        ("server_latency_ms", "ms slower"),
        ("mood", "is 2.00 more than"),
        ("requests_per_s", "is 2.00 1/s faster than"),
    ],
)
def test_the_direction_has_the_word_of_the_metric(metric, words):
    """More tokens a second are faster, more seconds are slower, and of the rest there is more or less."""
    scale = 0.001 if metric == "tpot_s" else 1
    data = table(a=BASE, b=BASE + 2).rename(columns={"ttft_s": metric})
    data[metric] *= scale
    assert words in compare(data, metric=metric, **QUICK).sentence


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.floats(0, 1e9)), max_size=12))
def test_whatever_was_measured_there_are_words_for_it(rows):
    """Any replies make a table whose intervals hold their estimates, a sentence and both as HTML."""
    data = pd.DataFrame(rows, columns=["model", "ttft_s"]).astype({"ttft_s": "float64"})
    found = compare(data, resamples=19)
    one: Any
    for one in found.table.itertuples():
        assert one.n + one.missing == (data.model == one.model).sum()
        if not np.isnan(one.low):
            assert one.low <= one.estimate + 1e-6
            assert one.estimate <= one.high + 1e-6
        assert np.isnan(one.p_value) or one.p_value >= one.p_raw
    assert found.sentence
    assert found._repr_html_()


# -- hostile and wrong arguments -------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "<script>xss()</script>",
        "$\\href{javascript:xss()}{x}$",
        "a\x1b]52;c;eA==\x07",
        "x" * 500,
        "\ud83d",
        "a\nb",
    ],
)
def test_names_of_conditions_are_harmless_where_they_are_shown(name):
    """Labels come from files: no markup, no TeX, nothing that a terminal obeys, no page of text."""
    found = compare([reply(0.5, k=name), reply(0.6, k="other")], by="k", **QUICK)
    shown = found._repr_html_()
    assert "<script" not in shown
    assert "$\\" not in shown
    for text in (all_said(found), repr(found)):
        text.encode()
        assert "\x1b" not in text
        assert "x" * 50 not in text


def test_hostile_names_stay_in_their_cells():
    """Every payload as a condition, as the baseline, and as the column: nothing gets out of its place."""
    payloads = list(dict.fromkeys(payload for _, payload in CASES))
    for column, names in (("k", payloads), (payloads[0], payloads[:3])):
        replies = [reply(0.5, **{column: text}) for text in names]
        found = compare(replies, by=column, baseline=names[1], **QUICK)
        audit = Audit(found._repr_html_(), OURS)
        assert (audit.problems, audit.roots) == ([], 1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"by": "colour"}, "no column 'colour'.*model"),
        ({"by": []}, "name of a column"),
        ({"by": 3}, "name of a column"),
        ({"metric": "speed"}, "no metric 'speed'.*ttft_s"),
        ({"metric": "tfft_s"}, "Did you mean ttft_s"),
        ({"metric": "status"}, "something else than numbers.*ttft_s"),
        ({"paired_by": "repeat"}, "no column 'repeat'"),
        ({"paired_by": "model"}, "cannot make pairs"),
        ({"baseline": "c"}, "no condition 'c'.*a; b"),
        ({"baseline": ("a", "b")}, "no condition"),
        ({"warmup": -1}, "no rule"),
        ({"warmup": True}, "no rule"),
        ({"warmup": "first"}, "no rule"),
        ({"warmup": "connection"}, "does not say"),
        ({"statistic": "mode"}, "no statistic"),
        ({"test": "t"}, "no test"),
        ({"confidence": 2}, "confidence"),
    ],
)
def test_arguments_that_cannot_work_are_refused(options, told):
    """The message says what is wanted, and which there are."""
    with pytest.raises(RequestError, match=told):
        compare(table(a=BASE, b=BASE), **options)


def test_what_holds_no_replies_is_refused():
    """As everywhere."""
    with pytest.raises(RequestError, match="no recording"):
        compare({"a": 1})
