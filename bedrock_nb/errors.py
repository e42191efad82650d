"""Every exception of this package, in one tree.

    BedrockNbError
    ├── RequestError            (ValueError)             an argument that cannot work
    ├── RecordingError          (ValueError)             a file that is not a recording we can read
    ├── CredentialsError        (NoCredentialsError)     no AWS credentials were found
    ├── ServerError             (RuntimeError)           the embedded server could not start, or went away
    └── StreamError                                      a reply that did not end well; carries ``.reply``
        ├── FrameError          (botocore ParserError)   bytes that break AWS event-stream framing
        ├── IncompleteStreamError                        the body ended before ``messageStop``
        ├── PayloadError                                 a sound frame whose payload is not what it must be
        ├── ConnectionLost      (urllib3 ProtocolError)  the connection broke in the middle of the body
        ├── StreamStalled       (urllib3 ReadTimeoutError)  nothing came for the client's read timeout
        └── ServiceFault        (EventStreamError)       the service said so, in the stream
            ├── InternalServerFault
            ├── ModelStreamFault                         with ``original_status_code``, ``original_message``
            ├── ValidationFault
            ├── ThrottlingFault
            ├── ServiceUnavailableFault
            └── UnmodelledFault                          an exception this service model does not name

Strategy: a message is a small lesson of up to three sentences: what happened (``what``), what is kept
(``kept``) and what to try (``remedy``). Whoever catches botocore's or urllib3's own class for a case
today catches ours too. In-stream exceptions are one table, `FAULTS`, from wire name to class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.eventstream import ParserError
from botocore.exceptions import EventStreamError, NoCredentialsError
from urllib3.exceptions import ProtocolError, ReadTimeoutError

__all__ = [
    "FAULTS",
    "BedrockNbError",
    "ConnectionLost",
    "CredentialsError",
    "FrameError",
    "IncompleteStreamError",
    "InternalServerFault",
    "ModelStreamFault",
    "PayloadError",
    "RecordingError",
    "RequestError",
    "ServerError",
    "ServiceFault",
    "ServiceUnavailableFault",
    "StreamError",
    "StreamStalled",
    "ThrottlingFault",
    "UnmodelledFault",
    "ValidationFault",
    "fault_from_wire",
    "fault_to_wire",
    "service_fault",
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
        state = {name: value for name, value in self.__dict__.items() if name != "reply"}
        return _blank, (type(self), self.args), state

    def __copy__(self) -> BedrockNbError:
        twin = _blank(type(self), self.args)
        twin.__dict__.update(self.__dict__)
        return twin


def _blank(kind: type[BedrockNbError], args: tuple[Any, ...]) -> BedrockNbError:
    """An error before its constructor ran, for a copy to fill."""
    error: BedrockNbError = kind.__new__(kind, *args)
    return error


class RequestError(BedrockNbError, ValueError):
    """An argument that cannot work: what was given, what is wanted."""


class RecordingError(BedrockNbError, ValueError):
    """A file or an object that is not a recording this version can read."""


class CredentialsError(BedrockNbError, NoCredentialsError):
    """boto3 found no AWS credentials."""


class ServerError(BedrockNbError, RuntimeError):
    """The embedded Bedrock server could not start, or has gone away."""


class StreamError(BedrockNbError):
    """A reply that did not end well.

    Attributes
    ----------
    reply : Reply or None
        The reply with everything that arrived: ``.snapshot`` is the partial message, ``.recording``
        the events with their times. A pickled error has none.
    """

    reply: Any = None


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

    def __init__(self, code: str, what: str, *, offset: int, frames: list[Any] | None = None) -> None:
        super().__init__(f"{what} (frame at byte {offset}; rule: {code}).")
        self.code, self.offset = code, offset
        self.frames = frames if frames is not None else []


class IncompleteStreamError(StreamError):
    """The response body ended, in good order or inside a frame, before ``messageStop``."""


class PayloadError(StreamError):
    """A frame whose checksums are right and whose payload is not what its event type demands."""


class ConnectionLost(StreamError, ProtocolError):
    """The connection broke in the middle of the body."""


class StreamStalled(StreamError, ReadTimeoutError):
    """Nothing arrived for as long as the client's read timeout."""


class ServiceFault(StreamError, EventStreamError):
    """An exception frame: the service ended the reply and said why.

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

    def __init__(self, code: str, message: str, fields: Mapping[str, Any] | None = None) -> None:
        what = f"Bedrock ended the reply with {code or 'an exception that has no name'}"
        what += f": {message}" if message else ""
        StreamError.__init__(self, what if what.endswith((".", "!", "?")) else f"{what}.", remedy=self.advice)
        self.code, self.message = code, message
        self.fields: dict[str, Any] = dict(fields or {})
        self.response: Any = {**self.fields, "Error": {"Code": code, "Message": message}}
        self.operation_name = "ConverseStream"


class InternalServerFault(ServiceFault):
    """``internalServerException``: a fault inside the service."""


class ModelStreamFault(ServiceFault):
    """``modelStreamErrorException``: the model itself failed while it was answering."""

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


class ThrottlingFault(ServiceFault):
    """``throttlingException``: too many requests or tokens for this account just now."""

    advice = "Wait a little, send fewer requests at once, or ask AWS for a larger quota."


class ServiceUnavailableFault(ServiceFault):
    """``serviceUnavailableException``: the service or the model has no room just now."""


class UnmodelledFault(ServiceFault):
    """An exception or error frame whose name the service model does not have."""


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


# -- errors in a recording: the service's under their wire names, ours under the name "fault" ------


def fault_to_wire(error: StreamError) -> tuple[str, dict[str, Any]]:
    """The wire name and the JSON payload of what ended a reply."""
    if isinstance(error, ServiceFault):
        if error.code in FAULTS:
            return error.code, {**error.fields, "message": error.message}
        return "fault", {"code": error.code, "message": error.message, "fields": error.fields}
    said = {name: getattr(error, name, None) for name in ("kept", "remedy", "code", "offset")}
    return "fault", {
        "error": type(error).__name__,
        "message": error.what,
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
    kind = globals().get(str(rest["error"]))
    if not (isinstance(kind, type) and issubclass(kind, StreamError)) or issubclass(kind, ServiceFault):
        kind = StreamError
    error = kind.__new__(kind)  # constructors differ; what was said is all that a file keeps
    StreamError.__init__(error, message, kept=str(rest.get("kept", "")), remedy=str(rest.get("remedy", "")))
    if isinstance(error, FrameError):
        error.code, error.offset, error.frames = code, rest.get("offset", 0), []
    return error
