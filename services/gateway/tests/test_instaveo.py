"""The instaveo frontend, as its seed and its real client say it: requests and answers to the letter."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import text

from contracts.facts import Failure, Request, Verdict
from gateway.dialects.instaveo.ranking import Ranking
from gateway.settings import Settings
from runtime.database import Database

from .client import Answer, Client, token, until
from .conformance import JSON
from .conftest import PUBLIC_URL, MakeClient
from .players import Players
from .test_api_keys import make_key

pytestmark = pytest.mark.connected


def with_instaveo(settings: Settings, **instaveo: Any) -> Settings:
    return replace(settings, instaveo=settings.instaveo.model_copy(update=instaveo))


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return with_instaveo(settings, video_creation_cooldown_seconds=0, video_queue_maxsize=0)


async def rank(settings: Settings) -> None:
    """A round of the ranking, without waiting for it."""
    database = Database(settings.database, "gateway")
    async with database.statement() as connection:
        await connection.execute(text("UPDATE instaveo_ranking SET next_at = now()"))
    await Ranking(database, every_seconds=0).round()
    await database.close()


async def created(client: Client, prompt: str = "A lighthouse in a storm") -> Any:
    answer = await client.post("/videos/create", json={"prompt": prompt})
    assert answer.status == 201, answer.text
    return answer.json


async def completed(client: Client, prompt: str = "A lighthouse in a storm") -> Any:
    """A new video, once it is public."""
    video = await created(client, prompt)
    assert (await client.ended(video["id"]))["status"] == "completed"
    return await shown(client, video["id"])


async def shown(client: Client, video_id: str) -> Any:
    answer = await client.get(f"/videos/{video_id}")
    assert answer.status == 200, answer.text
    return answer.json


# -- videos -------------------------------------------------------------------------------------------------------


async def test_a_new_video_is_pending_and_has_no_address(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    video = await created(client)
    assert UUID(video["id"])
    assert video == {
        "id": video["id"],
        "prompt": "A lighthouse in a storm",
        "videoUrl": "",
        "userId": str(client.user_id),
        "username": video["username"],
        "likes": 0,
        "dislikes": 0,
        "views": 0,
        "createdAt": video["createdAt"],
        "updatedAt": video["updatedAt"],
        "status": "pending",
        "ranking_score": 0.0,
        "rankingScore": 0.0,
        "isPublished": True,
        "assets": [],
    }
    assert video["createdAt"].endswith("Z")


async def test_a_completed_video_has_its_addresses_and_assets(client: Client, players: Players) -> None:
    video = await completed(client)
    [request] = await players.published(client.user_id)
    name = f"{request.generation_id.hex}0"
    assert (video["status"], video["durationSeconds"]) == ("completed", 5)
    assert video["videoUrl"] == f"{PUBLIC_URL}/media/{name}/original.mp4"
    assert video["thumbnailUrl"] == f"{PUBLIC_URL}/media/{name}/poster.webp"
    film, thumbnail = video["assets"]
    assert film == {
        "id": film["id"],
        "assetType": "video",
        "storageBackend": "local",
        "storageKey": f"{name}/original.mp4",
        "filePath": f"/media/{name}/original.mp4",
        "publicUrl": video["videoUrl"],
        "sourceUrl": f"https://provider.example/{name}.mp4",
        "durationSeconds": 5,
        "createdAt": film["createdAt"],
        "updatedAt": film["updatedAt"],
    }
    assert (thumbnail["assetType"], thumbnail["publicUrl"]) == ("thumbnail", video["thumbnailUrl"])
    assert UUID(thumbnail["id"]) != UUID(film["id"])


@pytest.mark.parametrize(
    ("verdict", "failure", "reason"),
    [
        (Verdict.FAILED, Failure(code="content_policy", message="The provider says no."), "The provider says no."),
        (Verdict.DECLINED, None, "Not enough credits."),
        (Verdict.CANCELLED, None, "The video was cancelled."),
    ],
)
async def test_whatever_is_not_made_has_failed_and_says_why(
    client: Client, players: Players, verdict: Verdict, failure: Failure | None, reason: str
) -> None:
    async def play(request: Request) -> None:
        await players.end(request, verdict, failure)

    players.scripts[client.user_id] = play
    video = await created(client)
    await client.ended(video["id"])
    told = await shown(client, video["id"])
    assert (told["status"], told["failureReason"], told["videoUrl"]) == ("failed", reason, "")


async def test_what_failed_and_is_tried_again_is_a_video_too(
    client: Client, client_of: MakeClient, players: Players
) -> None:
    """Anything else would be paid for and shown by nobody; of what another was made of it stays a child."""
    source, other = await completed(client), client_of()

    async def fail(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="provider_unavailable", message="Away."))

    players.scripts[other.user_id] = fail
    failed = (await other.post(f"/videos/{source['id']}/recreate", JSON)).json
    await other.ended(failed["id"])
    del players.scripts[other.user_id]
    answer = await other.post(f"/v1/generations/{failed['id']}/retry")
    assert answer.status == 202, answer.text
    assert (await other.ended(answer.json["id"]))["status"] == "completed"
    video = await shown(client, answer.json["id"])
    assert (video["status"], video["sourceVideoId"], video["userId"]) == (
        "completed",
        source["id"],
        str(other.user_id),
    )


async def test_what_is_under_way_is_processing(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.fund
    video = await created(client)

    async def processing() -> bool:
        return bool((await shown(client, video["id"]))["status"] == "processing")

    await until(processing)


async def test_sync_status_says_what_the_log_knows_before_the_record_does(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    video = await completed(client)
    # As if the consumer of outcomes had not come to it yet.
    await postgres.execute(
        "UPDATE generations SET status = 'processing', outcome = NULL, completed_at = NULL WHERE id = $1",
        UUID(video["id"]),
    )
    assert (await shown(client, video["id"]))["status"] == "processing"
    answer = await client.post(f"/videos/{video['id']}/sync-status", JSON)
    assert (answer.status, answer.json["status"]) == (200, "completed")
    assert answer.json["videoUrl"] == video["videoUrl"]


async def test_sync_status_is_the_owners_alone(client_of: MakeClient) -> None:
    video = await completed(client_of())
    other = client_of()
    assert (await shown(other, video["id"]))["status"] == "completed"
    assert (await other.post(f"/videos/{video['id']}/sync-status", JSON)).status == 404


async def test_recreating_makes_the_same_prompt_anew_for_whoever_asks(client_of: MakeClient, players: Players) -> None:
    one, other = client_of(), client_of()
    source = await completed(one, "A whale between clouds")
    players.scripts[other.user_id] = players.hold
    answer = await other.post(f"/videos/{source['id']}/recreate", JSON)
    assert answer.status == 201, answer.text
    video = answer.json
    assert (video["prompt"], video["sourceVideoId"]) == ("A whale between clouds", source["id"])
    assert (video["userId"], video["status"]) == (str(other.user_id), "pending")
    assert (await players.published(other.user_id))[0].prompt == "A whale between clouds"


# -- who sees what ------------------------------------------------------------------------------------------------


async def test_until_it_is_completed_a_video_is_its_owners_alone(
    client_of: MakeClient, nobody: Client, players: Players
) -> None:
    one, other = client_of(), client_of()
    players.scripts[one.user_id] = players.hold
    video = await created(one)
    for somebody in (other, nobody):
        assert (await somebody.get(f"/videos/{video['id']}")).status == 404
        assert (await somebody.post(f"/videos/{video['id']}/view", JSON)).status == 404
    for action in ("like", "dislike", "recreate", "publish", "sync-status"):
        assert (await other.post(f"/videos/{video['id']}/{action}", JSON)).status == 404
    await players.complete((await players.published(one.user_id))[0])
    await one.ended(video["id"])
    for somebody in (other, nobody):
        assert (await shown(somebody, video["id"]))["status"] == "completed"


async def test_a_deleted_video_is_nobodys(client: Client, nobody: Client) -> None:
    video = await completed(client)
    assert (await client.request("DELETE", f"/v1/generations/{video['id']}")).status == 204
    for somebody in (client, nobody):
        assert (await somebody.get(f"/videos/{video['id']}")).status == 404
    assert (await client.post(f"/videos/{video['id']}/like", JSON)).status == 404


@pytest.mark.parametrize("path", ["/videos/create", f"/videos/{UUID(int=1)}/like", f"/videos/{UUID(int=1)}/recreate"])
async def test_who_is_not_signed_in_changes_nothing(nobody: Client, path: str) -> None:
    answer = await nobody.post(path, json={"prompt": "x"})
    assert (answer.status, answer.json["statusCode"]) == (401, 401)


async def test_links_are_for_those_who_may_see_the_video(client_of: MakeClient, players: Players) -> None:
    one, other = client_of(), client_of()
    video = await completed(one)
    download = await other.get(f"/videos/{video['id']}/download")
    assert (download.status, download.json) == (200, {"url": f"{video['videoUrl']}?download=1"})
    assert (await other.get(f"/videos/{video['id']}/share")).json == {"url": video["videoUrl"]}
    players.scripts[one.user_id] = players.hold
    unfinished = await created(one)
    assert (await one.get(f"/videos/{unfinished['id']}/download")).status == 404
    assert (await other.get(f"/videos/{unfinished['id']}/share")).status == 404


# -- reactions and views ------------------------------------------------------------------------------------------


async def test_one_reaction_of_a_user_counts_and_another_moves_it(client_of: MakeClient) -> None:
    one, other = client_of(), client_of()
    video = await completed(one)

    async def after(who: Client, reaction: str) -> tuple[int, int]:
        answer = await who.post(f"/videos/{video['id']}/{reaction}", JSON)
        assert (answer.status, answer.json) == (200, {"success": True})
        seen = await shown(one, video["id"])
        return seen["likes"], seen["dislikes"]

    assert await after(other, "like") == (1, 0)
    assert await after(other, "like") == (1, 0)
    assert await after(one, "like") == (2, 0)
    assert await after(other, "dislike") == (1, 1)
    assert await after(other, "dislike") == (1, 1)
    assert await after(other, "like") == (2, 0)


async def test_reactions_that_come_at_once_are_all_counted(client_of: MakeClient, postgres: asyncpg.Pool) -> None:
    video = await completed(client_of())
    fans = [client_of() for _ in range(40)]
    said = [(fan, reaction) for fan in fans for reaction in ("like", "dislike", "like", "like")]
    answers = await asyncio.gather(*(fan.post(f"/videos/{video['id']}/{reaction}", JSON) for fan, reaction in said))
    assert {answer.status for answer in answers} == {200}
    row = await postgres.fetchrow(
        """SELECT v.likes, v.dislikes, count(*) FILTER (WHERE r.reaction = 'like') AS liked, count(*) AS reacted
           FROM instaveo_videos v JOIN instaveo_reactions r ON r.video_id = v.id WHERE v.id = $1 GROUP BY v.id""",
        UUID(video["id"]),
    )
    assert (row["likes"], row["likes"] + row["dislikes"], row["reacted"]) == (row["liked"], 40, 40)


async def test_a_view_counts_once_in_an_hour_for_a_user_and_for_a_session(
    client_of: MakeClient, nobody: Client, postgres: asyncpg.Pool
) -> None:
    one, other = client_of(), client_of()
    video = await completed(one)
    agents = [{"User-Agent": agent} for agent in ("a browser", "a browser", "another")]
    for who, headers in [(one, {}), (other, {}), (other, {}), *((nobody, agent) for agent in agents)]:
        answer = await who.post(f"/videos/{video['id']}/view", JSON | headers)
        assert (answer.status, answer.json) == (200, {"success": True})
    assert (await shown(one, video["id"]))["views"] == 4
    await postgres.execute(
        "UPDATE instaveo_views SET hour = hour - interval '1 hour' WHERE video_id = $1", UUID(video["id"])
    )
    await other.post(f"/videos/{video['id']}/view", JSON)
    assert (await shown(one, video["id"]))["views"] == 5
    kept = await postgres.fetch(
        "SELECT viewer FROM instaveo_views WHERE video_id = $1 AND user_id IS NULL", UUID(video["id"])
    )
    assert len(kept) == 2
    assert not any("127.0.0.1" in row["viewer"] or "browser" in row["viewer"] for row in kept)


async def test_whoever_reacts_too_often_is_told_to_wait(client: Client) -> None:
    video = await completed(client)

    async def is_refused() -> Answer | None:
        """Two a second are never too often."""
        answer = await client.post(f"/videos/{video['id']}/like", JSON)
        return answer if answer.status != 200 else None

    refused = await until(is_refused, 60)
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert isinstance(refused.json["detail"], str)


# -- who else -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapped", ['{"access_token": "%s", "user": {"name": "A B"}}', '{"access_token":"%s"}'])
async def test_the_whole_session_after_bearer_is_understood(client_of: MakeClient, wrapped: str) -> None:
    user = uuid4()
    client = client_of(user, wrapped % token(user))
    assert (await client.get(f"/users/{user}")).json["id"] == str(user)


@pytest.mark.parametrize(
    "session", ["{", "{}", '{"access_token": 5}', '{"access_token": "x"}', "{" * 5000, '{"a": "é"}']
)
async def test_a_session_without_a_token_is_a_clear_401(client_of: MakeClient, session: str) -> None:
    answer = await client_of(uuid4(), session).get("/videos/feed")
    assert (answer.status, answer.json["statusCode"]) == (401, 401)


async def test_an_api_key_spends_up_to_its_cap_and_no_further(
    client: Client, nobody: Client, client_of: MakeClient, postgres: asyncpg.Pool
) -> None:
    key = (await make_key(client, credits_per_day=6))["key"]
    holder = client_of(client.user_id, key)
    made = await holder.post("/videos/create", json={"prompt": "A lighthouse"})
    assert made.status == 201, made.text
    for refused in (
        await holder.post("/videos/create", json={"prompt": "A lighthouse"}),
        await nobody.post("/videos/create", {"x-api-key": key}, json={"prompt": "A lighthouse"}),
    ):
        assert refused.status == 429, refused.text
    assert (await holder.get(f"/users/{client.user_id}")).status == 200
    rows = await postgres.fetch("SELECT api_key_id FROM generations WHERE user_id = $1", client.user_id)
    assert len(rows) == 1 and rows[0]["api_key_id"] is not None
