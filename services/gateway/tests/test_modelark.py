"""The modelark frontend, as its seed says it: requests and answers to the letter."""

import asyncio
import time
from uuid import UUID

import asyncpg
import pytest

from contracts.facts import Failure, Request, Verdict
from gateway.settings import Settings

from .client import Client
from .conformance import Conformance, Dialect
from .conftest import PUBLIC_URL, MakeClient, with_limits
from .players import SEEDREAM, Players

pytestmark = pytest.mark.connected

GENERATE = "/api/images/generate"
TEST = "/api/images/test"


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return with_limits(settings, sync_wait_seconds=0.5)


async def test_the_seeds_request_gets_the_seeds_answer(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    body = {
        "prompt": "A beautiful sunset over mountains",
        "model": "seedream-3-0-t2i-250415",
        "size": "1024x1024",
        "userId": str(client.user_id),
    }
    answer = await client.post(GENERATE, json=body)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    [request] = await players.published(client.user_id)
    token = f"{request.generation_id.hex}0"
    image_id = answer.json["images"][0]["id"]
    assert answer.json == {
        "promptId": str(request.generation_id),
        "images": [
            {
                "id": image_id,
                "url": f"https://provider.example/{token}.png",
                "bucketUrl": f"{PUBLIC_URL}/media/{token}/original.png",
                "size": "1024x1024",
            }
        ],
    }
    assert UUID(image_id)
    assert (request.prompt, request.model, request.size, request.count) == (body["prompt"], SEEDREAM, "1024x1024", 1)
    row = await postgres.fetchrow("SELECT dialect, kind FROM generations WHERE id = $1", request.generation_id)
    assert tuple(row) == ("modelark", "image")


@pytest.mark.parametrize("size", ["1024x1024", "512x512", "1536x1024", "1024x1536"])
async def test_every_size_of_the_seed_is_delivered(client: Client, size: str) -> None:
    answer = await client.post(GENERATE, json={"prompt": "x", "size": size})
    assert (answer.status, answer.json["images"][0]["size"]) == (200, size)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"watermark": False},
        {"model": None, "size": None, "userId": None},
        {"model": "", "size": ""},
        {"n": 1, "response_format": "url"},
    ],
)
async def test_what_the_frontend_leaves_out_or_adds_is_no_error(client: Client, extra: dict[str, object]) -> None:
    """The real client also sends `watermark: false` (frontends.md)."""
    answer = await client.post(GENERATE, json={"prompt": "x"} | extra)
    assert (answer.status, answer.json["images"][0]["size"]) == (200, "1024x1024")


async def test_it_can_be_looked_at_by_the_native_api_too(client: Client) -> None:
    made = (await client.post(GENERATE, json={"prompt": "x"})).json
    shown = await client.show(made["promptId"])
    assert [asset["id"] for asset in shown["assets"]] == [image["id"] for image in made["images"]]


async def test_the_connection_test_answers_as_the_provider_would(client: Client) -> None:
    answer = await client.post(TEST, json={"prompt": "A simple test image"})
    assert answer.status == 200
    assert answer.json["success"] is True
    data = answer.json["data"]
    assert data["model"] == SEEDREAM
    assert abs(data["created"] - time.time()) < 60
    assert [sorted(image) for image in data["data"]] == [["size", "url"]]
    assert data["usage"] == {"generated_images": 1}


async def test_the_models_are_names(client: Client) -> None:
    assert (await client.get("/api/images/models")).json == {"models": [SEEDREAM, "old-image"]}


FAILURES = [
    (Verdict.FAILED, "content_policy", 400),
    (Verdict.FAILED, "invalid_request", 400),
    (Verdict.FAILED, "provider_throttled", 429),
    (Verdict.FAILED, "deadline", 504),
    (Verdict.FAILED, "provider_error", 502),
    (Verdict.FAILED, "never heard of", 502),
    (Verdict.DECLINED, "insufficient_credits", 402),
]


@pytest.mark.parametrize(("verdict", "code", "status"), FAILURES)
async def test_what_fails_says_why_with_a_status_that_says_it_too(
    client: Client, players: Players, verdict: Verdict, code: str, status: int
) -> None:
    async def play(request: Request) -> None:
        await players.end(request, verdict, Failure(code=code, message="The provider says no."))

    players.scripts[client.user_id] = play
    answer = await client.post(GENERATE, json={"prompt": "x"})
    assert (answer.status, answer.json["error"]) == (status, "The provider says no.")
    assert all(answer.json[name] == answer.json["error"] for name in ("message", "detail"))
    test = await client.post(TEST, json={"prompt": "x"})
    assert (test.status, test.json["success"]) == (status, False)
    assert test.json["error"] == f"API Error: The provider says no. (Status: {status})"


async def test_cancelled_meanwhile_is_said_so(client: Client, players: Players) -> None:
    async def cancel(request: Request) -> None:
        assert (await client.cancel(str(request.generation_id))).status == 200

    players.scripts[client.user_id] = cancel
    answer = await client.post(GENERATE, json={"prompt": "x"})
    assert (answer.status, answer.json["error"], answer.json["code"]) == (409, "The image was cancelled.", "cancelled")


@pytest.mark.parametrize("path", [GENERATE, TEST])
async def test_a_wait_in_vain_is_504_with_a_place_to_look(client: Client, players: Players, path: str) -> None:
    players.scripts[client.user_id] = players.hold
    answer = await client.post(path, json={"prompt": "x"})
    [request] = await players.published(client.user_id)
    assert (answer.status, answer.headers["Location"]) == (504, f"/v1/generations/{request.generation_id}")
    assert isinstance(answer.json["error"], str)
    await players.complete(request)
    assert (await client.ended(str(request.generation_id)))["status"] == "completed"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"prompt": ""}, 422),
        ({"prompt": 5}, 422),
        ({"prompt": "a\0b"}, 422),
        ({"prompt": "x" * 100_000}, 422),
        ({"prompt": "x", "model": "runway-gen-2"}, 422),
        ({"prompt": "x", "size": "640x480"}, 422),
        ({"prompt": "x", "userId": "3f0d7c9e-5a41-4c7b-8a52-6d1e0b9f4c33"}, 404),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_bad_input_is_an_error_in_the_seeds_shape_and_changes_nothing(
    client: Client, players: Players, postgres: asyncpg.Pool, body: dict[str, object], status: int
) -> None:
    answer = await client.post(GENERATE, json=body)
    assert answer.status == status
    assert isinstance(answer.json["error"], str)
    assert answer.json["error"] == answer.json["message"] == answer.json["detail"]
    if "size" not in body and "model" not in body and body:
        test = await client.post(TEST, json=body)
        assert (test.status, test.json["success"]) == (status, False)
        assert test.json["error"].endswith(f"(Status: {status})")
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 0


@pytest.mark.parametrize("path", [GENERATE, TEST])
async def test_broken_json_is_an_error_in_the_seeds_shape(client: Client, path: str) -> None:
    answer = await client.post(path, {"Content-Type": "application/json"}, data=b"{")
    assert answer.status == 400
    assert isinstance(answer.json["error"], str)


@pytest.mark.parametrize("path", [GENERATE, TEST, "/api/images/models"])
async def test_nobody_is_401_in_the_seeds_shape(nobody: Client, path: str) -> None:
    answer = await nobody.request("GET" if path.endswith("models") else "POST", path, json={"prompt": "x"})
    assert answer.status == 401
    assert isinstance(answer.json["error"], str)


async def test_held_open_requests_do_not_wait_for_each_other(client_of: MakeClient, players: Players) -> None:
    slow, quick = client_of(), client_of()
    players.scripts[slow.user_id] = players.hold
    waiting = asyncio.create_task(slow.post(GENERATE, json={"prompt": "x"}))
    assert (await quick.post(GENERATE, json={"prompt": "x"})).status == 200
    assert not waiting.done()
    assert (await waiting).status == 504


ORIGIN = {"Origin": "https://app.example"}


@pytest.mark.parametrize("path", [GENERATE, "/v1/generations", "/nope"])
async def test_a_preflight_allows_what_the_frontends_send(nobody: Client, path: str) -> None:
    wanted = "authorization, content-type, apikey, x-client-info, idempotency-key, x-instaveo-signature"
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted}
    answer = await nobody.request("OPTIONS", path, ORIGIN | headers)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] in {"*", ORIGIN["Origin"]}
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    allowed = {name.strip() for name in answer.headers["Access-Control-Allow-Headers"].lower().split(",")}
    assert {name.strip() for name in wanted.split(",")} <= allowed
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_browser_may_read_every_answer_errors_included(client: Client, nobody: Client) -> None:
    """Without the header a browser shows a network error instead of ours."""
    large = b'"' + b"x" * (1 << 20) + b'"'
    answers = {
        200: await client.get("/api/images/models", ORIGIN),
        202: await client.post("/v1/generations", ORIGIN, json={"kind": "image", "prompt": "x"}),
        307: await nobody.get("/media/x", ORIGIN),
        400: await client.post(GENERATE, ORIGIN | {"Content-Type": "application/json"}, data=b"{"),
        401: await nobody.get("/v1/models", ORIGIN),
        404: await nobody.get("/nope", ORIGIN),
        405: await client.request("DELETE", "/v1/models", ORIGIN),
        413: await client.post(GENERATE, ORIGIN | {"Content-Type": "application/json"}, data=large),
        415: await client.post(GENERATE, ORIGIN | {"Content-Type": "text/plain"}, data=b"x"),
        422: await client.post("/v1/generations", ORIGIN, json={}),
    }
    for status, answer in answers.items():
        assert answer.status == status, answer.text
        assert answer.headers["Access-Control-Allow-Origin"] == "*", status
        exposed = answer.headers["Access-Control-Expose-Headers"]
        assert {"Location", "Retry-After"} <= {name.strip() for name in exposed.split(",")}, status


@pytest.mark.parametrize("path", ["/api/nope", "/api/images/generate/x"])
async def test_outside_the_routes_the_error_is_a_string_too(nobody: Client, path: str) -> None:
    answer = await nobody.get(path)
    assert (answer.status, answer.json["statusCode"]) == (404, 404)
    assert isinstance(answer.json["error"], str)


class TestImages(Conformance):
    surface = Dialect(submit=("POST", GENERATE, {"prompt": "A beautiful sunset"}), accepted=200)
