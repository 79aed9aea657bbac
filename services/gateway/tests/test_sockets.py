"""Socket.IO with its own client: who is let in, what is heard in which room, and what a client missed."""

import asyncio
import contextlib
import json
import time
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from nats.aio.client import Client as NatsClient
from socketio.exceptions import ConnectionError as Refused

from contracts.facts import CONTENT_TYPE, Change, Changed, Request
from contracts.topology import changed_subject, live_subject
from gateway.settings import Settings
from gateway.sockets.rooms import owner_of, session_room, user_room

from .client import token, until
from .conftest import MakeClient, Service, serving
from .jaaz import answer_to, write
from .players import Players
from .sockets import Open

pytestmark = pytest.mark.connected


# -- who is let in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transports", [("websocket",), ("polling",), ("polling", "websocket")])
async def test_a_token_opens_a_socket(open_socket: Open, transports: tuple[str, ...]) -> None:
    socket = await open_socket(transports=transports)
    assert socket.heard["connected"][0]["user_id"] == str(socket.user_id)
    await socket.client.emit("ping", {"at": 1})
    assert await socket.hears("pong") == [{"at": 1}]


@pytest.mark.parametrize(
    "auth", [None, {}, {"token": ""}, {"token": "nonsense"}, {"token": 5}, {"token": token(uuid4(), exp=1)}]
)
async def test_nobody_is_let_in_without_a_good_one(open_socket: Open, auth: Any) -> None:
    with pytest.raises(Refused):
        await open_socket(auth=auth)


async def test_a_socket_closes_when_its_token_ends(open_socket: Open) -> None:
    user = uuid4()
    socket = await open_socket(user, {"token": token(user, exp=int(time.time()) + 2)})
    assert not socket.is_closed.is_set()
    await asyncio.wait_for(socket.is_closed.wait(), 20)
    assert socket.heard["error"][0]["code"] == "UNAUTHENTICATED"


async def test_a_user_does_not_take_all_sockets(open_socket: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.sockets.server.MAX_SOCKETS_OF_USER", 2)
    user = uuid4()
    first, _ = await open_socket(user), await open_socket(user)
    with pytest.raises(Refused):
        await open_socket(user)
    await open_socket()
    await first.client.disconnect()

    async def again() -> bool:
        with contextlib.suppress(Refused):
            return bool(await open_socket(user))
        return False

    await until(again, 10)


async def test_who_opens_and_does_not_join_is_shown_out(
    open_socket: Open, service: Service, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do such keep others out for ever; whoever has joined stays, and who leaves again is counted again."""
    monkeypatch.setattr("gateway.sockets.doorway.JOIN_SECONDS", 1.0)
    monkeypatch.setattr("gateway.sockets.doorway.MAX_STANDING", 2)
    joined, left = await open_socket(), await open_socket()
    address = f"{service.url}/socket.io/?EIO=4&transport=websocket"
    async with http.ws_connect(address) as first:
        assert (await first.receive_str()).startswith("0{")
        await left.client.eio.send("1")
        opened = await http.get(f"{service.url}/socket.io/?EIO=4&transport=polling")
        refused = await http.get(f"{service.url}/socket.io/?EIO=4&transport=polling")
        assert {opened.status, refused.status} <= {200, 401} and refused.status == 401
        while (await asyncio.wait_for(first.receive(), 20)).type is not aiohttp.WSMsgType.CLOSE:
            pass
    await asyncio.wait_for(left.is_closed.wait(), 20)

    async def lets_in_again() -> bool:
        return (await http.get(f"{service.url}/socket.io/?EIO=4&transport=polling")).status == 200

    await until(lets_in_again, 20)
    await joined.client.emit("ping", {})
    await joined.hears("pong")


async def test_who_goes_is_not_kept_waiting_in_a_poll(service: Service, http: aiohttp.ClientSession) -> None:
    address = f"{service.url}/socket.io/?EIO=4&transport=polling"
    opened = json.loads((await (await http.get(address)).text())[1:])
    address += f"&sid={opened['sid']}"
    waiting = asyncio.create_task(http.get(address))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    assert (await http.post(address, data="1")).status == 200  # "close" in Engine.IO's words
    answer = await asyncio.wait_for(waiting, 5)
    assert (answer.status, await answer.read()) == (200, b"")


# -- bad events and frames ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "body"),
    [
        ("join_session", None),
        ("join_session", {"session_id": "a b"}),
        ("join_session", {"session_id": "user:x"}),
        ("join_session", [1, 2]),
        ("leave_session", {"session_id": 5}),
        ("chat_message", {"message": 5, "session_id": "s"}),
        ("chat_message", {"message": "a\0b", "session_id": "s"}),
        ("chat_message", {"message": "x", "session_id": "s", "model": "none of ours"}),
        ("canvas_update", {"canvas_id": "nowhere", "elements": []}),
        ("canvas_update", {"canvas_id": "x", "elements": [1]}),
        ("canvas_update", {"canvas_id": "x", "elements": {}, "version": "y"}),
    ],
)
async def test_a_bad_event_is_answered_and_the_socket_lives(open_socket: Open, event: str, body: Any) -> None:
    socket = await open_socket()
    await socket.client.emit(event, body)
    [error] = await socket.hears("chat_error")
    assert isinstance(error["message"], str)
    assert error["code"] in {"INVALID_REQUEST", "NOT_FOUND", "MODEL_NOT_FOUND"}
    await socket.client.emit("ping", {})
    await socket.hears("pong")


async def test_a_frame_that_is_too_large_closes_its_socket_alone(open_socket: Open) -> None:
    user = uuid4()
    greedy, other = await open_socket(user), await open_socket(user)
    await greedy.client.emit("canvas_update", {"canvas_id": "x", "app_state": {"x": "y" * (10 << 20)}})
    await asyncio.wait_for(greedy.is_closed.wait(), 20)
    await other.client.emit("ping", {})
    await other.hears("pong")


# -- canvases -----------------------------------------------------------------------------------------------------


async def test_two_windows_draw_on_one_canvas(open_socket: Open, client_of: MakeClient) -> None:
    client = client_of()
    made = await client.post("/api/v1/canvases", json={"title": "x", "elements": [{"id": "a", "version": 1}]})
    canvas_id = made.json["canvas_id"]
    one, other, stranger = await open_socket(client.user_id), await open_socket(client.user_id), await open_socket()
    answer = await one.ask("canvas_update", {"canvas_id": canvas_id, "elements": [{"id": "b", "version": 1}]})
    assert answer == {"success": True, "version": 2}
    [update] = await other.hears("canvas_updated")
    assert (update["canvas_id"], update["version"], update["user_id"]) == (canvas_id, 2, str(client.user_id))
    assert {element["id"] for element in update["elements"]} == {"a", "b"}
    late = {"canvas_id": canvas_id, "elements": [], "version": 1}
    assert await other.ask("canvas_update", late) is None
    assert (await other.hears("chat_error"))[0]["code"] == "STALE_VERSION"
    assert len((await client.get(f"/api/v1/canvases/{canvas_id}")).json["elements"]) == 2
    await stranger.ask("canvas_update", {"canvas_id": canvas_id, "elements": []})
    assert (await stranger.hears("chat_error"))[0]["code"] == "NOT_FOUND"
    assert one.heard["canvas_updated"] == stranger.heard["canvas_updated"] == []


# -- what every dialect's users hear --------------------------------------------------------------------------------


async def test_what_became_of_any_generation_is_said_to_its_user(open_socket: Open, client_of: MakeClient) -> None:
    client = client_of()
    socket, stranger = await open_socket(client.user_id), await open_socket()
    generation = await client.accepted()
    [update] = await socket.hears("generation_updated")
    sequence = update.pop("sequence")
    assert update == {"id": generation["id"], "status": "completed", "progress": 100, "dialect": "native"}
    assert sequence.partition("-")[2].isdecimal()
    assert stranger.heard["generation_updated"] == []


def change_of(user_id: UUID) -> Changed:
    change = Change(user_id=user_id, available=1_250_000, held=0, used=0, change=-15_000)
    return Changed(id=uuid4(), source="ledger", subject=str(user_id), time="2026-11-25T00:00:00Z", data=change)  # type: ignore[arg-type]


async def test_how_far_a_generation_is_is_said_now_and_then(
    open_socket: Open, client_of: MakeClient, players: Players, bus: NatsClient
) -> None:
    """What begins while a socket is open, and what had begun before; never backwards, nor after the end."""
    client = client_of()
    players.scripts[client.user_id] = players.hold
    before = UUID((await client.accepted())["id"])
    socket, stranger = await open_socket(client.user_id), await open_socket()
    generation = await client.accepted()
    request = await players.heard(generation["id"])
    await bus.publish(changed_subject(client.user_id), change_of(client.user_id).encode())

    async def told(of: UUID) -> bool:
        await players.progress(of, 1, 30)
        return any(update["id"] == str(of) for update in socket.heard["generation_updated"])

    await until(lambda: told(before), 10)
    await until(lambda: told(request.generation_id), 10)
    for number in range(2, 60):
        await players.progress(generation["id"], number, 31 + number // 2 if number % 5 else 2)
    await players.progress(generation["id"], 60, 100)

    def heard() -> list[dict[str, Any]]:
        return [update for update in socket.heard["generation_updated"] if update["id"] == generation["id"]]

    async def nearly_done() -> bool:
        return bool(heard()[-1]["progress"] == 99)

    await until(nearly_done, 10)
    assert heard()[0] == {"id": generation["id"], "status": "processing", "progress": 30, "dialect": "native"}
    percents = [update["progress"] for update in heard()]
    assert percents == sorted(set(percents)) and len(percents) <= 6, "of sixty, in a moment"
    await players.complete(request)

    async def ended() -> bool:
        await players.progress(generation["id"], 61, 99)
        return bool(heard()[-1]["status"] == "completed")

    await until(ended, 10)
    assert stranger.heard["generation_updated"] == []


async def test_a_balance_that_changed_is_said_to_its_user(open_socket: Open, bus: NatsClient) -> None:
    socket, stranger = await open_socket(), await open_socket()
    fact = change_of(socket.user_id)
    await bus.publish(changed_subject(socket.user_id), fact.encode(), headers={"Content-Type": CONTENT_TYPE})
    assert await socket.hears("balance_updated") == [{"new_balance": 12.5, "change": -0.15}]
    assert stranger.heard["balance_updated"] == []


async def test_what_was_missed_is_said_again(open_socket: Open, client_of: MakeClient) -> None:
    client = client_of()
    socket = await open_socket(client.user_id)
    await client.accepted()
    [known] = await socket.hears("generation_updated")
    await socket.client.disconnect()
    missed = [await client.accepted() for _ in range(3)]
    for generation in missed:
        await client.ended(generation["id"])
    back = await open_socket(client.user_id)

    async def told() -> bool:
        back.heard["generation_updated"].clear()
        answer = await back.ask("resync", {"sequence": known["sequence"]})
        return bool(answer == {"reset": False, "count": 3})

    await until(told, 10)
    again = await back.hears("generation_updated", 3)
    assert {update["id"] for update in again} == {generation["id"] for generation in missed}


@pytest.mark.parametrize("sequence", [None, 5, "", "nonsense", "abc-1", "abc-99999999999999999999", {"x": 1}])
async def test_a_sequence_that_is_not_known_is_a_reset(open_socket: Open, sequence: Any) -> None:
    socket = await open_socket()
    assert await socket.ask("resync", {"sequence": sequence}) == {"reset": True, "count": 0}


# -- many, and more than one replica ---------------------------------------------------------------------------------


async def test_a_socket_on_another_replica_hears_the_same(
    open_socket: Open, settings: Settings, bus: NatsClient, players: Players, client_of: MakeClient
) -> None:
    client = client_of()
    made = await client.post("/api/v1/canvases", json={"title": "x", "elements": []})
    canvas_id = made.json["canvas_id"]
    async with serving(settings, bus) as second:
        here, there = await open_socket(client.user_id), await open_socket(client.user_id, url=second.url)
        stranger = await open_socket(url=second.url)
        await there.ask("join_session", {"session_id": "s1"})
        await stranger.ask("join_session", {"session_id": "s1"})

        async def play(request: Request) -> None:
            await write(bus, players, request)

        players.scripts[client.user_id] = play
        await here.ask("chat_message", {"message": "foxes", "session_id": "s1"})
        await here.ask("canvas_update", {"canvas_id": canvas_id, "elements": [{"id": "a"}]})

        async def complete() -> bool:
            return any(said["is_complete"] for said in there.heard["chat_response"])

        await until(complete, 10)
        said = there.heard["chat_response"]
        assert "".join(response["message"] for response in said) == answer_to("foxes")
        assert [response["sequence"] for response in said] == list(range(1, len(said) + 1))
        assert [update["canvas_id"] for update in await there.hears("canvas_updated")] == [canvas_id]
        await there.hears("generation_updated")
        await here.hears("generation_updated")
        assert (len(there.heard["generation_updated"]), len(here.heard["generation_updated"])) == (1, 1)
        assert set(stranger.heard) == {"connected", "session_update"}
        await there.client.disconnect()
        await stranger.client.disconnect()


def repeated(room: str) -> bytes:
    """As another replica says it."""
    return f'elsewhere\n/\n{room}\n\n2["greeting",{{"x":1}}]'.encode()


@pytest.mark.parametrize("said", [b"", b"nonsense", b"[1, 2]", b"a\nb\nc\nd\ne", b"\xff\n\n\n\n"])
async def test_garbage_on_the_bus_is_no_event(open_socket: Open, bus: NatsClient, said: bytes) -> None:
    socket = await open_socket()
    await bus.publish(live_subject(socket.user_id), said)
    await bus.publish(live_subject(socket.user_id), repeated(user_room(socket.user_id)))
    assert await socket.hears("greeting") == [{"x": 1}]
    assert set(socket.heard) == {"connected", "greeting"}


async def test_what_is_said_on_one_users_subject_reaches_no_other(open_socket: Open, bus: NatsClient) -> None:
    one, other = await open_socket(), await open_socket()
    for room in (user_room(other.user_id), session_room(other.user_id, "s"), other.client.get_sid(), ""):
        await bus.publish(live_subject(one.user_id), repeated(room))
    await bus.publish(live_subject(one.user_id), repeated(user_room(one.user_id)))
    await one.hears("greeting")
    assert (len(one.heard["greeting"]), other.heard["greeting"]) == (1, [])


async def test_who_does_not_read_is_closed_and_nobody_else(
    open_socket: Open, service: Service, http: aiohttp.ClientSession, bus: NatsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.sockets.rooms.MAX_QUEUED_PACKETS", 20)
    monkeypatch.setattr("gateway.sockets.server.MAX_SOCKETS_OF_USER", 2)
    other = await open_socket()
    async with http.ws_connect(f"{service.url}/socket.io/?EIO=4&transport=websocket", max_msg_size=0) as lazy:
        await lazy.receive()
        await lazy.send_str(f'40{{"token":"{token(other.user_id)}"}}')
        while "connected" not in (await lazy.receive_str()):
            pass
        large = repeated(user_room(other.user_id)).replace(b'"x":1', b'"x":"' + b"y" * 300_000 + b'"')

        async def is_closed() -> bool:
            before = len(other.heard["greeting"])
            await bus.publish(live_subject(other.user_id), large)
            await other.hears("greeting", before + 1)
            with contextlib.suppress(Refused):
                return bool(await open_socket(other.user_id))
            return False

        await until(is_closed, 60)
    await other.client.emit("ping", {})
    await other.hears("pong")


def test_a_room_belongs_to_one_user() -> None:
    user = uuid4()
    assert owner_of(user_room(user)) == owner_of(session_room(user, "a:b")) == user
    assert [owner_of(room) for room in ("x", "", None, 5, "user:nobody", "session:")] == [None] * 6


async def join(http: aiohttp.ClientSession, url: str, auth: dict[str, str]) -> str:
    """The first that a client hears after it has asked to be let in, as its packet stands on the wire."""
    socket = await http.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket")
    assert (await socket.receive_str()).startswith("0{")
    await socket.send_str(f"40{json.dumps(auth)}")
    return await socket.receive_str()


async def test_many_connect_at_once(
    open_socket: Open, service: Service, client_of: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand, of whom a hundred have no token or a bad one: these hear why, the others are in, and whoever was here
    before is served beside them."""
    monkeypatch.setattr("gateway.sockets.doorway.JOIN_SECONDS", 120.0)  # clients and server share this loop
    here = await open_socket()
    given = [{"token": token(uuid4())} for _ in range(900)]
    for number in range(100):
        given.insert(number * 10, {"token": token(uuid4(), exp=1)} if number % 2 else {})
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        crowd = asyncio.gather(*(join(http, service.url, auth) for auth in given))
        await here.client.emit("ping", {})
        await here.hears("pong")
        assert (await client_of().get("/v1/models")).status == 200
        heard = await crowd
        refused = [json.loads(packet[2:]) for packet in heard if packet.startswith("44")]
        assert sum(packet.startswith('40{"sid":') for packet in heard) == 900
        assert len(refused) == 100 and all(each["message"] and each["data"]["status"] == 401 for each in refused)
    await here.client.emit("ping", {})
    await here.hears("pong", 2)
