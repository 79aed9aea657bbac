"""One simulator per session; a migrated database and fresh streams per module; generator processes on demand."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.errors import NotFoundError

from contracts.facts import Request
from contracts.topology import DEAD, GENERATION, OUTCOMES
from darkroom.embedded import Process as ChildProcess
from darkroom.embedded import free_port
from darkroom.topology.apply import apply

from .stage import Process, Simulator


@pytest.fixture(scope="session")
def simulator_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The provider: a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "simulator", "--port", str(port)]
    log_path = tmp_path_factory.mktemp("simulator") / "simulator.log"
    process = ChildProcess("simulator", command, log_path=log_path, env=os.environ)
    process.start()
    try:
        process.wait_ready(lambda: "listens" in process.log_tail())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


@pytest.fixture
def simulator(simulator_url: str) -> Simulator:
    simulator = Simulator(simulator_url)
    simulator.reset()
    return simulator


@pytest.fixture(scope="module")
async def database_url(make_database: Callable[..., str], make_template: Callable[[str], Awaitable[str]]) -> str:
    return make_database("generator", like=await make_template("generator"))


@pytest.fixture(scope="module")
async def streams(nats_server) -> AsyncIterator[str]:
    """The address of a broker with empty streams; nothing of another test module is delivered."""
    async with await nats.connect(nats_server.nats_url) as client:
        for name in (GENERATION.name, OUTCOMES.name, DEAD.name, "OBJ_claims"):
            with contextlib.suppress(NotFoundError):
                await client.jetstream().delete_stream(name)
        assert all(change.done != "refused" for change in await apply(client))
    return nats_server.nats_url


@pytest.fixture
async def make_process(
    database_url: str, streams: str, simulator: Simulator
) -> AsyncIterator[Callable[..., "asyncio.Future[Process]"]]:
    """Everything that one process of the generator has, without its loops, for a test to drive by hand."""
    made: list[Process] = []

    async def make(lease_seconds: float = 15.0, **moderated: str) -> Process:
        made.append(await Process.start(database_url, streams, simulator.url, lease_seconds, **moderated))
        return made[-1]

    yield make
    for process in made:
        await process.stop()


@pytest.fixture
async def process(make_process) -> Process:
    return await make_process()


@pytest.fixture
def kill(database_url: str, streams: str, simulator: Simulator) -> Callable[..., Any]:
    """Runs a generator process that is killed at a point of the way."""

    async def run(**at: Sequence[Request]) -> None:
        victim = await asyncio.create_subprocess_exec(
            sys.executable,
            Path(__file__).with_name("victim.py"),
            *(f"{point}={request.model_dump_json()}" for point, requests in at.items() for request in requests),
            env=os.environ | {"DATABASE": database_url, "BROKER": streams, "SIMULATOR": simulator.url},
            stderr=asyncio.subprocess.PIPE,
        )
        _, complaint = await victim.communicate()
        assert victim.returncode == -signal.SIGKILL, complaint.decode()[-2000:]

    return run
