"""A stack of its own for every fault, and what a client may expect of it."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from uuid import uuid4

import aiohttp
import psutil
import pytest

from bench.stack import running
from tests.whole.conftest import BRISK, Darkroom, User

BACK_SECONDS = 40


class Broken(Darkroom):
    """A stack whose processes can be hit."""

    def pid(self, part: str) -> int:
        """The process that plays a part now; the supervisor starts another when it dies."""
        from darkroom.stack import read_stack_file

        return int(read_stack_file(self.data)["pids"][part])

    def kill(self, part: str) -> None:
        os.kill(self.pid(part), signal.SIGKILL)

    def wipe_broker(self) -> None:
        """The broker dies and its disk is empty when it comes back: the supervisor sleeps meanwhile."""
        supervisor = self.stack.supervisor
        supervisor.suspend()
        try:
            nats = psutil.Process(self.pid("nats"))
            nats.kill()
            give_up_at = time.monotonic() + 5
            while nats.is_running() and nats.status() != psutil.STATUS_ZOMBIE and time.monotonic() < give_up_at:
                time.sleep(0.01)
            for store in (self.data / "nats").glob("**/jetstream"):
                shutil.rmtree(store)
        finally:
            supervisor.resume()

    async def ready(self, session: aiohttp.ClientSession) -> None:
        """Waits until every service says that it is ready."""
        give_up_at = time.monotonic() + BACK_SECONDS
        addresses = [f"http://127.0.0.1:{port}/ready" for port in self.known["ports"].values()]
        while time.monotonic() < give_up_at:
            answers = await asyncio.gather(*(_status(session, address) for address in addresses))
            if set(answers) == {200}:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"not ready after {BACK_SECONDS} s: {answers}")


async def _status(session: aiohttp.ClientSession, address: str) -> int:
    try:
        async with session.get(address) as answer:
            return answer.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        return 0


@pytest.fixture(scope="module")
def darkroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    data = tmp_path_factory.mktemp("stack")
    with running(data, **BRISK) as stack:
        broken = Broken(stack, data)
        yield broken
    broken.check_permissions(late_answers=True)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as opened:
        yield opened


@pytest.fixture
def new_user(darkroom: Broken, session: aiohttp.ClientSession) -> Callable[[], User]:
    return lambda: User(darkroom, session, uuid4())
