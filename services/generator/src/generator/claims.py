"""Bytes in the claims bucket (NATS Object Store, ADR-20), which forgets them after a day: results on their way to
storage, and what a generation starts from. Reading makes no consumer."""

import base64
from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

from faststream.nats import NatsBroker
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from nats.js.object_store import ObjectStore
from pydantic import ValidationError

from contracts.facts import Input
from contracts.model import Frozen
from contracts.topology import CLAIMS_BUCKET
from generator.lending import borrow
from generator.providers.interface import Given, Invalid

MAX_GIVEN_BYTES = 32 * 1024 * 1024
"""All that one generation starts from, as bytes."""
READ_TIMEOUT_SECONDS = 5.0
_STREAM = f"OBJ_{CLAIMS_BUCKET}"


class _About(Frozen):
    """What the bucket says about an object."""

    nuid: str
    size: int = 0
    chunks: int = 0
    digest: str
    deleted: bool = False


class Claims:
    """The bucket; looked for when first needed, as somebody else makes it."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker
        self._bucket: ObjectStore | None = None

    async def put(self, name: str, content: bytes) -> None:
        """Stores the bytes under a name; the same name again replaces them.

        Raises:
            nats.errors.Error, TimeoutError: not known whether they are stored; putting them again is harmless.
        """
        if self._bucket is None:
            self._bucket = await self._broker.connection.jetstream().object_store(CLAIMS_BUCKET)
        await self._bucket.put(name, content)

    async def given(self, user_id: UUID, inputs: Sequence[Input]) -> tuple[Given, ...]:
        """What a user's generation starts from, with the bytes of what is claimed or kept by storage.

        Raises:
            Invalid: one of them is not there any more, is damaged, or they are too large.
            OSError, nats.errors.Error, TimeoutError: the bucket or storage is away.
        """
        found = []
        room = MAX_GIVEN_BYTES
        for wanted in inputs:
            each = wanted if wanted.asset_id is None else await borrow(self._broker, user_id, wanted, room)
            content = await self._get(each.claim, room) if each.claim is not None else None
            room -= len(content or b"")
            found.append(Given(each.role, each.url, content, each.mime_type))
        return tuple(found)

    async def _get(self, name: str, max_bytes: int) -> bytes:
        stream = self._broker.connection.jetstream(timeout=READ_TIMEOUT_SECONDS)
        try:
            about = await _about(stream, name)
            if about.size > max_bytes:
                raise Invalid(f"What this starts from is larger than {MAX_GIVEN_BYTES} bytes.")
            content = await _chunks(stream, about, max_bytes)
        except NotFoundError:
            raise Invalid("What this starts from is not there any more.") from None
        except ValidationError:
            raise Invalid("What this starts from is damaged.") from None
        if base64.urlsafe_b64decode(about.digest.partition("=")[2] + "==") != sha256(content).digest():
            raise Invalid("What this starts from is damaged.")
        return content


async def _about(stream: JetStreamContext, name: str) -> _About:
    encoded = base64.urlsafe_b64encode(name.encode()).decode()
    message = await stream.get_last_msg(_STREAM, f"$O.{CLAIMS_BUCKET}.M.{encoded}", direct=True)
    about = _About.model_validate_json(message.data or b"{}")
    if about.deleted:
        raise NotFoundError
    return about


async def _chunks(stream: JetStreamContext, about: _About, max_bytes: int) -> bytes:
    content = bytearray()
    sequence = 1
    for _ in range(about.chunks):
        chunk = await stream.get_msg(_STREAM, sequence, f"$O.{CLAIMS_BUCKET}.C.{about.nuid}", direct=True, next=True)
        sequence = (chunk.seq or 0) + 1
        content += chunk.data or b""
        if len(content) > max_bytes:
            raise Invalid(f"What this starts from is larger than {MAX_GIVEN_BYTES} bytes.")
    return bytes(content)
