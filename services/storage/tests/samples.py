"""What the tests are about: pictures, providers that serve them, facts, and a look at what became of them."""

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import nats
from aiohttp import web
from nats.aio.client import Client
from PIL import Image
from sqlalchemy import text

from contracts import topology
from contracts.facts import (
    CONTENT_TYPE,
    Ending,
    Kind,
    Outcome,
    Output,
    Rendered,
    Rendering,
    Request,
    Verdict,
    Visibility,
)
from contracts.ids import new_generation_id
from contracts.money import Quote
from runtime.database import Database
from storage.access import Access

OPEN = Access(None, all_signed=False)
"""Without a key every address is permanent."""


def picture(width: int = 40, height: int = 30, format_: str = "PNG", seed: int | None = None, **options: Any) -> bytes:
    """A different picture each time, unless seeded."""
    noise = random.Random(seed if seed is not None else time.time_ns())
    image = Image.frombytes("RGB", (8, 6), noise.randbytes(8 * 6 * 3)).resize((width, height))
    output = io.BytesIO()
    image.save(output, format_, **options)
    return output.getvalue()


def noise(width: int, height: int, format_: str = "PNG", **options: Any) -> bytes:
    """A picture that cannot be made smaller: about three bytes a pixel as PNG."""
    output = io.BytesIO()
    Image.frombytes("RGB", (width, height), random.randbytes(width * height * 3)).save(output, format_, **options)
    return output.getvalue()


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Provider:
    """Serves what it was given, and counts how often it was asked."""

    port: int = 0
    answers: dict[str, Answer | web.Response | bytes | int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def url(self, name: str, answer: Answer | bytes | int) -> str:
        """An address that gives these bytes, this status, or whatever a function answers."""
        self.answers[name] = answer
        return f"http://127.0.0.1:{self.port}/{name}"

    async def is_asked(self, name: str) -> None:
        async with asyncio.timeout(15):
            while name not in self.asked:
                await asyncio.sleep(0.01)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        name = request.path[1:]
        self.asked[name] = self.asked.get(name, 0) + 1
        answer = self.answers.get(name, 404)
        if isinstance(answer, int):
            return web.Response(status=answer)
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/octet-stream")
        assert callable(answer)
        return await answer(request)


def rendered(
    *outputs: Output | str,
    user_id: UUID | None = None,
    generation_id: UUID | None = None,
    kind: Kind = Kind.IMAGE,
    size: str | None = None,
    seconds: int | None = None,
    visibility: Visibility = Visibility.PUBLIC,
) -> Rendered:
    """What the generator says; an address is an output of its own."""
    request = Request(
        generation_id=generation_id or new_generation_id(),
        user_id=user_id or uuid4(),
        kind=kind,
        size=size,
        seconds=seconds,
        visibility=visibility,
        model="seedream-4-0-250828",
        prompt="a lake",
        count=max(1, len(outputs)),
        quote=Quote(amount=10_000, unit_price=10_000, price_version=1),
        deadline_at=datetime.now(UTC) + timedelta(minutes=5),
    )
    made = tuple(
        Output(index=index, url=output) if isinstance(output, str) else output for index, output in enumerate(outputs)
    )
    return Rendered.of(Rendering(request=request, provider="simulator", outputs=made), "generator", None)


async def publish_rendered(bus: Client, fact: Rendered) -> None:
    subject = topology.rendered_subject(fact.data.request)
    await bus.jetstream().publish(subject, fact.encode(), headers={"content-type": CONTENT_TYPE})


async def outcome_of(bus: Client, generation_id: UUID, seconds: float = 10) -> Outcome:
    """What the log keeps, once it keeps something."""
    stream = bus.jetstream()
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(nats.js.errors.NotFoundError):
                subject = topology.outcome_subject(generation_id)
                message = await stream.get_last_msg("OUTCOMES", subject, direct=True)
                return Outcome.decode(message.data or b"")
            await asyncio.sleep(0.02)


async def rows(database: Database, statement: str, **values: object) -> list[Any]:
    async with database.statement() as connection:
        result = await connection.execute(text(statement), values)
        return list(result)


async def names(objects: Any) -> set[str]:
    return {name async for batch in objects.names() for name in batch}


async def put_claim(bus: Client, name: str, content: bytes, chunk_bytes: int = 128 << 10, **changes: object) -> None:
    """Leaves bytes in the claims bucket as any Object Store client does (ADR-20)."""
    bucket, nuid = topology.CLAIMS_BUCKET, uuid4().hex
    stream = bus.jetstream()
    chunks = [content[start : start + chunk_bytes] for start in range(0, len(content), chunk_bytes)]
    for chunk in chunks:
        await stream.publish(f"$O.{bucket}.C.{nuid}", chunk)
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
    about = {"name": name, "bucket": bucket, "nuid": nuid, "size": len(content), "chunks": len(chunks)}
    about |= {"digest": f"SHA-256={digest}", **changes}
    subject = f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
    await stream.publish(subject, json.dumps(about).encode(), headers={"Nats-Rollup": "sub"})


async def assets_of(database: Database, fact: Rendered) -> list[dict[str, object]]:
    return [
        dict(row)
        for row in await rows(
            database,
            "SELECT * FROM assets WHERE generation_id = :id ORDER BY index",
            id=fact.data.request.generation_id,
        )
    ]


def cancelled(fact: Rendered) -> Outcome:
    ending = Ending(generation_id=fact.data.request.generation_id, verdict=Verdict.CANCELLED)
    return Outcome.of(ending, "gateway", None)
