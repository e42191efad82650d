"""table/: columns and types of the tables, their order, how they agree with the metrics, and their files."""

from __future__ import annotations

import json
import re
import threading
import weakref
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import bedrock_nb as nb
from bedrock_nb.errors import RecordingError, RequestError, service_fault
from bedrock_nb.events import (
    BlockStop,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    RedactedReasoning,
    Seam,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUseStart,
    Unknown,
)
from bedrock_nb.metrics import METRICS, dialects, facts, gap_pairs, measure
from bedrock_nb.recording import PLAIN, Recent, Recording, Unrecorded
from bedrock_nb.table import (
    EVENT_COLUMNS,
    GOODPUT_COLUMNS,
    SUMMARY_COLUMNS,
    TOOL_COLUMNS,
    USAGE_COLUMNS,
    as_recordings,
    conditions,
    each,
    events,
    goodput,
    summary,
    tool_calls,
    totals,
    usage,
)
from bedrock_nb.toolruns import ToolRun
from tests.recordings import JSON, USAGE, any_recording, recorded, reply

TEXTS = ("model", "status", "stop_reason", "request_id")
WHOLE = [name for name, metric in METRICS.items() if metric.unit in ("token", "count", "ms")]


def dtypes(kinds: dict[str, str]) -> dict[str, object]:
    """What the installed pandas makes of these names of types."""
    return {name: pd.Series(dtype=kind).dtype for name, kind in kinds.items()}


def summary_kinds() -> dict[str, str]:
    """The type of each column of the summary."""
    kinds = dict.fromkeys(SUMMARY_COLUMNS, "float64")
    whole, texts = dict.fromkeys(WHOLE, "Int64"), dict.fromkeys(TEXTS, "str")
    return {**kinds, **texts, **whole, "started": "datetime64[us, UTC]"}


SOURCES = {
    "nothing": [],
    "an empty recording": Recording(),
    "one reply": reply(),
    "several": [reply(), Recording(), reply()],
}


# -- columns ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_the_event_table_has_its_columns(source):
    """In their order and types, whatever is in them."""
    frame = events(source)
    assert frame.dtypes.to_dict() == dtypes(EVENT_COLUMNS)
    assert list(frame.columns) == list(EVENT_COLUMNS)
    assert list(frame.index) == list(range(len(frame)))


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_the_summary_has_its_columns(source):
    """In their order and types, whatever is in them."""
    frame = summary(source)
    assert frame.dtypes.to_dict() == dtypes(summary_kinds())
    assert list(frame.columns) == list(SUMMARY_COLUMNS)
    assert len(frame) == len(as_recordings(source))


def test_the_columns_are_those_of_the_design():
    """Lessons and users name them."""
    assert " ".join(EVENT_COLUMNS) == "recording seq t_s gap_s type block text chars bytes tokens_est read"
    assert (
        *("model", "status", "stop_reason", *METRICS, "request_id", "lasted_s", "late_s", "started"),
    ) == SUMMARY_COLUMNS


@pytest.mark.parametrize(
    ("clock", "late", "spent", "wanted"),
    [
        ("wire", {3: 0.2, 5: 0.4}, {"client_s": 0.7}, 0.4),
        ("wire", {}, {"client_s": 0.7}, 0.0),
        ("wire", {}, {}, None),
        ("parsed", {}, {"client_s": 0.7}, None),
    ],
)
def test_the_summary_tells_how_late_a_reply_was_read(clock, late, spent, wanted):
    """The longest that bytes may have waited; 0 if the reader never was away; missing if nobody knows."""
    recording = Recording(clock=clock)
    recording.late, recording.spent = late, spent
    found = summary(recording)["late_s"][0]
    assert (None if pd.isna(found) else found) == wanted


@settings(deadline=None, max_examples=30)
@given(st.lists(any_recording(), max_size=3))
def test_any_recordings_fit_the_tables(recordings):
    """Any events, marks, times and labels: one row each, types as ever, and no warning."""
    frame = events(recordings)
    assert frame.dtypes.to_dict() == dtypes(EVENT_COLUMNS)
    assert list(map(tuple, rows_of(frame))) == list(reference(recordings))
    replies = summary(recordings)
    assert len(replies) == len(recordings)
    assert replies.columns.is_unique
    assert replies[list(SUMMARY_COLUMNS)].dtypes.to_dict() == dtypes(summary_kinds())
    assert usage(recordings).dtypes.to_dict() == dtypes(USAGE_COLUMNS)
    assert totals(recordings)["replies"].item() == len(recordings)


def rows_of(frame):
    """The rows of a table of events, None for what is missing."""
    return frame.astype(object).where(frame.notna(), None).itertuples(index=False)


def reference(recordings):
    """The rows of the table of events, one event after another: the definition of its columns."""
    for number, recording in enumerate(recordings):
        content, rows = recording.content(), []
        gaps = {b: recording.times[b] - recording.times[a] for a, b in gap_pairs(recording, content)}
        whole, tokens = sum(len(recording.text_of(i)) for i in content), facts(recording).N
        for mark, t in {"request": 0.0, **recording.marks}.items():
            rows.append((number, None, t, None, mark, None, "", 0, 0, None, None))
        for i, (t, read, size, event) in enumerate(recording.rows()):
            text = recording.text_of(i)
            shown = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            share = tokens * len(text) / whole if tokens is not None and whole and i in content else None
            block, kind = recording.block_of(i), type(event).__name__
            rows.append((number, i, t, gaps.get(i), kind, block, shown, len(text), size, share, read))
        yield from sorted(rows, key=lambda row: (row[4] == "closed", row[2]))


# -- the event table -------------------------------------------------------------------------------


def test_a_reply_by_hand():
    """Every cell of a small table."""
    frame = events(reply())
    assert list(frame["type"]) == [
        "request",
        "sent",
        "headers",
        "MessageStart",
        *["TextDelta"] * 3,
        "BlockStop",
        "MessageStop",
        "Metadata",
        "closed",
    ]
    assert list(frame["t_s"]) == [0.0, 0.0625, 0.125, 0.25, 0.5, 0.75, 1.5, 1.5, 1.75, 2.0, 2.0]
    assert list(frame["seq"].dropna()) == list(range(7))
    assert list(frame["text"]) == [""] * 4 + ["Hello", " wor", "ld!"] + [""] * 4
    assert list(frame["chars"]) == [0] * 4 + [5, 4, 3] + [0] * 4
    assert list(frame["bytes"]) == [0] * 3 + [100, 140, 130, 120, 90, 110, 200, 0]
    assert list(frame["read"].fillna(0)) == [0] * 3 + [1, 2, 3, 4, 4, 5, 5, 0]
    assert list(frame["block"].fillna(-1)) == [-1] * 4 + [0] * 4 + [-1] * 3
    deltas = frame[frame["type"] == "TextDelta"]
    np.testing.assert_array_equal(deltas["gap_s"], [np.nan, 0.25, 0.75])
    np.testing.assert_allclose(deltas["tokens_est"], [4 * 5 / 12, 4 * 4 / 12, 4 * 3 / 12])
    rest = frame[frame["type"] != "TextDelta"]
    assert rest["gap_s"].isna().all()
    assert rest["tokens_est"].isna().all()


def test_marks_stand_in_time():
    """A mark stands before the event of the same moment; the end of the stream is always the last row."""
    recording = recorded((MessageStart("assistant"), 1.0), (TextDelta(0, "x"), 1.0), (TextDelta(0, "y"), 3.0))
    for name, t in (("closed", 1.0), ("late", 2.0), ("headers", 1.0), ("sent", 0.5)):
        recording.mark(name, t)
    assert list(events(recording)["type"]) == [
        "request",
        "sent",
        "headers",
        "MessageStart",
        "TextDelta",
        "late",
        "TextDelta",
        "closed",
    ]


def test_events_of_one_moment_keep_their_order():
    """A burst brings many events with one time."""
    recording = recorded(*((TextDelta(0, str(i)), 1.0) for i in range(200)))
    frame = events([recording, recording])
    assert list(frame["seq"].dropna()) == [*range(200)] * 2
    assert list(frame.loc[frame["gap_s"].notna(), "gap_s"]) == [0.0] * 199 * 2


def test_only_content_deltas_after_the_first_have_a_gap():
    """Starts, stops, empty deltas and metadata have none; reasoning and tool input do."""
    recording = recorded(
        (MessageStart("assistant"), 0.0),
        (ReasoningDelta(0, "hm"), 1.0),
        (BlockStop(0), 1.5),
        (TextDelta(1, ""), 1.75),
        (TextDelta(1, "so"), 2.0),
        (ToolUseStart(2, "1", "f"), 2.5),
        (ToolInputDelta(2, "{}"), 4.0),
        (RedactedReasoning(3, b"x"), 8.0),
        (MessageStop("end_turn"), 9.0),
        (Metadata(USAGE), 10.0),
    )
    frame = events(recording).dropna(subset=["gap_s"])
    assert list(frame["type"]) == ["TextDelta", "ToolInputDelta", "RedactedReasoning"]
    assert list(frame["gap_s"]) == [1.0, 2.0, 4.0]


def test_the_gaps_of_the_table_are_those_of_the_metrics():
    """The column pooled over recordings is vLLM's ITL: the same numbers that the percentiles are of."""
    recordings = [reply(), recorded(*((TextDelta(0, "x"), i * i / 8) for i in range(9))), Recording()]
    pooled = [gap for recording in recordings for gap in facts(recording).gaps]
    assert list(events(recordings)["gap_s"].dropna()) == pooled
    assert summary(reply())["gap_p50_s"].item() == events(reply())["gap_s"].median()


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(st.text(max_size=9), min_size=1, max_size=30).filter(any), tokens=st.integers(0, 10_000)
)
def test_estimated_tokens_sum_to_the_exact_number(texts, tokens):
    """The service counted the whole; only how it is shared out is an estimate."""
    recording = recorded(
        *((TextDelta(0, text), 0.0) for text in texts), (Metadata({**USAGE, "outputTokens": tokens}), 1.0)
    )
    frame = events(recording)
    assert frame["tokens_est"].sum() == pytest.approx(tokens)
    assert frame["tokens_est"].count() == sum(map(bool, texts))


@pytest.mark.parametrize(
    "rows",
    [
        [(TextDelta(0, "x"), 0.0)],
        [(TextDelta(0, "x"), 0.0), (Metadata({}), 1.0)],
        [(TextDelta(0, "x"), 0.0), (Metadata({"outputTokens": "many"}), 1.0)],
        [(RedactedReasoning(0, b"x"), 0.0), (Metadata(USAGE), 1.0)],
    ],
    ids=["no metadata", "no usage", "no number", "no text to share them by"],
)
def test_tokens_that_nobody_counted_are_missing(rows):
    """Not 0, and not one for each delta."""
    assert events(recorded(*rows))["tokens_est"].isna().all()


def test_several_recordings_are_numbered_as_they_were_given():
    """The column ``recording`` is the position in the source."""
    one, other = reply(), recorded((Unknown("x", None), 0.0))
    frame = events([one, other])
    assert frame.groupby("recording").size().to_dict() == {0: len(events(one)), 1: len(events(other))}
    first = frame[frame["recording"] == 0].reset_index(drop=True)
    assert_frame_equal(first, events(one))


def test_half_of_a_surrogate_pair_is_shown_as_a_replacement():
    """Arrow's strings, where pandas has them, refuse it; the recording keeps it, and the count is right."""
    recording = recorded(
        (TextDelta(0, "a\ud83d"), 0.0), (TextDelta(0, "\ude00"), 0.0), (TextDelta(0, "😀"), 0.0)
    )
    frame = events([recording, recorded((TextDelta(0, "\ud83d\ude00!"), 0.0), (TextDelta(0, "é"), 0.0))])
    assert list(frame["text"]) == ["", "a\ufffd", "\ufffd", "😀", "", "😀!", "é"]
    assert list(frame["chars"]) == [0, 2, 1, 1, 0, 3, 1]


# -- the summary -----------------------------------------------------------------------------------


def test_a_summary_by_hand():
    """How it ended, the metrics, the request id."""
    row = summary(reply()).iloc[0].to_dict()
    assert (row["model"], row["status"]) == ("amazon.nova-lite-v1:0", "complete")
    assert (row["stop_reason"], row["request_id"]) == ("end_turn", "abc-1")
    for name, value in measure(reply()).items():
        assert row[name] == value if value is not None else pd.isna(row[name])


def test_what_is_not_known_is_missing():
    """Never 0, never an empty text."""
    row = summary(Recording()).iloc[0]
    assert row["status"] == "streaming"
    known = {name: value for name, value in measure(Recording()).items() if value is not None}
    assert set(known.values()) <= {0}  # counts of what it has none of
    assert row.drop(["status", *known]).isna().all()


def test_labels_are_columns():
    """After all others, in order of their first use, of a type that fits; where there is none, missing."""
    frame = summary(
        [
            reply(labels={"n": 1, "kind": "a"}),
            reply(labels={"n": 2, "kind": "b"}),
            reply(labels={"n": 3, "extra": [1, 2], "kind": "c"}),
        ]
    )
    assert list(frame.columns) == [*SUMMARY_COLUMNS, "n", "kind", "extra"]
    assert frame["n"].dtype == "int64"
    assert list(frame["kind"]) == ["a", "b", "c"]
    assert frame["extra"].isna().tolist() == [True, True, False]
    assert frame["extra"][2] == [1, 2]
    assert frame.groupby("kind")["ttft_s"].mean().to_dict() == {"a": 0.5, "b": 0.5, "c": 0.5}


def test_a_label_never_hides_a_column():
    """One whose name is taken goes under another."""
    frame = summary([reply(labels={"label_model": 1, "model": 2, "ttft_s": 3})])
    assert list(frame.columns) == [*SUMMARY_COLUMNS, "label_model", "label_label_model", "label_ttft_s"]
    assert frame.iloc[0, -3:].tolist() == [1, 2, 3]
    assert frame["model"].item() == "amazon.nova-lite-v1:0"
    assert frame["ttft_s"].item() == 0.5


def test_many_labels_are_no_burden():
    """A hundred and more columns, without pandas' warning of a fragmented frame."""
    labels = {f"label {i}": i for i in range(150)}
    assert len(summary([Recording(labels=labels)] * 2).columns) == len(SUMMARY_COLUMNS) + 150


# -- where recordings come from --------------------------------------------------------------------


def test_recordings_come_out_of_anything_that_has_some(tmp_path):
    """A recording, something with one, a path as text or Path, and collections of these at any depth."""
    one, path = reply(), reply().save(tmp_path / "r.jsonl")
    recent = Recent()
    recent.append(one)
    holder = SimpleNamespace(recording=one)
    for source in (one, holder, [one], (one,), recent, {one}, iter([one]), [[[holder]]]):
        assert as_recordings(source) == [one]
    for paths in (path, str(path), [path], (p for p in [str(path)])):
        (loaded,) = as_recordings(paths)
        assert list(loaded) == list(one)
    assert as_recordings([one, [holder, path], []])[:2] == [one, one]
    assert as_recordings([]) == []


@pytest.mark.parametrize("table", [events, summary, nb.events, nb.summary])
@pytest.mark.parametrize("source", [None, 5, b"r.jsonl", {"a": 1}, object, [reply(), 5]], ids=repr)
def test_what_is_no_recording_is_named(table, source):
    """The error says what was given, and what may be."""
    culprit = source[1] if isinstance(source, list) else source
    with pytest.raises(RequestError, match=f"An? {type(culprit).__name__} is no recording") as caught:
        table(source)
    assert "path" in str(caught.value)


@pytest.mark.parametrize("table", [events, summary])
def test_a_path_that_is_no_recording_is_named(table, tmp_path):
    """By its name, without the folder that it was looked for in."""
    with pytest.raises(RecordingError, match=re.escape("'no.jsonl' cannot be read")) as caught:
        table([reply(), tmp_path / "no.jsonl"])
    assert str(tmp_path) not in str(caught.value)


def test_a_path_may_be_a_folder(tmp_path):
    """All recordings in it, in order of their names."""
    for name in "ba":
        reply(labels={"name": name}).save(tmp_path / f"{name}.jsonl")
    assert list(summary(tmp_path)["name"]) == ["a", "b"]
    assert list(events([str(tmp_path), reply()])["recording"].unique()) == [0, 1, 2]


def test_a_dataframe_is_no_recording():
    """Its column names are not taken for paths."""
    with pytest.raises(RequestError, match="A DataFrame is no recording: this is a table already"):
        events(summary(reply()))


def test_recordings_are_held_one_at_a_time():
    """A table of a generator of recordings lets each go before it takes the next."""
    alive: list[weakref.ref[Recording]] = []

    def walk():
        for _ in range(3):
            assert sum(ref() is not None for ref in alive) <= 1  # that which the table still has in hand
            recording = reply()
            alive.append(weakref.ref(recording))
            yield recording
            del recording

    for table in (events, summary, usage, tool_calls, totals):
        alive.clear()
        table(walk())
        assert len(alive) == 3


def test_each_reads_a_file_when_it_is_its_turn(tmp_path):
    """A path that cannot be read is no trouble until it is reached."""
    walk = each([reply(), tmp_path / "no.jsonl"])
    assert len(next(walk)) == 7
    with pytest.raises(RecordingError):
        next(walk)


# -- columns of a recording ------------------------------------------------------------------------


def test_the_columns_of_a_recording_are_its_events():
    """Times, reads, sizes, classes, blocks, texts: of each event, at its place."""
    recording = reply()
    columns = recording.columns()
    begins = [0, *columns.ends[:-1]]
    for i, (t, read, size, event) in enumerate(recording.rows()):
        assert (columns.times[i], columns.reads[i], columns.sizes[i]) == (t, read, size)
        assert columns.text[begins[i] : columns.ends[i]].decode() == recording.text_of(i)
        if i in columns.others:
            assert columns.others[i] is event
        else:
            assert PLAIN[columns.codes[i]] is type(event)
            assert columns.blocks[i] == event.index
    assert list(columns.others) == [0, 5, 6]


def test_columns_stay_whole_while_another_thread_records():
    """Every copy has one length, and a later event does not change it."""
    recording, go = Recording(), threading.Event()

    def record():
        go.wait()
        for i in range(5000):
            recording.append(TextDelta(0, "é") if i % 7 else MessageStart("assistant"), float(i))

    writer = threading.Thread(target=record)
    writer.start()
    go.set()
    copies = [recording.columns()]
    while len(copies[-1].times) < 5000:
        copies.append(recording.columns())
    writer.join()
    for copy in {len(copy.times): copy for copy in copies}.values():
        n = len(copy.times)
        assert {len(column) for column in copy[:6]} == {n}
        assert len(copy.text) == (copy.ends[-1] if n else 0)
        assert list(copy.others) == list(range(0, n, 7))
        assert len(events(recording)) == 5001


def test_a_reply_that_was_not_kept_has_no_events():
    """Only its marks: what is remembered of its end has no time."""
    unkept = Unrecorded()
    unkept.append(MessageStop("end_turn"), 1.0)
    unkept.mark("sent", 0.5)
    assert list(events(unkept)["type"]) == ["request", "sent"]


def test_a_seam_and_a_plain_call_have_no_gap():
    """Nobody waited there for the model; pooled gaps are those of the recordings beside them."""
    seam = recorded((TextDelta(0, "a"), 1.0), (Seam("continue"), 2.0), (TextDelta(0, "b"), 3.0))
    plain = recorded((TextDelta(0, "a"), 1.0), (TextDelta(0, "b"), 1.0))
    plain.envelope = {"operation": "Converse"}
    frame = events([seam, plain, reply()])
    assert list(frame["gap_s"].dropna()) == [0.25, 0.75]


# -- strings that Arrow refuses, labels of any kind ------------------------------------------------


def test_half_a_surrogate_pair_is_shown_in_every_text():
    """Of the model's name, labels and their names, tools, marks: U+FFFD, as in the text of an event."""
    half = "x\ud83d"
    recording = recorded(
        (MessageStop(half), 1.0), request={"modelId": half}, labels={half: half, "plain": [half]}
    )
    recording.envelope = {"request_id": half}
    recording.mark(half, 0.5)
    recording.tools.append(ToolRun(half, half, "error", 0.0, None, 1.0, error=half))
    row = summary(recording).iloc[0]
    shown = "x\ufffd"
    assert [row[name] for name in ("model", "stop_reason", "request_id", shown)] == [shown] * 4
    assert row["plain"] == [half]
    assert list(events(recording)["type"]) == ["request", shown, "MessageStop"]
    assert list(tool_calls(recording)[["name", "id", "error"]].iloc[0]) == [shown] * 3
    assert summary(recording, dialect="vllm")["model"].item() == shown
    assert usage(recording)["model"].item() == shown


@settings(deadline=None, max_examples=20)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "model"]), JSON | st.none() | st.binary()), max_size=4
    )
)
def test_labels_may_be_anything(labels):
    """Numbers beyond 64 bits, texts, lists, objects, mixed: the table has them as they are."""
    recordings = [Recording(labels=some) for some in labels]
    frame = summary(recordings)
    for name, column in (("a", "a"), ("b", "b"), ("model", "label_model")):
        for i, given_labels in enumerate(labels):
            wanted = given_labels.get(name)
            if isinstance(wanted, str):
                wanted = wanted.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            if wanted is not None:
                assert frame[column][i] == wanted
            elif column in frame:
                assert pd.isna(frame[column][i])
        if column in frame:
            parts = conditions(frame, column)
            assert sum(len(rows) for _, rows in parts) == len(recordings)
            assert totals(recordings, by=column)["replies"].sum() == len(recordings)


def test_whole_numbers_stay_whole_beside_a_missing_one():
    """A label of 1 is not shown as 1.0 because another recording has none."""
    frame = summary([Recording(labels={"n": 1}), Recording()])
    assert frame["n"].dtype == "Int64"
    assert frame["n"].tolist() == [1, pd.NA]


# -- wall clock ------------------------------------------------------------------------------------


def test_when_a_reply_started_and_how_long_it_lasted():
    """In UTC, to the microsecond; the last event of any kind, a failure included."""
    failed = recorded((StreamFault(service_fault("throttlingException", "no")), 3.5), started=1.0)
    row = summary([reply(), failed, Recording()])
    assert row["started"][0].isoformat() == "2026-01-01T00:00:00.125000+00:00"
    assert row["lasted_s"].tolist()[:2] == [2.0, 3.5]
    assert row["e2e_s"].isna().tolist() == [False, True, True]
    assert row[["started", "lasted_s"]].iloc[2].isna().all()


@pytest.mark.parametrize("started", [float("nan"), float("inf"), -1e300, 1e18, "now"], ids=str)
def test_a_time_that_no_calendar_has_is_missing(started):
    """A file may say anything."""
    assert summary(Recording(started=started))["started"].isna().all()


# -- dialects --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", dialects.DIALECTS)
def test_a_summary_in_a_dialect_has_that_tools_columns(dialect):
    """After model and status, before labels; the same columns when there is nothing to show."""
    recordings = [reply(labels={"k": 1}), Recording()]
    frame = summary(recordings, dialect=dialect)
    theirs = dialects.columns(reply(), dialect)
    assert list(frame.columns) == ["model", "status", *theirs, "k"]
    for number, recording in enumerate(recordings):
        for name, value in dialects.columns(recording, dialect).items():
            shown = frame[name][number]
            assert shown == value if value is not None else pd.isna(shown)
    assert list(summary([], dialect=dialect).columns) == ["model", "status", *theirs]


def test_totals_in_a_dialect_hold_one_recording_at_a_time():
    """Also by condition: of each only numbers are kept."""
    alive: weakref.WeakSet[Recording] = weakref.WeakSet()
    most = 0

    def made():
        nonlocal most
        for i in range(20):
            one = reply(labels={"k": i % 2})
            alive.add(one)
            yield one
            del one
            most = max(most, len(alive))

    assert totals(made(), dialect="vllm", by="k")["Successful requests"].tolist() == [10, 10]
    assert most <= 2


@pytest.mark.parametrize("dialect", dialects.DIALECTS)
def test_totals_in_a_dialect_are_that_tools(dialect):
    """For all at once, and for each condition."""
    recordings = [reply(labels={"k": k}) for k in "abb"]
    every = dialects.totals(recordings, dialect)
    frame = totals(iter(recordings), dialect=dialect)
    assert list(frame.columns) == list(every)
    apart = totals(recordings, dialect=dialect, by="k")
    assert list(apart.columns) == ["k", *every]
    for name, value in dialects.totals(recordings[1:], dialect).items():
        assert apart[name][1] == value if value is not None else pd.isna(apart[name][1])


@pytest.mark.parametrize("table", [summary, totals])
def test_a_dialect_that_there_is_not_is_refused(table):
    """Even where there is nothing to measure, with the names of those that there are."""
    with pytest.raises(RequestError, match="llmeter"):
        table([], dialect="tps")


# -- runs ------------------------------------------------------------------------------------------


def run(count: int, **labels: object) -> list[Recording]:
    """Replies of 2 s that began a second apart."""
    recordings = []
    for i in range(count):
        recordings.append(reply(labels=labels))
        recordings[-1].started = 100.0 + i
    return recordings


def test_what_a_run_comes_to():
    """Rates by the time from the first request to the last response, percentiles where there are enough."""
    recordings = run(10)
    recordings[9].status = "incomplete"
    recordings[8].status = "cancelled"
    row = totals(recordings).iloc[0]
    assert (row["replies"], row["complete"], row["failed"], row["failed_share"]) == (10, 8, 1, 0.1)
    assert row["duration_s"] == 11.0
    assert row["requests_per_s"] == 8 / 11
    assert (row["output_tokens"], row["output_tokens_per_s"]) == (32, 32 / 11)
    assert (row["ttft_p50_s"], row["tpot_p50_s"], row["e2e_p50_s"]) == (0.5, 1 / 3, 2.0)
    assert row[["ttft_p90_s", "ttft_p99_s"]].isna().all()
    assert totals(run(10))["ttft_p90_s"].item() == 0.5


def test_totals_of_a_table_are_those_of_its_recordings():
    """So that a table may be filtered first."""
    recordings = [*run(4, k=1), *run(3, k=2)]
    assert_frame_equal(
        totals(summary(recordings), by=["k", "status"]), totals(recordings, by=["k", "status"])
    )
    limits = {"ttft_s": 0.5, "tpot": 0.1}
    assert_frame_equal(goodput(summary(recordings), by="k", **limits), goodput(recordings, by="k", **limits))


def test_a_run_without_its_clock_has_no_rates():
    """A single reply without a wall-clock time is enough."""
    recordings = run(3)
    recordings[1].started = None
    row = totals(recordings).iloc[0]
    assert row[["duration_s", "requests_per_s", "output_tokens_per_s"]].isna().all()
    assert row["output_tokens"] == 12
    assert goodput(recordings, ttft=1)["goodput_rps"].isna().all()


def test_a_count_that_is_missing_is_not_taken_for_0():
    """A complete reply without usage: its tokens are not known, so neither is the sum."""
    assert totals([reply(), recorded((TextDelta(0, "x"), 0.0))])["output_tokens"].isna().all()


def test_no_replies_are_no_conditions():
    """A table without a row has the columns that one with rows has."""
    assert list(totals([], by=["model", "status"]))[:3] == ["model", "status", "replies"]
    assert list(totals([], by="model", dialect="aws")) == ["model"]
    assert list(goodput([], by="model", ttft=1))[:2] == ["model", "replies"]


@pytest.mark.parametrize("by", [3, {"model": 1}, [3], b"model"], ids=repr)
def test_a_condition_is_of_names(by):
    """Anything else is an error that says what to give."""
    with pytest.raises(RequestError, match="name of a column"):
        totals([reply()], by=by)


def test_conditions_stand_in_order():
    """Of their first reply; numbers in their own order; missing values last, and kept."""
    models = summary([Recording({"modelId": name}) for name in ("b", "a", "b")])
    assert [(values["model"], len(rows)) for values, rows in conditions(models, "model")] == [
        ("b", 2),
        ("a", 1),
    ]
    numbers = totals([Recording(labels={"n": n} if n else {}) for n in (10, None, 9, 10)], by="n")
    assert numbers["n"].tolist() == [9, 10, pd.NA]
    assert numbers["replies"].tolist() == [1, 2, 1]
    mixed = totals([Recording(labels={"n": n}) for n in (True, 1, "1", [1])], by=["n", "status"])
    assert mixed["n"].tolist() == [True, 1, "1", [1]]
    assert mixed["by_status" if "by_status" in mixed else "status"].tolist() == ["streaming"] * 4


def test_a_condition_never_hides_a_number():
    """One whose column is called like a total goes under another name."""
    frame = totals([reply(labels={"complete": "yes"})], by="complete")
    assert frame["by_complete"].item() == "yes"
    assert frame["complete"].item() == 1


@pytest.mark.parametrize("table", [totals, lambda source, by: goodput(source, by=by, ttft_s=1)])
def test_a_condition_that_is_no_column_is_named(table):
    """With the columns that there are."""
    with pytest.raises(RequestError, match="no column 'modle'") as caught:
        table(reply(), by="modle")
    assert "request_id" in str(caught.value)
    with pytest.raises(RequestError, match=r"Did you mean Prompt\? .* There are: Prompt, model, status"):
        table(reply(labels={"Prompt": "a"}), by="promt")


@pytest.mark.parametrize("table", [totals, lambda source: goodput(source, ttft_s=1)])
def test_a_table_of_something_else_is_refused(table):
    """The table of events is not that of replies; nor is one in a dialect."""
    for other in (events(reply()), summary(reply(), dialect="vllm")):
        with pytest.raises(RequestError, match="Give recordings"):
            table(other)
    with pytest.raises(RequestError, match="recordings"):
        totals(summary(reply()), dialect="vllm")


# -- goodput ---------------------------------------------------------------------------------------


def test_goodput_counts_complete_replies_that_met_all_limits():
    """A failed reply is not good, however quick; a limit of a pace is the least that is good."""
    recordings = run(4)
    recordings[3].status = "error"
    recordings[2].times[1] = 0.75  # its first token
    frame = goodput(recordings, ttft_s=0.5, tpot_s=0.5, output_tps=3.0)
    row = frame.iloc[0]
    assert list(frame.columns) == [*GOODPUT_COLUMNS, "met_ttft_s", "met_tpot_s", "met_output_tps"]
    assert (row["replies"], row["complete"], row["good"], row["good_share"]) == (4, 3, 2, 0.5)
    assert (row["duration_s"], row["requests_per_s"], row["goodput_rps"]) == (5.0, 3 / 5, 2 / 5)
    assert (row["met_ttft_s"], row["met_tpot_s"], row["met_output_tps"]) == (0.5, 0.75, 0.75)


def test_goodput_of_nothing_is_a_row_of_nothing():
    """None of none is no share."""
    row = goodput([], ttft_s=1).iloc[0]
    assert (row["replies"], row["good"]) == (0, 0)
    assert row[["good_share", "duration_s", "goodput_rps", "met_ttft_s"]].isna().all()
    assert goodput([], by="model", ttft_s=1).empty


@pytest.mark.parametrize("limits", [{}, {"e2el": 1}, {"ttft_s": "fast"}], ids=str)
def test_limits_are_checked_before_anything_is_read(limits, tmp_path):
    """None at all, an unknown one, one that is no number."""
    with pytest.raises(RequestError):
        goodput(tmp_path / "no.jsonl", **limits)


# -- usage -----------------------------------------------------------------------------------------


def test_usage_by_hand():
    """The parts, both conventions, Bedrock's own words, and what does not fit."""
    said = {"inputTokens": 9, "outputTokens": 4, "totalTokens": 99, "cacheReadInputTokens": 20}
    row = usage([Recording(), recorded((Metadata(said), 1.0), request={"modelId": "m"})]).iloc[1]
    assert (row["recording"], row["model"], row["status"]) == (1, "m", "complete")
    assert row["fresh_tokens":"output_tokens"].replace(pd.NA, None).tolist() == [9, 20, None, 4]
    assert row["total_said_tokens":"total_otel_tokens"].tolist() == [99, 9, 29, 13, 33, 33]
    assert json.loads(row["raw"]) == said
    assert row["raw"].startswith('{"inputTokens":9,"outputTokens":4')
    assert "99" in row["mismatch"]


def test_usage_that_fits_has_no_mismatch():
    """And of a reply that brought none, nothing is known."""
    frame = usage([reply(), Recording()])
    assert frame["mismatch"].isna().tolist() == [True, True]
    assert frame.loc[1, "fresh_tokens":"raw"].isna().all()


# -- to files and back -----------------------------------------------------------------------------


def test_tables_come_back_from_files(tmp_path):
    """Parquet keeps every value and type, CSV every value: texts of all kinds, all digits of a number."""
    recording = recorded(
        (TextDelta(0, 'a,"b"\r\n'), 0.1),
        (TextDelta(0, "é\u2028😀 NA"), 0.30000000000000004),
        (Metadata(USAGE), 1.0),
    )
    recordings = [recording, reply(labels={"n": 1, "note": "NA"})]
    for frame in (events(recordings), summary(recordings), usage(recordings)):
        frame.to_parquet(tmp_path / "frame.parquet")
        assert_frame_equal(pd.read_parquet(tmp_path / "frame.parquet"), frame)
        frame.to_csv(tmp_path / "frame.csv", index=False)
        cells = pd.read_csv(tmp_path / "frame.csv", dtype=str, keep_default_na=False)
        assert list(cells.columns) == list(frame.columns)
        for name, column in frame.items():
            for cell, value in zip(cells[name], column, strict=True):
                assert cell == "" if pd.isna(value) else type(value)(cell) == value


def test_tool_calls_of_nothing_has_its_columns():
    """In their types."""
    assert tool_calls([]).dtypes.to_dict() == dtypes(TOOL_COLUMNS)
