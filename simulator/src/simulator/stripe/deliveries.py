"""Sends events to the endpoints of an account, signed as Stripe signs them, and as badly as a test asks for.

What becomes of the next event is asked for beforehand: `ok`, `lost`, `twice`, `held` (until it is released), `late=2`
(seconds), `old` and `future` (signed long ago, or in times to come), `forged` (by somebody without the secret),
`tampered` (changed after it was signed).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections import deque
from typing import Any

import aiohttp

from simulator.clock import Clock
from simulator.faults import QUEUED_OUTCOMES_MAX
from simulator.stripe.account import Account, Record

FAULTS = ("ok", "lost", "twice", "held", "late", "old", "future", "forged", "tampered")
ATTEMPTS = 3
PAUSE_SECONDS = 0.2
"""Before the second attempt; Stripe's own schedule lasts three days."""
ANSWER_TIMEOUT_SECONDS = 10.0
SKEW_SECONDS = 3600
DELIVERIES_MAX = 10_000


class UnknownDeliveryError(ValueError):
    """No such way of delivering."""


class Deliveries:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._wishes: deque[str] = deque(maxlen=QUEUED_OUTCOMES_MAX)
        self._held: list[tuple[Record, Record]] = []
        self.made: deque[Record] = deque(maxlen=DELIVERIES_MAX)

    @property
    def under_way(self) -> int:
        return len(self._tasks)

    def reset(self) -> None:
        self._wishes.clear()
        self._held.clear()
        self.made.clear()

    def wish(self, outcomes: list[str]) -> None:
        """Raises UnknownDeliveryError."""
        for outcome in outcomes:
            name, _, value = outcome.partition("=")
            if name not in FAULTS or (value and (name != "late" or not value.replace(".", "", 1).isdigit())):
                raise UnknownDeliveryError(f"unknown delivery: {outcome!r}")
        self._wishes.extend(outcomes)

    def send(self, account: Account, event: Record) -> None:
        """Begins to deliver an event to every endpoint that wants it."""
        for endpoint in account.endpoints.values():
            if "*" in endpoint["enabled_events"] or event["type"] in endpoint["enabled_events"]:
                wish = self._wishes.popleft() if self._wishes else "ok"
                task = asyncio.create_task(self._deliver(endpoint, event, wish))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def release(self) -> int:
        """Sends what was held, the last first; how many there were."""
        held, self._held = self._held[::-1], []
        for endpoint, event in held:
            await self._deliver(endpoint, event, "ok")
        return len(held)

    async def again(self, account: Account, event: Record, wish: str) -> list[int]:
        """Delivers an event once more; the statuses of the endpoints' answers."""
        return [await self._attempt(endpoint, event, wish) for endpoint in account.endpoints.values()]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._session is not None:
            await self._session.close()

    async def _deliver(self, endpoint: Record, event: Record, wish: str) -> None:
        name, _, value = wish.partition("=")
        if name == "held":
            self._held.append((endpoint, event))
            return
        if name == "lost":
            self._note(endpoint, event, wish, 0)
            return
        if name == "late":
            await asyncio.sleep(float(value or 1))
        for attempt in range(ATTEMPTS):
            status = await self._attempt(endpoint, event, name)
            if 200 <= status < 300:
                break
            await asyncio.sleep(PAUSE_SECONDS * 2**attempt)
        if name == "twice":
            await self._attempt(endpoint, event, name)

    async def _attempt(self, endpoint: Record, event: Record, wish: str) -> int:
        """The status of the answer; 0 where there was none."""
        body = json.dumps(event, indent=2).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": self._signature(endpoint, body, wish),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        if wish == "tampered":
            body = body.replace(b'"amount": ', b'"amount": 9')
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_SECONDS))
        try:
            async with self._session.post(endpoint["url"], data=body, headers=headers) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            status = 0
        self._note(endpoint, event, wish, status)
        return status

    def _signature(self, endpoint: Record, body: bytes, wish: str) -> str:
        skew = {"old": -SKEW_SECONDS, "future": SKEW_SECONDS}.get(wish, 0)
        timestamp = int(self._clock.now()) + skew
        secret = "whsec_of_somebody_else" if wish == "forged" else endpoint["secret"]
        signed = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
        return f"t={timestamp},v1={signed},v0={'0' * 64}"

    def _note(self, endpoint: Record, event: Record, wish: str, status: int) -> None:
        noted: dict[str, Any] = {"event": event["id"], "type": event["type"], "url": endpoint["url"]}
        self.made.append(noted | {"fault": wish, "status": status})
