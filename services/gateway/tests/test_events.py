"""Live progress (P15, B45): the whole generation first, progress in order, the outcome last."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import Failure, Verdict
from darkroom.jetstream import ask
from gateway import live

from .client import Client, Event, until
from .conftest import MakeClient, followers
from .players import Players

pytestmark = pytest.mark.connected


@pytest.fixture
async def open_one(client: Client, players: Players) -> Any:
    """A generation that waits for the test's next word."""
    players.scripts[client.user_id] = players.hold
    accepted = await client.accepted()
    await players.heard(accepted["id"])
    return accepted


async def test_first_the_generation_then_progress_then_the_outcome(
    client: Client, players: Players, bus: NatsClient, open_one: Any
) -> None:
    seen: list[Event] = []
    async for event in client.events(open_one["id"]):
        seen.append(event)
        if event.name == "generation":
            for number, percent in [(1, 10), (3, 60), (2, 30), (4, 90)]:
                await players.progress(open_one["id"], number, percent)
        if event.name == "progress" and event.data["number"] == 4:
            await players.complete(await players.heard(open_one["id"]), delivered=1)
    assert [event.name for event in seen] == ["generation", "progress", "progress", "progress", "outcome"]
    assert seen[0].data == open_one
    assert [event.data for event in seen[1:4]] == [
        {"number": 1, "stage": "rendering", "percent": 10},
        {"number": 3, "stage": "rendering", "percent": 60},
        {"number": 4, "stage": "rendering", "percent": 90},
    ]
    assert seen[-1].data == await client.show(open_one["id"])
    assert (seen[-1].data["status"], seen[-1].data["cost"]) == ("completed", 1)


async def test_the_id_of_an_outcome_is_the_streams_epoch_and_sequence(
    client: Client, players: Players, bus: NatsClient, open_one: Any
) -> None:
    last = None
    async for event in client.events(open_one["id"]):
        if event.name == "generation":
            await players.end(await players.heard(open_one["id"]), Verdict.FAILED, Failure(code="x", message="y"))
        last = event
    assert last
    assert last.id
    epoch, sequence = re.fullmatch(r"([0-9a-z]+)-(\d+)", last.id).groups()  # type: ignore[union-attr]
    info = await bus.jetstream().stream_info("NOTIFICATIONS")
    assert info.created
    assert int(epoch, 36) == int(info.created.timestamp() * 1000)
    message = await bus.jetstream().get_msg("NOTIFICATIONS", int(sequence))
    assert message.subject == f"notification.{client.user_id}.failed"


async def test_a_finished_generation_ends_at_once(client: Client) -> None:
    done = await client.ended((await client.accepted())["id"])
    async with asyncio.timeout(1):
        seen = [event async for event in client.events(done["id"])]
    assert [(event.name, event.data) for event in seen] == [("generation", done), ("outcome", done)]


async def test_whoever_connects_again_sees_it_all(client: Client, players: Players, open_one: Any) -> None:
    """Whatever `Last-Event-ID` says: the first event is the whole generation as it is now."""
    async for _ in client.events(open_one["id"]):
        break
    await players.complete(await players.heard(open_one["id"]))
    done = await client.ended(open_one["id"])
    for last in ("garbage", "abc-1", "zzzzzzzz-99999999999999999999", "\u00ff"):
        answer = await client.get(f"/v1/generations/{done['id']}/events", {"Last-Event-ID": last})
        assert answer.status == 200
        assert answer.text.startswith("event: generation\ndata: {")
        assert answer.text.endswith("}\n\n")


async def test_what_ends_while_a_client_connects_is_shown_at_once(
    client: Client, players: Players, monkeypatch: pytest.MonkeyPatch, open_one: Any
) -> None:
    """Between the first look at the row and the first moment of listening nobody would tell."""

    async def late(*arguments: Any) -> AsyncIterator[bytes]:
        await players.complete(await players.heard(open_one["id"]))
        await client.ended(open_one["id"])
        await asyncio.sleep(0.1)  # the notification has passed
        async for event in live.follow(*arguments):
            yield event

    monkeypatch.setattr("gateway.dialects.native.router.follow", late)
    async with asyncio.timeout(2):
        seen = [event async for event in client.events(open_one["id"])]
    assert [(event.name, event.data["status"]) for event in seen] == [
        ("generation", "completed"),
        ("outcome", "completed"),
    ]


async def test_many_follow_one_and_all_hear_the_end(client: Client, players: Players, open_one: Any) -> None:
    connected: list[str] = []

    async def follow() -> list[Event]:
        seen = []
        async for event in client.events(open_one["id"]):
            connected.append(event.name)
            seen.append(event)
        return seen

    followers = [asyncio.create_task(follow()) for _ in range(50)]

    async def all_connected() -> bool:
        return len(connected) >= 50

    await until(all_connected)
    await players.complete(await players.heard(open_one["id"]))
    for seen in await asyncio.gather(*followers):
        assert (seen[-1].name, seen[-1].data["status"]) == ("outcome", "completed")


async def test_progress_of_others_is_not_shown(client: Client, players: Players, open_one: Any) -> None:
    seen: list[Event] = []
    async for event in client.events(open_one["id"]):
        if event.name == "generation":
            await players.progress(uuid4(), 1, 50)
            await players.complete(await players.heard(open_one["id"]))
        seen.append(event)
    assert [event.name for event in seen] == ["generation", "outcome"]


async def test_one_users_streams_are_bounded_and_take_nobody_elses(
    client_of: MakeClient, client: Client, players: Players, monkeypatch: pytest.MonkeyPatch, open_one: Any
) -> None:
    """API4; a stream that nobody reads any more is forgotten."""
    monkeypatch.setattr(live, "MAX_STREAMS_OF_USER", 2)
    streams = [client.events(open_one["id"]) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    answer = await client.get(f"/v1/generations/{open_one['id']}/events")
    assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (429, "too_many_requests", "5")
    other = client_of()
    players.scripts[other.user_id] = players.hold
    theirs = other.events((await other.accepted())["id"])
    await anext(theirs)
    await streams[0].aclose()  # type: ignore[attr-defined]

    async def room() -> bool:
        again = client.events(open_one["id"])
        try:
            return bool(await anext(again))
        except AssertionError:
            return False
        finally:
            await again.aclose()  # type: ignore[attr-defined]

    await until(room)
    for stream in (streams[1], theirs):
        await stream.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("which", ["generation", "user"])
async def test_a_burst_opens_no_more_streams_than_a_user_may(
    client: Client, monkeypatch: pytest.MonkeyPatch, open_one: Any, which: str
) -> None:
    monkeypatch.setattr(live, "MAX_STREAMS_OF_USER", 2)
    streams = [client.events(open_one["id"] if which == "generation" else None) for _ in range(12)]
    first = await asyncio.gather(*(anext(stream) for stream in streams), return_exceptions=True)
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined]
    assert sum(isinstance(each, Event) for each in first) == 2


async def test_all_streams_together_are_bounded(client: Client, monkeypatch: pytest.MonkeyPatch, open_one: Any) -> None:
    monkeypatch.setattr(live, "MAX_STREAMS", 0)
    assert (await client.get(f"/v1/generations/{open_one['id']}/events")).status == 429


async def test_an_outcome_of_which_nobody_is_told_is_seen_in_the_row(
    client: Client, players: Players, bus: NatsClient, monkeypatch: pytest.MonkeyPatch, open_one: Any
) -> None:
    """The hub's consumer is lost, and comes back by itself (in 20 s) but not in time. Last in this file for that."""
    monkeypatch.setattr(live, "LOOK_AGAIN_SECONDS", 0.1)
    for name in await followers(bus):
        await ask(bus, f"CONSUMER.DELETE.NOTIFICATIONS.{name}")
    seen = []
    async for event in client.events(open_one["id"]):
        if event.name == "generation":
            await players.complete(await players.heard(open_one["id"]))
        seen.append(event)
    assert [(event.name, event.id) for event in seen] == [("generation", None), ("outcome", None)]
    assert seen[-1].data["status"] == "completed"
