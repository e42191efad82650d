"""The embedded Bedrock on HTTP: what is asked for, and by whom it is answered.

Strategy: one handler takes every path, and tables say what there is. A request goes through guard, reading,
admission, responder and latency law, and what comes out is sent (`sending`), with a fault if one is wanted.
Responders run in threads, so that a slow one does not hold up the streams of others. Whatever happens to a
request is noted in the log of truths, which the status page shows.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any, ParamSpec, TypeVar
from urllib.parse import unquote

import orjson
from aiohttp import web

import bedrock_nb.errors
from bedrock_nb.errors import BedrockNbError, RefusedError, RequestError
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import control, operations, status
from bedrock_nb.server.accounts import Account, Accounts
from bedrock_nb.server.caching import cached
from bedrock_nb.server.classroom import Classroom
from bedrock_nb.server.fault import Fault, Plan, parse_all, sound
from bedrock_nb.server.guard import check_head, json_of, read_body
from bedrock_nb.server.guarding import guarded
from bedrock_nb.server.guardrail import DEFAULT, Guardrail
from bedrock_nb.server.latency import Latency, is_timed
from bedrock_nb.server.listening import REQUEST_ID, unknown_operation
from bedrock_nb.server.loopback import Keys
from bedrock_nb.server.operations import OPERATIONS, Incoming, Operation
from bedrock_nb.server.perform import dumps
from bedrock_nb.server.refusal import Refusal, internal, refused_as
from bedrock_nb.server.responders import Coming, Responder
from bedrock_nb.server.sending import Pace, Sending, plain
from bedrock_nb.server.signature import Signed
from bedrock_nb.server.threads import Daemons
from bedrock_nb.server.truths import Log, Truth
from bedrock_nb.server.writing import input_tokens

__all__ = ["FAULT_HEADER", "KEY_HEADER", "Endpoint"]

P = ParamSpec("P")
T = TypeVar("T")

#: A request header that asks for a fault, as ``bedrock-nb serve --fault`` does: ``cut:after=10``.
FAULT_HEADER = "x-bedrock-nb-fault"
#: Where a request keeps in whose name it is answered.
_ACCOUNT = web.RequestKey("ACCOUNT", Account)
_LARGE = 64 * 2**10  # bytes of a body that is worked on in a thread
_SHOWN = 200  # requests on the status page

_MODEL = re.compile(r"/model/(?P<model>.+)/(?P<action>[^/]+)")
_GUARDRAIL = re.compile(r"/guardrail/(?P<id>[^/]+)/version/(?P<version>[^/]+)/apply")
_TRUTH = re.compile(r"/truth/(?P<id>[0-9a-f-]{36})")
_PAUSE = "/pause"
#: What of a classroom's page only the teacher may see.
_TEACHERS = frozenset({"/", "/status.json", _PAUSE})
#: The header that has the dashboard's key where there is no address to put it in.
KEY_HEADER = "x-bedrock-nb-key"
_NOT_YOURS = (
    "This is the teacher's page of a classroom: open it with the whole address that "
    "`bedrock-nb serve` printed, its key included."
)


@dataclass
class Endpoint:
    """The operations, with what they need.

    Parameters
    ----------
    responder : Responder
    latency : Latency
        For recordings that bring no times, and for load.
    faults : function
        Gives the plan of the moment: from each request to the fault of its reply, or None.
    guardrails : sequence of Guardrail
        What requests may name in ``guardrailConfig``.
    keys : Keys
        Requests under this key must be signed with it.
    log : Log
    classroom : Classroom, optional
        Whoever has no seat in it is refused, and the page is the teacher's.
    """

    responder: Responder
    latency: Latency
    faults: Callable[[], Plan] = lambda: sound
    guardrails: tuple[Guardrail, ...] = (DEFAULT,)
    keys: Keys = field(default_factory=Keys)
    log: Log = field(default_factory=Log)
    classroom: Classroom | None = None
    _threads: Daemons = field(default_factory=Daemons, repr=False)
    _begun: float = field(default_factory=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        self._accounts = Accounts(
            self.classroom,
            self.keys,
            self.latency,
            lambda cache: guarded(cached(self.responder, cache), self.guardrails),
        )
        self._pace = Pace()

    # -- what is asked for -------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        path = request.rel_url.raw_path
        check_head(request, own_page=path == _PAUSE and self.classroom is not None)
        if self.classroom is not None and path in _TEACHERS and not self._is_teacher(request):
            return web.Response(status=403, text=_NOT_YOURS, headers=status.HEADERS)
        if request.method == "GET" and (page := await self._page(path, request)) is not None:
            return page
        if request.method == "POST" and path == _PAUSE and self.classroom is not None:
            return await self._pause(request, self.classroom)
        truth = self.log.open(str(uuid.uuid4()))
        request[REQUEST_ID] = truth.request_id
        outcome: Any = "gone"
        try:
            response = await self._operation(request, truth)
            outcome = "complete"
            return response
        except Refusal as refusal:
            outcome, truth.http_status, truth.code = "refused", refusal.status, refusal.code
            raise
        except ConnectionError:
            raise
        except Exception:
            outcome, truth.http_status, truth.code = "refused", 500, "InternalServerException"
            raise
        finally:
            self.log.close(truth, outcome)
            if (account := request.get(_ACCOUNT)) is not None:
                account.tally.end(truth)

    async def _page(self, path: str, request: web.Request) -> web.Response | None:
        """The status page, and what it shows; and who somebody is."""
        if path == "/seat":
            return web.Response(
                body=dumps({"student": self._seated(request)}), content_type="application/json"
            )
        if (found := _TRUTH.fullmatch(path)) is not None:
            truth = self.log.get(found["id"])
            if truth is None:
                raise Refusal(404, "ResourceNotFoundException", "No such request is known.")
            return web.Response(body=dumps(truth.to_dict()), content_type="application/json")
        if path == "/status.json":
            student = request.query.get("student", "") if self.classroom is not None else ""
            # In a thread: it takes some milliseconds, in which writes of others would be due.
            body = await asyncio.get_running_loop().run_in_executor(self._threads, self._status, student)
            return web.Response(body=body, headers={**status.HEADERS, "Content-Type": "application/json"})
        page = status.page(path[1:])
        return page and web.Response(body=page[0], headers={**status.HEADERS, "Content-Type": page[1]})

    def _status(self, student: str) -> bytes:
        """What the page shows: of all, or of the requests of one student."""
        requests = [truth.summary() for truth in self.log.latest(_SHOWN, student)]
        shown = {"server": self._about(), "now": time.time(), "requests": requests}
        classroom = self._accounts.shown()
        if classroom is not None:
            shown["classroom"] = classroom
        try:
            return orjson.dumps(shown)  # a millisecond; json takes sixteen, and lets no other thread run
        except TypeError:  # half a surrogate pair, in a model id or in metadata
            return dumps(shown)

    # -- the classroom -----------------------------------------------------------------------------

    def _is_teacher(self, request: web.Request) -> bool:
        key = request.headers.get(KEY_HEADER) or request.query.get("key", "")
        return self.classroom is not None and self.classroom.opens(key)

    def _seated(self, request: web.Request) -> str | None:
        """The name of the student whose signature a request has; None if there is no classroom."""
        if self.classroom is None:
            return None
        headers = _lower(request)
        account = self._accounts.whose(headers)
        self._accounts.verify(account, Signed("GET", "/seat", request.rel_url.raw_query_string, headers, b""))
        return account.name

    async def _pause(self, request: web.Request, classroom: Classroom) -> web.Response:
        """What the teacher's page asks for: ``{"student": name or null, "paused": true}``."""
        match json_of(await read_body(request)):
            case {"student": str() | None as student, "paused": bool(paused)}:
                try:
                    classroom.pause(student, paused)
                except RequestError as err:
                    raise Refusal(400, "ValidationException", str(err)) from err
                return web.Response(body=b"{}", headers=status.HEADERS, content_type="application/json")
        raise Refusal(400, "ValidationException", 'Wanted is {"student": name or null, "paused": bool}.')

    def _about(self) -> dict[str, Any]:
        return {
            "version": bedrock_nb.__version__,
            "responder": _name(self.responder),
            "latency": repr(self.latency),
            "faults": getattr(self.faults(), "said", None),
            "up_s": time.monotonic() - self._begun,
            **self.log.counts(),
        }

    async def _operation(self, request: web.Request, truth: Truth) -> web.StreamResponse:
        path = request.rel_url.raw_path
        headers = _lower(request)
        account = self._accounts.whose(headers)
        query = request.rel_url.raw_query_string
        if request.method == "GET":
            await self._let_in(account, Signed("GET", path, query, headers, b""), request, truth)
            found = control.route("GET", path, request.query)
            if found is None:
                raise unknown_operation()
            truth.operation, params = found
            return plain(dumps(control.OPERATIONS[truth.operation](params)), truth)
        model, guardrail = _MODEL.fullmatch(path), _GUARDRAIL.fullmatch(path)
        if request.method != "POST" or (model is None and guardrail is None):
            raise unknown_operation()
        body = await read_body(request, untyped=model is not None and model["action"].startswith("invoke"))
        await self._let_in(account, Signed("POST", path, query, headers, body), request, truth)
        if model is None:
            assert guardrail is not None
            truth.operation = "ApplyGuardrail"
            named = unquote(guardrail["id"]), unquote(guardrail["version"])
            wanted = Incoming("", headers, body), self.guardrails
            applied = await self._aside(len(body), operations.apply_guardrail, *named, *wanted)
            return plain(dumps(applied), truth)
        truth.model, fault = _fault_asked_for(unquote(model["model"]), headers)
        incoming = Incoming(truth.model, headers, body)
        if fault is not None and model["action"] not in OPERATIONS:
            text = f"The fault {fault!r} is for operations that ask a model."
            raise Refusal(400, "ValidationException", text)
        if model["action"] == "count-tokens":
            truth.operation = "CountTokens"
            counted = await self._aside(len(body), operations.count_tokens, incoming)
            return plain(dumps(counted), truth)
        operation = OPERATIONS.get(model["action"])
        if operation is None:
            raise unknown_operation()
        truth.operation = operation.name
        return await self._ask(request, operation, incoming, fault, truth, account)

    async def _let_in(self, account: Account, signed: Signed, request: web.Request, truth: Truth) -> None:
        """Check that a request is signed with the keys of its account; then it counts as theirs."""
        await self._aside(len(signed.body), self._accounts.verify, account, signed)
        truth.student = account.name
        self._accounts.refuse_paused(account)
        if self.classroom is not None:  # nobody looks at the tally of everybody
            request[_ACCOUNT] = account
            account.tally.begin()

    # -- who answers it ----------------------------------------------------------------------------

    async def _ask(
        self,
        http: web.Request,
        operation: Operation,
        incoming: Incoming,
        fault: Fault | None,
        truth: Truth,
        account: Account,
    ) -> web.StreamResponse:
        size = len(incoming.body)
        kwargs, asked = await self._aside(size, _read, operation, incoming)
        truth.metadata = dict(kwargs.get("requestMetadata") or {})
        reserved = used = 0
        if account.counts_tokens:
            reserved = await self._aside(size, input_tokens, kwargs) + (asked.max_tokens or 0)
        account.check_rates(reserved)
        try:
            async with account.place(truth):
                answer, change = await self._thought(asked, fault, truth, account)
                used = _tokens(answer, reserved)
                sending = Sending(
                    http, operation, kwargs, change, truth, self._threads, self._pace, self.guardrails
                )
                response = await sending.send(answer)
                used = _tokens(answer, reserved)  # one that was still being made knows it only now
                return response
        finally:
            truth.tokens = used
            account.settle(reserved, used)

    async def _aside(self, size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do some work on a body of so many bytes; in a thread if it is large, for others not to wait."""
        if size <= _LARGE:
            return work(*args, **kwargs)
        return await asyncio.wrap_future(self._threads.submit(work, *args, **kwargs))

    async def _thought(
        self, asked: Request, fault: Fault | None, truth: Truth, account: Account
    ) -> tuple[Recording | Coming, Fault | None]:
        """What the responder says, and what goes wrong with it, thought of in a thread."""
        future = self._threads.submit(self._answer, asked, fault, truth, account)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(_unwanted)
            raise

    def _answer(
        self, asked: Request, fault: Fault | None, truth: Truth, account: Account
    ) -> tuple[Recording | Coming, Fault | None]:
        """What the responder says, with its times, and what goes wrong with it. In a thread."""
        faults = [each for each in (self.faults()(asked), fault) if each is not None]
        change = reduce(or_, faults) if faults else None
        truth.fault = change.said if change else None
        return self._said(asked, truth, account), change

    def _said(self, asked: Request, truth: Truth, account: Account) -> Recording | Coming:
        name = _name(self.responder)
        try:
            answer = account.respond(asked)
            if isinstance(answer, Iterable) and not isinstance(answer, Recording | str | bytes | Mapping):
                return Coming(answer, truth.arrived + truth.queued_s)
        except Refusal:
            raise
        except RefusedError as err:
            raise refused_as(err) from err
        except Exception as err:
            raise internal(f"The responder {name} raised {type(err).__name__}: {err}") from err
        if not isinstance(answer, Recording):
            found = type(answer).__name__
            raise internal(f"The responder {name} returned a {found}; a Recording is wanted.")
        number = next(account.numbers)
        if not is_timed(answer):
            truth.law = repr(self.latency)
            if self.latency.paced:
                answer = self.latency.retime(answer, nth=number)
        return answer


def _lower(request: web.Request) -> dict[str, str]:
    """The headers of a request by their names in small letters."""
    return {name.lower(): value for name, value in request.headers.items()}


def _name(responder: Responder) -> str:
    return getattr(responder, "__name__", type(responder).__name__)


def _read(operation: Operation, incoming: Incoming) -> tuple[dict[str, Any], Request]:
    try:
        kwargs = operation.read(incoming)
        return kwargs, Request.from_kwargs(kwargs)
    except BedrockNbError as err:  # stricter than the service somewhere: still the caller's to mend
        raise Refusal(400, "ValidationException", str(err)) from err
    except RecursionError:
        raise Refusal(400, "SerializationException", "The body is nested too deeply.") from None


def _unwanted(future: Future[Any]) -> None:
    """Close an answer whose client has gone before it began."""
    if not future.cancelled() and future.exception() is None and isinstance(future.result()[0], Coming):
        future.result()[0].close()


def _tokens(answer: Recording | Coming, otherwise: int) -> int:
    """What an answer came to, by its own count."""
    return answer.usage.get("totalTokens") or (otherwise if isinstance(answer, Coming) else 0)


def _fault_asked_for(model: str, headers: Mapping[str, str]) -> tuple[str, Fault | None]:
    """The model id without the faults behind it, and all faults that the request itself asks for.

    ``MODEL@cut:after=10`` and the header of `FAULT_HEADER` ask for one; several are joined, in either place
    with ``@`` or ``|`` between them.
    """
    name, at, behind = model.partition("@")
    asked = [behind] if at else []
    try:
        return name, parse_all([*asked, *filter(None, [headers.get(FAULT_HEADER)])])
    except RequestError as err:
        raise Refusal(400, "ValidationException", str(err)) from err
