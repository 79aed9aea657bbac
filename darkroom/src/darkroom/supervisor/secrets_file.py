"""The random secrets of a local stack: made once, readable by their owner only, kept for the next start."""

import json
import secrets
from pathlib import Path

from darkroom.stack import NATS_USERS, SERVICES, write_private

_BYTES = 32
NAMES = (
    "jwt_secret",
    "own_jwt_secret",
    "webhook_signing_key",
    "media_signing_key",
    *(f"{service}_password" for service in SERVICES),
    *(f"{user}_nats_password" for user in NATS_USERS),
)


def keep_secrets(data: Path) -> dict[str, str]:
    """The secrets of this data directory; what is missing is made."""
    path = data / "secrets.json"
    try:
        kept: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        kept = {}
    # Begins with a letter: NATS would take some digits for a number.
    missing = {name: f"n{secrets.token_urlsafe(_BYTES)}" for name in NAMES if name not in kept}
    if missing:
        write_private(path, kept | missing)
    return kept | missing
