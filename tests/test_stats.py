"""stats: known answers, what is refused and what is marked, and how often an interval holds the truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_nb import stats
from bedrock_nb.errors import RequestError
from bedrock_nb.stats import TESTS, holm, numbers, outliers, percentile, smallest_p
from bedrock_nb.stats.values import named

# Their bounds may be None, which no test has to ask before it compares them.
interval: Any = stats.interval
difference: Any = stats.difference

QUICK = 499
VALUES = st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=2, max_size=6)
SKEWED = np.random.default_rng(7).lognormal(-1, 0.5, 40)

# -- plain numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [1, None, 2.5, math.nan, math.inf, True],
        (1.0, 2.5, 1, None, float("-inf"), None),
        np.array([1, 2.5, 1, math.nan, math.nan, math.nan]),
        pd.Series([1, None, 2.5, 1, None, None]),
        pd.Series([1, pd.NA, 2.5, 1, pd.NA, None], dtype="object"),
    ],
    ids=["list", "tuple", "array", "column", "column with NA"],
)
def test_what_is_no_finite_number_is_left_out_and_counted(values):
    """None, NaN, pandas.NA and infinities are missing, whatever holds them."""
    kept, missing = numbers(values)
    assert sorted(kept) == [1, 1, 2.5]
    assert missing == 3


@pytest.mark.parametrize("values", [["1"], "12", 3, [[1, 2], [3, 4]], np.ones((2, 2)), {"a": 1}, [object()]])
def test_what_is_not_a_row_of_numbers_is_refused(values):
    """Texts are not read as numbers, and a table is no row."""
    with pytest.raises(RequestError, match="plain numbers"):
        numbers(values)


# -- percentiles -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "p", "trust"),
    [
        (99, 0.99, "no"),
        (100, 0.99, "weak"),
        (499, 0.99, "weak"),
        (500, 0.99, "good"),
        (9, 0.9, "no"),
        (10, 0.9, "weak"),
        (49, 0.9, "weak"),
        (50, 0.9, "good"),
        (9, 0.1, "no"),
        (10, 0.1, "weak"),
        (50, 0.1, "good"),
        (1, 0.5, "no"),
        (2, 0.5, "weak"),
        (10, 0.5, "good"),
        (0, 0.5, "no"),
        (1000, 1.0, "no"),
        (1000, 0.0, "no"),
    ],
)
def test_percentiles_are_refused_and_marked_by_the_rule(n, p, trust):
    """Below 1/(1-p) values there is none, below 5/(1-p) it is weak; on the low side likewise."""
    found = percentile([*range(n), None], p)
    assert (found.trust, found.n) == (trust, n)
    assert found.value == (None if trust == "no" else pytest.approx(np.quantile(range(n), p)))


# -- outliers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "far"),
    [
        ([1, 2, 3, 4, 5, 100], [5]),
        ([10, 11, 12, 13, 14, None, 0.5], [6]),
        ([-1, 0, 1, 2, 3, 40], [5]),
        ([1, 2, 4, 8, 16, 32, 64, 128], []),  # on a scale of logarithms these stand evenly
        ([0, 0, 0, 0, 0, 7], []),  # no spread to measure by
        ([1, 2, 3, 900], []),  # too few for quartiles
        ([], []),
    ],
)
def test_outliers_are_those_beyond_the_fences(values, far):
    """Three quartile distances beyond the quartiles, of logarithms where all values are above 0."""
    assert np.flatnonzero(outliers(values)).tolist() == far
    assert len(outliers(values)) == len(values)


def test_a_nearer_fence_and_a_linear_scale_can_be_asked_for():
    """Both are arguments; a scale that does not fit the values is refused."""
    doubling = [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert np.flatnonzero(outliers(doubling, scale="linear", fence=1.5)).tolist() == [8]
    with pytest.raises(RequestError, match="above 0"):
        outliers([0, 1, 2], scale="log")
    with pytest.raises(RequestError, match="fence"):
        outliers([1, 2], fence=0)


# -- intervals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statistic", "truth"),
    [
        ("median", np.median),
        ("mean", np.mean),
        ("p90", lambda x: np.quantile(x, 0.9)),
        ("p2.5", lambda x: np.quantile(x, 0.025)),
        (np.std, np.std),
        (max, max),
    ],
)
def test_the_estimate_is_the_statistic_of_the_values(statistic, truth):
    """By name or as a function; the interval holds it."""
    found = interval([*SKEWED, None], statistic, resamples=QUICK)
    assert found.estimate == pytest.approx(truth(SKEWED))
    assert found.low <= found.estimate <= found.high
    assert (found.n, found.missing) == (40, 1)


def test_the_interval_is_that_of_scipy():
    """Bounds, method and seed are passed on as they are; only a mean's interval is made wider."""
    theirs = scipy.stats.bootstrap(
        (SKEWED,), np.median, n_resamples=QUICK, method="BCa", rng=np.random.default_rng(3)
    ).confidence_interval
    ours = interval(SKEWED, resamples=QUICK, seed=3)
    assert (ours.low, ours.high, ours.method) == (theirs.low, theirs.high, "BCa")
    theirs = scipy.stats.bootstrap((SKEWED,), np.mean, n_resamples=QUICK, rng=np.random.default_rng(3))
    ours = interval(SKEWED, "mean", resamples=QUICK, seed=3)
    assert ours.low < theirs.confidence_interval.low < theirs.confidence_interval.high < ours.high


@pytest.mark.parametrize(
    ("values", "statistic", "estimate", "why"),
    [
        ([], "median", None, "no values"),
        ([None], "mean", None, "no values"),
        ([3.0], "median", 3.0, "one value has no interval"),
        ([2, 2, 2], "median", 2, "all 3 values are equal"),
        (range(9), "p90", None, "p90 wants at least 10 values"),
        (range(99), "p99", None, "p99 wants at least 100 values"),
        ([1e308, 1.5e308], "mean", None, "no interval of these"),
    ],
)
def test_where_there_is_no_interval_a_note_says_why(values, statistic, estimate, why):
    """No bounds are made up, and nothing warns."""
    found = interval(values, statistic, resamples=QUICK)
    assert (found.estimate, found.low, found.high, found.method) == (estimate, None, None, "")
    assert why in found.note


@pytest.mark.parametrize(
    ("n", "statistic", "share"),
    [(2, "median", "50 %"), (3, "median", "75 %"), (5, "median", "94 %"), (10, "p90", "65 %")],
)
def test_an_interval_of_too_few_values_says_that_it_is_too_narrow(n, statistic, share):
    """The range of all values holds a quantile with a known probability; no bootstrap goes beyond."""
    assert share in interval(range(n), statistic, resamples=QUICK).note
    assert interval(range(n), statistic, confidence=0.5, resamples=QUICK).note == ""


def test_many_equal_values_get_the_percentile_method():
    """Where BCa has no answer there is still an interval, and it says how it was made."""
    found = interval([0, 0, 0, 0, 0, 0, 1], resamples=QUICK)
    assert (found.estimate, found.method) == (0, "percentile")
    assert found.low == 0


@settings(max_examples=20)
@given(VALUES, st.sampled_from(["median", "mean", "p50"]), st.integers(-1000, 1000))
def test_an_interval_holds_its_estimate_and_moves_with_the_values(values, statistic, by):
    """Shifting all values shifts estimate and bounds."""
    found = interval(values, statistic, resamples=99)
    moved = interval([value + by for value in values], statistic, resamples=99)
    near = {"abs": 1e-3 * (1 + np.ptp(values)), "rel": 1e-6}
    assert moved.estimate == pytest.approx(found.estimate + by, **near)
    if found.low is None:
        assert np.ptp(values) == 0
    else:
        assert found.low <= found.estimate + 1e-6
        assert found.estimate <= found.high + 1e-6
        assert {found.method, moved.method} <= {"BCa", "percentile"}
    if found.method == moved.method == "BCa" and statistic != "mean":
        assert (moved.low, moved.high) == pytest.approx((found.low + by, found.high + by), **near)


@pytest.mark.parametrize(("statistic", "truth"), [("median", math.exp(-1)), ("mean", math.exp(-0.875))])
def test_an_interval_holds_the_truth_about_as_often_as_it_says(statistic, truth):
    """Of 200 samples of 20 skewed values, the 95 % interval holds the truth in 90 to 98 of 100."""
    chance = np.random.default_rng(11)
    found = [interval(chance.lognormal(-1, 0.5, 20), statistic, resamples=QUICK) for _ in range(200)]
    held = sum(one.low <= truth <= one.high for one in found)
    assert 0.90 <= held / 200 <= 0.98


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"statistic": "mode"}, "no statistic 'mode'"),
        ({"statistic": "p0"}, "no statistic"),
        ({"statistic": "p100"}, "no statistic"),
        ({"confidence": 95}, "confidence"),
        ({"method": "basic"}, "BCa"),
        ({"resamples": 0}, "resamples"),
    ],
)
def test_arguments_that_cannot_work_are_refused(options, told):
    """The message says what is wanted."""
    with pytest.raises(RequestError, match=told):
        interval([1, 2, 3], **options)


# -- differences -----------------------------------------------------------------------------------


def test_a_shift_is_found():
    """What was added to every value is the difference; ratio, effect and test agree with it."""
    found = difference(SKEWED, SKEWED + 0.5, resamples=QUICK)
    assert found.estimate == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert found.low > 0
    assert found.ratio == pytest.approx(1 + 0.5 / np.median(SKEWED))
    assert found.p_value == pytest.approx(scipy.stats.mannwhitneyu(SKEWED, SKEWED + 0.5).pvalue)
    assert found.test == "Mann-Whitney"
    assert found.effect == np.mean([y > x for x in SKEWED for y in SKEWED + 0.5])


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_a_sample_does_not_differ_from_itself(statistic):
    """The interval holds 0, chance explains it all, and either is above the other as often."""
    found = difference(SKEWED, SKEWED, statistic=statistic, resamples=QUICK)
    assert found.low < 0 < found.high
    assert (found.estimate, found.p_value, found.ratio) == (0, pytest.approx(1, abs=0.01), 1)
    assert found.effect == 0.5


@pytest.mark.parametrize("n", [3, 6, 10])
@pytest.mark.parametrize("test", ["auto", "permutation"])
def test_pairs_that_all_point_one_way_have_the_exact_p(n, test):
    """Of 2**n ways to swap, two are as clear as this: all one way, or all the other."""
    before = np.arange(n) ** 2.0
    found = difference(before, before + np.arange(1, n + 1), paired=True, statistic="mean", test=test)
    assert found.p_value == pytest.approx(2 / 2**n)
    assert found.p_value == pytest.approx(smallest_p(n, n, paired=True))
    assert (found.effect, found.n_a, found.n_b) == (1, n, n)


def test_ranks_of_pairs_are_those_of_wilcoxon():
    """With few pairs every way to swap is counted, as in the exact test."""
    b = SKEWED[:11] + np.array([0.3, -0.1, 0.2, 0.4, 0.05, -0.02, 0.6, 0.11, 0.13, -0.33, 0.21])
    theirs = scipy.stats.wilcoxon(b - SKEWED[:11], method="exact").pvalue
    found = difference(SKEWED[:11], b, paired=True, resamples=QUICK)
    assert found.p_value == pytest.approx(theirs)
    assert found.test == "signed ranks"


@pytest.mark.parametrize(("n_a", "n_b", "p"), [(4, 4, 2 / 70), (3, 5, 2 / 56), (2, 3, 2 / 10)])
@pytest.mark.parametrize("test", ["auto", "permutation"])
def test_samples_that_do_not_overlap_have_the_exact_p(n_a, n_b, p, test):
    """Of all ways to share the values out, two are as far apart as this."""
    statistic = "mean" if test == "permutation" else "median"
    a, b = range(n_a), range(100, 100 + n_b)
    found = difference(a, b, test=test, statistic=statistic, resamples=QUICK)
    assert found.p_value == pytest.approx(p)
    assert smallest_p(n_a, n_b) == pytest.approx(p)
    assert found.effect == 1


def test_ties_in_small_samples_are_counted_out():
    """The normal approximation would say something else."""
    a, b = [1, 1, 2, 2], [2, 3, 3, 3]
    rough = scipy.stats.mannwhitneyu(a, b, method="asymptotic").pvalue
    found = difference(a, b, resamples=QUICK)
    exact = scipy.stats.permutation_test(
        (a, b), lambda x, y: scipy.stats.mannwhitneyu(x, y, method="asymptotic").statistic
    ).pvalue
    assert found.p_value == pytest.approx(exact)
    assert found.p_value != pytest.approx(rough, rel=0.05)


def test_one_stall_does_not_decide_between_pairs():
    """By ranks nineteen quicker answers outweigh one that hung; the mean says the contrary."""
    a = 1 + np.arange(20) / 100
    b = a - 0.1 - np.arange(20) / 1000
    b[7] = 60
    assert difference(a, b, paired=True, resamples=QUICK).p_value < 0.01
    assert difference(a, b, paired=True, statistic="mean", resamples=QUICK).estimate > 0
    assert difference(a, b, paired=True, resamples=QUICK).estimate == pytest.approx(-0.109, abs=0.001)


def test_incomplete_pairs_are_left_out_whole():
    """A number without its partner is in neither sample."""
    found = difference([1, None, 3, 4], [2, 9, math.nan, 6], paired=True, resamples=QUICK)
    assert (found.n_a, found.n_b, found.missing, found.estimate) == (2, 2, 2, 1.5)
    with pytest.raises(RequestError, match="there are 1 and 2"):
        difference([1], [1, 2], paired=True)


@pytest.mark.parametrize(
    ("a", "b", "paired", "why"),
    [
        ([], [1], False, "no values"),
        ([None], [1], True, "no values"),
        ([1], [2], False, "one value"),
        ([1], [2], True, "one pair"),
        ([1, 1, 1], [2, 2, 2], False, "all values of each side are equal"),
        ([1, 2, 3], [2, 3, 4], True, "all differences are equal"),
        ([0.1, 0.2, 0.3], [1.1, 1.2, 1.3], True, "all differences are equal"),  # but for the last digit
    ],
)
@pytest.mark.parametrize("test", ["auto", "permutation"])
def test_where_a_difference_has_no_interval_a_note_says_why(a, b, paired, why, test):
    """No bounds are made up, and nothing warns."""
    found = difference(a, b, paired=paired, test=test)
    assert (found.low, found.high) == (None, None)
    assert why in found.note
    assert found.estimate == (pytest.approx(1) if found.n_a else None)


@settings(max_examples=15)
@given(VALUES, VALUES, st.booleans(), st.sampled_from(["median", "mean"]))
def test_turning_a_comparison_round_turns_its_sign(a, b, paired, statistic):
    """Estimate, effect and p are those of the other side."""
    n = min(len(a), len(b)) if paired else max(len(a), len(b))
    a, b = a[:n], b[:n]
    ways = [
        difference(*sides, paired=paired, statistic=statistic, resamples=99) for sides in ((a, b), (b, a))
    ]
    there, back = ways
    assert there.estimate == pytest.approx(-back.estimate)
    assert there.effect == pytest.approx(1 - back.effect)
    assert there.test in (*TESTS, "")
    if there.p_value is not None and there.test != "permutation":
        assert there.p_value == pytest.approx(back.p_value, abs=0.02)
    if there.low is not None:
        assert there.low <= there.high


def test_the_same_seed_gives_the_same_numbers():
    """And another one others."""
    again = [difference(SKEWED, SKEWED * 1.1, resamples=QUICK, seed=seed) for seed in (0, 0, 1)]
    assert again[0] == again[1]
    assert again[0].low != again[2].low


def test_very_many_values_take_no_minutes():
    """The method that leaves out each value in turn is not used beyond 2,000."""
    many = np.random.default_rng(0).normal(5, 1, 5_000)
    found = interval(many, "mean", resamples=QUICK)
    assert found.method == "percentile"
    assert found.high - found.low == pytest.approx(2 * 1.96 / math.sqrt(5_000), rel=0.2)


# -- many comparisons ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "corrected"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, None, 0.9], [1.0, None, 1.0]),
    ],
)
def test_holm_corrects_for_the_number_of_comparisons(given, corrected):
    """The smallest times their number, the next times one less, never falling, never above 1."""
    assert holm(given) == [None if p is None else pytest.approx(p) for p in corrected]


@pytest.mark.parametrize(
    ("statistic", "word"),
    [
        ("median", "median"),
        ("p90", "90th percentile"),
        ("p91", "91st percentile"),
        ("p12", "12th percentile"),
        ("p99.9", "99.9th percentile"),
        (np.std, "std"),
    ],
)
def test_statistics_have_names_in_words(statistic, word):
    """As a sentence needs them."""
    assert named(statistic) == word
