"""The bus is away: what is accepted is driven when it is back, never lost (P2, F3–F5, F7)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import Verdict
from darkroom.embedded import NatsServer
from darkroom.jetstream import connect
from darkroom.topology.apply import apply
from gateway import live, records
from gateway.settings import Settings
from runtime.database import Database

from .client import Client, Event, until
from .conftest import MANY, MakeClient, Service, migrated, playing, serving, settings_of, with_limits
from .outcomes import outcome_of
from .players import Players

pytestmark = pytest.mark.connected


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> NatsServer:
    """Not started: the first test shows how a gateway starts without it."""
    return NatsServer(tmp_path_factory.mktemp("nats"))


@pytest.fixture(scope="module")
async def settings(server: NatsServer, make_database: Callable[[str], str]) -> Settings:
    settings = settings_of(server.nats_url, await migrated(make_database("gateway")))
    sweeper = settings.sweeper.model_copy(
        update={"every_seconds": 0.1, "first_drive_seconds": 0.3, "longest_pause_seconds": 0.5, "lag_limit": MANY}
    )
    return with_limits(replace(settings, sweeper=sweeper), sync_wait_seconds=1)


@pytest.fixture(scope="module")
async def service(settings: Settings) -> AsyncIterator[Service]:
    async with serving(settings) as gateway:
        yield gateway


async def test_a_gateway_starts_without_a_bus_and_joins_it_later(
    server: NatsServer, client: Client, nobody: Client, postgres: asyncpg.Pool
) -> None:
    async def ready() -> bool:
        return (await nobody.get("/ready")).status == 200

    await until(ready)
    started = time.perf_counter()
    made = await client.accepted(prompt="early")
    assert time.perf_counter() - started < 2
    assert (made["status"], made["quote"]) == ("pending", 1)
    assert [item["id"] for item in (await client.get("/v1/generations")).json["items"]] == [made["id"]]
    balance = await client.get("/v1/credits")
    assert (balance.status, balance.json["code"]) == (503, "unavailable")
    server.start()
    async with playing(server.nats_url):
        assert (await client.ended(made["id"], 15))["status"] == "completed"

    async def driven() -> bool:
        """What was published is counted after it, and may end before."""
        return bool(await postgres.fetchval("SELECT drives FROM generations WHERE id = $1", UUID(made["id"])))

    await until(driven)


@pytest.fixture(scope="module")
async def played(server: NatsServer) -> AsyncIterator[tuple[NatsClient, Players]]:
    await asyncio.to_thread(server.start)  # the first test may run elsewhere, or not at all
    async with playing(server.nats_url) as both:
        yield both


@pytest.fixture
async def down(server: NatsServer, service: Service, players: Players, client_of: MakeClient) -> AsyncIterator[None]:
    """A test in which the bus was killed, and starts again for the next one."""
    probe = client_of()

    async def joined() -> bool:
        return (await probe.get("/v1/credits")).status == 200

    await until(joined, 15)
    server.kill()

    async def noticed() -> bool:
        return (await probe.get("/v1/credits")).status == 503

    await until(noticed)
    yield
    server.start()


@pytest.mark.usefixtures("down")
async def test_what_is_accepted_while_the_bus_is_down_is_driven_when_it_is_back(
    server: NatsServer, client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    answers = await asyncio.gather(*(client.create(prompt=str(number)) for number in range(10)))
    assert {answer.status for answer in answers} == {202}
    await asyncio.sleep(0.5)
    drives = await postgres.fetchval("SELECT max(drives) FROM generations WHERE user_id = $1", client.user_id)
    assert drives == 0
    server.start()
    for answer in answers:
        assert (await client.ended(answer.json["id"], 15))["status"] == "completed"


@pytest.mark.usefixtures("down")
async def test_a_cancel_is_agreed_to_at_once_and_carried_out_when_the_bus_is_back(
    server: NatsServer, client: Client, players: Players
) -> None:
    made = await client.accepted()
    started = time.perf_counter()
    for _ in range(2):
        answer = await client.cancel(made["id"])
        assert (answer.status, answer.json["status"]) == (202, "pending")
    assert time.perf_counter() - started < 2
    server.start()
    assert (await client.ended(made["id"], 15))["status"] == "cancelled"
    assert not players.of(client.user_id)


@pytest.mark.usefixtures("down")
async def test_a_held_open_request_gives_up_with_a_place_to_look_and_goes_on(
    server: NatsServer, client: Client
) -> None:
    """504 and not 5xx of any other kind: the client must not ask for it again."""
    answer = await client.post("/api/images/generate", json={"prompt": "x"})
    assert (answer.status, answer.json["code"]) == (504, "still_running")
    server.start()
    generation_id = answer.headers["Location"].removeprefix("/v1/generations/")
    assert (await client.ended(generation_id, 15))["status"] == "completed"


async def test_a_stream_of_events_ends_by_the_row_when_the_bus_dies_in_mid_stream(
    server: NatsServer,
    settings: Settings,
    client: Client,
    players: Players,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another gateway, which has a bus, records the outcome; this one has nothing but the row."""
    monkeypatch.setattr(live, "LOOK_AGAIN_SECONDS", 0.1)

    async def joined() -> bool:
        return (await client.get("/v1/credits")).status == 200

    await until(joined, 15)
    players.scripts[client.user_id] = players.hold
    made = await client.accepted()
    wanted = await players.heard(made["id"])
    seen: list[Event] = []
    async for event in client.events(made["id"]):
        seen.append(event)
        if event.name == "generation":
            server.kill()
            database = Database(settings.database, "another gateway")
            async with database.transaction() as connection:
                await records.finish(connection, [outcome_of(wanted, Verdict.COMPLETED)])
            await database.close()
    assert [event.name for event in seen] == ["generation", "outcome"]
    assert seen[-1].data["status"] == "completed"
    server.start()


async def test_a_broker_whose_disk_was_wiped_loses_nothing(
    server: NatsServer, client: Client, players: Players
) -> None:
    """P2, F7: everything accepted still ends, and new requests do as well."""
    players.scripts[client.user_id] = players.hold

    async def joined() -> bool:
        return (await client.get("/v1/credits")).status == 200

    await until(joined, 15)
    made = [(await client.accepted())["id"] for _ in range(5)]
    for generation_id in made:
        await players.heard(generation_id)
    players.scripts[client.user_id] = players.complete
    server.wipe()
    topology = await connect(server.nats_url, "topology")
    await apply(topology)
    await topology.close()
    for generation_id in made:
        assert (await client.ended(generation_id, 20))["status"] == "completed"
    assert (await client.ended((await client.accepted())["id"], 15))["status"] == "completed"
