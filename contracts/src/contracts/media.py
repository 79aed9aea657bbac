"""Addresses of stored media: permanent and unguessable by default, short-lived and signed where so configured.

A key is `<token>/<variant>.<extension>`; the token is 128 random bits that storage keeps with the asset. What is its
owner's alone opens by a signed address only, and one that names a reader opens nothing but what that user owns.
"""

import hmac
import time
from hashlib import sha256
from urllib.parse import urlencode
from uuid import UUID

PATH = "/media/"


def address(
    base_url: str,
    key: str,
    signing_key: str | None = None,
    lifetime_seconds: int = 3600,
    *,
    download: bool = False,
    reader: UUID | None = None,
    step_seconds: int = 1,
) -> str:
    """The URL of a key; with a signing key it stops working after its lifetime, or up to `step_seconds` before: within
    a step it is the same. A download is kept as a file."""
    path = PATH + key
    query = {"download": "1"} if download else {}
    if signing_key is not None:
        until, who = int(time.time()) + lifetime_seconds, str(reader or "")
        expires = until - until % step_seconds
        signed_part = {"expires": str(expires), "signature": signature(path, expires, signing_key, who)}
        query = signed_part | ({"reader": who} if who else {}) | query
    return base_url + path + (f"?{urlencode(query)}" if query else "")


def signature(path: str, expires: int, signing_key: str, reader: str = "") -> str:
    said = f"{path}\n{expires}" + (f"\n{reader}" if reader else "")
    return hmac.new(signing_key.encode(), said.encode(), sha256).hexdigest()


def signed(path: str, expires: int, given: str, signing_key: str, reader: str = "") -> bool:
    """Whether the signature is ours and the address still alive."""
    return hmac.compare_digest(signature(path, expires, signing_key, reader), given) and expires >= time.time()
