"""Signing in on a device without a keyboard (RFC 8628): it shows a code, its user allows it elsewhere.

A login is bound to whoever allows it, is used up when its token is handed out, and ends by itself.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from gateway.rates import Limit, Rates
from gateway.refusals import NotFound, Refusal, Unavailable
from runtime.database import Database

LIFETIME_SECONDS = 600
INTERVAL_SECONDS = 5
LONGEST_INTERVAL_SECONDS = 60
MAX_LOGINS = 10_000
"""Open at one time, of everybody."""
BEGUN_PER_MINUTE = 20
"""From one address."""
GUESSES_PER_MINUTE = 10
"""Codes that one user may name."""
KEPT_SECONDS = 3600
"""After its end, so that a late poll hears why."""
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""Without vowels: no word comes of them (RFC 8628, 6.1)."""
_CODE_LETTERS = 8


class DeviceRefusal(Refusal):
    """Why there is no token; `code` is RFC 8628's."""

    status = 400

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Begun:
    """`device_code` is the device's secret, `user_code` what it shows."""

    device_code: str
    user_code: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who allowed it, and what was known of them then."""

    user_id: UUID
    profile: dict[str, Any]


_SWEEP = text("DELETE FROM device_logins WHERE expires_at < now() - make_interval(secs => :kept)")
_BEGIN = text("""
    INSERT INTO device_logins (secret_hash, code_hash, interval_seconds, expires_at)
    SELECT :secret_hash, :code_hash, :interval_seconds, now() + make_interval(secs => :lifetime)
    WHERE (SELECT count(*) FROM device_logins WHERE expires_at > now() AND state IN ('pending', 'approved')) < :most
    RETURNING expires_at
""")
_DECIDE = text("""
    UPDATE device_logins SET state = :state, user_id = :user_id, profile = CAST(:profile AS jsonb)
    WHERE code_hash = :code_hash AND state = 'pending' AND expires_at > now() RETURNING state
""")
_TAKE = text("""
    UPDATE device_logins SET state = 'delivered' WHERE secret_hash = :secret_hash AND state = 'approved'
        AND expires_at > now()
    RETURNING user_id, profile::text AS profile
""")
_POLL = text("""
    UPDATE device_logins d SET polled_at = now(),
        interval_seconds = CASE WHEN before.hasty THEN least(:longest, d.interval_seconds + :more)
            ELSE d.interval_seconds END
    FROM (SELECT secret_hash, coalesce(polled_at > now() - make_interval(secs => interval_seconds), false) AS hasty
          FROM device_logins WHERE secret_hash = :secret_hash FOR UPDATE) AS before
    WHERE d.secret_hash = before.secret_hash
    RETURNING d.state, d.expires_at < now() AS expired, before.hasty
""")


class Devices:
    """The logins and what they need."""

    def __init__(self, database: Database, rates: Rates) -> None:
        self._database = database
        self._rates = rates

    async def begin(self, address: str, *, one_code: bool = False, interval_seconds: int = INTERVAL_SECONDS) -> Begun:
        """A new login. With `one_code` the device shows its secret, which is as long as one.

        Raises:
            TooManyRequests: from this address. Unavailable: too many wait.
        """
        await self._rates.take(Limit(f"devices from {address}", BEGUN_PER_MINUTE, what="logins of devices"))
        device_code = secrets.token_urlsafe(32)
        shown = "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LETTERS))
        user_code = device_code if one_code else f"{shown[:4]}-{shown[4:]}"
        values = {
            "secret_hash": _hash(device_code),
            "code_hash": _code_hash(user_code),
            "interval_seconds": interval_seconds,
            "lifetime": LIFETIME_SECONDS,
            "most": MAX_LOGINS,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_SWEEP, {"kept": KEPT_SECONDS})
            row = (await connection.execute(_BEGIN, values)).one_or_none()
        if row is None:
            raise Unavailable("Too many devices wait to be allowed.")
        return Begun(device_code, user_code, row.expires_at)

    async def decide(self, user_id: UUID, user_code: str, profile: dict[str, Any], *, allow: bool) -> None:
        """Allows or refuses a device, for the user who is signed in where it is asked.

        Raises:
            NotFound: no such code, or it was decided. TooManyRequests: codes are being guessed.
        """
        await self._rates.take(Limit(f"device codes of {user_id}", GUESSES_PER_MINUTE, what="codes of devices"))
        values = {
            "code_hash": _code_hash(user_code),
            "state": "approved" if allow else "denied",
            "user_id": user_id,
            "profile": json.dumps(profile),
        }
        async with self._database.statement() as connection:
            if (await connection.execute(_DECIDE, values)).first() is None:
                raise NotFound("There is no such code: it has expired, or was used.")

    async def take(self, device_code: str) -> Allowed:
        """Who allowed the device; the login is used up.

        Raises:
            DeviceRefusal: `authorization_pending`, `slow_down`, `access_denied` or `expired_token`.
        """
        secret_hash = _hash(device_code)
        async with self._database.transaction() as connection:
            row = (await connection.execute(_TAKE, {"secret_hash": secret_hash})).one_or_none()
            if row is not None:
                return Allowed(row.user_id, json.loads(row.profile))
            values = {"secret_hash": secret_hash, "more": INTERVAL_SECONDS, "longest": LONGEST_INTERVAL_SECONDS}
            found = (await connection.execute(_POLL, values)).one_or_none()
        if found is None or found.expired or found.state in {"delivered", "approved"}:
            raise DeviceRefusal("expired_token", "The code has expired, or was used: begin again.")
        if found.state == "denied":
            raise DeviceRefusal("access_denied", "The user does not allow it.")
        if found.hasty:
            raise DeviceRefusal("slow_down", "Ask less often: five seconds more between two polls.")
        raise DeviceRefusal("authorization_pending", "The user has not decided yet.")


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode(errors="surrogatepass")).digest()


def _code_hash(user_code: str) -> bytes:
    """Of a short code in any case, with or without its dash; of a long one as it is."""
    letters = "".join(filter(str.isalnum, user_code)).upper()
    return _hash(letters if len(letters) == _CODE_LETTERS else user_code)
