"""The command line: ``bedrock-nb lab | stream``; those that analyse are in `analysing`, those that ask more
than once in `experimenting`, those about lessons in `lessons`, and the embedded server by hand in `serving`.

Strategy: each command is a few lines round a public function, with the same names for the same things. What
went wrong is said in plain sentences on standard error, with exit status 1; argparse's own is 2.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

import bedrock_nb as nb
from bedrock_nb.cli import analysing, doctor, experimenting, lessons, serving
from bedrock_nb.errors import BedrockNbError
from bedrock_nb.request import DEFAULT_MODEL

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        Exit status: 0, or 1 with an explanation on standard error.
    """
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, io.TextIOWrapper):
            out.reconfigure(errors="replace")  # a model writes letters that not every terminal has
    chosen = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _warn
            status: int = chosen.run(chosen)
        sys.stdout.flush()
        return status
    except (BedrockNbError, BotoCoreError, ClientError) as err:
        print(f"bedrock-nb: {nb.render.printable(str(err))}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of a pipe has seen enough; Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """Say it as what went wrong is said: without a line of our code."""
    print(f"bedrock-nb: {nb.render.printable(str(message))}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bedrock-nb", description="See every token arrive: Amazon Bedrock's streaming API, in notebooks."
    )
    parser.add_argument("--version", action="version", version=f"bedrock-nb {nb.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    lab = commands.add_parser("lab", help="open JupyterLab on the lessons, the embedded Bedrock running")
    lab.add_argument("folder", nargs="?", help="the lessons (default: notebooks here, or copies of them)")
    lab.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    lab.add_argument("--cassette", type=Path, metavar="FOLDER", help="answer as `lessons record` recorded it")
    lab.set_defaults(run=_lab)

    serving.add(commands)

    stream = commands.add_parser("stream", help="stream the answer to one prompt")
    stream.add_argument("prompt")
    stream.add_argument("--target", default="auto", help="auto, local, aws or a URL (default: %(default)s)")
    stream.add_argument("--region", help="AWS region")
    stream.add_argument("--profile", help="AWS profile")
    stream.add_argument("--model", default=DEFAULT_MODEL, help="model id (default: %(default)s)")
    stream.add_argument("--system", help="system prompt")
    stream.add_argument("--max-tokens", type=int, help="most output tokens")
    stream.add_argument("--temperature", type=float, help="0 to 1")
    stream.add_argument("--table", action="store_true", help="print the timing table")
    stream.add_argument("--plot", type=Path, metavar="FILE", help="write the anatomy plot (.png, .svg, .pdf)")
    stream.add_argument("--save", type=Path, metavar="FILE", help="write the recording (.jsonl)")
    stream.set_defaults(run=_stream)

    doctor.add(commands)
    lessons.add(commands)
    experimenting.add(commands)
    analysing.add(commands)
    return parser


def _lab(chosen: argparse.Namespace) -> int:
    from bedrock_nb.lab import lab

    return lab(chosen.folder, browser=False if chosen.no_browser else None, cassette=chosen.cassette)


def _stream(chosen: argparse.Namespace) -> int:
    client = nb.connect(chosen.target, region=chosen.region, profile=chosen.profile)
    reply = nb.stream(
        client,
        chosen.prompt,
        model=chosen.model,
        system=chosen.system,
        max_tokens=chosen.max_tokens,
        temperature=chosen.temperature,
    )
    try:
        nb.live(reply)
    finally:  # a reply that failed is worth looking at, too
        if chosen.save:
            print(f"\nRecording: {reply.recording.save(chosen.save)}")
        if chosen.table:
            print(f"\n{timing_table(reply)}")
        if chosen.plot:
            from bedrock_nb.plot.canvas import write

            write(nb.plot.anatomy(reply), chosen.plot)
            print(f"\nAnatomy plot: {chosen.plot}")
    return 0


def timing_table(reply: nb.Reply) -> str:
    """The numbers of one reply, each with its unit and formula, as lines for a terminal."""
    known = nb.metrics.measure(reply.recording)
    lines = [f"{'metric':20}{'value':>12}  {'unit':9} formula"]
    for name, value in known.items():
        shown = "-" if value is None else f"{value:,.4f}" if isinstance(value, float) else f"{value:,}"
        metric = nb.metrics.METRICS[name]
        lines.append(f"{name:20}{shown:>12}  {metric.unit:9} {metric.formula}")
    return "\n".join(lines)
