"""Providers' callbacks: `POST /callbacks/<token>` says that a task has moved, and is never believed.

The token is derived from the attempt's id with a key that all processes share, so nobody but the provider can know it.
Where the provider signs, the address names it (`/callbacks/<provider>/<token>`), and only what it signed is heard. What
is said is not even read: the task is looked at instead. Whichever process is called tells the others.
"""

import asyncio
import contextlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
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
from generator.providers.interface import Provider, SigningProvider, Unavailable
from runtime.broker import connected

PATH = "/callbacks/"
MAX_BODY_BYTES = 1 << 20
"""Of what is signed; what is not signed is not read."""
BODY_SECONDS = 10.0
_ID_LENGTH, _TOKEN_LENGTH = 32, 64

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = structlog.get_logger()


class Callbacks:
    """Where providers may call, and who is told."""

    def __init__(
        self,
        catalog: Catalog,
        follower: Follower,
        broker: NatsBroker,
        providers: Mapping[str, Provider],
        public_url: str | None,
    ) -> None:
        self._providers = providers
        self._catalog = catalog
        self._follower = follower
        self._broker = broker
        self._public_url = public_url.rstrip("/") if public_url else None

    def url(self, attempt_id: UUID, signer: str | None = None) -> str | None:
        """Where a provider may say that the task of this attempt has moved; `signer` is who signs what is said."""
        place = f"{signer}/" if signer is not None else ""
        return f"{self._public_url}{PATH}{place}{self._token(attempt_id, signer)}" if self._public_url else None

    async def start(self) -> None:
        """Listens to what other processes were told."""

        async def hinted(message: Msg) -> None:
            with contextlib.suppress(ValueError):
                self._follower.hint(UUID(message.subject.rpartition(".")[2]))

        await self._broker.connection.subscribe(HINTS, cb=hinted)

    async def called(self, path: str, headers: Mapping[str, str], read: Callable[[], Awaitable[bytes]]) -> int:
        """The status to answer with. 200: the address is one of ours, and signed where it has to be; its task is looked
        at, wherever it is followed."""
        place, _, token = path.rpartition("/")
        signer = place or None
        try:
            attempt_id = UUID(token[:_ID_LENGTH])
        except ValueError:
            return 404
        wanted = self._token(attempt_id, signer)
        if len(token) != _TOKEN_LENGTH or not hmac.compare_digest(wanted.encode(), token.encode()):
            return 404
        if signer is not None:
            status = await self._check(signer, headers, read)
            if status != 200:
                log.warning("callback.refused", attempt_id=str(attempt_id), provider=signer, status=status)
                return status
        self._follower.hint(attempt_id)
        if connected(self._broker):
            with contextlib.suppress(NatsError, OSError):
                await self._broker.connection.publish(hint_subject(attempt_id), b"")
        return 200

    async def _check(self, signer: str, headers: Mapping[str, str], read: Callable[[], Awaitable[bytes]]) -> int:
        """200 where the provider signed what is said, 401 where it did not, 503 where that cannot be told just now."""
        provider = self._providers.get(signer)
        if not isinstance(provider, SigningProvider):
            return 503
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await read()
            return 200 if await provider.is_signed(headers, body) else 401
        except TooLarge:
            return 413
        except (Unavailable, TimeoutError):
            return 503

    def before(self, app: App) -> App:
        """The application, with the callbacks in front of it."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or not scope["path"].startswith(PATH):
                await app(scope, receive, send)
                return
            status = 404
            if scope["method"] == "POST":
                given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
                status = await self.called(scope["path"].removeprefix(PATH), given, partial(_body, receive))
            headers = [(b"content-length", b"0")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

        return serve

    def _token(self, attempt_id: UUID, signer: str | None) -> str:
        """Of one place alone: what is signed cannot be said where it need not be."""
        about = attempt_id.bytes + (signer or "").encode()
        signed = hmac.new(self._catalog.callback_key, about, sha256).hexdigest()
        return attempt_id.hex + signed[: _TOKEN_LENGTH - _ID_LENGTH]


class TooLarge(Exception):
    """More than any provider says."""


async def _body(receive: Receive) -> bytes:
    """Raises TooLarge."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge
        if not message.get("more_body", False):
            return bytes(body)
