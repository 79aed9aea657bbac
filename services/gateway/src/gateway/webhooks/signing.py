"""Secrets and signatures of Standard Webhooks 1.0, and those of the APIs that have others.

No secret is stored: each is derived from the operator's key, and what it is for. A webhook's own is derived from its id
and a number that rotation raises.
"""

import base64
import hmac
from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

PREFIX = "whsec_"


def secret_of(key: SecretStr, webhook_id: UUID, version: int) -> str:
    """As its owner is shown it: `whsec_` and 32 bytes in base64."""
    return _shown(_bytes_of(key, webhook_id, version))


def signatures(key: SecretStr, webhook_id: UUID, versions: Sequence[int], signed: bytes) -> str:
    """The header `webhook-signature`: one signature for each secret that is valid now."""
    return " ".join(_signature(_bytes_of(key, webhook_id, version), signed) for version in versions)


def secret_of_user(key: SecretStr, user_id: UUID) -> str:
    """The one secret of all webhooks that a user names with a request, where the API has one for each account."""
    return _shown(_bytes_of_user(key, user_id))


def signature_of_user(key: SecretStr, user_id: UUID, signed: bytes) -> str:
    return _signature(_bytes_of_user(key, user_id), signed)


def deployment_key(key: SecretStr) -> Ed25519PrivateKey:
    """The pair whose public half anybody may read: it says that this deployment sent something."""
    return Ed25519PrivateKey.from_private_bytes(_derived(key, "deployment"))


def signed_content(delivery_id: UUID, timestamp_seconds: int, body: bytes) -> bytes:
    return f"msg_{delivery_id.hex}.{timestamp_seconds}.".encode() + body


def _shown(secret: bytes) -> str:
    return PREFIX + base64.b64encode(secret).decode()


def _signature(secret: bytes, signed: bytes) -> str:
    return f"v1,{base64.b64encode(hmac.digest(secret, signed, sha256)).decode()}"


def _bytes_of(key: SecretStr, webhook_id: UUID, version: int) -> bytes:
    return _derived(key, f"webhook\n{webhook_id}\n{version}")


def _bytes_of_user(key: SecretStr, user_id: UUID) -> bytes:
    return _derived(key, f"user\n{user_id}")


def _derived(key: SecretStr, purpose: str) -> bytes:
    """32 bytes."""
    return hmac.digest(key.get_secret_value().encode(), purpose.encode(), sha256)
