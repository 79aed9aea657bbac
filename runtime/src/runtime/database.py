"""Postgres: one pool per process, transactions that the use case opens itself.

Statements are SQLAlchemy's (`text`, `select`), compiled by it once and run by asyncpg directly: SQLAlchemy's own
asynchronous connection costs three times the CPU of a statement (docs/adr/0005). Errors are SQLAlchemy's as well.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any, Generic, TypeVar

import asyncpg
from sqlalchemy import ClauseElement, MetaData, exc, text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import make_url

from runtime.health import is_transient
from runtime.settings import DatabaseSettings

POOL_WAIT_SECONDS = 2.0
STATEMENT_TIMEOUT_SECONDS = 10
IDLE_IN_TRANSACTION_SECONDS = 10
CONNECT_TIMEOUT_SECONDS = 5
COMPILED_STATEMENTS = 512
MOST_TOGETHER = 64
"""Calls that share one statement."""
_dialect: Any = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
Item = TypeVar("Item")
Result = TypeVar("Result")

NAMING_CONVENTION = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def make_metadata() -> MetaData:
    """Table metadata whose constraints have predictable names."""
    return MetaData(naming_convention=NAMING_CONVENTION)


class Row(asyncpg.Record):
    """A row: columns by name, as attributes or keys."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


_OPTIONS: Any = {
    "record_class": Row,
    "timeout": CONNECT_TIMEOUT_SECONDS,
    "command_timeout": STATEMENT_TIMEOUT_SECONDS + 2,
}


class Rows:
    """What a statement returned, all of it."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def all(self) -> Sequence[Row]:
        return self._rows

    def first(self) -> Row | None:
        return self._rows[0] if self._rows else None

    def one_or_none(self) -> Row | None:
        """Raises sqlalchemy.exc.MultipleResultsFound."""
        if len(self._rows) > 1:
            raise exc.MultipleResultsFound("more than one row")
        return self.first()

    def one(self) -> Row:
        """Raises sqlalchemy.exc.NoResultFound, MultipleResultsFound."""
        row = self.one_or_none()
        if row is None:
            raise exc.NoResultFound("no row")
        return row

    def scalars(self) -> list[Any]:
        """The first column of every row."""
        return [row[0] for row in self._rows]

    def scalar_one(self) -> Any:
        return self.one()[0]

    def scalar_one_or_none(self) -> Any:
        row = self.one_or_none()
        return None if row is None else row[0]


class Connection:
    """A connection that runs SQLAlchemy's statements."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def execute(self, statement: ClauseElement, values: Mapping[str, Any] | None = None) -> Rows:
        """Runs a statement with its values by name.

        Raises:
            sqlalchemy.exc.DBAPIError: as SQLAlchemy would; `orig` is asyncpg's error.
        """
        query, names, defaults = _compiled(statement)
        given = {**defaults, **(values or {})}
        try:
            return Rows(await self._connection.fetch(query, *[given[name] for name in names]))
        except Exception:
            with _as_sqlalchemy(query):
                raise


class Database:
    """The connections of one process to its own schema."""

    def __init__(self, settings: DatabaseSettings, service: str) -> None:
        self._settings = settings
        self._service = service
        self._idle: asyncio.LifoQueue[asyncpg.Connection | None] = asyncio.LifoQueue()
        """What may be taken, the last that was used first; None for each connection that is not open."""
        for _ in range(settings.database_pool_size):
            self._idle.put_nowait(None)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Commits at the end of the block, rolls back on an error. Hold no remote call inside."""
        async with self.statement() as connection:
            with _as_sqlalchemy("BEGIN … COMMIT"):
                async with connection._connection.transaction():
                    yield connection

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[Connection]:
        """A connection on which every statement commits by itself: one round trip instead of three."""
        async with asyncio.timeout(POOL_WAIT_SECONDS) if self._idle.empty() else nullcontext():
            connection = await self._idle.get()
        try:
            if connection is None or connection.is_closed():
                connection = await self._connect()
            yield Connection(connection)
        except (asyncio.CancelledError, TimeoutError):
            if connection is not None:
                connection.terminate()  # it may be in the middle of something: nobody else's words go there
            raise
        finally:
            self._idle.put_nowait(None if connection is None or connection.is_closed() else connection)

    async def check(self) -> None:
        """Raises when the database does not answer."""
        async with self.statement() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Waits for whoever has a connection."""
        for _ in range(self._settings.database_pool_size):
            if (connection := await self._idle.get()) is not None:
                await connection.close()

    async def _connect(self) -> asyncpg.Connection:
        url = make_url(self._settings.database_url.get_secret_value()).set(drivername="postgresql")
        with _as_sqlalchemy("CONNECT"):
            address = url.render_as_string(hide_password=False)
            return await asyncpg.connect(address, server_settings=_server_settings(self._service), **_OPTIONS)


@lru_cache(COMPILED_STATEMENTS)
def _compiled(statement: ClauseElement) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    """The query with `$1`…, the names of its parameters in that order, and values that the statement carries."""
    compiled = statement.compile(dialect=_dialect)
    names = tuple(compiled.positiontup or ())  # type: ignore[attr-defined]
    return str(compiled), names, {name: value for name, value in compiled.params.items() if value is not None}


@contextmanager
def _as_sqlalchemy(query: str) -> Iterator[None]:
    """Raises asyncpg's errors as the SQLAlchemy errors that they mean."""
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise exc.IntegrityError(query, None, error) from error
    except asyncpg.DataError as error:
        raise exc.DataError(query, None, error) from error
    except asyncpg.exceptions.InternalClientError as error:
        if "cannot switch to state" not in str(error):
            raise exc.DataError(query, None, error) from error
        # The server's last words, that it shuts down, are still being read.
        raise exc.OperationalError(query, None, error, connection_invalidated=True) from error
    except asyncpg.PostgresConnectionError as error:
        raise exc.OperationalError(query, None, error, connection_invalidated=True) from error
    except asyncpg.PostgresError as error:
        raise exc.DBAPIError(query, None, error) from error
    except asyncpg.InterfaceError as error:
        if isinstance(error, ValueError):
            raise exc.DataError(query, None, error) from error
        raise exc.InterfaceError(query, None, error, connection_invalidated=True) from error


class Together(Generic[Item, Result]):
    """Calls made while one is under way share the next: one round trip and one commit for all of them.

    `run` takes the items and returns a result for each, in their order; every item stands for itself alone. Where
    nothing else is under way a call runs at once. One that cannot be carried out fails alone.
    """

    def __init__(self, run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]) -> None:
        self._run = run
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """Raises what `run` raises for this item."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="statements together")
        return await result

    async def _work(self) -> None:
        try:
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(MOST_TOGETHER, len(self._waiting)))]
                await self._carry_out([call for call in taken if not call[1].done()])
        finally:
            self._task = None

    async def _carry_out(self, calls: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        if not calls:
            return
        try:
            results = await self._run([item for item, _ in calls])
            answered = list(zip(calls, results, strict=True))
        except Exception as error:
            if len(calls) == 1 or is_transient(error):
                for _, result in calls:
                    if not result.done():
                        result.set_exception(error)
                return
            for call in calls:
                await self._carry_out([call])
        else:
            for (_, result), value in answered:
                if not result.done():
                    result.set_result(value)


def _server_settings(service: str) -> dict[str, str]:
    return {
        "application_name": service,
        "jit": "off",
        # Every statement of ours finds its rows by an index, whatever its values are. So it is planned once, and not
        # by what its tables are like then: a plan that scans one that is still empty would be kept while it grows.
        "plan_cache_mode": "force_generic_plan",
        "enable_seqscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS}s",
    }
