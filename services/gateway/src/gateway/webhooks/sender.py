"""Sends what is due, over a day, to whoever wants to be told.

A delivery is claimed by setting its next turn before anything is sent: a process that stops in between costs one turn.
Its id never changes, so that a receiver that hears it twice can tell.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import aiohttp
import structlog
from prometheus_client import Counter
from pydantic import SecretStr
from sqlalchemy import text

from gateway.live import Hub
from gateway.records import COLUMNS, Generation, generation_of
from gateway.settings import WebhookSettings
from gateway.webhooks.endpoints import BY_ITS_OWNER, TEST
from gateway.webhooks.styles import STANDARD, Style, encoded
from runtime import telemetry
from runtime.database import Database, Row
from runtime.outbound import OutboundSettings, Refused, make_session

PAUSES_SECONDS = (5, 300, 1800, 7200, 18_000, 36_000, 23_295)
"""After each attempt that failed: eight attempts in a day, then the delivery is parked."""
JITTER = 0.1
EVERY_SECONDS = 1.0
"""At the latest: where something ended, this process is told, and looks."""
AT_MOST_EVERY_SECONDS = 0.5
TIMEOUT_SECONDS = 15.0
CLAIM_SECONDS = 60.0
"""Longer than an attempt can take."""
AT_ONCE = 32
AT_ONCE_TO_ONE = 4
"""One slow receiver delays nobody else."""
FAILING_SECONDS = 3 * 24 * 3600
"""A webhook that has taken nothing for so long is switched off."""
MAX_ERROR_CHARACTERS = 200
STOP_SECONDS = 2.0
GONE = 410
MOST_ATTEMPTS = 32_767
"""What its column holds: whoever can never be recorded is claimed on and on, and must not break the claim of all."""

log = structlog.get_logger()
DELIVERIES = Counter("webhook_deliveries_total", "Attempts to tell a webhook, by how they ended.", ["result"])
for _result in ("taken", "refused"):
    # There from the start: of a series that begins with its first 1, `increase` sees no increase.
    DELIVERIES.labels(_result)

# Webhooks of single generations share their user's turns: a slow receiver behind many of them delays nobody else.
_CLAIM = text(f"""
    WITH known AS (
        SELECT d.id, d.next_at, CASE w.style WHEN '{STANDARD}' THEN w.id ELSE w.user_id END AS receiver
        FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id
        WHERE d.state = 'pending' AND d.next_at <= now() AND w.state = 'active'
    ), due AS (
        SELECT id, row_number() OVER (PARTITION BY receiver ORDER BY next_at) AS turn FROM known
        WHERE receiver <> ALL(CAST(:busy AS uuid[]))
    ), taken AS (
        SELECT id FROM deliveries WHERE id IN (SELECT id FROM due WHERE turn <= :to_one)
            AND state = 'pending' AND next_at <= now()
        ORDER BY next_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE deliveries d SET attempts = least(attempts + 1, {MOST_ATTEMPTS}),
        next_at = now() + make_interval(secs => :claim_seconds)
    FROM taken, webhooks w WHERE d.id = taken.id AND w.id = d.webhook_id
    RETURNING d.id, d.webhook_id, d.generation_id, d.event, d.attempts, d.created_at, w.url, w.secret_version,
        w.style, w.user_id, CASE w.style WHEN '{STANDARD}' THEN w.id ELSE w.user_id END AS receiver,
        w.previous_secret_until > now() AS has_previous,
        (SELECT traceparent FROM generations WHERE generations.id = d.generation_id) AS traceparent
""")
_GENERATIONS = text(f"""
    SELECT {COLUMNS} FROM generations WHERE id = ANY(CAST(:ids AS uuid[])) AND deleted_at IS NULL
""")
_UNTOLD = text("""
    UPDATE deliveries SET state = 'parked', status = NULL, error = 'its generation was deleted', ended_at = now()
    WHERE id = ANY(CAST(:ids AS uuid[]))
""")
# Here and below: what the former address answered says nothing of the one that the webhook was given meanwhile.
_DELIVERED = text("""
    WITH done AS (
        UPDATE deliveries SET state = 'delivered', status = :status, error = NULL, ended_at = now() WHERE id = :id
        RETURNING webhook_id
    )
    UPDATE webhooks SET failing_since = NULL FROM done
    WHERE id = webhook_id AND failing_since IS NOT NULL AND url = :url
""")
# It fails anew where nothing has been tried again since: in days in which nothing was sent it may have been well.
_FAILED = text(f"""
    WITH called AS (
        SELECT w.id, w.url = :url AS is_there, CASE WHEN :attempts = 1 AND NOT EXISTS (
            SELECT FROM deliveries o WHERE o.webhook_id = w.id AND o.state = 'pending' AND o.attempts > 1
        ) THEN now() ELSE coalesce(w.failing_since, now()) END AS since
        FROM webhooks w WHERE w.id = :webhook_id FOR NO KEY UPDATE
    ), failed AS (
        UPDATE deliveries d SET status = :status, error = :error,
            state = CASE WHEN is_there AND CAST(:pause_seconds AS float8) IS NULL THEN 'parked' ELSE 'pending' END,
            attempts = CASE WHEN is_there THEN d.attempts ELSE 0 END,
            next_at = now() + make_interval(
                secs => CASE WHEN is_there THEN coalesce(CAST(:pause_seconds AS float8), 0) ELSE 0 END),
            ended_at = CASE WHEN is_there AND CAST(:pause_seconds AS float8) IS NULL THEN now() END
        FROM called WHERE d.id = :id AND d.webhook_id = called.id
    )
    UPDATE webhooks w SET failing_since = called.since,
        state = CASE WHEN CAST(:is_gone AS boolean) OR called.since < now() - make_interval(secs => :failing_seconds)
            THEN 'disabled' ELSE w.state END,
        why_disabled = CASE WHEN CAST(:is_gone AS boolean) THEN 'the receiver answered 410 Gone'
            WHEN called.since < now() - make_interval(secs => :failing_seconds)
            THEN 'it took nothing for three days' ELSE w.why_disabled END
    FROM called WHERE w.id = called.id AND called.is_there
    RETURNING w.id, w.state = 'disabled' AND w.why_disabled <> '{BY_ITS_OWNER}' AS is_given_up
""")
_PARK = text("UPDATE deliveries SET state = 'parked', ended_at = now() WHERE webhook_id = :id AND state = 'pending'")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a receiver answered; no status where it did not."""

    status: int | None
    error: str | None

    @property
    def is_taken(self) -> bool:
        return self.error is None


class Sender:
    """One loop in every gateway; rows are taken with SKIP LOCKED, so replicas share the work."""

    def __init__(
        self,
        database: Database,
        hub: Hub,
        settings: WebhookSettings,
        outbound: OutboundSettings,
        styles: Mapping[str, Style],
    ) -> None:
        self._database = database
        self._key = settings.webhook_signing_key
        self._outbound = outbound
        self._styles = styles
        self._loop: asyncio.Task[None] | None = None
        self._sending: dict[asyncio.Task[None], UUID] = {}
        self._dice = random.Random()
        self._ended = asyncio.Event()
        """Something has, and its owner may have a webhook."""
        hub.told.append(lambda *_: self._ended.set())

    async def start(self) -> None:
        """Without a key there is nothing to sign with, and nothing is sent."""
        if self._key is not None:
            self._loop = asyncio.create_task(self._run(self._key), name="webhooks")

    async def stop(self) -> None:
        """What is being sent may be sent again by another process, under the same id."""
        tasks = [task for task in (self._loop, *self._sending) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)

    async def _run(self, key: SecretStr) -> None:
        async with make_session(self._outbound) as session:
            while True:
                await asyncio.sleep(AT_MOST_EVERY_SECONDS)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(EVERY_SECONDS - AT_MOST_EVERY_SECONDS):
                        await self._ended.wait()
                self._ended.clear()
                try:
                    await self._send_due(session, key)
                except Exception as error:
                    log.warning("webhooks.not_sent", error=f"{type(error).__name__}: {error}"[:300])

    async def _send_due(self, session: aiohttp.ClientSession, key: SecretStr) -> None:
        free = AT_ONCE - len(self._sending)
        if free <= 0:
            return
        values = {
            "busy": list(set(self._sending.values())),
            "to_one": AT_ONCE_TO_ONE,
            "limit": free,
            "claim_seconds": CLAIM_SECONDS,
        }
        async with self._database.statement() as connection:
            claimed = (await connection.execute(_CLAIM, values)).all()
        if not claimed:
            return
        async with self._database.statement() as connection:
            ids = [row.generation_id for row in claimed if row.generation_id is not None]
            found = {row.id: generation_of(row) for row in await connection.execute(_GENERATIONS, {"ids": ids})}
            untold = [row.id for row in claimed if row.generation_id is not None and row.generation_id not in found]
            if untold:
                await connection.execute(_UNTOLD, {"ids": untold})
        for row in claimed:
            if row.id in untold:
                continue
            task = asyncio.create_task(self._deliver(session, key, row, found.get(row.generation_id)))
            self._sending[task] = row.receiver
            task.add_done_callback(lambda done: self._sending.pop(done, None))

    async def _deliver(
        self, session: aiohttp.ClientSession, key: SecretStr, row: Row, generation: Generation | None
    ) -> None:
        try:
            attempt = await self._attempt(session, key, row, generation)
        except Exception as error:  # a defect of ours is recorded as well, else it would be tried for ever
            log.exception("webhook.not_sent", webhook_id=str(row.webhook_id), delivery_id=str(row.id))
            attempt = Attempt(None, f"not sent ({type(error).__name__})")
        DELIVERIES.labels("taken" if attempt.is_taken else "refused").inc()
        log.info(
            "webhook.told" if attempt.is_taken else "webhook.not_told",
            webhook_id=str(row.webhook_id),
            delivery_id=str(row.id),
            status=attempt.status,
            error=attempt.error,
            attempt=row.attempts,
        )
        try:
            await self._record(row, attempt)
        except Exception as error:  # its next turn was set when it was claimed
            log.warning("webhook.not_recorded", delivery_id=str(row.id), error=type(error).__name__)

    async def _attempt(
        self, session: aiohttp.ClientSession, key: SecretStr, row: Row, generation: Generation | None
    ) -> Attempt:
        style, sent_at = self._styles[row.style], int(time.time())
        body = encoded(style.body(row, generation))
        with telemetry.span("webhook", row.traceparent, event=row.event):
            return await _post(session, row, style.headers(key, row, sent_at, body), body)

    async def _record(self, row: Row, attempt: Attempt) -> None:
        values = {"id": row.id, "status": attempt.status, "url": row.url}
        async with self._database.transaction() as connection:
            if attempt.is_taken:
                await connection.execute(_DELIVERED, values)
                return
            is_gone = attempt.status == GONE
            pause = None if is_gone or row.event == TEST else self._pause_seconds(row.attempts)
            values |= {"error": attempt.error, "pause_seconds": pause, "is_gone": is_gone}
            values |= {"webhook_id": row.webhook_id, "attempts": row.attempts, "failing_seconds": FAILING_SECONDS}
            webhook = (await connection.execute(_FAILED, values)).one_or_none()
            if webhook is not None and webhook.is_given_up:
                await connection.execute(_PARK, {"id": webhook.id})
                log.warning("webhook.disabled", webhook_id=str(webhook.id))

    def _pause_seconds(self, attempts: int) -> float | None:
        if attempts > len(PAUSES_SECONDS):
            return None
        return PAUSES_SECONDS[attempts - 1] * self._dice.uniform(1 - JITTER, 1 + JITTER)


async def _post(session: aiohttp.ClientSession, row: Row, signed: dict[str, str], body: bytes) -> Attempt:
    """One request; nothing of the answer is read but its status, and no redirect is followed."""
    headers = {"Content-Type": "application/json", "User-Agent": "Darkroom-Webhooks/1", **signed}
    if (traceparent := telemetry.current_traceparent(row.traceparent)) is not None:
        headers["traceparent"] = traceparent
    try:
        async with (
            asyncio.timeout(TIMEOUT_SECONDS),
            session.post(row.url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            status = response.status
            response.close()  # what it says is its own affair, and may be long
    except Refused as error:
        return Attempt(None, f"the address is not called: {error}"[:MAX_ERROR_CHARACTERS])
    except TimeoutError:
        return Attempt(None, f"no answer in {TIMEOUT_SECONDS:.0f} s")
    except (aiohttp.ClientError, OSError) as error:
        return Attempt(None, f"no answer ({type(error).__name__})")
    if status // 100 == 2:
        return Attempt(status, None)
    return Attempt(status, "redirects are not followed" if status // 100 == 3 else f"answered {status}")
