"""Where an audit looks, and how far."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.topology import OUTCOMES
from darkroom.jetstream import RefusedError, ask
from darkroom.namespaces import placed

MAX_FINDINGS = 100
"""Of one check; where there are more, the first ones tell the story."""
LOG_BATCH = 1000
STREAMED_ROWS = 1000
LOG_SECONDS = 5.0
STATEMENT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is looked at, and how much delay is no defect."""

    settle_seconds: float = 30.0
    """How long the services may take to react to an outcome."""
    grace_seconds: float = 600.0
    """How long past its deadline the sweeper may take to end a generation."""
    days: float = 30.0
    """How far back generations are looked at. Sums of money are always over everything."""
    deep: bool = False
    """Every object is read; otherwise a sample."""
    log_messages: int = 200_000


@dataclass(slots=True)
class Log:
    """What OUTCOMES keeps: generation id → payload, and when that came, by the broker's clock."""

    created: datetime
    outcomes: dict[str, bytes] = field(default_factory=dict)
    at: dict[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Journal:
    """The calls that reached the simulator, oldest first, and when (monotonic) they were asked for."""

    entries: list[dict[str, Any]]
    read_at: float

    def age_seconds(self) -> float:
        return time.monotonic() - self.read_at


@dataclass(slots=True)
class Evidence:
    """Everything that can be asked. None where it was not given."""

    database: asyncpg.Connection
    bounds: Bounds
    log: Log | None = None
    journal: Journal | None = None
    objects: Any = None
    schemas: Mapping[str, str] = field(default_factory=dict)
    """Service → schema, where these are not the same."""

    @property
    def log_created(self) -> datetime | None:
        """What ended before may never have been heard by everybody; None where no log was given or none exists."""
        return self.log.created if self.log is not None else None

    async def fetch(self, statement: str, *parameters: object) -> Sequence[asyncpg.Record]:
        return await self.database.fetch(placed(statement, self.schemas), *parameters)

    async def rows(self, statement: str, *parameters: object) -> Sequence[asyncpg.Record]:
        """Rows of a question, at most MAX_FINDINGS + 1."""
        return await self.fetch(f"{statement} LIMIT {MAX_FINDINGS + 1}", *parameters)

    async def stream(self, statement: str, *parameters: object) -> AsyncIterator[asyncpg.Record]:
        """Rows as they are asked for: however many there are, few are in memory. Within the audit's transaction."""
        async for row in self.database.cursor(placed(statement, self.schemas), *parameters, prefetch=STREAMED_ROWS):
            yield row

    async def count(self, statement: str, *parameters: object) -> int:
        return int((await self.fetch(statement, *parameters))[0][0])


async def read_log(client: Client, messages: int) -> Log | None:
    """The newest outcomes; None where there is no such stream.

    Raises:
        nats.errors.Error, TimeoutError: the broker does not answer.
    """
    try:
        info = await ask(client, f"STREAM.INFO.{OUTCOMES.name}")
    except RefusedError as refused:
        if refused.absent:
            return None
        raise
    log = Log(datetime.fromisoformat(info["created"]))
    sequence = max(info["state"]["first_seq"], info["state"]["last_seq"] - messages + 1)
    while sequence <= info["state"]["last_seq"]:
        batch = await _batch(client, sequence)
        if not batch:
            break
        for message in batch:
            headers = message.headers or {}
            generation_id = headers["Nats-Subject"].rsplit(".", 1)[-1]
            log.outcomes[generation_id] = message.data
            log.at[generation_id] = datetime.fromisoformat(headers["Nats-Time-Stamp"])
        sequence = int((batch[-1].headers or {})["Nats-Sequence"]) + 1
    return log


async def _batch(client: Client, sequence: int) -> list[Msg]:
    """Messages from a sequence on, by the stream's direct interface, which leaves nothing behind on the server."""
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    question = {"seq": sequence, "batch": LOG_BATCH, "next_by_subj": OUTCOMES.subjects[0]}
    batch: list[Msg] = []
    try:
        await client.publish(f"$JS.API.DIRECT.GET.{OUTCOMES.name}", json.dumps(question).encode(), reply=inbox)
        while True:
            message = await subscription.next_msg(LOG_SECONDS)
            if (message.headers or {}).get("Status"):
                return batch  # 204: the end of the batch; 404: nothing there
            batch.append(message)
    finally:
        with suppress(asyncio.CancelledError):
            await subscription.unsubscribe()
