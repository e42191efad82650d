"""What a reader of a report has to keep in mind: sentences that the data themselves call for.

Strategy: a function for each kind of trouble, in the order of weight; each says nothing where there is none.
What the comparison has to say of its own numbers comes after them, word for word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pandas as pd

from bedrock_nb.compare import Comparison
from bedrock_nb.metrics.clocks import LATE_S
from bedrock_nb.plot.canvas import duration
from bedrock_nb.report.collecting import Material
from bedrock_nb.table.frame import FAILED, conditions

__all__ = ["caveats"]

#: Replies of a condition below which a report says that they are few: a p90 is given from 10 on.
_FEW = 20
_DAY_S = 86_400.0


def caveats(material: Material, made: Comparison | None, by: list[str]) -> list[str]:
    """Sentences of plain text; the worst come first."""
    said = [one for check in _CHECKS for one in check(material, by)]
    return list(dict.fromkeys((*said, *(made.notes if made is not None else ()))))


def _of_itself(material: Material, _: list[str]) -> Iterator[str]:
    yield from material.said


def _where(material: Material, _: list[str]) -> Iterator[str]:
    seen, n = material.seen, material.seen.recordings
    targets = material.plan.get("targets")
    asked_of = [str(one) for one in targets.values()] if isinstance(targets, Mapping) else []
    embedded = sum("embedded" in one for one in asked_of)
    if embedded:
        all_of = (
            "Asked of the embedded server" if embedded == len(asked_of) else "In part of the embedded server"
        )
        yield f"{all_of}: its times are those of a law that somebody chose, and say nothing about AWS."
    elif seen.plain:
        yield (
            f"{_of(seen.plain, n)} asked for without TLS, so of an embedded or local server: their times say "
            "nothing about AWS."
        )
    elif not n:
        yield "Whether the service was AWS or an embedded server is not known from a table."
    if seen.clocks["schedule"]:
        yield f"{_of(seen.clocks['schedule'], n)} never measured: their times are those of a plan."
    if seen.clocks["parsed"]:
        yield (
            f"{_of(seen.clocks['parsed'], n)} timed when botocore had parsed the events, not when bytes "
            "came: bursts and gaps may be made on this side."
        )


def _failures(material: Material, by: list[str]) -> Iterator[str]:
    status = material.table["status"]
    failed, ended = int(status.isin(FAILED).sum()), int(status.isin(["cancelled", "interrupted"]).sum())
    if failed:
        yield (
            f"{_of(failed, len(status), 'failed', 'failed')}. Times and paces are of the replies that have "
            "them; where slow replies fail first, what is left looks too good."
        )
    if ended:
        yield f"{_of(ended, len(status))} cancelled or interrupted; they are not complete, and no failures."
    parts = conditions(material.table, by) if failed else []
    shares = [rows["status"].isin(FAILED).mean() for _, rows in parts]
    if len(shares) > 1 and max(shares) > 2 * min(shares) + 0.05:
        yield "Conditions failed at different rates: compare their times with that in mind."


def _few(material: Material, by: list[str]) -> Iterator[str]:
    if material.result is not None:
        return  # a load test says so itself
    sizes = [len(rows) for _, rows in conditions(material.table, by)]
    few = [n for n in sizes if n < _FEW]
    if few:
        lacking = " and ".join(p for p, n in (("p90", 10), ("p99", 100)) if min(few) < n)
        left = (
            f" {lacking} {'are' if ' and ' in lacking else 'is'} left out where too few." if lacking else ""
        )
        yield (
            f"Conditions with fewer than {_FEW} replies, so with rough intervals: {len(few):,} of "
            f"{len(sizes):,}, the smallest with {min(few):,}.{left}"
        )


def _reading(material: Material, _: list[str]) -> Iterator[str]:
    table, seen = material.table, material.seen
    if material.result is not None and "late_s" in table.columns:  # a comparison says it by condition
        late = table["late_s"][table["late_s"] > LATE_S]
        if len(late):
            yield (
                f"{_of(len(late), len(table))} read late, by up to {duration(float(late.max()))}: their "
                "times may be too long by as much."
            )
    if seen.opened and seen.recordings:
        yield (
            f"{_of(seen.opened, seen.recordings, 'opened', 'opened')} a connection: their times to the first "
            "token have its set-up in them."
        )
    if "retries" in table.columns and (retried := int((table["retries"] > 0).sum())):
        yield f"{_of(retried, len(table))} tried again before an answer came: the pauses are in their times."
    if seen.resumed:
        yield f"{_of(seen.resumed, seen.recordings)} taken up again after a break."


def _sameness(material: Material, _: list[str]) -> Iterator[str]:
    table = material.table
    if "cache_read_tokens" in table.columns:
        cached = table["cache_read_tokens"].fillna(0) > 0
        if cached.any() and not cached.all():
            yield f"{_of(int(cached.sum()), len(table))} answered with a prompt cache, the others without."
    if "started" not in table.columns or not pd.api.types.is_datetime64_any_dtype(table["started"]):
        return
    begun = table["started"].dropna()
    if len(begun) > 1:
        span = float((begun.max() - begun.min()).total_seconds())
        if span < _DAY_S:
            yield (
                f"All replies were asked for within {_span(span)}: a service's times change over hours and "
                "days, and no interval here knows of that."
            )


#: In the order in which they are told.
_CHECKS: tuple[Callable[[Material, list[str]], Iterator[str]], ...] = (
    _of_itself,
    _where,
    _failures,
    _few,
    _reading,
    _sameness,
)


def _of(part: int, whole: int, one: str = "was", several: str = "were") -> str:
    """``3 of 40 replies were``, ``All 40 replies were``."""
    verb = one if part == 1 else several
    if part == whole:
        return f"All {whole:,} replies {several}" if whole > 1 else f"The only reply {one}"
    return f"{part:,} of {whole:,} replies {verb}"


def _span(seconds: float) -> str:
    for size, noun in ((3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{round(seconds / size)} {noun}s"
    return f"{max(1, round(seconds))} second{'s' if round(seconds) > 1 else ''}"
