"""Secrets and signatures of Standard Webhooks 1.0.

No secret is stored: each is derived from the operator's key, the webhook's id and a number that rotation raises.
"""

import base64
import hmac
from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

from pydantic import SecretStr

PREFIX = "whsec_"


def secret_of(key: SecretStr, webhook_id: UUID, version: int) -> str:
    """As its owner is shown it: `whsec_` and 32 bytes in base64."""
    return PREFIX + base64.b64encode(_bytes_of(key, webhook_id, version)).decode()


def signatures(key: SecretStr, webhook_id: UUID, versions: Sequence[int], signed: bytes) -> str:
    """The header `webhook-signature`: one signature for each secret that is valid now."""
    made = (hmac.digest(_bytes_of(key, webhook_id, version), signed, sha256) for version in versions)
    return " ".join(f"v1,{base64.b64encode(signature).decode()}" for signature in made)


def signed_content(delivery_id: UUID, timestamp_seconds: int, body: bytes) -> bytes:
    return f"msg_{delivery_id.hex}.{timestamp_seconds}.".encode() + body


def _bytes_of(key: SecretStr, webhook_id: UUID, version: int) -> bytes:
    return hmac.digest(key.get_secret_value().encode(), f"webhook\n{webhook_id}\n{version}".encode(), sha256)
