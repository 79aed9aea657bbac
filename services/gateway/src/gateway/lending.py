"""The bytes of stored media, for the answers that hold them: storage lends them into the claims bucket (NATS Object
Store, ADR-20), and they are read from there a chunk at a time, without a consumer.
"""

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from pydantic import ValidationError

from contracts.keeping import Lend, Lent
from contracts.model import Frozen
from contracts.questions import STORAGE_LEND
from contracts.topology import CLAIMS_BUCKET
from gateway.questions import ask
from gateway.refusals import FileTooLarge, NotFound, NotRead, Unavailable

LEND_SECONDS = 30.0
"""Storage reads its store and writes to the bus, and may have to make a variant first."""
READ_SECONDS = 5.0
_STREAM = f"OBJ_{CLAIMS_BUCKET}"


class _About(Frozen):
    """What the bucket says about an object."""

    nuid: str
    size: int = 0
    chunks: int = 0
    digest: str
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Borrowed:
    """Bytes that are about to be read."""

    mime_type: str
    size_bytes: int
    chunks: AsyncIterator[bytes]
    """Raises NotRead where they cannot be read to their end, or are not what storage put there."""


class Lending:
    """What may be borrowed."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker

    async def borrow(self, user_id: UUID, asset_id: UUID, max_bytes: int, variant: str | None = None) -> Borrowed:
        """A user's asset.

        Raises:
            NotFound: it is not there (any more). FileTooLarge: it has more bytes than that.
            NotRead: storage or the bus is away.
        """
        question = Lend(user_id=user_id, asset_id=asset_id, variant=variant, max_bytes=max_bytes)
        try:
            lent = await ask(self._broker, STORAGE_LEND, question, Lent, LEND_SECONDS, "nothing was lent")
            if lent.claim is None or lent.mime_type is None:
                raise _refusal(lent)
            about = await self._about(lent.claim)
        except (Unavailable, NatsError, OSError, ValidationError) as error:
            raise _not_read() from error
        if about.size > max_bytes:
            raise FileTooLarge(f"The file has more than {max_bytes} bytes.")
        return Borrowed(lent.mime_type, about.size, self._chunks(about))

    async def _about(self, claim: str) -> _About:
        stream = self._broker.connection.jetstream(timeout=READ_SECONDS)
        name = base64.urlsafe_b64encode(claim.encode()).decode()
        message = await stream.get_last_msg(_STREAM, f"$O.{CLAIMS_BUCKET}.M.{name}", direct=True)
        about = _About.model_validate_json(message.data or b"{}")
        if about.deleted:
            raise NotFoundError
        return about

    async def _chunks(self, about: _About) -> AsyncIterator[bytes]:
        stream = self._broker.connection.jetstream(timeout=READ_SECONDS)
        subject, sequence, digest = f"$O.{CLAIMS_BUCKET}.C.{about.nuid}", 1, sha256()
        try:
            for _ in range(about.chunks):
                chunk = await stream.get_msg(_STREAM, sequence, subject, direct=True, next=True)
                sequence = (chunk.seq or 0) + 1
                digest.update(chunk.data or b"")
                yield chunk.data or b""
        except (NatsError, OSError) as error:
            raise _not_read() from error
        if base64.urlsafe_b64decode(about.digest.partition("=")[2] + "==") != digest.digest():
            raise _not_read()


def _refusal(lent: Lent) -> NotFound | FileTooLarge | NotRead:
    failure = lent.failure
    if failure is not None and failure.code == "input_not_found":
        return NotFound("There is no such file any more.")
    if failure is not None and failure.code == "too_large":
        return FileTooLarge("The file is too large to be answered here.")
    return _not_read()


def _not_read() -> NotRead:
    return NotRead("It is made and stored, but cannot be read right now; look again in a moment.")
