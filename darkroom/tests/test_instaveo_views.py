"""instaveo's tables as its frontend reads them: the seed's names, columns and types, and who sees which row."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.tables import MEDIA_BASE, Tables

pytestmark = pytest.mark.connected

TIME = "timestamp with time zone"
COLUMNS = {
    "videos": {
        "id": "uuid",
        "user_id": "uuid",
        "prompt": "text",
        "video_url": "text",
        "thumbnail_url": "text",
        "status": "instaveo.video_status",
        "likes_count": "integer",
        "dislikes_count": "integer",
        "views_count": "bigint",
        "ranking_score": "numeric",
        "created_at": TIME,
        "updated_at": TIME,
        "source_video_id": "uuid",
    },
    "video_assets": {
        "video_id": "uuid",
        "asset_type": "instaveo.asset_type",
        "storage_backend": "text",
        "storage_key": "text",
        "file_path": "text",
        "public_url": "text",
        "source_url": "text",
        "duration_seconds": "integer",
        "created_at": TIME,
        "updated_at": TIME,
    },
    "video_reactions": {
        "id": "uuid",
        "video_id": "uuid",
        "user_id": "uuid",
        "reaction": "instaveo.reaction",
        "created_at": TIME,
    },
    "video_views": {"id": "uuid", "video_id": "uuid", "user_id": "uuid", "session_id": "text", "created_at": TIME},
    "profiles": {
        "id": "uuid",
        "username": "text",
        "email": "text",
        "avatar_url": "text",
        "created_at": TIME,
        "updated_at": TIME,
        "last_active_at": TIME,
    },
    "creator_stats": {
        "user_id": "uuid",
        "videos_created": "integer",
        "total_likes": "bigint",
        "total_dislikes": "bigint",
        "last_active_at": TIME,
        "creator_score": "double precision",
    },
    "video_jobs": {
        "id": "uuid",
        "video_id": "uuid",
        "prompt": "text",
        "status": "instaveo.job_status",
        "failure_reason": "text",
        "created_at": TIME,
        "updated_at": TIME,
        "output_url": "text",
    },
}


@pytest.mark.parametrize("table", COLUMNS)
async def test_a_table_has_the_seeds_columns(tables: Tables, table: str) -> None:
    assert await tables.columns(f"instaveo.{table}") == COLUMNS[table]


async def video(tables: Tables, user: UUID, status: str = "completed", *, public: bool = True, **columns: Any) -> UUID:
    video_id = await tables.generation(user, "instaveo", "video", status, **columns)
    await tables.admin.execute(
        "INSERT INTO gateway.instaveo_videos (id, user_id, is_published, is_live, likes) VALUES ($1, $2, $3, $4, 7)",
        video_id,
        user,
        public,
        status == "completed",
    )
    return video_id


async def read(tables: Tables, user: UUID | None, table: str, video_id: UUID, role: str = "authenticated") -> Any:
    column = "id" if table == "videos" else "video_id"
    return await tables.rows(user, f"SELECT * FROM instaveo.{table} WHERE {column} = $1", video_id, role=role)


async def test_what_is_published_is_everybodys(tables: Tables) -> None:
    owner = uuid4()
    public, private = await video(tables, owner), await video(tables, owner, public=False)
    pending = await video(tables, owner, "pending")
    hidden = await video(tables, owner, particulars='{"visibility": "owner"}')
    everything = {public, private, pending, hidden}
    for user, role, seen in [
        (owner, "authenticated", everything),
        (uuid4(), "authenticated", {public}),
        (None, "anon", {public}),
        (None, "service_role", everything),
    ]:
        rows = await tables.rows(
            user, "SELECT id, status FROM instaveo.videos WHERE id = ANY ($1)", list(everything), role=role
        )
        assert {row["id"] for row in rows} == seen, role
    [row] = await read(tables, None, "videos", public, "anon")
    assert (row["likes_count"], row["status"], row["prompt"]) == (7, "completed", "a lighthouse")
    assert row["video_url"].startswith(f"{MEDIA_BASE}/media/")
    [row] = await read(tables, owner, "videos", pending)
    assert (row["video_url"], row["thumbnail_url"], row["status"]) == ("", None, "pending")


async def test_a_video_has_its_assets(tables: Tables) -> None:
    [row] = await read(tables, None, "video_assets", await video(tables, uuid4()), "anon")
    assert (row["asset_type"], row["storage_backend"], row["duration_seconds"]) == ("video", "local", 5)
    assert row["public_url"] == MEDIA_BASE + row["file_path"] == f"{MEDIA_BASE}/media/{row['storage_key']}"
    assert row["source_url"] == "https://provider.example/x"


@pytest.mark.parametrize(
    ("status", "job", "reason"),
    [
        ("pending", "queued", None),
        ("processing", "running", None),
        ("completed", "succeeded", None),
        ("failed", "failed", None),
        ("declined", "failed", "Not enough credits."),
        ("cancelled", "failed", "The video was cancelled."),
    ],
)
async def test_a_job_is_its_owners_alone(tables: Tables, status: str, job: str, reason: str | None) -> None:
    owner = uuid4()
    video_id = await video(tables, owner, status)
    [row] = await read(tables, owner, "video_jobs", video_id)
    assert (row["status"], row["failure_reason"], row["output_url"] is not None) == (job, reason, job == "succeeded")
    assert await read(tables, uuid4(), "video_jobs", video_id) == []
    assert await read(tables, None, "video_jobs", video_id, "anon") == []


async def test_reactions_and_views_are_seen_by_who_made_them(tables: Tables) -> None:
    user, other = uuid4(), uuid4()
    video_id = await video(tables, uuid4())
    for who in (user, other):
        await tables.admin.execute(
            "INSERT INTO gateway.instaveo_reactions (video_id, user_id, reaction) VALUES ($1, $2, 'like')",
            video_id,
            who,
        )
        await tables.admin.execute(
            "INSERT INTO gateway.instaveo_views (video_id, viewer, hour, user_id) VALUES ($1, $3, now(), $2)",
            video_id,
            who,
            str(who),
        )
    for table in ("video_reactions", "video_views"):
        assert [row["user_id"] for row in await read(tables, user, table, video_id)] == [user]
        assert await read(tables, None, table, video_id, "anon") == []


async def test_profiles_are_read_by_who_is_signed_in_and_an_email_by_its_owner(tables: Tables) -> None:
    user = uuid4()
    await tables.admin.execute(
        "INSERT INTO gateway.instaveo_creators (id, username, email) VALUES ($1, $2, 'a@example.com')",
        user,
        f"n{user.hex[:8]}",
    )
    query = "SELECT email FROM instaveo.profiles WHERE id = $1"
    assert await tables.rows(user, query, user) == [{"email": "a@example.com"}]
    assert await tables.rows(uuid4(), query, user) == [{"email": ""}]
    assert await tables.rows(None, query, user, role="anon") == []
    stats = "SELECT videos_created, total_likes FROM instaveo.creator_stats WHERE user_id = $1"
    assert await tables.rows(uuid4(), stats, user) == [{"videos_created": 0, "total_likes": 0}]


async def test_a_video_is_deleted_by_its_owner_alone(tables: Tables) -> None:
    owner = uuid4()
    video_id = await video(tables, owner)
    delete = "DELETE FROM instaveo.videos WHERE id = $1 RETURNING id"
    assert await tables.rows(uuid4(), delete, video_id) == []
    assert await tables.rows(owner, delete, video_id) == [{"id": video_id}]


async def test_a_deleted_video_is_in_no_table(tables: Tables) -> None:
    owner = uuid4()
    video_id = await video(tables, owner)
    await tables.admin.execute("UPDATE gateway.generations SET deleted_at = now() WHERE id = $1", video_id)
    for table in ("videos", "video_assets", "video_jobs"):
        assert await read(tables, owner, table, video_id) == []
    stale = await tables.admin.fetchval("SELECT is_stale FROM gateway.instaveo_videos WHERE id = $1", video_id)
    assert stale is True
