"""Waiting for the outcome of one generation, on any replica."""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.facts import Outcome
from contracts.topology import verdict_subject
from gateway import records
from gateway.identity import Caller
from gateway.records import Ended, Generation
from gateway.refusals import Gone, TooManyRequests
from gateway.streaming import hung_up
from runtime.broker import connected
from runtime.database import Database, Together
from runtime.health import is_transient

LOOK_AGAIN_SECONDS = 1.0
LEAVING_SECONDS = 6.0
"""Once the process stops, which gives open requests a little longer: one that is cut off is answered by a bare 500, and
asked for again by clients, made and paid twice."""
AFTER_YOU_SECONDS = 0.02
"""Whoever waits for one in this process records it first, and is answered before the rest is done."""
MAX_WAITS_OF_USER = 200
"""In this process: each is a subscription, and a look at a row every second."""
BUSY_SECONDS = 5
"""When to ask again."""
MOST_APPLIED = 64
"""Recorded by who waited, until the consumer of outcomes asks for it, which may be another replica's."""

log = structlog.get_logger()


class Verdicts:
    """Listens for the verdicts that the log repeats, one subscription for each that somebody waits for."""

    def __init__(self, broker: NatsBroker, database: Database, wait_seconds: float) -> None:
        self._broker = broker
        self._database = database
        self.wait_seconds = wait_seconds
        """The longest that anybody waits."""
        self._leave_at = math.inf
        self._finish = Together(self._finish_all)
        self._waits: Counter[UUID] = Counter()
        """How many each user holds open."""
        self._waited_for: Counter[UUID] = Counter()
        self._applied: dict[UUID, Ended] = {}
        self._applying = asyncio.Condition()

    def close(self) -> None:
        """Whoever waits is told soon how it stands: the process stops."""
        self._leave_at = time.monotonic() + LEAVING_SECONDS

    def granted(self, user_id: UUID, preferred_seconds: float | None) -> float | None:
        """What comes of a preference to wait, which is no longer than anybody waits; None: it is passed over, as the
        user waits for as many as anybody may."""
        if preferred_seconds is None or self._waits[user_id] >= MAX_WAITS_OF_USER:
            return None
        return min(preferred_seconds, self.wait_seconds)

    @contextlib.contextmanager
    def place(self, user_id: UUID) -> Iterator[None]:
        """For one request that waits. Taken before anything is accepted, since it raises TooManyRequests."""
        if self._waits[user_id] >= MAX_WAITS_OF_USER:
            raise TooManyRequests("Too many of your requests wait.", BUSY_SECONDS)
        self._waits[user_id] += 1
        try:
            yield
        finally:
            self._waits[user_id] -= 1
            if not self._waits[user_id]:
                del self._waits[user_id]

    async def applied(self, outcomes: Sequence[Outcome]) -> list[Ended]:
        """Those that whoever waited for them in this process has recorded, which is given a moment to do so."""
        ids = [outcome.data.generation_id for outcome in outcomes]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AFTER_YOU_SECONDS), self._applying:
                await self._applying.wait_for(lambda: all(i in self._applied or i not in self._waited_for for i in ids))
        return [ended for i in ids if (ended := self._applied.pop(i, None)) is not None]

    @contextlib.asynccontextmanager
    async def listening(self, generation_id: UUID) -> AsyncIterator[asyncio.Future[Outcome]]:
        """Yields a future of the outcome. Open it before the generation is published, so that none is missed."""
        heard: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        async def arrived(message: Msg) -> None:
            with contextlib.suppress(ValidationError):
                if not heard.done():
                    heard.set_result(Outcome.decode(message.data))

        subscription = None
        self._waited_for[generation_id] += 1
        try:
            if connected(self._broker):
                with contextlib.suppress(NatsError, OSError):
                    subscription = await self._broker.connection.subscribe(
                        verdict_subject(generation_id), cb=arrived, max_msgs=1
                    )
            yield heard
        finally:
            self._waited_for[generation_id] -= 1
            if not self._waited_for[generation_id]:
                del self._waited_for[generation_id]
            if subscription is not None:
                with contextlib.suppress(NatsError, OSError):
                    await subscription.unsubscribe()

    async def wait(
        self,
        caller: Caller,
        generation: Generation,
        heard: asyncio.Future[Outcome],
        seconds: float | None = None,
    ) -> Generation:
        """The generation once it is final, or as it is when the time is up: so many seconds, or as long as is allowed,
        and no longer than the client of this request is there.

        What was heard is recorded before it is told, by the same update that the consumer of outcomes makes; whoever
        is second changes nothing. The row is looked at again every second, in case nothing is heard.

        Raises Gone: its owner has deleted it.
        """
        longest = self.wait_seconds if seconds is None else min(seconds, self.wait_seconds)
        give_up_at = time.monotonic() + longest
        leaving = asyncio.create_task(hung_up())
        watched: tuple[asyncio.Future[Any], ...] = (heard, leaving)
        try:
            while not generation.is_final and (left := min(give_up_at, self._leave_at) - time.monotonic()) > 0:
                pause_seconds = min(LOOK_AGAIN_SECONDS, left)
                await asyncio.wait(watched, timeout=pause_seconds, return_when=asyncio.FIRST_COMPLETED)
                if leaving.done():
                    break
                try:
                    generation = await self._look(caller, generation, heard)
                except Exception as error:
                    if not is_transient(error):
                        raise
                    # What was accepted goes on without us, so that "nothing was recorded" would be a lie.
                    log.warning("wait.row_not_seen", generation_id=str(generation.id), error=type(error).__name__)
                    await asyncio.sleep(pause_seconds)
        finally:
            leaving.cancel()
        return generation

    async def _look(self, caller: Caller, generation: Generation, heard: asyncio.Future[Outcome]) -> Generation:
        if heard.done() and (finished := await self._finish(heard.result())) is not None:
            return finished
        async with self._database.statement() as connection:
            seen = await records.get(connection, caller.user_id, generation.id)
        if seen is None:
            raise Gone("It was deleted while it was waited for.")
        return seen

    async def _finish_all(self, outcomes: Sequence[Outcome]) -> list[Generation | None]:
        async with self._database.statement() as connection:
            finished = {ended.id: ended for ended in await records.finish(connection, outcomes)}
        self._applied |= finished
        for oldest in list(self._applied)[:-MOST_APPLIED]:
            del self._applied[oldest]
        async with self._applying:
            self._applying.notify_all()
        ended = [finished.get(outcome.data.generation_id) for outcome in outcomes]
        return [None if each is None else each.generation for each in ended]
