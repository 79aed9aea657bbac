"""A stream with a consumer to be consumed from, and how a test waits for what becomes of it."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from faststream.nats import NatsBroker
from nats.js.api import ConsumerConfig, StreamConfig
from pydantic import BaseModel

from runtime.broker import publish
from runtime.consumption import Consumers


class Note(BaseModel):
    subject: str
    traceparent: str | None = None
    number: int

    @classmethod
    def decode(cls, payload: bytes) -> "Note":
        return cls.model_validate_json(payload)


class Durable(BaseModel):
    stream: str
    durable: str


class Stage:
    """A stream of its own with one consumer."""

    def __init__(self, broker: NatsBroker) -> None:
        self.broker = broker
        self.name = f"T{secrets.token_hex(4)}"
        self.consumer = Durable(stream=self.name, durable=f"{self.name}-reads")
        self.jetstream = broker.connection.jetstream()

    async def make(self, ack_wait_seconds: float = 30) -> None:
        await self.jetstream.add_stream(StreamConfig(name=self.name, subjects=[f"{self.name}.>"]))
        await self.make_consumer(ack_wait_seconds)

    async def make_consumer(self, ack_wait_seconds: float = 30) -> None:
        await self.jetstream.add_consumer(
            self.name,
            ConsumerConfig(
                durable_name=self.consumer.durable, ack_policy="explicit", ack_wait=ack_wait_seconds, max_waiting=64
            ),
        )

    async def send(self, *numbers: int) -> None:
        for number in numbers:
            body = Note(subject=str(number), number=number).model_dump_json().encode()
            await publish(self.broker, f"{self.name}.{number}", body, stream=self.name, content_type="application/json")

    async def unsettled(self) -> int:
        info = await self.jetstream.consumer_info(self.name, self.consumer.durable)
        return (info.num_ack_pending or 0) + (info.num_pending or 0)

    async def dead(self) -> list[dict[str, Any]]:
        letters = []
        subject = f"dead.{self.consumer.durable}"
        info = await self.jetstream.stream_info("DEAD", subjects_filter=subject)
        if info.state.subjects and subject in info.state.subjects:
            message = await self.jetstream.get_last_msg("DEAD", subject)
            letters.append(json.loads(message.data or b"{}"))
        return letters


@asynccontextmanager
async def consuming(consumers: Consumers) -> AsyncIterator[None]:
    await consumers.start()
    try:
        yield
    finally:
        await consumers.stop()


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return
            await asyncio.sleep(0.01)


async def settled(stage: Stage) -> bool:
    return await stage.unsettled() == 0
