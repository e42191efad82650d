"""What a call is asked with: the arguments that `stream` and `astream` share, checked.

Strategy: both have one signature, so that editors and `help` show it; what they do with it is here. The names
of a request's settings are `Request`'s, those of what is kept `Keeping`'s: nothing is listed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple, get_args

from bedrock_nb import models, settings
from bedrock_nb.background import WhenFull
from bedrock_nb.errors import RequestError
from bedrock_nb.journal import Journal
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request, as_request
from bedrock_nb.tap import check_client, timeouts_of
from bedrock_nb.whole import streams

__all__ = ["Asked", "Keeping", "asked"]


class Keeping(NamedTuple):
    """What is kept of a reply, and how it is handed on; as `stream` documents it."""

    labels: Mapping[str, Any] | None = None
    journal: Any = None
    durability: str | None = None
    errors: str | None = None
    record: bool = True
    background: bool = False
    buffer: int | None = None
    when_full: WhenFull = "block"
    schema: Any = None  # what `Reply.parsed` makes of the answer: as in `Request`

    def check(self) -> None:
        """Refuse what cannot work.

        Raises
        ------
        RequestError
            One of them cannot.
        """
        if self.labels is not None and not isinstance(self.labels, Mapping):
            raise RequestError(
                f"labels are of type {type(self.labels).__name__}; a dict is wanted.",
                remedy="For example labels={'run': 3}.",
            )
        for name in ("errors", "durability"):  # None is what is configured
            if getattr(self, name) is not None:
                settings.check_choice(name, getattr(self, name))
        settings.check_choice("when_full", self.when_full, get_args(WhenFull))
        if not self.background and (self.buffer is not None or self.when_full != "block"):
            raise RequestError(
                "buffer and when_full are for replies in the background.",
                remedy="Give background=True besides.",
            )
        whole = isinstance(self.buffer, int) and not isinstance(self.buffer, bool)
        if self.buffer is not None and not (whole and self.buffer > 0):
            raise RequestError(f"buffer is {self.buffer!r}; a whole number of events from 1 is wanted.")

    def journal_of(self, recording: Recording) -> Journal | None:
        """The journal of a reply, opened: what was asked for, else what is configured.

        Raises
        ------
        RecordingError
            It cannot be opened.
        """
        asked = settings.current()
        target = asked.journal if self.journal is None else self.journal
        durability = self.durability or asked.durability
        return None if target is None else Journal(target, recording, durability=durability)


#: The settings of a request that are arguments; the prompt stands by itself.
_SETTINGS = [each.name for each in fields(Request) if each.name != "prompt"]


class Asked(NamedTuple):
    """What to make a reply of: arguments of `calling.Calling` besides the client, and what is kept."""

    call: dict[str, Any]
    keeping: Keeping


def asked(by: str, given: Mapping[str, Any]) -> Asked:
    """Read the arguments of a call.

    Parameters
    ----------
    by : str
        Name of the function that was called, for messages.
    given : mapping
        Its arguments by name, as ``locals()`` has them.

    Raises
    ------
    RequestError
        An argument that cannot work.
    CapabilityError
        ``streaming=True``, and the model is known not to stream.
    """
    check_client(given["client"], by)
    said = {name: value for name in _SETTINGS if (value := given.get(name)) is not None}
    request = as_request(given["prompt"], said, given["converse_kwargs"])
    kept = {name: given[name] for name in Keeping._fields if name in given}
    keeping = Keeping(**{**kept, "schema": request.schema})
    keeping.check()
    retries = given["retries"]
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise RequestError(f"retries is {retries!r}; a whole number from 0 is wanted.")
    limits = (given[name] for name in ("first_event_timeout", "idle_timeout", "total_timeout"))
    timeouts = timeouts_of(given["client"]).but(*limits)
    params = request.to_kwargs()
    models.check(params)
    streaming = streams(params, given["streaming"])
    call = {"params": params, "timeouts": timeouts, "retries": retries, "streaming": streaming}
    return Asked(call, keeping)
