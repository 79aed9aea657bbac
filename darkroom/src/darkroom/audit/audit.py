"""The audit: its table of checks, and where it gets what they look at."""

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import asyncpg

from darkroom import namespaces
from darkroom.audit import assets, attempts, deliveries, generations, holds, listing, money
from darkroom.audit.evidence import STATEMENT_SECONDS, Bounds, Evidence, Journal, read_log
from darkroom.audit.findings import Finding, Report, Result
from darkroom.jetstream import connect

CONNECT_SECONDS = 10
JOURNAL_SECONDS = 30
WORK_MEMORY = "64MB"
"""Of the server, for each step of a statement."""

Check = Callable[[Evidence], Awaitable[Result]]
CHECKS: tuple[Check, ...] = (
    generations.unfinished,
    generations.statuses,
    generations.outcomes,
    generations.closed,
    generations.slots,
    holds.ended,
    holds.captured,
    money.postings,
    money.balances,
    money.payments,
    money.consumed,
    money.revenue,
    attempts.paid_twice,
    attempts.left_open,
    attempts.journal,
    assets.rows,
    assets.left_behind,
    assets.objects,
    listing.listed,
    deliveries.owed,
    holds.corrections,
)


async def audit(
    database_url: str,
    *,
    nats_url: str | None = None,
    simulator_url: str | None = None,
    storage_environment: Mapping[str, str] | None = None,
    bounds: Bounds = Bounds(),  # noqa: B008 - frozen
) -> list[Finding]:
    """What is wrong; empty when all is well. See `examine`."""
    report = await examine(
        database_url,
        nats_url=nats_url,
        simulator_url=simulator_url,
        storage_environment=storage_environment,
        bounds=bounds,
    )
    return report.wrong


async def examine(
    database_url: str,
    *,
    nats_url: str | None = None,
    simulator_url: str | None = None,
    storage_environment: Mapping[str, str] | None = None,
    bounds: Bounds = Bounds(),  # noqa: B008 - frozen
) -> Report:
    """Every check, on one snapshot of the database. What is not named is not looked at, and the report says so.

    Raises:
        OSError, asyncpg.PostgresError, nats.errors.Error, aiohttp.ClientError: a source does not answer.
    """
    async with AsyncExitStack() as stack:
        # An attempt is written before its call: a journal that is read before the snapshot knows no younger one.
        journal = None if simulator_url is None else await _journal(simulator_url)
        snapshot = await _snapshot(database_url, stack)
        evidence = Evidence(snapshot, bounds, journal=journal, schemas=await namespaces.found(snapshot))
        if nats_url is not None:
            client = await connect(nats_url, "audit")
            stack.push_async_callback(client.close)
            evidence.log = await read_log(client, bounds.log_messages)
        if storage_environment is not None:
            evidence.objects = objects_of(storage_environment)
            stack.push_async_callback(evidence.objects.close)
        return Report([await check(evidence) for check in CHECKS])


async def _snapshot(database_url: str, stack: AsyncExitStack) -> asyncpg.Connection:
    """A connection that can change nothing and sees one moment of all schemas."""
    connection = await asyncpg.connect(
        database_url,
        timeout=CONNECT_SECONDS,
        server_settings={
            "application_name": "audit",
            "default_transaction_read_only": "on",
            "statement_timeout": f"{STATEMENT_SECONDS}s",
            # Sums over everything are sorted and hashed in memory, and nothing is compiled for one run.
            "work_mem": WORK_MEMORY,
            "jit": "off",
        },
    )
    stack.push_async_callback(connection.close)
    await stack.enter_async_context(connection.transaction(isolation="repeatable_read", readonly=True))
    await connection.fetchval("SELECT 1")  # the snapshot is taken by the first statement
    return connection


async def _journal(simulator_url: str) -> Journal:
    timeout = aiohttp.ClientTimeout(total=JOURNAL_SECONDS)
    read_at = time.monotonic()
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"{simulator_url}/__sim/journal", raise_for_status=True) as answer,
    ):
        return Journal(await answer.json(), read_at)


def objects_of(environment: Mapping[str, str]) -> Any:
    """The store that the storage service was told to use."""
    from storage.settings import StoreSettings
    from storage.stores import make_objects

    given: dict[str, Any] = {
        name.lower(): value for name, value in environment.items() if name.lower() in StoreSettings.model_fields
    }
    return make_objects(StoreSettings(**given))
