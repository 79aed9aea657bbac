"""What the tests of the jaaz frontend share: how it calls its functions, and who keeps keys and files, played."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

from nats.aio.client import Client as NatsClient

from contracts.facts import Request
from contracts.payments import BegunPayment, CreatedPayment
from contracts.progress import NUMBERS_PER_ATTEMPT, Progress
from contracts.questions import (
    GENERATOR_KEYS,
    GENERATOR_SET_KEY,
    STORAGE_DELETE,
    STORAGE_FIND_MEDIA,
    STORAGE_TAKE_UPLOAD,
)
from contracts.topology import progress_subject

from .client import Client
from .players import Players
from .test_provider_keys import Vault
from .test_uploads import Storage

V1 = "/api/v1"
F = "/functions/v1"
CLIENT_HEADERS = {"apikey": "anon", "x-client-info": "supabase-js-web/2.50.0"}
PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
    b"\x00\x00\x00\nIDATx\x9cc\x00\x01\x00\x00\x05\x00\x01\r\n-\xb4\x00\x00\x00\x00IEND\xaeB`\x82"
)


@contextlib.asynccontextmanager
async def answering(bus: NatsClient, answers: dict[str, Any]) -> AsyncIterator[None]:
    heard = [await bus.subscribe(subject, cb=answer) for subject, answer in answers.items()]
    for _ in range(2):  # the first ping overtakes what nats-py has not written yet
        await bus.flush()
    yield
    for subscription in heard:
        await subscription.unsubscribe()


@contextlib.asynccontextmanager
async def keeping_keys(bus: NatsClient) -> AsyncIterator[Vault]:
    vault = Vault()
    async with answering(bus, {GENERATOR_KEYS: vault.keys, GENERATOR_SET_KEY: vault.set}):
        yield vault


@contextlib.asynccontextmanager
async def keeping_files(bus: NatsClient) -> AsyncIterator[Storage]:
    storage = Storage(bus)
    async with answering(
        bus, {STORAGE_TAKE_UPLOAD: storage.take, STORAGE_FIND_MEDIA: storage.find, STORAGE_DELETE: storage.delete}
    ):
        yield storage


async def write(bus: NatsClient, players: Players, request: Request, lost: int | None = None) -> None:
    """The generator writes what `players` will say that it wrote, in pieces; the piece `lost` is not heard."""
    await players.fund(request)
    for number, piece in enumerate(pieces_of(request.prompt), 1):
        told = Progress(generation_id=request.generation_id, number=number, stage="rendering", percent=50, text=piece)
        if number != lost:
            await bus.publish(progress_subject(request.generation_id), told.model_dump_json().encode())
    await bus.flush()
    await players.complete(request)


async def write_anew(players: Players, request: Request, text: str) -> None:
    """The generator loses its provider after a few words; a second attempt writes something else."""
    await players.fund(request)
    first, second = ("The capital ", "of France ", "is not "), text.partition(" ")
    for begin, pieces in ((1, first), (NUMBERS_PER_ATTEMPT + 1, second)):
        for number, piece in enumerate(pieces, begin):
            await players.progress(request.generation_id, number, 50, text=piece)
    await players.write(request, text)


def pieces_of(prompt: str) -> Iterator[str]:
    words = answer_to(prompt).split(" ")
    yield words[0]
    yield from (f" {word}" for word in words[1:])


def answer_to(prompt: str) -> str:
    """As `players` answer it."""
    return f"About {prompt}: it is well said."


async def call(client: Client, function: str, **body: Any) -> Any:
    answer = await client.post(f"{F}/{function}", CLIENT_HEADERS, json=body)
    assert answer.status == 200, answer.text
    return answer.json


def begun(price: int) -> CreatedPayment:
    return CreatedPayment(
        payment=BegunPayment(
            payment_id=uuid4(),
            payment_intent="pi_1",
            client_secret="pi_1_secret",
            publishable_key="pk",
            pack="small",
            credits=1_000_000,
            price=price,
            currency="usd",
            status="requires_payment_method",
        )
    )


def box(name: str, x: int) -> dict[str, Any]:
    return {"id": name, "type": "rectangle", "x": x, "y": 10, "width": 100, "height": 50, "version": 1}
