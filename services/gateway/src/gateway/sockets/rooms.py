"""Rooms across replicas: what is said to a room here is repeated on the bus, for the sockets of that user elsewhere.

Every room belongs to one user, and a process listens only for the users that it has sockets of.
"""

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import structlog
from engineio.packet import MESSAGE, Packet
from faststream.nats import NatsBroker
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from socketio.async_manager import AsyncManager
from socketio.packet import EVENT

from contracts.topology import changed_subject, live_subject
from gateway.dialects.callers import uuid_of
from runtime.broker import connected

MAX_REPEATED_BYTES = 7 << 20
"""Below what the bus carries in one message."""
MAX_QUEUED_PACKETS = 1000
"""For one socket."""
_USER, _SESSION = "user", "session"
_SEPARATOR = "\n"
"""Which neither a room nor JSON has in it."""

Changed = Callable[[UUID, bytes], Awaitable[None]]
log = structlog.get_logger()


def user_room(user_id: UUID) -> str:
    return f"{_USER}:{user_id}"


def session_room(user_id: UUID, name: str) -> str:
    """Two users' sessions of one name are two rooms."""
    return f"{_SESSION}:{user_id}:{name}"


def owner_of(room: Any) -> UUID | None:
    """Whose a room is; None for the room of a single socket."""
    kind, _, rest = str(room).partition(":")
    return uuid_of(rest.partition(":")[0]) if kind in {_USER, _SESSION} else None


class Rooms(AsyncManager):  # type: ignore[misc]
    """A client manager of Socket.IO's over core NATS: at most once, as Socket.IO itself."""

    def __init__(self, broker: NatsBroker, changed: Changed) -> None:
        super().__init__()
        self._broker = broker
        self._changed = changed
        """What is done about a user whose balance changed."""
        self._origin = uuid4().hex
        self._sockets: Counter[UUID] = Counter()
        self._heard: dict[UUID, list[Subscription]] = {}

    def count(self, user_id: UUID) -> int:
        """How many sockets of a user are here."""
        return self._sockets[user_id]

    @property
    def total(self) -> int:
        return self._sockets.total()

    async def welcome(self, user_id: UUID) -> None:
        """One more socket of a user is here."""
        self._sockets[user_id] += 1
        await self._listen(user_id)

    async def part(self, user_id: UUID) -> None:
        """One less."""
        self._sockets[user_id] -= 1
        if self._sockets[user_id] <= 0:
            del self._sockets[user_id]
            for subscription in self._heard.pop(user_id, ()):
                with contextlib.suppress(NatsError, OSError):
                    await subscription.unsubscribe()

    async def joined_bus(self) -> None:
        """Listens for those who were here before the bus was."""
        for user_id in list(self._sockets):
            await self._listen(user_id)

    async def emit(
        self, event: str, data: Any, namespace: str, room: Any = None, skip_sid: str | None = None, **options: Any
    ) -> None:
        """Says it here, and elsewhere unless `ignore_queue` says that everybody else heard it, too.

        It is encoded once, for every socket anywhere; nothing in it may be bytes.
        """
        room = options.get("to") or room
        packet = self.server.packet_class(EVENT, namespace=namespace, data=[event, data]).encode()
        await self._deliver(packet, namespace, room, skip_sid)
        owner = owner_of(room)
        if not options.get("ignore_queue") and owner is not None and connected(self._broker):
            said = _SEPARATOR.join((self._origin, namespace, room, skip_sid or "", packet)).encode()
            if len(said) > MAX_REPEATED_BYTES:
                log.warning("live.not_repeated", event_name=event, size_bytes=len(said))
                return
            with contextlib.suppress(NatsError, OSError):
                await self._broker.connection.publish(live_subject(owner), said)

    async def _deliver(self, packet: str, namespace: str, room: Any, skipped: str | None) -> None:
        """Puts it into the queue of every socket in the room: nobody is waited for.

        Who reads no faster than that is closed, comes back, and reads what it missed.
        """
        told = Packet(MESSAGE, packet)
        for socket, connection in list(self.get_participants(namespace, room)):
            known = self.server.eio.sockets.get(connection)
            if socket == skipped or known is None or known.closed:
                continue
            if known.queue.qsize() >= MAX_QUEUED_PACKETS:
                log.warning("socket.too_slow", queued=known.queue.qsize())
                await known.close(wait=False, abort=True)
                continue
            known.queue.put_nowait(told)

    async def _listen(self, user_id: UUID) -> None:
        if user_id in self._heard or not connected(self._broker):
            return
        self._heard[user_id] = []

        async def changed(message: Msg) -> None:
            await self._changed(user_id, message.data)

        said = partial(self._arrived, user_room(user_id), session_room(user_id, ""))
        for subject, arrived in ((live_subject(user_id), said), (changed_subject(user_id), changed)):
            try:
                subscription = await self._broker.connection.subscribe(subject, cb=arrived)
            except (NatsError, OSError) as error:
                log.warning("live.not_heard", error=type(error).__name__)
                self._heard.pop(user_id, None)
                return
            self._heard.setdefault(user_id, []).append(subscription)

    async def _arrived(self, user: str, sessions: str, message: Msg) -> None:
        """Takes what was said elsewhere to the rooms of one user: nobody says to others' what arrives for them."""
        try:
            origin, namespace, room, skipped, packet = message.data.decode().split(_SEPARATOR, 4)
        except ValueError:
            return
        if origin != self._origin and (room == user or room.startswith(sessions)):
            await self._deliver(packet, namespace, room, skipped)
