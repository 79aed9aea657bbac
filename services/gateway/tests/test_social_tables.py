"""The tables of the social frontend: the seed's columns and types, its rows, and who sees which."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from contracts.facts import Cached, Ending, Outcome, Verdict
from contracts.ids import asset_id
from darkroom.migration import service_urls
from darkroom.stack import SERVICES
from gateway.dialects.social.translate import service_of
from gateway.settings import Settings
from tests.tables import MEDIA_BASE, Tables

from .client import Client
from .conftest import migrated, settings_of

pytestmark = pytest.mark.connected

SEED = {
    "social.ai_generated_images": {
        "id": "uuid",
        "user_id": "uuid",
        "prompt": "text",
        "style": "character varying(50)",
        "original_url": "character varying(255)",
        "thumbnail_url": "character varying(255)",
        "file_size": "integer",
        "dimensions": "jsonb",
        "ai_service": "character varying(50)",
        "generation_cost": "numeric(10,4)",
        "created_at": "timestamp without time zone",
        "is_active": "boolean",
    },
    "social.user_ai_credits": {
        "user_id": "uuid",
        "total_credits": "integer",
        "used_credits": "integer",
        "remaining_credits": "integer",
        "last_purchase_date": "timestamp without time zone",
        "subscription_tier": "character varying(50)",
    },
    "social.ai_usage_logs": {
        "id": "uuid",
        "user_id": "uuid",
        "action_type": "character varying(50)",
        "credits_consumed": "integer",
        "metadata": "jsonb",
        "created_at": "timestamp without time zone",
    },
}
PAID_AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
PROVIDERS = ["openai", "stability", "modelark", "fal", "replicate", "google", "anthropic", "a-server-of-ones-own", None]


PROFILE = {"Accept-Profile": "social"}
NOT_UPDATABLE = "55000"


@pytest.fixture(scope="module")
async def settings(nats_server: Any, tables: Tables) -> Settings:
    url = service_urls(tables.admin_url, dict.fromkeys(SERVICES, "secret"))["gateway"]
    return settings_of(nats_server.nats_url, await migrated(url))


async def pictures(
    tables: Tables, user: UUID, count: int = 1, provider: str | None = "openai", **columns: Any
) -> tuple[UUID, Ending]:
    """A generation of the social frontend as the gateway records it."""
    generation_id = await tables.generation(user, "social", status="failed")
    assets = tuple(
        [
            (await tables.asset(user, generation_id, index=index)).model_copy(
                update={"variants": {"thumbnail": f"{generation_id.hex}{index}/thumbnail.webp"}}
            )
            for index in range(count)
        ]
    )
    ending = Ending(generation_id=generation_id, verdict=Verdict.COMPLETED, provider=provider, assets=assets)
    values = {
        "outcome": Outcome.of(ending, "storage", None).encode().decode(),
        "status": "completed",
        "count": count,
        "quote_amount": 12_345 * count,
        "particulars": json.dumps({"prompt": "enhanced, and nobody's reading", "remarks": {"style": "minimal"}}),
        **columns,
    }
    assignments = ", ".join(f"{name} = ${number}" for number, name in enumerate(values, 2))
    await tables.admin.execute(
        f"UPDATE gateway.generations SET {assignments} WHERE id = $1", generation_id, *values.values()
    )
    return generation_id, ending


async def downloaded(tables: Tables, user: UUID, generation_id: UUID) -> None:
    await tables.admin.execute(
        "INSERT INTO gateway.image_downloads (user_id, generation_id, asset_id) VALUES ($1, $2, $3)",
        user,
        generation_id,
        asset_id(generation_id, 0),
    )


async def account(tables: Tables, user: UUID) -> UUID:
    """One picture of two credits and a half was paid, and a payment came in."""
    await tables.admin.execute(
        "INSERT INTO ledger.accounts (user_id, available, held, used, plan) VALUES ($1, 69999, 5000, 25000, 'basic')",
        user,
    )
    generation_id = uuid4()
    await tables.admin.execute(
        """INSERT INTO ledger.holds (generation_id, user_id, amount, unit_price, price_version, state, captured,
            closed_at, outcome_id, outcome, kind, model)
        VALUES ($1, $2, 25000, 25000, 1, 'captured', 25000, now(), $1, '{}', 'image', 'a-model')""",
        generation_id,
        user,
    )
    await tables.admin.execute(
        """INSERT INTO ledger.payments (id, user_id, pack, credits, price, currency, payment_intent, state,
            taken_back, movements, paid_at)
        VALUES ($1, $1, 'small', 10000, 100, 'usd', $3, 'paid', 0, 1, $2)""",
        user,
        PAID_AT,
        f"pi_{user.hex}",
    )
    return generation_id


@pytest.mark.parametrize("view", SEED)
async def test_columns_and_types_are_the_seeds(tables: Tables, view: str) -> None:
    assert await tables.columns(view) == SEED[view]


async def test_every_picture_is_a_row(tables: Tables) -> None:
    user = uuid4()
    generation_id, ending = await pictures(tables, user, 2, prompt="A bakery")
    rows = await tables.rows(user, "SELECT * FROM social.ai_generated_images ORDER BY original_url")
    assert len(rows) == 2
    for row, asset in zip(rows, sorted(ending.assets, key=lambda asset: asset.key), strict=True):
        assert isinstance(row.pop("created_at"), datetime)
        assert json.loads(row.pop("dimensions")) == {"width": 640, "height": 480}
        assert row == {
            "id": asset_id(generation_id, asset.index),
            "user_id": user,
            "prompt": "A bakery",
            "style": "minimal",
            "original_url": f"{MEDIA_BASE}/media/{asset.key}",
            "thumbnail_url": f"{MEDIA_BASE}/media/{generation_id.hex}{asset.index}/thumbnail.webp",
            "file_size": 1234,
            "ai_service": "openai",
            "generation_cost": Decimal("1.2345"),
            "is_active": True,
        }


@pytest.mark.parametrize(("percent", "paid"), [(0, "0"), (50, "0.6172"), (100, "1.2345")])
async def test_what_was_made_before_costs_its_share(tables: Tables, percent: int, paid: str) -> None:
    user = uuid4()
    _, ending = await pictures(tables, user)
    cached = ending.model_copy(update={"cached": Cached(generation_id=uuid4(), percent=percent)})
    outcome = Outcome.of(cached, "storage", None).encode().decode()
    await tables.admin.execute("UPDATE gateway.generations SET outcome = $1 WHERE user_id = $2", outcome, user)
    [row] = await tables.rows(user, "SELECT generation_cost FROM social.ai_generated_images")
    assert row["generation_cost"] == Decimal(paid)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_service_is_named_as_the_routes_name_it(tables: Tables, provider: str | None) -> None:
    user = uuid4()
    await pictures(tables, user, provider=provider)
    [row] = await tables.rows(user, "SELECT ai_service FROM social.ai_generated_images")
    assert row["ai_service"] == service_of(provider or "")


async def test_what_was_deleted_is_active_no_more(tables: Tables) -> None:
    user = uuid4()
    await pictures(tables, user)
    await pictures(tables, user, deleted_at=datetime.now().astimezone())
    active = await tables.rows(user, "SELECT is_active FROM social.ai_generated_images ORDER BY is_active")
    assert [row["is_active"] for row in active] == [False, True]


async def test_other_dialects_and_what_was_not_delivered_are_no_rows(tables: Tables) -> None:
    user = uuid4()
    await tables.generation(user, "modelark")
    await tables.generation(user, "social", status="failed")
    await tables.generation(user, "social", kind="text")
    assert await tables.rows(user, "SELECT * FROM social.ai_generated_images") == []


async def test_credits_are_whole(tables: Tables) -> None:
    """Used and held rounded up, remaining down, the total their sum."""
    user = uuid4()
    await account(tables, user)
    [row] = await tables.rows(user, "SELECT * FROM social.user_ai_credits")
    assert row == {
        "user_id": user,
        "total_credits": 9,
        "used_credits": 3,
        "remaining_credits": 6,
        "last_purchase_date": PAID_AT.replace(tzinfo=None),
        "subscription_tier": "basic",
    }


async def test_the_log_has_what_was_made_and_what_was_downloaded(tables: Tables) -> None:
    user = uuid4()
    paid = await account(tables, user)
    generation_id, _ = await pictures(tables, user)
    await downloaded(tables, user, generation_id)
    rows = await tables.rows(user, "SELECT * FROM social.ai_usage_logs ORDER BY credits_consumed")
    assert [(row["action_type"], row["credits_consumed"]) for row in rows] == [
        ("image_download", 0),
        ("image_generation", 3),
    ]
    assert rows[1]["id"] == paid
    assert json.loads(rows[0]["metadata"]) == {
        "imageId": str(asset_id(generation_id, 0)),
        "generationId": str(generation_id),
    }
    assert json.loads(rows[1]["metadata"]) == {"model": "a-model", "credits": 2.5}


async def test_usage_is_counted_by_feature_user_and_day(tables: Tables) -> None:
    user = uuid4()
    await account(tables, user)
    generation_id, _ = await pictures(tables, user)
    for _ in range(2):
        await downloaded(tables, user, generation_id)
    rows = await tables.rows(
        user,
        """SELECT user_id, action_type, created_at::date AS day, count(*) AS times, sum(credits_consumed) AS credits
        FROM social.ai_usage_logs GROUP BY 1, 2, 3 ORDER BY 2""",
    )
    assert [(row["action_type"], row["times"], row["credits"]) for row in rows] == [
        ("image_download", 2, 0),
        ("image_generation", 1, 3),
    ]


@pytest.mark.parametrize("view", SEED)
async def test_users_see_their_own_a_service_all_and_nobody_none(tables: Tables, view: str) -> None:
    user, other = uuid4(), uuid4()
    for each in (user, other):
        await account(tables, each)
        generation_id, _ = await pictures(tables, each)
        await downloaded(tables, each, generation_id)
    query = f"SELECT DISTINCT user_id FROM {view} WHERE user_id = ANY ($1)"
    both = [user, other]
    assert await tables.rows(user, query, both) == [{"user_id": user}]
    assert await tables.rows(None, query, both, role="anon") == []
    assert len(await tables.rows(None, query, both, role="service_role")) == 2


@pytest.mark.parametrize("view", SEED)
async def test_nobody_writes_through_a_view(tables: Tables, view: str) -> None:
    user = uuid4()
    await account(tables, user)
    generation_id, _ = await pictures(tables, user)
    await downloaded(tables, user, generation_id)
    for command, state in ((f"UPDATE {view} SET user_id = user_id", NOT_UPDATABLE), (f"DELETE FROM {view}", "PT405")):
        async with tables.reading(user) as connection:
            with pytest.raises(asyncpg.PostgresError) as refused:
                await connection.execute(command)
            assert refused.value.sqlstate == state


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT * FROM social.ai_generated_images WHERE prompt = 'A bakery'", "ix_generations_social_prompt"),
        (
            "SELECT * FROM social.ai_generated_images WHERE is_active ORDER BY created_at DESC LIMIT 12",
            "ix_generations_social_of_user",
        ),
        (
            "SELECT * FROM social.ai_usage_logs WHERE action_type = 'image_download'",
            "ix_image_downloads_of_user",
        ),
    ],
)
async def test_the_seeds_indexes_have_counterparts(tables: Tables, query: str, index: str) -> None:
    """Few rows need none: seen with the other ways made dear."""
    async with tables.reading(uuid4()) as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {query}"))
    assert index in plan, plan


# -- through the gateway ----------------------------------------------------------------------------------------------


async def test_what_the_routes_answer_stands_in_the_tables(client: Client) -> None:
    body = {"prompt": "A bakery", "style": "vibrant", "count": 2}
    made = (await client.post("/api/social/generate-image", json=body)).json["data"]
    image = made["images"][1]
    assert (await client.post(f"/api/social/download-image/{image['id']}")).status == 200
    answer = await client.get(f"/rest/v1/ai_generated_images?id=eq.{image['id']}", PROFILE)
    assert answer.status == 200, answer.text
    [row] = answer.json
    assert row.pop("created_at")
    assert row == {
        "id": image["id"],
        "user_id": str(client.user_id),
        "prompt": "A bakery",
        "style": "vibrant",
        "original_url": image["url"],
        "thumbnail_url": image["thumbnail"],
        "file_size": 1234,
        "dimensions": {"width": 1024, "height": 1024},
        "ai_service": image["metadata"]["aiService"],
        "generation_cost": made["cost"] / 2,
        "is_active": True,
    }
    [log] = (await client.get("/rest/v1/ai_usage_logs?action_type=eq.image_download", PROFILE)).json
    assert (log["credits_consumed"], log["metadata"]["imageId"]) == (0, image["id"])


async def test_a_deletion_through_a_table_is_a_clear_no(client: Client) -> None:
    made = await client.post("/api/social/generate-image", json={"prompt": "x", "style": "minimal", "count": 1})
    [image] = made.json["data"]["images"]
    headers = {"Content-Profile": "social"}
    for table, key in (("ai_generated_images", f"id=eq.{image['id']}"), ("ai_usage_logs", "credits_consumed=eq.0")):
        await client.post(f"/api/social/download-image/{image['id']}")
        answer = await client.request("DELETE", f"/rest/v1/{table}?{key}", headers)
        assert answer.status == 405, answer.text
    assert (await client.get("/api/social/generated-images")).json["data"]["pagination"]["total"] == 1
