"""Results of load tests: seconds, stages, goodput, knees, caveats, saturation, files, and the picture."""

from __future__ import annotations

import heapq
import json
import math
import os
import signal
from dataclasses import replace
from itertools import pairwise

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.errors import RecordingError, RequestError
from bedrock_nb.experiment.load.arrivals import Stage
from bedrock_nb.experiment.load.bends import bend
from bedrock_nb.experiment.load.levels import windows
from bedrock_nb.experiment.load.plan import plan_of
from bedrock_nb.experiment.load.prompts import prompts_of
from bedrock_nb.experiment.load.saturating import between, stop
from bedrock_nb.experiment.load.seconds import per_second, shared
from bedrock_nb.server import BedrockServer, Latency, echo, faults
from tests.test_plot_tables import part, said, words

pytestmark = pytest.mark.usefixtures("closed_figures")


def reply(started, ended, *, status="complete", lag=0.0, ttft=0.1, stage=1, level=1.0, tokens=10, **more):
    """A row of a load test's table."""
    lasted = ended - started
    return {
        "status": status,
        "stage": stage,
        "level": level,
        "warmup": False,
        "intended_s": started - lag,
        "started_s": started,
        "ended_s": ended,
        "start_lag_s": lag,
        "ttft_s": min(ttft, lasted),
        "e2e_s": lasted,
        "ttft_intended_s": min(ttft, lasted) + lag,
        "e2e_intended_s": lasted + lag,
        "output_tokens": tokens,
        "failure": None if status == "complete" else "ThrottlingException",
        **more,
    }


def result(rows, *, users=1, stages=None, **given):
    """The result of such rows, of a plan with these stages."""
    known = {"status", "settle", "why", "problems"}
    about = {name: given.pop(name) for name in known & given.keys()}
    plan = plan_of(
        prompts_of("Hi"), **({"users": users} | given if "rate" not in given else given), seconds=10
    )
    plan = plan if stages is None else replace(plan, stages=tuple(stages))
    return nb.LoadResult(pd.DataFrame(rows), plan, **about)


def queue(levels, *, slots=4, seconds=10.0, service=0.5, think=0.0, spread=0.0):
    """A closed loop at a server with so many places, first come first served; a stage for each level."""
    chance, rows, stages, at = np.random.default_rng(0), [], [], 0.0
    for number, users in enumerate(levels, 1):
        free, asking = [at] * slots, [(at + 0.01 * user, user) for user in range(users)]
        while asking:
            now, user = heapq.heappop(asking)
            if now >= at + seconds:
                continue
            begin = max(now, heapq.heappop(free))
            end = begin + service * chance.lognormal(-(spread**2) / 2, spread)
            heapq.heappush(free, end)
            heapq.heappush(asking, (end + think, user))
            rows.append(reply(now, end, ttft=begin - now + 0.1, stage=number, level=float(users)))
        stages.append(Stage(number, at, at + seconds, users, users))
        at = math.ceil(max(row["ended_s"] for row in rows))
    return result(rows, stages=stages, settle=2.0)


# -- seconds -----------------------------------------------------------------------------------------

times = st.floats(0, 30).map(lambda t: round(t, 3))
ROWS = st.lists(
    st.tuples(
        times, st.floats(0, 9), st.sampled_from(["complete", "error", "cancelled", "incomplete"]), times
    ),
    max_size=30,
)


@settings(max_examples=40)
@given(ROWS)
def test_seconds_sum_up_to_the_run(given):
    """Every start, end, failure and token is in one second, and what is in flight is never below 0."""
    rows = [reply(t, t + d, status=s, lag=min(t, lag)) for t, d, s, lag in given]
    table = pd.DataFrame(rows or [reply(0, 1)])[: len(rows)]
    made = per_second(table)
    status = table["status"].tolist()
    failed = status.count("error") + status.count("incomplete")
    assert made[["intended", "starts", "ends"]].sum().tolist() == [len(rows)] * 3
    assert made["complete"].sum() == status.count("complete")
    assert made["cancelled"].sum() == status.count("cancelled")
    assert made["failed"].sum() == failed
    assert made.get("failed_ThrottlingException", pd.Series([0])).sum() == failed
    assert made["output_tokens_per_s"].sum() == pytest.approx(10 * len(rows))
    assert made["in_flight"].tolist() == (made["starts"].cumsum() - made["ends"].cumsum()).tolist()
    assert (made["in_flight"] >= 0).all()
    assert made["in_flight"].tolist()[-1:] == [0] * bool(rows)
    assert made["second"].tolist() == list(range(len(made)))


@given(st.lists(st.tuples(st.floats(-5, 40), st.floats(0, 40), st.floats(0, 1e6)), max_size=20))
def test_amounts_are_shared_out_and_never_lost(spans):
    """Over whatever span: nothing is made and nothing is lost."""
    begin, lasted, amount = np.array(spans, dtype=float).reshape(-1, 3).T
    made = shared(begin, begin + lasted, amount, 30)
    assert len(made) == 30
    assert made.sum() == pytest.approx(amount.sum())
    assert (made >= 0).all()


def test_tokens_are_shared_out_over_the_time_in_which_they_came():
    """Evenly from the first to the last; what never started or has no tokens is nothing."""
    rows = [
        reply(0.0, 3.5, ttft=0.5, tokens=30),
        reply(math.nan, math.nan, tokens=math.nan),
        reply(1.0, 1.0, tokens=4),
    ]
    assert per_second(pd.DataFrame(rows))["output_tokens_per_s"].tolist() == pytest.approx([5, 14, 10, 5])


def test_a_second_has_the_median_of_who_was_to_begin_in_it():
    """From that moment on, of two replies at least; and the level that was planned for it."""
    rows = [reply(0.2, 1), reply(1.4, 3, lag=0.6), reply(1.1, 2), reply(1.5, 3, status="error"), reply(2, 3)]
    made = per_second(pd.DataFrame(rows), [Stage(1, 0, 2, 1, 3)])
    assert made["ttft_p50_s"].tolist() == pytest.approx([0.4, math.nan, math.nan, math.nan], nan_ok=True)
    assert made["level"].tolist() == pytest.approx([1.5, 2.5, math.nan, math.nan], nan_ok=True)
    assert made["intended"].tolist() == [2, 2, 1, 0]


# -- stages ------------------------------------------------------------------------------------------


def test_a_stage_in_balance_keeps_littles_law():
    """Four users, half a second each: eight replies a second, four in flight, and both sides agree."""
    found = queue([4], seconds=12.0)
    (row,) = found.stages.to_dict("records")
    assert row["seconds"] == 10
    assert row["requests_per_s"] == pytest.approx(8, rel=0.05)
    assert row["requests_per_s_low"] <= 8 <= row["requests_per_s_high"]
    assert row["in_flight"] == pytest.approx(4)
    assert row["little_in_flight"] == pytest.approx(4, rel=0.05)
    assert row["output_tokens_per_s"] == pytest.approx(80, rel=0.05)
    assert (row["ttft_p50_s"], row["e2e_p90_s"]) == (pytest.approx(0.1), pytest.approx(0.5))
    assert found.warnings == []


def test_what_is_counted_where():
    """Replies belong to the stage in which they were to begin; rates are of what happened in its window."""
    rows = [
        reply(1, 1.9, warmup=True),
        reply(3, 4),
        reply(4, 12, status="error"),
        reply(9.5, 10.5, lag=1),
        reply(11, 13, stage=2, level=3.0, status="cancelled"),
    ]
    found = result(rows, stages=[Stage(1, 0, 10, 1, 1), Stage(2, 10, 20, 2, 4)], warmup=2)
    first, second = found.stages.to_dict("records")
    assert [first[name] for name in ("level", "seconds", "replies", "complete", "failed")] == [1, 8, 3, 2, 1]
    assert first["requests_per_s"] == pytest.approx(1 / 8)
    assert first["in_flight"] == pytest.approx((1 + 6 + 0.5) / 8)
    assert math.isnan(first["offered_rps"])
    assert [second[name] for name in ("level", "replies", "failed", "cancelled")] == [3, 1, 0, 1]
    assert second["requests_per_s"] == pytest.approx(0.1)
    assert second["little_in_flight"] == pytest.approx(3 / 10 * (8 + 1 + 2) / 3)
    assert found.failures == {"ThrottlingException": 1}
    assert found.worst_start_lag_s == 1
    assert (len(found.table), found.seconds["second"].max()) == (5, 13)


def test_too_few_replies_have_no_percentiles_and_no_intervals():
    """Of nine there is no p90, of 19 no interval of the throughput, of 99 no p99."""
    for n, columns in ((9, ["ttft_p90_s"]), (19, ["requests_per_s_low"]), (99, ["e2e_p99_s", "ttft_p99_s"])):
        row = result([reply(i / 20, i / 20 + 0.5) for i in range(n)]).stages.iloc[0]
        more = result([reply(i / 20, i / 20 + 0.5) for i in range(n + 1)]).stages.iloc[0]
        assert row[columns].isna().all()
        assert more[columns].notna().all()
    assert len(result([reply(1, 2)]).stages) == 1


def test_a_run_that_something_else_ended_is_over_with_its_last_reply():
    """A number of requests, or an interrupt: the time after it does not make the throughput less."""
    rows = [reply(0, 1), reply(1, 2)]
    assert result(rows).stages["requests_per_s"].tolist() == [0.2]
    for cut in (result(rows, requests=2), result(rows, status="interrupted")):
        assert cut.stages["requests_per_s"].tolist() == [pytest.approx(1)]
    stages = [Stage(1, 0, 5, 1, 1), Stage(2, 5, 9, 2, 2)]
    assert [window.stage for window in windows(pd.DataFrame(rows), stages, cut=True)] == [1]
    assert len(windows(pd.DataFrame(rows), stages)) == 2


def test_goodput_counts_from_the_intended_start():
    """A quick reply that began late is not good, nor is one that failed; milliseconds are refused."""
    rows = [reply(1, 2), reply(3, 4, lag=0.5), reply(4, 5, status="error"), reply(9.5, 10.5)]
    found = result(rows, rate=1, limits={"ttft_s": 0.3})
    (good,) = found.goodput().to_dict("records")
    assert [good[name] for name in ("replies", "complete", "good")] == [4, 3, 2]
    assert (good["good_share"], good["goodput_rps"], good["met_ttft_s"]) == (0.5, pytest.approx(0.1), 0.5)
    (row,) = found.stages.to_dict("records")
    assert (row["good_share"], row["goodput_rps"], row["offered_rps"]) == (0.5, pytest.approx(0.1), 0.4)
    assert found.goodput(e2e=1.2, ttft=1)["good"].tolist() == [2]
    with pytest.raises(RequestError, match="No limit was given"):
        result(rows).goodput()
    with pytest.raises(RequestError, match="would be 300 seconds"):
        found.goodput(ttft=300)


# -- knees -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("think", "capacity"), [(0.0, 4), (1.0, 12)])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_the_knee_of_a_closed_loop_is_where_theory_says(think, capacity, spread):
    """N* = c (R + Z)/R for c places, of throughput and of latency, and inside of its interval."""
    found = queue([1, 2, 4, 8, 12, 16, 24, 32], think=think, spread=spread, seconds=20.0)
    low, high = found.knee_interval
    assert found.knee.x == pytest.approx(capacity, rel=0.25)
    assert low <= found.knee.x <= high
    assert low * 0.8 <= capacity <= high * 1.25
    assert found.bend("e2e_s").knee.x == pytest.approx(capacity, rel=0.35)
    assert f"knee at {found.knee.x:.3g} (95 % interval {low:.3g} to {high:.3g})" in repr(found)


def test_a_run_without_a_knee_says_so():
    """Below the capacity there is none; nor is one looked for in fewer than four levels."""
    few, level = queue([1, 2, 4]), queue([1, 2, 3, 4])
    for found in (few, level):
        assert (found.knee, found.knee_interval) == (None, None)
        assert str(found.bend()) == "no clear knee of requests_per_s"
    with pytest.raises(RequestError, match="no metric 'nothing'"):
        bend(few.table, windows(few.table, few.plan.stages), "nothing")


# -- caveats -----------------------------------------------------------------------------------------

MANY = [reply(i / 10, i / 10 + 0.5) for i in range(100)]


@pytest.mark.parametrize(
    ("rows", "given", "message"),
    [
        (MANY, {}, None),
        ([], {}, "No request was made."),
        (MANY, {"status": "interrupted"}, "The run was interrupted"),
        (MANY, {"problems": ["Share 2 of 2 is lost."]}, "Share 2 of 2 is lost."),
        ([row | {"start_lag_s": 0.02} for row in MANY], {"rate": 10}, "p99 of the start lag is 20 ms"),
        ([row | {"start_lag_s": 0.02} for row in MANY[:20]], {"rate": 10}, "p90 of the start lag is 20 ms"),
        (MANY, {"rate": 10, "max_in_flight": 5}, "may be in flight, 5, was reached"),
        ([reply(i / 10, i / 10 + 3) for i in range(100)], {}, "The run is shorter than 5 replies"),
        ([reply(i / 20, i / 20 * 2 + 0.1) for i in range(200)], {}, "not in balance"),
        (MANY[:8], {}, "Few complete replies: 8."),
        ([*MANY, reply(9, 40, status="cancelled")], {}, "1 of 101 replies were not at their end 30 s after"),
        ([*MANY, *(reply(9, 9.1, status="error") for _ in range(3))], {}, "Of 103 replies, 3 failed"),
        ([row | {"late_s": 0.05} for row in MANY], {}, "read late, by 50 ms and more"),
        ([], {"status": "interrupted"}, "The run was interrupted: no reply is known."),
    ],
)
def test_a_result_says_what_to_be_careful_about(rows, given, message):
    """Each doubt in a sentence with its reason; nothing where all is well."""
    found = nb.LoadResult(
        pd.DataFrame(rows or [reply(0, 1)])[: len(rows)], result(MANY, **given).plan,
        **{name: given[name] for name in ("status", "problems") if name in given},
    )  # fmt: skip
    assert [message in said for said in found.warnings].count(True) == 1 if message else not found.warnings


def test_a_doubt_names_its_stages():
    """Where only some of them are meant."""
    rows = [*MANY, *(reply(10 + i, 11 + i, stage=2, level=2.0) for i in range(3))]
    stages = [Stage(1, 0, 10, 1, 1), Stage(2, 10, 20, 2, 2)]
    assert result(rows, stages=stages).warnings == [
        "Few complete replies in stage 2: 3. Percentiles that they cannot bear are missing."
    ]


# -- saturation --------------------------------------------------------------------------------------


def level(height, rps, **more):
    """What a level came to."""
    return {"level": height, "requests_per_s": rps, "replies": 100, "failed": 0, "goodput_rps": math.nan,
            "e2e_p50_s": 1.0, "offered_rps": height, "failures": {}, **more}  # fmt: skip


@pytest.mark.parametrize(
    ("before", "now", "loop", "why"),
    [
        (None, level(1, 1), "closed", ""),
        (level(1, 1), level(2, 2), "closed", ""),
        (level(4, 4), level(8, 4.1, e2e_p50_s=1.9), "closed", "throughput rises no more: 4.1 a second"),
        (level(4, 4), level(8, 4.1), "closed", ""),  # by chance: replies take no longer
        (level(4, 4), level(8, 4.1), "open", "throughput rises no more: 4.1 a second with 8"),
        (level(4, 4), level(8, 3.9, offered_rps=4), "open", ""),  # by chance: nobody asked for more
        (level(4, 4, goodput_rps=4), level(8, 8, goodput_rps=3), "closed", "good replies became fewer: 3"),
        (level(4, 4, goodput_rps=4), level(8, 8, goodput_rps=4), "closed", ""),
        (level(1, 1), level(2, 2, failed=11, failures={"X": 11}), "open", "11 % of the replies failed"),
        (None, level(1, 0), "closed", "no reply came to its end in time with 1 user: give more seconds"),
    ],
)  # fmt: skip
def test_a_search_ends_for_a_reason(before, now, loop, why):
    """A rule looks at two levels; throughput alone, which moves by chance, is never enough."""
    found = stop(before, now, loop)
    assert found.startswith(why)
    assert bool(found) == bool(why)


@pytest.mark.parametrize(
    ("levels", "whole", "extra"),
    [
        ([(1, 1), (2, 2), (4, 4), (8, 4)], True, [5, 6, 7]),
        ([(4, 4), (8, 6), (16, 6)], True, [5, 6, 7]),  # the bend is before 8 already
        ([(1, 1), (2, 1)], True, []),
        ([(1, 1), (2, 1)], False, [1.25, 1.5, 1.75]),
        ([(1, 1)], True, []),
    ],
)
def test_levels_are_put_where_it_bends(levels, whole, extra):
    """Between the last two, or before them; users are whole ones."""
    assert list(between([level(*each) for each in levels], 3, whole=whole)) == extra
    assert not list(between([level(*each) for each in levels], 0, whole=whole))


def test_a_server_is_saturated():
    """A real one with one place: levels double from the first, each is a stage, and the reason is told."""
    with BedrockServer(latency=Latency(ttft=0.02, per_token=0.001, slots=1)) as server:
        found = nb.saturation(
            server.client(), "Count to 5", users=1, most=4, refine=1, seconds=0.5, progress=False
        )
    levels = found.stages["level"].tolist()
    doubled = [height for height in levels if height in (1, 2, 4)]
    assert len(levels) - 1 <= len(doubled) <= len(levels)
    assert doubled == sorted(doubled)
    assert found.why.startswith(("throughput rises no more", "no level above 4", "no reply came to its end"))
    assert found.why in repr(found)
    assert (found.status, found.failures) == ("complete", {})
    table = found.table
    assert (table.groupby("stage")["level"].first() == levels).all()
    for one, after in pairwise(table.groupby("stage")):
        assert one[1]["ended_s"].max() <= after[1]["started_s"].min()
    begins = pd.Series({stage.number: stage.begin for stage in found.plan.stages})
    assert (table["warmup"] == (table["intended_s"] - table["stage"].map(begins) < 0.1)).all()
    assert (table["status"] == "complete").all()


def test_a_search_ends_where_replies_fail():
    """At once, with the kind of failure."""
    with BedrockServer(faults=faults.refuse(403)) as server:
        found = nb.saturation(server.client(), "Hi", rate=10, seconds=0.5, arrivals="fixed", progress=False)
    assert len(found.stages) == 1
    assert found.why == "100 % of the replies failed with 10 starts a second: AccessDeniedException"


def test_an_interrupted_search_keeps_what_came():
    """The level before is whole, the one that was interrupted ends with it."""
    asked = []

    def respond(request):
        asked.append(request)
        if len(asked) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return echo(request)

    with BedrockServer(respond, latency=Latency(ttft=0.05)) as server:
        found = nb.saturation(
            server.client(), "Hi", rate=2, seconds=1, warmup=0, arrivals="fixed", progress=False
        )
    assert (found.status, found.why) == ("interrupted", "")
    assert found.table["stage"].tolist()[:3] == [1, 1, 2]
    assert found.stages["complete"].tolist()[0] == 2
    assert found.warnings[0].startswith("The run was interrupted")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": 4, "most": 2}, "most is 2.*from 4 on"),
        ({"users": [(1, 2)]}, "users is .*makes its stages by itself"),
        ({"users": 1, "rate": 2}, "Both users and rate"),
        ({"requests": 5}, "Each level ends by its seconds"),
        ({"refine": 0.5}, "refine is 0.5"),
        ({"seconds": 0}, "seconds is 0"),
        ({"warmup": 20}, "The warm-up of 20 s is the whole run"),
    ],
)
def test_a_search_that_cannot_be_is_refused(arguments, message):
    """Before anything is asked: there is no client here at all."""
    with pytest.raises(RequestError, match=message):
        nb.saturation(None, "Hi", **arguments)


# -- files -------------------------------------------------------------------------------------------


def test_a_result_is_saved_and_read_back(tmp_path):
    """All numbers, the plan but for its prompts, and what was said."""
    prompts = nb.Lengths(input=(20, 0.1), output=5)
    plan = plan_of(prompts_of(prompts), rate=[(5, 1), (5, (1, 3))], limits={"ttft_s": 1}, labels={"a": 1})
    found = nb.LoadResult(pd.DataFrame(MANY), plan, settle=1.0, why="enough", problems=["lost"])
    again = nb.LoadResult.load(found.save(tmp_path / "new" / "run"))
    assert again.plan == plan
    pd.testing.assert_frame_equal(again.stages, found.stages)
    pd.testing.assert_frame_equal(again.seconds, found.seconds)
    assert (repr(again), again.warnings) == (repr(found), found.warnings)


def test_prompts_and_objects_are_not_in_the_file(tmp_path):
    """Only what stands for them; nor is what the service calls sensitive, or the number of an account."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/mine"
    given = {"tools": [len], "top_p": 0.5, "metadata": {"who": "secret"}, "model": arn}
    plan = plan_of(prompts_of(["secret"] * 2), users=2, requests=4, settings=given)
    nb.LoadResult(pd.DataFrame(MANY), plan).save(tmp_path)
    told = (tmp_path / "load.json").read_text()
    assert "secret" not in told
    assert "123456789012" not in told
    again = nb.LoadResult.load(tmp_path).plan
    assert again.stages == plan.stages
    assert (again.settings["top_p"], again.prompts.at(0).name[:6]) == (0.5, "prompt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: [], "is not that of a load test"),
        (lambda told: told | {"format": "x"}, "is not that of a load test"),
        (lambda told: told | {"version": 2}, "has version 2"),
        (lambda told: told | {"plan": {"stages": 5}}, "cannot be read"),
        (lambda told: told | {"plan": told["plan"] | {"loop": "x", "more": 1}}, "cannot be read"),
    ],
)
def test_files_that_are_none_are_refused(change, message, tmp_path):
    """Whatever stands in them."""
    place = result(MANY).save(tmp_path)
    told = json.loads((place / "load.json").read_text())
    (place / "load.json").write_text(json.dumps(change(told)))
    with pytest.raises(RecordingError, match=message):
        nb.LoadResult.load(place)


def test_files_of_different_runs_are_never_taken_for_one(tmp_path):
    """Even if they have as many rows: a run that is saved over another may be cut short in between."""
    one = result(MANY).save(tmp_path / "one")
    other = result([row | {"ttft_s": 0.2} for row in MANY]).save(tmp_path / "other")
    (one / "load.parquet").write_bytes((other / "load.parquet").read_bytes())
    with pytest.raises(RecordingError, match="are not of one run"):
        nb.LoadResult.load(one)


def test_a_folder_without_a_result_is_refused(tmp_path):
    """And so is a table of something else."""
    with pytest.raises(RecordingError, match="no load test in"):
        nb.LoadResult.load(tmp_path)
    with pytest.raises(RequestError, match="no column 'stage'"):
        nb.LoadResult(pd.DataFrame({"status": []}), result(MANY).plan)


# -- how it looks ------------------------------------------------------------------------------------


def test_a_result_is_described_by_its_stages():
    """In a notebook as a table, with its doubts below; what a service wrote is no markup."""
    found = result([*MANY[:8], reply(9, 9.5, status="error")], why="<b>failed\x1b")
    assert repr(found) == (
        "<LoadResult: 1 stage of users who wait; 9 replies; 1 failed; <b>failed\ufffd; beware: "
        f"{', '.join(warning.partition(':')[0] for warning in found.warnings)}>"
    )
    assert "Few complete replies" in repr(found)
    page = found._repr_html_()
    assert "&lt;b&gt;failed" in page
    assert "<b>" not in page
    assert ">users<" in page
    assert ">TTFT p50 [s]<" in page
    assert "good/s" not in page
    assert "Few complete replies: 8." in page


def test_the_picture_of_the_seconds_has_a_strip_for_each_number():
    """Each on its own scale, failures told by their kind, levels named where they begin."""
    rows = [*MANY, *(reply(10 + i, 11 + i, stage=2, level=2.0, status="error") for i in range(3))]
    found = result(rows, stages=[Stage(1, 0, 10, 1, 1), Stage(2, 10, 20, 2, 2)])
    ax = nb.plot.seconds(found)
    (line,) = part(ax, "line:throughput")
    assert line.get_ydata()[0] == pytest.approx(3 + 0.72 * found.seconds["complete"][0] / 10)
    (ttft,) = part(ax, "line:ttft")
    assert len(ttft.get_xdata()) == len(found.seconds)
    assert [len(part(ax, gid)) for gid in ("line:in flight", "beside:", "name:", "mark:level")] == [
        1,
        1,
        4,
        1,
    ]
    assert "103 replies in 14 s, 100 of them complete; 3 failed: 3 ThrottlingException." in said(ax)
    assert "level 2" in said(ax)
    alike = nb.plot.seconds(found.seconds)
    assert said(alike) == said(ax)


def test_words_of_the_picture_lie_on_no_other_words():
    """In a small figure, too, whatever a failure is called."""
    rows = [*MANY, reply(5, 6, status="error", failure="$\\frac{<b>\n" * 20)]
    for size in ((10, 5), (5, 3), (3, 2)):
        ax = nb.plot.seconds(result(rows), ax=mpl.pyplot.subplots(figsize=size, layout="constrained")[1])
        ax.figure.draw_without_rendering()
        boxes = [box for _, box in words(ax.figure)]
        for i, box in enumerate(boxes):
            assert not any(box.shrunk(0.9, 0.8).overlaps(other) for other in boxes[i + 1 :]), size


def test_a_result_is_drawn_by_time_or_by_load():
    """One level or a ramp over its seconds, several levels by latency; nothing is said to be nothing."""
    seconds = "time since the run began [s]"
    assert result(MANY).plot().get_xlabel() == seconds
    over = queue([1, 2, 3, 4, 6, 8])
    assert over.plot(of="requests_per_s").get_ylabel().startswith("throughput")
    ax = queue([1, 2, 4, 8]).plot()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("users", "TTFT from the intended start [ms]")
    assert result(MANY, stages=[Stage(1, 0, 5, 1, 1), Stage(2, 5, 10, 1, 3)]).plot().get_xlabel() == seconds
    empty = result(MANY)
    none = nb.LoadResult(empty.table[:0], empty.plan)
    assert "No request was made." in said(nb.plot.seconds(none))
    for source in (5, pd.DataFrame({"a": [1]})):
        with pytest.raises(RequestError, match="is not the seconds of a load test"):
            nb.plot.seconds(source)
