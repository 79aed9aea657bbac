"""The collector: the only one who deletes objects, and only those that nothing has named for a day.

It also asks the gateway how generations ended whose outcome storage never heard, as after the loss of the log.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from sqlalchemy import text

from contracts.questions import (
    GATEWAY_OUTCOMES,
    MAX_IDS_PER_QUESTION,
    Recorded,
    RecordedOutcomes,
)
from runtime.database import Connection, Database
from storage import assets
from storage.keeping import Keeping
from storage.objects import Objects
from storage.objects.incoming import Incoming

FIRST_ROUND_SECONDS = 60.0
SILENT_SECONDS = 3600
"""A generation that is open so long is asked about."""
STOP_SECONDS = 20.0
"""A deletion that is on its way is waited for: its lock may not be given back before."""
QUESTION_TIMEOUT_SECONDS = 5.0
ONE_COLLECTOR = 0x636F6C6C

log = structlog.get_logger()

_IS_NAMED = """(
    EXISTS (
        SELECT FROM assets
        WHERE assets.sha256 = right(object.name, 64) AND assets.owner_id = CAST(left(object.name, 36) AS uuid)
            AND assets.state <> 'purged'
    ) OR EXISTS (
        SELECT FROM variants JOIN assets ON assets.id = variants.asset_id
        WHERE variants.sha256 = right(object.name, 64) AND assets.owner_id = CAST(left(object.name, 36) AS uuid)
    )
)"""
_ALONE = text("SELECT pg_try_advisory_lock(:key)")
_DONE = text("SELECT pg_advisory_unlock_all()")
_MARK = text(f"""
    WITH object AS (
        SELECT object.name, {_IS_NAMED} AS is_named FROM unnest(CAST(:names AS text[])) AS object (name)
    ), named_again AS (
        DELETE FROM orphans USING object WHERE orphans.name = object.name AND object.is_named
    )
    INSERT INTO orphans (name) SELECT name FROM object WHERE NOT is_named
    ON CONFLICT (name) DO NOTHING
""")  # noqa: S608 - put together from constants
_OLD = text("SELECT name FROM orphans WHERE since <= now() - make_interval(secs => :seconds) ORDER BY name")
_NAMED = text(f"SELECT {_IS_NAMED} FROM (SELECT CAST(:name AS text) AS name) AS object")  # noqa: S608
_FORGET = text("DELETE FROM orphans WHERE name = :name")
_LOCK = text("SELECT pg_advisory_lock(hashtextextended(:name, 0))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")
_SILENT = text("""
    SELECT generation_id FROM generations
    WHERE outcome IS NULL AND generation_id > :after AND opened_at < now() - make_interval(secs => :seconds)
    ORDER BY generation_id LIMIT :limit
""")


class Collector:
    """One round an hour or so; several processes take turns."""

    def __init__(
        self,
        database: Database,
        broker: NatsBroker,
        objects: Objects,
        keeping: Keeping,
        incoming: Incoming | None,
        *,
        every_seconds: float,
        orphan_seconds: float,
    ) -> None:
        self._database = database
        self._broker = broker
        self._objects = objects
        self._keeping = keeping
        self._incoming = incoming
        self._every_seconds = every_seconds
        self._orphan_seconds = orphan_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="collector")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=STOP_SECONDS)

    async def collect(self) -> int:
        """One round; returns how many objects were deleted. Nothing happens while another process is at it."""
        async with self._alone() as connection:
            if connection is None:
                return 0
            await self._objects.clear()
            async for names in self._objects.names():
                await connection.execute(_MARK, {"names": names})
            old = await connection.execute(_OLD, {"seconds": self._orphan_seconds})
            return sum([await self._delete(connection, name) for name in old.scalars()])

    async def expire(self) -> int:
        """Deletes and purges what is due; returns how many were purged. Nothing while another process is at it: each
        round goes through the whole table."""
        async with self._alone() as connection:
            return 0 if connection is None else await self._keeping.expire()

    async def ask(self, silent_seconds: float = SILENT_SECONDS) -> int:
        """Closes what ended unheard; returns how many generations.

        Raises:
            nats.errors.Error: nobody answers.
        """
        closed = 0
        after = UUID(int=0)
        values = {"seconds": silent_seconds, "limit": MAX_IDS_PER_QUESTION}
        while True:
            async with self._database.statement() as connection:
                ids = tuple((await connection.execute(_SILENT, {**values, "after": after})).scalars())
            if not ids:
                return closed
            question = RecordedOutcomes(generation_ids=ids).model_dump_json().encode()
            answer = await self._broker.connection.request(GATEWAY_OUTCOMES, question, timeout=QUESTION_TIMEOUT_SECONDS)
            recorded = Recorded.model_validate_json(answer.data).outcomes
            outcomes = [each.outcome for each in recorded if each.outcome is not None]
            if outcomes:
                await assets.close(self._database, outcomes)
            closed += len(outcomes)
            after = ids[-1]

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[Connection | None]:
        """A connection that holds the lock of whoever collects; None where another process has it."""
        async with self._database.statement() as connection:
            if not (await connection.execute(_ALONE, {"key": ONE_COLLECTOR})).scalar_one():
                yield None
                return
            try:
                yield connection
            finally:
                await connection.execute(_DONE)

    async def _delete(self, connection: Connection, name: str) -> bool:
        """Deletes one object under a lock on its hash, unless something names it again."""
        await connection.execute(_LOCK, {"name": name})
        try:
            if (await connection.execute(_NAMED, {"name": name})).scalar_one_or_none():
                return False
            await _to_its_end(self._objects.delete(name))
            await connection.execute(_FORGET, {"name": name})
            log.info("object.collected", name=name)
            return True
        finally:
            await connection.execute(_UNLOCK, {"name": name})

    async def _run(self) -> None:
        pause_seconds = min(FIRST_ROUND_SECONDS, self._every_seconds)
        while True:
            await asyncio.sleep(pause_seconds * random.uniform(0.8, 1.2))
            pause_seconds = self._every_seconds
            try:
                closed = await self.ask()
                log.info("collector.asked", closed=closed)
            except (NatsError, OSError) as error:
                log.warning("collector.not_answered", error=repr(error))
            except Exception:
                log.exception("collector.failed")
            for step in (self._expire, self._clear, self._collect):
                try:
                    await step()
                except Exception:  # of those after it none waits until it can be done
                    log.exception("collector.failed")

    async def _expire(self) -> None:
        log.info("collector.expired", purged=await self.expire())

    async def _clear(self) -> None:
        if self._incoming is not None:
            log.info("collector.forgotten", deleted=await self._incoming.delete_forgotten())

    async def _collect(self) -> None:
        log.info("collector.collected", deleted=await self.collect())


async def _to_its_end(work: Coroutine[None, None, None]) -> None:
    """Also where whoever waits is cancelled: a store works in threads, which do not stop, and what would be deleted
    after the lock was given back may have been named again."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
