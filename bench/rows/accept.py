"""Accepting: checked, priced, asked whether it can be paid, promised in a row, said on the bus, 202."""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import aiohttp
import asyncpg
import psutil

from bench.ground import Ground
from bench.load import by_the_clock, many, percentile
from bench.processes import answering, cpu_seconds, memory_megabytes, process, session_of
from bench.rows.generations import MODEL
from bench.stack import Stack
from bench.table import OURS, Contestants, Figures, Goal, Row
from darkroom.embedded.ports import free_port
from darkroom.tokens import make_token

LIMIT = "bare FastAPI + pydantic + one commit"
PER_SECOND = 200
USERS = 500
"""So many that nobody's slots fill up: each request is published."""
AT_ONCE = 8
"""Of the requests that make everybody known."""
ACCEPTED, REFUSED_FOR_NOW = 202, 503
DRAINED_SECONDS = 120
CPU = "CPU ms per request, what answers HTTP alone"
P50, P99 = f"p50 ms at {PER_SECOND}/s", f"p99 ms at {PER_SECOND}/s"
REFUSED = "refused with 503, %"
_UNFINISHED = "SELECT count(*) FROM gateway.generations WHERE status IN ('pending', 'processing')"
_prompts = itertools.count()


@asynccontextmanager
async def contestants(ground: Ground) -> AsyncIterator[Contestants]:
    stack, secret = await ground.darkroom(), await ground.secret()
    await ground.answering_after(0)
    tokens = [make_token(secret, uuid4(), 1, "darkroom") for _ in range(ground.size(USERS, 100))]
    async with AsyncExitStack() as opened:
        session = await opened.enter_async_context(session_of(256))
        database = await asyncpg.connect(stack.known["database_url"])
        opened.push_async_callback(database.close)
        bare_url, bare = await opened.enter_async_context(_bare(ground, stack))
        requests = ground.size(800, 100)
        parts = stack.processes()
        gateway, generator = parts["gateway"], parts["generator"]

        async def ours() -> Figures:
            for each in generator:
                each.suspend()  # the picture itself is another row's
            try:
                return await _accepted(session, stack.url, tokens, gateway, requests)
            finally:
                for each in generator:
                    each.resume()
                await _drained(database)

        async def limit() -> Figures:
            return await _accepted(session, bare_url, tokens, [bare], requests)

        for url in (stack.url, bare_url):
            await _known(session, url, tokens)
        await _drained(database)
        yield {OURS: ours, LIMIT: limit}


@asynccontextmanager
async def _bare(ground: Ground, stack: Stack) -> AsyncIterator[tuple[str, psutil.Process]]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.limits.accept:app", "--port", port]
    command += ["--no-access-log", "--log-level", "warning"]
    settings = {"LIMIT_DATABASE_URL": stack.known["database_url"]}
    with process(command, ground.folder / "accept.log", **settings) as running:
        await answering(f"http://127.0.0.1:{port}/ready", running=[running])
        yield f"http://127.0.0.1:{port}", running


async def _known(session: aiohttp.ClientSession, url: str, tokens: Sequence[str]) -> None:
    """Nobody's first request is measured: accounts are opened, tokens and room known, statements planned."""
    each = iter(tokens)
    await many(lambda: _asked(session, url, next(each)), len(tokens), AT_ONCE)


async def _accepted(
    session: aiohttp.ClientSession, url: str, tokens: Sequence[str], front: Sequence[psutil.Process], requests: int
) -> Figures:
    keys = itertools.cycle(tokens)
    taken: list[float] = []

    async def once(due: float) -> None:
        if await _asked(session, url, next(keys)) == ACCEPTED:
            taken.append(time.perf_counter() - due)

    before = cpu_seconds(front)
    await by_the_clock(once, requests, PER_SECOND)
    used = cpu_seconds(front) - before
    return {
        CPU: 1000 * used / requests,
        P50: percentile(taken, 0.5),
        P99: percentile(taken, 0.99),
        REFUSED: 100 * (requests - len(taken)) / requests,
        "memory, MB": memory_megabytes(front),
    }


async def _asked(session: aiohttp.ClientSession, url: str, token: str) -> int:
    """For a picture that nobody asked for before; the status of the answer."""
    body = {"kind": "image", "model": MODEL, "prompt": f"A quiet harbour, {next(_prompts)}", "size": "512x512"}
    headers = {"Authorization": f"Bearer {token}"}
    async with session.post(f"{url}/v1/generations", json=body, headers=headers) as answer:
        if answer.status not in {ACCEPTED, REFUSED_FOR_NOW}:
            raise RuntimeError(f"{answer.status}: {await answer.text()}")
        await answer.read()
        return answer.status


async def _drained(database: asyncpg.Connection) -> None:
    async with asyncio.timeout(DRAINED_SECONDS):
        while await database.fetchval(_UNFINISHED):  # noqa: ASYNC110 - others finish them
            await asyncio.sleep(0.2)


ROW = Row(
    name="accept",
    title="Accepting a request (202)",
    method=f"""`POST /v1/generations` {PER_SECOND} times a second, by the clock. Ours checks the token, the body and the
rates, prices it, asks the ledger whether it can be paid, commits the promise, says it on the bus and hears that it is
funded. The generator sleeps meanwhile, so that storage has nothing to do but to say who has room, and works it off
afterwards: their part is the first row's. Beside it, in the same run and on the same Postgres, FastAPI checks a body
with pydantic and commits one row. Latencies are of what was accepted; who waits two seconds for a connection to
Postgres is refused with 503, and nothing is recorded.""",
    contestants=contestants,
    goals=(Goal(CPU, at_most=2.0), Goal(P99, at_most=20), Goal(REFUSED, at_most=0)),
    figures=(CPU, P50, P99, REFUSED, "memory, MB"),
)
