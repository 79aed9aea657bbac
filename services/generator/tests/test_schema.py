"""The tables are what the code says, and the catalog is data."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

import ledger
from contracts.facts import Kind
from contracts.questions import (
    CatalogModel,
)
from darkroom.migration import upgrade
from generator.catalog import Catalog, Model
from generator.tables import metadata
from runtime.database import Database
from runtime.settings import DatabaseSettings

from .stage import ask


def difference(connection):
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
    return [change for change in compare_metadata(context, metadata) if "alembic_version" not in str(change)]


async def test_migrations_make_the_tables(process, database_url):
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        assert await connection.run_sync(difference) == []
    await engine.dispose()


@pytest.mark.parametrize(
    ("keys", "first", "absent"),
    [(("modelark", "openai"), "seedream-3-0-t2i-250415", "claude-3"), (("openai",), "gpt-image-2", "stable-video")],
)
async def test_only_models_whose_provider_has_a_key_are_offered(process, keys, first, absent):
    """A retired one, where its successor's has."""
    catalog = Catalog(process.database, keys)
    await catalog.refresh()
    answer = await catalog.answer()
    assert answer.models[0].id == first and absent not in {model.id for model in answer.models}
    for model in answer.models:
        assert isinstance(model, CatalogModel) and (model.default_size is None or model.default_size in model.sizes)


SEEDS = ("seedream-3-0-t2i-250415", "seedance-1-0-lite-t2v", "runway-gen-2", "stable-video", "dall-e-3")
EVERYBODY = (
    "modelark",
    "openai",
    "stability",
    "fal",
    "replicate",
    "google",
    "flow",
    "runway",
    "elevenlabs",
    "anthropic",
)


async def test_every_name_that_frontends_ask_for_resolves(process):
    """What was retired to its successor: what was offered is as before, and the successor's provider does it."""
    catalog = Catalog(process.database, EVERYBODY)
    await catalog.refresh()
    known = {model.id: model for model in (await catalog.answer()).models}
    assert set(SEEDS) <= set(known)
    found = [await catalog.find(ask(model=name, kind=known[name].kind)) for name in SEEDS]
    assert [model.id for model in found] == [
        "seedream-3-0-t2i-250415",
        "seedance-1-0-lite-t2v",
        "runway-gen-4.5",
        "seedance-1-0-pro",
        "gpt-image-2",
    ]
    assert [model.offer.id for model in found] == list(SEEDS)
    assert known["dall-e-3"].state == "legacy" and known["dall-e-3"].successor == "gpt-image-2"


async def test_what_is_not_made_in_a_size_or_length_is_made_larger(process):
    catalog = Catalog(process.database, EVERYBODY)
    await catalog.refresh()
    large = await catalog.find(ask(model="seedream-4-5-251128"))
    assert large.provider_size("512x512") == large.provider_size("2048x2048") == "2048x2048"
    assert large.provider_size("1536x1024") == "2496x1664" and large.provider_size("1024x1536") == "1664x2496"
    film = await catalog.find(ask(model="sora-2", kind=Kind.VIDEO))
    assert [film.provider_length(seconds) for seconds in (1, 5, 12, 20)] == [4, 5, 12, 12]
    flux = await catalog.find(ask(model="flux-dev"))
    assert [model.provider for model in flux.fallbacks] == ["replicate"]
    assert flux.fallbacks[0].offer.id == "flux-dev"


async def test_no_longer_prompt_is_offered_than_runway_takes(process):
    rows = await process.rows("SELECT id, max_prompt_characters FROM models WHERE provider = 'runway' ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("runway-gen-2", 1000),
        ("runway-gen-4-turbo", 1000),
        ("runway-gen-4.5", 1000),
    ]


async def test_whatever_is_offered_has_a_price(process, make_database):
    """Those that have none are not sold, so somebody forgot one."""
    url = make_database("ledger")
    await upgrade(url, Path(ledger.__file__).parent / "migrations")
    database = Database(DatabaseSettings(database_url=SecretStr(url)), "ledger")
    async with database.statement() as connection:
        priced = set((await connection.execute(text("SELECT model FROM prices"))).scalars())
    await database.close()
    rows = await process.rows("SELECT id, fallbacks, successor FROM models")
    named = {name for row in rows for name in (row.id, *row.fallbacks, row.successor) if name}
    assert named <= priced and named <= {row.id for row in rows}


async def test_the_version_grows_when_the_data_or_the_keys_change(process):
    versions = []

    async def read(*keys):
        catalog = Catalog(process.database, keys)
        await catalog.refresh()
        await catalog.refresh()
        versions.append((await catalog.answer()).version)
        return catalog

    await read("modelark")
    await read("modelark")
    await read("modelark", "openai")
    await process.rows("UPDATE models SET state = 'off' WHERE id = 'dall-e-2' RETURNING id")
    catalog = await read("modelark", "openai")
    assert versions[0] == versions[1] < versions[2] < versions[3]
    assert "dall-e-2" not in {model.id for model in (await catalog.answer()).models}
    assert not isinstance(await catalog.find(ask(model="dall-e-2")), Model)
    await process.rows("UPDATE models SET state = 'legacy' WHERE id = 'dall-e-2' RETURNING id")


async def test_a_row_that_makes_no_sense_is_left_out_and_disturbs_no_other(process):
    """Of what is no kind there is no row."""
    before = {model.id for model in (await process.catalog.answer()).models}
    await process.rows("UPDATE models SET seconds = ARRAY[NULL::int] WHERE id = 'dall-e-2' RETURNING id")
    catalog = Catalog(process.database, EVERYBODY)
    await catalog.refresh()
    await process.catalog.refresh()
    left = {model.id for model in (await process.catalog.answer()).models}
    await process.rows("UPDATE models SET seconds = '{}' WHERE id = 'dall-e-2' RETURNING id")
    await process.catalog.refresh()
    assert catalog.known and left == before - {"dall-e-2"}
    assert {model.id for model in (await process.catalog.answer()).models} == before
    with pytest.raises(DBAPIError, match="ck_models_kind"):
        await process.rows("UPDATE models SET kind = 'music' WHERE id = 'dall-e-2' RETURNING id")


async def test_a_model_without_a_key_is_refused_by_name(process):
    catalog = Catalog(process.database, {"openai"})
    refusal = await catalog.find(ask())
    assert refusal.code == "provider_unauthorized"


async def test_a_change_of_the_policy_for_unknown_ends_is_dated(process):
    """Whoever looks at former attempts, as the audit does, knows whether it was theirs."""
    dated = text("SELECT policy_since FROM models WHERE id = 'dall-e-3'")

    async def after(change):
        async with process.database.statement() as connection:
            await connection.execute(text(f"UPDATE models SET {change} WHERE id = 'dall-e-3'"))
            return (await connection.execute(dated)).scalar_one()

    first = await after("unknown_policy = 'fail'")
    assert await after("unknown_policy = 'fail', max_count = max_count") == first
    assert await after("unknown_policy = 'resubmit_once'") > first
