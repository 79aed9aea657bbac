"""OpenAI's SDK, unmodified: models, pictures, errors and what stands above every answer."""

import base64
import re
from typing import Any
from uuid import uuid4

import asyncpg
import openai
import pytest

from contracts.facts import Failure, Request, Verdict
from gateway.settings import Settings

from .client import Client
from .conformance import Conformance, Dialect
from .conftest import PUBLIC_URL, with_limits
from .lenders import Lender
from .openai import BASE, sdk_of
from .players import SEEDREAM, WRITER, Players
from .test_api_keys import make_key

pytestmark = pytest.mark.connected

IMAGES = f"{BASE}/images/generations"


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return with_limits(settings, sync_wait_seconds=2)


# -- models ---------------------------------------------------------------------------------------------------------


async def test_the_models_are_what_can_be_asked_for(client: Client) -> None:
    async with sdk_of(client) as sdk:
        models = [model async for model in sdk.models.list()]
        one = await sdk.models.retrieve(SEEDREAM)
    assert {model.id for model in models} >= {SEEDREAM, WRITER, "a-voice"}
    assert "switched-off" not in {model.id for model in models}
    assert (one.id, one.object, one.owned_by) == (SEEDREAM, "model", "modelark")


async def test_a_model_that_is_not_there_is_not_found(client: Client) -> None:
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.NotFoundError) as refused:
            await sdk.models.retrieve("gpt-9")
    assert (refused.value.code, refused.value.param, refused.value.type) == (
        "model_not_found",
        "model",
        "invalid_request_error",
    )


# -- pictures -------------------------------------------------------------------------------------------------------


async def test_pictures_by_their_addresses(client: Client, players: Players, postgres: asyncpg.Pool) -> None:
    async with sdk_of(client) as sdk:
        made = await sdk.images.generate(
            model=SEEDREAM, prompt="A lighthouse", n=2, size="512x512", quality="hd", user="u1", response_format="url"
        )
    [request] = await players.published(client.user_id)
    assert [picture.url for picture in made.data or ()] == [
        f"{PUBLIC_URL}/media/{request.generation_id.hex}{index}/original.png" for index in range(2)
    ]
    assert [(picture.b64_json, picture.revised_prompt) for picture in made.data or ()] == [(None, None)] * 2
    assert made.usage is None
    assert (made.size, made.quality, made.output_format) == ("512x512", "hd", "png")
    assert (request.prompt, request.model, request.count, request.size) == ("A lighthouse", SEEDREAM, 2, "512x512")
    assert request.options == {"quality": "hd"}
    row = await postgres.fetchrow("SELECT dialect, particulars FROM generations WHERE id = $1", request.generation_id)
    assert (row["dialect"], '"u1"' in row["particulars"]) == ("openai", True)


async def test_what_is_left_to_the_model_is_not_asked_for(client: Client, players: Players) -> None:
    async with sdk_of(client) as sdk:
        made = await sdk.images.generate(prompt="x", size="auto", quality="auto", background="auto", moderation="auto")
    [request] = await players.published(client.user_id)
    assert (request.size, request.options, request.count, made.size) == ("1024x1024", {}, 1, "1024x1024")


async def test_every_option_reaches_the_provider(client: Client, players: Players) -> None:
    asked: dict[str, Any] = {
        "quality": "high",
        "background": "transparent",
        "output_format": "webp",
        "output_compression": 50,
        "moderation": "low",
        "style": "vivid",
    }
    async with sdk_of(client) as sdk:
        made = await sdk.images.generate(prompt="x", **asked)
    [request] = await players.published(client.user_id)
    assert request.options == asked
    assert (made.output_format, made.background) == ("png", "transparent"), "what was delivered, whatever was asked"


async def test_pictures_in_base64_are_the_bytes_that_storage_lends(client: Client, lender: Lender) -> None:
    lender.sizes[client.user_id] = 300_000
    async with sdk_of(client) as sdk:
        made = await sdk.images.generate(prompt="x", n=2, response_format="b64_json")
    lent = [each for each in lender.asked if each.user_id == client.user_id]
    assert [base64.b64decode(picture.b64_json or "") for picture in made.data or ()] == [*map(lender.content, lent)]
    assert len({each.asset_id for each in lent}) == 2


@pytest.mark.parametrize(("code", "status"), [("input_not_found", 404), ("too_large", 413), ("unavailable", 503)])
async def test_bytes_that_cannot_be_had_are_not_made_again(
    client: Client, lender: Lender, players: Players, code: str, status: int
) -> None:
    lender.failures[client.user_id] = code
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.APIStatusError) as refused:
            await sdk.images.generate(prompt="x", response_format="b64_json")
    assert refused.value.status_code == status
    assert len(await players.published(client.user_id)) == 1


async def test_a_partial_delivery_is_what_is_there(client: Client, players: Players) -> None:
    async def play(request: Request) -> None:
        await players.complete(request, delivered=1)

    players.scripts[client.user_id] = play
    async with sdk_of(client) as sdk:
        assert len((await sdk.images.generate(prompt="x", n=3)).data or ()) == 1


# -- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x", "size": "1x1"}, "size"),
        ({"prompt": "x", "n": 9}, "n"),
        ({"prompt": "x", "n": 0}, "n"),
        ({"prompt": "x", "response_format": "xml"}, "response_format"),
        ({"prompt": "x", "output_compression": 101}, "output_compression"),
        ({"prompt": "x", "output_format": "svg"}, "output_format"),
    ],
    ids=str,
)
async def test_a_wrong_parameter_is_named(client: Client, players: Players, asked: Any, param: str) -> None:
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.images.generate(**asked)
    assert (refused.value.param, refused.value.type) == (param, "invalid_request_error")
    assert not players.of(client.user_id)


async def test_another_kinds_model_is_none_of_this(client: Client) -> None:
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.NotFoundError, match="There is no image model"):
            await sdk.images.generate(prompt="x", model=WRITER)


async def test_no_credits_is_a_quota_and_the_sdk_does_not_try_again(client: Client, players: Players) -> None:
    players.available[client.user_id] = 0
    async with sdk_of(client, max_retries=3) as sdk:
        with pytest.raises(openai.RateLimitError) as refused:
            await sdk.images.generate(prompt="x")
    assert (refused.value.code, refused.value.type) == ("insufficient_quota", "insufficient_quota")
    assert len([each for each in players.asked if each.user_id == client.user_id]) == 1


@pytest.mark.parametrize(
    ("verdict", "code", "error", "tries"),
    [
        (Verdict.FAILED, "content_policy", openai.BadRequestError, 1),
        (Verdict.DECLINED, "insufficient_credits", openai.RateLimitError, 1),
        (Verdict.CANCELLED, "", openai.ConflictError, 1),
        (Verdict.FAILED, "provider_throttled", openai.RateLimitError, 2),
        (Verdict.FAILED, "provider_error", openai.InternalServerError, 2),
    ],
)
async def test_what_is_not_delivered_is_an_error_of_the_sdk(
    client: Client, players: Players, verdict: Verdict, code: str, error: type[Exception], tries: int
) -> None:
    """Only what may end better is tried again: nothing was charged for it."""

    async def play(request: Request) -> None:
        await players.end(request, verdict, Failure(code=code, message="It says no.") if code else None)

    players.scripts[client.user_id] = play
    async with sdk_of(client, max_retries=1) as sdk:
        with pytest.raises(error):
            await sdk.images.generate(prompt="x")
    assert len({request.generation_id for request in players.of(client.user_id)}) == tries


async def test_a_wait_in_vain_makes_nothing_twice(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    async with sdk_of(client, max_retries=2) as sdk:
        with pytest.raises(openai.InternalServerError) as refused:
            await sdk.images.generate(prompt="x")
    [request] = await players.published(client.user_id)
    assert (refused.value.status_code, refused.value.code) == (504, "still_running")
    assert refused.value.response.headers["location"] == f"/v1/generations/{request.generation_id}"


async def test_the_same_key_is_the_same_picture(client: Client, players: Players) -> None:
    headers = {"Idempotency-Key": "once"}
    async with sdk_of(client) as sdk:
        first, again = [await sdk.images.generate(prompt="x", extra_headers=headers) for _ in range(2)]
        with pytest.raises(openai.UnprocessableEntityError):
            await sdk.images.generate(prompt="y", extra_headers=headers)
    assert first == again
    assert len(await players.published(client.user_id)) == 1


# -- who asks, and what stands above every answer -------------------------------------------------------------------


async def test_a_key_of_ours_is_the_sdks_key(client: Client, players: Players) -> None:
    key, reading = await make_key(client), await make_key(client, scopes=["read"])
    async with sdk_of(client, key["key"]) as sdk:
        assert (await sdk.images.generate(prompt="x")).data
    assert len(await players.published(client.user_id)) == 1
    async with sdk_of(client, reading["key"]) as sdk:
        assert [model async for model in sdk.models.list()]
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await sdk.images.generate(prompt="x")
    assert refused.value.code == "insufficient_permissions"


@pytest.mark.parametrize("key", ["sk-something", "dk_" + "A" * 43])
async def test_any_other_key_is_refused(client: Client, key: str) -> None:
    async with sdk_of(client, key) as sdk:
        with pytest.raises(openai.AuthenticationError) as refused:
            await sdk.images.generate(prompt="x")
    assert refused.value.code == "invalid_api_key"


async def test_every_answer_is_named_and_says_how_much_is_left(client: Client, nobody: Client) -> None:
    answers = [
        await client.post(IMAGES, json={"prompt": "x"}),
        await client.post(IMAGES, json={"prompt": ""}),
        await client.get(f"{BASE}/models"),
    ]
    for answer in answers:
        assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])
        assert int(answer.headers["openai-processing-ms"]) >= 0
        left = int(answer.headers["x-ratelimit-remaining-requests"])
        assert 0 <= left <= int(answer.headers["x-ratelimit-limit-requests"])
        assert re.fullmatch(r"\d+ms", answer.headers["x-ratelimit-reset-requests"])
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)
    assert "x-request-id" not in (await nobody.get("/v1/models")).headers


async def test_the_requests_id_is_its_trace(client: Client) -> None:
    trace = uuid4().hex
    answer = await client.post(IMAGES, {"traceparent": f"00-{trace}-{'1' * 16}-01"}, json={"prompt": "x"})
    assert answer.headers["x-request-id"] == f"req_{trace}"


@pytest.mark.parametrize(("method", "path"), [("GET", "/nope"), ("PATCH", "/models"), ("POST", "/embeddings")])
async def test_outside_the_routes_the_error_is_openais_too(nobody: Client, method: str, path: str) -> None:
    answer = await nobody.request(method, BASE + path, json={})
    assert answer.status in {404, 405}
    assert sorted(answer.json["error"]) == ["code", "message", "param", "type"]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/models/gpt-image-1"),
        ("POST", "/fine_tuning/jobs"),
        ("POST", "/images/variations"),
        ("POST", "/audio/transcriptions"),
        ("POST", "/audio/translations"),
        ("POST", "/responses"),
        ("POST", "/completions"),
        ("POST", "/embeddings"),
        ("POST", "/videos/video_x/remix"),
        ("POST", "/videos/edits"),
        ("POST", "/videos/extensions"),
        ("POST", "/videos/characters"),
    ],
)
async def test_what_is_not_offered_is_an_error_of_the_sdk(client: Client, method: str, path: str) -> None:
    answer = await client.request(method, BASE + path, json={"model": SEEDREAM})
    assert answer.status in {404, 405}, answer.text
    assert answer.json["error"]["type"] == "invalid_request_error" and answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/images/generations", {"prompt": "x"}),
        ("/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("/videos", {"prompt": "x"}),
    ],
)
async def test_what_cannot_be_kept_beside_a_request_is_refused(
    client: Client, players: Players, path: str, asked: dict[str, Any]
) -> None:
    answer = await client.post(BASE + path, json={**asked, "user": "a\0b"})
    assert (answer.status, answer.json["error"]["param"]) == (400, "user"), answer.text
    assert not players.of(client.user_id)


async def test_a_body_that_is_too_large_is_refused_in_the_same_shape(client: Client) -> None:
    answer = await client.post(IMAGES, data=b'"' + b"x" * (1 << 20) + b'"')
    assert (answer.status, answer.json["error"]["code"]) == (413, "body_too_large")


class TestImages(Conformance):
    surface = Dialect(
        submit=("POST", IMAGES, {"prompt": "A beautiful sunset"}),
        accepted=200,
        statuses={"insufficient_credits": 429},
        message_of=lambda body: [body["error"]["message"], body["error"]["type"]],
    )


class TestChats(Conformance):
    surface = Dialect(
        submit=("POST", f"{BASE}/chat/completions", {"messages": [{"role": "user", "content": "What is a darkroom?"}]}),
        accepted=200,
        statuses={"insufficient_credits": 429},
        message_of=lambda body: [body["error"]["message"], body["error"]["type"]],
    )
