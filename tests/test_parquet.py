"""formats/parquet.py: datasets hold what the tables hold, in bounded memory, all or nothing."""

from __future__ import annotations

import stat
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.errors import RecordingError, RequestError
from bedrock_nb.folder import load_folder
from bedrock_nb.formats import record_batches, to_parquet
from tests.recordings import any_recording, reply

ODD = {
    "text": "a\ud83d",
    "number": 1.5,
    "whole": 2**70,
    "list": [1, {"a": None}],
    "none": None,
    "truth": True,
}


def run(count=6, **labels):
    """Replies of two models, with labels that are lists of their values in turn."""
    made = []
    for i in range(count):
        one = reply(labels={name: values[i % len(values)] for name, values in labels.items()})
        one.request["modelId"] = f"m{i % 2}"
        made.append(one)
    return made


def files(folder):
    """All files under a folder, by their names in it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One dataset for the tests that draw examples: each takes the place of the one before."""
    return tmp_path_factory.mktemp("datasets") / "drawn"


# -- what is in it ---------------------------------------------------------------------------------


def test_events_come_back_as_they_were(tmp_path):
    """Values and types of nb.events."""
    source = run()
    folder = to_parquet(source, tmp_path / "set")
    assert folder == tmp_path / "set"
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "events"), nb.events(source))


def test_replies_come_back_as_they_were(tmp_path):
    """Values and types of nb.summary, after the key that joins them to events."""
    source = run(temperature=[0.0, 0.5, None], run=["a", "b"], n=[1, 2, 3])
    back = pd.read_parquet(to_parquet(source, tmp_path / "set") / "replies")
    assert list(back.pop("recording")) == list(range(6))
    pd.testing.assert_frame_equal(back, nb.summary(source))


def test_labels_that_fit_no_column_are_text(tmp_path):
    """Mixed types, lists and numbers that are too large: as JSON writes them; names never collide."""
    source = run(odd=list(ODD.values()), recording=[7])
    back = pd.read_parquet(to_parquet(source, tmp_path / "set") / "replies")
    texts = ["a\ufffd", "1.5", str(2**70), '[1, {"a": null}]', None, "true"]
    assert [None if pd.isna(value) else value for value in back["odd"]] == texts
    assert list(back["label_recording"]) == [7] * 6


def test_any_label_at_all_is_a_column(tmp_path):
    """One that holds itself, keys that are no text, no end of lists: text, and no crash."""
    deep, own = [], []
    own.append(own)
    for _ in range(100_000):  # Python 3.13 can still write 5,000
        deep = [deep]
    source = run(4, odd=[own, {(1, 2): 3}, deep, {1}])
    back = pd.read_parquet(to_parquet(source, tmp_path / "set") / "replies")
    assert list(back["odd"]) == ["<list>", "<dict>", "<list>", '"{1}"']


@settings(max_examples=8)
@given(source=st.lists(any_recording(), min_size=1, max_size=3))
def test_any_recordings_can_be_written(place, source):
    """Whatever a model, a service or a file said: as many replies and events as in the tables."""
    folder = to_parquet(source, place, overwrite=True)
    assert pq.read_table(folder / "replies").num_rows == len(source)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "events"), nb.events(source))


def test_duckdb_reads_what_pandas_computes(tmp_path):
    """A median by model in SQL is the median by model of nb.summary; events join replies by their key."""
    source = run()
    for i, one in enumerate(source):
        one.times = type(one.times)("d", [t * (1 + i / 10) for t in one.times])
    place = to_parquet(source, tmp_path / "set")
    asked = f"select model, median(ttft_s) from '{place}/replies/*.parquet' group by 1"
    theirs = dict(duckdb.sql(asked).fetchall())
    assert theirs == pytest.approx(nb.summary(source).groupby("model")["ttft_s"].median().to_dict())
    joined = duckdb.sql(
        f"select model, sum(chars) from '{place}/events/*.parquet' join '{place}/replies/*.parquet' "
        "using (recording) group by 1 order by 1"
    ).fetchall()
    assert joined == [("m0", 36), ("m1", 36)]


def test_files_say_what_they_are(tmp_path):
    """Format, version and maker are in the metadata of each."""
    place = to_parquet(run(), tmp_path / "set")
    for name in ("events", "replies"):
        said = pq.read_schema(place / name / "part-00000.parquet").metadata
        assert said[b"bedrock_nb.format"] == f"bedrock-nb-{name}".encode()
        assert said[b"bedrock_nb.version"] == b"1"
        assert said[b"bedrock_nb.made_by"] == f"bedrock_nb {nb.__version__}".encode()
        assert (
            pq.ParquetFile(place / name / "part-00000.parquet").metadata.row_group(0).column(0).compression
            == "ZSTD"
        )
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_files_end_when_they_are_long_enough(tmp_path):
    """Rows keep their order over files, and none is longer than was asked for."""
    source = run()
    place = to_parquet(source, tmp_path / "set", rows_per_file=20)
    parts = sorted((place / "events").iterdir())
    assert [part.name for part in parts] == [f"part-{i:05}.parquet" for i in range(len(parts))]
    assert max(pq.read_metadata(part).num_rows for part in parts) == 20
    pd.testing.assert_frame_equal(pd.read_parquet(place / "events"), nb.events(source))


def test_nothing_is_a_dataset_too(tmp_path):
    """Without recordings there are both tables, without rows, with all columns."""
    with pytest.warns(UserWarning, match="no recordings") as warned:
        place = to_parquet([], tmp_path / "set")
    assert warned[0].filename == __file__
    pd.testing.assert_frame_equal(pd.read_parquet(place / "events"), nb.events([]))
    assert list(pd.read_parquet(place / "replies")) == ["recording", *nb.summary([])]


@pytest.mark.filterwarnings("ignore:.*left out")
def test_replies_of_a_folder_name_their_files(tmp_path):
    """Those that could be read, with one number in both tables."""
    for i, one in enumerate(run(4)):
        one.save(tmp_path / f"{i}.jsonl")
    (tmp_path / "1.jsonl").write_text("no recording")
    place = to_parquet(load_folder(tmp_path), tmp_path / "set")
    back = pd.read_parquet(place / "replies")
    assert list(zip(back["recording"], back["path"], strict=True)) == [
        (0, "0.jsonl"),
        (1, "2.jsonl"),
        (2, "3.jsonl"),
    ]
    assert set(pd.read_parquet(place / "events")["recording"]) == {0, 1, 2}


# -- conditions ------------------------------------------------------------------------------------


def test_conditions_have_folders_of_their_own(tmp_path):
    """Readers of Hive's layout take their names for columns; odd values survive there."""
    values = ["a/b", "..", "ü =%", "", None, "plain"]
    place = to_parquet(run(where=values), tmp_path / "set", by="where")
    assert "events/where=plain/part-00000.parquet" in files(place)
    back = pd.read_parquet(place / "replies").sort_values("recording")
    wanted = [value or "" for value in values]
    assert list(back["where"]) == wanted
    asked = f"from read_parquet('{place}/events/**/*.parquet', hive_partitioning = true)"
    found = duckdb.sql(f'select distinct recording, "where" {asked} order by 1').fetchall()
    assert found == list(enumerate(wanted))


def test_conditions_can_be_of_several_columns(tmp_path):
    """One folder inside the other, and the columns are no longer in the files."""
    place = to_parquet(
        run(label=[1, 2, 3], model=["x"]), tmp_path / "set", by=["model", "label_model", "label"]
    )
    assert files(place / "replies")[0] == "model=m0/label_model=x/label=1/part-00000.parquet"
    assert "label" not in pq.ParquetFile(place / "replies" / files(place / "replies")[0]).schema.names
    assert sorted(pd.read_parquet(place / "replies")["label"].astype(int)) == [1, 1, 2, 2, 3, 3]


def test_a_column_that_is_named_twice_divides_once(tmp_path):
    """The same dataset as of its name alone."""
    assert files(to_parquet(run(2), tmp_path / "set", by=["model", "model"]) / "replies") == [
        "model=m0/part-00000.parquet",
        "model=m1/part-00000.parquet",
    ]


@pytest.mark.parametrize("name", ["type", "text", "recording", "path"])
def test_a_label_named_as_a_column_of_the_files_cannot_divide(tmp_path, name):
    """Readers could not tell one from the other; nothing is written."""
    with pytest.raises(RequestError, match=f"divided by '{name}': its files have a column of that name"):
        to_parquet(run(2, **{name: ["a"]}), tmp_path / "set", by=name)
    assert list(tmp_path.iterdir()) == []


def test_a_value_too_long_for_a_folder_is_said(tmp_path):
    """The remedy is not to look at the folder around it."""
    with pytest.raises(RequestError, match="value of 'prompt' is too long for the name of a folder"):
        to_parquet(run(2, prompt=["ü" * 100]), tmp_path / "set", by="prompt")
    assert list(tmp_path.iterdir()) == []


def test_many_conditions_need_few_open_files(tmp_path):
    """A part is ended and another begun; no row is lost."""
    source = run(66, n=list(range(33)))
    place = to_parquet(source, tmp_path / "set", by="n", rows_per_file=33 * 11)
    assert len(pd.read_parquet(place / "events")) == len(nb.events(source))
    assert len(files(place / "events")) == 66


# -- all or nothing --------------------------------------------------------------------------------


def test_a_dataset_is_replaced_only_on_request(tmp_path):
    """A new one takes its place whole."""
    place = to_parquet(run(6), tmp_path / "set", rows_per_file=20)
    with pytest.raises(RecordingError, match=r"is there already\. Give overwrite=True"):
        to_parquet(run(2), place)
    assert len(pd.read_parquet(place / "replies")) == 6
    to_parquet(run(2), place, overwrite=True)
    assert len(pd.read_parquet(place / "replies")) == 2
    assert len(files(place)) == 2
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("name", ["notes.txt", "events/notes.txt", "other/part-00000.parquet"])
def test_nothing_but_a_dataset_is_replaced(tmp_path, name):
    """A folder with anything else in it stays as it is."""
    place = to_parquet(run(2), tmp_path / "set")
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_text("mine")
    with pytest.raises(RecordingError, match=r"is no dataset of recordings\. Give the name of a new folder"):
        to_parquet(run(2), place, overwrite=True)
    assert (place / name).read_text() == "mine"


def test_a_dataset_of_somebody_else_is_not_replaced(tmp_path):
    """Folders and names alone do not make it ours: each file says whose it is."""
    place = to_parquet(run(2), tmp_path / "set")
    theirs = place / "events" / "part-00001.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(theirs)
    with pytest.raises(RecordingError, match="is no dataset of recordings"):
        to_parquet(run(2), place, overwrite=True)
    assert theirs.exists()


def test_what_goes_wrong_on_the_way_leaves_nothing(tmp_path):
    """The source fails: no new folder, and the dataset that was to be replaced is untouched."""
    place = to_parquet(run(3), tmp_path / "set")

    def failing():
        yield from run(2)
        raise RuntimeError("the network")

    for target in (place, tmp_path / "new"):
        with pytest.raises(RuntimeError, match="the network"):
            to_parquet(failing(), target, rows_per_file=5, overwrite=True)
    assert list(tmp_path.iterdir()) == [place]
    assert len(pd.read_parquet(place / "replies")) == 3


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"by": "temprature"}, RequestError, "No recording has a label 'temprature'"),
        ({"by": "ttft_s"}, RequestError, "Take another label, or one of model, status, stop_reason"),
        ({"by": 3}, RequestError, "cannot be divided by 3"),
        ({"rows_per_file": 0}, RequestError, "whole number from 1 on"),
        ({"folder": "no/such/set"}, RecordingError, "'set' cannot be written: No such file"),
        ({"folder": 3}, RecordingError, "is no path"),
        ({"source": 3}, RequestError, "An int is no recording"),
        ({"source": "nowhere.jsonl"}, RecordingError, "'nowhere.jsonl' cannot be read"),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path, monkeypatch, options, error, said):
    """The error says what is wanted; nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=said) as caught:
        to_parquet(**{"source": run(2), "folder": "set", **options})
    assert str(tmp_path) not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# -- batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 20, 1000])
def test_batches_are_the_rows_of_the_events(rows):
    """All of them, in parts of at most so many."""
    batches = list(record_batches(run(), rows=rows))
    assert max(batch.num_rows for batch in batches) <= rows
    whole = pd.concat([batch.to_pandas() for batch in batches], ignore_index=True)
    pd.testing.assert_frame_equal(whole, nb.events(run()))


def test_recordings_are_loaded_while_batches_are_read():
    """The first batch needs the first recordings only."""
    taken = []

    def source():
        for one in run(50):
            taken.append(one)
            yield one

    reader = record_batches(source(), rows=22)
    assert taken == []
    assert reader.read_next_batch().num_rows == 22
    assert len(taken) == 2


def test_duckdb_takes_a_stream_of_batches_for_a_table(tmp_path):
    """SQL over a folder of recordings without any other file."""
    for i, one in enumerate(run(4)):
        one.save(tmp_path / f"{i}.jsonl")
    reader = record_batches(str(Path(tmp_path)), rows=15)
    found = duckdb.from_arrow(reader).filter("gap_s is not null").aggregate("count(*), max(gap_s)").fetchall()
    assert found == [(8, 0.75)]
    with pytest.raises(RequestError, match="whole number"):
        record_batches(run(), rows=0)
