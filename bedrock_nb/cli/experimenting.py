"""``bedrock-nb sweep | load | report``: experiments without a notebook.

Strategy: a spec and the options say what the arguments of `sweep`, `load_test` or `saturation` are; these do
everything. The same command again goes on where it stopped, for so does a sweep in the same folder.
"""

from __future__ import annotations

import argparse
import inspect
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bedrock_nb as nb
from bedrock_nb.cli.asking import PROMPTS, TARGETS, end_processes, executor, prompts, target
from bedrock_nb.cli.spec import EXAMPLE, LOAD, SWEEP, place, read
from bedrock_nb.errors import RequestError
from bedrock_nb.render import printable

__all__ = ["add"]

#: Exit status of what was interrupted, as the shells have it.
_INTERRUPTED = 130


def add(commands: Any) -> None:
    """Add the commands to a parser's."""
    sweep = commands.add_parser(
        "sweep",
        help="ask every combination of models, prompts and settings that a file says",
        description="Ask what a spec says. Interrupted, the same command goes on where it stopped.",
    )
    sweep.add_argument("spec", nargs="?", type=Path, metavar="SPEC", help="a TOML file: see --example")
    sweep.add_argument("--example", action="store_true", help="print a spec to begin with")
    sweep.add_argument(
        "--retry-failed",
        action="store_true",
        default=None,
        help="ask again what failed; by default a failure is a result",
    )
    sweep.add_argument(
        "--dry-run", action="store_true", default=None, help="say what would be asked, and ask nothing"
    )
    _shared(sweep, "where the replies go (default: SPEC-replies, beside the spec)")
    sweep.set_defaults(run=_sweep)

    load = commands.add_parser(
        "load",
        help="ask as many users do: closed or open loop, stages, saturation",
        description="A load test. What a spec and an option both say, the option decides.",
    )
    load.add_argument("spec", nargs="?", type=Path, metavar="SPEC", help="a TOML file with the same names")
    load.add_argument("--prompt", action="append", dest="prompts", help="may be given more than once")
    load.add_argument(
        "--prompts-file", type=Path, metavar="FILE", help="prompts: .txt (one a line), .jsonl or .csv"
    )
    load.add_argument("--model", help="model id or short name")
    load.add_argument("--max-tokens", type=int, help="most output tokens")
    how = load.add_argument_group("how much", "LEVEL is a number, or stages SECONDS:LEVEL[-LEVEL],…")
    loops = how.add_mutually_exclusive_group()
    loops.add_argument("--users", type=_levels, metavar="LEVEL", help="closed loop: users who wait, then ask")
    loops.add_argument("--rate", type=_levels, metavar="LEVEL", help="open loop: starts a second")
    how.add_argument("--seconds", type=float, help="how long")
    how.add_argument("--requests", type=int, help="how many")
    how.add_argument("--think", type=float, metavar="SECONDS", help="pause of a user between two requests")
    how.add_argument("--arrivals", choices=("poisson", "fixed"), help="of the open loop (default: poisson)")
    how.add_argument(
        "--saturate", action="store_true", default=None, help="double it until more is of no use"
    )
    how.add_argument("--most", type=float, metavar="LEVEL", help="of --saturate: no level is higher")
    load.add_argument("--warmup", type=float, metavar="SECONDS", help="left out of the numbers")
    load.add_argument(
        "--limit",
        action="append",
        type=_limit,
        dest="limits",
        metavar="METRIC=VALUE",
        help="a good reply meets it, as in ttft_s=0.5; may be given more than once",
    )
    load.add_argument("--seed", type=int, help="of arrivals and of the order of prompts")
    _shared(load, "where the recordings go (default: only numbers are kept)")
    load.set_defaults(run=_load)

    report = commands.add_parser("report", help="write a page about a sweep, a load test or any recordings")
    report.add_argument("source", metavar="FOLDER", help="a folder of recordings, or a dataset's URL")
    report.add_argument("--out", type=Path, metavar="FILE", help="default: report.html in the folder")
    report.add_argument("--title", help="heading of the page")
    report.add_argument(
        "--by", action="extend", type=lambda text: text.split(","), metavar="NAME[,NAME]", help="conditions"
    )
    report.add_argument("--metric", help="what is compared (default: ttft_s)")
    report.add_argument(
        "--limit", action="append", type=_limit, dest="limits", metavar="METRIC=VALUE", help="for goodput"
    )
    report.set_defaults(run=_report)


def _shared(parser: argparse.ArgumentParser, folder: str) -> None:
    """What a sweep and a load test have in common."""
    parser.add_argument("--folder", type=place, metavar="FOLDER", help=folder)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write a page about it (.html)")
    parser.add_argument(
        "--no-progress", action="store_false", dest="progress", default=None, help="no bar on a terminal"
    )
    where = parser.add_argument_group("where to")
    where.add_argument("--target", help="auto, local, aws or a URL (default: auto)")
    where.add_argument("--region", help="AWS region")
    where.add_argument("--profile", help="AWS profile")
    by = parser.add_argument_group("who asks").add_mutually_exclusive_group()
    by.add_argument("--processes", type=_positive, metavar="N", help="so many processes of this machine")
    by.add_argument("--dask", metavar="ADDRESS", help="the workers of a Dask scheduler, as tcp://host:8786")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_positive.__name__ = "whole number from 1"  # how argparse calls what it wanted


def _levels(text: str) -> Any:
    """``8`` is a number, ``10:2,20:2-10`` are stages."""
    try:
        if ":" not in text:
            return float(text) if "." in text else int(text)
        stages = []
        for stage in text.split(","):
            seconds, _, level = stage.partition(":")
            first, ramp, last = level.partition("-")
            stages.append((float(seconds), (float(first), float(last)) if ramp else float(first)))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r:.60} is no level: 8 is one; 10:2,20:2-10 is 10 s of 2, then 20 s from 2 to 10"
        ) from None
    return stages


def _limit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip().replace("-", "_"), float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r:.60} is no limit: ttft_s=0.5 is one, a metric and a number"
        ) from None


def _sweep(chosen: argparse.Namespace) -> int:
    if chosen.example:
        print(EXAMPLE, end="")
        return 0
    if chosen.spec is None:
        raise RequestError(
            "A sweep is described in a file.", remedy="`bedrock-nb sweep --example > sweep.toml` makes one."
        )
    asked = _asked(chosen, SWEEP)
    asked.setdefault("folder", chosen.spec.with_name(f"{chosen.spec.stem}-replies"))
    wanted = prompts(asked)
    with executor(chosen) as pool:
        swept = nb.sweep(target(asked, pool), wanted, executor=pool, **asked)
        if chosen.dry_run:
            _say_plan(swept, asked.get("warmup", 0))
            return 0
        print(f"{printable(repr(swept))}\nFolder: {swept.folder}")
        if swept.status == "interrupted" and pool is not None:
            end_processes()  # what was waited for is kept
    _write_report(chosen, swept, len(swept))
    if swept.status == "interrupted":
        _say(f"To go on: {shlex.join(['bedrock-nb', *sys.argv[1:]])}")
        return _INTERRUPTED
    if swept.status != "complete":
        _say(f"{swept.status}. The same command goes on, if there is more to use.")
    elif swept.failed:
        what = "1 reply" if swept.failed == 1 else f"{swept.failed:,} replies"
        again = "" if pool is not None else " With --retry-failed the same command asks them again."
        _say(f"{what} failed.{again}")
    return 1 if swept.status != "complete" or swept.failed else 0


def _say_plan(planned: nb.Sweep, warmup: int) -> None:
    """How many requests a sweep would send, and what varies in them."""
    n, done = len(planned.left), len(planned)
    warm = f", and {warmup:,} to warm up" * bool(warmup and n)
    there = f"; of {len(planned.cells):,} replies {done:,} are finished" * bool(done)
    print(f"{n:,} request{'s' * (n != 1)} to send{warm}{there}.")
    found = {printable(name): values for name, values in planned.dimensions.items()}
    width = max(map(len, found))
    for name, values in found.items():
        told = printable(", ".join(map(str, values)))
        print(f"{name:{width}}  {len(values):>5,}  {told if len(told) <= _WIDE else told[: _WIDE - 1] + '…'}")


def _load(chosen: argparse.Namespace) -> int:
    asked = _asked(chosen, LOAD)
    saturate = asked.pop("saturate", False)
    test = nb.saturation if saturate else nb.load_test
    wanted = prompts(asked)
    for name in sorted(asked.keys() & LOAD.keys() - TARGETS - inspect.signature(test).parameters.keys()):
        raise RequestError(
            f"{name} means nothing {'with' if saturate else 'without'} saturate.", remedy=f"Leave {name} out."
        )
    with executor(chosen) as pool:
        result = test(target(asked, pool), wanted, executor=pool, **asked)
        if result.status == "interrupted" and pool is not None:
            end_processes()  # shares that nobody waited for
    print(f"{printable(repr(result))}\n{_stages(result)}")
    for kind, count in result.failures.items():
        print(f"{count:,} failed: {printable(kind)}")
    for warning in result.warnings:
        _say(warning)
    if "folder" in asked and "://" not in str(asked["folder"]):
        print(f"Result: {asked['folder']}")
    _write_report(chosen, result, len(result.table))
    if result.status == "interrupted":
        return _INTERRUPTED
    if not (result.table["status"] == "complete").any():
        _say("No reply is complete.")
        return 1
    return 0


def _stages(result: nb.LoadResult) -> str:
    """The stages in the terminal's width, without columns that have no number."""
    shown = result.stages[list(_COLUMNS)].dropna(axis="columns", how="all")
    table: str = shown.to_string(index=False, float_format="{:.4g}".format, na_rep="")
    return table


def _report(chosen: argparse.Namespace) -> int:
    given = {"title": chosen.title, "by": chosen.by, "metric": chosen.metric}
    if chosen.limits:
        given["limits"] = dict(chosen.limits)
    given = {name: value for name, value in given.items() if value is not None}
    print(f"Report: {nb.report(chosen.source, chosen.out, **given)}")
    return 0


def _write_report(chosen: argparse.Namespace, source: Any, replies: int) -> None:
    if chosen.report is not None and replies:
        print(f"Report: {nb.report(source, chosen.report, progress=chosen.progress)}")


def _say(what: str) -> None:
    """To who watches, and not to who reads the output."""
    print(f"bedrock-nb: {printable(what)}", file=sys.stderr)


#: Letters of the values of a setting that are told.
_WIDE = 60
#: Columns of the stages that a terminal has room for.
_COLUMNS = (
    *("level", "replies", "failed", "requests_per_s", "in_flight"),
    *("ttft_p50_s", "ttft_p90_s", "e2e_p50_s", "goodput_rps"),
)
#: Options that are no arguments of the functions.
_OWN = ("run", "spec", "example", "report", "processes", "dask")
#: Arguments of which one is given, so that one on the command line replaces any in the spec.
_ONE_OF = (PROMPTS, ("users", "rate"))


def _asked(chosen: argparse.Namespace, keys: Mapping[str, Any]) -> dict[str, Any]:
    """What the spec says, and over it what the options do."""
    asked = {} if chosen.spec is None else read(chosen.spec, keys)
    given = {name: value for name, value in vars(chosen).items() if name not in _OWN and value is not None}
    given.setdefault("progress", sys.stderr.isatty())
    if "limits" in given:
        given["limits"] = dict(given["limits"])
    for group in _ONE_OF:
        if any(name in given for name in group):
            asked = {name: value for name, value in asked.items() if name not in group}
    return {**asked, **given}
