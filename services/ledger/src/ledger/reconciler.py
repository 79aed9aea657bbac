"""Asks how things ended, where it was not heard: after the log was wiped, and for holds that are overdue.

The gateway knows what clients were told. A round is harmless at any time, in any number of processes; one process at a
time does it, so that the gateway is asked once. While the gateway is silent nothing changes.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError
from sqlalchemy import TextClause, text

from contracts.facts import Ending, Failure, Outcome, Verdict
from contracts.questions import (
    GATEWAY_OUTCOMES,
    MAX_IDS_PER_QUESTION,
    Recorded,
    RecordedOutcome,
    RecordedOutcomes,
)
from contracts.topology import OUTCOMES
from ledger.announcements import decide_outcome
from ledger.answers import SOURCE
from ledger.domain.holds import EXPIRED
from ledger.operations import Ledger
from ledger.settings import ReconcilerSettings
from runtime.broker import connected
from runtime.database import Database, Row
from runtime.health import is_transient

ANSWER_TIMEOUT_SECONDS = 5.0
CLOCK_TOLERANCE_SECONDS = 60
"""By how much the broker's and the database's clocks may differ."""
STOP_AGAIN_SECONDS = 1.0
RECONCILER_LOCK = 0x6C656467

log = structlog.get_logger()

_TRY_LOCK = text("SELECT pg_try_advisory_lock(:key)")
_UNLOCK = text("SELECT pg_advisory_unlock(:key)")
_EPOCH = text("SELECT created FROM epochs WHERE stream = :stream")
_STORE_EPOCH = text("""
    INSERT INTO epochs (stream, created) VALUES (:stream, :created)
    ON CONFLICT (stream) DO UPDATE SET created = excluded.created, seen_at = now()
""")
_OPEN = text("""
    SELECT generation_id, opened_at, opened_at < now() - make_interval(secs => :overdue) AS overdue FROM holds
    WHERE state = 'open' AND opened_at < now() - make_interval(secs => :older)
      AND (opened_at, generation_id) > (CAST(:since AS timestamptz), CAST(:after AS uuid))
    ORDER BY opened_at, generation_id LIMIT :most
""")
_DISPUTED = text("""
    SELECT generation_id, disputed_at FROM holds
    WHERE disputed_at IS NOT NULL
      AND (disputed_at, generation_id) > (CAST(:since AS timestamptz), CAST(:after AS uuid))
    ORDER BY disputed_at, generation_id LIMIT :most
""")
_DOUBT_SINCE = text("""
    UPDATE holds SET disputed_at = now() FROM transactions
    WHERE transactions.created_at > CAST(CAST(:created AS text) AS timestamptz) - make_interval(secs => :tolerance)
      AND transactions.type IN ('capture', 'release')
      AND holds.generation_id = transactions.generation_id AND holds.disputed_at IS NULL
""")
_BEGINNING = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


class SilentError(Exception):
    """The gateway did not answer, or not in words that we know."""


class Reconciler:
    """Rounds of asking, every `reconcile_seconds`."""

    def __init__(self, settings: ReconcilerSettings, database: Database, broker: NatsBroker, ledger: Ledger) -> None:
        self._settings = settings
        self._database = database
        self._broker = broker
        self._ledger = ledger
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="reconciler")

    async def stop(self) -> None:
        # Python 3.11's wait_for loses a cancellation that comes together with what it waits for: ask until it is heard.
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=STOP_AGAIN_SECONDS)

    async def _run(self) -> None:
        while True:
            try:
                await self._ledger.spend()
                if connected(self._broker):
                    await self.reconcile()
            except (SilentError, NatsError, OSError, TimeoutError) as error:
                log.info("reconciler.waits", error=f"{type(error).__name__}: {error}")
            except Exception:
                log.exception("reconciler.failed")
            await asyncio.sleep(self._settings.reconcile_seconds)

    async def reconcile(self) -> None:
        """One round, unless another process is at it.

        Raises:
            SilentError: the gateway did not answer; what was settled before stays.
        """
        async with self._alone() as alone:
            if not alone:
                return
            created = await self._log_created()
            known = await self._known_epoch()
            renewed = None not in {created, known} and created != known
            if renewed:
                log.warning("log.renewed", created=created, known=known)
                await self._doubt_since(created)
            await self._ask_about_open(0.0 if renewed else self._settings.hold_overdue_seconds)
            if created not in {None, known}:
                await self._store_epoch(created)
            await self._ask_about_disputed()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[bool]:
        async with self._database.statement() as connection:
            alone = bool((await connection.execute(_TRY_LOCK, {"key": RECONCILER_LOCK})).scalar_one())
            try:
                yield alone
            finally:
                if alone:
                    await connection.execute(_UNLOCK, {"key": RECONCILER_LOCK})

    # -- the log's epoch --------------------------------------------------------------------------------------

    async def _log_created(self) -> str | None:
        """When OUTCOMES was made, to the nanosecond as the server writes it; None while there is no such stream."""
        reply = await self._broker.connection.request(f"$JS.API.STREAM.INFO.{OUTCOMES.name}", b"", timeout=2.0)
        created = json.loads(reply.data).get("created")
        return str(created) if created else None

    async def _known_epoch(self) -> str | None:
        async with self._database.statement() as connection:
            found = await connection.execute(_EPOCH, {"stream": OUTCOMES.name})
            known: str | None = found.scalar_one_or_none()
            return known

    async def _store_epoch(self, created: str | None) -> None:
        async with self._database.statement() as connection:
            await connection.execute(_STORE_EPOCH, {"stream": OUTCOMES.name, "created": created})

    async def _doubt_since(self, created: str | None) -> None:
        """What the new log ended before the old one was asked about may have ended differently there."""
        async with self._database.statement() as connection:
            await connection.execute(_DOUBT_SINCE, {"created": created, "tolerance": CLOCK_TOLERANCE_SECONDS})

    # -- asking -----------------------------------------------------------------------------------------------

    async def _ask_about_open(self, older_seconds: float) -> None:
        """Settles open holds of that age by what their clients were told; what nobody knows and is overdue expires."""
        bounds = {"older": older_seconds, "overdue": self._settings.hold_overdue_seconds}
        async for rows in self._pages(_OPEN, bounds):
            overdue = {row.generation_id for row in rows if row.overdue}
            answers = await self._ask([row.generation_id for row in rows])
            await self._settle([answer.outcome for answer in answers if answer.outcome is not None])
            for answer in answers:
                if answer.state == "unknown" and answer.generation_id in overdue:
                    await self._expire(answer.generation_id)

    async def _ask_about_disputed(self) -> None:
        async for rows in self._pages(_DISPUTED, {}):
            answers = await self._ask([row.generation_id for row in rows])
            told = [answer.outcome for answer in answers if answer.outcome is not None]
            unknown = [answer.generation_id for answer in answers if answer.state == "unknown"]
            if told or unknown:
                await self._ledger.correct(told, unknown)

    async def _pages(self, statement: TextClause, bounds: dict[str, float]) -> AsyncIterator[Sequence[Row]]:
        """Rows by (time, id), as many as one question may name. Each is read once: what stays does not hold up."""
        since, after = _BEGINNING
        while True:
            parameters = {**bounds, "since": since, "after": after, "most": MAX_IDS_PER_QUESTION}
            async with self._database.statement() as connection:
                rows = (await connection.execute(statement, parameters)).all()
            if rows:
                yield rows
            if len(rows) < MAX_IDS_PER_QUESTION:
                return
            after, since = rows[-1][0], rows[-1][1]

    async def _ask(self, generation_ids: list[UUID]) -> list[RecordedOutcome]:
        """What the clients of these generations were told."""
        question = RecordedOutcomes(generation_ids=tuple(generation_ids)).model_dump_json().encode()
        try:
            reply = await self._broker.connection.request(GATEWAY_OUTCOMES, question, timeout=ANSWER_TIMEOUT_SECONDS)
            answers = Recorded.model_validate_json(reply.data).outcomes
        except (NatsError, TimeoutError, ValidationError) as error:
            raise SilentError(f"{GATEWAY_OUTCOMES}: {type(error).__name__}") from error
        asked = set(generation_ids)
        return [answer for answer in answers if answer.generation_id in asked and _is_about_itself(answer)]

    async def _settle(self, outcomes: list[Outcome]) -> None:
        """All at once; one by one where one of them cannot be settled, so that it holds up no other."""
        if not outcomes:
            return
        try:
            await self._ledger.settle(outcomes)
        except Exception as error:
            if is_transient(error):
                raise
            for outcome in outcomes:
                try:
                    await self._ledger.settle([outcome])
                except Exception:
                    log.exception("outcome.not_settled", generation_id=str(outcome.data.generation_id))

    async def _expire(self, generation_id: UUID) -> None:
        """Nobody was promised this generation: the log says that it failed, and by the log it is settled."""
        failure = Failure(code=EXPIRED, message="The generation is not known to the gateway.")
        ending = Ending(generation_id=generation_id, verdict=Verdict.FAILED, failure=failure)
        try:
            decided = await decide_outcome(self._broker, Outcome.of(ending, SOURCE, None))
        except ValidationError:
            log.warning("outcome.unreadable", generation_id=str(generation_id))
            return
        log.warning("hold.overdue", generation_id=str(generation_id), verdict=decided.data.verdict)
        await self._settle([decided])


def _is_about_itself(answer: RecordedOutcome) -> bool:
    return answer.outcome is None or answer.outcome.data.generation_id == answer.generation_id
