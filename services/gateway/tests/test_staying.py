"""What is open is as good as what opened it: a socket's events are asked as requests are, and whoever has no good token
any more is sent away, however silent."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from .client import Client, Event, token
from .conftest import MakeClient
from .players import Players
from .sockets import Open, Socket
from .test_api_keys import make_key

pytestmark = pytest.mark.connected
TALK = {"session_id": "s1", "message": "An essay on lighthouses"}


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key or a token is believed for a moment, and whoever is silent is asked about every other."""
    monkeypatch.setattr("gateway.api_keys.ring.BELIEVED_SECONDS", 0.3)
    monkeypatch.setattr("gateway.identity.BELIEVED_SECONDS", 0.3)
    for module in ("streaming", "sockets.server"):
        monkeypatch.setattr(f"gateway.{module}.ASK_AGAIN_SECONDS", 0.3)


async def made_of(client: Client, postgres: asyncpg.Pool) -> int:
    count: int = await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id)
    return count


async def refused(socket: Socket, event: str, body: Any, code: str) -> None:
    number = len(socket.heard["chat_error"])
    await socket.client.emit(event, body)
    error = (await socket.hears("chat_error", number + 1))[-1]
    assert (error["code"], error["event"]) == (code, event)


# -- what a socket sends ------------------------------------------------------------------------------------------


async def test_a_key_for_reading_hears_and_changes_nothing(
    client: Client, open_socket: Open, postgres: asyncpg.Pool
) -> None:
    canvas = (await client.post("/api/v1/canvases", json={"title": "x", "elements": []})).json["canvas_id"]
    key = (await make_key(client, scopes=["read"]))["key"]
    socket = await open_socket(client.user_id, {"token": key})
    await refused(socket, "chat_message", TALK, "SCOPE_MISSING")
    await refused(socket, "canvas_update", {"canvas_id": canvas, "elements": [{"id": "a"}]}, "SCOPE_MISSING")
    assert await made_of(client, postgres) == 0
    assert (await client.get(f"/api/v1/canvases/{canvas}")).json["elements"] == []
    assert (await socket.ask("join_session", {"session_id": "s1"}))["success"] is True
    assert (await socket.ask("resync", {}))["reset"] is True
    assert (await socket.ask("leave_session", {"session_id": "s1"}))["success"] is True
    await socket.client.emit("ping", {})
    await socket.hears("pong")
    assert not socket.is_closed.is_set()
    both = await open_socket(client.user_id, {"token": (await make_key(client))["key"]})
    assert (await both.ask("chat_message", TALK))["success"] is True


async def test_each_event_counts_for_the_limit_of_its_key(client: Client, open_socket: Open) -> None:
    key = (await make_key(client, requests_per_minute=3))["key"]
    socket = await open_socket(client.user_id, {"token": key})
    for _ in range(2):
        await socket.client.emit("ping", {})
    await socket.hears("pong", 2)
    await refused(socket, "ping", {}, "TOO_MANY_REQUESTS")
    assert not socket.is_closed.is_set()


async def test_a_revoked_key_sends_nothing_more_and_its_socket_ends(
    client: Client, open_socket: Open, postgres: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api_keys.ring.BELIEVED_SECONDS", 0.3)
    made = await make_key(client)
    socket, other = await open_socket(client.user_id, {"token": made["key"]}), await open_socket(client.user_id)
    assert (await client.request("DELETE", f"/v1/api-keys/{made['id']}")).status == 204
    await asyncio.sleep(0.4)
    await refused(socket, "chat_message", TALK, "UNAUTHENTICATED")
    await asyncio.wait_for(socket.is_closed.wait(), 10)
    assert await made_of(client, postgres) == 0
    await other.client.emit("ping", {})
    await other.hears("pong")


# -- whoever is silent --------------------------------------------------------------------------------------------


async def test_a_silent_socket_ends_with_its_key(client: Client, open_socket: Open, soon: None) -> None:
    made = await make_key(client)
    socket, other = await open_socket(client.user_id, {"token": made["key"]}), await open_socket(client.user_id)
    await asyncio.sleep(1)
    assert not socket.is_closed.is_set()
    assert (await client.request("DELETE", f"/v1/api-keys/{made['id']}")).status == 204
    await asyncio.wait_for(socket.is_closed.wait(), 10)
    assert socket.heard["error"][0]["code"] == "UNAUTHENTICATED"
    assert not other.is_closed.is_set()


End = Callable[[], Awaitable[Any]]
"""Ends what a socket or a stream was opened with."""


@pytest.fixture(params=["a revoked key", "a token that ends"])
async def opened(request: pytest.FixtureRequest, client: Client, soon: None) -> tuple[str, End]:
    """What something is opened with, and how that ends."""
    if request.param == "a token that ends":
        # Ten seconds beyond its end it is believed, since clocks differ.
        return token(client.user_id, exp=int(time.time()) - 5), lambda: asyncio.sleep(0)
    made = await make_key(client)
    return made["key"], lambda: client.request("DELETE", f"/v1/api-keys/{made['id']}")


async def all_of(stream: AsyncIterator[Event]) -> list[Event]:
    async with asyncio.timeout(20):
        return [event async for event in stream]


@pytest.mark.parametrize("of_one", [False, True])
async def test_a_stream_ends_with_what_opened_it(
    client: Client, client_of: MakeClient, players: Players, opened: tuple[str, End], *, of_one: bool
) -> None:
    """As one that has said all, and not as a connection that breaks; whoever may stay goes on."""
    bearer, end = opened
    players.scripts[client.user_id] = players.hold
    held = (await client.accepted())["id"]
    held_id = held if of_one else None
    stream, good = client_of(client.user_id, bearer).events(held_id), client.events(held_id)
    assert [(await anext(each)).name for each in (stream, good)] == ["generation" if of_one else "snapshot"] * 2
    await end()
    assert await all_of(stream) == []
    await players.complete(await players.heard(held))
    assert (await anext(good)).name == ("outcome" if of_one else "generation")


async def test_asking_again_is_no_request_of_the_keys(client: Client, client_of: MakeClient, soon: None) -> None:
    key = (await make_key(client, requests_per_minute=2))["key"]
    holder = client_of(client.user_id, key)
    stream = holder.events()
    assert (await anext(stream)).name == "snapshot"
    await asyncio.sleep(1.5)
    assert [(await holder.get("/v1/models")).status for _ in range(2)] == [200, 429]
