"""Each service has its own role and schema, made and brought up to date without harm when repeated (design.md §5)."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from darkroom import migration
from darkroom.embedded import PostgresServer
from darkroom.histories import migrations_of
from darkroom.main import app
from darkroom.migration import migrate, service_urls, upgrade
from darkroom.stack import SERVICES, STACK_FILE, write_private
from darkroom.supervisor.migrated import is_migrated, remember

pytestmark = pytest.mark.connected

PASSWORDS = {service: f"{service}'s secret"[:12] for service in SERVICES}
ENCODED = {service: password.replace("'", "%27") for service, password in PASSWORDS.items()}


@pytest.fixture(scope="module")
async def admin_url(make_database: Callable[[str], str]) -> str:
    url = make_database("migration")
    await migrate(url, service_urls(url, ENCODED))
    return url


async def test_every_service_works_in_its_own_schema(admin_url: str) -> None:
    for service, url in service_urls(admin_url, ENCODED).items():
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT current_schema()") == service
        assert await connection.fetchval("SELECT version_num FROM alembic_version")
        for other in SERVICES:
            if other != service:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.fetchval(f"SELECT version_num FROM {other}.alembic_version")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE public.mine ()")
        await connection.close()


async def test_migrating_again_changes_nothing(admin_url: str) -> None:
    connection = await asyncpg.connect(admin_url)
    await connection.execute("INSERT INTO ledger.accounts (user_id) VALUES (gen_random_uuid())")
    tables = "SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_class WHERE relkind = 'r'"
    before = await connection.fetchval(tables)
    await migrate(admin_url, service_urls(admin_url, ENCODED))
    assert await connection.fetchval(tables) == before
    assert await connection.fetchval("SELECT count(*) FROM ledger.accounts") == 1
    await connection.close()


PAGE = Path(__file__).parents[2] / "docs/operating.md"


@pytest.mark.parametrize("block", re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))
async def test_what_the_page_tells_an_administrator_to_say_is_taken(admin_url: str, block: str) -> None:
    """Whose search path is not the services': what triggers do is done in theirs all the same."""
    connection = await asyncpg.connect(admin_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(block)
    await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    await transaction.rollback()
    await connection.close()


async def test_two_at_once_do_not_disturb_each_other(make_database: Callable[[str], str]) -> None:
    url = make_database("migrated_twice")
    await asyncio.gather(*(migrate(url, service_urls(url, ENCODED)) for _ in range(2)))
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT count(*) FROM ledger.alembic_version") == 1
    await connection.close()


async def test_a_missing_database_is_made(admin_url: str, make_database: Callable[[str], str]) -> None:
    gone = make_database("made_by_migration")
    name = urlsplit(gone).path.lstrip("/")
    connection = await asyncpg.connect(admin_url)
    await connection.execute(f'DROP DATABASE "{name}"')
    await migrate(gone, service_urls(gone, ENCODED))
    assert await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name)
    await connection.close()


async def test_an_administrator_need_not_be_a_superuser(admin_url: str, make_database: Callable[[str], str]) -> None:
    """Managed databases give nobody a superuser."""
    url = make_database("managed")
    connection = await asyncpg.connect(url)
    role, name = f"admin_{os.getpid()}", urlsplit(url).path.lstrip("/")
    await connection.execute(f"CREATE ROLE {role} LOGIN CREATEROLE PASSWORD 'x'")
    await connection.execute(f'ALTER DATABASE "{name}" OWNER TO {role}')
    try:
        host = urlsplit(url).netloc.rpartition("@")[2]
        # The roles of the other tests are the superuser's: this administrator makes its own.
        services = {service: f"postgresql://{service}_{os.getpid()}:secret@{host}/{name}" for service in SERVICES}
        await migrate(f"postgresql://{role}:x@{host}/{name}", services)
        assert await connection.fetchval("SELECT count(*) FROM gateway.alembic_version") == 1
    finally:
        await connection.execute("DROP SCHEMA gateway, generator, storage, ledger CASCADE")
        await connection.execute(f'ALTER DATABASE "{name}" OWNER TO CURRENT_USER')
        for service in SERVICES:
            await connection.execute(f"DROP ROLE IF EXISTS {service}_{os.getpid()}")
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await connection.close()


def test_the_command_takes_its_addresses_from_the_environment(admin_url: str) -> None:
    urls = {f"{service.upper()}_DATABASE_URL": url for service, url in service_urls(admin_url, ENCODED).items()}
    command = [sys.executable, "-m", "darkroom", "migrate", "--data", "/nowhere"]
    run = subprocess.run(
        command, env={**os.environ, "DATABASE_URL": admin_url, **urls}, capture_output=True, check=False, timeout=60
    )
    assert (run.returncode, run.stderr) == (0, b"")
    run = subprocess.run(
        command, env={**os.environ, "DATABASE_URL": admin_url}, capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 78, "what sysexits.h calls a configuration error"
    assert "set GATEWAY_DATABASE_URL" in run.stderr


async def test_no_password_is_changed_for_an_address_that_leads_nowhere(admin_url: str, tmp_path: Path) -> None:
    """A folder's stopped stack beside another database's DATABASE_URL: its services must be let in afterwards, too."""
    stopped = {f"{service}_database_url": f"postgresql://{service}:other@127.0.0.1:1/darkroom" for service in SERVICES}
    write_private(tmp_path / STACK_FILE, stopped)
    command = [sys.executable, "-m", "darkroom", "migrate", "--data", str(tmp_path)]
    told = {f"{service.upper()}_DATABASE_URL": stopped[f"{service}_database_url"] for service in SERVICES}
    wrong = {**service_urls(admin_url, ENCODED), "storage": "postgresql://storage:other@127.0.0.1:port/darkroom"}
    wrong = {f"{service.upper()}_DATABASE_URL": url for service, url in wrong.items()}
    for environment, code in ({}, 78), (told, 1), (wrong, 78):
        run = subprocess.run(
            command,
            env={**os.environ, "DATABASE_URL": admin_url, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (run.returncode, run.stderr.count("\n")) == (code, 1), run.stderr
        for url in service_urls(admin_url, ENCODED).values():
            await (await asyncpg.connect(url)).close()


def history(folder: Path, *revisions: Sequence[str], service: str = "storage") -> Path:
    """One of these revisions, each with its statements, that is run as the service's own is."""
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text((migrations_of(service) / "env.py").read_text())
    before = None
    for number, statements in enumerate(revisions, 1):
        body = "\n".join(f'    op.execute("{statement}")' for statement in statements)
        named = f'revision = "{number:04}"\ndown_revision = {before!r}'
        revision = f"from alembic import op\n\n{named}\n\ndef upgrade():\n{body}\n"
        (folder / "versions" / f"{number:04}.py").write_text(revision)
        before = f"{number:04}"
    return folder


async def test_a_migration_works_for_as_long_as_it_takes_and_does_not_wait_so_long(
    make_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is cut off in its work begins anew each time; one that waits for a table keeps its users waiting."""
    monkeypatch.setattr(migration, "LOCK_SECONDS", 0.3)
    url = make_database("migrated_slowly")
    connection = await asyncpg.connect(url)
    await upgrade(url, history(tmp_path / "works", ["CREATE TABLE made AS SELECT pg_sleep(1)::text"]))
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "0001"
    await connection.execute("DROP TABLE alembic_version")
    waiting = history(tmp_path / "waits", ["CREATE TABLE second ()", "ALTER TABLE made ADD COLUMN more text"])
    async with connection.transaction():
        await connection.execute("SELECT FROM made")
        with pytest.raises(DBAPIError, match="lock timeout"):
            await upgrade(url, waiting)
    tables = "SELECT array_agg(tablename::text) FROM pg_tables WHERE schemaname = current_schema()"
    assert await connection.fetchval(tables) == ["made"]
    await upgrade(url, waiting)
    await connection.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_migration_that_broke_off_goes_on_where_it_stopped(
    service: str, make_database: Callable[[str], str], tmp_path: Path
) -> None:
    """Each revision is there by itself: nobody waits for a table until all the others are done as well."""
    url = make_database("migrated_in_part")
    steps = ["CREATE TABLE once ()"], ["CREATE TABLE half ()", "SELECT count(*) FROM late"], ["CREATE TABLE last ()"]
    migrations = history(tmp_path / service, *steps, service=service)
    connection = await asyncpg.connect(url)
    with pytest.raises(DBAPIError, match="late"):
        await upgrade(url, migrations)
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "0001"
    assert await connection.fetchval("SELECT to_regclass('half')") is None, "half of a revision"
    await connection.execute("CREATE TABLE late ()")
    await upgrade(url, migrations)
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "0003"
    await connection.close()


async def test_the_command_says_in_one_line_why_it_could_not_migrate(
    admin_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "LOCK_SECONDS", 0.3)
    urls = {f"{service.upper()}_DATABASE_URL": url for service, url in service_urls(admin_url, ENCODED).items()}
    run = CliRunner(env={"DATABASE_URL": admin_url, **urls})
    connection = await asyncpg.connect(admin_url)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", migration._UPGRADE_LOCK)
        ended = await asyncio.to_thread(run.invoke, app, ["migrate", "--data", "/nowhere"])
    await connection.close()
    said = "The database cannot be migrated: canceling statement due to lock timeout\n"
    assert (ended.exit_code, ended.stderr) == (1, said)


async def test_a_start_with_nothing_to_migrate_knows_it(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path)
    server.start()
    try:
        url = server.admin_url
        urls = service_urls(url, ENCODED)
        note = tmp_path / "migrated.json"
        assert not is_migrated(url, urls, note)
        await migrate(url, urls)
        assert not is_migrated(url, urls, note)
        remember(url, urls, note)
        assert is_migrated(url, urls, note)
        assert not is_migrated(url, service_urls(url, {**ENCODED, "ledger": "new"}), note), "passwords count"
        connection = await asyncpg.connect(url)
        await connection.execute("UPDATE ledger.alembic_version SET version_num = '0000'")
        assert not is_migrated(url, urls, note), "the database counts"
        await connection.execute("DROP TABLE storage.alembic_version")
        assert not is_migrated(url, urls, note)
        await connection.close()
    finally:
        server.stop()
