"""The frontends' tables: who sees which rows of them, and that making them again harms nobody (docs/adr/0024)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

import darkroom.views
from darkroom import views
from darkroom.audit import examine
from darkroom.doctor.database import look
from darkroom.doctor.findings import Deployment
from darkroom.embedded.postgres import execute
from darkroom.migration import migrate, service_urls
from darkroom.schemas.documents import repository
from darkroom.stack import SERVICES
from tests.tables import Tables

pytestmark = pytest.mark.connected

PASSWORDS = dict.fromkeys(SERVICES, "secret")


async def test_users_see_their_own_rows_a_service_all_and_nobody_none(tables: Tables) -> None:
    user, other = uuid4(), uuid4()
    mine, theirs = await tables.generation(user, "modelark"), await tables.generation(other, "modelark")
    query = "SELECT prompt_id FROM modelark.images WHERE prompt_id = ANY ($1)"
    both = [mine, theirs]
    assert await tables.rows(user, query, both) == [{"prompt_id": mine}]
    assert await tables.rows(None, query, both, role="anon") == []
    assert await tables.rows(None, query, both) == [], "a token without a user"
    assert len(await tables.rows(None, query, both, role="service_role")) == 2


@pytest.mark.parametrize("schema", views.dialects())
async def test_every_view_is_read_with_the_rights_of_its_reader(tables: Tables, schema: str) -> None:
    """Otherwise it would show everybody's rows: its owner is bound by no policy."""
    options = await tables.admin.fetch(
        "SELECT relname, reloptions FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind = 'v'", schema
    )
    assert options
    assert all("security_invoker=true" in (row["reloptions"] or ()) for row in options), options


async def test_no_table_of_a_service_shows_what_is_somebody_elses(tables: Tables) -> None:
    """Every table that a role may read has row-level security, and no role but the owner may write one."""
    for role in ("anon", "authenticated", "service_role"):
        readable = await tables.admin.fetch(
            """SELECT oid::regclass::text AS name, relrowsecurity, relforcerowsecurity, reloptions FROM pg_class
            WHERE relnamespace = ANY (ARRAY['gateway', 'storage', 'ledger', 'generator']::regnamespace[])
                AND relkind IN ('r', 'v', 'm', 'p') AND has_any_column_privilege($1, oid, 'SELECT')""",
            role,
        )
        assert readable
        for table in readable:
            guarded = table["relrowsecurity"] or "security_invoker=true" in (table["reloptions"] or ())
            assert guarded, table["name"]
            assert not table["relforcerowsecurity"], "the services themselves are bound by no policy"
        written = await tables.admin.fetchval(
            """SELECT count(*) FROM pg_class WHERE relnamespace = ANY
                (ARRAY['gateway', 'storage', 'ledger', 'generator']::regnamespace[]) AND relkind IN ('r', 'p')
            AND (has_any_column_privilege($1, oid, 'INSERT, UPDATE') OR has_table_privilege($1, oid, 'DELETE'))""",
            role,
        )
        assert written == 0


async def test_policies_bear_the_name_by_which_they_are_found_again(tables: Tables) -> None:
    names = await tables.admin.fetch("SELECT polname FROM pg_policy")
    assert names
    assert all(row["polname"].startswith("darkroom_") for row in names)


async def test_the_services_see_every_row_and_the_gateway_becomes_a_role_for_a_transaction(tables: Tables) -> None:
    user = uuid4()
    await tables.generation(user, "modelark")
    gateway = await asyncpg.connect(service_urls(tables.admin_url, PASSWORDS)["gateway"])
    try:
        assert await gateway.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", user) == 1
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await gateway.fetchval("SELECT count(*) FROM storage.assets")
        async with gateway.transaction():
            await gateway.execute("SET LOCAL ROLE authenticated")
            await gateway.execute("SELECT set_config('request.jwt.claims', $1, true)", f'{{"sub": "{user}"}}')
            assert await gateway.fetchval("SELECT count(*) FROM modelark.images") == 1
        assert await gateway.fetchval("SELECT current_user") == "gateway"
    finally:
        await gateway.close()


async def test_a_user_is_found_out_once_and_not_for_every_row(tables: Tables) -> None:
    async with tables.reading(uuid4()) as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN SELECT * FROM modelark.prompts"))
    assert "InitPlan" in plan
    assert "ix_generations_of_user" in plan


async def test_made_again_they_are_as_before(tables: Tables) -> None:
    user = uuid4()
    await tables.generation(user, "modelark")
    for _ in range(2):
        await migrate(tables.admin_url, service_urls(tables.admin_url, PASSWORDS), "https://moved.example")
    [image] = await tables.rows(user, "SELECT url FROM modelark.images")
    assert image["url"].startswith("https://moved.example/media/")
    assert image["url"].endswith("/original.png")


async def test_two_make_them_at_once(tables: Tables) -> None:
    async def make() -> None:
        connection = await asyncpg.connect(tables.admin_url)
        await views.make(connection, "gateway", "https://darkroom.example")
        await connection.close()

    await asyncio.gather(make(), make(), make())
    assert await tables.rows(uuid4(), "SELECT * FROM modelark.prompts") == []


async def test_a_later_migration_may_change_what_they_show(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """It adds a column, which nobody notices, and changes the type of another, which the views would forbid."""
    changed = []

    async def upgrade(url: str, migrations: Path) -> None:
        from sqlalchemy import text
        from sqlalchemy.ext.asyncio import create_async_engine

        if migrations.parent.name != "gateway":
            return
        engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE generations ADD COLUMN IF NOT EXISTS later text"))
            await connection.execute(text("ALTER TABLE generations ALTER COLUMN prompt TYPE varchar"))
            changed.append(url)
        await engine.dispose()

    monkeypatch.setattr("darkroom.migration.upgrade", upgrade)
    user = uuid4()
    await tables.generation(user, "modelark", prompt="before")
    await migrate(tables.admin_url, service_urls(tables.admin_url, PASSWORDS))
    assert len(changed) == 1
    assert await tables.rows(user, "SELECT prompt FROM modelark.prompts") == [{"prompt": "before"}]
    assert await tables.rows(uuid4(), "SELECT prompt FROM modelark.prompts") == []


async def test_somebody_elses_schema_of_that_name_stays(make_database: Callable[[str], str]) -> None:
    url = make_database("taken")
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE SCHEMA modelark; CREATE TABLE modelark.prompts (mine text)")
    with pytest.raises(asyncpg.DuplicateSchemaError):
        await migrate(url, service_urls(url, PASSWORDS))
    assert await connection.fetchval("SELECT count(*) FROM modelark.prompts") == 0
    await connection.close()


async def test_what_supabase_has_made_is_used_and_left_alone(make_database: Callable[[str], str]) -> None:
    """Its functions are another role's, and the claims arrive one by one in older projects."""
    url = make_database("supabase")
    connection = await asyncpg.connect(url)
    await connection.execute(
        """CREATE SCHEMA auth; GRANT USAGE ON SCHEMA auth TO PUBLIC;
        CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS
            $$ SELECT nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$"""
    )
    before = await connection.fetchval("SELECT xmin FROM pg_proc WHERE oid = 'auth.uid()'::regprocedure")
    await migrate(url, service_urls(url, PASSWORDS))
    assert await connection.fetchval("SELECT xmin FROM pg_proc WHERE oid = 'auth.uid()'::regprocedure") == before
    user, admin = uuid4(), Tables(url, connection)
    await admin.generation(user, "modelark")
    async with admin.reading(None) as reader:
        assert await reader.fetchval("SELECT count(*) FROM modelark.images") == 0
        await reader.execute("SELECT set_config('request.jwt.claim.sub', $1, true)", str(user))
        assert await reader.fetchval("SELECT count(*) FROM modelark.images") == 1
    await connection.close()


@pytest.mark.parametrize("path", views.documents())
def test_the_exported_sql_is_that_of_the_code(path: str) -> None:
    assert (repository() / path).read_text() == views.documents()[path], "run `make schemas`"


@pytest.fixture(scope="module")
async def hosted(make_database: Callable[[str], str]) -> AsyncIterator[str]:
    """A database as Supabase hosts it, as far as it matters here: a schema of files that is not ours."""
    url = make_database("hosted")
    connection = await asyncpg.connect(url)
    await connection.execute(
        """DO $$ BEGIN CREATE ROLE supabase_storage_admin; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
        CREATE SCHEMA storage AUTHORIZATION supabase_storage_admin;
        CREATE TABLE storage.objects (id uuid); ALTER TABLE storage.objects OWNER TO supabase_storage_admin;
        ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
        CREATE POLICY own ON storage.objects USING (true)"""
    )
    await migrate(url, service_urls(url, PASSWORDS))
    yield url
    await connection.close()


async def test_where_storage_is_supabases_ours_is_beside_it(hosted: str) -> None:
    await migrate(hosted, service_urls(hosted, PASSWORDS))
    connection = await asyncpg.connect(hosted)
    own = await asyncpg.connect(service_urls(hosted, PASSWORDS)["storage"])
    assert await own.fetchval("SELECT current_schema()") == "darkroom_storage"
    assert await own.fetchval("SELECT count(*) FROM assets") == 0
    await own.close()
    theirs = await connection.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'storage'::regnamespace")
    assert [row["relname"] for row in theirs] == ["objects"]
    assert (
        await connection.fetchval("SELECT polname FROM pg_policy WHERE polrelid = 'storage.objects'::regclass") == "own"
    )
    await connection.close()


async def test_the_exported_sql_makes_the_tables_by_hand(hosted: str) -> None:
    """As an administrator of a hosted Supabase would run it, once and again."""
    for _ in range(2):
        for path in (f"{views.DOCUMENTS}/core.sql", *(f"{views.DOCUMENTS}/{name}.sql" for name in views.dialects())):
            execute(hosted, (repository() / path).read_text())
    connection = await asyncpg.connect(hosted)
    user, by_hand = uuid4(), Tables(hosted, connection, "darkroom_storage")
    await by_hand.generation(user, "modelark")
    assert len(await by_hand.rows(user, "SELECT * FROM modelark.images")) == 1
    assert await by_hand.rows(uuid4(), "SELECT * FROM modelark.images") == []
    await connection.close()


async def test_the_auditor_and_the_doctor_find_it_there(hosted: str) -> None:
    connection = await asyncpg.connect(hosted)
    await Tables(hosted, connection, "darkroom_storage").generation(uuid4(), "modelark")
    rows = await connection.fetchval("SELECT count(*) FROM darkroom_storage.assets")
    await connection.close()
    results = {result.check: result for result in (await examine(hosted)).results}
    assert results["left behind"].looked_at == rows > 0
    assert results["left behind"].findings == []
    part = await look(Deployment(database_url=hosted))
    assert [finding for finding in part.findings if "storage" in finding.about] == []


def test_a_start_notices_that_a_view_has_changed() -> None:
    from darkroom.supervisor.migrated import _sources

    names = {path.name for path in _sources()}
    assert {"core.sql", *(f"{name}.sql" for name in views.dialects())} <= names
    assert Path(darkroom.views.__file__).name in names
