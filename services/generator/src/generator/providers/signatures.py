"""How vendors sign what they post to us: fal by Ed25519, others by Standard Webhooks (HMAC-SHA256).

A signature is of these bytes and of now, five minutes both ways.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TOLERANCE_SECONDS = 300.0
KEYS_SECONDS = 3600.0
"""How long a vendor's keys are believed without looking again."""
LOOK_AGAIN_SECONDS = 60.0
"""How soon they are looked for anew after a signature that none of them made: they may have changed."""
LEAST_SECRET_BYTES = 16
SECRET_PREFIX = "whsec_"  # noqa: S105

Headers = Mapping[str, str]
"""Their names in lower case."""
Verify = Callable[[Sequence[bytes], Headers, bytes], bool]


class Keys:
    """A vendor's keys, as last read."""

    def __init__(self, read: Callable[[], Awaitable[Sequence[bytes]]], verify: Verify) -> None:
        self._read = read
        self._verify = verify
        self._keys: Sequence[bytes] = ()
        self._read_at = float("-inf")

    async def made(self, headers: Headers, body: bytes) -> bool:
        """Whether the vendor signed this body. Raises Unavailable: its keys cannot be read just now."""
        if time.monotonic() - self._read_at > KEYS_SECONDS:
            await self._refresh()
        if self._verify(self._keys, headers, body):
            return True
        if time.monotonic() - self._read_at <= LOOK_AGAIN_SECONDS:
            return False
        await self._refresh()
        return self._verify(self._keys, headers, body)

    async def _refresh(self) -> None:
        self._keys = await self._read()
        self._read_at = time.monotonic()


def is_of_standard_webhooks(secrets: Sequence[bytes], headers: Headers, body: bytes) -> bool:
    """By `webhook-id`, `webhook-timestamp` and `webhook-signature`; any of several signatures and secrets will do."""
    name, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not name or not _is_of_now(moment):
        return False
    message = b".".join((name.encode(), moment.encode(), body))
    wanted = [base64.b64encode(hmac.digest(secret, message, "sha256")) for secret in secrets]
    given = [each.removeprefix("v1,").encode() for each in headers.get("webhook-signature", "").split()]
    return any(hmac.compare_digest(one, other) for one in wanted for other in given)


def is_of_fal(keys: Sequence[bytes], headers: Headers, body: bytes) -> bool:
    """By the headers `x-fal-webhook-*`, whose signature is in hexadecimal."""
    parts = [headers.get(f"x-fal-webhook-{name}", "") for name in ("request-id", "user-id", "timestamp")]
    if not all(parts) or not _is_of_now(parts[2]):
        return False
    message = "\n".join((*parts, hashlib.sha256(body).hexdigest())).encode()
    try:
        signature = binascii.unhexlify(headers.get("x-fal-webhook-signature", ""))
    except (binascii.Error, ValueError):
        return False
    return any(_made(key, signature, message) for key in keys)


def secret_of(written: str) -> bytes:
    """The secret's bytes. Raises ValueError, also for one that anybody could guess."""
    secret = base64.b64decode(written.removeprefix(SECRET_PREFIX), validate=True)
    if len(secret) < LEAST_SECRET_BYTES:
        raise ValueError("the secret is too short")
    return secret


def key_of(x: str) -> bytes:
    """A JWK's `x`. Raises ValueError."""
    return base64.urlsafe_b64decode(x + "=" * (-len(x) % 4))


def _made(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _is_of_now(moment: str) -> bool:
    """Whole seconds since 1970."""
    return moment.isascii() and moment.isdecimal() and abs(time.time() - int(moment[:20])) <= TOLERANCE_SECONDS
