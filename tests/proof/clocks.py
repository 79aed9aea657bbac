"""Two services' clocks are ten minutes off, in opposite directions: leases and deadlines go by the database (F36)."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from bench.stack import running
from tests.whole.conftest import BRISK, Darkroom, User

OFF_SECONDS = 600
SHIM = Path(__file__).with_name("clock.c")
pytestmark = [pytest.mark.whole, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def darkroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Darkroom]:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler for twenty lines that shift a clock")
    folder = tmp_path_factory.mktemp("clock")
    shim = folder / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, SHIM, "-ldl"], check=True)
    data = tmp_path_factory.mktemp("stack")
    environment = {
        **BRISK,
        "PYTHONPATH": str(Path(__file__).with_name("shifted")),
        "CLOCK_SHIM": str(shim),
        "CLOCKS_OFF": f"generator={OFF_SECONDS},storage=-{OFF_SECONDS}",
    }
    with running(data, **environment) as stack:
        yield Darkroom(stack, data)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as opened:
        yield opened


@pytest.fixture
def new_user(darkroom: Darkroom, session: aiohttp.ClientSession) -> Callable[[], User]:
    return lambda: User(darkroom, session, uuid4())


async def test_f36_a_service_whose_clock_is_ten_minutes_off_loses_nothing(
    darkroom: Darkroom, new_user: Callable[[], User]
) -> None:
    said = (darkroom.data / "logs" / "generator.log").read_text() + (darkroom.data / "logs" / "storage.log").read_text()
    assert f"clock shifted by {OFF_SECONDS} s" in said and f"clock shifted by -{OFF_SECONDS} s" in said
    users = [new_user() for _ in range(5)]
    made = await asyncio.gather(*(user.make(f"By another clock {uuid4()}") for user in users))
    ended = await asyncio.gather(*(user.ended(each["id"]) for user, each in zip(users, made, strict=True)))
    assert {generation["status"] for generation in ended} == {"completed"}
    for user in users:
        assert await user.credits() == {"available": 9, "held": 0, "used": 1, "owed": 0}
    darkroom.audit()
