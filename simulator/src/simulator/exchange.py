"""One paid call from its first byte to its last, the same for every image dialect.

Authenticate, read strictly, choose the faults, take the provider's time, make the pictures, write the journal, and
only then answer, or fail to.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from aiohttp import web

from simulator.assets import Assets
from simulator.clock import Clock
from simulator.faults import Faults, Plan, UnknownFaultError, Wish
from simulator.fields import InvalidFieldError
from simulator.journal import Journal, Outcome
from simulator.latency import Latency, Spread
from simulator.pictures import Gallery, Recipe
from simulator.refusals import Refusal, bad_gateway_page, bearer_key, retry_headers
from simulator.wire import hold, reset_connection, send_late, send_partly

NOTHING_MADE = frozenset({"error-200", "empty-200"})
BILLED_BUT_SILENT = frozenset({"lost", "reset", "hang-paid"})


@dataclass(frozen=True, slots=True)
class Order:
    """A valid request. `serial_pictures` is how many are made one after the other; `options` belong to the dialect."""

    model: str
    prompt: str
    recipes: tuple[Recipe, ...]
    form: Literal["url", "b64_json"]
    spread: Spread
    serial_pictures: int
    options: Mapping[str, Any]
    seeded: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """One item of the answer: its content, or why it has none.

    The content is a URL, or a token in whose place `picture` (base64) is put once the answer is JSON: escaping a
    picture's text would cost more than all the rest of a call.
    """

    recipe: Recipe
    content: str
    error: Literal["", "blocked", "internal"] = ""
    picture: bytes | None = None


class Dialect(Protocol):
    """How one vendor words the same exchange."""

    provider: str
    url_seconds: int

    def read(self, body: Mapping[str, Any]) -> Order:
        """Raises Refusal or InvalidFieldError."""

    def invalid(self, error: InvalidFieldError) -> Refusal: ...

    def refusal(self, fault: str, model: str) -> Refusal: ...

    def error(self, refusal: Refusal, request_id: str) -> dict[str, Any]: ...

    def answer(self, order: Order, made: list[Made], created: int) -> dict[str, Any]: ...

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


class Exchange:
    def __init__(
        self,
        *,
        clock: Clock,
        latency: Latency,
        faults: Faults,
        journal: Journal,
        gallery: Gallery,
        assets: Assets,
        variants: int,
    ) -> None:
        self._clock, self._latency, self._faults = clock, latency, faults
        self._journal, self._gallery, self._assets = journal, gallery, assets
        self._variants = max(1, variants)

    async def serve(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        raw = await request.read()
        call = Call(request, raw, uuid.uuid4().hex, asyncio.get_running_loop().time())
        try:
            key = bearer_key(request, dialect)
            body = _object(raw)
            call.model = body["model"] if isinstance(body.get("model"), str) else ""
            call.prompt = body["prompt"] if isinstance(body.get("prompt"), str) else ""
            order = dialect.read(body)
            plan = self._faults.plan(dialect.provider, order.prompt, key)
        except InvalidFieldError as error:
            return self._refuse(call, dialect, dialect.invalid(error))
        except UnknownFaultError as error:
            return self._refuse(
                call, dialect, dialect.invalid(InvalidFieldError("prompt", "value", f"carries an {error}"))
            )
        except Refusal as refusal:
            return self._refuse(call, dialect, refusal)
        call.fault = plan.name
        return await self._perform(call, dialect, order, plan)

    async def _perform(self, call: Call, dialect: Dialect, order: Order, plan: Plan) -> web.StreamResponse:
        seconds = plan.latency_seconds
        if seconds is None:
            seconds = self._latency.seconds(order.spread, order.serial_pictures)
        if plan.refusal is not None:
            if plan.refusal.fault.name == "moderated-output" or plan.latency_seconds is not None:
                await self._wait(call, seconds)
            return self._refuse(call, dialect, dialect.refusal(plan.refusal.fault.name, order.model), plan.refusal)
        failure = plan.answer.fault.name if plan.answer else ""
        if failure == "hang":
            self._note(call, dialect, 0, "lost", 0)
            return await hold(call.request)
        made = [] if failure in NOTHING_MADE else await self._make(call, dialect, order, plan)
        await self._wait(call, seconds)
        if failure == "error-200":
            return self._refuse(call, dialect, _with_status(dialect.refusal("500", order.model), 200))
        if made and all(item.error for item in made):
            return self._refuse(call, dialect, dialect.refusal("moderated-output", order.model))
        return await self._deliver(call, dialect, order, made, plan.answer)

    async def _deliver(
        self, call: Call, dialect: Dialect, order: Order, made: list[Made], wish: Wish | None
    ) -> web.StreamResponse:
        """Journals what is billed, then sends the answer as well as the wish allows."""
        failure = wish.fault.name if wish is not None else ""
        text = json.dumps(dialect.answer(order, made, int(self._clock.now()))).encode()
        for item in made:
            if item.picture is not None:
                text = text.replace(item.content.encode(), item.picture, 1)
        gone = call.request.transport is None or call.request.transport.is_closing()
        silent = gone or failure in BILLED_BUT_SILENT
        billed = sum(not item.error for item in made)
        self._note(call, dialect, billed, "lost" if silent else "answered", 0 if silent else 200)
        headers = dialect.headers(call.request_id, self._elapsed(call))
        match failure:
            case "lost":
                return reset_connection(call.request)
            case "hang-paid":
                return await hold(call.request)
            case "reset":
                return await send_partly(call.request, text, headers)
            case "slow-first-byte" if wish is not None:
                return await send_late(call.request, text, headers, wish.number)
            case _:
                return web.Response(body=text, content_type="application/json", headers=headers)

    async def _make(self, call: Call, dialect: Dialect, order: Order, plan: Plan) -> list[Made]:
        variant = 0 if order.seeded else self._faults.count(_shape(order), "variant") % self._variants
        blocked, stopped = _failing_items(plan.items)
        wish = plan.asset
        flaw = wish.fault.name if wish and wish.fault.stage == "content" else ""
        host = f"{call.request.scheme}://{call.request.host}"
        made: list[Made] = []
        for number, plain in enumerate(order.recipes, start=1):
            recipe = plain if order.seeded else replace(plain, seed=variant)
            if number in blocked:
                made.append(Made(recipe, "", "blocked"))
                continue
            if number == stopped:
                made.append(Made(recipe, "", "internal"))
                break
            if order.form == "url":
                made.append(Made(recipe, self._assets.publish(host, recipe, dialect.url_seconds, wish)))
            else:
                picture = await self._gallery.encoded(replace(recipe, flaw=flaw))
                made.append(Made(recipe, f"{call.request_id}-{number}-", picture=picture))
        return made

    def _refuse(self, call: Call, dialect: Dialect, refusal: Refusal, wish: Wish | None = None) -> web.Response:
        self._note(call, dialect, 0, "refused", refusal.status)
        headers = dialect.headers(call.request_id, self._elapsed(call))
        if wish is not None:
            headers |= retry_headers(wish, self._clock.now())
        if wish is not None and wish.fault.name == "502":
            return bad_gateway_page(headers)
        return web.json_response(dialect.error(refusal, call.request_id), status=refusal.status, headers=headers)

    def _note(self, call: Call, dialect: Dialect, billed: int, outcome: Outcome, status: int) -> None:
        headers = call.request.headers
        self._journal.write(
            time=self._clock.now(),
            provider=dialect.provider,
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


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError:
        raise InvalidFieldError("body", "type", "is not valid JSON") from None
    if not isinstance(body, dict):
        raise InvalidFieldError("body", "type", "must be a JSON object")
    return body


def _shape(order: Order) -> str:
    first = order.recipes[0]
    return f"{order.model}|{first.width}x{first.height}|{order.prompt}"


def _failing_items(wishes: list[Wish]) -> tuple[set[int], int]:
    """The blocked item numbers, and the one that ends the group (0 for none)."""
    blocked: set[int] = set()
    stopped = 0
    for wish in wishes:
        if wish.fault.name == "stopped":
            stopped = int(wish.number)
        else:
            blocked |= {int(part) for part in wish.value.split("+") if part.isdigit()}
    return blocked, stopped
