"""report: one page of any experiment: what it says, what it leaves out, that nothing in it comes alive."""

from __future__ import annotations

import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from itertools import product
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import bedrock_nb as nb
from bedrock_nb import models
from bedrock_nb.errors import RecordingError, RequestError, StreamError
from bedrock_nb.events import MessageStart, Metadata, StreamFault, TextDelta
from bedrock_nb.report.caveats import caveats
from bedrock_nb.report.collecting import chosen_by, collected
from bedrock_nb.report.pictures import darkened, drawn, wanted
from bedrock_nb.report.tables import ended, measured
from bedrock_nb.report.walking import KEPT
from bedrock_nb.server import INSTANT, BedrockServer, echo
from tests.recordings import recorded
from tests.xss import CASES

STARTED = 1_767_225_600.0
MODEL = "amazon.nova-lite-v1:0"


def answer(ttft=0.5, number=0, *, model=MODEL, tls=True, **options):
    """A reply of three parts that begins so late, asked for in its own second."""
    options.setdefault("request", {"modelId": model, "messages": [], "inferenceConfig": {"maxTokens": 9}})
    made = recorded(
        (MessageStart("assistant"), ttft / 2, 1, 100),
        (TextDelta(0, "Hello"), ttft, 2, 140),
        (TextDelta(0, " world"), ttft + 0.1, 3, 140),
        (TextDelta(0, "!"), ttft + 0.3, 4, 140),
        (Metadata({"inputTokens": 9, "outputTokens": 4, "totalTokens": 13}, 400), ttft + 0.4, 5, 200),
        started=STARTED + number,
        **options,
    )
    made.envelope = {"tls": True} if tls else {}
    return made


def answers(n=12, temperatures=(0, 1), **options):
    """Replies of several conditions: the second begins later by a half, and so on."""
    lot = np.random.default_rng(0)
    return [
        answer(0.5 * (1 + t / 2) * lot.lognormal(0, 0.1), i, labels={"temperature": t}, **options)
        for i in range(n)
        for t in temperatures
    ]


class Page(HTMLParser):
    """A page taken apart: elements in their order, their attributes, and the text."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements, self.attributes, self.texts = [], [], []
        self.feed(self.source)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        self.texts.append(data)

    def cells(self, head):
        """The cells of the rows of the table with that first head."""
        found = re.search(rf'<th scope="col"[^>]*>{head}</th>.*?</table>', self.source, re.DOTALL)
        rows = re.findall(r"<tr>(.*?)</tr>", found[0].partition("<tbody>")[2], re.DOTALL)
        return [re.findall(r">([^<]*)</t[hd]>", row) for row in rows]


def page(source, tmp_path, **options):
    return Page(nb.report(source, tmp_path / "page.html", **options))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report of two conditions with limits; to draw all its pictures takes seconds."""
    return nb.report(answers(), tmp_path_factory.mktemp("made") / "page.html", limits={"ttft_s": 0.6})


# -- what it says ------------------------------------------------------------------------------------


def test_a_report_says_what_compare_says(made):
    """Sentence, medians, intervals and notes are those of `compare`; formulas those of `explain`."""
    known = nb.compare(answers(), by="temperature")
    shown = Page(made)
    assert known.sentence in shown.text
    assert all(note in shown.text for note in known.notes)
    rows = shown.cells("condition")
    assert [row[:3] for row in rows] == [[f"temperature {t}", "12", "0"] for t in (0, 1)]
    for row, (_, made_of) in zip(rows, known.table.iterrows(), strict=True):
        told = [float(number) for number in re.findall(r"[\d.]+", row[3])]
        assert told == pytest.approx([1000 * made_of[name] for name in ("estimate", "low", "high")], rel=2e-3)
    assert nb.metrics.explain("ttft_s").meaning in shown.text
    assert ["inferenceConfig.maxTokens", "9"] in shown.cells("setting")
    assert "2026-01-01 00:00 UTC" in shown.text


def test_limits_add_goodput(made):
    """Each condition's share of good replies, and the limits in words."""
    good = nb.goodput(answers(), by="temperature", ttft_s=0.6)
    shown = Page(made)
    assert "has ttft_s at most 0.6" in shown.text
    for share in good["good_share"]:
        assert f"{100 * share:.3g} %" in shown.text


def test_the_same_data_give_the_same_file(made, tmp_path, closed_figures):
    """Whoever makes it again sees no difference in version control; no figure is left open."""
    before = plt.get_fignums()
    again = nb.report(answers(), tmp_path / "again.html", limits={"ttft_s": 0.6})
    assert again.read_bytes() == made.read_bytes()
    assert plt.get_fignums() == before


def without_ids(svg):
    """The same with numbers in place of ids, which matplotlib makes of colours, too."""
    ids = {}
    return re.sub(rb"\b[a-z][0-9a-f]{10}\b", lambda found: b"%d" % ids.setdefault(found[0], len(ids)), svg)


@pytest.mark.parametrize("kind", ["race", "load test", "replies"])
def test_a_picture_for_dark_ground_is_the_other_in_other_colours(client, kind, closed_figures):
    """Unless it has pixels or areas that stand out less on dark ground, it is as drawn for that."""
    source: Any
    if kind == "load test":
        source = nb.load_test(client, "Hello", users=[(0.1, 1), (0.1, 2)], progress=False)
    elif kind == "race":
        source = nb.race(client, "Hello", ["nova_micro", "nova_pro"], show=False)
    else:
        source = [answer(ttft=0.5 + n / 10, number=n) for n in range(4)]
    one = collected(source)
    by = ["level"] if kind == "load test" else ["model"]
    found = None if kind == "load test" else measured(one, "ttft_s", by, None)
    twice = set()
    for title, _, draw in wanted(one, "ttft_s", by, found):
        light, more = drawn(draw, "light")
        dark, _ = drawn(draw, "dark")
        assert more or without_ids(darkened(light)) == without_ids(dark), title
        twice |= {title} if more else set()
    assert twice <= {"How the answers grew", "Second by second", "A typical reply"}


def test_what_differs_makes_the_conditions():
    """Labels and models, as far as they are not too many; what was asked for by name wins."""
    source = [answer(labels={"number": i, "kind": i % 2, "repeat": i % 3}) for i in range(14)]
    material = collected(source)
    assert chosen_by(material, None) == ["kind"]
    assert chosen_by(material, "number") == ["number"]
    assert chosen_by(collected([answer(), answer()]), None) == ["model"]


def test_conditions_of_a_sweep_stand_in_the_order_of_its_grid(client):
    """Replies are asked in an order by lot; the first value of the grid comes first, and is the baseline."""
    grid: dict[str, list[Any]] = {"model": ["nova_pro", "nova_micro"], "temperature": [1.0, 0.0, 0.5]}
    material = collected(nb.sweep(client, "Hello", grid=grid, seed=1, progress=False))
    material.plan["grid"] = {**grid, "prompt": ["Hello"]}  # as a folder has it
    material.order()
    short = material.table["model"].map({models.resolve(name): name for name in grid["model"]})
    found = list(zip(short, material.table["temperature"], strict=True))
    assert found == list(product(*grid.values()))


def test_warm_up_is_left_out_of_everything():
    """The first replies of each condition by the clock, and how many they are is told."""
    material = collected(answers())
    material.leave_out(2, ["temperature"])
    assert material.table.groupby("temperature").size().tolist() == [10, 10]
    assert material.table["started"].min() == pd.Timestamp(STARTED + 2, unit="s", tz="UTC")
    assert "4 replies, the first 2 of each condition" in material.said[0]


def test_recordings_are_walked_once_and_a_few_are_kept():
    """Of a stream of any length the same few, by lot, in their order."""
    numbers = iter(range(300))
    material = collected(answer(number=i) for i in numbers)
    begun = [(one.started or 0) - STARTED for one in material.sample]
    assert len(begun) == KEPT
    assert begun == sorted(begun)
    assert begun[-1] > 200
    assert material.seen.recordings == len(material.table) == 300
    assert [one.started for one in collected(map(answer, [0.5] * 300, range(300))).sample] == [
        one.started for one in material.sample
    ]


# -- what to keep in mind ----------------------------------------------------------------------------


def broken():
    made = answer()
    made.append(StreamFault(StreamError("It broke off.")), 1.0)
    made.status = "error"
    return made


def planned():
    made = answer(tls=False)
    made.clock = "schedule"
    return made


def changed(**members):
    made = answer(tls=True)
    for name, value in members.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (answer(tls=False), "1 of 4 replies was asked for without TLS"),
        (planned(), "1 of 4 replies was never measured"),
        (changed(clock="parsed"), "1 of 4 replies was timed when botocore had parsed the events"),
        (broken(), "1 of 4 replies failed."),
        (changed(status="cancelled"), "1 of 4 replies was cancelled or interrupted"),
        (changed(late={2: 0.25}), "(by 0.25 s)"),
        (changed(marks={"connecting": 0.01, "headers": 0.2}), "1 of 4 replies opened a connection"),
        (changed(envelope={"tls": True, "retries": 2}), "1 of 4 replies was tried again"),
        (
            answer(),
            "Conditions with fewer than 20 replies, so with rough intervals: 1 of 1, the smallest with 4",
        ),
        (answer(), "All replies were asked for within 3 seconds"),
    ],
)
def test_caveats_follow_from_the_data(one, said):
    """Each kind of trouble is told with how many replies have it; replies without trouble tell none."""
    material = collected([*(answer(number=i) for i in (1, 2, 3)), one])
    told = caveats(material, nb.compare(material.table), ["model"])
    assert any(said in sentence for sentence in told)
    assert len(told) <= 5


def test_failures_are_told_by_their_kind():
    """How replies ended is a table of its own."""
    rows = ended(collected([answer(), answer(), broken()])).rows
    assert rows == [("complete", "2"), ("error", "1"), ("– failed: StreamError", "1")]


# -- hostile -----------------------------------------------------------------------------------------

#: Every element of a page, and every attribute that may hold something from outside.
ELEMENTS = {"html", "head", "meta", "title", "style", "body", "header", "main", "section", "h1", "h2", "h3"}
ELEMENTS |= {"p", "dl", "div", "dt", "dd", "ul", "li", "table", "thead", "tr", "th", "tbody", "td"}
ELEMENTS |= {"figure", "figcaption", "picture", "source", "img"}
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "id", "aria-labelledby", "role"}
ATTRIBUTES |= {"aria-label", "tabindex", "scope", "media", "srcset", "src", "alt"}


def test_no_text_becomes_markup(tmp_path):
    """Labels, models, prompts, settings, errors and titles are shown as they are written."""
    payloads = [payload for _, payload in CASES][::25]
    source = [
        answer(
            number=i,
            request={
                "modelId": payload,
                "messages": [{"role": "user", "content": [{"text": payload}]}],
                "additionalModelRequestFields": {payload: payload},
            },
            labels={"kind": payload, payload: i},
        )
        for i, payload in enumerate(payloads)
    ]
    for i, payload in enumerate(payloads):
        source[i].append(StreamFault(StreamError(payload)), 1.0)
    shown = page(source, tmp_path, title=payloads[0], by="kind")
    assert set(shown.elements) == ELEMENTS
    assert {name for _, name, _ in shown.attributes} == ATTRIBUTES
    links = [value for _, name, value in shown.attributes if name in ("src", "srcset")]
    assert all(re.fullmatch(r"data:image/svg\+xml;base64,[A-Za-z0-9+/=]+", link) for link in links)
    assert len(shown.cells("condition")) == len({*payloads})


def test_accounts_and_paths_stay_at_home(tmp_path):
    """Numbers of accounts are masked wherever they stand, and a folder is told by its name alone."""
    folder = tmp_path / "runs"
    folder.mkdir()
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    answer(model=arn, labels={"who": "123456789012"}).save(folder / "a.jsonl")
    answer(labels={"who": "me"}).save(folder / "b.jsonl")
    path = nb.report(folder)
    assert path == folder / "report.html"
    shown = Page(path)
    assert "Replies: runs" in shown.text
    assert "123456789012" not in shown.text
    assert str(tmp_path) not in shown.source


# -- sources -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    """A client of a server that answers with the request that it got."""
    with BedrockServer(echo, latency=INSTANT) as server:
        client = server.client()
        yield client
        client.close()


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(lambda path: answers(3), id="list"),
        pytest.param(lambda path: nb.summary(answers(3)), id="table"),
        pytest.param(lambda path: nb.load_folder(path), id="folder"),
        pytest.param(lambda path: path, id="path"),
    ],
)
def test_whatever_holds_replies_can_be_reported(tmp_path, source):
    """Recordings in any form, and their table; damaged files are counted."""
    for i, one in enumerate(answers(3)):
        one.save(tmp_path / f"{i}.jsonl")
    (tmp_path / "other.jsonl").write_text("{")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the file that is none
        material = collected(source(tmp_path))
    assert len(material.table) == 6
    files = material.folder is not None or (material.kind == "replies" and "left out" in str(material.said))
    assert files == bool(material.said)


def test_a_dataset_is_reported_from_its_table(client, tmp_path):
    """Of what worker processes wrote the table is read whole; the sweep and its folder say the same."""
    folder = tmp_path / "many"
    with ThreadPoolExecutor(2) as executor:
        done = nb.sweep(
            client,
            "Hello",
            grid={"temperature": [0, 1]},
            repeats=2,
            folder=folder,
            executor=executor,
            progress=False,
        )
    found = [collected(source) for source in (done, folder, nb.open_dataset(folder))]
    assert [one.kind for one in found] == ["sweep", "sweep", "dataset"]
    for one in found:
        assert sorted(one.table["request_id"]) == sorted(done.table["request_id"])
        assert one.seen.recordings == len(one.sample) == 4
        assert chosen_by(one, None) == ["temperature"]


def test_a_race_shows_how_the_answers_grew(client, tmp_path):
    """Its conditions are the racers."""
    race = nb.race(client, "Hello", ["nova_micro", "nova_pro"], show=False)
    shown = page(race, tmp_path)
    assert [row[0] for row in shown.cells("condition")] == list(race.names)
    assert "How the answers grew" in shown.text


def test_a_sweep_is_reported_with_its_plan(client, tmp_path):
    """Grid, seed, versions and who was asked stand in it; it lies in the folder, which is a source, too."""
    folder = tmp_path / "mine"
    done = nb.sweep(
        client, "Hello", grid={"temperature": [0, 1]}, repeats=2, seed=7, folder=folder, progress=False
    )
    path = nb.report(done)
    assert path == folder / "report.html"
    shown = Page(path)
    rows = shown.cells("setting")
    assert ["grid: temperature", "[0, 1]"] in rows
    assert ["seed", "7"] in rows
    assert ["asked of", "embedded server"] in rows
    assert "A sweep: mine" in shown.text
    assert "say nothing about AWS" in shown.text
    assert "measured with" in shown.text
    again = collected(folder)
    assert (again.kind, again.name, again.plan["seed"]) == ("sweep", "mine", 7)
    assert sorted(again.table["request_id"]) == sorted(done.table["request_id"])


def test_models_are_called_by_their_names(client, tmp_path):
    """Where the grid gave them some, these make the conditions, and their ids do not besides."""
    grid = {"temperature": [0, 1], "model": {"heron": "nova_lite", "swift": "nova_micro"}}
    nb.sweep(client, "Hello", grid=grid, folder=tmp_path, progress=False)
    assert chosen_by(collected(tmp_path), None) == ["label_model", "temperature"]


def test_a_load_test_is_reported_by_its_stages(client, tmp_path):
    """Stages with intervals, goodput by the test's own limits, the seconds of the run, its warnings."""
    result = nb.load_test(
        client, "Hello", users=[(0.2, 1), (0.2, 2)], limits={"ttft_s": 60.0}, progress=False
    )
    shown = page(result, tmp_path)
    assert [row[:2] for row in shown.cells("stage")] == [["1", "1"], ["2", "2"]]
    assert "Second by second" in shown.text
    assert "has ttft_s at most 60" in shown.text
    assert all(warning in shown.text for warning in result.warnings)
    assert "little_in_flight" in shown.text
    again = collected(result.save(tmp_path / "kept"))
    assert (again.kind, again.name) == ("load test", "kept")
    assert again.result.stages.equals(result.stages)


# -- refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "options", "match"),
    [
        ([], {}, "There are no replies"),
        ([answer()], {"by": "colour"}, "no column 'colour'"),
        ([answer()], {"metric": "speed"}, "no metric 'speed'"),
        ([answer()], {"limits": {"speed": 1}}, "speed is no metric"),
        ([answer()], {"baseline": "best"}, "no condition 'best'"),
        (pd.DataFrame({"a": [1]}), {}, "no column 'model'"),
        (3, {}, "An int is no recording"),
    ],
)
def test_what_cannot_be_reported_is_refused(tmp_path, source, options, match):
    """With a reason, and no file is written."""
    with pytest.raises(RequestError, match=match):
        nb.report(source, tmp_path / "page.html", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    """By its name, without the folder."""
    with pytest.raises(RecordingError, match=r"The report cannot be written to 'page\.html'"):
        nb.report([answer()], tmp_path / "none" / "page.html")


def test_a_page_of_many_replies_stays_small(tmp_path):
    """Dots become pixels: a page of 2,000 replies in a table has half a megabyte."""
    times = np.random.default_rng(0).lognormal(-1, 0.4, 2000)
    table = pd.DataFrame({"model": "m", "status": "complete", "ttft_s": times})
    assert nb.report(table, tmp_path / "page.html").stat().st_size < 600_000
