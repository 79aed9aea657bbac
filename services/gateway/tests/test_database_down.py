"""The database is away: 503 and `Retry-After`, nothing recorded, and all well again by itself (P21, F26)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from darkroom.embedded import PostgresServer
from gateway import live
from gateway.settings import Settings

from .client import Answer, Client, Event, until
from .conftest import MakeClient, Service, migrated, settings_of, with_limits
from .players import Players
from .sockets import Open
from .test_jaaz_agents import FOX, Artist, asked, saying, with_canvas

pytestmark = pytest.mark.connected

RETRY_AFTER = "Retry-After"


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.stop)


@pytest.fixture(scope="module")
async def settings(server: PostgresServer, nats_server: Any) -> Settings:
    known = settings_of(nats_server.nats_url, await migrated(server.admin_url))
    # So few requests that each asks the database for its turn.
    return with_limits(known, sync_wait_seconds=8, requests_per_minute=119)


async def rows(server: PostgresServer, user_id: object) -> int:
    connection = await asyncpg.connect(server.admin_url)
    found = await connection.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", user_id)
    await connection.close()
    assert isinstance(found, int)
    return found


async def restart(server: PostgresServer) -> None:
    await asyncio.to_thread(server.start)


async def test_requests_are_503_nothing_is_recorded_and_it_recovers_by_itself(
    server: PostgresServer, client: Client, nobody: Client, players: Players
) -> None:
    made = await client.ended((await client.accepted())["id"])
    server.kill()
    asked = len(players.of(client.user_id))
    native = [
        await client.create(),
        await client.create(key="one"),
        await client.get("/v1/generations"),
        await client.get(f"/v1/generations/{made['id']}"),
        await client.get(f"/v1/generations/{made['id']}/events"),
        await client.cancel(made["id"]),
    ]
    for answer in native:
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert int(answer.headers[RETRY_AFTER]) > 0
    for path in ("generate", "test"):
        answer = await client.post(f"/api/images/{path}", {"Origin": "https://app.example"}, json={"prompt": "x"})
        assert answer.status == 503
        assert int(answer.headers[RETRY_AFTER]) > 0
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert isinstance(answer.json["error"], str)
    assert (await nobody.get("/live")).status == 200
    ready = await nobody.get("/ready")
    assert (ready.status, len(ready.json["problems"])) == (503, 1)
    assert (await client.get("/v1/models")).status == 200
    assert len(players.of(client.user_id)) == asked

    await restart(server)

    async def accepted() -> Any:
        answer = await client.create(key="one")
        return answer.json if answer.status == 202 else None

    again = await until(accepted, 10)
    assert (await client.ended(again["id"]))["status"] == "completed"
    assert await rows(server, client.user_id) == 2
    assert (await nobody.get("/ready")).status == 200


async def test_a_restart_between_two_requests_is_noticed_by_nobody(server: PostgresServer, client: Client) -> None:
    """Every pooled connection is dead; a create is tried again under its id."""
    await asyncio.gather(*(client.accepted() for _ in range(10)))
    server.kill()
    await restart(server)
    assert (await client.create()).status == 202


async def test_whoever_waits_goes_on_waiting(
    server: PostgresServer, client: Client, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was accepted before is never answered with "nothing was recorded"; outcomes are recorded on return."""
    monkeypatch.setattr(live, "LOOK_AGAIN_SECONDS", 0.2)
    players.scripts[client.user_id] = players.hold
    answering: asyncio.Task[Answer] = asyncio.create_task(client.post("/api/images/generate", json={"prompt": "x"}))
    followed = await client.accepted()
    seen: list[Event] = []

    async def follow() -> None:
        async for event in client.events(followed["id"]):
            seen.append(event)  # noqa: PERF401 - looked at while it grows

    following = asyncio.create_task(follow())

    async def both() -> bool:
        return bool(seen) and len(players.of(client.user_id)) == 2

    await until(both)
    server.kill()
    for request in players.of(client.user_id):
        await players.complete(request)
    await asyncio.sleep(0.7)
    assert not answering.done()
    assert not following.done()
    await restart(server)
    answer = await answering
    assert (answer.status, len(answer.json["images"])) == (200, 1)
    await following
    assert (seen[-1].name, seen[-1].data["status"]) == ("outcome", "completed")


async def test_whoever_waits_in_vain_is_told_where_to_look(
    server: PostgresServer, client_of: MakeClient, players: Players, service: Service
) -> None:
    client = client_of()
    players.scripts[client.user_id] = players.hold
    answering: asyncio.Task[Answer] = asyncio.create_task(client.post("/api/images/generate", json={"prompt": "x"}))

    async def heard() -> bool:
        return bool(players.of(client.user_id))

    await until(heard)
    server.kill()
    answer = await answering
    assert (answer.status, answer.json["code"]) == (504, "still_running")
    await restart(server)
    await players.complete((await players.published(client.user_id))[0])
    generation_id = answer.headers["Location"].removeprefix("/v1/generations/")
    assert (await client.ended(generation_id, 10))["status"] == "completed"


async def test_a_database_that_takes_nothing_is_away(server: PostgresServer, client: Client) -> None:
    """As while another server takes over, or where a disk is full: 503, nothing is recorded, and all well again."""
    connection = await asyncpg.connect(server.admin_url)
    try:
        await connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await connection.execute("SELECT pg_reload_conf()")

        async def is_refused() -> bool:
            return (await client.create()).status == 503

        await until(is_refused)
        answer = await client.create()
        assert (answer.status, answer.json["code"]) == (503, "unavailable"), answer.text
        assert int(answer.headers[RETRY_AFTER]) > 0
    finally:
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute("ALTER SYSTEM RESET ALL")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()

    async def is_taken() -> bool:
        return (await client.create()).status == 202

    await until(is_taken)


async def test_a_chat_that_draws_goes_on_and_is_answered(
    server: PostgresServer, client: Client, players: Players
) -> None:
    """What was accepted is not said to be recorded nowhere: it would be said, drawn and paid a second time."""
    artist = Artist(players, [FOX])
    artist.may_draw.clear()
    players.scripts[client.user_id] = artist
    canvas_id = await with_canvas(client)
    answering = asyncio.create_task(client.post("/api/v1/chat/message", json=saying(canvas_id)))

    async def drawing() -> bool:
        return len(asked(players, client)) == 2

    await until(drawing, 15)
    server.kill()
    done, _ = await asyncio.wait([answering], timeout=2)
    assert not done
    await restart(server)
    artist.may_draw.set()
    answer = await answering
    assert (answer.status, await rows(server, client.user_id)) == (200, 3), answer.text


async def test_a_keys_socket_outlives_the_database(
    server: PostgresServer, client: Client, open_socket: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its key is still good cannot be asked meanwhile, and what it sends is refused for now."""
    monkeypatch.setattr("gateway.api_keys.ring.BELIEVED_SECONDS", 0.1)
    monkeypatch.setattr("gateway.sockets.server.ASK_AGAIN_SECONDS", 0.1)
    key = (await client.post("/v1/api-keys", json={"name": "a program"})).json["key"]
    socket = await open_socket(client.user_id, {"token": key})
    server.kill()
    await asyncio.sleep(1)
    await socket.client.emit("ping", {})
    assert (await socket.hears("chat_error"))[0]["code"] == "UNAVAILABLE"
    await restart(server)

    async def answered() -> bool:
        await socket.client.emit("ping", {})
        return bool(socket.heard["pong"])

    await until(answered, 20)
    assert not socket.is_closed.is_set()
