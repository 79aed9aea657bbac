"""The reelmate frontend's studio: somebody says a script, and it becomes a film that is looked at."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import Failure, Lane, Request, Verdict
from gateway.settings import Settings

from .client import Client, until
from .conformance import Conformance, Dialect
from .conftest import MakeClient, migrated, settings_of
from .players import Players
from .reelmate import AVATAR, FILM, SETTINGS, UNITS_PER_SECOND, VOICE, Media, keeping_media, offer

pytestmark = pytest.mark.connected

STUDIO = "/api/ai-studio"


@pytest.fixture(scope="module")
async def settings(nats_server: Any, make_database: Callable[[str], str], players: Players) -> Settings:
    database_url = await migrated(make_database("gateway"))
    await offer(database_url, players)
    return settings_of(nats_server.nats_url, database_url)


@pytest.fixture(scope="module", autouse=True)
async def media(bus: NatsClient) -> AsyncIterator[Media]:
    async with keeping_media(bus) as media:
        yield media


class TestReelmate(Conformance):
    surface = Dialect(
        submit=("POST", f"{STUDIO}/generate-video", FILM),
        accepted=201,
        held_open=False,
        show=f"{STUDIO}/generation-status/{{id}}",
        cancel=f"{STUDIO}/generation-jobs/{{id}}/cancel",
        state=lambda answer: str(answer.json["data"]["status"]),
        states={"completed": "completed", "failed": "failed", "declined": "failed", "cancelled": "cancelled"},
        id_in_answer=lambda answer: str(answer.json["data"]["id"]),
    )


async def ordered(client: Client, **fields: Any) -> Any:
    answer = await client.post(f"{STUDIO}/generate-video", json=FILM | fields)
    assert answer.status == 201, answer.text
    assert (answer.json["success"], bool(answer.json["message"])) == (True, True)
    return answer.json["data"]


async def finished(client: Client, **fields: Any) -> Any:
    job = await ordered(client, **fields)
    await client.ended(job["id"])
    return job


async def data(client: Client, path: str) -> Any:
    answer = await client.get(STUDIO + path)
    assert answer.status == 200, answer.text
    return answer.json["data"]


async def test_a_job_is_the_seeds_row(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    job = await ordered(client)
    assert job == {
        "id": job["id"],
        "user_id": str(client.user_id),
        "campaign_id": None,
        "batch_id": None,
        "job_type": "avatar_video",
        "status": "pending",
        "script": "Hello there.",
        "avatar_id": AVATAR,
        "voice_id": VOICE,
        "generation_settings": SETTINGS | {"aspectRatio": "9:16"},
        "progress": 0,
        "estimated_cost": 0.2,
        "actual_cost": None,
        "video_url": None,
        "error_message": None,
        "created_at": job["created_at"],
        "updated_at": job["created_at"],
        "completed_at": None,
    }


async def test_a_film_is_made_of_the_script_the_voice_and_the_face(
    client: Client, players: Players, media: Media
) -> None:
    job = await ordered(client)
    request = await players.heard(job["id"])
    assert (request.model, request.prompt, request.size) == ("darkroom-avatar", "Hello there.", "1080x1920")
    assert request.options == {"voice": "nova", "quality": "high"}
    [start] = request.inputs
    assert start.role == "image" and media.kept[start.asset_id] == client.user_id  # type: ignore[index]
    assert request.quote.amount == UNITS_PER_SECOND, "a second of words is paid, not the thirty that were wished for"


async def test_a_face_of_ours_is_brought_once_for_each_user(
    client_of: MakeClient, players: Players, media: Media
) -> None:
    one, other = client_of(), client_of()
    started = [await players.heard((await ordered(who))["id"]) for who in (one, one, other)]
    assert started[0].inputs == started[1].inputs != started[2].inputs
    assert [len(media.brought_by(who)) for who in (one, other)] == [1, 1]
    assert media.brought_by(one)[0][:3] == b"\xff\xd8\xff"


@pytest.mark.parametrize(
    ("wished", "size", "quality"),
    [
        ({}, "1080x1920", "standard"),
        ({"quality": "draft"}, "720x1280", "draft"),
        ({"quality": "1080p", "aspectRatio": "16:9"}, "1920x1080", "high"),
        ({"quality": "720p", "aspectRatio": "1:1", "captions": False}, "1080x1080", "draft"),
    ],
)
async def test_settings_say_how_it_looks(
    client: Client, players: Players, wished: dict[str, Any], size: str, quality: str
) -> None:
    request = await players.heard((await ordered(client, generationSettings=wished))["id"])
    assert (request.size, request.options["quality"]) == (size, quality)
    assert request.options.get("captions") == wished.get("captions")


async def test_progress_is_told_until_there_is_a_film(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.fund
    job = await ordered(client)

    async def processing() -> Any:
        shown = await data(client, f"/generation-status/{job['id']}")
        return shown if shown["status"] == "processing" else None

    shown = await until(processing)
    assert 0 < shown["progress"] < 100 and 0 < shown["estimatedTimeRemaining"] <= 180
    assert (shown["output"], shown["error"]) == (None, None)
    await players.end(await players.heard(job["id"]), Verdict.COMPLETED)
    await client.ended(job["id"])
    shown = await data(client, f"/generation-status/{job['id']}")
    assert (shown["status"], shown["progress"], shown["estimatedTimeRemaining"]) == ("completed", 100, 0)
    assert set(shown["output"]) == {"videoUrl", "thumbnailUrl", "duration", "cost"}
    assert shown["output"]["videoUrl"].endswith("/original.mp4")
    assert shown["output"]["thumbnailUrl"].endswith("/poster.webp")
    assert shown["output"]["cost"] == 0.2


async def test_what_fails_says_why_and_is_tried_again(client: Client, players: Players) -> None:
    async def fail(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="provider_error", message="The voice is hoarse."))

    players.scripts[client.user_id] = fail
    job = await finished(client, campaignId=None)
    shown = await data(client, f"/generation-status/{job['id']}")
    assert (shown["status"], shown["error"], shown["output"]) == ("failed", "The voice is hoarse.", None)
    players.scripts[client.user_id] = players.complete
    again = await client.post(f"{STUDIO}/generation-jobs/{job['id']}/retry")
    assert again.status == 201, again.text
    new = again.json["data"]
    assert new["id"] != job["id"] and (new["script"], new["avatar_id"]) == (job["script"], AVATAR)
    assert (await client.ended(new["id"]))["status"] == "completed"
    assert (await client.post(f"{STUDIO}/generation-jobs/{new['id']}/retry")).status == 409


async def test_a_list_of_scripts_is_one_batch_that_delays_nobody(client: Client, players: Players) -> None:
    body = {name: value for name, value in FILM.items() if name != "script"} | {"scripts": ["One.", "Two.", "Three."]}
    answer = await client.post(f"{STUDIO}/generate-batch", {"Idempotency-Key": "three"}, json=body)
    assert answer.status == 201, answer.text
    made = answer.json["data"]
    assert [job["script"] for job in made["jobs"]] == ["One.", "Two.", "Three."] and made["total"] == 3
    assert {job["batch_id"] for job in made["jobs"]} == {made["batchId"]}
    requests = [await players.heard(job["id"]) for job in made["jobs"]]
    assert {request.lane for request in requests} == {Lane.BATCH}
    assert (await client.get(f"/v1/batches/{made['batchId']}")).json["total"] == 3
    assert {job["batch_id"] for job in await data(client, "/generation-jobs")} == {made["batchId"]}
    same = await client.post(f"{STUDIO}/generate-batch", {"Idempotency-Key": "three"}, json=body)
    assert same.json["data"]["batchId"] == made["batchId"]


async def test_what_a_form_leaves_empty_makes_a_film_as_ever(client: Client) -> None:
    empty: dict[str, Any] = {"campaignId": "", "userId": ""}
    made = await ordered(client, generationSettings=None, **empty)
    assert (made["campaign_id"], made["generation_settings"]) == (None, {"aspectRatio": "9:16"})
    looks = {"aspectRatio": None, "quality": "", "duration": "", "captions": None}
    assert (await ordered(client, generationSettings=looks, **empty))["generation_settings"] == {"aspectRatio": "9:16"}
    answer = await client.post(f"{STUDIO}/generate-video", json=FILM | {"script": ""})
    assert answer.status == 422, "what has to be said is asked for"


async def test_of_a_batch_all_are_accepted_or_none(client: Client, players: Players, postgres: asyncpg.Pool) -> None:
    players.available[client.user_id] = UNITS_PER_SECOND
    body = {name: value for name, value in FILM.items() if name != "script"} | {"scripts": ["One.", "Two."]}
    assert (await client.post(f"{STUDIO}/generate-batch", json=body)).status == 402
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 0


async def test_jobs_and_films_are_found_by_state_campaign_and_place(client: Client, players: Players) -> None:
    campaign = await client.post("/api/campaigns", json={"name": "Spring", "type": "ai-generated"})
    campaign_id = campaign.json["campaign"]["id"]
    first = await finished(client, script="First.", campaignId=campaign_id)
    second = await finished(client, script="Second.")
    players.scripts[client.user_id] = players.hold
    third = await ordered(client, script="Third.")
    assert [job["id"] for job in await data(client, "/generation-jobs")] == [third["id"], second["id"], first["id"]]
    assert [job["id"] for job in await data(client, "/generation-jobs?limit=1&offset=1")] == [second["id"]]
    assert [job["id"] for job in await data(client, "/generation-jobs?status=pending")] == [third["id"]]
    assert [job["id"] for job in await data(client, f"/generation-jobs?campaignId={campaign_id}")] == [first["id"]]
    assert len(await data(client, "/generation-jobs?status=&campaignId=&limit=&offset=")) == 3
    assert len(await data(client, "/generated-videos?status=&campaignId=&limit=&offset=")) == 2
    assert len(await data(client, "/generation-jobs?status=all&campaignId=all")) == 3
    [film] = await data(client, f"/generated-videos?campaignId={campaign_id}")
    assert (film["job_id"], film["campaign_id"], film["script"]) == (first["id"], campaign_id, "First.")
    assert (film["resolution"], film["format"], film["file_size"]) == ("1080x1920", "mp4", 5678)
    assert [each["id"] for each in await data(client, "/generated-videos")] == [second["id"], first["id"]]
    assert await data(client, "/generated-videos?status=failed") == []


async def test_what_the_state_failed_means_is_what_was_declined_too(client: Client, players: Players) -> None:
    async def decline(request: Request) -> None:
        await players.end(request, Verdict.DECLINED)

    players.scripts[client.user_id] = decline
    job = await finished(client)
    [found] = await data(client, "/generation-jobs?status=failed")
    assert (found["id"], found["error_message"]) == (job["id"], "Not enough credits.")


@pytest.mark.parametrize("field", ["avatarId", "voiceId", "campaignId"])
async def test_who_is_not_there_makes_no_film(client: Client, postgres: asyncpg.Pool, field: str) -> None:
    answer = await client.post(f"{STUDIO}/generate-video", json=FILM | {field: str(uuid4())})
    assert answer.status == 404 and answer.json["success"] is False, answer.text
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 0


async def test_somebody_elses_campaign_is_not_there(client_of: MakeClient) -> None:
    one, other = client_of(), client_of()
    made = await one.post("/api/campaigns", json={"name": "Mine", "type": "ai-generated"})
    body = FILM | {"campaignId": made.json["campaign"]["id"]}
    assert (await other.post(f"{STUDIO}/generate-video", json=body)).status == 404


async def test_a_film_of_another_dialect_is_no_job_here(client: Client) -> None:
    made = await client.accepted()
    assert (await client.get(f"{STUDIO}/generation-status/{made['id']}")).status == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"script": "  "},
        {"script": "x" * 4001},
        {"script": "a\x00b"},
        {"avatarId": "nonsense"},
        {"generationSettings": {"aspectRatio": "4:3"}},
        {"generationSettings": []},
    ],
    ids=repr,
)
async def test_what_cannot_be_filmed_is_refused(client: Client, postgres: asyncpg.Pool, wrong: dict[str, Any]) -> None:
    answer = await client.post(f"{STUDIO}/generate-video", json=FILM | wrong)
    assert answer.status == 422, answer.text
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 0
