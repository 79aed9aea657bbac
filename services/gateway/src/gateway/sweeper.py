"""Drives what does not move, so that every accepted generation ends whatever was lost on the way."""

import asyncio
from typing import Literal, get_args

import structlog
from faststream.nats import NatsBroker
from prometheus_client import Counter

from contracts.facts import Failure, Outcome, Verdict
from gateway import turns
from gateway.commands import Commands
from gateway.deletions import carry_out
from gateway.figures import LAG
from gateway.lag import consumers
from gateway.recalling import last_word
from gateway.refusals import Unavailable
from gateway.saying import cancel, drive, end
from gateway.settings import SweeperSettings
from gateway.turns import Due
from gateway.webhooks.forgetting import forget_old
from runtime.broker import connected
from runtime.database import Database

SLOTS_PER_SWEEP = 100
LAG_TIMEOUT_SECONDS = 2.0
STOP_SECONDS = 2.0

log = structlog.get_logger()
DRIVEN = Counter("generations_driven_total", "What the sweeper did with an unfinished generation.", ["step"])

Step = Literal["drive", "cancel", "fail"]
for _step in get_args(Step):
    # There from the start: of a series that begins with its first 1, `increase` sees no increase.
    DRIVEN.labels(_step)


def next_step(due: Due, drives_before_deadline: int) -> Step:
    """What an unfinished generation needs: a cancel that was asked for wins, a deadline only after enough drives."""
    if due.generation.cancel_asked_at is not None:
        return "cancel"
    if due.past_deadline and due.drives >= drives_before_deadline:
        return "fail"
    return "drive"


class Sweeper:
    """One loop in every gateway; rows are taken with SKIP LOCKED, so replicas share the work."""

    def __init__(self, database: Database, broker: NatsBroker, commands: Commands, settings: SweeperSettings) -> None:
        self._database = database
        self._broker = broker
        self._commands = commands
        self._settings = settings
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="sweeper")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            # Bounded: on Python 3.11 the wait_for of nats-py may lose the cancellation.
            await asyncio.wait([self._task], timeout=STOP_SECONDS)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._settings.every_seconds)
            try:
                await self.sweep()
            except Exception as error:
                log.warning("sweep.failed", error=f"{type(error).__name__}: {error}"[:300])

    async def sweep(self) -> int:
        """One round: how many generations were driven or ended.

        Nothing happens while the bus is away, and nothing is driven while its consumers are behind.
        """
        if not connected(self._broker):
            return 0
        async with self._database.statement() as connection:
            waited_for = await turns.slots_with_waiters(connection, SLOTS_PER_SWEEP)
        # All plans at once, since each may be waited for in vain; then they are known for a while.
        await asyncio.gather(
            *(self._commands.funds.plan(user_id) for user_id in {user_id for user_id, _ in waited_for})
        )
        for user_id, lane in waited_for:
            await self._commands.admit(user_id, lane)
        lag = await self._lag()
        if lag > self._settings.lag_limit:
            log.warning("sweep.drives_nothing", lag=lag)
        async with self._database.statement() as connection:
            claimed = await turns.claim_due(
                connection,
                self._settings.rows,
                self._settings.first_drive_seconds,
                self._settings.longest_pause_seconds,
                self._settings.drives_before_deadline,
                may_drive=lag <= self._settings.lag_limit,
            )
        taken = await asyncio.gather(*map(self._step, claimed))
        driven = [due.generation.id for due, by in zip(claimed, taken, strict=True) if by]
        if driven:
            async with self._database.statement() as connection:
                await turns.count_drives(connection, driven)
        # The log may know an outcome that our consumer was never given.
        outcomes = [by for by in taken if isinstance(by, Outcome)]
        if outcomes:
            await self._commands.settle(outcomes)
        await carry_out(self._database, self._broker)
        await forget_old(self._database)
        return len(driven)

    async def _step(self, due: Due) -> Outcome | bool | None:
        """The outcome that the log holds, where it was asked, or whether the bus took the drive."""
        step = next_step(due, self._settings.drives_before_deadline)
        log.info("generation.driven", generation_id=str(due.generation.id), step=step, drives=due.drives)
        DRIVEN.labels(step).inc()
        if step == "drive":
            return await self._missed(due) or await drive(self._broker, due.generation)
        if step == "cancel":
            return await cancel(self._broker, due.generation)
        failure = Failure(code="deadline", message="The generation did not finish in time. Nothing was charged.")
        return await end(self._broker, due.generation, Verdict.FAILED, failure=failure)

    async def _missed(self, due: Due) -> Outcome | None:
        """What the log holds of one that was driven in vain: whoever says its outcome again is refused there, so that
        we would not hear of it. Most move after one drive, and are not worth the question."""
        if due.drives == 0:
            return None
        try:
            return await last_word(self._broker, due.generation.id)
        except Unavailable:
            return None

    async def _lag(self) -> int:
        """Facts that no consumer has taken yet, at the slowest one."""
        # One that is missing is repaired by others; what it missed has to be driven.
        behind = await consumers(self._broker, LAG_TIMEOUT_SECONDS)
        for name, info in behind.items():
            LAG.labels(name).set(info.num_pending or 0)
        return max((info.num_pending or 0 for info in behind.values()), default=0)
