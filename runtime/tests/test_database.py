"""asyncpg's errors as SQLAlchemy's, and the connections of a process: how many, and what becomes of each."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from darkroom.embedded.ports import LOOPBACK, free_port
from runtime.database import Database, _as_sqlalchemy
from runtime.health import is_transient
from runtime.settings import DatabaseSettings

AWAY = (
    asyncpg.exceptions.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    asyncpg.exceptions.AdminShutdownError("terminating connection due to administrator command"),
    asyncpg.exceptions.DeadlockDetectedError("deadlock detected"),
    asyncpg.exceptions.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
    asyncpg.exceptions.DiskFullError("could not extend file"),
    asyncpg.exceptions.PostgresIOError("could not fsync file"),
    asyncpg.exceptions.OutOfMemoryError("out of memory"),
    asyncpg.exceptions.InvalidPasswordError("password authentication failed"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.exceptions.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
)
OURS = (
    asyncpg.DataError("invalid input for query argument $1"),
    asyncpg.exceptions.CheckViolationError("violates check constraint"),
    asyncpg.exceptions.UndefinedTableError("relation does not exist"),
    asyncpg.exceptions.InternalClientError("no binary format encoder for type xml"),
)


@pytest.mark.parametrize(("error", "away"), [*((error, True) for error in AWAY), *((error, False) for error in OURS)])
def test_an_error_says_whether_waiting_helps(error: Exception, away: bool) -> None:
    with pytest.raises(DBAPIError) as raised, _as_sqlalchemy("SELECT 1"):
        raise error
    assert raised.value.orig is error
    assert is_transient(raised.value) is away


@pytest.fixture
async def database(make_database: Callable[[str], str]) -> AsyncIterator[Database]:
    settings = DatabaseSettings(database_url=SecretStr(make_database(f"places_{uuid4().hex}")))
    settings = settings.model_copy(update={"database_pool_size": 2})
    database = Database(settings, "places")
    yield database
    async with asyncio.timeout(10):
        await database.close()


async def process_of(database: Database) -> int:
    async with database.statement() as connection:
        number: int = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        return number


@pytest.mark.connected
async def test_so_many_connections_and_no_more_and_the_last_is_used_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.database.POOL_WAIT_SECONDS", 0.2)
    async with database.statement() as first, database.statement() as second:
        seen = [(await each.execute(text("SELECT pg_backend_pid()"))).scalar_one() for each in (first, second)]
        with pytest.raises(TimeoutError):
            await process_of(database)
        waiting = asyncio.create_task(process_of(database))
        await asyncio.sleep(0.01)
    assert await waiting in seen and len(set(seen)) == 2
    assert await process_of(database) == await process_of(database)


@pytest.mark.connected
async def test_a_connection_that_was_lost_is_opened_anew(database: Database) -> None:
    before = await process_of(database)
    async with database.statement() as connection:
        other = await connection.execute(text("SELECT pg_backend_pid()"))
        with pytest.raises(DBAPIError):
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert other.scalar_one() == before
    assert await process_of(database) != before


@pytest.mark.connected
@pytest.mark.parametrize("begins", ["in a statement", "in a transaction", "at its begin"])
async def test_what_is_cancelled_leaves_nothing_to_whoever_comes_next(database: Database, begins: str) -> None:
    before, entered = await process_of(database), asyncio.Event()

    async def work() -> None:
        opened = database.statement() if begins == "in a statement" else database.transaction()
        async with opened as connection:
            entered.set()
            await connection.execute(text("SELECT pg_sleep(20)"))

    task = asyncio.create_task(work())
    await (asyncio.sleep(0) if begins == "at its begin" else entered.wait())
    await asyncio.sleep(0)
    task.cancel()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
    async with database.statement() as connection:
        await connection.execute(text("CREATE TABLE kept AS SELECT 1"))
        assert (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one() != before
    async with database.statement() as one, database.statement() as other:
        for each in (one, other):
            assert (await each.execute(text("SELECT count(*) FROM kept"))).scalar_one() == 1


@pytest.mark.connected
async def test_nobody_there_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.database.POOL_WAIT_SECONDS", 0.2)
    url = SecretStr(f"postgresql://nobody@{LOOPBACK}:{free_port()}/nothing")
    database = Database(DatabaseSettings(database_url=url).model_copy(update={"database_pool_size": 1}), "places")
    for _ in range(3):
        with pytest.raises(OSError):
            await database.check()
    await database.close()
