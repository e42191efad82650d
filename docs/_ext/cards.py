"""A section for each exception: when it happens, what is kept, what to try, who catches it, and code that
raises it.

Strategy: nothing here is written down twice. The code of a card is run while the site is built, against an
embedded server that misbehaves, and the exception that comes tells the rest. A card whose code raises
another exception, or none, fails the build.
"""

from __future__ import annotations

import inspect
import logging
import textwrap
from functools import cache
from typing import Any

from botocore.exceptions import BotoCoreError, HTTPClientError
from urllib3.exceptions import HTTPError, PoolError

from _ext.tables import table as as_table
from bedrock_nb import errors
from bedrock_nb.errors import BedrockNbError, RefusedError, StreamError

#: Each example begins so.
SET_UP = "import bedrock_nb as nb\nfrom bedrock_nb.server import BedrockServer, Latency, faults\n"

#: Exception -> what goes wrong on the server, and what the caller sets besides.
FAULTY: dict[str, tuple[str, str]] = {
    "FrameError": ("faults.bad_crc(after=5)", ""),
    "IncompleteStreamError": ("faults.end(after=5)", ""),
    "PayloadError": ("faults.bad_json(after=5)", ""),
    "ConnectionLost": ("faults.reset(after=5)", ""),
    "FirstEventTimeout": ("faults.no_head()", "first_event_timeout=0.2"),
    "IdleTimeout": ("faults.stall(after=5)", "idle_timeout=0.2"),
    "TotalTimeout": ("faults.drip(after=5)", "total_timeout=0.5"),
    "InternalServerFault": ('faults.exception("internalServerException", after=5)', ""),
    "ModelStreamFault": ('faults.exception("modelStreamErrorException", after=5)', ""),
    "ValidationFault": ('faults.exception("validationException", after=5)', ""),
    "ThrottlingFault": ('faults.exception("throttlingException", after=5)', ""),
    "ServiceUnavailableFault": ('faults.exception("serviceUnavailableException", after=5)', ""),
    "UnmodelledFault": ('faults.exception("brandNewException", after=5)', ""),
    "ValidationError": ("faults.refuse(400)", ""),
    "ServiceQuotaExceededError": ('faults.refuse(400, "ServiceQuotaExceededException")', ""),
    "AccessDeniedError": ("faults.refuse(403)", ""),
    "ResourceNotFoundError": ("faults.refuse(404)", ""),
    "ModelTimeoutError": ("faults.refuse(408)", ""),
    "ModelError": ("faults.refuse(424)", ""),
    "ThrottlingError": ("faults.refuse(429)", ""),
    "ModelNotReadyError": ('faults.refuse(429, "ModelNotReadyException")', ""),
    "InternalServerError": ("faults.refuse(500)", ""),
    "ServiceUnavailableError": ("faults.refuse(503)", ""),
}

#: Exception -> code that raises it, where no fault of the server does.
OTHERS: dict[str, str] = {
    "RequestError": """
client = nb.connect("local", verbose=False)
nb.stream(client, "Hello", temprature=0)
""",
    "CapabilityError": """
client = nb.connect("local", verbose=False)
picture = nb.image(b"\\x89PNG\\r\\n\\x1a\\n")
nb.stream(client, [picture, {"text": "What is this?"}], model=nb.models.nova_micro)
""",
    "ContextWindowError": """
chat = nb.Conversation(nb.connect("local", verbose=False), context_tokens=50)
chat.send("word " * 1000)
""",
    "LoopLimitError": """
@nb.tool
def look() -> str:
    "Look whether it is done."
    return "Not yet."

client = nb.connect("local", verbose=False)
chat = nb.Conversation(client, tools=[look], limits=nb.Limits(rounds=1))
chat.send("Use the tool look.")
""",
    "RecordingError": 'nb.Recording.load("no-such-file.jsonl")',
    "ServerError": """
with BedrockServer() as server:
    client = server.client()
nb.stream(client, "Hello").text  # the server has gone
""",
    "StructuredOutputError": """
from bedrock_nb.server import scripted

model = nb.models.claude_sonnet_4_5
schema = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
with BedrockServer(scripted("Paris, of course.")) as server:
    nb.stream(server.client(), "The capital of France?", model=model, schema=schema).parsed
""",
    "ToolInputError": """
@nb.tool
def forecast(city: str, days: int) -> str:
    "The weather of the next days."
    return "Sunny."

forecast.arguments({"city": "Paris", "days": "many"})
""",
    "StreamStalled": """
from botocore.config import Config

with BedrockServer(latency=Latency.none(), faults=faults.stall(after=5)) as server:
    client = server.client(config=Config(read_timeout=0.2))
    nb.stream(client, "Tell me about rainbows").text
""",
    "ConnectionFailed": """
import boto3
from botocore.config import Config

nobody = Config(proxies={"https": "http://127.0.0.1:9"}, retries={"total_max_attempts": 1})
keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
client = boto3.client("bedrock-runtime", region_name="us-east-1", config=nobody, **keys)
nb.stream(client, "Hello").text
""",
}

#: Exceptions without an example, and why.
UNSHOWN: dict[str, str] = {
    "BedrockNbError": "the root: what is raised is always one below it",
    "StreamError": "as the root",
    "StreamTimeout": "as the root",
    "ServiceError": "as the root",
    "ServiceFault": "as the root",
    "RefusedError": "only for a status that the service does not have",
    "CredentialsError": "whether there are credentials depends on the machine",
    "LessonError": "only commands for teachers raise it",
    "ToolError": "a tool raises it, and the model is told",
}


#: Classes that catch so much that to name them says nothing; modules whose classes nobody catches.
_ROOTS = (object, BaseException, Exception, OSError, BotoCoreError, HTTPClientError, HTTPError, PoolError)
_UNSAID = ("bedrock_nb", "botocore.vendored", "botocore.errorfactory")


def _silent(record: logging.LogRecord) -> bool:
    """Calls that fail on purpose are nothing to log."""
    return False


def code(name: str) -> str:
    """The code of a card; without the lines that all have in common."""
    if name in OTHERS:
        return OTHERS[name].strip()
    fault, limit = FAULTY[name]
    asked = f'nb.stream(server.client(), "Tell me about rainbows"{", " + limit if limit else ""}).text'
    return (
        f"fault = {fault}\nwith BedrockServer(latency=Latency.none(), faults=fault) as server:\n    {asked}"
    )


@cache
def happened(name: str) -> BedrockNbError:
    """The exception that the code of a card raises."""
    logging.getLogger("bedrock_nb.audit").addFilter(_silent)
    try:
        exec(compile(SET_UP + code(name), f"<card of {name}>", "exec"), {})
    except BedrockNbError as err:
        if type(err).__name__ != name:
            raise AssertionError(f"The example of {name} raises {type(err).__name__}: {err}") from err
        err.__traceback__ = None
        return err
    finally:
        logging.getLogger("bedrock_nb.audit").removeFilter(_silent)
    raise AssertionError(f"The example of {name} raises nothing.")


def kinds() -> list[type[BedrockNbError]]:
    """Every exception, in the order of the tree: a class, then those below it."""

    def below(kind: type[BedrockNbError]) -> list[type[BedrockNbError]]:
        known = [one for one in kind.__subclasses__() if getattr(errors, one.__name__, None) is one]
        return [kind, *(deeper for one in known for deeper in below(one))]

    return list(dict.fromkeys(below(BedrockNbError)))


def also_caught_as(kind: type[BedrockNbError]) -> list[str]:
    """The classes of Python, botocore and urllib3 that catch it, too; none that catches everything."""
    return [
        base.__name__ if base.__module__ == "builtins" else f"{base.__module__}.{base.__name__}"
        for base in kind.__mro__
        if not base.__module__.startswith(_UNSAID) and base not in _ROOTS
    ]


def every(_: str = "") -> str:
    """Markdown: a section for each exception that has an example."""
    return "\n\n".join(_card(kind) for kind in kinds() if kind.__name__ not in UNSHOWN)


def _card(kind: type[BedrockNbError]) -> str:
    name = kind.__name__
    error = happened(name)
    caught = also_caught_as(kind)
    if isinstance(error, RefusedError):
        caught.append(f"client.exceptions.{error.code}")
    facts = [
        ("It says", error.what),
        ("Kept", error.kept),
        ("Try", error.remedy),
        ("Again?", _again(error)),
        ("Also caught as", ", ".join(f"`{one}`" for one in caught)),
    ]
    rows = "\n".join(f"**{head}**\n: {text}\n" for head, text in facts if text)
    when = (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("``", "`")
    return f"### {name}\n\n{textwrap.fill(when, 110)}\n\n{rows}\n```python\n{SET_UP}\n{code(name)}\n```"


def _again(error: BedrockNbError) -> str:
    if not isinstance(error, StreamError):
        return ""
    return "the same request may work a little later" if error.retryable else "not without a change"


def table(_: str = "") -> str:
    """Markdown: the tree of exceptions in one table, each with whether the same request may work again."""
    rows = [
        (_link(kind), (inspect.getdoc(kind) or "").partition("\n")[0].replace("``", "`"), _later(kind))
        for kind in kinds()
    ]
    return as_table(("exception", "when", "again?"), rows)


def _link(kind: type[BedrockNbError]) -> str:
    name = kind.__name__
    depth = "&emsp;" * (_depth(kind) - 1)
    return f"{depth}[{name}](#{name.lower()})" if name not in UNSHOWN else f"{depth}`{name}`"


def _depth(kind: type[Any]) -> int:
    """How far below the root it stands."""
    return (
        0
        if kind is BedrockNbError
        else 1 + min(_depth(b) for b in kind.__bases__ if issubclass(b, BedrockNbError))
    )


def _later(kind: type[BedrockNbError]) -> str:
    return "yes" if getattr(kind, "retryable", False) else ""
