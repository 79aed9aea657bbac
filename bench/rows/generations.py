"""The main job, whole: accepted, queued, made, fetched, stored."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from bench.ground import Ground
from bench.load import Client, percentile
from bench.peers import NotInstalledError
from bench.peers.pipelines import CELERY, PROCRASTINATE, TASKIQ, Pipeline, pipeline, servers
from bench.processes import NotAnsweringError, cpu_seconds, memory_megabytes, session_of
from bench.stack import Stack
from bench.table import OURS, Contestants, Figures, Goal, Missing, Round, Row

MODEL, SIZE = "dall-e-2", "512x512"
PER_SECOND = 5
AT_ONCE = 32
OUTSIDE = {"supervisor", "topology", "other"}
"""What only starts the others and repairs the topology; it is in the memory and not in the CPU of a generation."""
CPU, RATE = "CPU-s per 1,000", "generations/s"
P50, P99 = f"p50 ms at {PER_SECOND}/s", f"p99 ms at {PER_SECOND}/s"


@asynccontextmanager
async def contestants(ground: Ground) -> AsyncIterator[Contestants]:
    stack = await ground.darkroom()
    await ground.answering_after(0)
    async with AsyncExitStack() as opened:
        session = await opened.enter_async_context(session_of())
        both = opened.enter_context(servers(ground.folder / "peers"))
        client = Client(session, stack.url, MODEL, SIZE)
        await client.sustained(ground.size(60, 10), 8)
        found: dict[str, Round | Missing] = {OURS: lambda: ours(ground, stack, client)}
        for recipe in (TASKIQ, CELERY, PROCRASTINATE):
            try:
                peer = await opened.enter_async_context(pipeline(ground, both, session, recipe))
            except (NotInstalledError, NotAnsweringError) as error:
                found[recipe.name] = Missing(str(error))
                continue
            await peer.sustained(ground.size(60, 10), 8)
            found[recipe.name] = _theirs(ground, peer)
        yield found


async def ours(ground: Ground, stack: Stack, client: Client) -> Figures:
    paced = await client.open_loop(ground.size(60, 10), PER_SECOND)
    requests = ground.size(600, 60)
    before = stack.cpu_seconds()
    rate = await client.sustained(requests, AT_ONCE)
    after = stack.cpu_seconds()
    parts = {part: 1000 * (after[part] - before.get(part, 0)) / requests for part in after if part not in OUTSIDE}
    return {
        CPU: sum(parts.values()),
        P50: percentile(paced, 0.5),
        P99: percentile(paced, 0.99),
        RATE: rate,
        "memory, MB": sum(stack.memory_megabytes().values()),
        **{f"{CPU}: {part}": used for part, used in sorted(parts.items())},
    }


def _theirs(ground: Ground, peer: Pipeline) -> Round:
    async def measure() -> Figures:
        paced = await peer.paced(ground.size(60, 10), PER_SECOND)
        requests = ground.size(600, 60)
        before = cpu_seconds(peer.processes)
        rate = await peer.sustained(requests, AT_ONCE)
        used = cpu_seconds(peer.processes) - before
        return {
            CPU: 1000 * used / requests,
            P50: percentile(paced, 0.5),
            P99: percentile(paced, 0.99),
            RATE: rate,
            "memory, MB": memory_megabytes(peer.processes),
        }

    return measure


ROW = Row(
    name="generations",
    title="A picture of 64 KB, made and stored",
    method="""Everybody calls the same provider, which answers at once, fetches the picture, writes it to the disk and
a row to Postgres. Ours moves credits, publishes facts, tells the client and decodes the picture besides; variants are
made when asked for, moderation is off. Our clients wait in a synchronous request until all of that is done and
answered. A peer accepts with 202, and its time ends with its worker's row, just before that is committed: nothing is
charged to it for telling the client, but one `GET` for each job at the end. CPU is that of API, worker, Postgres and
broker, not that of the client and of the provider. The peers: one uvicorn process and one worker service; taskiq with
Redis streams, 32 jobs at a time; Celery with prefork 4, acknowledged late; procrastinate with 32 jobs at a time.
Redis is Valkey. The HTTP client is aiohttp everywhere, but urllib3 in Celery, whose tasks are not asynchronous.""",
    contestants=contestants,
    goals=(
        Goal(CPU, at_most=1.0, of=CELERY.name),
        Goal(CPU, at_most=1.0, of=TASKIQ.name),
        Goal(CPU, at_most=15),
        Goal(P50, at_most=12),
        Goal(P50, at_most=30),
        Goal(P99, at_most=30),
        Goal(P99, at_most=90),
        Goal(RATE, at_least=1.0, of=CELERY.name),
        Goal(RATE, at_least=1.0, of=TASKIQ.name),
    ),
    figures=(CPU, P50, P99, RATE, "memory, MB"),
)
