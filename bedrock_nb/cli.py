"""The command line: ``bedrock-nb lab | serve | stream``.

Strategy: each command is a few lines round a public function, with the same names for the same things. What
went wrong is said in plain sentences on standard error, with exit status 1; argparse's own is 2.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from functools import reduce
from operator import or_
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

import bedrock_nb as nb
from bedrock_nb.errors import BedrockNbError, RequestError
from bedrock_nb.request import DEFAULT_MODEL
from bedrock_nb.server import Latency, faults

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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bedrock-nb", description="See every token arrive: Amazon Bedrock's streaming API, in notebooks."
    )
    parser.add_argument("--version", action="version", version=f"bedrock-nb {nb.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    lab = commands.add_parser("lab", help="open JupyterLab on the lessons, the embedded Bedrock running")
    lab.add_argument("folder", nargs="?", help="the lessons (default: notebooks)")
    lab.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    lab.set_defaults(run=_lab)

    serve = commands.add_parser("serve", help="run the embedded Bedrock until it is interrupted")
    serve.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    serve.add_argument("--port", type=int, default=8080, help="0 takes any free port (default: %(default)s)")
    law = Latency()
    serve.add_argument(
        "--ttft", type=float, default=law.ttft, help="seconds to the first token (default: %(default)s)"
    )
    serve.add_argument(
        "--per-token",
        type=float,
        default=law.per_token,
        help="seconds for each token after it (default: %(default)s)",
    )
    serve.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[:ARG=VALUE,...]",
        help=f"spoil every reply, as in cut:after=10; more than one are joined ({', '.join(faults.FAULTS)})",
    )
    serve.set_defaults(run=_serve)

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
    return parser


def _lab(chosen: argparse.Namespace) -> int:
    from bedrock_nb.lab import lab

    return lab(chosen.folder, browser=False if chosen.no_browser else None)


def _serve(chosen: argparse.Namespace) -> int:
    from bedrock_nb.server.process import serve

    fault = reduce(or_, map(faults.parse, chosen.fault)) if chosen.fault else None
    serve(chosen.host, chosen.port, Latency(chosen.ttft, chosen.per_token), faults=fault)
    return 0


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
            _draw(reply, chosen.plot)
            print(f"\nAnatomy plot: {chosen.plot}")
    return 0


def _draw(reply: nb.Reply, path: Path) -> None:
    figure = nb.plot.anatomy(reply).get_figure(root=True)
    assert figure is not None  # anatomy made it
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as err:
        why = err.strerror if isinstance(err, OSError) else err
        raise RequestError(
            f"The plot cannot be written to {path.name!r}: {why}.",
            remedy="Give a file in a folder that exists, as .png, .svg or .pdf.",
        ) from err


def timing_table(reply: nb.Reply) -> str:
    """The numbers of one reply, each with its unit and formula, as lines for a terminal."""
    known = nb.metrics.measure(reply.recording)
    lines = [f"{'metric':20}{'value':>12}  {'unit':9} formula"]
    for name, value in known.items():
        shown = "-" if value is None else f"{value:,.4f}" if isinstance(value, float) else f"{value:,}"
        metric = nb.metrics.METRICS[name]
        lines.append(f"{name:20}{shown:>12}  {metric.unit:9} {metric.formula}")
    return "\n".join(lines)
