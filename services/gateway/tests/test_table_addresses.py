"""Addresses of media in the frontends' tables: signed for each answer where they end (docs/adr/0024)."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from contracts.facts import Visibility
from contracts.media import address, signed
from darkroom.migration import service_urls
from darkroom.stack import SERVICES
from gateway.dialects.supabase.query import parse
from gateway.dialects.supabase.tables import Reader
from gateway.dialects.supabase.tables import Tables as Rest
from gateway.settings import AddressSettings
from runtime.database import Database
from runtime.settings import DatabaseSettings
from tests.tables import Tables

from .conftest import PUBLIC_URL

pytestmark = pytest.mark.connected
MEDIA_KEY = "the key of the addresses"


async def test_where_addresses_end_those_of_the_tables_do_too(tables: Tables) -> None:
    """They are signed for each answer; what a user wrote is not, however much it looks like an address."""
    user = uuid4()
    key = f"{'ab' * 16}/original.png"
    await tables.generation(user, "modelark", prompt=f"{PUBLIC_URL}/media/{key}")
    images = await signed_rows(tables, user, "modelark", "images", "url,prompts(prompt)")
    avatars = await signed_rows(tables, user, "reelmate", "ai_avatars", "image_url")
    assert {row["image_url"].rpartition("/")[0] for row in avatars} == {f"{PUBLIC_URL}/api/ai-studio/previews"}, (
        "what we ship is no medium"
    )
    [row] = images
    assert is_signed(row["url"])
    assert row["prompts"]["prompt"] == f"{PUBLIC_URL}/media/{key}"


@pytest.mark.parametrize(
    ("dialect", "kind", "table", "columns"),
    [
        ("modelark", "image", "images", "url"),
        ("modelark", "video", "videos", "url"),
        ("social", "image", "ai_generated_images", "original_url,thumbnail_url"),
        ("reelmate", "video", "video_generation_jobs", "video_url"),
        ("reelmate", "video", "generated_videos", "video_url"),
        ("instaveo", "video", "videos", "video_url"),
        ("instaveo", "video", "video_assets", "public_url"),
        ("instaveo", "video", "video_jobs", "output_url"),
    ],
)
async def test_where_only_its_owners_media_are_signed_those_of_the_tables_are_too(
    tables: Tables, dialect: str, kind: str, table: str, columns: str
) -> None:
    """A plain address of theirs opens for nobody, and a signed one of what is everybody's would end."""
    for visibility in ("public", "owner"):
        user = uuid4()
        generation_id = await tables.generation(
            user, dialect, kind, particulars=json.dumps({} if visibility == "public" else {"visibility": visibility})
        )
        await tables.admin.execute(
            f"UPDATE {tables.storage}.assets SET visibility = $2 WHERE generation_id = $1", generation_id, visibility
        )
        if dialect == "instaveo":
            await tables.admin.execute(
                "INSERT INTO gateway.instaveo_videos (id, user_id, is_published, is_live) VALUES ($1, $2, false, true)",
                generation_id,
                user,
            )
        rows = await signed_rows(tables, user, dialect, table, columns, media_addresses="public")
        assert [[is_signed(url) for url in row.values()] for row in rows] == [
            [visibility == "owner"] * len(columns.split(","))
        ]


async def signed_rows(
    tables: Tables, user: UUID, dialect: str, table: str, columns: str, **addresses: Any
) -> list[dict[str, Any]]:
    """What a user reads of a table where there is a key that signs."""
    signing = AddressSettings(public_url=PUBLIC_URL, media_signing_key=SecretStr(MEDIA_KEY), **addresses)
    url = service_urls(tables.admin_url, dict.fromkeys(SERVICES, "secret"))["gateway"]
    database = Database(DatabaseSettings(database_url=SecretStr(url)), "gateway")

    def sign(key: str, visibility: Visibility) -> str:
        return address(PUBLIC_URL, key, signing.key_for(visibility))

    rest = Rest(database, signing.media_base, sign)
    try:
        relation = await rest.catalog.relation(dialect, table)
        rows = await rest.read(Reader("authenticated", user), relation, parse([("select", columns)]), counted=False)
    finally:
        await database.close()
    found: list[dict[str, Any]] = json.loads(rows.body)
    return found


def is_signed(url: str) -> bool:
    """Whether the address is ours and signed by us; a plain one has no query."""
    parts = urlsplit(url)
    assert parts._replace(path="", query="").geturl() == PUBLIC_URL
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert not query or signed(parts.path, int(query["expires"]), query["signature"], MEDIA_KEY)
    return bool(query)
