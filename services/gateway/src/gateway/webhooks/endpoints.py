"""The webhooks of a user: made, changed, switched off, and their deliveries looked at and sent again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import text
from yarl import URL

from contracts.ids import new_generation_id
from gateway.identity import Caller
from gateway.orders import Beside, id_of
from gateway.refusals import IdempotencyMismatch, Invalid, NotConfigured, NotFound
from gateway.settings import AddressSettings, WebhookSettings
from gateway.webhooks.signing import deployment_key, secret_of, secret_of_user
from gateway.webhooks.styles import STANDARD
from runtime.database import Connection, Database, Row
from runtime.outbound import Allowed, OutboundSettings, Refused, check_url

EVENTS = ("generation.completed", "generation.failed", "generation.declined", "generation.cancelled")
STARTED = "generation.started"
"""Only webhooks of one generation can ask for it."""
TEST = "webhook.test"
BY_ITS_OWNER = "by its owner"
"""Why one is disabled that its owner may switch on again: what it is owed waits for that."""
ROUTE = "/v1/webhooks"
MAX_WEBHOOKS = 10
MAX_URL_CHARACTERS = 2000
MAX_DELIVERIES = 100
"""Shown, or sent again, at once."""
OVERLAP_SECONDS = 24 * 3600
"""How long both secrets sign after a rotation."""

_COLUMNS = "id, url, events, state, why_disabled, secret_version, previous_secret_until, failing_since, created_at"
# One of a user's at a time counts what there is, so that no two are the last one.
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('webhooks of ' || CAST(:user_id AS uuid), 0))")
_MAKE = text(f"""
    INSERT INTO webhooks (id, user_id, url, events, asked_hash)
    SELECT :id, :user_id, :url, CAST(:events AS text[]), :asked_hash
    WHERE (SELECT count(*) FROM webhooks WHERE user_id = :user_id AND style = '{STANDARD}') < :most
    ON CONFLICT (id) DO NOTHING RETURNING {_COLUMNS}
""")
_MADE = text(f"SELECT {_COLUMNS}, asked_hash FROM webhooks WHERE user_id = :user_id AND id = :id")
_MAKE_BESIDE = text("""
    INSERT INTO webhooks (id, user_id, url, events, style)
    VALUES (:id, :user_id, :url, CAST(:events AS text[]), :style)
""")
_LIST = text(f"""
    SELECT {_COLUMNS} FROM webhooks WHERE user_id = :user_id AND style = '{STANDARD}' ORDER BY created_at, id
""")
_GET = text(f"SELECT {_COLUMNS} FROM webhooks WHERE user_id = :user_id AND id = :id AND style = '{STANDARD}'")
_KNOWN = text("SELECT id FROM webhooks WHERE user_id = :user_id AND id = :id")
_CHANGE = text(f"""
    UPDATE webhooks SET url = coalesce(CAST(:url AS text), url), events = coalesce(CAST(:events AS text[]), events),
        state = coalesce(CAST(:state AS text), state),
        why_disabled = CASE CAST(:state AS text) WHEN 'active' THEN NULL WHEN 'disabled' THEN '{BY_ITS_OWNER}'
            ELSE why_disabled END,
        owed_since = CASE WHEN CAST(:state AS text) <> state OR CAST(:events AS text[]) <> events THEN now()
            ELSE owed_since END,
        failing_since = CASE WHEN CAST(:state AS text) = 'active' OR CAST(:url AS text) <> url THEN NULL
            ELSE failing_since END
    WHERE user_id = :user_id AND id = :id AND style = '{STANDARD}' RETURNING {_COLUMNS}
""")
_ROTATE = text(f"""
    UPDATE webhooks SET rotated_as = :rotated_as,
        secret_version = secret_version + (rotated_as IS DISTINCT FROM :rotated_as)::int,
        previous_secret_until = CASE WHEN rotated_as = :rotated_as THEN previous_secret_until
            ELSE now() + make_interval(secs => :overlap_seconds) END
    WHERE user_id = :user_id AND id = :id AND style = '{STANDARD}' RETURNING {_COLUMNS}
""")
_REMOVE = text("DELETE FROM webhooks WHERE user_id = :user_id AND id = :id RETURNING id")
_DELIVERY = (
    "d.id, d.generation_id, d.event, d.state, d.attempts, d.next_at, d.status, d.error, d.created_at, d.ended_at"
)
_DELIVERIES = text(f"""
    SELECT {_DELIVERY} FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id
    WHERE w.user_id = :user_id AND w.id = :id
        AND (CAST(:before AS uuid) IS NULL OR (d.created_at, d.id) <
            (SELECT b.created_at, b.id FROM deliveries b WHERE b.id = :before AND b.webhook_id = :id))
    ORDER BY d.created_at DESC, d.id DESC LIMIT :limit
""")
_TEST = text(f"""
    INSERT INTO deliveries AS d (id, webhook_id, event)
    SELECT :delivery_id, id, '{TEST}' FROM webhooks
    WHERE user_id = :user_id AND id = :id AND state = 'active' AND style = '{STANDARD}'
    RETURNING {_DELIVERY}
""")
_AGAIN = """
    UPDATE deliveries d SET state = 'pending', attempts = 0, next_at = now(), ended_at = NULL
    FROM webhooks w WHERE w.id = d.webhook_id AND w.user_id = :user_id AND w.id = :id AND w.state = 'active'
        AND d.state <> 'pending'
"""
_AGAIN_ONE = text(f"{_AGAIN} AND d.id = :delivery_id RETURNING d.id")
# What became pending meanwhile is sent in any case, and is the last all the same.
_AGAIN_RANGE = text(f"""
    WITH found AS (
        SELECT id, created_at FROM deliveries WHERE webhook_id = :id AND state <> 'pending' AND created_at >= :since
            AND created_at < :until AND EXISTS (SELECT FROM webhooks WHERE id = :id AND state = 'active')
            AND (CAST(:after AS uuid) IS NULL OR (created_at, id) >
                (SELECT a.created_at, a.id FROM deliveries a WHERE a.id = :after AND a.webhook_id = :id))
        ORDER BY created_at, id LIMIT :limit
    ), sent AS ({_AGAIN} AND d.id IN (SELECT id FROM found) RETURNING d.id)
    SELECT (SELECT count(*) FROM sent) AS sent, count(*) AS found,
        (SELECT id FROM found ORDER BY created_at DESC, id DESC LIMIT 1) AS last
    FROM found
""")


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where one user wants to be told. `secret` is shown when it is new, and never again."""

    row: Row
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """How many of a period are sent again, and the last of them where there may be more."""

    deliveries: int
    last: UUID | None


class Webhooks:
    """The commands and queries. Every statement names the user."""

    def __init__(
        self, database: Database, settings: WebhookSettings, outbound: OutboundSettings, addresses: AddressSettings
    ) -> None:
        self._database = database
        self._own = {_place(URL(own)) for own in (addresses.public_url, addresses.public_media_url)}
        self._key = settings.webhook_signing_key
        self._allowed = Allowed.parse(outbound.outbound_allow)

    async def make(
        self, caller: Caller, url: str, events: Sequence[str], idempotency_key: str | None = None
    ) -> Webhook:
        """Under the same key it is the same webhook, as it is by now, and its secret is shown again.

        Raises:
            IdempotencyMismatch: the key was used for another wish. Invalid: an address that will not be called, or one
                too many. NotConfigured.
        """
        key, known = self._configured(), _known(events)
        values = {"id": id_of(caller, ROUTE, idempotency_key), "user_id": caller.user_id, "url": self._checked(url)}
        values |= {
            "events": known,
            "most": MAX_WEBHOOKS,
            "asked_hash": sha256("\n".join([url, *known]).encode()).digest(),
        }
        async with self._database.transaction() as connection:
            await connection.execute(_ALONE, values)
            made = (await connection.execute(_MAKE, values)).one_or_none()
            row = made or (await connection.execute(_MADE, values)).one_or_none()
        if row is None:
            raise Invalid(f"At most {MAX_WEBHOOKS} webhooks; delete one first.")
        if made is None and row.asked_hash != values["asked_hash"]:
            raise IdempotencyMismatch("This Idempotency-Key was used for another webhook.")
        return Webhook(row, secret_of(key, row.id, row.secret_version))

    def beside(self, caller: Caller, url: str, style: str, events: Sequence[str]) -> Beside:
        """What makes a webhook together with the generation that it is of, and under that one's id.

        Raises Invalid for an address that will not be called; NotConfigured.
        """
        self._configured()
        values = {"user_id": caller.user_id, "url": self._checked(url), "events": list(events), "style": style}

        async def made(connection: Connection, generation_id: UUID) -> None:
            await connection.execute(_MAKE_BESIDE, values | {"id": generation_id})

        return made

    def secret(self, caller: Caller) -> str:
        """The one secret of the webhooks that a user names with requests. Raises NotConfigured."""
        return secret_of_user(self._configured(), caller.user_id)

    def public_key(self) -> bytes:
        """The 32 bytes that verify what this deployment signs (Ed25519). Raises NotConfigured."""
        return deployment_key(self._configured()).public_key().public_bytes_raw()

    async def all(self, caller: Caller) -> list[Webhook]:
        async with self._database.statement() as connection:
            return [Webhook(row) for row in await connection.execute(_LIST, {"user_id": caller.user_id})]

    async def get(self, caller: Caller, webhook_id: UUID) -> Webhook:
        return Webhook(await self._one(_GET, caller, webhook_id))

    async def change(
        self, caller: Caller, webhook_id: UUID, url: str | None, events: Sequence[str] | None, state: str | None
    ) -> Webhook:
        """What is None stays as it is. Switched on again, or at another address, it begins anew."""
        values = {
            "url": None if url is None else self._checked(url),
            "events": None if events is None else _known(events),
            "state": state,
        }
        return Webhook(await self._one(_CHANGE, caller, webhook_id, **values))

    async def rotate(self, caller: Caller, webhook_id: UUID, idempotency_key: str | None = None) -> Webhook:
        """A new secret; for a day the one before signs as well. Asked again under the same key, it is the same one."""
        key, rotated_as = self._configured(), id_of(caller, f"{ROUTE}/{webhook_id}/rotate", idempotency_key)
        values = {"rotated_as": rotated_as, "overlap_seconds": OVERLAP_SECONDS}
        row = await self._one(_ROTATE, caller, webhook_id, **values)
        return Webhook(row, secret_of(key, row.id, row.secret_version))

    async def remove(self, caller: Caller, webhook_id: UUID) -> None:
        await self._one(_REMOVE, caller, webhook_id)

    async def deliveries(self, caller: Caller, webhook_id: UUID, before: UUID | None) -> list[Row]:
        """Newest first, those before a delivery that is known."""
        await self._one(_KNOWN, caller, webhook_id)
        values = {"user_id": caller.user_id, "id": webhook_id, "before": before, "limit": MAX_DELIVERIES}
        async with self._database.statement() as connection:
            return list((await connection.execute(_DELIVERIES, values)).all())

    async def test(self, caller: Caller, webhook_id: UUID) -> Row:
        """Sends an event that means nothing."""
        await self.get(caller, webhook_id)
        return await self._one(_TEST, caller, webhook_id, delivery_id=new_generation_id())

    async def redeliver(self, caller: Caller, webhook_id: UUID, delivery_id: UUID) -> None:
        await self._one(_AGAIN_ONE, caller, webhook_id, delivery_id=delivery_id)

    async def redeliver_range(
        self, caller: Caller, webhook_id: UUID, since: datetime, until: datetime, after: UUID | None
    ) -> Again:
        """Sends again the oldest of a period that come after a delivery that is known."""
        await self._one(_KNOWN, caller, webhook_id)
        values = {"user_id": caller.user_id, "id": webhook_id, "since": since, "until": until, "after": after}
        async with self._database.statement() as connection:
            again = (await connection.execute(_AGAIN_RANGE, values | {"limit": MAX_DELIVERIES})).one()
        return Again(again.sent, again.last if again.found == MAX_DELIVERIES else None)

    async def _one(self, statement: Any, caller: Caller, webhook_id: UUID, **values: Any) -> Row:
        async with self._database.statement() as connection:
            found = await connection.execute(statement, {"user_id": caller.user_id, "id": webhook_id, **values})
            row = found.one_or_none()
        if row is None:
            raise NotFound("There is no such webhook, or nothing of it that this can be done with.")
        return row

    def _configured(self) -> SecretStr:
        if self._key is None:
            raise NotConfigured("Webhooks are not set up here: the operator has to set WEBHOOK_SIGNING_KEY.")
        return self._key

    def _checked(self, address: str) -> str:
        """Names are resolved when it is called; what can be refused before is refused now."""
        try:
            if len(address) > MAX_URL_CHARACTERS:
                raise ValueError("it is too long")
            if not address.isprintable():
                raise ValueError("it has characters that no address has")
            url = URL(address)
            check_url(url, self._allowed)
            if not _is_resolvable(url.raw_host or ""):
                raise ValueError("it has a name that no host can have")
            if _place(url) in self._own:
                raise ValueError("it is our own")
        except (Refused, ValueError) as error:
            raise Invalid(
                f"This address will not be called: {error}.",
                details={"errors": [{"field": "url", "message": str(error)}]},
            ) from error
        return address


def _is_resolvable(host: str) -> bool:
    """Whether a resolver can be asked for it: no part of a name is empty or longer than 63 characters."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _place(url: URL) -> tuple[str, int | None]:
    return (url.host or "").lower().rstrip("."), url.port


def _known(events: Sequence[str]) -> list[str]:
    unknown = sorted(set(events) - set(EVENTS))
    if unknown or not events:
        raise Invalid(
            f"The events are {', '.join(EVENTS)}.", details={"errors": [{"field": "events", "message": str(unknown)}]}
        )
    return sorted(set(events))
