"""An answer that is an error, inside of the server: what HTTP is told when a request cannot be answered."""

from __future__ import annotations

__all__ = ["Refusal", "internal"]


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
