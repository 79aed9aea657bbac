"""A process of a new version begins when its schema is there, and one of the former version goes on beside it."""

import asyncio
from collections.abc import Callable

import asyncpg
import pytest
from typer.testing import CliRunner

from darkroom.histories import migrations_of
from darkroom.main import app
from darkroom.migration import migrate, prepare, service_urls
from darkroom.revisions import history, is_expected, revision_of, wait_until_migrated
from darkroom.stack import SERVICES

pytestmark = pytest.mark.connected

PASSWORDS = {service: f"password-of-{service}" for service in SERVICES}
LEDGER = migrations_of("ledger")


@pytest.fixture
def admin_url(make_database: Callable[[str], str]) -> str:
    return make_database("revisions")


async def test_who_waits_goes_on_once_the_schema_is_there(admin_url: str) -> None:
    urls = service_urls(admin_url, PASSWORDS)
    waiting = asyncio.create_task(wait_until_migrated(urls["ledger"], LEDGER))
    await asyncio.sleep(0.3)
    assert not waiting.done(), "there is not even a role"
    await prepare(admin_url, urls)
    await asyncio.sleep(0.3)
    assert not waiting.done(), "there is a schema, and nothing in it"
    await migrate(admin_url, urls)
    assert await asyncio.wait_for(waiting, 10)


async def test_an_older_schema_is_waited_for_and_a_newer_one_is_not(admin_url: str) -> None:
    urls = service_urls(admin_url, PASSWORDS)
    await migrate(admin_url, urls)
    known, newest = history(LEDGER)
    assert await revision_of(urls["ledger"]) == newest
    older = min(known)
    assert older != newest
    assert not is_expected(older, LEDGER)
    connection = await asyncpg.connect(admin_url)
    await connection.execute("UPDATE ledger.alembic_version SET version_num = '9999'")
    await connection.close()
    assert is_expected(await revision_of(urls["ledger"]), LEDGER), "the former version runs on a schema of the next"


async def test_the_command_needs_the_address_of_that_service_alone(admin_url: str) -> None:
    urls = service_urls(admin_url, PASSWORDS)
    await migrate(admin_url, urls)
    runner = CliRunner(env={"STORAGE_DATABASE_URL": urls["storage"], "DATABASE_URL": None})
    words = ["migrate", "--wait-for", "storage", "--data", "/nowhere"]
    assert (await asyncio.to_thread(runner.invoke, app, words)).exit_code == 0
    words[2] = "nobody"
    refused = await asyncio.to_thread(runner.invoke, app, words)
    assert refused.exit_code == 2
    assert "There is no service nobody." in refused.output
