"""Asks Stripe for what no webhook brought, tells what nobody was told, and collects what is owed.

A round is harmless at any time and in any number of processes; one at a time does it. While Stripe is silent nothing
changes, and the next round begins where the last whole one ended.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from sqlalchemy import text

from contracts.facts import PaymentReceived
from ledger.announcements import announce
from ledger.answers import SOURCE
from ledger.payments import rows
from ledger.payments.events import UnreadableError, read_event
from ledger.payments.operations import Payments
from ledger.payments.provider import Provider, RefusedError, SilentError
from runtime.broker import connected
from runtime.database import Database
from runtime.health import is_transient

FIRST_LOOK_SECONDS = 30 * 86_400
"""How far back Stripe keeps its events."""
OVERLAP_SECONDS = 600
"""An event can be listed after one that was made later."""
STOP_AGAIN_SECONDS = 1.0
PULL_LOCK = 0x6C656470

log = structlog.get_logger()

_TRY_LOCK = text("SELECT pg_try_advisory_lock(:key)")
_UNLOCK = text("SELECT pg_advisory_unlock(:key)")
_UNTIL = text("SELECT until_seconds FROM payment_pulls WHERE source = 'events'")
_STORE_UNTIL = text("""
    INSERT INTO payment_pulls (source, until_seconds) VALUES ('events', :until)
    ON CONFLICT (source) DO UPDATE SET until_seconds = excluded.until_seconds, pulled_at = now()
""")


class Pull:
    """Rounds of asking, every `pause_seconds`."""

    def __init__(self, database: Database, broker: NatsBroker, payments: Payments, pause_seconds: float) -> None:
        self._database = database
        self._broker = broker
        self._payments = payments
        self._pause_seconds = pause_seconds
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="payments pull")

    async def stop(self) -> None:
        # Python 3.11's wait_for loses a cancellation that comes together with what it waits for: ask until it is heard.
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=STOP_AGAIN_SECONDS)

    async def tell(self) -> None:
        """Says every payment that was credited and not said yet. Who says it twice says it under the same id."""
        if not connected(self._broker):
            return
        receipts = await self._payments.untold()
        await announce(self._broker, [PaymentReceived.of(receipt, SOURCE) for receipt in receipts])
        await self._payments.told(receipts)

    async def tell_soon(self) -> None:
        """The same for somebody who waits for something else: what cannot be said now is said by a later round."""
        try:
            await self.tell()
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("payments.not_told", error=type(error).__name__)

    async def round(self) -> None:
        """One round, unless another process is at it.

        Raises:
            SilentError, RefusedError: of Stripe; what was applied before stays.
        """
        async with self._alone() as alone:
            if not alone:
                return
            await self._payments.collect_debts()
            try:
                if self._payments.provider is not None:
                    await self._pull(self._payments.provider)
            finally:
                await self.tell()

    async def _run(self) -> None:
        while True:
            try:
                await self.round()
            except (SilentError, RefusedError, NatsError, OSError, TimeoutError) as error:
                log.info("payments.pull_waits", error=f"{type(error).__name__}: {error}")
            except Exception:
                log.exception("payments.pull_failed")
            await asyncio.sleep(self._pause_seconds)

    async def _pull(self, provider: Provider) -> None:
        """Every event since the last whole look: in any order, since nothing depends on it."""
        until = await self._until()
        since = int(time.time()) - FIRST_LOOK_SECONDS if until is None else until - OVERLAP_SECONDS
        newest, whole, after, more = until, True, None, True
        while more:
            page, more = await provider.events(since, after)
            for document in await self._unseen(page):
                whole = await self._apply(document) and whole
            times = [document["created"] for document in page]
            newest = max([*times, newest or 0]) or None
            after, more = (page[-1]["id"], more) if page else (None, False)
        if whole and newest is not None and newest != until:
            async with self._database.statement() as connection:
                await connection.execute(_STORE_UNTIL, {"until": newest})

    async def _apply(self, document: dict[str, Any]) -> bool:
        """False for an event that is to be looked at again: it holds up no other."""
        try:
            verdict = await self._payments.apply_event(read_event(document))
        except UnreadableError as error:
            log.error("payment_event.unreadable", event_id=str(document.get("id")), error=str(error))
            return False
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("payment_event.not_applied", event_id=str(document.get("id")))
            return False
        if verdict.verdict == "accepted":
            log.warning("payment_event.pulled", event_id=document["id"], type=document["type"])
        return True

    async def _unseen(self, page: list[dict[str, Any]]) -> list[dict[str, Any]]:
        async with self._database.statement() as connection:
            unseen = await rows.unseen(connection, [document["id"] for document in page])
        return [document for document in page if document["id"] in unseen]

    async def _until(self) -> int | None:
        async with self._database.statement() as connection:
            found: int | None = (await connection.execute(_UNTIL)).scalar_one_or_none()
            return found

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[bool]:
        async with self._database.statement() as connection:
            alone = bool((await connection.execute(_TRY_LOCK, {"key": PULL_LOCK})).scalar_one())
            try:
                yield alone
            finally:
                if alone:
                    await connection.execute(_UNLOCK, {"key": PULL_LOCK})
