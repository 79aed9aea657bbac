"""Storage, as far as it lends what was made."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from nats.aio.client import Client as NatsClient

from contracts.facts import Failure
from contracts.keeping import Lend, Lent
from contracts.questions import STORAGE_LEND


class Lender:
    """Lends every asset: its bytes say whose it is. `failures`: what is said instead, by user."""

    def __init__(self, bus: NatsClient) -> None:
        self._bus = bus
        self.asked: list[Lend] = []
        self.failures: dict[UUID, str] = {}
        self.sizes: dict[UUID, int] = {}
        """How many bytes a user's assets have, where that matters."""

    def content(self, question: Lend) -> bytes:
        said = f"{question.asset_id} {question.variant or 'original'} ".encode()
        wanted = self.sizes.get(question.user_id, len(said))
        return (said * (wanted // len(said) + 1))[:wanted]

    async def lend(self, message: Any) -> None:
        question = Lend.model_validate_json(message.data)
        self.asked.append(question)
        if (code := self.failures.get(question.user_id)) is not None:
            await message.respond(Lent(failure=Failure(code=code, message="No.")).model_dump_json().encode())
            return
        claim = f"lent/{question.asset_id}/{question.variant}"
        await (await self._bus.jetstream().object_store("claims")).put(claim, self.content(question))
        mime_type = "image/webp" if question.variant else "video/mp4"
        await message.respond(Lent(claim=claim, mime_type=mime_type).model_dump_json().encode())


@contextlib.asynccontextmanager
async def lending(bus: NatsClient) -> AsyncIterator[Lender]:
    lender = Lender(bus)
    subscription = await bus.subscribe(STORAGE_LEND, cb=lender.lend)
    for _ in range(2):  # the first ping overtakes what nats-py has not written yet
        await bus.flush()
    yield lender
    await subscription.unsubscribe()
