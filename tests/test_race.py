"""race: several racers at one moment, what becomes of each, and what the race is a source for."""

from __future__ import annotations

import contextlib
import io
import os
import signal

import matplotlib as mpl

mpl.use("Agg")

import pytest

import bedrock_nb as nb
from bedrock_nb.errors import RequestError
from bedrock_nb.request import Request
from bedrock_nb.server import INSTANT, BedrockServer, echo, faults
from tests.chatting import in_thread, wait_for

CUT = "us.amazon.nova-lite-v1:0@end:after=2"


@pytest.fixture(scope="module")
def client():
    """A client of a server that answers with the request that it got."""
    with BedrockServer(echo, latency=INSTANT) as server:
        client = server.client()
        yield client
        client.close()


def shown(*args, **settings) -> tuple[nb.Race, str]:
    """A race, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        return nb.race(*args, **settings), out.getvalue()


def test_a_race_is_shown_and_is_a_source_for_tables(client):
    """A racer each, in order, with its name as a label; one that fails does not stop the others."""
    race, out = shown(client, "Hello", ["nova_micro", CUT, "nova_pro"], labels={"heat": 1}, max_tokens=50)
    assert [line[4:-4] for line in out.splitlines() if line.startswith("--- ")] == list(race.names)
    assert race.names == ("nova_micro", CUT, "nova_pro")
    assert [reply.status for reply in race] == ["complete", "incomplete", "complete"]
    assert list(race.table["racer"]) == list(race.names)
    assert set(race.table["heat"]) == {1}
    assert nb.compare(race, by="racer").table["n"].tolist() == [1, 1, 1]
    assert all(reply.recording.request["inferenceConfig"] == {"maxTokens": 50} for reply in race)
    assert [len(race), race[-1].status, len(race[:2])] == [3, "complete", 2]


def test_a_race_is_described_without_times(client):
    """A saved notebook compares equal when it is run again; names cannot be markup."""
    race, _ = shown(client, "Hello", ["nova_micro", "nova_micro", CUT], show=False)
    tokens = race[0].recording.usage["outputTokens"]
    assert repr(race) == (
        f"<Race of 3>\n  nova_micro (1): complete, {tokens} tokens\n"
        f"  nova_micro (2): complete, {tokens} tokens\n  {CUT}: incomplete"
    )
    assert f'<td style="text-align:left">{CUT}</td>' in race._repr_html_()


def test_variants_of_settings_run_against_each_other(client):
    """Every model runs with every variant; labels of a variant are its own."""
    variants = [{"temperature": 0}, {"temperature": 1, "labels": {"warm": True}}, {}]
    race, out = shown(client, "Hello", ["nova_micro", "nova_pro"], settings=variants, show=False)
    assert out == ""
    assert race.names[:3] == ("nova_micro, temperature 0", "nova_micro, temperature 1", "nova_micro")
    asked = [reply.recording.request for reply in race]
    assert [each.get("inferenceConfig", {}).get("temperature") for each in asked] == [0, 1, None] * 2
    assert [each["modelId"] for each in asked] == [
        Request(m, "x").model for m in ("nova_micro", "nova_pro") for _ in "abc"
    ]
    assert [reply.recording.labels.get("warm") for reply in race] == [None, True, None] * 2


def test_a_nested_setting_is_named_by_its_value(client):
    """What differs, not the braces around it."""
    tiers = [{"serviceTier": {"type": "flex"}}, {"serviceTier": {"type": "priority"}}, {}]
    race, _ = shown(client, "Hello", "nova_micro", settings=tiers, show=False)
    assert race.names == ("nova_micro, serviceTier flex", "nova_micro, serviceTier priority", "nova_micro")


def test_the_winner_is_the_best_of_the_complete(client):
    """By a metric that says which way is better; who failed cannot win, however quick."""
    race, _ = shown(client, "Hello", ["nova_micro", CUT, "nova_pro"], show=False)
    complete = [race[0], race[2]]
    assert race.winner() is min(complete, key=lambda reply: reply.metrics["ttft_s"])
    assert race.winner("e2e_tps") is max(complete, key=lambda reply: reply.metrics["e2e_tps"])
    assert race.winner("ttft") is race.winner("ttft_s")
    for metric in ("content_chunks", "speed"):
        with pytest.raises(RequestError, match="Nobody wins by"):
            race.winner(metric)
    lost, _ = shown(client, "Hello", CUT, show=False)
    with pytest.raises(RequestError, match="No complete reply"):
        lost.winner()


@pytest.mark.parametrize(
    ("kind", "lines"),
    [("timeline", {"line:0:text", "line:1:text"}), ("ecdf", {"line:0", "line:1"})],
)
def test_a_race_can_be_drawn(client, kind, lines, closed_figures):
    """By default how the answers grew; plots with conditions have the racers as theirs."""
    race, _ = shown(client, "Hello", ["nova_micro", "nova_pro"], show=False)
    ax = race.plot() if kind == "timeline" else race.plot(kind)
    assert lines <= {line.get_gid() for line in ax.lines}
    with pytest.raises(RequestError, match="Did you mean timeline"):
        race.plot("timelines")


@pytest.mark.parametrize(
    ("models", "settings", "match"),
    [
        (None, {}, "between 1 and 6 racers; these are 0"),
        (["nova_micro"] * 7, {}, "these are 7"),
        (["nova_micro", 3], {}, "An int is among models"),
        ("nova_micro", {"settings": ["temperature"]}, "A str is among settings"),
        ("nova_micro", {"background": False}, "settles background by itself"),
        ("nova_micro", {"settings": [{"record": False}]}, "settles record by itself"),
        (["nova_micro", "nova_pro"], {"settings": [{}, {"temperature": 7}]}, "temperature is 7"),
    ],
)
def test_a_race_that_cannot_be_is_refused(client, recordings, models, settings, match):
    """The message says what is wanted, and nobody runs on alone."""
    with pytest.raises(RequestError, match=match):
        nb.race(client, "Hello", models, **settings)
    wait_for(lambda: all(recording.status != "streaming" for recording in recordings))


def test_an_interrupt_cancels_every_racer(recordings):
    """Also where nothing is shown."""

    def interrupt() -> None:
        wait_for(lambda: [len(recording) for recording in recordings] == [2, 2])
        os.kill(os.getpid(), signal.SIGINT)

    with BedrockServer(faults=faults.stall(after=2), latency=INSTANT) as server:
        client = server.client()
        in_thread(interrupt)
        with pytest.raises(KeyboardInterrupt):
            nb.race(client, "Hello", ["nova_micro", "nova_pro"], show=False)
        mine = list(recordings)
        wait_for(lambda: [recording.status for recording in mine] == ["cancelled"] * 2)
