"""The Socket.IO server: it lets in whoever has a token, and tells users of every dialect what became of their work.

What is sent is let in as a request is, each time; and whoever is silent stays while the token is good.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

import jwt
import socketio
import structlog
from faststream.nats import NatsBroker
from pydantic import ValidationError
from socketio.exceptions import ConnectionRefusedError as Refused
from starlette.requests import Request

from contracts.facts import Changed
from contracts.money import UNITS_PER_CREDIT
from gateway.dialects.callers import caller as caller_of
from gateway.dialects.callers import uuid_of
from gateway.identity import Caller, Identity
from gateway.live import Hub, Told
from gateway.missed import missed
from gateway.refusals import Refusal, TooManyRequests, Unauthenticated, Unavailable
from gateway.sockets.doorway import NAMESPACE, Doorway
from gateway.sockets.following import Following
from gateway.sockets.rooms import Rooms, user_room
from gateway.streaming import ASK_AGAIN_SECONDS
from runtime.database import Database
from runtime.health import is_transient

MAX_FRAME_BYTES = 5 << 20
MAX_SOCKETS = 5000
MAX_SOCKETS_OF_USER = 100
MAX_EVENTS_PER_MINUTE = 1200
"""That one socket may send."""
MAX_TOLD_WAITING = 10_000
PING_SECONDS = 25
RETRY_SECONDS = 5
_MONEY = Decimal("0.0001")

Handler = Callable[[Caller, str, dict[str, Any]], Awaitable[Any]]
log = structlog.get_logger()


@dataclass(slots=True)
class _Member:
    """Whose a socket is, and by which request it was let in."""

    caller: Caller
    request: Request
    expires_at: float
    """When its token ends; infinite for one that says nothing of it."""
    timer: asyncio.TimerHandle | None = None
    """When it is asked about again."""


class Sockets:
    """All the sockets of this process."""

    def __init__(
        self, identity: Identity, hub: Hub, database: Database, broker: NatsBroker, credit_price: Decimal
    ) -> None:
        self._identity = identity
        self._broker = broker
        self._credit_price = credit_price
        self.rooms = Rooms(broker, self._changed)
        self._following = Following(database, broker, self._moved)
        self._server = Doorway(
            async_mode="asgi",
            client_manager=self.rooms,
            cors_allowed_origins=[],  # what surrounds the routes answers for that
            max_http_buffer_size=MAX_FRAME_BYTES,
            ping_interval=PING_SECONDS,
        )
        self.application = socketio.ASGIApp(self._server)
        self._members: dict[str, _Member] = {}
        self._sent: dict[str, tuple[float, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._catching_up = hub.catching_up
        hub.told.append(self._tell)
        self._server.on("connect", self._connect)
        self._server.on("disconnect", self._disconnect)
        self.on("ping", self._pong, "GET")
        self.on("resync", self._resync, "GET")

    def on(self, event: str, handle: Handler, method: str = "POST") -> None:
        """Handles an event of clients' with a body that is an object; it is let in as a request of that method is. A
        refusal is said to whoever sent it."""

        async def arrived(socket: str, body: Any = None, *_: Any) -> Any:
            member = self._members.get(socket)
            if member is None:
                return None
            try:
                self._admit(socket)
                caller = await self._sender(member, method)
                return await handle(caller, socket, body if isinstance(body, dict) else {})
            except Refusal as refusal:
                if isinstance(refusal, Unauthenticated):
                    self.begin(self._send_away(socket, refusal))
                answer = {"message": refusal.message, "code": refusal.code.upper(), "event": event, **refusal.details}
            except Exception as error:
                log.error("socket.event_failed", event_name=event, exc_info=error)
                answer = {"message": "Something went wrong on our side.", "code": "INTERNAL_ERROR", "event": event}
            await self._server.emit("chat_error", answer, to=socket)
            return None

        self._server.on(event, arrived)

    async def say(self, event: str, data: dict[str, Any], room: str, *, but: str | None = None) -> None:
        """Says something to a room, here and on every replica; `but` is the socket that knows it."""
        await self._server.emit(event, data, room=room, skip_sid=but)

    async def enter(self, socket: str, room: str) -> None:
        await self._server.enter_room(socket, room)

    async def leave(self, socket: str, room: str) -> None:
        await self._server.leave_room(socket, room)

    async def answer(self, socket: str, event: str, data: dict[str, Any]) -> None:
        """Says something to one socket."""
        await self._server.emit(event, data, to=socket)

    async def stop(self) -> None:
        """Closes every connection, so that the process can end; clients come back elsewhere."""
        for member in self._members.values():
            if member.timer is not None:
                member.timer.cancel()
        self._following.stop()
        for task in list(self._tasks):
            task.cancel()
        with contextlib.suppress(Exception):
            await self._server.shutdown()

    async def _connect(self, socket: str, environ: dict[str, Any], auth: Any = None) -> None:
        token = _token_of(environ, auth)
        request = _request(environ, token)
        try:
            caller = await caller_of(self._identity, request)
            if self.rooms.total >= MAX_SOCKETS or self.rooms.count(caller.user_id) >= MAX_SOCKETS_OF_USER:
                raise TooManyRequests("Too many sockets are open.", RETRY_SECONDS)
        except Refusal as refusal:
            raise Refused(refusal.message, {"code": refusal.code, "status": refusal.status}) from refusal
        member = self._members[socket] = _Member(caller, request, _expiry_of(token))
        await self.rooms.welcome(caller.user_id)
        await self._server.enter_room(socket, user_room(caller.user_id))
        self._ask_later(socket, member)
        self.begin(self._greet(socket, caller))

    async def _disconnect(self, socket: str, *_: Any) -> None:
        self._sent.pop(socket, None)
        if (member := self._members.pop(socket, None)) is not None:
            if member.timer is not None:
                member.timer.cancel()
            user_id = member.caller.user_id
            await self.rooms.part(user_id)
            if not self.rooms.count(user_id):
                self._following.leave(user_id)

    async def _sender(self, member: _Member, method: str) -> Caller:
        """Who sends an event: the token may have ended since the socket was let in, the key may be for reading alone,
        and each event is one more that it asks.

        Raises:
            Unauthenticated, ScopeMissing, TooManyRequests: as of a request.
            Unavailable: nobody can say now.
        """
        try:
            return await caller_of(self._identity, Request({**member.request.scope, "method": method, "state": {}}))
        except Exception as error:
            if not is_transient(error):
                raise
            raise Unavailable("Who asks cannot be looked up right now.") from error

    def _ask_later(self, socket: str, member: _Member) -> None:
        """Of a silent socket as well, so that it ends when its token does, and soon after its key was revoked."""
        if socket in self._members:
            seconds = min(ASK_AGAIN_SECONDS, max(0.0, member.expires_at - time.time()))
            member.timer = asyncio.get_running_loop().call_later(
                seconds, lambda: self.begin(self._ask_again(socket, member))
            )

    async def _ask_again(self, socket: str, member: _Member) -> None:
        try:
            if time.time() >= member.expires_at:
                raise Unauthenticated("The token has expired.")
            await self._identity.still(member.request)
        except Unauthenticated as refusal:
            await self._send_away(socket, refusal)
        else:
            self._ask_later(socket, member)

    async def _send_away(self, socket: str, refusal: Unauthenticated) -> None:
        await self._server.emit("error", {"message": refusal.message, "code": refusal.code.upper()}, to=socket)
        await self._server.disconnect(socket)

    async def _greet(self, socket: str, caller: Caller) -> None:
        # The library lets it in once this handler's caller goes on, and tells nobody.
        while socket in self._members and not self.rooms.is_connected(socket, NAMESPACE):  # noqa: ASYNC110
            await asyncio.sleep(0)
        await self._server.emit("connected", {"status": "connected", "user_id": str(caller.user_id)}, to=socket)
        if socket in self._members:
            self._following.look(caller.user_id)

    async def _pong(self, _: Caller, socket: str, body: dict[str, Any]) -> None:
        await self._server.emit("pong", body, to=socket)

    async def _resync(self, caller: Caller, socket: str, body: dict[str, Any]) -> dict[str, Any]:
        """What was missed after `sequence` is said again; `reset` where it cannot be."""
        try:
            async with self._catching_up:
                found = await missed(self._broker, caller.user_id, body.get("sequence"))
        except Unavailable:
            found = None
        for sequence, notice in found or ():
            await self._server.emit(
                "generation_updated", _updated(sequence, notice.generation_id, notice.status, notice.dialect), to=socket
            )
        return {"reset": found is None, "count": len(found or ())}

    def _tell(self, told: Told) -> None:
        """Every replica hears every notification: each tells its own sockets."""
        if not self._members:
            return
        generation_id, user_id = uuid_of(told.notice["generation_id"]), uuid_of(told.notice["user_id"])
        if generation_id is None or user_id is None:
            return
        self._following.end(user_id, generation_id)
        if self.rooms.count(user_id) and len(self._tasks) < MAX_TOLD_WAITING:
            body = _updated(told.event_id, generation_id, told.notice["status"], told.notice["dialect"])
            self.begin(self._here("generation_updated", body, user_room(user_id)))

    async def _changed(self, user_id: UUID, fact: bytes) -> None:
        try:
            change = Changed.decode(fact).data
        except ValidationError:
            return
        if self.rooms.count(user_id):
            self._following.look(user_id)
        money = {"new_balance": self._money(change.available), "change": self._money(change.change)}
        await self._here("balance_updated", money, user_room(user_id))

    async def _moved(self, user_id: UUID, body: dict[str, Any]) -> None:
        await self._here("generation_updated", body, user_room(user_id))

    async def _here(self, event: str, data: dict[str, Any], room: str) -> None:
        await self.rooms.emit(event, data, NAMESPACE, room=room, ignore_queue=True)

    def _money(self, units: int) -> float:
        return float((units * self._credit_price / UNITS_PER_CREDIT).quantize(_MONEY, ROUND_HALF_UP))

    def _admit(self, socket: str) -> None:
        now = time.monotonic()
        left, at = self._sent.get(socket, (float(MAX_EVENTS_PER_MINUTE), now))
        left = min(MAX_EVENTS_PER_MINUTE, left + (now - at) * MAX_EVENTS_PER_MINUTE / 60)
        if left < 1:
            raise TooManyRequests("Too many events.", math.ceil(60 / MAX_EVENTS_PER_MINUTE))
        self._sent[socket] = (left - 1, now)

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Does something beside; it ends with the process."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _updated(sequence: str, generation_id: UUID, status: str, dialect: str) -> dict[str, Any]:
    return {
        "id": str(generation_id),
        "status": status,
        "progress": 100,
        "dialect": dialect,
        "sequence": sequence,
    }


def _token_of(environ: dict[str, Any], auth: Any) -> str | None:
    """The token of Socket.IO's `auth`, else of the Authorization header; an empty one is none."""
    given = auth.get("token") if isinstance(auth, dict) else None
    if isinstance(given, str) and given:
        return given.removeprefix("Bearer ")
    scheme, _, token = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    return token if scheme.lower() == "bearer" and token else None


def _request(environ: dict[str, Any], token: str | None) -> Request:
    """The connection's first request, as one who asks over HTTP would have sent it."""
    headers = [pair for pair in environ["asgi.scope"]["headers"] if pair[0].lower() != b"authorization"]
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode("latin-1", "replace")))
    return Request({**environ["asgi.scope"], "type": "http", "method": "GET", "headers": headers, "state": {}})


def _expiry_of(token: str | None) -> float:
    """When a token that was believed ends; never, where it says nothing of it."""
    if token is None:
        return math.inf
    try:
        expires_at = jwt.decode(token, options={"verify_signature": False}).get("exp")
    except jwt.PyJWTError:
        return math.inf
    return float(expires_at) if isinstance(expires_at, int | float) else math.inf
