"""From `make up` to ready, and what a stack takes that nobody asks for anything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.ground import Ground, stack_environment
from bench.stack import running
from bench.table import OURS, Contestants, Figures, Goal, Row

WARM, IDLE, MEMORY = "warm start to ready, s", "CPU at rest, % of a core", "memory at rest, MB"
SETTLING_SECONDS = 10
"""What a start brings with it is over."""


@asynccontextmanager
async def contestants(ground: Ground) -> AsyncIterator[Contestants]:
    data = ground.folder / "started"
    environment = stack_environment(await ground.upstream())
    with running(data, **environment):
        pass  # installed, migrated

    async def ours() -> Figures:
        with running(data, **environment) as stack:
            await asyncio.sleep(SETTLING_SECONDS)
            watched = ground.size(20, 5)
            before = sum(stack.cpu_seconds().values())
            await asyncio.sleep(watched)
            used = sum(stack.cpu_seconds().values()) - before
            memory = stack.memory_megabytes()
            return {
                WARM: stack.ready_seconds,
                MEMORY: sum(memory.values()),
                IDLE: 100 * used / watched,
                **{f"{MEMORY}: {part}": value for part, value in sorted(memory.items())},
            }

    yield {OURS: ours}


ROW = Row(
    name="start",
    title="Start and rest",
    method="""`darkroom up` on a folder where it ran before: NATS, Postgres, the watcher of the topology and the four
services, until each says that it is ready. Then nobody asks for anything. Memory is the proportional set size of all
processes, the supervisor and Postgres's own included, so that shared pages are counted once.""",
    contestants=contestants,
    goals=(Goal(WARM, at_most=8), Goal(MEMORY, at_most=600), Goal(IDLE, at_most=2)),
    figures=(WARM, MEMORY, IDLE),
    rounds=2,
)
