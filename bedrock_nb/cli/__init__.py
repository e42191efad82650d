"""The command line: ``bedrock-nb lab | serve | stream``; those that analyse are in `analysing`,
those that ask more than once in `experimenting`.

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
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

import bedrock_nb as nb
from bedrock_nb import server
from bedrock_nb.cli import analysing, experimenting
from bedrock_nb.errors import BedrockNbError, RequestError
from bedrock_nb.request import DEFAULT_MODEL
from bedrock_nb.server import Latency, faults
from bedrock_nb.server.cassette import MODES
from bedrock_nb.server.fault import parse_all
from bedrock_nb.server.guardrail import DEFAULT

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
    lab.add_argument("folder", nargs="?", help="the lessons (default: notebooks)")
    lab.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    lab.set_defaults(run=_lab)

    _serve_arguments(
        commands.add_parser(
            "serve",
            help="run the embedded Bedrock until it is interrupted",
            description="Run the embedded Bedrock on this machine: for boto3 and any other AWS SDK.",
        )
    )

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

    experimenting.add(commands)
    analysing.add(commands)
    return parser


def _serve_arguments(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    serve.add_argument("--port", type=int, default=0, help="0 takes any free port (default: %(default)s)")
    law = serve.add_argument_group("when answers come")
    default = Latency()
    law.add_argument(
        "--ttft", type=float, default=default.ttft, help="seconds to the first token (default: %(default)s)"
    )
    law.add_argument(
        "--per-token",
        type=float,
        default=default.per_token,
        help="seconds for each token after it (default: %(default)s)",
    )
    names = ", ".join(f.name for f in fields(Latency) if f.name not in ("ttft", "per_token"))
    law.add_argument(
        "--law",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"any other number of the latency law ({names}); may be given more than once",
    )
    said = serve.add_argument_group("what answers say", "by default prepared answers, whatever the model id")
    said.add_argument("--responder", choices=sorted(_RESPONDERS), help="who answers every request")
    said.add_argument("--openai", metavar="URL", help="forward to an OpenAI-compatible server (…/v1)")
    said.add_argument("--openai-model", metavar="NAME", help="the model to ask for there")
    said.add_argument(
        "--upstream", metavar="TARGET", help="forward to Bedrock: aws, or the URL of another server"
    )
    said.add_argument("--cassette", type=Path, metavar="FOLDER", help="replay the recordings in a folder")
    said.add_argument(
        "--record",
        type=Path,
        metavar="FOLDER",
        help="the same, and what is not there is asked of AWS (or --upstream, --openai) and recorded",
    )
    said.add_argument(
        "--mode", choices=MODES, help="of the cassette (default: none; with --record new_episodes)"
    )
    said.add_argument("--speed", type=float, help="of the cassette (default: 1)")
    said.add_argument("--exact", action="store_true", help="replay the very bytes that were recorded")
    said.add_argument(
        "--guardrail",
        action="append",
        default=[],
        metavar="ID=WORD,WORD",
        help="a guardrail that requests may name; may be given more than once",
    )
    wrong = serve.add_argument_group("what goes wrong")
    wrong.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[:ARG=VALUE,...]",
        help=f"spoil every reply, as in cut:after=10; more than one are joined ({', '.join(faults.FAULTS)})",
    )
    serve.set_defaults(run=_serve)


def _lab(chosen: argparse.Namespace) -> int:
    from bedrock_nb.lab import lab

    return lab(chosen.folder, browser=False if chosen.no_browser else None)


def _serve(chosen: argparse.Namespace) -> int:
    from bedrock_nb.server.process import serve

    serve(
        chosen.host,
        chosen.port,
        _law(chosen),
        responder=_responder(chosen),
        faults=parse_all(chosen.fault),
        guardrails=[_guardrail(text) for text in chosen.guardrail] or [DEFAULT],
    )
    return 0


#: Name on the command line -> responder.
_RESPONDERS: dict[str, server.Responder] = {
    "canned": server.canned,
    "drawing": server.drawing,
    "echo": server.echo,
    "embedded": server.embedded,
    "ngram": server.ngram(),
}


def _law(chosen: argparse.Namespace) -> Latency:
    """The latency law that the options state."""
    numbers: dict[str, Any] = {"ttft": chosen.ttft, "per_token": chosen.per_token}
    known = {f.name for f in fields(Latency)}
    for text in chosen.law:
        name, _, value = text.partition("=")
        name = name.replace("-", "_")
        if name not in known:
            raise RequestError(
                f"--law {text!r} names no number of the law.", remedy=f"There are {', '.join(sorted(known))}."
            )
        numbers[name] = _number(value)
    return Latency(**numbers)


def _number(text: str) -> int | float | str:
    """A number; what is none is refused by who takes it."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


#: Option -> those of which it needs one.
_TOGETHER = {
    "mode": ("cassette", "record"),
    "exact": ("cassette", "record"),
    "speed": ("cassette", "record"),
    "openai_model": ("openai",),
}


def _responder(chosen: argparse.Namespace) -> server.Responder:
    """Who answers, as the options say."""
    given = [name for name in ("responder", "openai", "upstream") if getattr(chosen, name) is not None]
    if len(given) > 1:
        both = " and ".join(f"--{name}" for name in given)
        raise RequestError(f"{both} each say who answers.", remedy="Give one of them.")
    for option, needed in _TOGETHER.items():
        is_given = getattr(chosen, option) not in (None, False)
        if is_given and all(getattr(chosen, name) is None for name in needed):
            wanted = " or ".join(f"--{name}" for name in needed)
            named = option.replace("_", "-")
            raise RequestError(f"--{named} means nothing without {wanted}.", remedy="Give both.")
    if chosen.record and chosen.cassette:
        raise RequestError("--record and --cassette both name a folder.", remedy="Give one of them.")
    asked = _asked(chosen)
    folder = chosen.record or chosen.cassette
    if folder is None:
        return asked or server.embedded
    mode = chosen.mode or ("new_episodes" if chosen.record else "none")
    if mode == "none" and given:
        raise RequestError(
            f"A cassette in mode none asks nobody, so --{given[0]} means nothing.",
            remedy="Give --record in place of --cassette, or another --mode.",
        )
    if chosen.record and asked is None:
        client = nb.connect("aws", verbose=False)
        endpoint = client.meta.endpoint_url
        if (urlsplit(endpoint).hostname or "") in ("127.0.0.1", "localhost", "::1"):
            raise RequestError(
                f"--record would ask {endpoint} and not AWS: the environment names it.",
                remedy="Use a terminal without AWS_ENDPOINT_URL_BEDROCK_RUNTIME, or say --upstream URL.",
            )
        print(f"Recording into {folder}; what is not there is asked of {endpoint}.")
        asked = server.bedrock(client)
    return server.Cassette(
        folder, mode, then=asked, speed=1.0 if chosen.speed is None else chosen.speed, exact=chosen.exact
    )


def _asked(chosen: argparse.Namespace) -> server.Responder | None:
    if chosen.openai is not None:
        return server.openai(chosen.openai, model=chosen.openai_model)
    if chosen.upstream is not None:
        return server.bedrock(nb.connect(chosen.upstream, verbose=False))
    return None if chosen.responder is None else _RESPONDERS[chosen.responder]


def _guardrail(text: str) -> server.Guardrail:
    name, _, words = text.partition("=")
    listed = tuple(word.strip() for word in words.split(",") if word.strip())
    if not listed:
        raise RequestError(f"--guardrail {text!r} has no words.", remedy="Give ID=WORD,WORD.")
    return server.Guardrail(name, listed)


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
