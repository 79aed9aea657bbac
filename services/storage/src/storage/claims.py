"""Reading what another service left in the claims bucket (NATS Object Store, ADR-20), without creating a consumer."""

import base64
from collections.abc import AsyncIterator
from hashlib import sha256

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


async def _about(stream: JetStreamContext, name: str) -> _About:
    encoded = base64.urlsafe_b64encode(name.encode()).decode()
    message = await stream.get_last_msg(_STREAM, f"$O.{CLAIMS_BUCKET}.M.{encoded}", direct=True)
    about = _About.model_validate_json(message.data or b"{}")
    if about.deleted:
        raise NotFoundError
    return about
