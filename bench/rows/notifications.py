"""Telling clients: thousands of open event streams at one gateway."""

import asyncio
import hashlib
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import aiohttp
import asyncpg
import nats
import psutil

from bench.filling import copied
from bench.ground import Ground
from bench.listeners import Listener, all_heard, listening
from bench.load import percentile
from bench.processes import answering, cpu_seconds, process, session_of
from bench.rows.generations import MODEL
from bench.stack import Stack
from bench.table import OURS, Contestants, Figures, Goal, Round, Row
from contracts.facts import Notice, Notified, Verdict
from contracts.topology import notification_subject
from darkroom.embedded.ports import free_port
from darkroom.tokens import make_token

LIMIT = "bare Starlette streams"
CLIENTS, SHORT_CLIENTS = 2000, 100
PER_SECOND = 5
BURST = 5
IN_FLIGHT = 256
P50, P99 = "everybody told once, p50 ms", "everybody told once, p99 ms"
RATE, CPU, KILOBYTES = "events/s", "CPU µs per event", "KB for each client"
WRITTEN = "events/s while they are written"
AGAIN = "streams taken up again so far"
DONE_P50, DONE_P99 = "provider answered → client told, p50 ms", "provider answered → client told, p99 ms"
_prompts = itertools.count()


def _uuid(of: str, number: int) -> UUID:
    """As `md5(of || number)::uuid` in Postgres."""
    return UUID(hashlib.md5(f"{of}{number}".encode(), usedforsecurity=False).hexdigest())


def _told_to(number: int, shown: str) -> tuple[str, bytes]:
    """Subject and fact of what one client is told, written down before the time is taken."""
    user = _uuid("told", number)
    notice = Notice(
        generation_id=_uuid("ended", number), user_id=user, status=Verdict.COMPLETED, dialect="native", shown=shown
    )
    return notification_subject(user, "completed"), Notified.of(notice, "gateway", None).encode()


@dataclass
class Told:
    """The clients of one server and the process that serves them."""

    server: psutil.Process
    listeners: list[Listener] = field(default_factory=list)
    kilobytes: float = 0.0

    async def connect(self, url: str, paths: Sequence[str], tokens: Sequence[str]) -> None:
        before = self.server.memory_info().rss
        self.listeners = await listening(url, paths, tokens)
        self.kilobytes = (self.server.memory_info().rss - before) / 1024 / len(paths)

    def close(self) -> None:
        for each in self.listeners:
            each.close()

    def forget(self) -> None:
        for each in self.listeners:
            each.heard.clear()


@asynccontextmanager
async def contestants(ground: Ground) -> AsyncIterator[Contestants]:
    stack, secret = await ground.darkroom(), await ground.secret()
    await ground.answering_after(0)
    clients = ground.size(CLIENTS, SHORT_CLIENTS)
    tokens = [make_token(secret, _uuid("told", number), 1, "darkroom") for number in range(1, clients + 1)]
    async with AsyncExitStack() as opened:
        session = await opened.enter_async_context(session_of())
        database = await asyncpg.connect(stack.known["database_url"])
        opened.push_async_callback(database.close)
        shown = await _ended_before(session, stack, secret, database, clients)
        bus = await nats.connect(stack.known["nats_url"])
        opened.push_async_callback(bus.close)
        bare_url, bare = await opened.enter_async_context(_bare(ground))
        theirs, ours = Told(bare), Told(stack.processes()["gateway"][0])
        await theirs.connect(bare_url, [f"/events/{number}" for number in range(clients)], tokens)
        opened.callback(theirs.close)
        await ours.connect(stack.url, ["/v1/events"] * clients, tokens)
        opened.callback(ours.close)

        facts = [_told_to(number, shown) for number in range(1, clients + 1)]

        async def everybody(times: int) -> None:
            stream = bus.jetstream(timeout=30, publish_async_max_pending=IN_FLIGHT)
            said = [await stream.publish_async(*fact) for fact in facts * times]
            await asyncio.gather(*said)

        async def lay(times: int) -> float:
            ours.server.suspend()
            try:
                await everybody(times)
            finally:
                began = time.perf_counter()
                ours.server.resume()
            return began

        async def say(times: int) -> float:
            began = time.perf_counter()
            for _ in range(times):
                async with session.post(f"{bare_url}/say", data=shown) as answer:
                    answer.raise_for_status()
            return began

        async def measure_ours() -> Figures:
            figures = await _told(ours, lay, clients)
            figures |= await _while_written(ours, everybody, clients)
            return figures | await _after_the_provider(ground, session, stack, tokens, ours)

        found: dict[str, Round] = {OURS: measure_ours, LIMIT: lambda: _told(theirs, say, clients)}
        yield found


async def _told(told: Told, say: Callable[[int], Awaitable[float]], clients: int) -> Figures:
    """`say` returns when the server could begin to tell."""
    told.forget()
    saying = asyncio.ensure_future(say(1))
    heard = await all_heard(told.listeners, 1)
    began = await saying
    once = [at - began for at in heard]
    told.forget()
    before = cpu_seconds([told.server])
    saying = asyncio.ensure_future(say(BURST))
    ended = max(await all_heard(told.listeners, BURST))
    began = await saying
    return {
        P50: percentile(once, 0.5),
        P99: percentile(once, 0.99),
        RATE: BURST * clients / (ended - began),
        CPU: 1e6 * (cpu_seconds([told.server]) - before) / (BURST * clients),
        KILOBYTES: told.kilobytes,
        AGAIN: sum(each.came_back for each in told.listeners),
    }


async def _while_written(told: Told, write: Callable[[int], Awaitable[None]], clients: int) -> Figures:
    told.forget()
    began = time.perf_counter()
    writing = asyncio.ensure_future(write(BURST))
    ended = max(await all_heard(told.listeners, BURST))
    await writing
    return {WRITTEN: BURST * clients / (ended - began)}


async def _after_the_provider(
    ground: Ground, session: aiohttp.ClientSession, stack: Stack, tokens: Sequence[str], told: Told
) -> Figures:
    """Pictures of different users who listen: from the provider's answer to the client's event."""
    told.forget()
    pictures = min(ground.size(75, 15), len(tokens))
    prompts = [f"A quiet harbour, told {next(_prompts)}" for _ in range(pictures)]

    async def one(index: int) -> None:
        await asyncio.sleep(index / PER_SECOND)
        body = {"kind": "image", "model": MODEL, "prompt": prompts[index], "size": "512x512"}
        headers = {"Authorization": f"Bearer {tokens[index]}"}
        async with session.post(f"{stack.url}/v1/generations", json=body, headers=headers) as answer:
            if answer.status != 202:
                raise RuntimeError(f"{answer.status}: {await answer.text()}")

    await asyncio.gather(*map(one, range(pictures)))
    asked = told.listeners[:pictures]
    await all_heard(asked, 1)
    async with session.get(f"{await ground.upstream()}/__bench/answered") as answer:
        answered = await answer.json()
    taken = [each.heard[0] - answered[prompt] for each, prompt in zip(asked, prompts, strict=True)]
    return {DONE_P50: percentile(taken, 0.5), DONE_P99: percentile(taken, 0.99)}


async def _ended_before(
    session: aiohttp.ClientSession, stack: Stack, secret: str, database: asyncpg.Connection, clients: int
) -> str:
    """A finished generation of each user, copied from one that was made; how the gateway shows that."""
    user = _uuid("told", 0)
    headers = {"Authorization": f"Bearer {make_token(secret, user, 1, 'darkroom')}", "Prefer": "wait=30"}
    body = {"kind": "image", "model": MODEL, "prompt": "A quiet harbour, the first", "size": "512x512"}
    async with session.post(f"{stack.url}/v1/generations", json=body, headers=headers) as answer:
        made = await answer.json()
    while made["status"] != "completed":
        if made["status"] not in {"pending", "processing"}:
            raise RuntimeError(f"the first picture ended otherwise: {made}")
        await asyncio.sleep(0.05)
        async with session.get(f"{stack.url}/v1/generations/{made['id']}", headers=headers) as answer:
            made = await answer.json()
    changes = {"id": "md5('ended' || n)::uuid", "user_id": "md5('told' || n)::uuid"}
    await copied(database, "gateway.generations", f"t.id = '{UUID(made['id'])}'", clients, changes)
    return json.dumps(made, separators=(",", ":"))


@asynccontextmanager
async def _bare(ground: Ground) -> AsyncIterator[tuple[str, psutil.Process]]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.limits.stream:app", "--port", port]
    command += ["--no-access-log", "--log-level", "warning"]
    with process(command, ground.folder / "stream.log") as running:
        await answering(f"http://127.0.0.1:{port}/ready", running=[running])
        yield f"http://127.0.0.1:{port}", running


ROW = Row(
    name="notifications",
    title=f"Telling {CLIENTS:,} clients of one process",
    method=f"""{CLIENTS:,} users, each with an open event stream (`GET /v1/events`). Everybody is told once at the same
time, then {BURST} times without a pause. For us that is a message for each user and time, with the generation in it as
the gateway puts it there, written to NATS and synced, read and written out by the gateway: what a client is told, its
next read shows. The messages lie in NATS before the time is taken: the gateway's process is stopped while they are
written, and the time runs from when it goes on until the last client has the last event. Otherwise the pace would be
that of whoever writes them, one process that says each and waits until it is synced. How fast that goes, with
the gateway telling meanwhile, is a figure of its own. The limit says the same words to a queue for each client, without
a user, a log or a bus: it has nothing to read. Then {PER_SECOND} pictures a second are asked for, and the time is taken
from the provider's answer until the client has its event: fetched, decoded, stored, committed, recorded, told.""",
    contestants=contestants,
    goals=(
        Goal(RATE, at_least=0.7, of=LIMIT),
        Goal(P99, at_most=1.43, of=LIMIT),
        Goal(KILOBYTES, at_most=40),
        Goal(DONE_P99, at_most=25),
    ),
    figures=(P50, P99, RATE, WRITTEN, CPU, KILOBYTES, AGAIN, DONE_P50, DONE_P99),
)
