"""JetStream consumption: one small pull loop per durable consumer.

FastStream declares, publishes and answers questions; consuming is done here because its pull subscribers prefetch
more than they run, lose what they prefetched at shutdown and cost twice the CPU (docs/adr/0003).

* A fact is acknowledged after its handler returned, and not before.
* While a fact is held, `in progress` is sent, so that the broker never hands it to a second process.
* A dependency that is down (database, broker, network) makes the fact wait in place; its delivery count stays.
* Any other error is a defect: the fact is handed back with a growing delay, and goes to `dead.<durable>` after
  MAX_DELIVERIES. What cannot be read goes there at once.
* At shutdown facts not yet begun are handed back, and those begun may finish.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Protocol, TypeVar

import structlog
from faststream.nats import NatsBroker
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from prometheus_client import Counter, Histogram
from pydantic import ValidationError

from contracts.topology import DEAD, dead_subject
from runtime import telemetry
from runtime.broker import connected, publish
from runtime.health import is_transient

MAX_DELIVERIES = 5
NAK_DELAYS_SECONDS = (1.0, 5.0, 15.0, 30.0)
PULL_EXPIRES_SECONDS = 30.0
HEARTBEAT_SECONDS = 5.0
IN_PROGRESS_EVERY_SECONDS = 8.0
RETRY_IN_PLACE_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
MISSING_CONSUMER_PAUSE_SECONDS = 0.5
SHUTDOWN_GRACE_SECONDS = 20.0
_REQUEST = b'{"batch":%%d,"expires":%d,"idle_heartbeat":%d}' % (PULL_EXPIRES_SECONDS * 1e9, HEARTBEAT_SECONDS * 1e9)
_LATER = b'-NAK {"delay":1000000000}'
"""Not at once: a request that is still open would only bring it back to a process that is going."""
_FIRST_REQUEST = b'{"batch":%d,"expires":300000000}'
"""Answered soon, also where there is nothing to do: whoever is not well says so until something is heard."""

log = structlog.get_logger()
HANDLED = Counter("facts_handled_total", "Facts handled.", ["consumer", "result"])
DURATION = Histogram("fact_seconds", "Seconds from a fact's arrival to its acknowledgement.", ["consumer"])
_counted = cache(lambda durable: (HANDLED.labels(durable, "done"), DURATION.labels(durable)))
"""Looked up once: that takes longer than to count."""


class Fact(Protocol):
    """What a handler gets: anything that decodes itself from bytes and names what it is about."""

    @property
    def subject(self) -> str: ...
    @property
    def traceparent(self) -> str | None: ...
    @classmethod
    def decode(cls, payload: bytes) -> "Fact": ...


F = TypeVar("F", bound=Fact)
Each = Callable[[F], Awaitable[None]]
Batch = Callable[[Sequence[F]], Awaitable[Awaitable[None] | None]]
"""May return what is left to do and needs no order, such as publishing: the next batch begins meanwhile."""
Unreadable = Callable[[str, bytes], Awaitable[None]]


class Durable(Protocol):
    """A consumer that exists on the server."""

    @property
    def durable(self) -> str: ...
    @property
    def stream(self) -> str: ...


@dataclass(slots=True)
class _Held:
    """A message that we have and have not settled."""

    message: Msg
    taken_at: float
    told_at: float

    @property
    def deliveries(self) -> int:
        # $JS.ACK.<stream>.<consumer>.<delivered>.…, or with domain and account hash before the stream
        tokens = self.message.reply.split(".")
        return int(tokens[4] if len(tokens) == 9 else tokens[6])


@dataclass(slots=True)
class _Loop:
    """One durable consumer: its request in flight, what it holds, and whether it is well."""

    consumer: Durable
    decode: Callable[[bytes], Any]
    handle: Batch[Any]
    batch_size: int
    """1: every fact in a task of its own; more: one batch at a time, of what has arrived."""
    capacity: int
    unreadable: Unreadable | None
    linger_seconds: float = 0.0
    waiting: deque[_Held] = field(default_factory=deque)
    held: dict[int, _Held] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    outstanding: int = 0
    is_lost: bool = False
    """The request in flight may still be open at the server, which would serve it beside the next one."""
    heard_at: float = 0.0
    problem: str | None = "not started"
    room: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there may be something to ask for."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when something begins to wait for the next batch, and when that is full."""


class Consumers:
    """The durable consumers of one process."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker
        self._loops: list[_Loop] = []
        self._running: list[asyncio.Task[None]] = []
        self._stopping = False

    def each(
        self, consumer: Durable, fact: type[F], *, slots: int, unreadable: Unreadable | None = None
    ) -> Callable[[Each[F]], Each[F]]:
        """Handles facts one by one, up to `slots` at the same time."""

        def register(handler: Each[F]) -> Each[F]:
            self._loops.append(_Loop(consumer, fact.decode, lambda facts: handler(facts[0]), 1, slots, unreadable))
            return handler

        return register

    def batch(
        self, consumer: Durable, fact: type[F], *, size: int, linger_seconds: float = 0.0
    ) -> Callable[[Batch[F]], Batch[F]]:
        """Handles what has arrived, up to `size` facts at once and in stream order; on a defect, one by one.

        Where nobody waits for the effect, lingering makes fewer and larger batches: each costs a transaction. It ends
        when a batch is full.
        """

        def register(handler: Batch[F]) -> Batch[F]:
            self._loops.append(_Loop(consumer, fact.decode, handler, size, 3 * size, None, linger_seconds))
            return handler

        return register

    async def start(self) -> None:
        self._stopping = False
        for loop in self._loops:
            # There from the start: of a series that begins with its first 1, `increase` sees no increase.
            HANDLED.labels(loop.consumer.durable, "failed")
            # Waited for: nats-py stops reading at a pong for somebody who was cancelled while they drained.
            loop.tasks.add(asyncio.create_task(self._pull(loop)))
            if loop.batch_size > 1:
                self._running.append(asyncio.create_task(self._batches(loop)))
        self._running.append(asyncio.create_task(self._keep(), name="in progress"))

    async def stop(self) -> None:
        """Hands back what was not begun, waits for what was, then hands back the rest."""
        self._stopping = True
        for loop in self._loops:
            loop.room.set()
            while loop.waiting:
                await self._answer(loop, loop.waiting.popleft(), _LATER)
        if begun := [task for loop in self._loops for task in loop.tasks]:
            await asyncio.wait(begun, timeout=SHUTDOWN_GRACE_SECONDS)
        for task in (*begun, *self._running):
            task.cancel()
        await asyncio.gather(*begun, *self._running, return_exceptions=True)
        for loop in self._loops:
            for held in list(loop.held.values()):
                await self._answer(loop, held, b"-NAK")
        self._running.clear()

    async def reconnected(self) -> None:
        """What was sent to a link that broke is lost: ask again."""
        for loop in self._loops:
            loop.outstanding, loop.is_lost = 0, True
            loop.room.set()

    def problems(self) -> list[str]:
        """Why this process is not ready to consume; empty when it is."""
        return [f"{loop.consumer.durable}: {loop.problem}" for loop in self._loops if loop.problem]

    async def _pull(self, loop: _Loop) -> None:
        subscription: Subscription | None = None
        while not self._stopping:
            loop.room.clear()
            try:
                connection = self._broker.connection
                if loop.is_lost and subscription is not None:
                    former, subscription = subscription, None
                    await former.unsubscribe()  # nobody hears it any more, so that the server lets the request go
                loop.is_lost = False
                if subscription is None:
                    inbox = connection.new_inbox()
                    subscription = await connection.subscribe(inbox, cb=partial(self._arrived, loop))
                free = loop.capacity - len(loop.held)
                if loop.outstanding <= 0 < free and connected(self._broker):
                    loop.outstanding, loop.heard_at = free, time.monotonic()
                    await connection.publish(
                        f"$JS.API.CONSUMER.MSG.NEXT.{loop.consumer.stream}.{loop.consumer.durable}",
                        (_FIRST_REQUEST if loop.problem else _REQUEST) % free,
                        reply=inbox,
                    )
            except (NatsError, OSError) as error:
                loop.problem, loop.outstanding = f"{type(error).__name__}: {error}", 0
                await asyncio.sleep(MISSING_CONSUMER_PAUSE_SECONDS)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await loop.room.wait()
            if loop.outstanding > 0 and time.monotonic() - loop.heard_at > 2.5 * HEARTBEAT_SECONDS:
                # The server promised a heartbeat: the request is lost, or the link or the consumer is gone.
                loop.problem = "no heartbeat"
                loop.outstanding, loop.is_lost = 0, True
        if subscription is not None:
            with contextlib.suppress(Exception):
                await subscription.drain()  # type: ignore[no-untyped-call]

    async def _arrived(self, loop: _Loop, message: Msg) -> None:
        loop.heard_at = time.monotonic()
        status = message.headers.get("Status") if message.headers and not message.reply else None
        if status is None and message.reply:
            loop.problem = None
            loop.outstanding -= 1
            held = _Held(message, loop.heard_at, loop.heard_at)
            loop.held[id(held)] = held
            if self._stopping:
                await self._answer(loop, held, _LATER)
                return
            if loop.batch_size > 1:
                loop.waiting.append(held)
                if len(loop.waiting) in {1, loop.batch_size}:
                    loop.arrived.set()
            else:
                task = asyncio.create_task(self._take(loop, [held], asyncio.Event()))
                loop.tasks.add(task)
                task.add_done_callback(loop.tasks.discard)
            if loop.outstanding <= 0:
                loop.room.set()
        elif status == "100":
            loop.problem = None
        elif status in {"404", "408"}:
            loop.problem, loop.outstanding = None, 0
            loop.room.set()
        else:
            # 409: consumer deleted, leadership change, server shutdown; 503: nobody has such a consumer
            description = (message.headers or {}).get("Description", "")
            loop.problem = f"consumer not served ({status} {description})".rstrip()
            await asyncio.sleep(MISSING_CONSUMER_PAUSE_SECONDS)
            loop.outstanding = 0
            loop.room.set()

    async def _batches(self, loop: _Loop) -> None:
        while not self._stopping:
            if not loop.waiting:
                loop.arrived.clear()
                await loop.arrived.wait()
            if loop.linger_seconds and len(loop.waiting) < loop.batch_size:
                loop.arrived.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(loop.linger_seconds):
                        await loop.arrived.wait()
            taken = [loop.waiting.popleft() for _ in range(min(loop.batch_size, len(loop.waiting)))]
            decided = asyncio.Event()
            task = asyncio.create_task(self._take(loop, taken, decided))
            loop.tasks.add(task)
            task.add_done_callback(loop.tasks.discard)
            await decided.wait()

    async def _keep(self) -> None:
        """Tells the broker that we still work on what we hold."""
        while True:
            await asyncio.sleep(IN_PROGRESS_EVERY_SECONDS / 4)
            now = time.monotonic()
            for held in [held for loop in self._loops for held in loop.held.values()]:
                if now - held.told_at > IN_PROGRESS_EVERY_SECONDS:
                    held.told_at = now
                    with contextlib.suppress(NatsError, OSError):
                        await self._broker.connection.publish(held.message.reply, b"+WPI")

    async def _take(self, loop: _Loop, taken: list[_Held], decided: asyncio.Event) -> None:
        try:
            if readable := [pair for held in taken if (pair := await self._read(loop, held)) is not None]:
                await self._settle(loop, readable, decided)
        finally:
            decided.set()

    async def _settle(self, loop: _Loop, readable: list[tuple[_Held, Any]], decided: asyncio.Event) -> None:
        try:
            await self._handle(loop, [fact for _, fact in readable], decided)
        except Exception as error:
            if len(readable) == 1:
                return await self._failed(loop, readable[0][0], error)
            log.warning("batch.taken_singly", consumer=loop.consumer.durable, error=repr(error))
            for pair in readable:
                await self._settle(loop, [pair], decided)
        else:
            (done, duration), now = _counted(loop.consumer.durable), time.monotonic()
            done.inc(len(readable))
            for held, _ in readable:
                duration.observe(now - held.taken_at)
                await self._answer(loop, held, b"+ACK")

    async def _handle(self, loop: _Loop, facts: list[Any], decided: asyncio.Event) -> None:
        waits = iter(RETRY_IN_PLACE_SECONDS)
        while True:
            try:
                with telemetry.handling(loop.consumer.durable, facts):
                    if (rest := await loop.handle(facts)) is not None:
                        decided.set()
                        await rest
                    return
            except Exception as error:
                if not is_transient(error) or self._stopping:
                    raise
                pause_seconds = next(waits, RETRY_IN_PLACE_SECONDS[-1])
                log.warning("fact.waits", consumer=loop.consumer.durable, error=repr(error), seconds=pause_seconds)
                await asyncio.sleep(pause_seconds)

    async def _read(self, loop: _Loop, held: _Held) -> tuple[_Held, Any] | None:
        if held.deliveries > MAX_DELIVERIES:
            # It was delivered before and never settled: whoever took it died of it, or with it.
            await self._bury(loop, held, "delivered too often")
            return None
        try:
            return held, loop.decode(held.message.data)
        except ValidationError as error:
            log.error("fact.unreadable", consumer=loop.consumer.durable, subject=held.message.subject)
            await self._unreadable(loop, held, error)
            return None

    async def _unreadable(self, loop: _Loop, held: _Held, error: ValidationError) -> None:
        try:
            if loop.unreadable is not None:
                await loop.unreadable(held.message.subject, held.message.data)
        except Exception as failure:
            await self._failed(loop, held, failure)
        else:
            fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False)[:5])
            await self._bury(loop, held, f"unreadable: {fields}")

    async def _failed(self, loop: _Loop, held: _Held, error: Exception) -> None:
        log.error(
            "fact.failed",
            consumer=loop.consumer.durable,
            subject=held.message.subject,
            deliveries=held.deliveries,
            exc_info=error,
        )
        HANDLED.labels(loop.consumer.durable, "failed").inc()
        if held.deliveries >= MAX_DELIVERIES and not is_transient(error):
            await self._bury(loop, held, f"{type(error).__name__}: {error}")
            return
        delay_seconds = NAK_DELAYS_SECONDS[min(held.deliveries, len(NAK_DELAYS_SECONDS)) - 1]
        await self._answer(loop, held, b'-NAK {"delay": %d}' % int(delay_seconds * 1e9))

    async def _bury(self, loop: _Loop, held: _Held, reason: str) -> None:
        """Moves a fact to `dead.<durable>`, where people look; it is settled only once it is there."""
        HANDLED.labels(loop.consumer.durable, "dead").inc()
        letter = {
            "consumer": loop.consumer.durable,
            "subject": held.message.subject,
            "reason": reason,
            "deliveries": held.deliveries,
            "payload": held.message.data.decode("utf-8", "replace"),
        }
        subject = dead_subject(loop.consumer.durable)
        body = json.dumps(letter).encode()
        try:
            await publish(self._broker, subject, body, stream=DEAD.name, content_type="application/json")
        except (NatsError, OSError, TimeoutError):
            await self._answer(loop, held, _LATER)
        else:
            await self._answer(loop, held, b"+TERM")

    async def _answer(self, loop: _Loop, held: _Held, word: bytes) -> None:
        loop.held.pop(id(held), None)
        with contextlib.suppress(NatsError, OSError):
            await self._broker.connection.publish(held.message.reply, word)
        if loop.outstanding <= 0:
            loop.room.set()
