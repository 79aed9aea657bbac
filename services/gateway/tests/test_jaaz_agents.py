"""A model that draws: what it calls for is made, paid for, put on the canvas and announced, whoever stops meanwhile."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import Ending, Kind, Outcome, Request, Verdict
from contracts.money import Usage
from contracts.questions import Plan
from contracts.talking import Call
from gateway.dialects.jaaz import agents as loop
from gateway.dialects.jaaz.repeating import Repeater
from gateway.settings import Settings

from .client import Client, token, until
from .conftest import PUBLIC_URL, MakeClient, Service, serving, with_limits
from .jaaz import box
from .players import SEEDANCE, SEEDREAM, Players
from .sockets import Socket

pytestmark = pytest.mark.connected
SESSION = "s1"
FOX = ("generate_image", {"prompt": "a red fox"})
FILM = ("generate_video", {"prompt": "a fox that runs", "seconds": 3})
Calls = list[tuple[str, Any]]


class Artist:
    """The language model of one user: it calls for what it is told to call for, and then says that it is done."""

    def __init__(self, players: Players, *rounds: Calls) -> None:
        self._players = players
        self._rounds = list(rounds)
        self.may_draw = asyncio.Event()
        self.may_draw.set()

    async def __call__(self, request: Request) -> None:
        if request.kind is not Kind.TEXT:
            await self._players.fund(request)
            await self.may_draw.wait()
            await self._players.complete(request)
            return
        done = sum(bool(message.calls) for message in request.since)
        called = self._rounds[done] if request.tools and done < len(self._rounds) else []
        await self._players.fund(request)
        calls = tuple(
            Call(id=f"call_{done}_{index}", name=name, arguments=said if isinstance(said, str) else json.dumps(said))
            for index, (name, said) in enumerate(called)
        )
        ending = Ending(
            generation_id=request.generation_id,
            verdict=Verdict.COMPLETED,
            text="I shall draw." if calls else "Look at it.",
            calls=calls,
            usage=Usage(input_tokens=7, output_tokens=9),
        )
        await self._players.say(Outcome.of(ending, "generator", None))


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    """A turn has many steps: on a busy machine its answer is waited for."""
    return with_limits(settings, sync_wait_seconds=30)


@pytest.fixture
async def listening(service: Service) -> AsyncIterator[Callable[..., Any]]:
    """A socket of a user's that joined the session."""
    opened = []

    async def listen(user_id: UUID, url: str = service.url) -> Socket:
        socket = Socket(user_id)
        opened.append(socket)
        await socket.client.connect(url, auth={"token": token(user_id)}, transports=["websocket"], wait_timeout=10)
        await socket.ask("join_session", {"session_id": SESSION})
        socket.heard.clear()
        return socket

    yield listen
    for socket in opened:
        with contextlib.suppress(Exception):
            await socket.client.eio.disconnect(abort=True)


async def with_canvas(client: Client) -> str:
    made = await client.post("/api/v1/canvases", json={"title": "Foxes", "elements": [box("mine", 0)]})
    assert made.status == 200, made.text
    return str(made.json["canvas_id"])


def saying(canvas_id: str | None, message: str = "Draw a fox") -> dict[str, Any]:
    return {"message": message, "session_id": SESSION, "canvas_id": canvas_id}


async def said_to(client: Client, canvas_id: str | None) -> Any:
    answer = await client.post("/api/v1/chat/message", json=saying(canvas_id))
    assert answer.status == 200, answer.text
    return answer.json


def asked(players: Players, client: Client) -> list[Request]:
    """What was asked for, each once."""
    return list({request.generation_id: request for request in players.of(client.user_id)}.values())


def updates(socket: Socket) -> list[str]:
    return [update["type"] for update in socket.heard["session_update"]]


async def is_done(socket: Socket) -> None:
    async def done() -> bool:
        return "done" in updates(socket)

    await until(done, 20)


async def is_drawing(players: Players, client: Client) -> Request | None:
    return next((request for request in asked(players, client) if request.kind is Kind.IMAGE), None)


async def drawn_on(client: Client, canvas_id: str) -> list[dict[str, Any]]:
    shown = (await client.get(f"/api/v1/canvases/{canvas_id}")).json
    return [element for element in shown["elements"] if element["id"] != "mine"]


async def test_what_a_model_calls_for_is_drawn_on_the_canvas(
    client: Client, players: Players, listening: Callable[..., Any]
) -> None:
    """Each a generation of its own; the model is told what came of it and goes on."""
    canvas_id, socket = await with_canvas(client), await listening(client.user_id)
    players.scripts[client.user_id] = Artist(players, [FOX, FILM])
    answer = await said_to(client, canvas_id)
    assert (answer["response"], answer["usage"]["total_tokens"]) == ("I shall draw.\n\nLook at it.", 32)
    await is_done(socket)
    first, second = (request for request in asked(players, client) if request.kind is Kind.TEXT)
    [image] = [request for request in asked(players, client) if request.kind is Kind.IMAGE]
    [film] = [request for request in asked(players, client) if request.kind is Kind.VIDEO]
    assert {tool.name for tool in first.tools} == {"generate_image", "generate_video"} and not first.since
    assert (image.kind, image.model, image.prompt) == (Kind.IMAGE, SEEDREAM, "a red fox")
    assert (film.kind, film.model, film.seconds) == (Kind.VIDEO, SEEDANCE, 3)
    assert image.quote.amount > 0 and film.quote.amount > image.quote.amount and second.quote.amount > 0
    assert [message.role for message in second.since] == ["assistant", "tool", "tool"]
    assert [call.id for call in second.since[0].calls] == [message.call_id for message in second.since[1:]]
    assert second.prompt == first.prompt and second.tools == first.tools

    elements = await drawn_on(client, canvas_id)
    assert [element["type"] for element in elements] == ["image", "embeddable"]
    assert all(element["x"] > 100 for element in elements) and elements[0]["x"] + 512 < elements[1]["x"]
    file = (await client.get(f"/api/v1/canvases/{canvas_id}")).json["files"][elements[0]["fileId"]]
    assert file["dataURL"] == f"{PUBLIC_URL}/api/file/{elements[0]['fileId']}"
    shown = await client.get(f"/api/file/{elements[0]['fileId']}")
    assert shown.status == 307 and f"{image.generation_id.hex}0/original.png" in shown.headers["Location"]

    kinds = updates(socket)
    assert kinds.count("tool_call") == kinds.count("tool_call_result") == 2
    assert kinds.count("image_generated") == kinds.count("video_generated") == 1
    assert kinds[-2:] == ["all_messages", "done"] and kinds.count("done") == 1
    told = {update["type"]: update for update in socket.heard["session_update"]}
    assert told["image_generated"]["image_url"] == file["dataURL"] == told["image_generated"]["file"]["dataURL"]
    assert told["image_generated"]["canvas_id"] == canvas_id
    assert told["video_generated"]["element"]["link"] == told["video_generated"]["video_url"]
    assert len(socket.heard["canvas_updated"]) == 2
    messages = (await client.get(f"/api/chat_session/{SESSION}")).json
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [message["role"] for message in told["all_messages"]["messages"]] == [each["role"] for each in messages]
    assert file["dataURL"] in messages[2]["content"]


async def test_a_later_message_is_told_what_was_drawn_before(client: Client, players: Players) -> None:
    canvas_id = await with_canvas(client)
    players.scripts[client.user_id] = Artist(players, [FOX])
    await said_to(client, canvas_id)
    [element] = await drawn_on(client, canvas_id)
    players.scripts[client.user_id] = Artist(players, [])
    await said_to(client, None)  # the session knows its canvas
    last = asked(players, client)[-1]
    assert [message.role for message in last.messages] == ["user", "assistant"] and last.tools
    assert element["id"] in last.messages[1].content and not last.messages[1].calls


async def test_a_client_that_sends_the_whole_conversation_tells_what_was_drawn(
    client: Client, players: Players
) -> None:
    canvas_id = await with_canvas(client)
    players.scripts[client.user_id] = Artist(players, [FOX])
    await said_to(client, canvas_id)
    [element] = await drawn_on(client, canvas_id)
    held = (await client.get(f"/api/chat_session/{SESSION}")).json
    body = {"messages": [*held, {"role": "user", "content": "Paint it blue"}], "session_id": SESSION}
    answer = await client.post("/api/chat", json=body | {"canvas_id": canvas_id})
    assert answer.status == 200, answer.text
    last = next(request for request in asked(players, client) if request.prompt == "Paint it blue")
    assert [message.role for message in last.messages] == ["user", "assistant"]
    assert element["id"] in last.messages[1].content and not last.messages[1].calls


async def test_without_credits_nothing_is_drawn_and_the_chat_says_so(
    client: Client, players: Players, listening: Callable[..., Any]
) -> None:
    canvas_id, socket = await with_canvas(client), await listening(client.user_id)
    players.available[client.user_id] = 9_000  # for words, not for a picture
    players.scripts[client.user_id] = Artist(players, [FOX])
    answer = await said_to(client, canvas_id)
    assert answer["response"] == "I shall draw.\n\nLook at it."
    await is_done(socket)
    assert {request.kind for request in asked(players, client)} == {Kind.TEXT}
    [error] = socket.heard["chat_error"]
    assert error["code"] == "INSUFFICIENT_CREDITS" and "credits" in error["message"]
    [result] = [update for update in socket.heard["session_update"] if update["type"] == "tool_call_result"]
    assert error["message"] in result["message"]["content"]
    assert error["message"] in asked(players, client)[-1].since[-1].content
    assert await drawn_on(client, canvas_id) == []


async def test_without_credits_for_more_words_the_turn_ends_and_says_why(
    client: Client, players: Players, listening: Callable[..., Any]
) -> None:
    canvas_id, socket = await with_canvas(client), await listening(client.user_id)
    artist = Artist(players, [FOX])
    players.available[client.user_id] = 11_000

    async def spend(request: Request) -> None:
        if request.kind is Kind.IMAGE:
            players.available[client.user_id] = 0
        await artist(request)

    players.scripts[client.user_id] = spend
    assert (await said_to(client, canvas_id))["response"] == "I shall draw."
    await is_done(socket)
    assert [error["code"] for error in socket.heard["chat_error"]] == ["INSUFFICIENT_CREDITS"]
    assert len(await drawn_on(client, canvas_id)) == 1


async def test_what_fails_is_told_to_the_model(client: Client, players: Players) -> None:
    canvas_id = await with_canvas(client)
    artist = Artist(players, [FOX])

    async def fail(request: Request) -> None:
        if request.kind is Kind.TEXT:
            await artist(request)
        else:
            await players.end(request, Verdict.DECLINED)

    players.scripts[client.user_id] = fail
    await said_to(client, canvas_id)
    assert "Nothing was made" in asked(players, client)[-1].since[-1].content
    assert await drawn_on(client, canvas_id) == []


async def test_a_turn_whose_process_stopped_is_gone_on_with(
    client: Client, players: Players, listening: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody follows the words: who looked for what does not move goes on after each of them."""
    monkeypatch.setattr("gateway.dialects.jaaz.steps.LOOK_AGAIN_SECONDS", 0.2)
    monkeypatch.setattr(loop, "EVERY_SECONDS", 0.1)

    async def dies(*_: Any) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(Repeater, "_repeat", dies)
    canvas_id, socket = await with_canvas(client), await listening(client.user_id)
    players.scripts[client.user_id] = Artist(players, [FOX], [FILM])
    assert (await said_to(client, canvas_id))["response"].endswith("Look at it.")
    await is_done(socket)
    assert len(await drawn_on(client, canvas_id)) == 2 and updates(socket).count("done") == 1
    assert len(asked(players, client)) == 5


async def test_everything_done_twice_is_done_once(
    client: Client, players: Players, settings: Settings, bus: NatsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two replicas go on with one turn at the same time, again and again."""
    monkeypatch.setattr("gateway.dialects.jaaz.steps.LOOK_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(loop, "EVERY_SECONDS", 0.05)
    async with serving(settings, bus):
        canvas_id = await with_canvas(client)
        players.scripts[client.user_id] = Artist(players, [FOX, FILM], [FOX])
        assert (await said_to(client, canvas_id))["response"].endswith("Look at it.")
    assert len(await drawn_on(client, canvas_id)) == 3
    assert len(asked(players, client)) == 6


async def test_a_client_of_another_replica_sees_it_drawn(
    client: Client, players: Players, listening: Callable[..., Any], settings: Settings, bus: NatsClient
) -> None:
    async with serving(settings, bus) as other:
        here, there = await listening(client.user_id), await listening(client.user_id, other.url)
        stranger = await listening(uuid4(), other.url)
        canvas_id = await with_canvas(client)
        players.scripts[client.user_id] = Artist(players, [FOX])
        await said_to(client, canvas_id)
        await is_done(here)
        await is_done(there)
        assert updates(here).count("image_generated") == updates(there).count("image_generated") == 1
        assert not stranger.heard
        for socket in (there, stranger):
            await socket.client.disconnect()


async def test_what_is_cancelled_begins_nothing_more(
    client: Client, players: Players, listening: Callable[..., Any]
) -> None:
    canvas_id, socket = await with_canvas(client), await listening(client.user_id)
    artist = Artist(players, [FOX])
    artist.may_draw.clear()
    players.scripts[client.user_id] = artist
    await socket.client.emit("chat_message", saying(canvas_id) | {"message": "Draw"})

    drawing = await until(lambda: is_drawing(players, client), 10)
    assert (await client.post(f"/api/cancel/{SESSION}")).json["status"] == "done"
    await is_done(socket)
    assert (await client.ended(str(drawing.generation_id)))["status"] == "cancelled"
    assert [request.kind for request in asked(players, client)].count(Kind.TEXT) == 1
    artist.may_draw.set()


async def test_a_model_cannot_draw_for_ever(client: Client, players: Players, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "MAX_DRAWINGS", 2)
    monkeypatch.setattr(loop, "MAX_ROUNDS", 3)
    canvas_id = await with_canvas(client)
    players.scripts[client.user_id] = Artist(players, [FOX, FOX, FOX], [FOX], [FOX], [FOX])
    await said_to(client, canvas_id)
    assert len(await drawn_on(client, canvas_id)) == 2
    kinds = [request.kind for request in asked(players, client)]
    assert (kinds.count(Kind.IMAGE), kinds.count(Kind.TEXT)) == (2, 3)


async def test_a_plans_pause_puts_a_drawing_off(
    client: Client, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no reason to draw nothing."""
    monkeypatch.setattr(loop, "EVERY_SECONDS", 0.1)
    players.plans[client.user_id] = Plan(cooldown_seconds=1)
    canvas_id = await with_canvas(client)
    players.scripts[client.user_id] = Artist(players, [FOX])
    assert (await said_to(client, canvas_id))["response"].endswith("Look at it.")
    assert len(await drawn_on(client, canvas_id)) == 1


async def test_what_a_key_may_spend_bounds_what_is_drawn_with_it(
    client: Client, client_of: MakeClient, players: Players
) -> None:
    made = await client.post("/v1/api-keys", json={"name": "k", "scopes": ["read", "write"], "credits_per_day": 1})
    assert made.status == 201, made.text
    canvas_id = await with_canvas(client)
    players.scripts[client.user_id] = Artist(players, [FOX])
    await said_to(client_of(client.user_id, made.json["key"]), canvas_id)
    assert {request.kind for request in asked(players, client)} == {Kind.TEXT}
    assert "Nothing was made" in asked(players, client)[-1].since[-1].content


@pytest.mark.parametrize("tools", [[], [{"id": "unknown"}], [5]])
async def test_who_chose_no_tools_gets_none(client: Client, players: Players, tools: list[Any]) -> None:
    canvas_id = await with_canvas(client)
    body = {"messages": [{"role": "user", "content": "Draw"}], "session_id": SESSION, "canvas_id": canvas_id}
    assert (await client.post("/api/chat", json=body | {"tool_list": tools})).json["status"] == "done"
    assert [request.tools for request in asked(players, client)] == [()]


@pytest.mark.parametrize("canvas_id", [None, "not-there"])
async def test_where_there_is_no_canvas_there_are_no_tools(
    client: Client, players: Players, canvas_id: str | None
) -> None:
    await said_to(client, canvas_id)
    assert [request.tools for request in asked(players, client)] == [()]


async def test_somebody_elses_canvas_is_drawn_on_by_nobody(
    client: Client, client_of: MakeClient, players: Players
) -> None:
    canvas_id, other = await with_canvas(client), client_of()
    players.scripts[other.user_id] = Artist(players, [FOX])
    await said_to(other, canvas_id)
    assert [request.tools for request in asked(players, other)] == [()]
    assert await drawn_on(client, canvas_id) == []


async def test_a_stream_has_all_rounds(client: Client, players: Players) -> None:
    canvas_id = await with_canvas(client)
    players.scripts[client.user_id] = Artist(players, [FOX])
    answer = await client.post(
        "/api/v1/chat/message", {"Accept": "text/event-stream"}, json=saying(canvas_id) | {"stream": True}
    )
    frames = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert "".join(frame["message"] for frame in frames) == "I shall draw.\n\nLook at it." == frames[-1]["response"]
    assert [frame["is_complete"] for frame in frames].count(True) == 1
