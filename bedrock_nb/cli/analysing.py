"""``bedrock-nb table | compare | plot | export``: what recordings say, without a notebook.

Strategy: each command is one public function; what it makes of recordings is chosen from a table of names, so
that a new table or plot is a row here.
"""

from __future__ import annotations

import argparse
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bedrock_nb as nb
from bedrock_nb import files
from bedrock_nb.errors import RequestError
from bedrock_nb.render import printable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["add"]

#: Name on the command line -> the table, of paths and what was chosen besides.
_TABLES: dict[str, Callable[[list[str], argparse.Namespace], pd.DataFrame]] = {
    "replies": lambda paths, chosen: nb.summary(paths, dialect=chosen.dialect),
    "totals": lambda paths, chosen: nb.totals(paths, dialect=chosen.dialect, by=chosen.by),
    "events": lambda paths, _: nb.events(paths),
    "usage": lambda paths, _: nb.usage(paths),
    "tools": lambda paths, _: nb.tool_calls(paths),
    "bursts": lambda paths, _: nb.bursts(paths),
    "breakdown": lambda paths, _: nb.breakdown(paths),
}
#: Arguments of tables that not all of them have.
_OF_TABLES = {"by": ("totals",), "dialect": ("replies", "totals")}
#: Arguments of a comparison that are names of columns.
_OF_COMPARE = {
    "by": "columns of the conditions (default: model)",
    "metric": "what is compared (default: ttft_s)",
    "paired-by": "columns by which replies are paired, such as prompt",
}
#: Those of `nb.plot` that files have the data of. They are named here for a parser that is made at once: who
#: asks `nb.plot` waits seconds for matplotlib, with every command.
_PLOTS = (
    "anatomy",
    "compare",
    "ecdf",
    "gaps",
    "heatmap",
    "load",
    "reading_speed",
    "seconds",
    "throughput",
    "timeline",
    "tool_rounds",
    "waterfall",
)
#: Plots of something else than recordings -> what reads it from the first of the paths.
_OTHERS: dict[str, Callable[[str], Any]] = {"seconds": lambda path: nb.LoadResult.load(path)}
_PICTURES = "a picture: .png, .svg or .pdf"
#: Arguments of plots that can be given here, to those that have them.
_OF_PLOTS = {
    "by": "column of the conditions, for plots that compare",
    "metric": "what is drawn, such as ttft_s, for plots that let it be chosen",
}


def add(commands: Any) -> None:
    """Add the commands to a parser's."""
    table = _command(commands, "table", "print a table of recordings, or write it to a file", _table)
    table.add_argument(
        "--of", choices=_TABLES, default="replies", help="rows are these (default: %(default)s)"
    )
    table.add_argument("--dialect", help="names, units and formulas of another tool: vllm, aiperf, …")
    table.add_argument(
        "--by", action="extend", type=_names, help="of totals: a row for each value of this column"
    )
    table.add_argument("--out", type=Path, metavar="FILE", help="write it: .csv or .parquet")

    compare = _command(commands, "compare", "compare conditions, with intervals and a sentence", _compare)
    for name, help in _OF_COMPARE.items():
        compare.add_argument(f"--{name}", action="extend", type=_names, metavar="NAME[,NAME]", help=help)
    compare.add_argument("--baseline", metavar="CONDITION", help="the others are measured against this one")
    compare.add_argument(
        "--warmup",
        type=lambda text: int(text) if text.isdecimal() else text,
        default=0,
        metavar="N|connection",
        help="leave out the first N replies of each condition, or those that opened a connection",
    )

    plot = _command(commands, "plot", "draw recordings", _plot, kinds=True)
    for name, help in _OF_PLOTS.items():
        plot.add_argument(f"--{name}", help=help)
    plot.add_argument("--out", type=Path, metavar="FILE", required=True, help=_PICTURES)

    export = _command(commands, "export", "write recordings in another format", _export)
    into = export.add_mutually_exclusive_group(required=True)
    into.add_argument("--parquet", type=Path, metavar="FOLDER", help="a dataset of events and replies")
    into.add_argument("--perfetto", type=Path, metavar="FILE", help="a trace for ui.perfetto.dev: .json(.gz)")
    export.add_argument("--overwrite", action="store_true", help="replace a Parquet dataset that is there")
    export.add_argument(
        "--align",
        choices=("clock", "request"),
        default="clock",
        help="of a trace: replies as they ran, or each from its request (default: %(default)s)",
    )


def _csv(made: pd.DataFrame) -> bytes:
    text: str = made.to_csv(index=False)
    return text.encode()


def _parquet(made: pd.DataFrame) -> bytes:
    from bedrock_nb.formats.parquet import table_bytes

    return table_bytes(made)


#: Suffix of a file -> its bytes.
_SUFFIXES: dict[str, Callable[[pd.DataFrame], bytes]] = {".csv": _csv, ".parquet": _parquet}


def _command(
    commands: Any,
    name: str,
    help: str,
    run: Callable[[argparse.Namespace], int],
    *,
    kinds: bool = False,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help)
    if kinds:
        parser.add_argument("kind", choices=_PLOTS)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="recordings, or folders of them")
    parser.set_defaults(run=run)
    return parser


def _names(text: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _check_some(paths: list[str]) -> None:
    """Refuse paths that hold no recording at all."""
    from bedrock_nb.table.frame import each

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were said before
        if next(each(paths), None) is None:
            raise RequestError(
                f"There are no recordings in {', '.join(paths)}.",
                remedy="Give files that Recording.save wrote, or folders of them.",
            )


def _table(chosen: argparse.Namespace) -> int:
    for name, tables in _OF_TABLES.items():
        if getattr(chosen, name) is not None and chosen.of not in tables:
            raise RequestError(
                f"The table {chosen.of} has no --{name}.", remedy=f"Give --of {' or '.join(tables)} with it."
            )
    how = _SUFFIXES.get(chosen.out.suffix) if chosen.out is not None else None
    if chosen.out is not None and how is None:
        raise RequestError(
            f"{chosen.out.name!r} is no kind of table.", remedy="Give a .csv or .parquet file."
        )
    made = _TABLES[chosen.of](chosen.paths, chosen)
    if made.empty or chosen.of == "totals":  # totals have a row in any case
        _check_some(chosen.paths)
    if how is None:
        shown = made.T if len(made) == 1 else made
        print(printable(shown.to_string(index=len(made) == 1, header=len(made) != 1)))
        return 0
    files.write_chunks(chosen.out, [how(made)], "table")
    print(f"{len(made):,} rows: {chosen.out}")
    return 0


def _compare(chosen: argparse.Namespace) -> int:
    found = nb.compare(
        chosen.paths,
        by=chosen.by or "model",
        metric=chosen.metric or "ttft_s",
        paired_by=chosen.paired_by or None,
        baseline=chosen.baseline,
        warmup=chosen.warmup,
    )
    if found.table.empty:
        _check_some(chosen.paths)
    print(printable(repr(found)))
    return 0


def _plot(chosen: argparse.Namespace) -> int:
    draw: Callable[..., Axes] = getattr(nb.plot, chosen.kind)
    given = {name: getattr(chosen, name) for name in _OF_PLOTS if getattr(chosen, name) is not None}
    for name in given.keys() - inspect.signature(draw).parameters.keys():
        raise RequestError(f"The plot {chosen.kind} has no --{name}.", remedy=f"Leave --{name} out.")
    from bedrock_nb.plot.canvas import write

    read = _OTHERS.get(chosen.kind)
    write(draw(chosen.paths if read is None else read(chosen.paths[0]), **given), chosen.out)
    print(f"{chosen.kind}: {chosen.out}")
    return 0


def _export(chosen: argparse.Namespace) -> int:
    # The replies of one folder name their files.
    source = chosen.paths[0] if len(chosen.paths) == 1 else chosen.paths
    if chosen.parquet is not None:
        print(f"Parquet: {nb.to_parquet(source, chosen.parquet, overwrite=chosen.overwrite)}")
    else:
        print(f"Trace: {nb.formats.perfetto.write(source, chosen.perfetto, align=chosen.align)}")
    return 0
