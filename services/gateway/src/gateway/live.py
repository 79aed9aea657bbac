"""Live progress: server-sent events for one generation.

The first event is always the whole generation, so a client that reconnects misses nothing. Final states come from
one ordered consumer of NOTIFICATIONS per process; the row is looked at as well, in case the bus is away.
"""

import asyncio
import contextlib
import math
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import NotRequired
from uuid import UUID

from faststream.nats import NatsBroker
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from pydantic import ValidationError
from typing_extensions import TypedDict

from contracts.model import Frozen
from contracts.progress import Progress
from contracts.topology import progress_subject
from gateway import accepting, records
from gateway.identity import Caller
from gateway.notifications import Notifications
from gateway.records import Generation
from gateway.refusals import Gone, TimedOut, TooManyRequests
from gateway.streaming import Write
from runtime.broker import connected
from runtime.database import Database
from runtime.health import is_transient

LOOK_AGAIN_SECONDS = 3.0
BEGUN_SECONDS = 0.5
"""The first look is sooner: of what began before anybody listened, the progress has been said."""
PING_SECONDS = 15.0
PING = b": ping\n\n"
"""A comment, so that nobody on the way takes a long wait for a dead line."""
FLUSH_SECONDS = 1.0
LEAVING_SECONDS = 5.0
"""How long what is read as it is made may take once the process stops: with a look at the row, less than that waits."""
PONG_SECONDS = 120
"""Longer than it takes to find a connection dead."""
MAX_QUEUED_EVENTS = 64
MAX_CATCHING_UP = 32
MAX_STREAMS = 5000
MAX_STREAMS_OF_USER = 100
BUSY_SECONDS = 5
"""When to ask again."""


class Noted(TypedDict):
    """A notification (`contracts.facts.Notice`) as it is read here. Its ids are compared and no more, so they stay
    text: a model with ids in it costs as much again as to read all of it."""

    generation_id: str
    user_id: str
    status: str
    dialect: str
    shown: NotRequired[str | None]


class _Fact(Frozen):
    """Without the envelope, which nobody here reads. A message, so that its ids are not kept once they were read."""

    data: Noted


class Told:
    """One notification, and how it stands in the streams of all who hear it: encoded once."""

    __slots__ = ("_event", "_name", "event_id", "notice")

    def __init__(self, event_id: str, notice: Noted) -> None:
        self.event_id = event_id
        """`<stream created, base 36>-<sequence>`."""
        self.notice = notice
        self._name = ""
        self._event = b""

    def event(self, name: str) -> bytes | None:
        """As an event of that name; None where the notification does not hold the generation."""
        shown = self.notice.get("shown")
        if shown is None:
            return None
        if self._name != name:
            self._name, self._event = name, event(name, shown, self.event_id)
        return self._event


_NOT_TOLD = {"generation_id", "picture", "picture_index"}
"""Of progress: what stands in the address, and the pictures, which are for those who asked for them."""
Heard = asyncio.Queue[Progress | Told]


class Reader:
    """Who reads all that one user is told. Whoever may have missed something is lost, and comes back.

    There are thousands, and most are silent: each has one alarm, which is put off and not made anew for each event.
    While its stream waits for something to be told, that is written past it, and the stream is not woken.
    """

    __slots__ = ("__weakref__", "_alarm", "_heard_at", "_told", "_waiting", "_write", "is_lost", "known")

    def __init__(self, write: Write) -> None:
        self._write = write
        self._told: list[Told] = []
        self._waiting: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self.is_lost = False
        self.known: str | None = None
        """The last event that it had before it was told anything here; None where all is new."""

    def offer(self, told: Told) -> None:
        """Takes it, to be told in `tell`."""
        if len(self._told) >= MAX_QUEUED_EVENTS:
            self.is_lost = True
        else:
            self._told.append(told)

    def tell(self) -> None:
        """Writes what was offered where nothing is before it, neither here nor at the server, and all of it is known to
        be new and can be shown; else the stream is woken for it."""
        waiting = self._waiting
        if waiting is None or waiting.done() or not (self._told or self.is_lost):
            return
        if self.known is None and not self.is_lost:
            said = [each.event("generation") or b"" for each in self._told]
            if all(said) and self._write(said[0] if len(said) == 1 else b"".join(said)):
                self._told, self._heard_at = [], waiting.get_loop().time()
                return
        self._wake()

    def lose(self) -> None:
        self.is_lost = True
        self._wake()

    async def heard(self, seconds: float) -> list[Told]:
        """All that was told since; nothing where nothing was for so many seconds, or where it is lost."""
        if not self._told and not self.is_lost:
            loop = asyncio.get_running_loop()
            self._heard_at, self._waiting = loop.time(), loop.create_future()
            if self._alarm is None:
                self._alarm = loop.call_later(seconds, self._ring, loop, seconds)
            await self._waiting
        if self.is_lost:
            return []
        told, self._told = self._told, []
        return told

    def leave(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def _ring(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        left_seconds = self._heard_at + seconds - loop.time()
        self._alarm = loop.call_later(left_seconds, self._ring, loop, seconds) if left_seconds > 0 else None
        if self._alarm is None:
            self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Hub:
    """Hands notifications to those who wait for them in this process."""

    def __init__(self, broker: NatsBroker) -> None:
        self._waiting: dict[str, set[Heard]] = defaultdict(set)
        self._readers: dict[str, set[Reader]] = defaultdict(set)
        self._streams: Counter[UUID] = Counter()
        self._notifications = Notifications(broker, self._heard, self._lose_readers)
        self._offered: list[Reader] = []
        """Who was offered something in this turn of the event loop."""
        self.catching_up = asyncio.Semaphore(MAX_CATCHING_UP)
        """Who reads the log holds it: a thousand at once would all wait longer than the log is waited for."""
        self.is_closing = False
        self._leave_at = math.inf
        self.told: list[Callable[[Told], None]] = []
        """Who is told of every notification."""

    async def start(self) -> None:
        await self._notifications.start()

    async def stop(self) -> None:
        await self._notifications.stop()

    async def reconnected(self) -> None:
        self._notifications.lose()

    def close(self) -> None:
        """Ends every stream, so that its reader goes on at another replica: the server stops."""
        self.is_closing = True
        self._leave_at = time.monotonic() + LEAVING_SECONDS
        self._lose_readers()

    def stay(self, generation_id: UUID) -> None:
        """For what nobody can go on reading elsewhere: it may still end here.

        Raises TimedOut: the process stops, and what is being made goes on.
        """
        if time.monotonic() > self._leave_at:
            where = accepting.place(generation_id)
            raise TimedOut(f"This server stops, and it goes on: look at {where}.", headers={"Location": where})

    def _lose_readers(self) -> None:
        for reader in [reader for readers in self._readers.values() for reader in readers]:
            reader.lose()

    def place(self, user_id: UUID) -> contextlib.AsyncExitStack:
        """Takes a place for one more stream, at once; it is given back as what is returned is left.

        Raises TooManyRequests: nobody takes them all.
        """
        if self._streams[user_id] >= MAX_STREAMS_OF_USER or self._streams.total() >= MAX_STREAMS:
            raise TooManyRequests("Too many open event streams.", BUSY_SECONDS)
        self._streams[user_id] += 1
        place = contextlib.AsyncExitStack()
        place.callback(self._left, user_id)
        return place

    @contextlib.contextmanager
    def following(self, generation_id: UUID) -> Iterator[Heard]:
        """Yields a bounded queue of what is heard of a generation."""
        queue: Heard = asyncio.Queue(MAX_QUEUED_EVENTS)
        waiting = self._waiting[str(generation_id)]
        waiting.add(queue)
        try:
            yield queue
        finally:
            waiting.discard(queue)
            if not waiting:
                self._waiting.pop(str(generation_id), None)

    @contextlib.contextmanager
    def following_user(self, user_id: UUID, write: Write) -> Iterator[Reader]:
        """Yields a reader of all that a user is told from now on."""
        reader = Reader(write)
        readers = self._readers[str(user_id)]
        readers.add(reader)
        try:
            yield reader
        finally:
            reader.leave()
            readers.discard(reader)
            if not readers:
                self._readers.pop(str(user_id), None)

    def _left(self, user_id: UUID) -> None:
        self._streams[user_id] -= 1
        if not self._streams[user_id]:
            del self._streams[user_id]

    def _heard(self, event_id: str, fact: bytes) -> None:
        try:
            told = Told(event_id, _Fact.model_validate_json(fact).data)
        except ValidationError:
            return
        for queue in self._waiting.get(told.notice["generation_id"], ()):
            _offer(queue, told)
        for reader in self._readers.get(told.notice["user_id"], ()):
            reader.offer(told)
            if not self._offered:
                asyncio.get_running_loop().call_soon(self._tell_readers)
            self._offered.append(reader)
        for tell in self.told:
            tell(told)

    def _tell_readers(self) -> None:
        """All that arrived together is read first, and written then: each is done faster than both in turns."""
        offered, self._offered = self._offered, []
        for reader in offered:
            reader.tell()


async def follow(
    hub: Hub,
    broker: NatsBroker,
    database: Database,
    caller: Caller,
    generation: Generation,
    render: Callable[[Generation], str],
) -> AsyncGenerator[bytes, None]:
    """The events of one generation, until it is final: `generation`, `progress`…, `outcome`.

    `generation` comes again where it began and no progress told so. Of one that is deleted nothing more comes.
    """
    with contextlib.suppress(Gone), hub.following(generation.id) as queue:
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
                    async with asyncio.timeout(patience_seconds):
                        heard = await queue.get()
                patience_seconds = LOOK_AGAIN_SECONDS
                if isinstance(heard, Progress):
                    if heard.number > last:
                        last, written_at = heard.number, time.monotonic()
                        yield event("progress", heard.model_dump_json(exclude=_NOT_TOLD, exclude_defaults=True))
                    continue
                event_id = heard.event_id if heard else None
                if heard and (ended := heard.event("outcome")) is not None:
                    yield ended
                    return
                before, generation = generation.status, await look(database, caller, generation)
                if not last and before != generation.status and not generation.is_final:
                    written_at = time.monotonic()
                    yield event("generation", render(generation))
                if time.monotonic() - written_at > PING_SECONDS:
                    written_at = time.monotonic()
                    yield PING
            yield event("outcome", render(generation), event_id)


@contextlib.asynccontextmanager
async def hearing(broker: NatsBroker, generation_id: UUID, queue: Heard) -> AsyncIterator[None]:
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
            await _flushed(broker)
            await _flushed(broker)
    try:
        yield
    finally:
        if subscription is not None:
            with contextlib.suppress(NatsError, OSError):
                await subscription.unsubscribe()


async def _flushed(broker: NatsBroker) -> None:
    """Returns when the server has answered a ping, or has taken too long.

    The ping itself is never given up: nats-py stops reading, so that nobody hears anything any more, where a pong comes
    for somebody who is gone.
    """
    ping = asyncio.ensure_future(broker.connection.flush(PONG_SECONDS))
    ping.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait([ping], timeout=FLUSH_SECONDS)


async def look(database: Database, caller: Caller, generation: Generation) -> Generation:
    """The row as it is now; as it was last seen while the database is away. Raises Gone: its owner has deleted it."""
    try:
        async with database.statement() as connection:
            seen = await records.get(connection, caller.user_id, generation.id)
    except Exception as error:
        if not is_transient(error):
            raise
        return generation
    if seen is None:
        raise Gone("It was deleted while it was looked at.")
    return seen


def _offer(queue: Heard, item: Progress | Told) -> None:
    """A slow reader loses progress, never the end: the row is looked at when the queue is silent."""
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(item)


def event(name: str, data: str, event_id: str | None = None) -> bytes:
    """One event as it stands in the stream."""
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {name}\ndata: {data}\n\n".encode()
