"""The seven tables of the reelmate frontend, read as the frontend reads them."""

import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.tables import MEDIA_BASE, Tables

pytestmark = pytest.mark.connected

TABLES = (
    "campaigns",
    "ai_avatars",
    "ai_voices",
    "prompt_templates",
    "video_generation_jobs",
    "generated_videos",
    "video_analytics",
)
AVATAR, VOICE = (f"550e8400-e29b-41d4-a716-44665544000{number}" for number in (1, 5))


async def film(tables: Tables, user: UUID, status: str = "completed", **remarks: Any) -> UUID:
    remarks = {"avatar_id": AVATAR, "voice_id": VOICE, "settings": {"duration": 30}, **remarks}
    particulars = json.dumps({"remarks": remarks})
    return await tables.generation(user, "reelmate", "video", status, prompt="Hello.", particulars=particulars)


async def campaign(tables: Tables, user: UUID, name: str = "Spring") -> UUID:
    query = "INSERT INTO gateway.campaigns (user_id, name, type) VALUES ($1, $2, 'ugc-video') RETURNING id"
    found: UUID = await tables.admin.fetchval(query, user, name)
    return found


async def template(tables: Tables, user: UUID, public: bool) -> UUID:
    query = """INSERT INTO gateway.prompt_templates (user_id, name, template, is_public) VALUES ($1, 'Mine', 'x', $2)
        RETURNING id"""
    found: UUID = await tables.admin.fetchval(query, user, public)
    return found


async def test_all_seven_are_there_with_their_columns(tables: Tables) -> None:
    for table in TABLES:
        columns = await tables.columns(f"reelmate.{table}")
        assert {"id", "video_id"} & set(columns) and len(columns) >= 8, table
    job = await tables.columns("reelmate.video_generation_jobs")
    assert list(job)[:8] == [
        "id", "user_id", "campaign_id", "job_type", "status", "script", "avatar_id", "voice_id",
    ]  # fmt: skip


async def test_a_generation_is_a_job_and_its_film(tables: Tables) -> None:
    user = uuid4()
    campaign_id = await campaign(tables, user)
    made = await film(tables, user, campaign_id=str(campaign_id))
    [job] = await tables.rows(user, "SELECT * FROM reelmate.video_generation_jobs")
    assert (job["id"], job["user_id"], job["campaign_id"], job["status"]) == (made, user, campaign_id, "completed")
    assert (job["script"], str(job["avatar_id"]), str(job["voice_id"])) == ("Hello.", AVATAR, VOICE)
    [video] = await tables.rows(user, "SELECT * FROM reelmate.generated_videos")
    assert (video["id"], video["job_id"], video["format"], video["resolution"]) == (made, made, "mp4", "640x480")
    assert video["video_url"] == job["video_url"] and video["video_url"].startswith(f"{MEDIA_BASE}/media/")
    [joined] = await tables.rows(user, "SELECT (reelmate.campaigns(v)).name FROM reelmate.generated_videos v")
    assert joined["name"] == "Spring"


@pytest.mark.parametrize(
    ("status", "shown", "error"),
    [
        ("pending", "pending", None),
        ("processing", "processing", None),
        ("failed", "failed", "The video was cancelled."),
        ("declined", "failed", "Not enough credits."),
        ("cancelled", "cancelled", "The video was cancelled."),
    ],
)
async def test_states_are_the_seeds(tables: Tables, status: str, shown: str, error: str | None) -> None:
    user = uuid4()
    await film(tables, user, status)
    [job] = await tables.rows(user, "SELECT status, error_message, video_url FROM reelmate.video_generation_jobs")
    assert (job["status"], job["video_url"]) == (shown, None)
    assert status == "failed" or job["error_message"] == error
    assert await tables.rows(user, "SELECT * FROM reelmate.generated_videos") == []


async def test_what_we_ship_is_everybodys_and_the_rest_ones_own(tables: Tables) -> None:
    user, other = uuid4(), uuid4()
    await campaign(tables, user)
    private, public = await template(tables, user, False), await template(tables, user, True)
    mine, begun = uuid4(), uuid4()
    for voice_id, voice in ((mine, "v1"), (begun, None)):
        await tables.admin.execute(
            "INSERT INTO gateway.ai_voices (id, user_id, name, language, voice, sample_id, consented_at) "
            "VALUES ($1, $2, 'Me', 'en', $3, $1, now())",
            voice_id,
            user,
            voice,
        )
    for who, role in [(user, "authenticated"), (other, "authenticated"), (None, "anon")]:
        avatars = await tables.rows(who, "SELECT id, image_url FROM reelmate.ai_avatars ORDER BY id", role=role)
        assert [str(row["id"])[-1] for row in avatars] == ["1", "2", "3", "4"]
        assert avatars[0]["image_url"] == f"{MEDIA_BASE}/api/ai-studio/previews/avatar-1.jpg"
        voices = await tables.rows(who, "SELECT id FROM reelmate.ai_voices ORDER BY id", role=role)
        assert [str(row["id"])[-1] for row in voices if row["id"] != mine] == ["5", "6", "7", "8"]
        assert len(voices) == 4 + (who == user), "one's own, once it is made"
        seen = {row["id"] for row in await tables.rows(who, "SELECT id FROM reelmate.prompt_templates", role=role)}
        assert public in seen and (private in seen) == (who == user)
        assert len(await tables.rows(who, "SELECT * FROM reelmate.campaigns", role=role)) == (who == user)


async def test_counts_are_read_by_day(tables: Tables) -> None:
    user, other = uuid4(), uuid4()
    made = await film(tables, user)
    await tables.admin.execute(
        "INSERT INTO gateway.video_analytics (generation_id, user_id, day, views) VALUES ($1, $2, '2026-01-02', 7)",
        made,
        user,
    )
    [row] = await tables.rows(user, "SELECT * FROM reelmate.video_analytics")
    assert (row["video_id"], str(row["date"]), row["views"], row["shares"]) == (made, "2026-01-02", 7, 0)
    assert await tables.rows(other, "SELECT * FROM reelmate.video_analytics") == []


async def test_ones_own_may_be_deleted_and_nothing_else(tables: Tables) -> None:
    user, other = uuid4(), uuid4()
    await film(tables, user)
    await campaign(tables, user)
    public = await template(tables, user, True)
    async with tables.reading(other) as connection:
        for table in ("campaigns", "generated_videos", "prompt_templates", "ai_avatars"):
            assert await connection.execute(f"DELETE FROM reelmate.{table}") == "DELETE 0", table
    async with tables.reading(user) as connection:
        assert await connection.execute("DELETE FROM reelmate.campaigns") == "DELETE 1"
        assert await connection.execute("DELETE FROM reelmate.generated_videos") == "DELETE 1"
        assert await connection.fetchval("SELECT count(*) FROM reelmate.video_generation_jobs") == 0
        assert await connection.execute("DELETE FROM reelmate.prompt_templates WHERE id = $1", public) == "DELETE 1"
    for table in TABLES:
        async with tables.reading(None, "anon") as connection:
            with pytest.raises(asyncpg.PostgresError):
                await connection.execute(f"DELETE FROM reelmate.{table}")


async def test_nobody_writes_through_a_view(tables: Tables) -> None:
    user = uuid4()
    for statement in (
        "UPDATE reelmate.campaigns SET status = 'active'",
        "INSERT INTO reelmate.prompt_templates (name, template) VALUES ('x', 'y')",
        "UPDATE reelmate.video_analytics SET views = 1000000",
    ):
        async with tables.reading(user) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_jobs_are_found_by_their_users_index(tables: Tables) -> None:
    """As the frontend reads them, without looking at anybody else's rows."""
    user = uuid4()
    await film(tables, user)
    async with tables.reading(user) as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        query = "EXPLAIN SELECT * FROM reelmate.video_generation_jobs WHERE user_id = $1 ORDER BY created_at DESC"
        rows = await connection.fetch(query, user)
    assert "ix_generations_reelmate_of_user" in "\n".join(row[0] for row in rows)
