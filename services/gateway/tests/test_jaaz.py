"""The jaaz frontend over REST, as its seed says it: /api/v1 to the letter. Chats and money are apart."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from .client import Client
from .conformance import Conformance, Dialect
from .conftest import PUBLIC_URL, MakeClient
from .jaaz import PNG, V1, answer_to, keeping_files, keeping_keys
from .players import SEEDREAM, WRITER, Players
from .test_api_keys import make_key
from .test_provider_keys import CANARY, Vault
from .test_uploads import Storage, form

pytestmark = pytest.mark.connected


@pytest.fixture
async def vault(bus: NatsClient) -> AsyncIterator[Vault]:
    async with keeping_keys(bus) as vault:
        yield vault


@pytest.fixture
async def storage(bus: NatsClient) -> AsyncIterator[Storage]:
    async with keeping_files(bus) as storage:
        yield storage


def message_of(body: Any) -> list[str]:
    assert isinstance(body["code"], int)
    assert isinstance(body["details"], dict)
    return [body["error"], body["message"]]


class TestImages(Conformance):
    surface = Dialect(
        submit=("POST", f"{V1}/models/generate/image", {"prompt": "A fox"}), accepted=200, message_of=message_of
    )


class TestChat(Conformance):
    surface = Dialect(
        submit=("POST", f"{V1}/chat/message", {"message": "Hello", "session_id": "s1"}),
        accepted=200,
        message_of=message_of,
    )


# -- what is made -------------------------------------------------------------------------------------------------


async def test_an_image_has_its_seed_and_what_it_was_made_with(client: Client, players: Players) -> None:
    body = {"prompt": "A fox", "model": SEEDREAM, "width": 1024, "height": 1536, "steps": 30, "guidance": 7.5}
    answer = await client.post(f"{V1}/models/generate/image", json=body)
    assert answer.status == 200, answer.text
    [request] = await players.published(client.user_id)
    made = answer.json
    assert made["image_url"] == f"{PUBLIC_URL}/media/{request.generation_id.hex}0/original.png"
    assert request.options == {"num_inference_steps": 30, "guidance_scale": 7.5, "seed": made["seed"]}
    assert made["parameters"] == {"model": SEEDREAM, "width": 1024, "height": 1536, "steps": 30, "guidance": 7.5}
    assert request.size == "1024x1536"


@pytest.mark.parametrize("side", ["width", "height"])
async def test_a_size_of_one_side_is_refused(client: Client, side: str) -> None:
    """Another size than the one that is meant would be paid for."""
    answer = await client.post(f"{V1}/models/generate/image", json={"prompt": "A fox", side: 512})
    assert (answer.status, answer.json["message"]) == (422, "width and height: both, or neither")
    body = {"prompt": "A fox", "settings": {side: 512}}
    assert (await client.post("/functions/v1/process-image-pipeline", json=body)).status == 422


@pytest.mark.parametrize("said", [True, "512", 512.5])
@pytest.mark.parametrize(("method", "path", "name"), [
    ("POST", "/models/generate/image", "width"), ("POST", "/models/generate/text", "max_tokens"),
    ("PUT", "/configs", "max_tokens"),
])  # fmt: skip
async def test_what_is_no_whole_number_is_refused(
    client: Client, players: Players, method: str, path: str, name: str, said: Any
) -> None:
    body = {"providers": {"openai": {name: said}}} if path == "/configs" else {"prompt": "A fox", name: said}
    answer = await client.request(method, V1 + path, json=body)
    assert answer.status == 422, answer.text
    assert not players.of(client.user_id)


async def test_a_text_has_its_usage(client: Client, players: Players) -> None:
    body = {"prompt": "foxes", "model": WRITER, "max_tokens": 100, "temperature": 0.5}
    answer = await client.post(f"{V1}/models/generate/text", json=body)
    assert answer.json == {
        "text": answer_to("foxes"),
        "usage": {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16},
    }
    [request] = await players.published(client.user_id)
    assert (request.max_tokens, request.options) == (100, {"temperature": 0.5})


async def test_the_seeds_two_errors_are_as_it_shows_them(client: Client, players: Players) -> None:
    players.available[client.user_id] = 5_000
    answer = await client.post(f"{V1}/models/generate/image", json={"prompt": "x"})
    assert (answer.status, answer.json["error"], answer.json["code"]) == (402, "INSUFFICIENT_CREDITS", 402)
    assert answer.json["details"] == {"required": 1, "available": 0.5}
    answer = await client.post(f"{V1}/models/generate/text", json={"prompt": "x", "model": "invalid-model"})
    assert (answer.status, answer.json["error"], answer.json["code"]) == (400, "INVALID_MODEL", 400)
    assert answer.json["details"] == {"model": "invalid-model", "available": [WRITER]}


async def test_the_models_are_names(client: Client) -> None:
    answer = await client.get(f"{V1}/models")
    assert answer.json == {
        "text_models": [WRITER],
        "image_models": [SEEDREAM, "old-image"],
        "available_providers": ["elevenlabs", "modelark", "openai"],
    }


# -- canvases -----------------------------------------------------------------------------------------------------


async def made(client: Client, **fields: Any) -> str:
    answer = await client.post(f"{V1}/canvases", json={"title": "A board", "elements": [], "app_state": {}} | fields)
    assert answer.status == 200, answer.text
    assert answer.json["success"] is True
    return str(answer.json["canvas_id"])


async def loaded(client: Client, canvas_id: str) -> Any:
    answer = await client.get(f"{V1}/canvases/{canvas_id}")
    assert answer.status == 200, answer.text
    return answer.json


async def put(client: Client, canvas_id: str, **change: Any) -> Any:
    return await client.request("PUT", f"{V1}/canvases/{canvas_id}", json=change)


async def test_a_canvas_is_saved_loaded_changed_listed_and_deleted(client: Client) -> None:
    canvas_id = await made(client, elements=[{"id": "a", "version": 1}], app_state={"zoom": 2})
    shown = await loaded(client, canvas_id)
    assert (shown["title"], shown["elements"], shown["app_state"]) == (
        "A board",
        [{"id": "a", "version": 1}],
        {"zoom": 2},
    )
    assert (await put(client, canvas_id, title="Another")).json["success"] is True
    [listed] = (await client.get(f"{V1}/canvases")).json["canvases"]
    assert (listed["id"], listed["title"], listed["version"]) == (canvas_id, "Another", 2)
    assert (await client.request("DELETE", f"{V1}/canvases/{canvas_id}")).json == {"success": True}
    assert (await client.get(f"{V1}/canvases/{canvas_id}")).status == 404


async def test_a_stale_writer_wipes_nothing(client: Client) -> None:
    canvas_id = await made(client, elements=[{"id": "a", "version": 1}])
    assert (await put(client, canvas_id, elements=[{"id": "a", "version": 2}, {"id": "b"}], version=1)).status == 200
    late = await put(client, canvas_id, elements=[{"id": "a", "version": 1}], version=1)
    assert (late.status, late.json["error"], late.json["details"]) == (409, "STALE_VERSION", {"version": 2})
    merged = await put(client, canvas_id, elements=[{"id": "a", "version": 1, "x": 9}, {"id": "c", "version": 1}])
    assert merged.json["version"] == 3
    shown = (await loaded(client, canvas_id))["elements"]
    assert shown == [{"id": "a", "version": 2}, {"id": "c", "version": 1}, {"id": "b"}]
    assert (await put(client, canvas_id, elements=[{"id": "c", "version": 1}], version=3)).status == 200
    assert [element["id"] for element in (await loaded(client, canvas_id))["elements"]] == ["c"]


async def test_writers_at_the_same_time_keep_each_others_work(client: Client) -> None:
    canvas_id = await made(client)
    answers = await asyncio.gather(*(put(client, canvas_id, elements=[{"id": f"e{n}"}]) for n in range(20)))
    assert sorted(answer.json["version"] for answer in answers) == list(range(2, 22))
    assert len((await loaded(client, canvas_id))["elements"]) == 20


async def test_what_is_deleted_says_so_and_is_not_shown(client: Client) -> None:
    canvas_id = await made(client, elements=[{"id": "a", "version": 1}])
    await put(client, canvas_id, elements=[{"id": "a", "version": 2, "isDeleted": True}])
    assert (await loaded(client, canvas_id))["elements"] == []
    await put(client, canvas_id, elements=[{"id": "a", "version": 1}])
    assert (await loaded(client, canvas_id))["elements"] == []


@pytest.mark.parametrize(("many", "shape"), [(6_000, {}), (1_200, {"points": "p" * 10_000})], ids=["number", "bytes"])
async def test_what_is_deleted_takes_nobodys_room(client: Client, many: int, shape: dict[str, Any]) -> None:
    drawn = [{"id": f"a{number}", "version": 1} | shape for number in range(many)]
    canvas_id = await made(client, elements=drawn)
    gone = [element | {"version": 2, "isDeleted": True} for element in drawn]
    assert (await put(client, canvas_id, elements=gone)).status == 200
    again = await put(client, canvas_id, elements=[element | {"id": f"b{element['id']}"} for element in drawn])
    assert again.status == 200, again.text
    assert len((await loaded(client, canvas_id))["elements"]) == many
    full = await put(client, canvas_id, elements=drawn)
    assert full.json["error"] in {"INVALID_REQUEST", "BODY_TOO_LARGE"}


async def test_elements_without_an_id_are_the_same_when_they_come_again(client: Client) -> None:
    canvas_id = await made(client, elements=[{"type": "rectangle"}])
    await put(client, canvas_id, elements=[{"type": "rectangle"}, {"type": "arrow"}])
    assert [element["type"] for element in (await loaded(client, canvas_id))["elements"]] == ["rectangle", "arrow"]


async def test_an_embedded_file_becomes_the_users_once(client: Client, storage: Storage, nobody: Client) -> None:
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    files = {"f1": {"id": "f1", "mimeType": "image/png", "dataURL": url}}
    canvas_id = await made(client, files=files, thumbnail=url)
    shown = await loaded(client, canvas_id)
    address = shown["files"]["f1"]["dataURL"]
    assert address == shown["thumbnail"]
    assert address.startswith(f"{PUBLIC_URL}/api/file/")
    assert [content for _, content in storage.taken.values()] == [PNG]
    await put(client, canvas_id, files=files)
    assert storage.asked == 1
    seen = await nobody.get(address.removeprefix(PUBLIC_URL))
    assert seen.status == 307
    assert seen.headers["Location"].endswith("/original.png")


async def test_a_canvas_takes_32_megabytes_and_not_more(client: Client) -> None:
    canvas_id = await made(client)
    large = json.dumps({"app_state": {"x": "y" * (15 << 20)}}).encode()
    headers = {"Content-Type": "application/json"}
    path = f"{V1}/canvases/{canvas_id}"
    assert (await client.request("PUT", path, headers, data=large)).status == 200
    too_large = b'{"app_state": "' + b"y" * (32 << 20) + b'"}'
    answer = await client.request("PUT", path, headers, data=too_large)
    assert (answer.status, answer.json["error"]) == (413, "BODY_TOO_LARGE")


async def test_somebody_elses_canvas_is_not_there(client_of: MakeClient) -> None:
    one, other = client_of(), client_of()
    await made(one, id="board")
    for answer in (
        await other.get(f"{V1}/canvases/board"),
        await put(other, "board", title="x"),
        await other.request("DELETE", f"{V1}/canvases/board"),
    ):
        assert (answer.status, answer.json["error"]) == (404, "NOT_FOUND")
    await made(other, id="board", title="Their own")
    assert (await loaded(one, "board"))["title"] == "A board"


@pytest.mark.parametrize(
    "body",
    [
        {"id": "list"},
        {"id": "a/b"},
        {"title": "x" * 201},
        {"title": "a\0b"},
        {"elements": [1]},
        {"elements": [{"id": "a\0"}]},
        {"app_state": {"x": "\ud800"}},
        {"app_state": {"x": float("inf")}},
        {"elements": [{"id": "a", "x": float("nan")}]},
        {"elements": [{"x": 1}] * 10_001},
    ],
    ids=lambda body: str(body)[:30],
)
async def test_a_canvas_that_cannot_be_kept_is_refused(client: Client, body: dict[str, Any]) -> None:
    answer = await client.post(f"{V1}/canvases", json=body)
    assert (answer.status, answer.json["error"]) == (422, "INVALID_REQUEST"), answer.text
    assert (await client.get(f"{V1}/canvases")).json == {"canvases": []}


# -- configurations and settings ------------------------------------------------------------------------------------


async def configure(client: Client, **config: Any) -> None:
    answer = await client.request("PUT", f"{V1}/configs", json={"providers": {"openai": config}})
    assert answer.json == {"success": True}, answer.text


async def shown_config(client: Client) -> Any:
    answer = await client.get(f"{V1}/configs")
    assert CANARY not in answer.text
    return answer.json["providers"]["openai"]


async def test_a_key_is_written_and_never_read(client: Client, vault: Vault, postgres: asyncpg.Pool) -> None:
    assert (await shown_config(client))["api_key"] == ""
    await configure(client, url="https://api.openai.com/v1", api_key=CANARY, max_tokens=500, models={"mine": {}})
    shown = await shown_config(client)
    assert (shown["api_key"], shown["url"], shown["max_tokens"]) == ("********1234", "https://api.openai.com/v1", 500)
    assert {"mine", WRITER} <= set(shown["models"])
    for kept in ({"api_key": shown["api_key"]}, {"api_key": ""}, {"max_tokens": 600}):
        await configure(client, **kept)
    assert [asked.key for asked in vault.asked] == [CANARY]
    assert (await shown_config(client))["max_tokens"] == 600
    await configure(client, api_key=None)
    assert (await shown_config(client))["api_key"] == ""
    assert vault.asked[-1].key is None
    rows = await postgres.fetch("SELECT provider_configs::text AS row FROM provider_configs")
    assert not [row for row in rows if CANARY in row["row"]]


async def test_settings_are_each_users_own(client_of: MakeClient, vault: Vault) -> None:
    one, other = client_of(), client_of()
    change = {"theme": "dark", "canvas_settings": {"grid": True}, "ai_providers": {"openai": {"api_key": CANARY}}}
    assert (await one.request("PUT", f"{V1}/settings", json=change)).json == {"success": True}
    assert (await one.request("PUT", f"{V1}/settings", json={"language": "de"})).json == {"success": True}
    answer = await one.get(f"{V1}/settings")
    shown = answer.json
    assert (shown["theme"], shown["language"], shown["canvas_settings"]) == ("dark", "de", {"grid": True})
    assert shown["ai_providers"]["openai"]["api_key"] == "********1234"
    assert CANARY not in answer.text
    shown = (await other.get(f"{V1}/settings")).json
    assert (shown["theme"], shown["language"], shown["ai_providers"]["openai"]["api_key"]) == ("light", "en", "")


async def test_a_key_of_ours_sets_no_providers_key(client: Client, client_of: MakeClient, vault: Vault) -> None:
    writer = client_of(client.user_id, (await make_key(client, scopes=["read", "write"]))["key"])
    change = {"theme": "dark", "ai_providers": {"openai": {"api_key": CANARY}}}
    assert (await writer.request("PUT", f"{V1}/settings", json=change)).status == 403
    assert (await writer.request("PUT", f"{V1}/settings", json={"theme": "dark"})).status == 200
    assert not vault.asked


@pytest.mark.parametrize(
    ("provider", "key"),
    [("openai", "short"), ("openai", "a key with a \0 in it"), ("openai", "ключ, not ASCII"), ("a b", CANARY)],
)
async def test_a_key_that_can_be_none_is_refused_and_repeated_nowhere(
    client: Client, vault: Vault, provider: str, key: str, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = await client.request("PUT", f"{V1}/configs", json={"providers": {provider: {"api_key": key}}})
    assert (answer.status, answer.json["error"]) == (422, "INVALID_REQUEST")
    assert key not in answer.text + "".join(capfd.readouterr())
    assert vault.asked == []


async def test_where_no_keys_are_taken_that_is_said(client: Client, vault: Vault) -> None:
    vault.is_offered = False
    body = {"providers": {"openai": {"api_key": CANARY}}}
    answer = await client.request("PUT", f"{V1}/configs", json=body)
    assert (answer.status, answer.json["error"]) == (501, "NOT_CONFIGURED")
    assert CANARY not in answer.text


# -- files, and nobody ------------------------------------------------------------------------------------------------


async def test_a_file_is_taken_and_listed(client_of: MakeClient, storage: Storage) -> None:
    client, other = client_of(), client_of()
    answer = await client.post(f"{V1}/upload", data=form(PNG, "../..\\a picture.png"))
    assert answer.status == 200, answer.text
    taken = answer.json
    assert (taken["filename"], taken["size"], taken["mime_type"]) == ("a picture.png", len(PNG), "image/png")
    assert taken["url"].startswith(f"{PUBLIC_URL}/media/")
    [listed] = (await client.get(f"{V1}/files")).json["files"]
    assert (listed["id"], listed["filename"], listed["url"]) == (taken["id"], taken["filename"], taken["url"])
    assert UUID(listed["id"])
    assert (await other.get(f"{V1}/files")).json == {"files": []}


@pytest.mark.parametrize(("body", "status"), [({"json": {}}, 415), ({"data": {"file": "text"}}, 415)])
async def test_what_is_no_file_is_refused(client: Client, body: dict[str, Any], status: int) -> None:
    answer = await client.post(f"{V1}/upload", **body)
    assert answer.status == status, answer.text
    assert isinstance(answer.json["details"], dict)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/models"), ("GET", "/configs"), ("PUT", "/configs"), ("GET", "/settings"), ("GET", "/canvases"),
        ("GET", "/canvases/x"), ("GET", "/chat/sessions"), ("GET", "/billing/balance"), ("GET", "/files"),
        ("POST", "/upload"), ("DELETE", "/chat/sessions/x"), ("DELETE", "/canvases/x"),
    ],
)  # fmt: skip
async def test_nobody_is_401_everywhere(nobody: Client, method: str, path: str) -> None:
    body = {"json": {"providers": {}}} if method == "PUT" else {}
    answer = await nobody.request(method, V1 + path, **body)
    assert (answer.status, answer.json["error"], answer.json["code"]) == (401, "UNAUTHENTICATED", 401)


async def test_outside_the_routes_the_shape_is_the_seeds(nobody: Client) -> None:
    answer = await nobody.get(f"{V1}/nope")
    assert (answer.status, answer.json["error"], answer.json["code"]) == (404, "NOT_FOUND", 404)
