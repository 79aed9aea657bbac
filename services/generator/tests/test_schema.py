"""The tables are what the code says, and the catalog is data."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from contracts.questions import CatalogModel
from generator.catalog import Catalog, Model
from generator.tables import metadata

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
    ("keys", "first", "count"),
    [(("modelark", "openai"), "seedream-3-0-t2i-250415", 8), (("openai",), "gpt-image-2", 5)],
)
async def test_only_models_whose_provider_has_a_key_are_offered(process, keys, first, count):
    catalog = Catalog(process.database, keys)
    await catalog.refresh()
    answer = await catalog.answer()
    assert (answer.models[0].id, len(answer.models)) == (first, count)
    assert all(isinstance(model, CatalogModel) and model.default_size in model.sizes for model in answer.models)


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


async def test_a_model_without_a_key_is_refused_by_name(process):
    catalog = Catalog(process.database, {"openai"})
    refusal = await catalog.find(ask())
    assert refusal.code == "provider_unauthorized"
