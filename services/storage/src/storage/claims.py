"""The claims bucket (NATS Object Store, ADR-20): what others left is read without a consumer, what is lent put there.

Of two that put one name both are whole, so that nothing is taken away from whoever reads.
"""

import base64
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from uuid import uuid4

from faststream.nats import NatsBroker
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from pydantic import ValidationError

from contracts.model import Frozen
from contracts.topology import CLAIMS_BUCKET
from runtime.outbound import Refused

TIMEOUT_SECONDS = 5.0
_STREAM = f"OBJ_{CLAIMS_BUCKET}"


class _About(Frozen):
    """What the bucket says about an object."""

    nuid: str
    size: int = 0
    chunks: int = 0
    digest: str
    deleted: bool = False


class Claims:
    """The claims bucket."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker

    async def chunks(self, name: str, max_bytes: int) -> AsyncIterator[bytes]:
        """The bytes of a claim.

        Raises:
            Refused: it is not there (any more), is too large or damaged.
            nats.errors.Error, TimeoutError: the broker or the bucket is away.
        """
        stream = self._broker.connection.jetstream(timeout=TIMEOUT_SECONDS)
        try:
            about = await _about(stream, name)
            if about.size > max_bytes:
                raise Refused(f"the claim is larger than {max_bytes} bytes")
            digest = sha256()
            sequence = 1
            subject = f"$O.{CLAIMS_BUCKET}.C.{about.nuid}"
            for _ in range(about.chunks):
                chunk = await stream.get_msg(_STREAM, sequence, subject, direct=True, next=True)
                sequence = (chunk.seq or 0) + 1
                digest.update(chunk.data or b"")
                yield chunk.data or b""
        except NotFoundError:
            raise Refused("the claim has expired") from None
        except ValidationError:
            raise Refused("the claim is damaged") from None
        if base64.urlsafe_b64decode(about.digest.partition("=")[2] + "==") != digest.digest():
            raise Refused("the claim is damaged")

    async def has(self, name: str) -> bool:
        """Raises nats.errors.Error, TimeoutError: the broker or the bucket is away."""
        try:
            await _about(self._broker.connection.jetstream(timeout=TIMEOUT_SECONDS), name)
        except (NotFoundError, ValidationError):
            return False
        return True

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """The chunks of what had the name before stay until they expire.

        Raises:
            nats.errors.Error, TimeoutError: the broker or the bucket is away; nothing has the name.
        """
        stream = self._broker.connection.jetstream(timeout=TIMEOUT_SECONDS)
        nuid, digest, size, count = uuid4().hex, sha256(), 0, 0
        async for chunk in chunks:
            await stream.publish(f"$O.{CLAIMS_BUCKET}.C.{nuid}", chunk)
            digest.update(chunk)
            size += len(chunk)
            count += 1
        about = {"name": name, "bucket": CLAIMS_BUCKET, "nuid": nuid, "size": size, "chunks": count}
        about["digest"] = f"SHA-256={base64.urlsafe_b64encode(digest.digest()).decode()}"
        await stream.publish(_named(name), json.dumps(about).encode(), headers={"Nats-Rollup": "sub"})


async def _about(stream: JetStreamContext, name: str) -> _About:
    message = await stream.get_last_msg(_STREAM, _named(name), direct=True)
    about = _About.model_validate_json(message.data or b"{}")
    if about.deleted:
        raise NotFoundError
    return about


def _named(name: str) -> str:
    """The subject that says what has this name."""
    return f"$O.{CLAIMS_BUCKET}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
