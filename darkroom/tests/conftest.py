"""A world for the auditor: what the four services would have written, the log, the objects and the simulator."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest
from nats.aio.client import Client

from contracts.facts import Asset, Ending, Kind, Outcome, Request, Verdict
from contracts.ids import asset_id, new_generation_id
from contracts.money import Quote, cost
from contracts.topology import OUTCOMES, outcome_subject
from darkroom.audit import Finding, Report, examine
from darkroom.audit.evidence import Bounds
from darkroom.embedded import NatsServer
from darkroom.embedded.postgres import execute
from darkroom.jetstream import ask, connect
from darkroom.migration import migrate, service_urls
from darkroom.stack import SERVICES
from darkroom.topology.apply import apply

BYTES = b"a picture"
HASH = sha256(BYTES).hexdigest()
PRICE = 10_000
GRANT = 100_000
HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Made:
    """One generation of two pictures, of which one was delivered where it completed."""

    request: Request
    outcome: Outcome | None
    attempt: UUID = field(default_factory=uuid4)

    @property
    def id(self) -> UUID:
        return self.request.generation_id

    @property
    def verdict(self) -> str:
        return self.outcome.data.verdict if self.outcome else "none"

    @property
    def cost(self) -> int:
        completed = self.outcome is not None and self.outcome.data.verdict is Verdict.COMPLETED
        return cost(self.request.quote, self.outcome.data.delivered) if completed and self.outcome else 0


def generation(user_id: UUID, verdict: Verdict | None) -> Made:
    request = Request(
        generation_id=new_generation_id(),
        user_id=user_id,
        kind=Kind.IMAGE,
        model="seedream-3-0-t2i-250415",
        prompt="a lighthouse",
        count=2,
        quote=Quote(amount=2 * PRICE, unit_price=PRICE, price_version=1),
        deadline_at=datetime.now(UTC) + timedelta(minutes=5),
    )
    if verdict is None:
        return Made(request, None)
    asset = Asset(
        id=asset_id(request.generation_id, 0),
        index=0,
        key="token/original.png",
        mime_type="image/png",
        size_bytes=len(BYTES),
        sha256=HASH,
    )
    assets = (asset,) if verdict is Verdict.COMPLETED else ()
    ending = Ending(generation_id=request.generation_id, verdict=verdict, assets=assets)
    # Said after the log was made, whenever the test makes it.
    said_at = datetime.now(UTC) + timedelta(hours=1)
    return Made(request, Outcome.of(ending, "storage", None).model_copy(update={"time": said_at}))


@dataclass(frozen=True, slots=True)
class Trio:
    """All that one user ever asked for."""

    user: UUID
    completed: Made
    failed: Made
    unfinished: Made

    @classmethod
    def new(cls) -> Self:
        user = uuid4()
        return cls(user, generation(user, Verdict.COMPLETED), generation(user, Verdict.FAILED), generation(user, None))

    @property
    def names(self) -> dict[str, str]:
        """For SQL with these names in braces."""
        return {
            "completed": str(self.completed.id),
            "failed": str(self.failed.id),
            "unfinished": str(self.unfinished.id),
            "completed_attempt": str(self.completed.attempt),
            "failed_attempt": str(self.failed.attempt),
            "user": str(self.user),
            "price": str(PRICE),
        }


@dataclass(frozen=True, slots=True)
class World:
    """Where everything is."""

    trios: list[Trio]
    database_url: str
    nats_url: str
    log: Client
    simulator_url: str
    media_root: Path

    @property
    def trio(self) -> Trio:
        return self.trios[0]

    def object_path(self, trio: Trio) -> Path:
        return self.media_root / str(trio.user) / HASH

    @property
    def storage_environment(self) -> dict[str, str]:
        return {"MEDIA_STORAGE_BACKEND": "local", "MEDIA_ROOT": str(self.media_root)}

    async def record(self) -> None:
        """Everything as it is where all is well."""
        connection = await asyncpg.connect(self.database_url)
        for trio in self.trios:
            grant = {"promotion": -GRANT, "available": GRANT}
            await post(connection, trio.user, f"starting_grant:{trio.user}", "starting_grant", grant)
            for made in (trio.completed, trio.failed, trio.unfinished):
                await record(connection, made)
            await record_purchase(connection, trio.user)
            await record_delivery(connection, trio)
            await connection.execute("INSERT INTO gateway.slots VALUES ($1, 'interactive', 1, 0)", trio.user)
            self.object_path(trio).parent.mkdir(parents=True)
            self.object_path(trio).write_bytes(BYTES)
            for made in (trio.completed, trio.failed):
                assert made.outcome is not None
                await self.log.jetstream().publish(outcome_subject(made.id), made.outcome.encode())
                await self.call_provider(str(made.attempt))
        await connection.execute(_ACCOUNTS)
        await connection.close()

    async def plant(self, sql: str, trio: Trio | None = None) -> None:
        """As a superuser whom no rule stops. Names in braces are filled in."""
        for name, value in (trio or self.trio).names.items():
            sql = sql.replace("{" + name + "}", value)
        connection = await asyncpg.connect(self.database_url)
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(sql)
        await connection.close()

    async def report(self, **bounds: Any) -> Report:
        return await examine(
            self.database_url,
            nats_url=self.nats_url,
            simulator_url=self.simulator_url,
            storage_environment=self.storage_environment,
            bounds=Bounds(**bounds),
        )

    async def audit(self, **bounds: Any) -> list[Finding]:
        """Notes as well as what is wrong."""
        report = await self.report(**bounds)
        assert not [result for result in report.results if result.skipped], "everything was looked at"
        return [finding for result in report.results for finding in result.findings]

    async def call_provider(self, reference: str | None) -> None:
        headers = {"Authorization": "Bearer sk-sim"} | ({"X-Client-Request-Id": reference} if reference else {})
        body = {"model": "seedream-3-0-t2i-250415", "prompt": "a lighthouse", "size": "512x512"}
        address = f"{self.simulator_url}/ark/api/v3/images/generations"
        async with aiohttp.ClientSession() as session, session.post(address, json=body, headers=headers) as answer:
            await answer.read()


@pytest.fixture(scope="module")
async def migrated_url(make_database: Callable[[str], str]) -> str:
    url = make_database("audited")
    await migrate(url, service_urls(url, dict.fromkeys(SERVICES, "secret")))
    return url


@pytest.fixture(scope="module")
def log_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = NatsServer(tmp_path_factory.mktemp("log"))
    server.start()
    yield server.nats_url
    server.stop()


@asynccontextmanager
async def a_world(trios: int, database_url: str, log_url: str, folder: Path) -> AsyncIterator[World]:
    """One in which all is well. The database is migrated and empty; the log is emptied."""
    from simulator.app import start
    from simulator.settings import Settings

    log = await connect(log_url, "test")
    await apply(log)
    await ask(log, f"STREAM.PURGE.{OUTCOMES.name}")
    runner, port = await start(Settings(port=0))
    simulator_url = f"http://127.0.0.1:{port}"
    try:
        world = World([Trio.new() for _ in range(trios)], database_url, log_url, log, simulator_url, folder / "media")
        await world.record()
        yield world
    finally:
        await runner.cleanup()
        await log.close()


@pytest.fixture
async def world(migrated_url: str, postgres_server: Any, log_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A world of one user, to be spoilt."""
    name, template = f"spoilt_{uuid4().hex[:8]}", urlsplit(migrated_url).path.lstrip("/")
    execute(postgres_server.admin_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    async with a_world(1, urlsplit(migrated_url)._replace(path=f"/{name}").geturl(), log_url, tmp_path) as world:
        yield world
    execute(postgres_server.admin_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
async def worlds(migrated_url: str, log_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Makes the module's only world, of so many users: each can be spoilt in another way, and one audit sees all."""
    async with AsyncExitStack() as stack:

        async def make(users: int) -> World:
            return await stack.enter_async_context(
                a_world(users, migrated_url, log_url, tmp_path_factory.mktemp("worlds"))
            )

        yield make


async def record(connection: asyncpg.Connection, made: Made) -> None:
    """What the services would have written."""
    request, quote = made.request, made.request.quote
    outcome = made.outcome.encode().decode() if made.outcome else None
    ended = HOUR_AGO if outcome else None
    values = (made.id, request.user_id, quote.amount, quote.unit_price)
    await connection.execute(
        """INSERT INTO gateway.generations (id, user_id, quote_amount, unit_price, price_version, dialect, kind, lane,
               model, prompt, count, options, published, body_hash, deadline_seconds, p99_seconds, next_drive_at,
               created_at, deadline_at, status, completed_at, outcome)
           VALUES ($1, $2, $3, $4, 1, 'native', 'image', 'interactive', 'seedream-3-0-t2i-250415', 'a lighthouse', 2,
               '{}', true, '', 300, 60, now(), $5, $6, $7, $8, $9)""",
        *(*values, HOUR_AGO, request.deadline_at, made.verdict if outcome else "processing", ended, outcome),
    )
    state = {"none": "open", "completed": "captured", "failed": "released"}[made.verdict]
    await connection.execute(
        """INSERT INTO ledger.holds (generation_id, user_id, amount, unit_price, price_version, state, captured,
               closed_at, outcome_id, outcome) VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9)""",
        *(*values, state, made.cost, ended, made.outcome.id if made.outcome else None, outcome),
    )
    await post(
        connection, request.user_id, f"hold:{made.id}", "hold", {"available": -quote.amount, "held": quote.amount}
    )
    if made.outcome:
        back = {"held": -quote.amount, "revenue": made.cost, "available": quote.amount - made.cost}
        await post(connection, request.user_id, f"settle:{made.id}", "capture" if made.cost else "release", back)
    await connection.execute(
        """INSERT INTO generator.work (generation_id, state, request, deadline_at, fence, outcome)
           VALUES ($1, $2, $3, $4, 1, $5)""",
        *(made.id, "closed" if outcome else "open", request.model_dump_json(), request.deadline_at, outcome),
    )
    await connection.execute(
        """INSERT INTO generator.attempts (id, generation_id, item, number, first_index, count, state, provider,
               process, fence, created_at, ended_at)
           VALUES ($1, $2, 0, 1, 0, 2, $3, 'modelark', gen_random_uuid(), 1, $4, $5)""",
        *(made.attempt, made.id, {"none": "intent", "completed": "rendered", "failed": "failed"}[made.verdict]),
        *(HOUR_AGO, ended),
    )
    await connection.execute(
        "INSERT INTO storage.generations (generation_id, outcome, opened_at, closed_at) VALUES ($1, $2, $3, $4)",
        *(made.id, outcome, HOUR_AGO, ended),
    )
    if made.verdict == "completed":
        await connection.execute(
            """INSERT INTO storage.assets (id, generation_id, index, owner_id, token, state, mime_type, size_bytes,
                   sha256) VALUES ($1, $2, 0, $3, $4, 'stored', 'image/png', $5, $6)""",
            *(asset_id(made.id, 0), made.id, request.user_id, str(made.id), len(BYTES), HASH),
        )


async def record_purchase(connection: asyncpg.Connection, user_id: UUID) -> None:
    """Credits that were bought, and consumed without a generation."""
    payment_id, consumption_id = uuid4(), uuid4()
    await connection.execute(
        """INSERT INTO ledger.payments (id, user_id, pack, credits, price, currency, payment_intent, state, paid_at)
           VALUES ($1, $2, 'small', $3, 100, 'usd', $4, 'paid', now())""",
        *(payment_id, user_id, PRICE, f"pi_{payment_id}"),
    )
    await post(connection, user_id, f"payment:{payment_id}", "payment", {"payments": -PRICE, "available": PRICE})
    await connection.execute(
        "INSERT INTO ledger.consumptions (id, user_id, amount, reason) VALUES ($1, $2, $3, 'consumed')",
        *(consumption_id, user_id, PRICE),
    )
    consumed = {"available": -PRICE, "consumed": PRICE}
    await post(connection, user_id, f"consume:{consumption_id}", "consume", consumed)


async def record_delivery(connection: asyncpg.Connection, trio: Trio) -> None:
    """What a webhook was told of the one that completed, and one of its request's own, as Replicate's clients have it,
    that heard of its start as well."""
    told = {
        (uuid4(), "standard"): ["generation.completed"],
        (trio.completed.id, "replicate"): ["generation.started", "generation.completed"],
    }
    for (webhook_id, style), events in told.items():
        await connection.execute(
            """INSERT INTO gateway.webhooks (id, user_id, url, events, style)
               VALUES ($1, $2, 'https://example.com/', $3, $4)""",
            *(webhook_id, trio.user, events, style),
        )
        await connection.execute(
            """INSERT INTO gateway.deliveries (id, webhook_id, generation_id, event, state, attempts, ended_at)
               SELECT gen_random_uuid(), $1, $2, unnest($3::text[]), 'delivered', 1, now()""",
            *(webhook_id, trio.completed.id, events),
        )


async def post(connection: asyncpg.Connection, user_id: UUID, key: str, kind: str, amounts: dict[str, int]) -> None:
    insert = "INSERT INTO ledger.transactions (key, type) VALUES ($1, $2) RETURNING id"
    async with connection.transaction():
        transaction = await connection.fetchval(insert, key, kind)
        for purse, amount in amounts.items():
            if amount:
                await connection.execute(
                    "INSERT INTO ledger.postings VALUES ($1, $2, $3, $4)", transaction, purse, user_id, amount
                )


_ACCOUNTS = """
    INSERT INTO ledger.accounts (user_id, available, held, used)
    SELECT user_id, coalesce(sum(amount) FILTER (WHERE purse = 'available'), 0),
           coalesce(sum(amount) FILTER (WHERE purse = 'held'), 0),
           coalesce(sum(amount) FILTER (WHERE purse IN ('revenue', 'writeoff', 'consumed')), 0)
    FROM ledger.postings GROUP BY user_id
"""
