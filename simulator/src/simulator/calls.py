"""One paid call from its first byte to its last, the same for every endpoint of every vendor.

Authenticate, read strictly, choose the faults, take the provider's time, make what was asked for, write the journal,
and only then answer, or fail to.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

from simulator.clock import Clock
from simulator.faults import HANG, Faults, Plan, UnknownFaultError, Wish
from simulator.fields import InvalidFieldError
from simulator.forms import Form, read_form
from simulator.journal import Entry, Journal, Outcome
from simulator.latency import Latency, Spread
from simulator.refusals import Refusal, bad_gateway_page, bearer_key, retry_headers
from simulator.wire import hold, reset_connection, send_late, send_partly, send_pieces

BILLED_BUT_SILENT = frozenset({"lost", "reset", "hang-paid"})


class Vendor(Protocol):
    """How one vendor words what every one of its endpoints may say."""

    provider: str

    def invalid(self, error: InvalidFieldError) -> Refusal: ...

    def refusal(self, fault: str, model: str) -> Refusal: ...

    def error(self, refusal: Refusal, request_id: str) -> dict[str, Any]: ...

    def headers(self, request_id: str, seconds: float) -> dict[str, str]: ...


@dataclass(slots=True)
class Call:
    """What is known about one request while it is served."""

    request: web.Request
    raw: bytes
    request_id: str
    started: float
    model: str = ""
    prompt: str = ""
    fault: str = ""

    @property
    def host(self) -> str:
        """Scheme, name and port under which the caller reached us."""
        return f"{self.request.scheme}://{self.request.host}"

    def json(self) -> dict[str, Any]:
        """The body; notes its model and prompt for the journal, however wrong the rest is."""
        try:
            body = json.loads(self.raw)
        except ValueError:
            raise InvalidFieldError("body", "type", "is not valid JSON") from None
        if not isinstance(body, dict):
            raise InvalidFieldError("body", "type", "must be a JSON object")
        self.model = body["model"] if isinstance(body.get("model"), str) else ""
        self.prompt = body["prompt"] if isinstance(body.get("prompt"), str) else ""
        return body

    async def form(self) -> Form:
        return await read_form(self.request, self.raw)


@dataclass(frozen=True, slots=True)
class Product:
    """What was made, as it is sent: one body, or the pieces of a stream. `billed` counts what the vendor charges."""

    body: bytes = b""
    billed: int = 1
    content_type: str = "application/json"
    pieces: Sequence[bytes] = ()
    error: bytes = b""
    """How this stream says that it failed halfway."""
    headers: dict[str, str] = field(default_factory=dict)
    noted: Callable[[Entry], None] | None = None
    """Told of the journal's entry before the answer leaves."""


@dataclass(frozen=True, slots=True)
class Job:
    """A valid request. `make` may raise Refusal: the work was done and is not delivered. `nothing` is an answer
    that has the right shape and delivers nothing; `draws` is how many are made one after the other."""

    model: str
    prompt: str
    spread: Spread
    make: Callable[[Call, Plan], Awaitable[Product]]
    nothing: Product = Product(b"{}", 0)
    draws: int = 1
    deferred: bool = False
    """Whether only a task is made now, so that a wish for time means the task's."""


Answer = Mapping[str, Any] | web.StreamResponse
Read = Callable[[Call], Awaitable[Job]]
"""Raises Refusal or InvalidFieldError."""


def event_of(name: str, data: object) -> bytes:
    """One server-sent event; a nameless one has data alone."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


class Calls:
    def __init__(self, clock: Clock, latency: Latency, faults: Faults, journal: Journal) -> None:
        self._clock, self._latency, self._faults, self._journal = clock, latency, faults, journal

    async def serve(
        self,
        request: web.Request,
        vendor: Vendor,
        read: Read,
        key_of: Callable[[web.Request, Vendor], str] | None = None,
    ) -> web.StreamResponse:
        call = Call(request, await request.read(), uuid.uuid4().hex, asyncio.get_running_loop().time())
        try:
            key = (key_of or bearer_key)(request, vendor)
            job = await read(call)
            call.model, call.prompt = job.model, job.prompt
            plan = self._faults.plan(vendor.provider, job.prompt, key)
        except InvalidFieldError as error:
            return self._refuse(call, vendor, vendor.invalid(error))
        except UnknownFaultError as error:
            unknown = InvalidFieldError("prompt", "value", f"carries an {error}")
            return self._refuse(call, vendor, vendor.invalid(unknown))
        except Refusal as refusal:
            return self._refuse(call, vendor, refusal)
        call.fault = plan.name
        return await self._perform(call, vendor, job, plan)

    async def free(
        self,
        request: web.Request,
        vendor: Vendor,
        answer: Callable[[Call], Awaitable[Answer]],
        key_of: Callable[[web.Request, Vendor], str] | None = None,
    ) -> web.StreamResponse:
        """A call that costs nothing, and is in no journal."""
        call = Call(request, await request.read(), uuid.uuid4().hex, asyncio.get_running_loop().time())
        headers = vendor.headers(call.request_id, 0.0)
        try:
            (key_of or bearer_key)(request, vendor)
            made = await answer(call)
        except InvalidFieldError as error:
            refusal = vendor.invalid(error)
        except Refusal as raised:
            refusal = raised
        else:
            return made if isinstance(made, web.StreamResponse) else web.json_response(made, headers=headers)
        return web.json_response(vendor.error(refusal, call.request_id), status=refusal.status, headers=headers)

    async def judge_as_asked(self, vendor: Vendor, text: str, model: str) -> None:
        """Raises the refusal that a text asks moderation for, or never ends."""
        try:
            asked = self._faults.judgement(text)
        except UnknownFaultError as error:
            raise InvalidFieldError("input", "value", f"carries an {error}") from None
        if asked == HANG:
            await asyncio.Event().wait()
        if asked is not None:
            raise vendor.refusal(asked, model)

    async def _perform(self, call: Call, vendor: Vendor, job: Job, plan: Plan) -> web.StreamResponse:
        seconds = None if job.deferred else plan.latency_seconds
        if seconds is None:
            seconds = self._latency.seconds(job.spread, job.draws)
        if plan.refusal is not None:
            if plan.refusal.fault.name == "moderated-output" or plan.latency_seconds is not None:
                await self._wait(call, seconds)
            return self._refuse(call, vendor, vendor.refusal(plan.refusal.fault.name, job.model), plan.refusal)
        failure = plan.answer.fault.name if plan.answer else ""
        if failure == "hang":
            self._note(call, vendor, 0, "lost", 0)
            return await hold(call.request)
        try:
            if failure == "error-200":
                raise _with_status(vendor.refusal("500", job.model), 200)
            product = job.nothing if failure == "empty-200" else await job.make(call, plan)
        except Refusal as refusal:
            await self._wait(call, seconds)
            return self._refuse(call, vendor, refusal)
        await self._wait(call, seconds)
        return await self._deliver(call, vendor, product, plan.answer)

    async def _deliver(self, call: Call, vendor: Vendor, product: Product, wish: Wish | None) -> web.StreamResponse:
        """Journals what is billed, then sends the answer as well as the wish allows."""
        failure = wish.fault.name if wish is not None else ""
        gone = call.request.transport is None or call.request.transport.is_closing()
        silent = gone or failure in BILLED_BUT_SILENT
        entry = self._note(call, vendor, product.billed, "lost" if silent else "answered", 0 if silent else 200)
        if product.noted is not None:
            product.noted(entry)
        headers = vendor.headers(call.request_id, self._elapsed(call)) | product.headers
        headers["Content-Type"] = product.content_type
        if failure == "lost":
            return reset_connection(call.request)
        if failure == "hang-paid":
            return await hold(call.request)
        if product.pieces:
            pauses = wish.number if wish is not None and failure in {"slow-first-byte", "stream-slow"} else 0.0
            return await send_pieces(call.request, product.pieces, headers, failure, product.error, pauses)
        match failure:
            case "reset" | "stream-cut":
                return await send_partly(call.request, product.body, headers)
            case "slow-first-byte" if wish is not None:
                return await send_late(call.request, product.body, headers, wish.number)
            case _:
                return web.Response(body=product.body, headers=headers)

    def _refuse(self, call: Call, vendor: Vendor, refusal: Refusal, wish: Wish | None = None) -> web.Response:
        self._note(call, vendor, 0, "refused", refusal.status)
        headers = vendor.headers(call.request_id, self._elapsed(call))
        if wish is not None:
            headers |= retry_headers(wish, self._clock.now())
        if wish is not None and wish.fault.name == "502":
            return bad_gateway_page(headers)
        return web.json_response(vendor.error(refusal, call.request_id), status=refusal.status, headers=headers)

    def _note(self, call: Call, vendor: Vendor, billed: int, outcome: Outcome, status: int) -> Entry:
        headers = call.request.headers
        return self._journal.write(
            time=self._clock.now(),
            provider=vendor.provider,
            model=call.model,
            prompt=call.prompt,
            billed=billed,
            outcome=outcome,
            status=status,
            fault=call.fault,
            request_id=call.request_id,
            client_request_id=headers.get("X-Client-Request-Id", ""),
            idempotency_key=headers.get("Idempotency-Key", ""),
            body_sha256=hashlib.sha256(call.raw).hexdigest(),
        )

    async def _wait(self, call: Call, seconds: float) -> None:
        rest = seconds - self._elapsed(call)
        if rest > 0:
            await asyncio.sleep(rest)

    def _elapsed(self, call: Call) -> float:
        return asyncio.get_running_loop().time() - call.started


def _with_status(refusal: Refusal, status: int) -> Refusal:
    """The same words under another HTTP status."""
    return Refusal(status, refusal.code, refusal.message, refusal.param, refusal.kind)
