"""The page of a report: material in, one HTML file out.

Strategy: jinja2 fills a template that lies beside this module, and escapes whatever it is given. Before that
comes one more step: a text is shown as `render.visible` has it, and without account numbers. Only pictures
are markup; they are base64 of our own making.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from bedrock_nb import files
from bedrock_nb.compare.samples import column
from bedrock_nb.compare.scales import capital
from bedrock_nb.errors import RequestError, without_accounts
from bedrock_nb.lines import as_path
from bedrock_nb.metrics.goodput import limits as checked
from bedrock_nb.render import visible
from bedrock_nb.report import settings, tables
from bedrock_nb.report.caveats import caveats
from bedrock_nb.report.collecting import Material, chosen_by, collected
from bedrock_nb.report.pictures import pictures

__all__ = ["report"]

_NAME = "report.html"
#: Nothing runs, nothing is fetched; pictures are in the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
#: In the open loop a wait begins when the request was meant to begin.
_INTENDED = {"ttft_s": "ttft_intended_s", "e2e_s": "e2e_intended_s"}
_TITLES = {
    "race": "A race",
    "sweep": "A sweep",
    "load test": "A load test",
    "dataset": "Replies of a dataset",
    "table": "A table of replies",
    "replies": "Replies",
}


def report(
    source: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str | None = None,
    by: str | Sequence[str] | None = None,
    metric: str = "ttft_s",
    limits: Mapping[str, float] | None = None,
    baseline: Any = None,
    warmup: int = 0,
    progress: bool | None = None,
) -> Path:
    """Write an experiment as one HTML page that needs nothing but itself.

    Tables and pictures of each condition, how replies ended, what was asked, with what, the formula of every
    number, and what to keep in mind. No script, no request to anywhere, light and dark. The same data give
    the same file, with the same versions of the libraries.

    Parameters
    ----------
    source : path, folder, sweep, load test, race, dataset, recordings, or DataFrame
        A folder of recordings, or the one that a sweep wrote; what `sweep`, `load_test`, `race`,
        `open_dataset` and `load_folder` return; anything that `summary` takes, or its table. Recordings are
        read once and held one at a time, but for 60 of them, drawn by lot.
    path : path, optional
        The file. By default ``report.html`` in the folder of the source, otherwise in the working folder.
        One that is there is replaced.
    title : str, optional
        The heading.
    by : str or list of str, optional
        Columns whose values make the conditions. By default the labels that differ, as far as they make no
        more than 12 conditions, else the model.
    metric : str
        What is shown first and drawn, see `metrics.METRICS`.
    limits : mapping of str to float, optional
        What a good reply is, such as ``{"ttft_s": 0.5}``: adds goodput, see `goodput`.
    baseline, warmup : optional
        The condition that others are measured against, and how many of the first replies of each condition,
        by the clock, are left out; see `compare`.
    progress : bool, optional
        Show a bar while pictures are drawn. By default on a terminal and in a notebook, if it takes a while.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RequestError
        There are no replies, no such column or metric, or a limit that is none.
    RecordingError
        A source that cannot be read, or a file that cannot be written.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> client = nb.connect("local", verbose=False)
    >>> race = nb.race(client, "Count from 1 to 5", ["nova_micro", "nova_pro"], show=False)
    >>> nb.report(race, "race.html")  # doctest: +SKIP
    """
    good = checked(**limits) if limits else {}
    material = collected(source)
    if material.result is not None:
        if warmup or baseline is not None:
            raise RequestError(
                "A load test is reported by its stages, without a baseline and with its own warm-up.",
                remedy="Leave baseline and warmup out; nb.load_test takes warmup= in seconds.",
            )
        good = good or dict(material.result.plan.limits)
    if material.table.empty:
        raise RequestError(
            "There are no replies to report on.",
            remedy="Give a folder of recordings, or what nb.sweep, nb.load_test or nb.race returned.",
        )
    metric = column(material.table, metric)
    if material.result is not None and material.result.plan.loop == "open" and metric in _INTENDED:
        metric = _INTENDED[metric]
    conditions = chosen_by(material, by)
    if warmup:
        material.leave_out(warmup, conditions)
    html = _page(material, title or _title(material), metric, conditions, good, baseline, progress)
    target = (material.folder or Path()) / _NAME if path is None else as_path(path)
    return files.write_chunks(target, [html.encode("utf-8", "replace")], "report")


def _title(material: Material) -> str:
    what = _TITLES[material.kind]
    return f"{what}: {material.name}" if material.name else what


def _page(
    material: Material,
    title: str,
    metric: str,
    by: list[str],
    limits: Mapping[str, float],
    baseline: Any,
    progress: bool | None,
) -> str:
    load = material.result
    made = None if load is not None else tables.measured(material, metric, by, baseline)
    return _template().render(
        policy=_POLICY,
        title=title,
        when=_when(material),
        by=by,
        figures=tables.figures(material),
        said=made.sentence if made is not None else _of_load(load),
        caveats=caveats(material, made, by),
        conditions=None if made is None else tables.per_condition(material, made, by),
        against=None if made is None else tables.against(material, made, by),
        ended=tables.ended(material),
        good=tables.good(material, by, limits) if limits else None,
        stages=tables.frame(load.stages) if load is not None else None,
        pictures=pictures(material, metric, by, made, progress),
        asked=settings.asked(material),
        formulas=settings.formulas(material, metric, limits),
        symbols=settings.symbols(),
        versions=settings.versions(material),
    )


def _of_load(result: Any) -> str:
    """What a load test found: where its throughput bends, and why it ended."""
    of, bend = "users" if result.plan.loop == "closed" else "starts a second", result.bend()
    several = result.stages["level"].nunique() > 1
    knee = f"Throughput over {of}: {str(bend).removesuffix(f' of {bend.of}')}." if several else ""
    why = f"{capital(result.why)}." if result.why else ""
    return " ".join(filter(None, (knee, why)))


def _when(material: Material) -> str:
    """When the replies were asked for, in UTC and to the minute; empty if that is not known."""
    started = material.table.get("started")
    if started is None or not pd.api.types.is_datetime64_any_dtype(started) or not started.notna().any():
        return ""
    first, last = (f"{one:%Y-%m-%d %H:%M}" for one in (started.min(), started.max()))
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")


def _shown(value: Any) -> Any:
    """What is put into the page, before it is escaped."""
    return value if isinstance(value, Markup) else visible(without_accounts(str(value)))
