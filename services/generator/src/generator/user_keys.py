"""Users' own keys at providers: encrypted at rest, written and never read back, used for their generations alone.

The secrets that they are encrypted with come from the settings: the first encrypts, all of them decrypt, so a new one
is put in front, and the old one is taken away once a process has started with both.
"""

import base64
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr
from sqlalchemy import text

from contracts.questions import (
    Keys,
    KeySet,
    SetKey,
)
from generator.providers.interface import Provider
from runtime.database import Database

MAX_ADAPTERS = 256
"""Kept ready, the latest used."""
OVERLAP = timedelta(seconds=15)
"""A key that was set in a longer transaction is not passed over."""

_READ = text("SELECT user_id, provider, sealed, set_at FROM user_keys WHERE set_at > :since")
_OF = text("""
    SELECT provider, last4, set_at FROM user_keys WHERE user_id = :user_id AND sealed IS NOT NULL ORDER BY provider
""")
_SET = text("""
    INSERT INTO user_keys (user_id, provider, sealed, last4) VALUES (:user_id, :provider, :sealed, :last4)
    ON CONFLICT (user_id, provider) DO UPDATE SET
        sealed = excluded.sealed, last4 = excluded.last4, set_at = clock_timestamp()
""")
_ALL = text("SELECT user_id, provider, sealed FROM user_keys WHERE sealed IS NOT NULL")
_RESEAL = text("""
    UPDATE user_keys SET sealed = :sealed, set_at = clock_timestamp()
    WHERE user_id = :user_id AND provider = :provider AND sealed = :former
""")

log = structlog.get_logger()


class UserKeys:
    """The keys as this process last read them, still encrypted. Without a secret nobody can set one."""

    def __init__(self, database: Database, secrets: SecretStr, make: Callable[[str, str], Provider]) -> None:
        self._database = database
        fernets = [_fernet(secret) for secret in filter(None, map(str.strip, secrets.get_secret_value().split(",")))]
        self._vault = MultiFernet(fernets) if fernets else None
        self._first = MultiFernet(fernets[:1] or [_fernet("")])
        self._make = make
        self._sealed: dict[tuple[UUID, str], str] = {}
        self._since = datetime.fromtimestamp(0, UTC)
        self.read_at = float("-inf")
        """When they were last read, on this process's monotonic clock."""
        self._adapters: OrderedDict[tuple[UUID, str, str], Provider] = OrderedDict()

    async def answer(self, user_id: UUID) -> Keys:
        """Which keys a user has set: their last four characters, and when."""
        async with self._database.statement() as connection:
            rows = (await connection.execute(_OF, {"user_id": user_id})).all()
        return Keys(keys=tuple(KeySet(provider=row.provider, last4=row.last4, set_at=row.set_at) for row in rows))

    async def set(self, asked: SetKey) -> Keys:
        """Sets a key, or forgets it where none is given; answers as `answer` does. Nothing is set without a secret."""
        if self._vault is None:
            return Keys(keys=(), is_offered=False)
        sealed = self._vault.encrypt(asked.key.encode()).decode() if asked.key else None
        last4 = asked.key[-4:] if asked.key else ""
        values = {"user_id": asked.user_id, "provider": asked.provider, "sealed": sealed, "last4": last4}
        async with self._database.statement() as connection:
            await connection.execute(_SET, values)
        self._learn(asked.user_id, asked.provider, sealed)
        log.info("user_key.set" if sealed else "user_key.forgotten", provider=asked.provider)
        return await self.answer(asked.user_id)

    async def refresh(self) -> None:
        """Reads what was set since the last time, here or elsewhere."""
        began_at = time.monotonic()
        if self._vault is not None:
            async with self._database.statement() as connection:
                rows = (await connection.execute(_READ, {"since": self._since - OVERLAP})).all()
            for row in rows:
                self._learn(row.user_id, row.provider, row.sealed)
                self._since = max(self._since, row.set_at)
        self.read_at = began_at

    async def rotate(self) -> int:
        """Encrypts anew with the first secret what another one still decrypts; how many. One set meanwhile is left."""
        if self._vault is None:
            return 0
        async with self._database.statement() as connection:
            rows = (await connection.execute(_ALL)).all()
        rotated = [(row, sealed) for row in rows if (sealed := self._resealed(row.sealed)) is not None]
        async with self._database.statement() as connection:
            for row, sealed in rotated:
                values = {"user_id": row.user_id, "provider": row.provider, "former": row.sealed, "sealed": sealed}
                await connection.execute(_RESEAL, values)
        return len(rotated)

    def _resealed(self, sealed: str) -> str | None:
        """None for what the first secret decrypts, or none of them."""
        if self._vault is None or _opens(self._first, sealed):
            return None
        try:
            return self._vault.rotate(sealed.encode()).decode()
        except InvalidToken:
            log.error("user_key.unusable", error="none of the secrets decrypts it")
            return None

    def provider(self, user_id: UUID, name: str) -> Provider | None:
        """The provider, asked with this user's key; None where they have none, or it cannot be decrypted."""
        sealed = self._sealed.get((user_id, name))
        if sealed is None or self._vault is None:
            return None
        known = self._adapters.get((user_id, name, sealed))
        if known is None:
            try:
                known = self._make(name, self._vault.decrypt(sealed.encode()).decode())
            except (InvalidToken, KeyError) as error:
                log.error("user_key.unusable", provider=name, error=type(error).__name__)
                return None
            self._adapters[user_id, name, sealed] = known
            if len(self._adapters) > MAX_ADAPTERS:
                self._adapters.popitem(last=False)
        self._adapters.move_to_end((user_id, name, sealed))
        return known

    def _learn(self, user_id: UUID, provider: str, sealed: str | None) -> None:
        """What none of our secrets decrypts was encrypted anew by a process that has the next one: until this one is
        restarted with it as well, what was read before holds, and what the key has begun goes on."""
        if sealed is None:
            self._sealed.pop((user_id, provider), None)
        elif (user_id, provider) not in self._sealed or (self._vault is not None and _opens(self._vault, sealed)):
            self._sealed[user_id, provider] = sealed


def _opens(vault: MultiFernet, sealed: str) -> bool:
    try:
        vault.decrypt(sealed.encode())
    except InvalidToken:
        return False
    return True


def _fernet(secret: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(sha256(secret.encode()).digest()))
