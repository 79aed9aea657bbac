"""Chats of the jaaz frontend: what was said is remembered, streamed and heard in the rooms of its session alone."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import Failure, Request, Verdict
from gateway import words

from .client import Client, token, until
from .conftest import MakeClient
from .jaaz import V1, answer_to, write, write_anew
from .players import WRITER, Players
from .sockets import Open, Socket

pytestmark = pytest.mark.connected


async def say(client: Client, message: str, session_id: str = "s1", **more: Any) -> Any:
    answer = await client.post(f"{V1}/chat/message", json={"message": message, "session_id": session_id} | more)
    assert answer.status == 200, answer.text
    return answer.json


async def test_a_chat_remembers_what_was_said(client: Client, players: Players) -> None:
    first = await say(client, "one", model=WRITER, stream=True)
    assert first["response"] == answer_to("one")
    assert first["usage"]["total_tokens"] == 16
    await say(client, "two")
    one, two = await players.published(client.user_id, 2)
    assert str(one.generation_id) == first["message_id"]
    assert one.messages == ()
    assert [(message.role, message.content) for message in two.messages] == [
        ("user", "one"),
        ("assistant", answer_to("one")),
    ]
    await say(client, "three", "another")
    assert players.of(client.user_id)[-1].messages == ()


async def test_a_streamed_answer_is_an_event_stream_among_its_users(
    client: Client, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.live.MAX_STREAMS_OF_USER", 0)
    said = {"message": "one", "session_id": "s1", "stream": True}
    answer = await client.post(f"{V1}/chat/message", {"Accept": "text/event-stream"}, json=said)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "5"), answer.text
    assert players.of(client.user_id) == []


async def test_sessions_are_listed_and_deleted_by_their_user_alone(client_of: MakeClient) -> None:
    one, other = client_of(), client_of()
    await say(one, "mine")
    await say(other, "theirs, of the same name")
    sessions = (await one.get(f"{V1}/chat/sessions")).json["sessions"]
    assert [(session["id"], session["title"]) for session in sessions] == [("s1", "mine")]
    assert {"created_at", "updated_at"} <= set(sessions[0])
    assert (await one.request("DELETE", f"{V1}/chat/sessions/s1")).json == {"success": True}
    assert (await one.request("DELETE", f"{V1}/chat/sessions/s1")).status == 404
    assert len((await other.get(f"{V1}/chat/sessions")).json["sessions"]) == 1


async def test_a_repeated_message_is_said_once_and_another_is_refused(client: Client, players: Players) -> None:
    key = {"Idempotency-Key": "once"}
    path, body = f"{V1}/chat/message", {"message": "one", "session_id": "s1"}
    first = await client.post(path, key, json=body)
    await say(client, "in between")
    again = await client.post(path, key, json=body)
    assert again.json == first.json
    assert len({request.generation_id for request in players.of(client.user_id)}) == 2
    other = await client.post(path, key, json=body | {"message": "two"})
    assert (other.status, other.json["error"]) == (422, "IDEMPOTENCY_MISMATCH")


async def test_a_message_is_tried_again_in_its_chat_and_nowhere_else(client: Client, players: Players) -> None:
    """Its answer would be paid for, and stand in no session; what is no message is tried again as anything is."""

    async def fail(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="provider_unavailable", message="Away."))

    players.scripts[client.user_id] = fail
    await client.post(f"{V1}/chat/message", json={"message": "one", "session_id": "s1"})
    await client.post(f"{V1}/models/generate/text", json={"prompt": "two"})
    said, text = await players.published(client.user_id, 2)
    answer = await client.post(f"/v1/generations/{said.generation_id}/retry")
    assert (answer.status, answer.json["code"]) == (409, "already_finished")
    assert "send the message again there" in answer.json["detail"]
    assert (await client.post(f"/v1/generations/{text.generation_id}/retry")).status == 202


async def frames(client: Client, http: aiohttp.ClientSession, body: dict[str, Any]) -> list[tuple[str, Any]]:
    headers = {"Authorization": f"Bearer {token(client.user_id)}", "Accept": "text/event-stream"}
    async with http.post(f"{client.url}{V1}/chat/message", json=body, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream"), await answer.text()
        events = [part for part in (await answer.text()).split("\n\n") if part]
    return [(event.split("\n")[0][7:], json.loads(event.split("\ndata: ", 1)[1])) for event in events]


@pytest.mark.parametrize("lost", [None, 1, 3])
async def test_a_stream_has_the_words_in_order_and_the_whole_even_where_some_were_lost(
    client: Client, http: aiohttp.ClientSession, players: Players, bus: NatsClient, lost: int | None
) -> None:
    async def play(request: Request) -> None:
        await write(bus, players, request, lost)

    players.scripts[client.user_id] = play
    told = await frames(client, http, {"message": "foxes", "session_id": "s1", "stream": True})
    assert {name for name, _ in told} == {"message"}
    pieces, end = [body["message"] for _, body in told[:-1]], told[-1][1]
    assert "".join(pieces) == answer_to("foxes")
    assert len(pieces) > 1 or lost == 1, "without its beginning it is told as a whole"
    assert (end["is_complete"], end["message"], end["response"]) == (True, "", answer_to("foxes"))
    assert {body["message_id"] for _, body in told} == {end["message_id"]}


async def test_a_text_that_was_written_anew_is_whole_at_the_end(
    client: Client, http: aiohttp.ClientSession, open_socket: Open, players: Players
) -> None:
    """Of a stream, and by socket, where else the last frame is empty."""

    async def play(request: Request) -> None:
        await write_anew(players, request, "Paris is the capital.")

    players.scripts[client.user_id] = play
    socket = await open_socket(client.user_id)
    await socket.ask("join_session", {"session_id": "s1"})
    *pieces, end = await frames(client, http, {"message": "foxes", "session_id": "s1", "stream": True})
    assert "".join(body["message"] for _, body in pieces) == "The capital of France is not "
    assert (end[1]["is_complete"], end[1]["response"]) == (True, "Paris is the capital.")

    async def complete() -> Any:
        return next((said for said in socket.heard["chat_response"] if said["is_complete"]), None)

    assert (await until(complete, 10))["response"] == "Paris is the capital."


@pytest.mark.parametrize("body", [{"message": "a\0b"}, {"message": ""}, {"message": "x" * 5000}, {"model": "nope"}])
async def test_a_message_that_is_refused_begins_no_session(
    client: Client, postgres: asyncpg.Pool, body: dict[str, str]
) -> None:
    answer = await client.post(f"{V1}/chat/message", json={"message": "x", "session_id": "s1"} | body)
    assert answer.status in {400, 422}, answer.text
    assert (await client.get(f"{V1}/chat/sessions")).json == {"sessions": []}
    assert await postgres.fetchval("SELECT count(*) FROM chat_sessions WHERE user_id = $1", client.user_id) == 0


async def test_a_stream_says_that_it_lives_while_nothing_is_written(
    client: Client, open_socket: Open, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket is told nothing of that."""

    async def play(request: Request) -> None:
        await asyncio.sleep(0.5)
        await players.complete(request)

    monkeypatch.setattr(words, "PING_SECONDS", 0.1)
    monkeypatch.setattr(words, "LOOK_AGAIN_SECONDS", 0.05)
    players.scripts[client.user_id] = play
    body = {"message": "foxes", "session_id": "quiet", "stream": True}
    answer = await client.post(f"{V1}/chat/message", {"Accept": "text/event-stream"}, json=body)
    assert answer.text.startswith(": ping\n\n") and answer_to("foxes") in answer.text
    socket = await open_socket(client.user_id)
    await socket.ask("chat_message", {"message": "foxes", "session_id": "quiet", "model": ""})

    async def is_complete() -> bool:
        return any(said["is_complete"] for said in socket.heard["chat_response"])

    await until(is_complete)
    assert [said["message"] for said in socket.heard["chat_response"]] == [answer_to("foxes"), ""]


async def test_a_stream_that_is_refused_is_refused_before_it_begins(client: Client, players: Players) -> None:
    players.available[client.user_id] = 0
    body = {"message": "x", "session_id": "s1", "stream": True}
    answer = await client.post(f"{V1}/chat/message", {"Accept": "text/event-stream"}, json=body)
    assert (answer.status, answer.json["error"]) == (402, "INSUFFICIENT_CREDITS")


@pytest.mark.parametrize("session_id", ["a b", "list", "../x", "x" * 101, "é"])
async def test_a_session_is_not_called_anything(client: Client, session_id: str) -> None:
    answer = await client.post(f"{V1}/chat/message", json={"message": "x", "session_id": session_id})
    assert (answer.status, answer.json["error"]) == (422, "INVALID_REQUEST")


# -- by socket ----------------------------------------------------------------------------------------------------


async def test_a_chat_by_socket_is_heard_in_order_and_by_its_session_alone(
    open_socket: Open, players: Players, bus: NatsClient
) -> None:
    user = uuid4()
    speaker, listener, elsewhere, stranger = (
        await open_socket(user),
        await open_socket(user),
        await open_socket(user),
        await open_socket(),
    )
    await listener.ask("join_session", {"session_id": "s1"})
    await elsewhere.ask("join_session", {"session_id": "s2"})
    await stranger.ask("join_session", {"session_id": "s1"})

    async def play(request: Request) -> None:
        await write(bus, players, request)

    players.scripts[user] = play
    begun = await speaker.ask("chat_message", {"message": "foxes", "session_id": "s1", "model": ""})
    assert begun["success"] is True
    for socket in (speaker, listener):

        async def complete(socket: Socket = socket) -> bool:
            return any(said["is_complete"] for said in socket.heard["chat_response"])

        await until(complete, 10)
        said = socket.heard["chat_response"]
        assert "".join(response["message"] for response in said) == answer_to("foxes")
        assert len(said) > 2
        assert [response["sequence"] for response in said] == list(range(1, len(said) + 1))
        assert [response["is_complete"] for response in said] == [False] * (len(said) - 1) + [True]
        assert said[-1]["message"] == ""
        assert {response["message_id"] for response in said} == {begun["message_id"]}
    updates = await until(lambda: _done(elsewhere), 10)
    assert "".join(update["text"] for update in updates if update["type"] == "delta") == answer_to("foxes")
    assert [update["type"] for update in updates[-2:]] == ["all_messages", "done"]
    assert elsewhere.heard["chat_response"] == []
    assert set(stranger.heard) == {"connected", "session_update"}
    assert [update["messages"] for update in stranger.heard["session_update"]] == [[]]


async def _done(socket: Socket) -> Any:
    told = [
        update for update in socket.heard["session_update"] if update["type"] != "all_messages" or update["messages"]
    ]
    return told if told and told[-1]["type"] == "done" else None


async def test_whoever_comes_back_reads_what_was_said(
    open_socket: Open, client_of: MakeClient, players: Players
) -> None:
    client = client_of()
    answer = await client.post("/api/v1/chat/message", json={"message": "foxes", "session_id": "s1"})
    assert answer.status == 200, answer.text
    socket = await open_socket(client.user_id)
    await socket.ask("join_session", {"session_id": "s1"})
    said = [update["messages"] for update in socket.heard["session_update"] if update["type"] == "all_messages"]
    assert [message["content"] for message in said[-1]] == ["foxes", answer_to("foxes")]


async def test_who_left_a_session_hears_no_more_of_it(open_socket: Open, client_of: MakeClient) -> None:
    client = client_of()
    socket = await open_socket(client.user_id)
    await socket.ask("join_session", {"session_id": "s1"})
    await socket.ask("leave_session", {"session_id": "s1"})
    await client.post("/api/v1/chat/message", json={"message": "x", "session_id": "s1"})
    await until(lambda: _done(socket), 10)
    assert socket.heard["chat_response"] == []


async def test_what_cannot_be_said_is_an_error_for_the_speaker(open_socket: Open, players: Players) -> None:
    socket = await open_socket()
    players.available[socket.user_id] = 0
    await socket.ask("chat_message", {"message": "x", "session_id": "s1"})
    [error] = await socket.hears("chat_error")
    assert error["code"] == "INSUFFICIENT_CREDITS"
    assert error["message"]
