"""What a user set for each provider, and the settings. Keys are the generator's: here they are masks."""

import json
import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from gateway.identity import Caller
from gateway.orders import unfit
from gateway.provider_keys import ProviderKeys
from gateway.queries import Queries
from gateway.refusals import Invalid
from runtime.database import Database

MASK = "********"
MAX_PROVIDERS = 50
MAX_DOCUMENT_BYTES = 256 << 10
DEFAULT_MAX_TOKENS = 8192
MIN_KEY_CHARACTERS = 8
_PROVIDER = re.compile(r"[A-Za-z0-9_.-]{1,50}")

_READ = text("SELECT provider, models::text AS models, url, max_tokens FROM provider_configs WHERE user_id = :user_id")
_WRITE = text("""
    INSERT INTO provider_configs (user_id, provider, models, url, max_tokens)
    SELECT :user_id, :provider, CAST(:models AS jsonb), :url, :max_tokens
    ON CONFLICT (user_id, provider)
    DO UPDATE SET models = excluded.models, url = excluded.url, max_tokens = excluded.max_tokens
""")
_SETTINGS = text("SELECT settings::text AS settings FROM user_settings WHERE user_id = :user_id")
_SET = text("""
    INSERT INTO user_settings (user_id, settings) VALUES (:user_id, CAST(:settings AS jsonb))
    ON CONFLICT (user_id)
    DO UPDATE SET settings = user_settings.settings || excluded.settings, updated_at = now()
    RETURNING length(settings::text) AS length
""")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user wants of one provider. `api_key`: a mask or nothing leaves it, None (`drop_key`) forgets it."""

    models: dict[str, Any] | None = None
    url: str | None = None
    max_tokens: int | None = None
    api_key: str | None = None
    drop_key: bool = False

    @property
    def sets_key(self) -> bool:
        return bool(self.api_key) and not (self.api_key or "").startswith(MASK)


class Configs:
    """The configurations and what they need."""

    def __init__(self, database: Database, keys: ProviderKeys, queries: Queries) -> None:
        self._database = database
        self._keys = keys
        self._queries = queries

    async def read(self, caller: Caller) -> dict[str, dict[str, Any]]:
        """By provider: what is offered and what the user added; a key is shown by its last four characters.

        Raises:
            Unavailable: the generator does not answer.
        """
        keys = {key.provider: key.last4 for key in (await self._keys.all(caller)).keys}
        async with self._database.statement() as connection:
            rows = {row.provider: row for row in await connection.execute(_READ, {"user_id": caller.user_id})}
        offered: dict[str, dict[str, Any]] = {}
        for model, _ in self._queries.models():
            offered.setdefault(model.provider, {})[model.id] = {"type": model.kind.value}
        found = {}
        for provider in sorted({*offered, *rows, *keys}):
            row = rows.get(provider)
            found[provider] = {
                "models": {**offered.get(provider, {}), **(json.loads(row.models) if row else {})},
                "url": row.url if row else "",
                "api_key": MASK + keys[provider] if provider in keys else "",
                "max_tokens": row.max_tokens if row and row.max_tokens else DEFAULT_MAX_TOKENS,
            }
        return found

    async def is_set(self, caller: Caller) -> bool:
        """Whether the user has set anything of their own."""
        async with self._database.statement() as connection:
            return (await connection.execute(_READ, {"user_id": caller.user_id})).first() is not None

    async def write(self, caller: Caller, wishes: dict[str, Wish]) -> None:
        """Sets what is given; a provider that is not named stays as it is.

        Raises:
            Invalid: it cannot be kept. NotConfigured: keys are not taken here. Unavailable.
        """
        async with self._database.statement() as connection:
            rows = {row.provider: row for row in await connection.execute(_READ, {"user_id": caller.user_id})}
        if len({*rows, *wishes}) > MAX_PROVIDERS:
            raise Invalid(f"At most {MAX_PROVIDERS} providers.")
        for provider, wish in wishes.items():
            _check(provider, wish)
        written = {provider: _values(caller, provider, wish, rows.get(provider)) for provider, wish in wishes.items()}
        for provider, wish in wishes.items():
            if wish.drop_key or wish.sets_key:
                await self._keys.set(caller, provider, None if wish.drop_key else wish.api_key)
        async with self._database.transaction() as connection:
            for provider in sorted(written):
                await connection.execute(_WRITE, written[provider])

    async def settings(self, caller: Caller) -> dict[str, Any]:
        """What the user set; empty where nothing was."""
        async with self._database.statement() as connection:
            row = (await connection.execute(_SETTINGS, {"user_id": caller.user_id})).one_or_none()
        return dict(json.loads(row.settings)) if row else {}

    async def set(self, caller: Caller, settings: dict[str, Any]) -> None:
        """Sets what is given, the rest stays. Raises Invalid."""
        if (problem := unfit(settings)) is not None:
            raise Invalid(f"The settings cannot be kept: {problem}.")
        async with self._database.transaction() as connection:
            values = {"user_id": caller.user_id, "settings": json.dumps(settings)}
            if (await connection.execute(_SET, values)).scalar_one() > MAX_DOCUMENT_BYTES:
                raise Invalid(f"Settings may have {MAX_DOCUMENT_BYTES} bytes at most.")


def _check(provider: str, wish: Wish) -> None:
    """Raises Invalid, which never repeats a key."""
    if not _PROVIDER.fullmatch(provider):
        raise Invalid("providers: names of 1 to 50 letters, digits, _, . and -")
    key = wish.api_key or ""
    if wish.sets_key and not (len(key) >= MIN_KEY_CHARACTERS and key.isascii() and key.isprintable()):
        raise Invalid(f"api_key: at least {MIN_KEY_CHARACTERS} printable ASCII characters")


def _values(caller: Caller, provider: str, wish: Wish, row: Any) -> dict[str, Any]:
    models = wish.models if wish.models is not None else json.loads(row.models) if row else {}
    url = wish.url if wish.url is not None else row.url if row else ""
    for part in (models, url):
        if (problem := unfit(part)) is not None:
            raise Invalid(f"The configuration of {provider} cannot be kept: {problem}.")
    written = json.dumps(models)
    if len(written) + len(url) > MAX_DOCUMENT_BYTES:
        raise Invalid(f"A configuration may have {MAX_DOCUMENT_BYTES} bytes at most.")
    max_tokens = wish.max_tokens if wish.max_tokens is not None else row.max_tokens if row else None
    return {"user_id": caller.user_id, "provider": provider, "models": written, "url": url, "max_tokens": max_tokens}
