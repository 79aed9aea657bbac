"""The official SDKs for Node, unmodified, against a gateway that listens; what they do stands in tests/node."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient
from pydantic import SecretStr

from contracts.facts import Input
from contracts.judging import Category, Judgement, Moderate, Moderated
from contracts.questions import GENERATOR_MODERATE
from darkroom.embedded import free_port
from gateway.settings import Settings
from tests.node.running import install, passes, says

from .client import Client
from .conftest import MakeClient, Service, also_at, serving, with_limits
from .jaaz import answering
from .lenders import Lender
from .players import CATALOG, Players
from .takers import Storage, taking
from .test_api_keys import make_key

pytestmark = [pytest.mark.connected, pytest.mark.node, pytest.mark.timeout(300)]

PAGE = Path(__file__).parents[3] / "docs/openai-sdk.md"
PAINTER = "old-image"
"""Who starts from pictures here."""
START = "https://pictures.example/start.png"


@pytest.fixture(scope="module", autouse=True)
async def packages() -> None:
    await asyncio.to_thread(install)


@pytest.fixture(scope="module")
def fal_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def port() -> int:
    """The gateway's, since streams are read at the address that an answer names."""
    return free_port()


@pytest.fixture(scope="module")
async def settings(settings: Settings, players: Players, port: int, fal_port: int) -> Settings:
    """A gateway that has heard of the painter, and at which fal's queue has a port of its own; addresses as those of
    `darkroom up`."""
    models = tuple(
        model.model_copy(update={"inputs": ("image", "mask")}) if model.id == PAINTER else model
        for model in CATALOG.models
    )
    players.catalog = CATALOG.model_copy(update={"version": 2, "models": models})
    connection = await asyncpg.connect(settings.database.database_url.get_secret_value())
    await connection.execute(
        "UPDATE offers SET document = $1 WHERE name = 'catalog'", players.catalog.model_dump_json()
    )
    await connection.close()
    doors = settings.doors.model_copy(update={"frontends": f"fal={fal_port}"})
    addresses = settings.addresses.model_copy(
        update={
            "public_url": f"http://127.0.0.1:{port}",
            "media_cdn_domain": "media.example",
            "media_signing_key": SecretStr("a key of media"),
            "media_addresses": "public",
        }
    )
    return replace(with_limits(settings, sync_wait_seconds=5), doors=doors, addresses=addresses)


@pytest.fixture(scope="module")
async def service(settings: Settings, bus: NatsClient, players: Players, port: int) -> AsyncIterator[Service]:
    async with serving(settings, bus, port=port) as gateway:
        yield gateway


@pytest.fixture(scope="module")
async def storage(bus: NatsClient) -> AsyncIterator[Storage]:
    async with taking(bus) as storage:
        yield storage


@pytest.fixture(scope="module")
async def judge(bus: NatsClient) -> AsyncIterator[None]:
    """The generator, which finds torture violent."""

    def judged(text: str) -> Judgement:
        is_broken = "torture" in text
        return Judgement(flagged=is_broken, categories=(Category(name="violence", is_broken=is_broken, score=0.5),))

    async def answer(message: Any) -> None:
        question = Moderate.model_validate_json(message.data)
        await message.respond(Moderated(judgements=tuple(map(judged, question.texts))).model_dump_json().encode())

    async with answering(bus, {GENERATOR_MODERATE: answer}):
        yield


async def test_openais(
    client: Client, client_of: MakeClient, players: Players, storage: Storage, lender: Lender, judge: None
) -> None:
    key, poor = await make_key(client), client_of()
    poors_key = await make_key(poor)
    players.available[poor.user_id] = 0
    await passes(
        "openai.test.js",
        BASE_URL=f"{client.url}/openai/v1",
        DARKROOM_KEY=key["key"],
        DARKROOM_POOR_KEY=poors_key["key"],
        START_URL=START,
    )
    painted, filmed = [request for request in players.of(client.user_id) if request.inputs]
    assert painted.model == PAINTER
    assert filmed.inputs == (Input(role="first_frame", url=START),)
    assert not players.of(poor.user_id)


async def test_replicates(client: Client, players: Players) -> None:
    key = await make_key(client)
    await passes("replicate.test.js", BASE_URL=f"{client.url}/replicate/v1", DARKROOM_KEY=key["key"])


async def test_fals(client: Client, service: Service, fal_port: int) -> None:
    key = await make_key(client)
    async with also_at(service.app, fal_port):
        await passes("fal.test.js", BASE_URL=f"http://127.0.0.1:{fal_port}", DARKROOM_KEY=key["key"])


async def test_the_program_of_the_page_makes_a_picture(client: Client, players: Players) -> None:
    (program,) = re.findall(r"^```javascript\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    key = (await make_key(client))["key"]
    for _ in range(2):
        [address] = await says(program, GATEWAY_URL=client.url, DARKROOM_TOKEN=key)
    [request] = await players.published(client.user_id)
    assert request.generation_id.hex in address
