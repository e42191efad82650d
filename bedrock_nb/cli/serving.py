"""``bedrock-nb serve``: the embedded server by hand, for one or for a classroom.

Strategy: the options say what the arguments of `server.serve` are; it does everything.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bedrock_nb as nb
from bedrock_nb import server
from bedrock_nb.errors import RequestError
from bedrock_nb.server import Latency, faults
from bedrock_nb.server.cassette import MODES
from bedrock_nb.server.classroom import LIMITS, Classroom, names_of
from bedrock_nb.server.fault import parse_all
from bedrock_nb.server.guardrail import DEFAULT

__all__ = ["add"]

#: Of a classroom's server: the students' terminals know it from the last lesson.
_PORT = 8080
_SEATS = "seats.csv"


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    serve = commands.add_parser(
        "serve",
        help="run the embedded Bedrock until it is interrupted",
        description="Run the embedded Bedrock on this machine: for boto3 and any other AWS SDK.",
    )
    serve.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    serve.add_argument(
        "--port", type=int, help=f"0 takes any free port (default: 0; for a classroom {_PORT})"
    )
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
    room = serve.add_argument_group(
        "a classroom", "a seat for each student, with keys and limits of its own, and a page for the teacher"
    )
    room.add_argument(
        "--classroom", metavar="N|FILE", help="a number of students, or a file with a name a line"
    )
    room.add_argument(
        "--seats", type=Path, metavar="FILE", help=f"names and keys, read and written (default: {_SEATS})"
    )
    room.add_argument(
        "--per-student",
        metavar="NAME=VALUE,...",
        help=f"limits of each student: {', '.join(LIMITS)}; none or 0 is no limit "
        f"(default: {Classroom(1).said})",
    )
    serve.set_defaults(run=_serve)


def _serve(chosen: argparse.Namespace) -> int:
    from bedrock_nb.server.process import serve

    classroom = _classroom(chosen)
    port = chosen.port if chosen.port is not None else 0 if classroom is None else _PORT
    serve(
        chosen.host,
        port,
        _law(chosen),
        responder=_responder(chosen),
        faults=parse_all(chosen.fault),
        guardrails=[_guardrail(text) for text in chosen.guardrail] or [DEFAULT],
        classroom=classroom,
    )
    return 0


def _classroom(chosen: argparse.Namespace) -> Classroom | None:
    """Who may ask, as the options say; None: everybody."""
    if chosen.classroom is None:
        for option in ("seats", "per_student"):
            if getattr(chosen, option) is not None:
                named = option.replace("_", "-")
                raise RequestError(f"--{named} means nothing without --classroom.", remedy="Give both.")
        return None
    limits: dict[str, Any] = {}
    for part in (chosen.per_student or "").split(","):
        name, _, value = part.partition("=")
        name = name.strip().replace("-", "_")
        if part.strip() and name not in LIMITS:
            raise RequestError(
                f"--per-student {part.strip()!r} names no limit.", remedy=f"There are {', '.join(LIMITS)}."
            )
        if part.strip():
            limits[name] = None if value.strip().lower() == "none" else _number(value.strip())
    return Classroom(names_of(chosen.classroom), seats=chosen.seats or Path(_SEATS), **limits)


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
