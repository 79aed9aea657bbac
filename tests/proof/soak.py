"""Under a steady load nothing grows: memory, descriptors, threads, tasks, connections to the database (P25).
`make soak`."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from statistics import linear_regression
from uuid import uuid4

import aiohttp
import asyncpg
import psutil
import pytest

from bench.stack import running
from darkroom.stack import SERVICES
from tests.whole.conftest import BRISK, Darkroom, User

SECONDS = float(os.environ.get("SOAK_SECONDS", "7200"))
PER_SECOND = 5.0
USERS = 200
"""Who ask in turns: of each a process knows something for a while, up to a number that two hours do not reach."""
SAMPLE_SECONDS = max(1.0, SECONDS / 400)
WARM_UP = 1 / 6
"""Of the whole time: caches fill, pools open."""
MOST_MEGABYTES_AN_HOUR = 20.0 if SECONDS < 3600 else 1.0
"""In a short run a slope is mostly noise: it shows a leak per request and no more."""
MOST_BYTES_A_GENERATION = 4096
"""In the memory of NATS, which has an index of what it keeps: for a day to a month, so it grows until then."""
MOST_OTHERS_AN_HOUR = 60.0 if SECONDS < 3600 else 4.0
pytestmark = [pytest.mark.whole, pytest.mark.timeout(SECONDS + 300)]

Sample = dict[str, float]


@pytest.fixture(scope="module")
def darkroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Darkroom]:
    data = tmp_path_factory.mktemp("stack")
    with running(data, **{**BRISK, "DEFAULT_USER_CREDITS": "100000"}) as stack:
        yield Darkroom(stack, data)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as opened:
        yield opened


@pytest.fixture
def new_user(darkroom: Darkroom, session: aiohttp.ClientSession) -> Callable[[], User]:
    return lambda: User(darkroom, session, uuid4())


async def sample(darkroom: Darkroom, session: aiohttp.ClientSession) -> Sample:
    """By part and what: `gateway megabytes`, `gateway descriptors`, `gateway tasks`, …"""
    taken: Sample = {}
    for part, processes in darkroom.stack.processes().items():
        if part in {"gateway", "ledger", "generator", "storage", "nats", "topology"}:
            alive = [process for process in processes if process.is_running()]
            taken[f"{part} megabytes"] = sum(process.memory_full_info().uss for process in alive) / 2**20
            taken[f"{part} descriptors"] = sum(process.num_fds() for process in alive)
            taken[f"{part} threads"] = sum(process.num_threads() for process in alive)
    for service in SERVICES:
        async with session.get(f"http://127.0.0.1:{darkroom.known['ports'][service]}/metrics") as answer:
            [tasks] = re.findall(r"^event_loop_tasks (\S+)$", await answer.text(), re.MULTILINE)
        taken[f"{service} tasks"] = float(tasks)
    connection = await asyncpg.connect(darkroom.known["database_url"])
    try:
        taken["connections"] = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        )
    finally:
        await connection.close()
    return taken


async def test_p25_nothing_grows_under_a_steady_load(
    darkroom: Darkroom, session: aiohttp.ClientSession, new_user: Callable[[], User]
) -> None:
    began = time.monotonic()
    refused: list[int] = []

    users = [new_user() for _ in range(USERS)]

    async def ask(user: User) -> None:
        body = {"kind": "image", "prompt": f"Soak {uuid4()}", "size": "512x512"}
        status, made, _ = await user.call("POST", "/v1/generations", json=body)
        if status != 202:
            refused.append(status)
        else:
            assert (await user.ended(made["id"], 120))["status"] == "completed"

    asking: set[asyncio.Task[None]] = set()
    samples: list[tuple[float, Sample]] = []
    sent = 0
    while (passed := time.monotonic() - began) < SECONDS:
        while sent < passed * PER_SECOND:
            asking.add(asyncio.create_task(ask(users[sent % USERS])))
            sent += 1
        for task in [task for task in asking if task.done()]:
            asking.discard(task)
            task.result()
        if not samples or passed - samples[-1][0] >= SAMPLE_SECONDS:
            try:
                samples.append((passed, await sample(darkroom, session)))
                print(f"{passed:.0f} s: {len(refused)} refused, {_short(samples[-1][1])}", flush=True)
            except psutil.NoSuchProcess:
                pytest.fail("a process of the stack ended")
        await asyncio.sleep(0.02)
    await asyncio.gather(*asking)
    await asyncio.to_thread(darkroom.audit)
    warm = [(at / 3600, taken) for at, taken in samples if at > SECONDS * WARM_UP]
    slopes = {name: _slope([(at, taken[name]) for at, taken in warm]) for name in warm[0][1]}
    print(f"soak: {sent} in {SECONDS:.0f} s, refused {len(refused)}, slopes an hour:")
    print("\n".join(f"  {name}: {slope:+.2f} (now {warm[-1][1][name]:.1f})" for name, slope in slopes.items()))
    assert refused == []
    if SECONDS >= 600:
        for name, slope in slopes.items():
            assert slope < _most(name), name


def _short(taken: Sample) -> str:
    """Megabytes and descriptors of each part, for whoever loses the rest of two hours or asks when something grew."""
    parts = [name.removesuffix(" megabytes") for name in taken if name.endswith(" megabytes")]
    return ", ".join(f"{part} {taken[f'{part} megabytes']:.1f}/{taken[f'{part} descriptors']:.0f}" for part in parts)


def _most(name: str) -> float:
    """What one figure may grow by in an hour."""
    if name == "nats megabytes":
        return MOST_BYTES_A_GENERATION * PER_SECOND * 3600 / 2**20
    return MOST_MEGABYTES_AN_HOUR if "megabytes" in name else MOST_OTHERS_AN_HOUR


def _slope(points: list[tuple[float, float]]) -> float:
    return linear_regression([at for at, _ in points], [value for _, value in points]).slope
