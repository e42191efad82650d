"""Every exception of this package, in one tree.

    BedrockNbError
    ├── RequestError            (ValueError)             an argument that cannot work
    │   └── CapabilityError                              something that the model cannot do
    │   └── ContextWindowError                           the conversation is longer than the model reads
    ├── LoopLimitError          (RuntimeError)           a limit ended the tool loop of a conversation
    ├── RecordingError          (ValueError)             a file that is not a recording we can read
    ├── LessonError             (ValueError)             a notebook that is no lesson, or does not run
    ├── CredentialsError        (NoCredentialsError)     no AWS credentials were found
    ├── ServerError             (RuntimeError)           the embedded or an MCP server did not start, or went
    ├── StructuredOutputError   (ValueError)             an answer that is not the JSON that was asked for
    ├── ToolError                                        what a tool tells the model that went wrong
    │   └── ToolInputError      (ValueError)             arguments that do not fit the tool
    └── StreamError                                      a reply that did not end well; carries ``.reply``
        ├── FrameError          (botocore ParserError)   bytes that break AWS event-stream framing
        ├── IncompleteStreamError                        the body ended before ``messageStop``
        ├── PayloadError                                 a sound frame whose payload is not what it must be
        ├── ConnectionFailed    (botocore ConnectionError)  there never was a connection
        ├── ConnectionLost      (urllib3 ProtocolError, botocore ConnectionClosedError)  it broke
        ├── StreamTimeout       (TimeoutError, botocore ReadTimeoutError, urllib3 ReadTimeoutError)
        │   ├── FirstEventTimeout                        no event within ``first_event_timeout``
        │   ├── IdleTimeout                              no whole event for ``idle_timeout``
        │   ├── TotalTimeout                             not at its end within ``total_timeout``
        │   └── StreamStalled                            nothing came for the client's own read timeout
        └── ServiceError        (botocore ClientError)   the service said so
            ├── ServiceFault    (botocore EventStreamError)  in the stream
            │   ├── InternalServerFault
            │   ├── ModelStreamFault                     with ``original_status_code``, ``original_message``
            │   ├── ValidationFault
            │   ├── ThrottlingFault
            │   ├── ServiceUnavailableFault
            │   └── UnmodelledFault                      an exception this service model does not name
            └── RefusedError                             in place of a stream, with an HTTP status
                ├── ValidationError                      400: not a request that this model takes
                ├── ServiceQuotaExceededError            400: the account's quota is used up
                ├── AccessDeniedError                    403: these credentials may not
                ├── ResourceNotFoundError                404: no such model, profile or guardrail
                ├── ModelTimeoutError                    408: the model took longer than the service waits
                ├── ModelError                           424: the model failed on this request
                ├── ThrottlingError                      429: too many requests or tokens
                ├── ModelNotReadyError                   429: the model is being loaded
                ├── InternalServerError                  500: a fault inside the service
                └── ServiceUnavailableError              503: no room just now

Strategy: a message is a small lesson of up to three sentences: what happened (``what``), what is kept
(``kept``) and what to try (``remedy``). Whoever catches botocore's or urllib3's own class for a case
today catches ours too: statically where there is one such class, and by `also` where there are many
(a client's own ``exceptions.ThrottlingException``). What the service may say is two tables from its name
for it to a class, `FAULTS` in a stream and `REFUSALS` in place of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import botocore.exceptions
from botocore.eventstream import ParserError
from botocore.exceptions import ClientError, ConnectionClosedError, EventStreamError, NoCredentialsError
from urllib3.exceptions import ProtocolError, ReadTimeoutError

__all__ = [
    "FAULTS",
    "REFUSALS",
    "AccessDeniedError",
    "BedrockNbError",
    "CapabilityError",
    "ConnectionFailed",
    "ConnectionLost",
    "ContextWindowError",
    "CredentialsError",
    "FirstEventTimeout",
    "FrameError",
    "IdleTimeout",
    "IncompleteStreamError",
    "InternalServerError",
    "InternalServerFault",
    "LessonError",
    "LoopLimitError",
    "ModelError",
    "ModelNotReadyError",
    "ModelStreamFault",
    "ModelTimeoutError",
    "PayloadError",
    "RecordingError",
    "RefusedError",
    "RequestError",
    "ResourceNotFoundError",
    "ServerError",
    "ServiceError",
    "ServiceFault",
    "ServiceQuotaExceededError",
    "ServiceUnavailableError",
    "ServiceUnavailableFault",
    "StreamError",
    "StreamStalled",
    "StreamTimeout",
    "StructuredOutputError",
    "ThrottlingError",
    "ThrottlingFault",
    "ToolError",
    "ToolInputError",
    "TotalTimeout",
    "UnmodelledFault",
    "ValidationError",
    "ValidationFault",
    "also",
    "close",
    "fault_from_wire",
    "fault_to_wire",
    "kind_of",
    "refused",
    "service_fault",
    "without_accounts",
]


class BedrockNbError(Exception):
    """The root of the tree.

    Parameters
    ----------
    what : str
        What happened, in a plain sentence.
    kept : str
        What the user still has; empty where nothing was at stake.
    remedy : str
        What to try next.
    """

    def __init__(self, what: str, *, kept: str = "", remedy: str = "") -> None:
        self.what, self.kept, self.remedy = what, kept, remedy
        self.args = (what,)

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.kept, self.remedy) if part)

    def __reduce__(self) -> tuple[Any, ...]:
        # What botocore and urllib3 would do calls a constructor with arguments that ours does not take.
        # A reply holds a connection: it does not travel to another process.
        state = {name: value for name, value in self.__dict__.items() if name not in ("reply", "original")}
        return _blank, (_named(type(self)), self.args), state

    def __copy__(self) -> BedrockNbError:
        twin = _blank(type(self), self.args)
        twin.__dict__.update(self.__dict__)
        return twin


def _blank(kind: type[BedrockNbError], args: tuple[Any, ...]) -> BedrockNbError:
    """An error before its constructor ran, for a copy to fill."""
    error: BedrockNbError = kind.__new__(kind, *args)
    error.args = args
    return error


Kind = TypeVar("Kind", bound="BedrockNbError")
_JOINED: dict[tuple[type, type], Any] = {}


def also(kind: type[Kind], other: type[BaseException]) -> type[Kind]:
    """A class of ours that is caught as somebody else's, too; ``kind`` itself where it is already."""
    if issubclass(kind, other):
        return kind
    if (kind, other) not in _JOINED:
        members = {"__module__": __name__, "__doc__": kind.__doc__}
        _JOINED[kind, other] = type(kind.__name__, (kind, other), members)
    joined: type[Kind] = _JOINED[kind, other]
    return joined


def _named(kind: type[BedrockNbError]) -> type[BedrockNbError]:
    """The class that this module has under its name: what `also` made cannot be found by another process."""
    named: type[BedrockNbError] = next(k for k in kind.__mro__ if globals().get(k.__name__) is k)
    return named


class RequestError(BedrockNbError, ValueError):
    """An argument that cannot work: what was given, what is wanted."""


class ContextWindowError(RequestError):
    """The conversation would not fit into the model's context window; nothing was sent.

    Attributes
    ----------
    tokens : int
        About how many it has, with room for the answer.
    window : int
        How many the model reads.
    """

    tokens = 0
    window = 0


class LoopLimitError(BedrockNbError, RuntimeError):
    """A limit ended the tool loop of a conversation: the model asked for yet more.

    Attributes
    ----------
    limit : str
        ``rounds``, ``seconds`` or ``tokens``.
    told : str
        What the model is told of its calls that were given up.
    """

    limit = told = ""


class CapabilityError(RequestError):
    """A request needs something that the model cannot do; nothing was sent.

    Attributes
    ----------
    model : str
        The model, as the request names it, without account numbers.
    capability : str
        The first thing that it cannot: an ability or a limit, in the names of `models.capabilities`.
    """

    def __init__(
        self, what: str, *, kept: str = "", remedy: str = "", model: str = "", capability: str = ""
    ) -> None:
        super().__init__(what, kept=kept, remedy=remedy)
        self.model, self.capability = model, capability


class RecordingError(BedrockNbError, ValueError):
    """A file or an object that is not a recording this version can read."""


class LessonError(BedrockNbError, ValueError):
    """A notebook that cannot be read, is no lesson, or does not run as one."""


class CredentialsError(BedrockNbError, NoCredentialsError):
    """boto3 found no AWS credentials."""


class ServerError(BedrockNbError, RuntimeError):
    """The embedded Bedrock server, or an MCP server, could not start or has gone away."""


class ToolError(BedrockNbError):
    """What went wrong in a tool, in words for the model: a tool's function may raise it."""


class ToolInputError(ToolError, ValueError):
    """Arguments that do not fit the tool: the model is told what is wrong and may call again.

    Attributes
    ----------
    problems : tuple of str
        One sentence for each thing that is wrong, such as ``"unit: Input should be 'C' or 'F' (got 'K')"``.
    """

    problems: tuple[str, ...] = ()


class StructuredOutputError(BedrockNbError, ValueError):
    """An answer that is not the JSON that was asked for.

    Attributes
    ----------
    text : str
        The answer as it came.
    errors : list of dict
        What pydantic has against it: ``loc``, ``msg``, ``type``; empty if no type was given.
    reply : Reply or None
        The reply. A pickled error has none.
    """

    text = ""
    errors: Sequence[dict[str, Any]] = ()
    reply: Any = None


class StreamError(BedrockNbError):
    """A reply that did not end well.

    Attributes
    ----------
    reply : Reply or None
        The reply with everything that arrived: ``.snapshot`` is the partial message, ``.recording``
        the events with their times, ``.envelope`` the request id. A pickled error has none.
    original : Exception or None
        What boto3, urllib3 or the socket raised, if one of them did; also the ``__cause__``, unless
        provider detail is masked.
    retryable : bool
        Whether the same request may work a little later.
    """

    reply: Any = None
    original: BaseException | None = None
    retryable = False

    @property
    def request_id(self) -> str:
        """The service's id of the request, for its support; empty if none came."""
        return str(self.reply.envelope.get("request_id", "")) if self.reply is not None else ""

    def mask(self) -> None:
        """Say it for those who need no detail of the provider; what was masked is in the attributes."""
        self.__cause__ = None
        self.__suppress_context__ = True


_DAMAGED = "Ask again; if it happens often, something between here and the service changes bytes."


class FrameError(StreamError, ParserError):
    """Bytes that break AWS event-stream framing.

    Attributes
    ----------
    code : str
        The rule that was broken: ``prelude_checksum``, ``truncated``, ``duplicate_header`` …
    offset : int
        Where the broken frame begins, in bytes from the start of the stream.
    frames : list of Frame
        The whole frames that came before it in the same call; none is lost.
    """

    code = ""
    offset = 0
    retryable = True

    def __init__(self, code: str, what: str, *, offset: int, frames: list[Any] | None = None) -> None:
        super().__init__(f"{what} (frame at byte {offset}; rule: {code}).", remedy=_DAMAGED)
        self.code, self.offset = code, offset
        self.frames = frames if frames is not None else []


class IncompleteStreamError(StreamError):
    """The response body ended, in good order or inside a frame, before ``messageStop``."""

    retryable = True


class PayloadError(StreamError):
    """A frame whose checksums are right and whose payload is not what its event type demands."""

    retryable = True


class ConnectionFailed(StreamError, botocore.exceptions.ConnectionError):
    """No connection to the service came about: name, network, proxy, certificate."""

    retryable = True


class ConnectionLost(StreamError, ProtocolError, ConnectionClosedError):
    """The connection broke, before the answer or in the middle of it."""

    retryable = True


class StreamTimeout(StreamError, TimeoutError, botocore.exceptions.ReadTimeoutError, ReadTimeoutError):
    """A time limit was reached. A subclass says which.

    Attributes
    ----------
    limit_s : float or None
        The limit, seconds.
    """

    limit_s: float | None = None
    retryable = True


class FirstEventTimeout(StreamTimeout):
    """No event came within ``first_event_timeout`` of the call."""


class IdleTimeout(StreamTimeout):
    """No whole event came for ``idle_timeout``; single bytes do not count."""


class TotalTimeout(StreamTimeout):
    """The reply was not at its end ``total_timeout`` after the call."""


class StreamStalled(StreamTimeout):
    """Nothing arrived for as long as the client's own read timeout."""


_ACCOUNT = re.compile(r"(?<!\d)\d{12}(?!\d)")


def without_accounts(value: Any) -> Any:
    """A text, or the texts in a dict, without the numbers of AWS accounts; anything else as it is."""
    if isinstance(value, Mapping):
        return {name: without_accounts(inner) for name, inner in value.items()}
    return _ACCOUNT.sub("************", value) if isinstance(value, str) else value


class ServiceError(StreamError, ClientError):
    """The service said why there is no reply, or no more of it.

    Attributes
    ----------
    code : str
        Bedrock's name for it, as on the wire: ``throttlingException`` …
    message : str
        Bedrock's own words.
    response : dict
        In botocore's shape, so that ``err.response["Error"]["Code"]`` works.
    """

    advice = "The same request may work in a moment."
    #: What is said where provider detail is masked.
    plain = "The service could not answer."

    def __init__(self, what: str, code: str, message: str) -> None:
        said = f"{what} {code or 'an exception that has no name'}"
        # No account's number in a traceback: notebooks are passed on. `response` has every word.
        said += f": {without_accounts(message)}" if message else ""
        StreamError.__init__(self, said if said.endswith((".", "!", "?")) else f"{said}.", remedy=self.advice)
        self.code, self.message = code, message
        self.fields: dict[str, Any] = {}
        self.response: Any = {"Error": {"Code": code, "Message": message}}
        self.operation_name = "ConverseStream"

    def mask(self) -> None:
        """Say it in words of ours alone."""
        super().mask()
        self.what = self.plain
        self.remedy = (
            "Try again in a moment." if self.retryable else "Tell whoever looks after this notebook."
        )
        self.args = (self.what,)


class ServiceFault(ServiceError, EventStreamError):
    """An exception frame: the service ended the reply and said why."""

    plain = "The service broke the answer off."

    def __init__(self, code: str, message: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__("Bedrock ended the reply with", code, message)
        self.fields = dict(fields or {})
        self.response = {**self.fields, **self.response}


class InternalServerFault(ServiceFault):
    """``internalServerException``: a fault inside the service."""

    retryable = True


class ModelStreamFault(ServiceFault):
    """``modelStreamErrorException``: the model itself failed while it was answering."""

    plain, retryable = "The model failed while it was answering.", True

    @property
    def original_status_code(self) -> int | None:
        """The status the model's own host gave, if any."""
        return self.fields.get("originalStatusCode")

    @property
    def original_message(self) -> str | None:
        """The words of the model's own host, if any."""
        return self.fields.get("originalMessage")


class ValidationFault(ServiceFault):
    """``validationException``: the request was found wrong after the answer had begun."""

    advice = "Change the request: the message says which part Bedrock refuses."
    plain = "The service does not accept this request."


_LESS = "Wait a little, send fewer requests at once, or ask AWS for a larger quota."


class ThrottlingFault(ServiceFault):
    """``throttlingException``: too many requests or tokens for this account just now."""

    advice, plain, retryable = _LESS, "Too many requests just now.", True


class ServiceUnavailableFault(ServiceFault):
    """``serviceUnavailableException``: the service or the model has no room just now."""

    plain, retryable = "The service has no room just now.", True


class UnmodelledFault(ServiceFault):
    """An exception or error frame whose name the service model does not have."""

    advice = "Its name is new to this version: AWS's documentation of ConverseStream may know it."


#: In-stream exceptions by their name on the wire (members of ConverseStreamOutput).
FAULTS: dict[str, type[ServiceFault]] = {
    "internalServerException": InternalServerFault,
    "modelStreamErrorException": ModelStreamFault,
    "validationException": ValidationFault,
    "throttlingException": ThrottlingFault,
    "serviceUnavailableException": ServiceUnavailableFault,
}


def service_fault(code: str, message: str, fields: Mapping[str, Any] | None = None) -> ServiceFault:
    """The exception for an in-stream exception frame, by its wire name."""
    return FAULTS.get(code, UnmodelledFault)(code, message, fields)


class RefusedError(ServiceError):
    """An HTTP error: the service refused the request before it answered anything.

    Attributes
    ----------
    status_code : int
        HTTP status.
    """

    def __init__(
        self, code: str, message: str, status_code: int, response: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"Bedrock refused the request ({status_code}) with", code, message)
        self.status_code = status_code
        if response is not None:
            self.response = dict(response)

    @property
    def request_id(self) -> str:
        """The service's id of the request, for its support; empty if none came."""
        return str(self.response.get("ResponseMetadata", {}).get("RequestId", ""))


class ValidationError(RefusedError):
    """400 ``ValidationException``: the request is not one that this model takes."""

    advice, plain = ValidationFault.advice, ValidationFault.plain


class ServiceQuotaExceededError(RefusedError):
    """400 ``ServiceQuotaExceededException``: the account's quota is used up."""

    advice = "Wait until the quota is renewed, or ask AWS for a larger one."
    plain = "The quota for this service is used up."


class AccessDeniedError(RefusedError):
    """403 ``AccessDeniedException``: these credentials may not, or the model is not enabled."""

    advice = (
        "Enable the model in the Bedrock console (Model access), or allow bedrock:InvokeModel and "
        "bedrock:InvokeModelWithResponseStream for this identity."
    )
    plain = "This account may not use the model."


class ResourceNotFoundError(RefusedError):
    """404 ``ResourceNotFoundException``: no such model, profile or guardrail in this region."""

    advice = "Check the model id and the region; some models need an inference profile such as us.…"
    plain = "There is no such model here."


class ModelTimeoutError(RefusedError):
    """408 ``ModelTimeoutException``: the model took longer than the service waits."""

    advice = "Ask for less at once, or try again."
    plain, retryable = "The model took too long.", True


class ModelError(RefusedError):
    """424 ``ModelErrorException``: the model failed on this request."""

    plain, retryable = ModelStreamFault.plain, True


class ThrottlingError(RefusedError):
    """429 ``ThrottlingException``: too many requests or tokens for this account just now."""

    advice, plain, retryable = _LESS, ThrottlingFault.plain, True


class ModelNotReadyError(RefusedError):
    """429 ``ModelNotReadyException``: the model is being loaded."""

    plain, retryable = "The model is being made ready.", True


class InternalServerError(RefusedError):
    """500 ``InternalServerException``: a fault inside the service."""

    retryable = True


class ServiceUnavailableError(RefusedError):
    """503 ``ServiceUnavailableException``: the service or the model has no room just now."""

    plain, retryable = ServiceUnavailableFault.plain, True


#: HTTP errors by the service's name for them (errors of ConverseStream).
REFUSALS: dict[str, type[RefusedError]] = {
    "ValidationException": ValidationError,
    "ServiceQuotaExceededException": ServiceQuotaExceededError,
    "AccessDeniedException": AccessDeniedError,
    "ResourceNotFoundException": ResourceNotFoundError,
    "ModelTimeoutException": ModelTimeoutError,
    "ModelErrorException": ModelError,
    "ThrottlingException": ThrottlingError,
    "ModelNotReadyException": ModelNotReadyError,
    "InternalServerException": InternalServerError,
    "ServiceUnavailableException": ServiceUnavailableError,
}
# A proxy or a gateway answers without Bedrock's names.
_BY_STATUS: dict[int, type[RefusedError]] = {
    400: ValidationError,
    403: AccessDeniedError,
    404: ResourceNotFoundError,
    408: ModelTimeoutError,
    424: ModelError,
    429: ThrottlingError,
    500: InternalServerError,
    503: ServiceUnavailableError,
}


def refused(err: ClientError) -> RefusedError:
    """The exception for an HTTP error that botocore raised; caught as botocore's own class, too."""
    response: Mapping[str, Any] = err.response
    said = response.get("Error", {})
    code, message = str(said.get("Code", "")), str(said.get("Message", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    kind = REFUSALS.get(code) or _BY_STATUS.get(status, RefusedError)
    error = also(kind, type(err))(code, message, status, response)
    error.operation_name = err.operation_name
    return error


# -- errors in a recording: the service's under their wire names, ours under the name "fault" ------


_SAID = ("kept", "remedy", "code", "offset", "status_code", "limit_s")


def fault_to_wire(error: StreamError) -> tuple[str, dict[str, Any]]:
    """The wire name and the JSON payload of what ended a reply; account numbers are left out."""
    if isinstance(error, ServiceFault):
        message, fields = without_accounts(error.message), without_accounts(error.fields)
        if error.code in FAULTS:
            return error.code, {**fields, "message": message}
        return "fault", {"code": error.code, "message": message, "fields": fields}
    message = error.message if isinstance(error, ServiceError) else error.what
    said = {name: getattr(error, name, None) for name in _SAID}
    return "fault", {
        "error": _named(type(error)).__name__,
        "message": without_accounts(message),
        **{name: value for name, value in said.items() if value not in (None, "")},
    }


def fault_from_wire(wire: str, payload: Any) -> StreamError | None:
    """Read back what `fault_to_wire` wrote; None if ``wire`` names no fault."""
    if type(payload) is not dict or (wire not in FAULTS and wire != "fault"):
        return None
    rest = dict(payload)
    message = str(rest.pop("message", ""))
    if wire in FAULTS:
        return service_fault(wire, message, rest)
    code, fields = str(rest.get("code", "")), rest.get("fields")
    if "error" not in rest:
        return service_fault(code, message, fields if type(fields) is dict else None)
    kind: Any = globals().get(str(rest["error"]))
    if not (isinstance(kind, type) and issubclass(kind, StreamError)):
        kind = StreamError
    if issubclass(kind, ServiceError) and not issubclass(kind, RefusedError):
        kind = StreamError
    error: StreamError
    if issubclass(kind, RefusedError):
        status = rest.get("status_code")
        error = kind(code, message, status if type(status) is int else 0)
    else:
        error = kind.__new__(kind)  # constructors differ; what was said is all that a file keeps
        StreamError.__init__(error, message, remedy=str(rest.get("remedy", "")))
    error.kept = str(rest.get("kept", ""))
    if isinstance(error, StreamTimeout):
        error.limit_s = rest.get("limit_s")
    if isinstance(error, FrameError):
        error.code, error.offset, error.frames = code, rest.get("offset", 0), []
    return error


# Longer ones are no slips of the finger, and take long to compare.
_LONGEST_NAME = 100


def close(name: Any, names: Iterable[Any]) -> str:
    """A question for the remedy of an unknown name, ``"Did you mean ttft_s? "``; empty if none is like it."""
    from difflib import get_close_matches

    known = {one.casefold(): one for one in names if isinstance(one, str) and len(one) <= _LONGEST_NAME}
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        return ""
    found = get_close_matches(name.casefold(), list(known), n=1)
    return f"Did you mean {known[found[0]]}? " if found else ""


def kind_of(thing: Any) -> str:
    """What was given in a wrong place, to begin a sentence with: ``"An int"``."""
    name = type(thing).__name__
    return f"{'An' if name[:1] in 'aeioAEIO' else 'A'} {name}"
