"""An answer that is an error, inside of the server: what HTTP is told when a request cannot be answered."""

from __future__ import annotations

import re

from bedrock_nb.errors import REFUSALS, RefusedError

__all__ = ["Refusal", "internal", "refused_as"]

#: Names of errors as they may stand in a header.
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9]{0,127}")


class Refusal(Exception):
    """An answer that is an error: HTTP status, error name, words. Never leaves the server as an exception.

    Attributes
    ----------
    status : int
        HTTP status.
    code : str
        The service's name for it: ``ValidationException`` …
    message : str
        What the client gets to read.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def internal(message: str) -> Refusal:
    """A fault of the server or its responder, and not of the request."""
    return Refusal(500, "InternalServerException", message)


def refused_as(err: RefusedError) -> Refusal:
    """A refusal in the words of an error of a client: of a service that was asked, or made by a responder."""
    status = err.status_code if 400 <= err.status_code < 600 else 500
    # What a gateway answers has no name, or one that cannot stand in a header.
    named = (name for name, kind in REFUSALS.items() if isinstance(err, kind))
    code = err.code if _CODE.fullmatch(err.code) else next(named, "InternalServerException")
    return Refusal(status, code, err.message)
