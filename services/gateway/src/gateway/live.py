"""Live progress: server-sent events for one generation.

The first event is always the whole generation, so a client that reconnects misses nothing. Final states come from
one ordered consumer of NOTIFICATIONS per process; the row is looked at as well, in case the bus is away.
"""

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, DeliverPolicy, StreamInfo
from pydantic import ValidationError

from contracts.facts import Notice, Notified, Progress
from contracts.topology import NOTIFICATIONS, progress_subject
from gateway import records
from gateway.identity import Caller
from gateway.records import Generation
from runtime.broker import connected
from runtime.database import Database
from runtime.health import is_transient

LOOK_AGAIN_SECONDS = 3.0
BEGUN_SECONDS = 0.5
"""The first look is sooner: of what began before anybody listened, the progress has been said."""
PING_SECONDS = 15.0
FLUSH_SECONDS = 1
RESUBSCRIBE_SECONDS = 2.0
MAX_QUEUED_EVENTS = 64
STOP_SECONDS = 2.0
MAX_STREAMS = 5000
MAX_STREAMS_OF_USER = 100

log = structlog.get_logger()

Ended = str
"""The id of a notification: `<stream created, base 36>-<sequence>`."""


@dataclass(eq=False, slots=True)
class Reader:
    """Who reads all that one user is told. Whoever may have missed something is lost, and comes back."""

    queue: asyncio.Queue[tuple[Ended, Notice] | None]
    is_lost: bool = False

    def offer(self, event_id: Ended, notice: Notice) -> None:
        if self.queue.full():
            self.is_lost = True
        else:
            self.queue.put_nowait((event_id, notice))

    def lose(self) -> None:
        self.is_lost = True
        if not self.queue.full():
            self.queue.put_nowait(None)


class Hub:
    """Hands notifications to those who wait for them in this process."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker
        self._waiting: dict[UUID, set[asyncio.Queue[Progress | Ended]]] = defaultdict(set)
        self._readers: dict[UUID, set[Reader]] = defaultdict(set)
        self._streams: Counter[UUID] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._epoch = ""
        self.is_closing = False
        self.told: list[Callable[[str, Notice], None]] = []
        """Who is told of every notification, with its id."""

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="notifications")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            # Bounded: on Python 3.11 a wait_for inside may swallow the cancellation.
            await asyncio.wait([self._task], timeout=STOP_SECONDS)

    async def reconnected(self) -> None:
        self._lost.set()

    def close(self) -> None:
        """Ends every stream, so that its reader goes on at another replica: the server stops."""
        self.is_closing = True
        self._lose_readers()

    def _lose_readers(self) -> None:
        for reader in [reader for readers in self._readers.values() for reader in readers]:
            reader.lose()

    def has_room(self, user_id: UUID) -> bool:
        """Whether a user may open one more stream: nobody takes them all."""
        return self._streams[user_id] < MAX_STREAMS_OF_USER and self._streams.total() < MAX_STREAMS

    @contextlib.contextmanager
    def following(self, generation_id: UUID, user_id: UUID) -> Iterator[asyncio.Queue[Progress | Ended]]:
        """Yields a bounded queue of what is heard of a generation."""
        queue: asyncio.Queue[Progress | Ended] = asyncio.Queue(MAX_QUEUED_EVENTS)
        self._waiting[generation_id].add(queue)
        self._streams[user_id] += 1
        try:
            yield queue
        finally:
            self._waiting[generation_id].discard(queue)
            if not self._waiting[generation_id]:
                del self._waiting[generation_id]
            self._left(user_id)

    @contextlib.contextmanager
    def following_user(self, user_id: UUID) -> Iterator[Reader]:
        """Yields a reader of all that a user is told from now on."""
        reader = Reader(asyncio.Queue(MAX_QUEUED_EVENTS))
        self._readers[user_id].add(reader)
        self._streams[user_id] += 1
        try:
            yield reader
        finally:
            self._readers[user_id].discard(reader)
            if not self._readers[user_id]:
                del self._readers[user_id]
            self._left(user_id)

    def _left(self, user_id: UUID) -> None:
        self._streams[user_id] -= 1
        if not self._streams[user_id]:
            del self._streams[user_id]

    async def _run(self) -> None:
        while True:
            self._lost.clear()
            try:
                jetstream = self._broker.connection.jetstream()
                info = await jetstream.stream_info(NOTIFICATIONS.name)
                self._epoch = epoch_of(info)
                subscription = await jetstream.subscribe(
                    NOTIFICATIONS.subjects[0],
                    stream=NOTIFICATIONS.name,
                    ordered_consumer=True,
                    config=ConsumerConfig(deliver_policy=DeliverPolicy.NEW),
                    cb=self._arrived,
                )
                # What was said before is heard by nobody here: readers of that time come back for it.
                self._lose_readers()
                await self._lost.wait()
                with contextlib.suppress(NatsError, OSError):
                    await subscription.unsubscribe()
            except Exception as error:
                log.warning("notifications.not_followed", error=f"{type(error).__name__}: {error}"[:200])
                await asyncio.sleep(RESUBSCRIBE_SECONDS)

    async def _arrived(self, message: Msg) -> None:
        with contextlib.suppress(ValidationError):
            notice = Notified.decode(message.data).data
            event_id = f"{self._epoch}-{message.metadata.sequence.stream}"
            for queue in self._waiting.get(notice.generation_id, ()):
                _offer(queue, event_id)
            for reader in self._readers.get(notice.user_id, ()):
                reader.offer(event_id, notice)
            for tell in self.told:
                tell(event_id, notice)


async def follow(
    hub: Hub,
    broker: NatsBroker,
    database: Database,
    caller: Caller,
    generation: Generation,
    render: Callable[[Generation], str],
) -> AsyncIterator[bytes]:
    """The events of one generation, until it is final: `generation`, `progress`…, `outcome`.

    `generation` comes again where it began and no progress told so.
    """
    with hub.following(generation.id, caller.user_id) as queue:
        async with hearing(broker, generation.id, queue):
            generation = await look(database, caller, generation)
            yield event("generation", render(generation))
            last, patience_seconds = 0, BEGUN_SECONDS
            written_at = time.monotonic()
            event_id: str | None = None
            while not generation.is_final:
                if hub.is_closing:
                    return
                heard = None
                with contextlib.suppress(TimeoutError):
                    heard = await asyncio.wait_for(queue.get(), patience_seconds)
                patience_seconds = LOOK_AGAIN_SECONDS
                if isinstance(heard, Progress):
                    if heard.number > last:
                        last, written_at = heard.number, time.monotonic()
                        yield event("progress", heard.model_dump_json(exclude={"generation_id"}, exclude_defaults=True))
                    continue
                before, generation = generation.status, await look(database, caller, generation)
                event_id = heard
                if not last and before != generation.status and not generation.is_final:
                    written_at = time.monotonic()
                    yield event("generation", render(generation))
                if time.monotonic() - written_at > PING_SECONDS:
                    written_at = time.monotonic()
                    yield b": ping\n\n"
            yield event("outcome", render(generation), event_id)


@contextlib.asynccontextmanager
async def hearing(
    broker: NatsBroker, generation_id: UUID, queue: asyncio.Queue[Progress | Ended]
) -> AsyncIterator[None]:
    """Puts the progress of a generation into a queue."""

    async def arrived(message: Msg) -> None:
        with contextlib.suppress(ValidationError):
            _offer(queue, Progress.model_validate_json(message.data))

    subscription = None
    if connected(broker):
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            subscription = await broker.connection.subscribe(progress_subject(generation_id), cb=arrived)
            # Whatever is said after the first event is heard: the server knows of us before it is sent. The first ping
            # overtakes what nats-py has not written yet, the second follows it.
            await broker.connection.flush(FLUSH_SECONDS)
            await broker.connection.flush(FLUSH_SECONDS)
    try:
        yield
    finally:
        if subscription is not None:
            with contextlib.suppress(NatsError, OSError):
                await subscription.unsubscribe()


async def look(database: Database, caller: Caller, generation: Generation) -> Generation:
    """The row as it is now; as it was last seen while the database is away."""
    try:
        async with database.statement() as connection:
            return await records.get(connection, caller.user_id, generation.id) or generation
    except Exception as error:
        if not is_transient(error):
            raise
        return generation


def _offer(queue: asyncio.Queue[Progress | Ended], item: Progress | Ended) -> None:
    """A slow reader loses progress, never the end: the row is looked at when the queue is silent."""
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(item)


def event(name: str, data: str, event_id: str | None = None) -> bytes:
    """One event as it stands in the stream."""
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {name}\ndata: {data}\n\n".encode()


def epoch_of(info: StreamInfo) -> str:
    """Tells this stream from one that was made anew under its name."""
    return _base36(int(info.created.timestamp() * 1000)) if info.created else "0"


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"
