"""experiment/dataset: replies of many processes, each there once, read back without loading all."""

from __future__ import annotations

import itertools
import stat
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb import files
from bedrock_nb.errors import RecordingError, RequestError
from bedrock_nb.experiment.dataset import begin, label_kinds, open_dataset, read_part, write_part
from tests.recordings import any_recording, reply

_FRESH = itertools.count()


@pytest.fixture(params=["", "file://", "memory://"])
def folder(request, tmp_path):
    """A place for a dataset, of each kind."""
    return f"{request.param}{tmp_path}/study"


def replies(count=7):
    """Small replies of two models, with labels."""
    made = [reply(labels={"tier": i, "note": "odd" if i % 2 else None}) for i in range(count)]
    for i, one in enumerate(made):
        one.request["modelId"] = f"m{i % 2}"
    return made


def filled(folder, recordings, run="one", size=3):
    """A dataset of these, in parts."""
    kinds = label_kinds(one.labels for one in recordings)
    for number, first in enumerate(range(0, len(recordings), size)):
        write_part(folder, recordings[first : first + size], run=run, name=f"p{number}", kinds=kinds)
    return open_dataset(folder)


# -- what is in it ---------------------------------------------------------------------------------


def test_the_table_is_that_of_summary(folder):
    """All parts together have the values and types of nb.summary, besides run and key."""
    source = replies()
    found = filled(folder, source).summary()
    assert list(found["run"].unique()) == ["one"]
    assert found["key"].is_unique
    wanted = nb.summary(source).astype({"tier": "Int64"})  # of labels any part may lack one
    pd.testing.assert_frame_equal(found.drop(columns=["run", "key"]), wanted)


@settings(max_examples=25)
@given(st.lists(any_recording(), min_size=1, max_size=4))
def test_recordings_come_back_byte_for_byte(recordings):
    """What is read is what save would have written, in the order of the keys, and each by its key."""
    folder = f"memory://drawn/{next(_FRESH)}"
    wanted = [files.dumped(one) for one in recordings]
    found = filled(folder, recordings, size=2)
    assert [files.dumped(one) for one in found] == wanted
    assert [files.dumped(found.recording(key)) for key in found.keys()] == wanted  # noqa: SIM118


def test_a_dataset_is_a_source_as_any_other(tmp_path):
    """Tables measure its recordings anew, and find what was measured when they were written."""
    source = replies()
    found = filled(tmp_path / "set", source)
    pd.testing.assert_frame_equal(nb.summary(found), nb.summary(source))
    assert len(found) == 7
    assert repr(found) == "<Dataset 'set': 7 replies of 1 run in 3 parts>"


def test_one_asks_for_columns_and_values(tmp_path):
    """Columns by their names; values one or several, missing ones too; of recordings as of rows."""
    found = filled(tmp_path / "set", replies())
    table = found.summary(["tier", "ttft_s"], model="m1", tier=[1, 2, 3])
    assert list(table.columns) == ["tier", "ttft_s"]
    assert list(table["tier"]) == [1, 3]
    assert list(found.summary("tier", note=None)["tier"]) == [0, 2, 4, 6]
    assert [one.labels["tier"] for one in found.recordings(note="odd", tier=[1, 2, 5])] == [1, 5]


def test_sql_reads_what_pandas_computes(folder):
    """Replies, their events and their recordings are three tables that share keys."""
    source = replies()
    found = filled(folder, source)
    table = found.sql("select model, sum(tier) total, max(ttft_s) ttft from replies group by 1 order by 1")
    wanted = nb.summary(source).groupby("model").agg(total=("tier", "sum"), ttft=("ttft_s", "max"))
    assert table.values.tolist() == wanted.reset_index().values.tolist()
    asked = "select sum(chars) from events join replies using (run, key) where tier = ?"
    assert found.sql(asked, [3]).iloc[0, 0] == nb.events(source[3])["chars"].sum()
    sizes = found.sql("select octet_length(recording) size from recordings order by key")["size"]
    assert list(sizes) == [len(files.dumped(one)) for one in source]


def test_dask_reads_part_by_part(tmp_path):
    """A partition is a part, with the columns of the whole table; Dask has texts as Arrow has them."""
    found = filled(tmp_path / "set", replies())
    table, wanted = found.dask(), found.summary()
    assert table.npartitions == 3
    pd.testing.assert_frame_equal(table.compute().reset_index(drop=True).astype(wanted.dtypes), wanted)
    kinds = found.dask("events", ["type"]).compute()["type"].value_counts()
    assert kinds["TextDelta"] == 7 * 3


def test_runs_are_partitions(tmp_path):
    """Each run is a folder and a value of the column run, and one may open some of them."""
    filled(tmp_path, replies(2), run="2026")
    both = filled(tmp_path, replies(3), run="monday")
    assert both.runs == ["2026", "monday"]
    assert list(both.sql("select run from replies group by 1 order by 1")["run"]) == ["2026", "monday"]
    assert len(open_dataset(tmp_path, run="2026")) == 2
    assert list(both.summary(["key"], run="2026")["key"]) == ["p0-0", "p0-1"]


# -- exactly once ----------------------------------------------------------------------------------


def test_work_that_is_done_twice_is_there_once(folder):
    """The part that came first stays."""
    first, second = replies(2), replies(2)
    second[0].labels["tier"] = 99
    assert write_part(folder, first, run="one", name="p0")
    assert not write_part(folder, second, run="one", name="p0")
    assert list(open_dataset(folder).summary()["tier"]) == [0, 1]


def test_who_begins_last_has_the_run(folder):
    """A worker of an earlier attempt leaves nothing, and what was there before is known."""
    earlier, there = begin(folder, "one")
    assert there.keys() == []
    assert list(there) == []
    assert write_part(folder, replies(2), run="one", name="p0", keys=["a", "b"], attempt=earlier)
    later, there = begin(folder, "one")
    assert there.keys() == ["a", "b"]
    assert not write_part(folder, replies(1), run="one", name="p1", attempt=earlier)
    assert write_part(folder, replies(1), run="one", name="p1", attempt=later)
    assert len(open_dataset(folder)) == 3


def test_a_part_counts_once_its_replies_are_there(tmp_path):
    """Events of a worker that died before it wrote the replies are passed over."""
    found = filled(tmp_path, replies())
    (tmp_path / "replies/run=one/part-p1.parquet").unlink()
    found = open_dataset(tmp_path)
    assert len(found) == 4
    assert found.sql("select count(distinct key) from events").iloc[0, 0] == 4
    assert read_part(tmp_path, run="one", name="p1", columns=["key"]) is None
    assert read_part(tmp_path, run="one", name="p2", columns=["key"]) == [{"key": "p2-0"}]


def test_files_are_their_owners_alone(tmp_path):
    """Prompts and answers are nobody else's affair."""
    filled(tmp_path / "set", replies(1))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "set").rglob("*") if path.is_file()}
    assert modes == {0o600}


def test_a_torn_part_is_left_out_and_said(tmp_path):
    """A store that tore a file costs that file only, and who does its work again may write it."""
    filled(tmp_path, replies())
    torn = tmp_path / "replies/run=one/part-p1.parquet"
    torn.write_bytes(torn.read_bytes()[:-100])
    found = open_dataset(tmp_path)
    with pytest.warns(UserWarning, match="1 part of .* cannot be read"):
        assert list(found.summary()["tier"]) == [0, 1, 2, 6]
    assert list(found.problems) == ["replies/run=one/part-p1.parquet"]
    assert found.recording("p2-0").labels["tier"] == 6
    assert write_part(tmp_path, replies()[3:6], run="one", name="p1")
    assert len(open_dataset(tmp_path)) == 7


def test_a_dataset_of_torn_parts_alone_is_empty(tmp_path):
    """Where every part is torn, tables have their columns and no rows, and there is no recording."""
    filled(tmp_path, replies())
    for torn in (tmp_path / "replies").rglob("*.parquet"):
        torn.write_bytes(torn.read_bytes()[:-100])
    found = open_dataset(tmp_path)
    with pytest.warns(UserWarning, match="3 parts of .* cannot be read"):
        assert len(found.summary()) == 0
    assert list(found) == []
    assert len(found.sql("select * from recordings")) == 0


# -- labels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, None], "int"),
        ([1, 2.5], "float"),
        ([True], "bool"),
        ([True, 1], "str"),
        ([2**70, 1], "str"),
        ([[1], "a"], "str"),
        ([None], "str"),
    ],
)
def test_the_type_of_a_label_fits_all_its_values(values, kind):
    """One type for the column, whatever part a value is in; what has no common one is text."""
    assert label_kinds({"x": value} for value in values) == {"x": kind}


def test_labels_that_only_some_have_are_missing_elsewhere(tmp_path):
    """Parts may have other labels; a label whose name is taken stands after label_."""
    write_part(tmp_path, [reply(labels={"a": 1, "key": "k"})], run="one", name="p0")
    write_part(tmp_path, [reply(labels={"b": 2.5})], run="one", name="p1")
    table = open_dataset(tmp_path).summary(["a", "label_key", "b"])
    assert table.isna().to_numpy().tolist() == [[False, False, True], [True, True, False]]
    assert list(open_dataset(tmp_path).dask(columns=["b"]).compute()["b"].fillna(0)) == [0, 2.5]


# -- what cannot be --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "../up", "a/b", "_x", ".x", "x" * 101, None])
def test_names_are_no_paths(tmp_path, name):
    """A run or a part is called by letters and digits, so it cannot leave its folder."""
    with pytest.raises(RequestError, match="is called"):
        begin(tmp_path, name)
    with pytest.raises(RequestError, match="is called"):
        write_part(tmp_path, [], run="one", name=name)


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda found: found.summary(["tfft_s"]), RequestError, "Did you mean ttft_s"),
        (lambda found: found.summary(tier="high"), RequestError, "of type int64"),
        (lambda found: found.summary(nothing=1), RequestError, "no column 'nothing'"),
        (lambda found: found.sql("select"), RequestError, "DuckDB says"),
        (lambda found: found.dask("answers"), RequestError, '"replies" or "events"'),
        (lambda found: found.recording("x"), KeyError, "no reply 'x'"),
        (lambda _: open_dataset("memory://nowhere"), RecordingError, "no run with a reply"),
        (lambda _: open_dataset("odd://place"), RequestError, "no way to odd://"),
    ],
)
def test_what_cannot_be_is_told(tmp_path, ask, error, said):
    """With what is wanted in its place."""
    with pytest.raises(error, match=said):
        ask(filled(tmp_path, replies(1)))


def test_a_label_of_several_types_is_text(tmp_path):
    """Runs in which a label is a number here and a text there are one table all the same."""
    filled(tmp_path, [reply(labels={"x": 1, "y": 1})], run="a")
    filled(tmp_path, [reply(labels={"x": True, "y": 1.5})], run="b")
    found = filled(tmp_path, [reply(labels={"x": "one", "y": 2})], run="c")
    assert found.summary(["x", "y"]).to_dict("list") == {"x": ["1", "true", "one"], "y": [1.0, 1.5, 2.0]}
    assert found.sql("select run from replies where x = '1'")["run"].tolist() == ["a"]
    assert list(open_dataset(tmp_path, run="a").summary("x")["x"]) == [1]


@pytest.mark.parametrize(
    ("module", "ask", "remedy"),
    [
        ("fsspec.core", lambda _: open_dataset("memory://x"), r"bedrock-nb\[dask\]"),
        ("dask.dataframe", lambda found: found.dask(), r"bedrock-nb\[dask\]"),
        ("duckdb", lambda found: found.sql("select 1"), "duckdb"),
    ],
)
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, module, ask, remedy):
    """With what installs it."""
    found = filled(tmp_path, replies(1))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RequestError, match=remedy):
        ask(found)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    """Without the absolute path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match=r"'set' cannot be written") as caught:
        begin(Path(tmp_path / "file" / "set"), "one")
    assert str(tmp_path) not in str(caught.value)
