"""A Darkroom that has been used: does a generation cost more where millions have been made?"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from bench.filling import copied
from bench.ground import Ground, stack_environment
from bench.ledger import FILL
from bench.load import Client
from bench.processes import session_of
from bench.rows.generations import AT_ONCE, CPU, MODEL, OUTSIDE, SIZE
from bench.stack import Stack, running
from bench.table import OURS, Contestants, Figures, Goal, Missing, Round, Row

FEW, MANY = 10_000, 1_000_000
SHORT_FEW, SHORT_MANY = 1_000, 10_000
NEW, TWICE = "hardly used", "two processes of each service"
SCALING_CORES = 4
AT_A_TIME = 2
"""Tables that are filled at a time: a million of each take some minutes of one core."""
ROWS_BEFORE = "generations before"
_LAST = "(SELECT id FROM gateway.generations ORDER BY created_at DESC LIMIT 1)"
_GENERATION, _USER = "md5('filled' || n)::uuid", "md5('user' || n % 5000)::uuid"
TABLES = (
    ("gateway.generations", "id", {"id": _GENERATION, "user_id": _USER}),
    ("ledger.holds", "generation_id", {"generation_id": _GENERATION, "user_id": _USER}),
    ("generator.work", "generation_id", {"generation_id": _GENERATION}),
    ("generator.attempts", "generation_id", {"id": "gen_random_uuid()", "generation_id": _GENERATION}),
    ("storage.generations", "generation_id", {"generation_id": _GENERATION}),
    (
        "storage.assets",
        "generation_id",
        {
            "id": "gen_random_uuid()",
            "token": "encode(sha256(('t' || n)::bytea), 'hex')",
            "generation_id": _GENERATION,
            "owner_id": _USER,
            "sha256": "encode(sha256(n::text::bytea), 'hex')",
        },
    ),
)
"""What a completed generation leaves, which column names it, and what is another's in a copy."""


@asynccontextmanager
async def contestants(ground: Ground) -> AsyncIterator[Contestants]:
    environment = stack_environment(await ground.upstream())
    await ground.answering_after(0)
    sizes = {
        OURS: ground.size(MANY, SHORT_MANY),
        NEW: ground.size(FEW, SHORT_FEW),
    }
    async with AsyncExitStack() as opened:
        session = await opened.enter_async_context(session_of())
        found: dict[str, Round | Missing] = {}
        for name, before in sizes.items():
            stack = opened.enter_context(running(ground.folder / f"grown-{before}", **environment))
            client = Client(session, stack.url, MODEL, SIZE)
            await client.sustained(20, 4)
            await _fill(stack, before)
            await client.sustained(ground.size(60, 10), 8)  # plans are made anew
            found[name] = _round(ground, stack, client, before)
        found[TWICE] = Missing(
            f"scaling needs {SCALING_CORES} cores or more, here are {os.cpu_count()}: two processes of a service that "
            "share two cores with four others, Postgres, NATS and the client show the machine's limit, not ours"
        )
        yield found


async def _fill(stack: Stack, generations: int) -> None:
    """As many finished generations, with all that they leave in the four schemas, as if they had been made."""
    async with asyncpg.create_pool(stack.known["database_url"], min_size=1, max_size=AT_A_TIME) as pool:
        last = await pool.fetchval(f"SELECT {_LAST}")

        async def table(name: str, column: str, changes: Mapping[str, str]) -> None:
            async with pool.acquire() as connection:
                await copied(connection, name, f"t.{column} = '{last}'", generations, changes)

        postings = pool.execute(FILL.format(pairs=2 * generations))  # a hold and a capture, of two postings each
        await asyncio.gather(postings, *(table(*each) for each in TABLES))
        # As they are once they are old; otherwise that is done in the middle of a round, and counted to it.
        await pool.execute("VACUUM (FREEZE, ANALYZE)")
        await pool.execute("CHECKPOINT")


def _round(ground: Ground, stack: Stack, client: Client, before: int) -> Round:
    async def measure() -> Figures:
        requests = ground.size(400, 30)
        used_before = stack.cpu_seconds()
        rate = await client.sustained(requests, AT_ONCE)
        after = stack.cpu_seconds()
        parts = {part: 1000 * (after[part] - used_before.get(part, 0)) / requests for part in after}
        parts = {part: used for part, used in parts.items() if part not in OUTSIDE}
        return {
            ROWS_BEFORE: before,
            CPU: sum(parts.values()),
            "generations/s": rate,
            **{f"{CPU}: {part}": used for part, used in sorted(parts.items())},
        }

    return measure


ROW = Row(
    name="growth",
    title="A million generations later",
    method=f"""Two stacks, alike but for how many finished generations of five thousand users lie in all their tables
({FEW:,} and {MANY:,}; {SHORT_FEW:,} and {SHORT_MANY:,} in the short form), vacuumed; then both make pictures in short
turns.""",
    contestants=contestants,
    goals=(Goal(CPU, at_most=1.1, of=NEW),),
    figures=(ROWS_BEFORE, CPU, "generations/s"),
    rounds=9,  # short turns: between long ones the machine changes more than we do
)
