"""What a server keeps apart for each who asks: places and rates, the prompt cache, the count of answers.

Strategy: as AWS does, by account. A server without a classroom has one `Account` for everybody. In a
classroom each student has one, and all share the server's own places behind it, which go to who has fewest.
So nobody waits in the queue of another, is throttled for another, or reads from another's cache; and whoever
asks the same things in the same order gets the same times, whatever others do.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from bedrock_nb.server.admission import Admission
from bedrock_nb.server.caching import PromptCache
from bedrock_nb.server.classroom import LIMITS, Classroom, Seat
from bedrock_nb.server.latency import Latency
from bedrock_nb.server.loopback import Keys
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.responders import Responder
from bedrock_nb.server.signature import Signed, verify
from bedrock_nb.server.tally import Tally
from bedrock_nb.server.truths import Truth

__all__ = ["Account", "Accounts"]

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/")


@dataclass
class Account:
    """One of those who ask.

    Parameters
    ----------
    name : str
        The student's; empty if there is no classroom.
    keys : Keys
        Requests under this key must be signed with it.
    gates : tuple of Admission
        That a request has to pass, in this order: the student's own limits, then the server's.
    respond : Responder
        The server's, behind a prompt cache of this account's own.
    """

    name: str
    keys: Keys
    gates: tuple[Admission, ...]
    respond: Responder
    numbers: Iterator[int] = field(default_factory=count)
    tally: Tally = field(default_factory=Tally)

    @property
    def counts_tokens(self) -> bool:
        """Whether there is a limit to its tokens."""
        return any(gate.counts_tokens for gate in self.gates)

    def check_rates(self, tokens: int) -> None:
        """Take a request and its tokens out of every bucket, or refuse it and take nothing.

        Raises
        ------
        Refusal
            429 ThrottlingException.
        """
        for gate in self.gates:
            gate.check_rates(tokens)
        for gate in self.gates:
            gate.take(tokens)

    def settle(self, reserved: int, used: int) -> None:
        """Put back the tokens that were reserved and not used, or take the rest."""
        for gate in self.gates:
            gate.settle(reserved, used)

    @asynccontextmanager
    async def place(self, truth: Truth) -> AsyncIterator[None]:
        """Wait for a place at every gate, and have it for the time of the block.

        Raises
        ------
        Refusal
            503 ServiceUnavailableException: too many wait already.
        """
        async with AsyncExitStack() as held:
            waits = any(gate.busy for gate in self.gates)
            with self.tally.counted("waiting"):
                for gate in self.gates:
                    await gate.enter(self.name)
                    held.callback(gate.leave, self.name)
            truth.queued_s = time.monotonic() - truth.arrived if waits else 0.0
            with self.tally.counted("running"):
                yield


class Accounts:
    """All who may ask a server.

    Parameters
    ----------
    classroom : Classroom or None
    keys : Keys
        The server's own, if there is no classroom.
    law : Latency
        Of the whole server.
    respond : function
        Makes an account's responder of its prompt cache.
    """

    def __init__(
        self,
        classroom: Classroom | None,
        keys: Keys,
        law: Latency,
        respond: Callable[[PromptCache], Responder],
    ) -> None:
        self._classroom, self._respond = classroom, respond
        self._all = Admission(law, time.monotonic)
        self._everybody = self._account(Seat("", keys), None)
        self._of: dict[str, Account] = {}
        if classroom is not None:
            self._of[classroom.teacher.name] = self._account(classroom.teacher, None)
            for seat in classroom.seats.values():
                self._of[seat.name] = self._account(seat, classroom.limits)

    def _account(self, seat: Seat, limits: Latency | None) -> Account:
        gates = () if limits is None else (Admission(limits, time.monotonic),)
        return Account(seat.name, seat.keys, (*gates, self._all), self._respond(PromptCache()))

    def whose(self, headers: Mapping[str, str]) -> Account:
        """Whose request this says to be; its signature is still to be verified.

        Raises
        ------
        Refusal
            403 in a classroom, without a seat in it.
        """
        if self._classroom is None:
            return self._everybody
        said = headers.get("authorization")
        if said is None:
            raise Refusal(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        form = _CREDENTIAL.search(said)
        seat = self._classroom.find(form[1]) if form else None
        if seat is None:
            raise _nobody()
        return self._of[seat.name]

    def verify(self, account: Account, request: Signed) -> None:
        """Check that a request is signed with the keys of an account; in a classroom every one has to be.

        Raises
        ------
        Refusal
            403.
        """
        if not verify(request, account.keys) and self._classroom is not None:
            raise _nobody()

    def refuse_paused(self, account: Account) -> None:
        """Refuse a student who is to look up.

        Raises
        ------
        Refusal
            503 ServiceUnavailableException.
        """
        if self._classroom is not None and self._classroom.is_paused(account.name):
            text = "Eyes up, please: your teacher has paused the server. Run the cell again in a moment."
            raise Refusal(503, "ServiceUnavailableException", text)

    def shown(self) -> dict[str, Any] | None:
        """The classroom as the dashboard shows it, as JSON; None if there is none."""
        room = self._classroom
        if room is None:
            return None
        students = [
            {"name": name, "paused": room.is_paused(name), "teacher": name == room.teacher.name}
            | account.tally.shown()
            for name, account in self._of.items()
        ]
        return {"students": students, "limits": {name: getattr(room.limits, name) for name in LIMITS}}


def _nobody() -> Refusal:
    text = "The security token included in the request is invalid."
    return Refusal(403, "UnrecognizedClientException", text)
