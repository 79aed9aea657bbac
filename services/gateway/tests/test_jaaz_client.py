"""The jaaz frontend as its real client calls it: every route that it asks, in the order in which it asks them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from .client import Client
from .conformance import Conformance, Dialect
from .conftest import PUBLIC_URL, MakeClient
from .jaaz import PNG, answer_to, keeping_files, keeping_keys
from .players import SEEDANCE, SEEDREAM, WRITER, Players
from .sockets import Open
from .test_provider_keys import CANARY, Vault
from .test_uploads import Storage, form

pytestmark = pytest.mark.connected
MODEL = {"provider": "openai", "model": WRITER, "url": "https://api.openai.com/v1", "type": "text"}
TOOLS = [{"provider": "modelark", "id": SEEDREAM, "display_name": "Seedream", "type": "image"}]


@pytest.fixture
async def vault(bus: NatsClient) -> AsyncIterator[Vault]:
    async with keeping_keys(bus) as vault:
        yield vault


@pytest.fixture
async def storage(bus: NatsClient) -> AsyncIterator[Storage]:
    async with keeping_files(bus) as storage:
        yield storage


def talk(*said: str, session_id: str = "V1StGXR8_Z5jdHi6B-myT", canvas_id: str = "canvas-1") -> dict[str, Any]:
    """As the client sends it: the whole conversation."""
    roles = ["user", "assistant"]
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(said)]
    return {
        "messages": messages,
        "canvas_id": canvas_id,
        "session_id": session_id,
        "text_model": MODEL,
        "tool_list": TOOLS,
        "system_prompt": "You design.",
    }


def message_of(body: Any) -> list[str]:
    return [body["error"], body["details"], body["message"]]


class TestChat(Conformance):
    surface = Dialect(
        submit=("POST", "/api/chat", talk("Hello")), accepted=200, stopped_is_done=True, message_of=message_of
    )

    async def test_a_body_over_the_limit_is_413(self, client: Client) -> None:
        """What is said may have pictures in it, so that the limit is a canvas's."""
        large = b'{"messages": [], "x": "' + b"x" * (32 << 20) + b'"}'
        answer = await client.post("/api/chat", {"Content-Type": "application/json"}, data=large)
        self.assert_refused(answer, 413, "body_too_large")


async def ok(answer: Any) -> Any:
    assert answer.status == 200, answer.text
    return answer.json


async def test_the_clients_sequence(
    client: Client, players: Players, vault: Vault, storage: Storage, postgres: asyncpg.Pool
) -> None:
    """From the first start to a drawing that is talked about and thrown away."""
    get, post = client.get, client.post
    assert await ok(await get("/api/config/exists")) == {"exists": False}
    assert (await ok(await get("/api/config")))["openai"]["api_key"] == ""
    config = {
        "openai": {"models": {WRITER: {"type": "text"}}, "url": MODEL["url"], "api_key": CANARY, "max_tokens": 8192}
    }
    assert (await ok(await post("/api/config", json=config)))["status"] == "success"
    assert await ok(await get("/api/config/exists")) == {"exists": True}
    shown = await ok(await get("/api/config"))
    assert (shown["openai"]["api_key"], shown["openai"]["url"]) == ("********1234", MODEL["url"])
    assert [asked.key for asked in vault.asked] == [CANARY]

    models = await ok(await get("/api/list_models"))
    assert {"provider": "openai", "model": WRITER, "type": "text", "url": ""} in models
    tools = await ok(await get("/api/list_tools"))
    assert {tool["id"]: tool["type"] for tool in tools} == {SEEDREAM: "image", SEEDANCE: "video"}
    assert {"provider", "id", "display_name", "type"} == set(tools[0])

    assert await ok(await get("/api/settings/exists")) == {"exists": False}
    assert await ok(await get("/api/settings")) == {}
    assert (await ok(await post("/api/settings", json={"theme": "dark", "proxy": "system"})))["status"] == "success"
    assert await ok(await get("/api/settings")) == {"theme": "dark", "proxy": "system"}
    assert await ok(await get("/api/settings/exists")) == {"exists": True}

    players.available[client.user_id] = 1_250_000
    assert await ok(await get("/api/billing/getBalance")) == {"balance": "12.50"}

    assert await ok(await get("/api/canvas/list")) == []
    created = await ok(await post("/api/canvas/create", json=talk("Draw a fox") | {"name": "Foxes"}))
    assert created == {"id": "canvas-1"}
    [first] = await players.published(client.user_id)
    assert (first.prompt, first.model) == ("Draw a fox", WRITER)
    assert [(said.role, said.content) for said in first.messages] == [("system", "You design.")]
    await client.ended(str(first.generation_id))

    [listed] = await ok(await get("/api/canvas/list"))
    assert {"id", "name", "description", "thumbnail", "created_at"} <= set(listed)
    opened = await ok(await get("/api/canvas/canvas-1"))
    assert opened["data"] == {"elements": [], "appState": {}, "files": {}}
    assert (opened["name"], [session["id"] for session in opened["sessions"]]) == ("Foxes", ["V1StGXR8_Z5jdHi6B-myT"])

    taken = await ok(await post("/api/upload_image", data=form(PNG)))
    assert (taken["width"], taken["height"]) == (3, 2)
    assert (await get(f"/api/file/{taken['file_id']}")).headers["Location"] == taken["url"]

    file = {"id": "f", "mimeType": "image/png", "dataURL": f"{PUBLIC_URL}/api/file/{taken['file_id']}"}
    data = {"elements": [{"id": "a", "version": 1}], "appState": {"zoom": 1}, "files": {"f": file}}
    assert await ok(await post("/api/canvas/canvas-1/save", json={"data": data, "thumbnail": ""})) == {"id": "canvas-1"}
    assert await ok(await post("/api/canvas/canvas-1/rename", json={"name": "Renamed"})) == {"id": "canvas-1"}
    opened = await ok(await get("/api/canvas/canvas-1"))
    assert (opened["data"], opened["name"]) == (data, "Renamed")
    kept = await postgres.fetchval("SELECT files::text FROM canvases WHERE user_id = $1", client.user_id)
    assert PUBLIC_URL not in kept, "its domain may change"

    assert await ok(await post("/api/chat", json=talk("Draw a fox", answer_to("Draw a fox"), "Bluer"))) == {
        "status": "done",
        "message": "",
    }
    _, second = await players.published(client.user_id, 2)
    assert [said.role for said in second.messages] == ["system", "user", "assistant"]
    said = await ok(await get("/api/chat_session/V1StGXR8_Z5jdHi6B-myT"))
    assert [(message["role"], message["content"]) for message in said] == [
        ("user", "Draw a fox"),
        ("assistant", answer_to("Draw a fox")),
        ("user", "Bluer"),
        ("assistant", answer_to("Bluer")),
    ]
    [session] = await ok(await get("/api/list_chat_sessions"))
    assert (session["title"], session["canvas_id"], session["model"]) == ("Draw a fox", "canvas-1", WRITER)

    assert (await ok(await post("/api/cancel/V1StGXR8_Z5jdHi6B-myT")))["status"] == "not_found_or_done"
    assert await ok(await client.request("DELETE", "/api/canvas/canvas-1/delete")) == {"id": "canvas-1"}
    assert await ok(await get("/api/canvas/list")) == []


async def test_what_is_being_written_is_stopped(client: Client, players: Players, open_socket: Open) -> None:
    socket = await open_socket(client.user_id)
    players.scripts[client.user_id] = players.hold
    await ok(await client.post("/api/canvas/create", json=talk("Draw a fox") | {"name": "x"}))
    assert (await ok(await client.post("/api/cancel/V1StGXR8_Z5jdHi6B-myT")))["status"] == "done"
    [request] = await players.published(client.user_id)
    assert (await client.ended(str(request.generation_id)))["status"] == "cancelled"
    updates = await socket.hears("session_update", 2)
    assert [update["type"] for update in updates] == ["all_messages", "done"], "whoever stops it is shown no error"

    saying = asyncio.create_task(client.post("/api/chat", json=talk("Draw a cat")))
    await players.published(client.user_id, 2)
    await ok(await client.post("/api/cancel/V1StGXR8_Z5jdHi6B-myT"))
    assert (await ok(await saying))["status"] == "done"


async def test_a_canvas_that_is_made_again_is_talked_about_once(client: Client, players: Players) -> None:
    """The client sends no key, and the same again where it heard no answer."""
    body = talk("Draw a fox") | {"name": "Foxes"}
    for _ in range(2):
        await ok(await client.post("/api/canvas/create", json=body))
    [first] = await players.published(client.user_id)
    await client.ended(str(first.generation_id))
    await ok(await client.post("/api/canvas/create", json=body))
    await ok(await client.post("/api/canvas/create", json=talk("Draw a cat") | {"name": "Foxes"}))
    await players.published(client.user_id, 2)
    said = [turn["content"] for turn in await ok(await client.get(f"/api/chat_session/{body['session_id']}"))]
    assert (said.count("Draw a fox"), said.count("Draw a cat")) == (1, 1)
    assert len({request.generation_id for request in players.of(client.user_id)}) == 2


async def test_a_canvas_about_which_nothing_can_be_said_is_not_made(client: Client) -> None:
    body = {"name": "x", "canvas_id": "x", "messages": [{"role": "assistant", "content": "I shall draw."}]}
    assert (await client.post("/api/canvas/create", json=body)).status == 422
    assert await ok(await client.get("/api/canvas/list")) == []


async def test_a_canvas_that_could_not_be_talked_about_is_gone_on_to(client: Client, players: Players) -> None:
    """The client reads no status: it opens the canvas that the answer names, else one called `undefined`."""
    players.available[client.user_id] = 0
    body = talk("Draw a fox") | {"name": "Foxes"}
    refused = await client.post("/api/canvas/create", json=body)
    assert (refused.status, refused.json["code"], refused.json["id"]) == (402, "INSUFFICIENT_CREDITS", "canvas-1")
    assert (await ok(await client.get("/api/canvas/canvas-1")))["name"] == "Foxes"
    players.available[client.user_id] = 1_000_000
    assert await ok(await client.post("/api/canvas/create", json=body)) == {"id": "canvas-1"}
    await players.published(client.user_id)


async def test_a_list_is_a_list_for_whoever_has_nothing(client: Client) -> None:
    """The client checks no status and draws what it gets."""
    for path in ("/api/canvas/list", "/api/list_chat_sessions", "/api/chat_session/unknown"):
        assert await ok(await client.get(path)) == []


async def test_of_calls_of_tools_in_a_conversation_what_came_of_them_is_told(client: Client, players: Players) -> None:
    messages = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "x"}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "done"},
        {"role": "user", "content": "And now?"},
    ]
    await ok(await client.post("/api/chat", json=talk() | {"messages": messages, "system_prompt": None}))
    [request] = await players.published(client.user_id)
    assert [(said.role, said.content) for said in request.messages] == [("user", "Look"), ("assistant", "done")]
    assert request.prompt == "And now?"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"messages": []}),
        ("/api/chat", {"messages": [{"role": "assistant", "content": "x"}]}),
        ("/api/chat", talk("x", session_id="a/b")),
        ("/api/canvas/create", {"name": "x", "canvas_id": "create"}),
        ("/api/canvas/create", {"name": "x", "canvas_id": "../x"}),
        ("/api/canvas/x/save", {"data": {"elements": [1]}}),
        ("/api/canvas/x/save", {"data": {"elements": [], "appState": [1]}}),
        ("/api/canvas/x/rename", {"name": ""}),
        ("/api/settings", {"x": "a\0"}),
        ("/api/config", {"openai": {"max_tokens": 0}}),
    ],
)
async def test_bad_input_is_refused_in_the_clients_shape(client: Client, path: str, body: dict[str, Any]) -> None:
    answer = await client.post(path, json=body)
    assert answer.status == 422, answer.text
    assert all(isinstance(text, str) and text for text in message_of(answer.json))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/canvas/x", None),
        ("POST", "/api/canvas/x/save", {"data": {}}),
        ("POST", "/api/canvas/x/rename", {"name": "x"}),
        ("DELETE", "/api/canvas/x/delete", None),
        ("GET", "/api/file/00000000-0000-0000-0000-000000000000", None),
        ("GET", "/api/file/nonsense", None),
        ("POST", "/api/tool_confirmation", {"session_id": "s", "tool_call_id": "1", "confirmed": True}),
    ],
)
async def test_what_is_not_there_is_404(client_of: MakeClient, method: str, path: str, body: Any) -> None:
    owner, other = client_of(), client_of()
    await ok(await owner.post("/api/canvas/create", json={"name": "x", "canvas_id": "x"}))
    answer = await other.request(method, path, json=body) if body is not None else await other.request(method, path)
    assert answer.status == 404, answer.text
    assert (await ok(await owner.get("/api/canvas/x")))["name"] == "x"
