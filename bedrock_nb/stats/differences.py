"""Two samples compared: how far apart they are, how sure that is, and what chance alone would do.

Strategy: the difference is always b minus a, so a is what b is measured against. Its interval is a bootstrap
of the same statistic; its p-value is a test that supposes no shape of the values. Pairs (two answers to one
prompt) are compared pair by pair, which takes the differences between prompts out of it.

What the p-values mean is said in `TESTS`. Many comparisons at once find differences that are none: `holm`
makes up for that. It is Holm's step-down correction (1979), which bounds the chance of even one false
finding; scipy's ``false_discovery_control`` bounds their share, which is another promise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bedrock_nb.errors import RequestError
from bedrock_nb.stats.intervals import RESAMPLES, bounds, confident, finite, refusal, work
from bedrock_nb.stats.values import Array, Measure, Statistic, constant, floats, measure_of, numbers

__all__ = ["TESTS", "Difference", "difference", "holm", "smallest_p"]

#: Each test and what its p-value is.
TESTS: dict[str, str] = {
    "Mann-Whitney": "If both were samples of the same thing, how often chance would put one of them as far "
    "above the other, in ranks, as it is here (two-sided).",
    "permutation": "If it made no difference which value belongs to which condition, how often a random "
    "sharing-out would bring a difference of the statistic as large as this one (two-sided).",
    "signed ranks": "If either value of each pair could as well have been the other's, how often random "
    "swaps would make the ranked differences point one way as clearly as they do (Wilcoxon, two-sided).",
    "sign flips": "If either value of each pair could as well have been the other's, how often random swaps "
    "would bring a statistic of the differences as large as this one (two-sided).",
}
#: Rearrangements of a permutation test; all that there are, if they are no more than these.
_REARRANGED = 9999
#: Up to so many values in a sample Mann-Whitney's p is counted out; with ties only by permutations.
_EXACT = 8


class Difference(NamedTuple):
    """How far sample b lies above sample a.

    Attributes
    ----------
    estimate, low, high : float or None
        In the unit of the values. Of independent samples the difference of the statistics, of pairs the
        statistic of the differences. The bounds are None where there can be none.
    ratio : float or None
        What b's statistic is, taking a's as 1: ``1 + estimate/a``. None where a's is not above 0.
    p_value : float or None
        See `TESTS`. None where a side has fewer than two values.
    test : str
        A key of `TESTS`; empty if there was none.
    effect : float or None
        The chance that a value of b is above one of a (of the same pair), ties counted half: 0.5 is no
        effect (common language effect size; McGraw and Wong 1992).
    n_a, n_b : int
        Numbers in each sample; of pairs, how many pairs.
    method, note : str
        How the interval was made; what a reader has to know besides.
    missing : int
        Values, or pairs, that were left out because a number is missing.
    """

    estimate: float | None
    low: float | None
    high: float | None
    ratio: float | None
    p_value: float | None
    test: str
    effect: float | None
    n_a: int
    n_b: int
    method: str
    note: str
    missing: int


def smallest_p(n_a: int, n_b: int, *, paired: bool = False) -> float:
    """The smallest p-value that a two-sided test of so few values can give, however far they lie apart."""
    n_a, n_b = min(n_a, 100), min(n_b, 100)  # beyond, it is 0 for all purposes
    return min(1.0, 2 / (2**n_a if paired else math.comb(n_a + n_b, n_a)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for their number by Holm's method, in the same order; None stays None."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    worst = 0.0
    for place, (p, i) in enumerate(known):
        worst = max(worst, min(1.0, p * (len(known) - place)))
        corrected[i] = worst
    return corrected


@np.errstate(all="ignore")
def difference(
    a: Any,
    b: Any,
    *,
    paired: bool = False,
    statistic: Statistic = "median",
    test: str = "auto",
    confidence: float = 0.95,
    method: str = "BCa",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """How far b lies above a, with an interval and a test.

    Parameters
    ----------
    a, b : sequence of numbers
        a is what b is measured against. None and NaN are left out and counted.
    paired : bool
        The values at one position belong together; a pair that lacks a number is left out whole.
    statistic : str or callable
        ``"median"``, ``"mean"``, a percentile such as ``"p90"``, or a function of an array.
    test : {"auto", "permutation"}
        ``"auto"`` goes by ranks for medians, so that one stall does not decide: Mann-Whitney, or for pairs
        Wilcoxon's signed ranks by random swaps. For any other statistic, and always with ``"permutation"``,
        the statistic itself is tested: by random sharing-out, or for pairs by random swaps. Small samples
        are counted out exactly. See `TESTS`.
    confidence, method, resamples, seed
        As for `interval`.

    Returns
    -------
    Difference

    Raises
    ------
    RequestError
        An argument cannot work, or pairs were asked for and one side is longer.
    """
    if test not in ("auto", "permutation"):
        raise RequestError(f"There is no test {test!r}.", remedy='Give "auto" or "permutation".')
    measure, by_ranks = measure_of(statistic), test == "auto" and statistic == "median"
    confident(confidence)
    options: dict[str, Any] = {
        "confidence": confidence,
        "method": method,
        "resamples": resamples,
        "seed": seed,
        "widen": statistic == "mean",
    }
    made_of: tuple[Array, ...]
    if paired:
        x, y = floats(a), floats(b)
        if len(x) != len(y):
            raise RequestError(
                f"Pairs need as many values on either side; there are {len(x)} and {len(y)}.",
                remedy="Give None for a missing one, or compare them without paired=True.",
            )
        whole = np.isfinite(x) & np.isfinite(y)
        x, y, missing = x[whole], y[whole], int((~whole).sum())
        made_of = (y - x,)
    else:
        (x, lost), (y, also_lost) = numbers(a), numbers(b)
        missing = lost + also_lost
        made_of = (x, y)
    fewest = min(len(x), len(y))
    why = refusal(statistic, fewest) if fewest else "no values to compare"
    if why:
        return Difference(None, None, None, None, None, "", None, len(x), len(y), "", why, missing)
    tested = _of_pairs if paired else _of_samples
    found = tested(x, y, measure, seed, by_ranks=by_ranks)
    apart = measure if paired else _between(measure)
    estimate, base = finite(apart(*made_of)), finite(measure(x))
    low, high, made, note = None, None, "", ""
    if fewest < 2:
        note = f"one {'pair' if paired else 'value'} has no interval"
    elif all(map(constant, made_of)):
        equal = "differences" if paired else "values of each side"
        note = f"all {equal} are equal: no spread, no interval"
    else:
        low, high, made = bounds(made_of, apart, **options)
    ratio = finite(1 + estimate / base) if estimate is not None and base is not None and base > 0 else None
    return Difference(estimate, low, high, ratio, *found, len(x), len(y), made, note, missing)


def _between(measure: Measure) -> Measure:
    return lambda a, b, axis=-1: measure(b, axis=axis) - measure(a, axis=axis)


def _permuted(samples: tuple[Array, ...], measure: Measure, kind: str, seed: int) -> float:
    """The two-sided p-value of a measure when values are shared out at random, or every way if few."""
    from scipy import stats

    several, at_once = work(sum(map(len, samples)), _REARRANGED)
    done = stats.permutation_test(
        samples,
        measure,
        permutation_type=kind,
        vectorized=True,
        n_resamples=several,
        batch=at_once,
        rng=np.random.default_rng(seed),
    )
    return min(1.0, float(done.pvalue))


def _of_samples(
    a: Array, b: Array, measure: Measure, seed: int, *, by_ranks: bool
) -> tuple[float | None, str, float | None]:
    """P-value, test and effect of independent samples."""
    from scipy import stats

    ordered = np.sort(a)
    below = np.searchsorted(ordered, b, "left").sum() + np.searchsorted(ordered, b, "right").sum()
    effect = float(below / (2 * len(a) * len(b)))
    pooled = np.concatenate((a, b))
    distinct = len(np.unique(pooled))
    if min(len(a), len(b)) < 2:  # however far out it lies, one value is one value
        return None, "", effect
    test = "Mann-Whitney" if by_ranks else "permutation"
    if distinct == 1:
        return 1.0, test, effect
    if not by_ranks:
        return _permuted((a, b), _between(measure), "independent", seed), test, effect
    how: Any = "auto"
    if distinct < len(pooled) and min(len(a), len(b)) <= _EXACT:
        how = stats.PermutationMethod(n_resamples=_REARRANGED, rng=np.random.default_rng(seed))
    return min(1.0, float(stats.mannwhitneyu(a, b, method=how).pvalue)), test, effect


def _of_pairs(
    a: Array, b: Array, measure: Measure, seed: int, *, by_ranks: bool
) -> tuple[float | None, str, float | None]:
    """P-value, test and effect of pairs."""
    from scipy import stats

    apart = b - a
    signs = np.sign(apart)
    effect = float(((signs + 1) / 2).mean())
    if len(apart) < 2:
        return None, "", effect
    if not by_ranks:
        return _permuted((apart,), measure, "samples", seed), "sign flips", effect
    ranked = signs * stats.rankdata(np.abs(apart))
    return _permuted((ranked,), np.sum, "samples", seed), "signed ranks", effect
