"""Bearer tokens as Supabase issues them: JSON Web Tokens, signed with HS256.

Made by hand, since the library that others check them with loads all of its cryptography to do so.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from uuid import UUID

AUDIENCE = "authenticated"
KEY_SECONDS = 10 * 365 * 86_400


def make_token(secret: str, user_id: UUID, hours: float, issuer: str, *, operator: bool = False) -> str:
    """A token that names a user for so many hours, and says whether they run the house."""
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": str(user_id),
        "role": "authenticated",
        "iat": now,
        "exp": now + int(hours * 3600),
    }
    if operator:
        claims["app_metadata"] = {"roles": ["operator"]}
    return _signed(secret, claims)


def make_key(secret: str, role: str) -> str:
    """A key as Supabase gives to a project: `anon` stands in frontends, and names nobody."""
    now = int(time.time())
    return _signed(secret, {"iss": "supabase", "role": role, "iat": now, "exp": now + KEY_SECONDS})


def _signed(secret: str, claims: Mapping[str, object]) -> str:
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    return f"{signed}.{_base64(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def _part(content: Mapping[str, object]) -> str:
    return _base64(json.dumps(content, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
