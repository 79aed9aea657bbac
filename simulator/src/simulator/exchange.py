"""Pictures in one call, the same for every image dialect: recipes in, addresses or base64 out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from aiohttp import web

from simulator.assets import Assets
from simulator.calls import Call, Calls, Job, Product, Read, Vendor, event_of
from simulator.clock import Clock
from simulator.faults import Faults, Plan, Wish
from simulator.latency import Spread
from simulator.pictures import Gallery, Recipe


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
    events: Callable[[Order, list[Made], int], list[dict[str, Any]]] | None = None
    """The answer as a stream, where that was asked; each event names its `type`."""


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


class Dialect(Vendor, Protocol):
    """How one vendor words pictures."""

    url_seconds: int

    async def read(self, call: Call) -> Order:
        """Raises Refusal or InvalidFieldError."""

    def answer(self, order: Order, made: list[Made], created: int) -> dict[str, Any]: ...


class Exchange:
    def __init__(
        self, *, calls: Calls, clock: Clock, faults: Faults, gallery: Gallery, assets: Assets, variants: int
    ) -> None:
        self._calls, self._clock, self._faults = calls, clock, faults
        self._gallery, self._assets = gallery, assets
        self._variants = max(1, variants)

    async def serve(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        return await self._calls.serve(request, dialect, self._reader(dialect))

    def _reader(self, dialect: Dialect) -> Read:
        async def read(call: Call) -> Job:
            order = await dialect.read(call)

            async def make(call: Call, plan: Plan) -> Product:
                made = await self._make(call, dialect, order, plan)
                if all(item.error for item in made):
                    raise dialect.refusal("moderated-output", order.model)
                return self._product(dialect, order, made)

            nothing = self._product(dialect, replace(order, events=None), [])
            return Job(order.model, order.prompt, order.spread, make, nothing, order.serial_pictures)

        return read

    def _product(self, dialect: Dialect, order: Order, made: list[Made]) -> Product:
        created, billed = int(self._clock.now()), sum(not item.error for item in made)
        if order.events is not None:
            events = order.events(order, made, created)
            pieces = [_filled(event_of(event["type"], event), made) for event in events]
            error = json.dumps(dialect.error(dialect.refusal("500", order.model), "")).encode()
            return Product(
                billed=billed,
                content_type="text/event-stream",
                pieces=[*pieces, b"data: [DONE]\n\n"],
                error=b"data: " + error + b"\n\n",
            )
        return Product(_filled(json.dumps(dialect.answer(order, made, created)).encode(), made), billed)

    async def _make(self, call: Call, dialect: Dialect, order: Order, plan: Plan) -> list[Made]:
        variant = 0 if order.seeded else self._faults.count(_shape(order), "variant") % self._variants
        blocked, stopped = _failing_items(plan.items)
        wish = plan.asset
        flaw = wish.fault.name if wish and wish.fault.stage == "content" else ""
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
                made.append(Made(recipe, self._assets.publish(call.host, recipe, dialect.url_seconds, wish)))
            else:
                picture = await self._gallery.encoded(replace(recipe, flaw=flaw))
                made.append(Made(recipe, f"{call.request_id}-{number}-", picture=picture))
        return made


def _filled(text: bytes, made: Sequence[Made]) -> bytes:
    for item in made:
        if item.picture is not None:
            text = text.replace(item.content.encode(), item.picture, 1)
    return text


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
