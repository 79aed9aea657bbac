"""The social frontend, as its seed says it: requests and answers to the letter."""

import asyncio
import re
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from contracts.facts import Cached, Failure, Request, Verdict
from gateway.dialects.social import pictures
from gateway.dialects.social.styles import Style, enhanced
from gateway.dialects.social.writing import MAX_TOKENS

from .client import Client, token, until
from .conformance import JSON, Conformance, Dialect
from .conftest import PUBLIC_URL, MakeClient
from .outcomes import outcome_of
from .players import SEEDREAM, WRITER, Players
from .social import DOWNLOAD, GENERATE, HISTORY, IMAGE, POST, PREFIXES, WRITE, made

pytestmark = pytest.mark.connected
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class TestImages(Conformance):
    surface = Dialect(submit=("POST", GENERATE, IMAGE), accepted=200)


class TestTexts(Conformance):
    surface = Dialect(submit=("POST", WRITE, {"prompt": POST, "tone": "casual", "type": "generate"}), accepted=200)


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_the_seeds_request_gets_the_seeds_answer(client: Client, players: Players, prefix: str) -> None:
    body = {"prompt": POST, "style": "artistic", "userId": str(client.user_id), "count": 2}
    answer = await client.post(f"{prefix}/generate-image", json=body)
    assert (answer.status, answer.json["success"]) == (200, True), answer.text
    [request] = await players.published(client.user_id)
    data = answer.json["data"]
    assert (data["cost"], data["remainingCredits"]) == (2, 1000)
    assert len({image["id"] for image in data["images"]}) == 2
    for index, image in enumerate(data["images"]):
        token = f"{request.generation_id.hex}{index}"
        metadata = image.pop("metadata")
        assert image == {
            "id": str(UUID(image["id"])),
            "url": f"{PUBLIC_URL}/media/{token}/original.png",
            "thumbnail": f"{PUBLIC_URL}/media/{token}/thumbnail.webp",
        }
        assert ISO.fullmatch(generated_at := metadata.pop("generatedAt"))
        assert abs(datetime.fromisoformat(generated_at).timestamp() - time.time()) < 60
        assert metadata == {
            "style": "artistic",
            "prompt": POST,
            "aiService": "stable-diffusion",
            "provider": "modelark",
            "model": SEEDREAM,
            "generationId": str(request.generation_id),
            "cached": False,
            "width": 1024,
            "height": 1024,
            "blurhash": None,
            "variants": {
                "medium": f"{PUBLIC_URL}/media/{token}/medium.webp",
                "thumbnail": f"{PUBLIC_URL}/media/{token}/thumbnail.webp",
            },
        }


@pytest.mark.parametrize("style", list(Style))
async def test_a_style_enhances_what_the_provider_is_told_and_the_record_keeps_the_users_words(
    client: Client, players: Players, postgres: asyncpg.Pool, style: Style
) -> None:
    data = await made(client, style=style.value)
    [request] = await players.published(client.user_id)
    assert request.prompt == enhanced(POST, style) != POST
    assert data["images"][0]["metadata"]["style"] == style.value
    shown = await client.show(str(request.generation_id))
    assert shown["prompt"] == POST
    kept = await postgres.fetchrow("SELECT prompt, dialect FROM generations WHERE id = $1", request.generation_id)
    assert tuple(kept) == (POST, "social")


async def test_each_style_asks_for_something_else(client: Client, players: Players) -> None:
    for style in Style:
        await made(client, style=style.value)
    assert len({request.prompt for request in players.of(client.user_id)}) == len(Style)


async def test_what_is_asked_for_again_keeps_its_words_and_its_style(client: Client, players: Players) -> None:
    async def fail(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="provider_error", message="No."))

    players.scripts[client.user_id] = fail
    assert (await client.post(GENERATE, json=IMAGE)).status == 502
    [first] = await players.published(client.user_id)
    del players.scripts[client.user_id]
    again = (await client.post(f"/v1/generations/{first.generation_id}/retry")).json
    await client.ended(again["id"])
    assert (await players.published(client.user_id, 2))[1].prompt == first.prompt == enhanced(POST, Style.REALISTIC)
    [image, *_] = (await client.get(HISTORY)).json["data"]["images"]
    assert (image["metadata"]["style"], image["metadata"]["prompt"]) == ("realistic", POST)


@pytest.mark.parametrize(("count", "asked"), [(None, 4), (1, 1), (3, 3), ("2", 2)])
async def test_one_to_four_pictures_four_unless_said_otherwise(
    client: Client, players: Players, count: object, asked: int
) -> None:
    body = {"prompt": POST, "style": "minimal"} | ({} if count is None else {"count": count})
    answer = await client.post(GENERATE, json=body)
    assert [len(answer.json["data"]["images"]), answer.json["data"]["cost"]] == [asked, asked]
    assert [(request.count, request.size) for request in players.of(client.user_id)] == [(asked, "1024x1024")]


async def test_a_picture_may_be_what_was_made_before_and_then_says_so(client: Client, players: Players) -> None:
    """The wish goes with every request for pictures, and with none for a text."""

    async def answer_from_before(request: Request) -> None:
        outcome = outcome_of(request, Verdict.COMPLETED)
        cached = Cached(generation_id=uuid4(), percent=0)
        await players.say(outcome.model_copy(update={"data": outcome.data.model_copy(update={"cached": cached})}))

    players.scripts[client.user_id] = answer_from_before
    data = await made(client, count=2)
    assert (data["cost"], [image["metadata"]["cached"] for image in data["images"]]) == (0, [True, True])
    assert (await client.post(WRITE, json={"prompt": POST})).status == 200
    picture, words = await players.published(client.user_id, 2)
    assert picture.reuse is not None
    assert words.reuse is None


async def test_what_is_delivered_is_what_is_paid(client: Client, players: Players) -> None:
    async def half(request: Request) -> None:
        await players.complete(request, delivered=2)

    players.scripts[client.user_id] = half
    data = (await client.post(GENERATE, json=IMAGE)).json["data"]
    assert (len(data["images"]), data["cost"]) == (2, 2)


async def test_a_silent_ledger_does_not_hide_what_was_made(client: Client, players: Players) -> None:
    players.silent.add(client.user_id)
    data = await made(client)
    assert (len(data["images"]), data["cost"], data["remainingCredits"]) == (1, 1, None)


# -- texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "tone", "task"),
    [
        ({}, "professional", "generate"),
        ({"tone": "casual", "type": "rephrase"}, "casual", "rephrase"),
        ({"tone": "inspirational"}, "inspirational", "generate"),
    ],
)
async def test_a_text_is_written_in_the_tone_that_was_asked_for(
    client: Client, players: Players, fields: dict[str, str], tone: str, task: str
) -> None:
    answer = await client.post(WRITE, json={"prompt": POST} | fields)
    assert (answer.status, answer.json["success"]) == (200, True), answer.text
    [request] = await players.published(client.user_id)
    data = answer.json["data"]
    assert ISO.fullmatch(data["metadata"].pop("generatedAt"))
    assert data["metadata"] == {
        "tone": tone,
        "type": task,
        "prompt": POST,
        "aiService": "stable-diffusion",
        "provider": "modelark",
        "model": WRITER,
        "generationId": str(request.generation_id),
    }
    assert data["text"] == f"About {POST}: it is well said."
    assert 0 < data["cost"] < data["remainingCredits"]
    assert (request.kind, request.prompt, request.max_tokens) == ("text", POST, MAX_TOKENS)
    [said] = request.messages
    assert said.role == "system" and tone[:7] in said.content and POST not in said.content


async def test_texts_are_no_pictures(client: Client) -> None:
    await client.post(WRITE, json={"prompt": POST})
    assert (await client.get(HISTORY)).json["data"]["images"] == []


# -- history and downloads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_the_history_has_every_picture_the_newest_first_a_page_at_a_time(client: Client, prefix: str) -> None:
    newest = [image for _ in range(3) for image in (await made(client, count=3))["images"]]
    expected = [image for group in (6, 3, 0) for image in newest[group : group + 3]]
    found = []
    for page, size in [(1, 4), (2, 4), (3, 1)]:
        answer = await client.get(f"{prefix}/generated-images?page={page}&limit=4")
        assert (answer.status, answer.json["success"]) == (200, True), answer.text
        assert answer.json["data"]["pagination"] == {
            "page": page,
            "limit": 4,
            "total": 9,
            "totalPages": 3,
            "hasNext": page < 3,
            "hasPrev": page > 1,
        }
        assert len(answer.json["data"]["images"]) == size
        found += answer.json["data"]["images"]
    assert found == expected
    beyond = (await client.get(f"{prefix}/generated-images?page=4&limit=4")).json["data"]
    assert (beyond["images"], beyond["pagination"]["hasNext"]) == ([], False)


@pytest.mark.parametrize("unset", ["", "undefined", "null"])
async def test_whom_a_page_does_not_name_is_whoever_asks(client: Client, unset: str) -> None:
    answer = await client.post(GENERATE, json=IMAGE | {"userId": unset, "count": None})
    assert answer.status == 200, answer.text
    answer = await client.get(f"{HISTORY}?userId={unset}&page=&limit=")
    assert (answer.status, answer.json["data"]["pagination"]["limit"]) == (200, 12), answer.text
    [image, *_] = answer.json["data"]["images"]
    assert (await client.post(f"{DOWNLOAD.format(image['id'])}?userId={unset}")).status == 200


async def test_an_empty_history_is_no_error(client: Client) -> None:
    data = (await client.get(HISTORY)).json["data"]
    assert data["images"] == []
    assert data["pagination"] == {
        "page": 1,
        "limit": 12,
        "total": 0,
        "totalPages": 0,
        "hasNext": False,
        "hasPrev": False,
    }


async def test_the_history_is_ones_own_and_of_this_frontend(
    client: Client, client_of: MakeClient, players: Players
) -> None:
    await made(client)
    other = client_of()
    await other.ended((await other.accepted())["id"])
    players.scripts[other.user_id] = players.hold
    pending = asyncio.create_task(other.post(GENERATE, json=IMAGE))
    await until(lambda: _is_asked(players, other, 2))
    assert (await other.get(HISTORY)).json["data"]["images"] == []
    await players.complete((await players.published(other.user_id, 2))[1])
    assert (await pending).status == 200
    assert len((await other.get(HISTORY)).json["data"]["images"]) == 4


async def _is_asked(players: Players, client: Client, times: int) -> bool:
    return len(players.of(client.user_id)) == times


async def test_what_was_deleted_is_gone(client: Client) -> None:
    data = await made(client)
    [image] = data["images"]
    deleted = await client.request("DELETE", f"/v1/generations/{image['metadata']['generationId']}")
    assert deleted.status == 204, deleted.text
    assert (await client.get(HISTORY)).json["data"]["images"] == []
    assert (await client.post(DOWNLOAD.format(image["id"]))).status == 404


@pytest.mark.parametrize(
    "query", ["page=0", "page=-1", "page=x", "limit=0", "limit=51", "limit=1000000000", "page=1e9"]
)
async def test_pages_that_cannot_be(client: Client, query: str) -> None:
    answer = await client.get(f"{HISTORY}?{query}")
    assert answer.status == 400
    assert answer.json["validationErrors"][0].startswith(query.partition("=")[0].join(["query.", ": "]))


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_download_is_a_link_and_an_entry_in_the_log(
    client: Client, postgres: asyncpg.Pool, prefix: str
) -> None:
    """The frontend says JSON and sends nothing."""
    images = (await made(client, count=3))["images"]
    answer = await client.post(f"{prefix}/download-image/{images[1]['id']}", JSON)
    assert (answer.status, answer.json["success"]) == (200, True), answer.text
    url = f"{images[1]['url']}?download=1"
    assert answer.json["data"] == {
        "id": images[1]["id"],
        "downloadUrl": url,
        "url": url,
        "filename": f"{images[1]['id']}.png",
        "expiresAt": None,
    }
    rows = await postgres.fetch(
        "SELECT asset_id, generation_id FROM image_downloads WHERE user_id = $1", client.user_id
    )
    assert [(str(row["asset_id"]), str(row["generation_id"])) for row in rows] == [
        (images[1]["id"], images[1]["metadata"]["generationId"])
    ]


@pytest.mark.parametrize("wrong", [str(UUID(int=1)), "nonsense", "%00", "..%2f..%2fready", "x" * 300])
async def test_what_names_no_image_is_404(client: Client, wrong: str) -> None:
    answer = await client.post(DOWNLOAD.format(wrong))
    assert (answer.status, answer.json["success"]) == (404, False)


async def test_only_the_owner_downloads_and_nothing_else_is_logged(
    client: Client, client_of: MakeClient, nobody: Client, postgres: asyncpg.Pool
) -> None:
    [image] = (await made(client))["images"]
    for other, status in ((client_of(), 404), (nobody, 401)):
        assert (await other.post(DOWNLOAD.format(image["id"]))).status == status
    generation = image["metadata"]["generationId"]
    assert (await client.post(DOWNLOAD.format(generation))).status == 404
    assert await postgres.fetchval("SELECT count(*) FROM image_downloads WHERE generation_id = $1", generation) == 0


@pytest.mark.parametrize(
    ("statement", "index", "others"),
    [
        (pictures._PAGE, "ix_generations_social_of_user", ["ix_generations_of_user"]),
        (
            pictures._DOWNLOAD,
            "ix_generations_social_assets",
            ["ix_generations_of_user", "ix_generations_social_of_user"],
        ),
    ],
    ids=["page", "download"],
)
async def test_the_statements_say_what_the_indexes_say(
    postgres: asyncpg.Pool, statement: Any, index: str, others: list[str]
) -> None:
    """Few rows need no index: with all others away it is seen whether this one could be used."""
    values = {"user_id": f"'{uuid4()}'", "asset_id": f"'{uuid4()}'", "limit": "12", "offset": "0"}
    query = re.sub(r"(?<!:):([a-z]\w*)", lambda found: values[found[1]], str(statement))
    async with postgres.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SET LOCAL enable_seqscan = off")
        for other in others:
            await connection.execute(f"DROP INDEX {other}")
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {query}"))
        await transaction.rollback()
    assert index in plan


# -- the frontend, call by call ---------------------------------------------------------------------------------------


async def test_the_frontends_sequence_of_calls(client: Client, client_of: MakeClient, players: Players) -> None:
    """A post is written, a token has run out meanwhile and is renewed, four pictures are made and one is kept."""
    written = await client.post(
        WRITE, json={"prompt": "exciting business update", "tone": "engaging", "type": "generate"}
    )
    post = written.json["data"]["text"]
    rephrased = await client.post(WRITE, json={"prompt": post, "tone": "professional", "type": "rephrase"})
    assert rephrased.status == 200

    late = client_of(client.user_id, token(client.user_id, exp=int(datetime.now(UTC).timestamp()) - 60))
    asked = {"prompt": post, "style": "vibrant", "count": 4}
    assert (await late.post(GENERATE, json=asked)).status == 401
    renewed = client_of(client.user_id)
    answer = (await renewed.post(GENERATE, json=asked)).json
    assert answer["success"] and len(answer["data"]["images"]) == 4
    assert [request.kind for request in players.of(client.user_id)] == ["text", "text", "image"]

    history = (await renewed.get(f"{HISTORY}?page=1&limit=12")).json["data"]
    assert history["images"] == answer["data"]["images"]
    chosen = history["images"][2]
    link = (await renewed.post(DOWNLOAD.format(chosen["id"]), JSON)).json["data"]["downloadUrl"]
    assert link.startswith(chosen["url"])


# -- under load -------------------------------------------------------------------------------------------------------


async def test_fifty_requests_of_one_user_at_once_are_all_answered(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    """More than a user's slots: the rest waits its turn, and nothing is lost or made twice."""
    answers = await asyncio.gather(*(client.post(GENERATE, json=IMAGE) for _ in range(50)))
    assert {answer.status for answer in answers} == {200}, [answer.text for answer in answers if answer.status != 200]
    ids = {image["id"] for answer in answers for image in answer.json["data"]["images"]}
    assert len(ids) == 200
    assert len({request.generation_id for request in players.of(client.user_id)}) == 50
    slot = await postgres.fetchrow("SELECT taken, waiting FROM slots WHERE user_id = $1", client.user_id)
    assert tuple(slot) == (0, 0)
    assert (await client.get(f"{HISTORY}?limit=50")).json["data"]["pagination"]["total"] == 200
