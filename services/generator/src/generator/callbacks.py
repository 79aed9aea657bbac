"""Providers' callbacks: `POST /callbacks/<token>` says that a task has moved, and is never believed.

The token is derived from the attempt's id with a key that all processes share, so nobody but the provider can know it.
What is said is not even read: the task is looked at instead. Whichever process is called tells the others.
"""

import contextlib
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from hashlib import sha256
from typing import Any
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from contracts.topology import HINTS, hint_subject
from generator.catalog import Catalog
from generator.follow import Follower
from runtime.broker import connected

PATH = "/callbacks/"
_ID_LENGTH, _TOKEN_LENGTH = 32, 64

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = structlog.get_logger()


class Callbacks:
    """Where providers may call, and who is told."""

    def __init__(self, catalog: Catalog, follower: Follower, broker: NatsBroker, public_url: str | None) -> None:
        self._catalog = catalog
        self._follower = follower
        self._broker = broker
        self._public_url = public_url.rstrip("/") if public_url else None

    def url(self, attempt_id: UUID) -> str | None:
        """Where a provider may say that the task of this attempt has moved."""
        return f"{self._public_url}{PATH}{self._token(attempt_id)}" if self._public_url else None

    async def start(self) -> None:
        """Listens to what other processes were told."""

        async def hinted(message: Msg) -> None:
            with contextlib.suppress(ValueError):
                self._follower.hint(UUID(message.subject.rpartition(".")[2]))

        await self._broker.connection.subscribe(HINTS, cb=hinted)

    async def called(self, token: str) -> bool:
        """Whether the token is one of ours; its task is looked at, wherever it is followed."""
        try:
            attempt_id = UUID(token[:_ID_LENGTH])
        except ValueError:
            return False
        if len(token) != _TOKEN_LENGTH or not hmac.compare_digest(self._token(attempt_id).encode(), token.encode()):
            return False
        await self.hint(attempt_id)
        return True

    async def hint(self, attempt_id: UUID) -> None:
        """Has the task of an attempt looked at, wherever it is followed."""
        self._follower.hint(attempt_id)
        if connected(self._broker):
            with contextlib.suppress(NatsError, OSError):
                await self._broker.connection.publish(hint_subject(attempt_id), b"")

    def before(self, app: App) -> App:
        """The application, with the callbacks in front of it."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or not scope["path"].startswith(PATH):
                await app(scope, receive, send)
                return
            ours = scope["method"] == "POST" and await self.called(scope["path"].removeprefix(PATH))
            headers = [(b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 200 if ours else 404, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

        return serve

    def _token(self, attempt_id: UUID) -> str:
        signed = hmac.new(self._catalog.callback_key, attempt_id.bytes, sha256).hexdigest()
        return attempt_id.hex + signed[: _TOKEN_LENGTH - _ID_LENGTH]
