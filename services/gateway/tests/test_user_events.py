"""Everything that a user is told, in one stream that is taken up again on any replica."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from nats.aio.client import Client as NatsClient
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext

from contracts.topology import notification_subject
from darkroom.embedded.ports import free_port
from gateway import live, user_events
from gateway.app import create_app
from gateway.listeners import SHUTDOWN_SECONDS, server_of
from gateway.queries import Queries
from gateway.settings import Settings

from .client import Client, Event, token, until
from .conftest import MakeClient, serving
from .players import Players
from .sockets import Open

pytestmark = pytest.mark.connected


@contextlib.asynccontextmanager
async def following(client: Client, last: str | None = None) -> AsyncIterator[AsyncIterator[Event]]:
    stream = client.events(last=last)
    try:
        async with asyncio.timeout(10):
            yield stream
    finally:
        await stream.aclose()  # type: ignore[attr-defined]


async def last_id(client: Client) -> str:
    """The id of the last thing that a user was told."""

    async def found() -> str | None:
        async with following(client) as stream:
            return (await anext(stream)).id

    said: str = await until(found)
    return said


async def test_first_what_there_is_then_every_end(client: Client) -> None:
    before = await client.ended((await client.accepted())["id"])
    await last_id(client)
    async with following(client) as stream:
        first = await anext(stream)
        assert first.name == "snapshot" and first.id
        assert first.data["items"] == [before]
        made = [(await client.accepted())["id"] for _ in range(3)]
        seen = [await anext(stream) for _ in range(3)]
    assert {event.name for event in seen} == {"generation"}
    assert {event.data["id"] for event in seen} == set(made)
    assert all(event.data["status"] == "completed" for event in seen)
    numbers = [int(str(event.id).partition("-")[2]) for event in (first, *seen)]
    assert numbers == sorted(set(numbers))


async def test_what_ends_is_told_without_reading_it_again(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notification holds it: a row for each of thousands of listeners would cost more than all the rest."""
    async with following(client) as stream:
        assert (await anext(stream)).name == "snapshot"
        with monkeypatch.context() as broken:
            broken.setattr(Queries, "generation", _not_read)
            made = (await client.accepted())["id"]
            told = await anext(stream)
        assert (told.data["id"], told.data) == (made, await client.show(made))


@pytest.mark.parametrize("shown", ["", ',"shown":"{}"'], ids=["to be read", "with it"])
async def test_a_notification_that_names_no_generation_is_passed_over(
    client: Client, bus: NatsClient, open_socket: Open, shown: str
) -> None:
    socket = await open_socket(client.user_id)
    fact = f'{{"data":{{"generation_id":"x","user_id":"{client.user_id}","status":"completed","dialect":"native"'
    async with following(client) as stream:
        assert (await anext(stream)).name == "snapshot"
        await bus.jetstream().publish(notification_subject(client.user_id, "completed"), f"{fact}{shown}}}}}".encode())
        made = (await client.accepted())["id"]
        async for event in stream:
            if event.data:
                assert event.data["id"] == made
                break
    assert [update["id"] for update in await socket.hears("generation_updated")] == [made]


async def _not_read(*_: object) -> None:
    raise AssertionError("its row was read")


async def test_it_is_taken_up_where_it_was_left_on_any_replica(
    client: Client, settings: Settings, bus: NatsClient, http: aiohttp.ClientSession
) -> None:
    await client.ended((await client.accepted())["id"])
    last = await last_id(client)
    missed = [(await client.ended((await client.accepted())["id"]))["id"] for _ in range(3)]
    async with serving(settings, bus) as replica:
        elsewhere = Client(http, replica.url, client.user_id, token(client.user_id))
        async with following(elsewhere, last) as stream:
            seen = [await anext(stream) for _ in range(3)]
            assert [(event.name, event.data["id"]) for event in seen] == [("generation", each) for each in missed]
            later = (await client.accepted())["id"]
            assert (await anext(stream)).data["id"] == later
        async with following(client, seen[1].id) as stream:
            assert (await anext(stream)).data["id"] == missed[2]


@pytest.mark.parametrize("last", ["garbage", "abc-1", "zzzzzzzz-99999999999999999999", "-", "1-", "-1", "1-1", "ÿ"])
async def test_what_cannot_be_taken_up_is_a_reset_and_what_there_is(client: Client, last: str) -> None:
    done = await client.ended((await client.accepted())["id"])
    async with following(client, last) as stream:
        seen = [await anext(stream), await anext(stream)]
    assert [event.name for event in seen] == ["reset", "snapshot"]
    assert seen[1].data["items"] == [done]


async def test_a_place_of_another_epoch_in_a_gap_or_of_another_user_is_a_reset(
    client: Client, client_of: MakeClient
) -> None:
    other = client_of()
    for user in (client, other):
        await user.ended((await user.accepted())["id"])
    own, foreign = await last_id(client), await last_id(other)
    epoch, _, number = own.partition("-")
    for last in (foreign, f"{epoch}x-{number}", f"{epoch}-{int(number) + 1_000_000}", f"{epoch}-0"):
        async with following(client, last) as stream:
            assert [(await anext(stream)).name, (await anext(stream)).name] == ["reset", "snapshot"]


async def test_a_log_that_does_not_answer_is_asked_again_and_is_no_reset(
    client: Client, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where hundreds come back at once: nothing is too old, and nobody is sent back to the start."""
    await client.ended((await client.accepted())["id"])
    last = await last_id(client)
    missed = (await client.ended((await client.accepted())["id"]))["id"]
    monkeypatch.setattr(user_events, "ASK_AGAIN_SECONDS", 0.01)
    headers = {"Authorization": f"Bearer {token(client.user_id)}", "Last-Event-ID": last}

    async def mute(*_: Any) -> None:
        raise NatsTimeoutError

    with monkeypatch.context() as silent:
        silent.setattr(JetStreamContext, "stream_info", mute)
        async with asyncio.timeout(10), http.get(f"{client.url}/v1/events", headers=headers) as answer:
            assert await answer.content.readline() == b": ping\n"
            silent.undo()
            said = [line async for line in _until_said(answer.content)]
    assert b"event: reset\n" not in said and b"event: snapshot\n" not in said
    assert missed.encode() in said[-1]


async def _until_said(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    async for line in content:
        yield line
        if line.startswith(b"data: "):
            return


async def test_more_than_one_answer_of_the_log_holds_is_taken_up_too(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And more than `MAX_MISSED` is read again from the start."""
    await client.ended((await client.accepted())["id"])
    last = await last_id(client)
    missed = [(await client.ended((await client.accepted())["id"]))["id"] for _ in range(4)]
    for module in ("missed", "recalling"):
        monkeypatch.setattr(f"gateway.{module}.MAX_MESSAGES", 2)
    async with following(client, last) as stream:
        assert [(await anext(stream)).data["id"] for _ in missed] == missed
    monkeypatch.setattr("gateway.missed.MAX_MISSED", 3)
    async with following(client, last) as stream:
        assert (await anext(stream)).name == "reset"


async def test_nobody_hears_of_anothers(client: Client, client_of: MakeClient) -> None:
    other = client_of()
    async with following(client) as stream:
        assert (await anext(stream)).data["items"] == []
        await other.ended((await other.accepted())["id"])
        own = (await client.accepted())["id"]
        assert (await anext(stream)).data["id"] == own


async def test_a_silent_stream_is_kept_alive(
    client: Client, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_events, "PING_SECONDS", 0.05)
    headers = {"Authorization": f"Bearer {token(client.user_id)}"}
    async with asyncio.timeout(10), http.get(f"{client.url}/v1/events", headers=headers) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        async for line in answer.content:
            if line == b": ping\n":
                break


async def test_a_reader_that_is_too_slow_is_sent_away_and_misses_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had not read waits in the log, not here."""
    monkeypatch.setattr(live, "MAX_QUEUED_EVENTS", 2)
    slow = asyncio.Event()
    await client.ended((await client.accepted())["id"])
    last = await last_id(client)
    original, served = user_events._next, []

    async def held(heard: live.Reader, show: user_events.Show) -> bytes:
        if served:
            await slow.wait()
        served.append(said := await original(heard, show))
        return said

    monkeypatch.setattr(user_events, "_next", held)
    async with following(client) as stream:
        assert (await anext(stream)).name == "snapshot"
        made = [(await client.ended((await client.accepted())["id"]))["id"] for _ in range(6)]
        slow.set()
        seen = [event async for event in stream]
    assert len(seen) < 6
    async with following(client, last) as stream:
        assert [(await anext(stream)).data["id"] for _ in range(6)] == made


async def test_streams_are_bounded_and_nobody_is_refused_in_silence(
    client: Client, nobody: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await nobody.get("/v1/events")).status == 401
    monkeypatch.setattr(live, "MAX_STREAMS_OF_USER", 0)
    answer = await client.get("/v1/events")
    assert (answer.status, answer.json["code"]) == (429, "too_many_requests")


async def test_streams_end_with_their_server_and_go_on_at_another(
    client: Client, players: Players, settings: Settings, http: aiohttp.ClientSession
) -> None:
    """In good time: open requests alone would keep a server for SHUTDOWN_SECONDS."""
    await client.ended((await client.accepted())["id"])
    last = await last_id(client)
    players.scripts[client.user_id] = players.hold
    going_on = (await client.accepted())["id"]
    server = server_of(create_app(settings), settings.process.model_copy(update={"port": free_port()}))
    serving = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await until(started, 20)
    replica = Client(http, f"http://127.0.0.1:{server.config.port}", client.user_id, token(client.user_id))
    streams = [replica.events(), replica.events(going_on)]
    assert [(await anext(stream)).name for stream in streams] == ["snapshot", "generation"]
    started_at = time.monotonic()
    server.should_exit = True
    for stream in streams:
        assert [event async for event in stream] == []
    await serving
    assert time.monotonic() - started_at < SHUTDOWN_SECONDS
    await players.complete(await players.heard(going_on))
    async with following(client, last) as stream:
        assert (await anext(stream)).data["id"] == going_on


async def test_of_many_sockets_that_come_back_some_read_the_log(
    open_socket: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As streams do: all at once they would wait longer than it is waited for, and be told that it is lost."""
    reading = [0]

    async def read(*_: Any) -> None:
        reading.append(reading[-1] + 1)
        await asyncio.sleep(0.1)
        reading.append(reading[-1] - 1)

    monkeypatch.setattr("gateway.sockets.server.missed", read)
    socket = await open_socket()
    await asyncio.gather(*(socket.ask("resync", {}) for _ in range(live.MAX_CATCHING_UP + 8)))
    assert max(reading) == live.MAX_CATCHING_UP


CHAT = {"messages": [{"role": "user", "content": "An essay on lighthouses"}], "stream": True}
TALK = {"message": "An essay on lighthouses", "session_id": "s1", "stream": True}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/openai/v1/chat/completions", CHAT),
        ("/openai/v1/images/generations", {"prompt": "A lighthouse", "stream": True}),
        ("/api/v1/chat/message", TALK),
    ],
)
async def test_what_is_read_as_it_is_made_says_that_it_goes_on_where_its_server_ends(
    client: Client,
    players: Players,
    settings: Settings,
    http: aiohttp.ClientSession,
    path: str,
    body: dict[str, Any],
) -> None:
    """Cut off, it would hold the server up, and say nothing of what was accepted and is paid for."""
    players.scripts[client.user_id] = players.hold
    server = server_of(create_app(settings), settings.process.model_copy(update={"port": free_port()}))
    serving = asyncio.create_task(server.serve())

    replica = Client(http, f"http://127.0.0.1:{server.config.port}", client.user_id, token(client.user_id))

    async def ready() -> bool:
        return server.started and (await replica.get("/ready")).status == 200

    await until(ready, 20)
    reading = asyncio.create_task(replica.post(path, {"Accept": "text/event-stream"}, json=body))
    [request] = await players.published(client.user_id)
    started_at = time.monotonic()
    server.should_exit = True
    said = (await reading).text
    assert f"/v1/generations/{request.generation_id}" in said
    await serving
    assert time.monotonic() - started_at < SHUTDOWN_SECONDS
    assert (await client.show(str(request.generation_id)))["status"] == "pending"
