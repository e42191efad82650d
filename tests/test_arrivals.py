"""When requests start: every schedule is exact where it is no chance, and of the right law where it is."""

from __future__ import annotations

import math
import statistics
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_nb.experiment.load.arrivals import Stage, shifts, stage_at, starts


def _stages(*parts):
    """Stages of (seconds, first, last)."""
    found, begin = [], 0.0
    for number, (seconds, first, last) in enumerate(parts, 1):
        found.append(Stage(number, begin, begin + seconds, first, last))
        begin += seconds
    return tuple(found)


PARTS = st.lists(
    st.tuples(st.floats(0.5, 20), st.integers(0, 20).map(float), st.integers(0, 20).map(float)),
    min_size=1,
    max_size=4,
)


@given(PARTS, st.sampled_from(["poisson", "fixed"]), st.integers(0, 5))
def test_starts_are_in_order_and_inside_of_their_stages(parts, arrivals, seed):
    """Starts never run backwards, are numbered from 0, lie in their stage, at the level of their time."""
    stages = _stages(*parts)
    found = list(starts(stages, arrivals, seed))
    assert [start.number for start in found] == list(range(len(found)))
    assert all(one.t <= two.t for one, two in pairwise(found))
    for start in found:
        stage = stages[start.stage - 1]
        assert stage.begin <= start.t <= stage.end
        assert start.level == stage.at(start.t)


@given(PARTS)
def test_fixed_starts_are_as_many_as_the_area_says(parts):
    """Evenly spaced starts over steps and ramps are the expected number, to the last one."""
    stages = _stages(*parts)
    found = list(starts(stages, "fixed"))
    assert abs(len(found) - sum(stage.area for stage in stages)) <= 1


@given(st.floats(0.1, 50), st.floats(0, 50), st.floats(0, 50), st.floats(0, 1))
def test_the_time_of_an_area_is_the_inverse_of_its_integral(seconds, first, last, share):
    """The time that is found for a number of expected starts is the one by which so many are expected."""
    stage = Stage(1, 3.0, 3.0 + seconds, first, last)
    wanted = stage.area * share
    t = stage.when(wanted) - 3.0 if stage.area else 0.0
    until = first * t + (last - first) * t * t / (2 * seconds)
    assert math.isclose(until, wanted, rel_tol=1e-6, abs_tol=1e-6) or not stage.area


@given(PARTS, st.sampled_from(["poisson", "fixed"]), st.integers(1, 4), st.none() | st.integers(1, 50))
def test_workers_share_every_start_once(parts, arrivals, of, most):
    """Each start is in exactly one part, and all parts together are the schedule of one worker."""
    stages = _stages(*parts)
    alone = list(starts(stages, arrivals, 1, most=most))
    shared = [list(starts(stages, arrivals, 1, most=most, part=part, of=of)) for part in range(of)]
    assert sorted(start for part in shared for start in part) == alone


@pytest.mark.parametrize("of", [1, 3])
def test_poisson_starts_have_the_law_of_a_poisson_process(of):
    """Gaps have the mean and the spread of exponential ones; the variance of counts is their mean."""
    rate, seconds = 50.0, 400.0
    found = [start.t for start in starts(_stages((seconds, rate, rate)), "poisson", 7, part=0, of=of)]
    gaps = [two - one for one, two in pairwise(found)]
    counts = [sum(1 for _ in part) for part in _windows(found, 1.0, seconds)]
    # 20,000 (6,700) starts by a fixed seed: three standard errors of the variance are 21 %, of the rest 4 %.
    assert statistics.mean(gaps) == pytest.approx(of / rate, rel=0.04)
    assert statistics.pstdev(gaps) == pytest.approx(of / rate, rel=0.05)
    assert statistics.pvariance(counts) / statistics.mean(counts) == pytest.approx(1, abs=0.22)


def _windows(times, width, seconds):
    places = [[] for _ in range(int(seconds / width))]
    for t in times:
        places[int(t / width)].append(t)
    return places


def test_a_ramp_has_its_starts_where_its_rate_is():
    """Of a ramp from 0, the first half of the time has a quarter of the starts."""
    found = [start.t for start in starts(_stages((100.0, 0.0, 40.0)), "poisson", 3)]
    early = sum(t < 50 for t in found) / len(found)
    assert early == pytest.approx(0.25, abs=0.03)


def test_the_seed_decides_about_all_starts():
    """The same seed gives the same starts, another one gives others."""
    stages = _stages((10.0, 5.0, 5.0))
    assert list(starts(stages, seed=1)) == list(starts(stages, seed=1)) != list(starts(stages, seed=2))


def test_a_stage_without_end_has_as_many_starts_as_are_wanted():
    """Where only the number of requests ends a run, its schedule goes on for ever."""
    stages = (Stage(1, 0.0, math.inf, 4.0, 4.0),)
    assert [start.t for start in islice(starts(stages, "fixed"), 3)] == [0.0, 0.25, 0.5]
    assert len(list(starts(stages, most=9))) == 9
    assert stages[0].area == math.inf


@given(PARTS, st.floats(0, 1))
def test_so_many_users_are_at_work_as_the_level_says(parts, share):
    """At any moment inside of a stage the users who are at work are the whole part of its level."""
    stages = _stages(*parts)
    t = share * stages[-1].end
    level = stage_at(stages, t).at(t)
    if t >= stages[-1].end:
        return  # at its end nobody is at work
    if abs(level - round(level)) < 1e-6 and not level.is_integer():
        return  # a user begins at this very moment
    working = [user for user in range(21) if any(begin <= t < end for begin, end in shifts(stages, user))]
    steep = stage_at(stages, t)
    expected = int(level)
    if steep.first != steep.last and level.is_integer():
        assert len(working) in (expected - 1, expected)
    else:
        assert working == list(range(expected))


def test_a_user_works_on_from_one_stage_to_the_next():
    """Shifts of neighbouring stages are one, and a stage without a user parts them."""
    stages = _stages((10, 2, 2), (5, 2, 4), (10, 4, 4), (5, 0, 0), (5, 1, 1))
    assert shifts(stages, 0) == [(0, 25), (30, 35)]
    assert shifts(stages, 3) == [(15, 25)]
    assert shifts(stages, 2) == [(12.5, 25)]
    assert shifts(stages, 4) == []
