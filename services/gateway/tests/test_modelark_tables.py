"""The modelark frontend's tables: exactly the seed's columns and types, and what stands in them."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from tests.tables import MEDIA_BASE, Tables

pytestmark = pytest.mark.connected

COLUMNS = {
    "prompts": {
        "id": "uuid",
        "user_id": "uuid",
        "prompt": "text",
        "model_used": "character varying",
        "type": "character varying",
        "size": "character varying",
        "language": "character varying",
        "created_at": "timestamp without time zone",
    },
    "images": {
        "id": "uuid",
        "prompt_id": "uuid",
        "url": "text",
        "size": "character varying",
        "file_size": "bigint",
        "mime_type": "character varying",
        "created_at": "timestamp without time zone",
    },
    "videos": {
        "id": "uuid",
        "prompt_id": "uuid",
        "url": "text",
        "duration": "integer",
        "aspect_ratio": "character varying",
        "file_size": "bigint",
        "mime_type": "character varying",
        "created_at": "timestamp without time zone",
    },
}


@pytest.mark.parametrize("table", COLUMNS)
async def test_the_columns_are_the_seeds(tables: Tables, table: str) -> None:
    assert await tables.columns(f"modelark.{table}") == COLUMNS[table]


async def test_a_generation_is_a_prompt_with_its_images(tables: Tables) -> None:
    user, at = uuid4(), datetime.now(UTC) - timedelta(days=1)
    made = await tables.generation(user, "modelark", prompt="a sunset", model="seedream", created_at=at)
    assert await tables.rows(user, "SELECT * FROM modelark.prompts") == [
        {
            "id": made,
            "user_id": user,
            "prompt": "a sunset",
            "model_used": "seedream",
            "type": "image",
            "size": "640x480",
            "language": "en",
            "created_at": at.replace(tzinfo=None),
        }
    ]
    [image] = await tables.rows(user, "SELECT * FROM modelark.images")
    token = await tables.admin.fetchval("SELECT token FROM storage.assets WHERE generation_id = $1", made)
    assert image["url"] == f"{MEDIA_BASE}/media/{token}/original.png"
    assert (image["prompt_id"], image["size"], image["file_size"], image["mime_type"]) == (
        made,
        "640x480",
        1234,
        "image/png",
    )
    assert await tables.rows(user, "SELECT * FROM modelark.videos") == []


@pytest.mark.parametrize(("size", "ratio"), [("1280x720", "16:9"), ("720x1280", "9:16"), ("1024x1024", "1:1")])
async def test_a_video_has_the_seconds_and_the_ratio_that_were_asked_for(tables: Tables, size: str, ratio: str) -> None:
    user = uuid4()
    await tables.generation(user, "modelark", "video", size=size, particulars='{"seconds": 4}')
    [video] = await tables.rows(user, "SELECT * FROM modelark.videos")
    assert (video["duration"], video["aspect_ratio"], video["mime_type"]) == (4, ratio, "video/mp4")
    assert video["url"].endswith("/original.mp4")
    [prompt] = await tables.rows(user, "SELECT type, size FROM modelark.prompts")
    assert prompt == {"type": "video", "size": None}


async def test_only_what_was_delivered_is_an_image(tables: Tables) -> None:
    user = uuid4()
    for status in ("pending", "failed", "declined", "cancelled"):
        made = await tables.generation(user, "modelark", status=status)
        await tables.asset(user, made)  # what a lost race left behind, until storage hears of it
    await tables.generation(user, "native")
    assert await tables.rows(user, "SELECT * FROM modelark.images") == []
    assert len(await tables.rows(user, "SELECT * FROM modelark.prompts")) == 4


async def test_what_storage_has_deleted_is_gone(tables: Tables) -> None:
    user = uuid4()
    await tables.generation(user, "modelark")
    await tables.admin.execute("UPDATE storage.assets SET state = 'deleted' WHERE owner_id = $1", user)
    assert await tables.rows(user, "SELECT * FROM modelark.images") == []


async def test_a_row_is_deleted_by_its_user_alone(tables: Tables) -> None:
    user, other = uuid4(), uuid4()
    await tables.generation(user, "modelark")
    async with tables.reading(other) as connection:
        assert await connection.execute("DELETE FROM modelark.images") == "DELETE 0"
    async with tables.reading(user) as connection:
        assert await connection.execute("DELETE FROM modelark.images") == "DELETE 1"
        assert await connection.fetchval("SELECT count(*) FROM modelark.prompts") == 0
    async with tables.reading(None, "anon") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM modelark.images")
    for statement in ("UPDATE modelark.prompts SET prompt = 'x'", "INSERT INTO modelark.prompts (id) VALUES (NULL)"):
        async with tables.reading(user) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_images_are_found_by_their_users_index(tables: Tables) -> None:
    """As the frontend reads them, without looking at anybody else's rows."""
    user = uuid4()
    await tables.generation(user, "modelark")
    async with tables.reading(user) as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        rows = await connection.fetch("EXPLAIN SELECT * FROM modelark.images ORDER BY created_at DESC")
    plan = "\n".join(row[0] for row in rows)
    assert "ix_assets_owner_id" in plan or "ix_generations_of_user" in plan, plan
