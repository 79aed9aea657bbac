"""Version N-1 works beside version N: on N's database, streams and permissions, with its own code (`tests/former`)."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import aiohttp
import psutil
import pytest

from darkroom.embedded.ports import LOOPBACK, free_port
from darkroom.stack import SERVICES
from tests.former import sources
from tests.whole.conftest import Darkroom, User

pytestmark = [pytest.mark.whole, pytest.mark.timeout(240)]

READY_SECONDS = 120
STOP_SECONDS = 30
MOST_ROUNDS = 20


@pytest.fixture
def former(darkroom: Darkroom, tmp_path: Path) -> Iterator[dict[str, int]]:
    """One process of each of N-1's services beside those of today; service → port."""
    path = ":".join(map(str, sources(tmp_path / "former")))
    ports = {service: free_port() for service in SERVICES}
    processes = []
    try:
        for service, port in ports.items():
            told = psutil.Process(darkroom.known["pids"][service]).environ()
            told |= {"PYTHONPATH": path, f"{service.upper()}_PORT": str(port), "GATEWAY_FRONTENDS": ""}
            with (tmp_path / f"{service}.log").open("w") as log:
                processes.append(subprocess.Popen([sys.executable, "-m", service], env=told, stderr=log))
        yield ports
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


async def ready(session: aiohttp.ClientSession, port: int) -> None:
    give_up_at = time.monotonic() + READY_SECONDS
    last = ""
    while time.monotonic() < give_up_at:
        try:
            async with session.get(f"http://{LOOPBACK}:{port}/ready") as answer:
                last = await answer.text()
                if answer.status == 200:
                    return
        except aiohttp.ClientError as error:
            last = type(error).__name__
        await asyncio.sleep(0.1)
    raise AssertionError(f"not ready after {READY_SECONDS} s: {last}")


async def handled(session: aiohttp.ClientSession, port: int) -> dict[str, float]:
    """Result → how many facts a process has handled."""
    async with session.get(f"http://{LOOPBACK}:{port}/metrics") as answer:
        found = re.findall(r'^facts_handled_total\{.*result="(\w+)"\} (\S+)$', await answer.text(), re.MULTILINE)
    return {result: sum(float(count) for each, count in found if each == result) for result, _ in found}


async def test_the_former_version_works_beside_this_one(
    darkroom: Darkroom, session: aiohttp.ClientSession, former: dict[str, int]
) -> None:
    await asyncio.gather(*(ready(session, port) for port in former.values()))
    known = {**darkroom.known, "url": f"http://{LOOPBACK}:{former['gateway']}"}
    before = Darkroom(replace(darkroom.stack, known=known), darkroom.data)
    for _ in range(MOST_ROUNDS):
        # Asked for at one version's door, looked at through the other one's.
        user_id = uuid4()
        today, yesterday = User(darkroom, session, user_id), User(before, session, user_id)
        paid = 0.0
        for asked, shown in ((today, yesterday), (yesterday, today)):
            made = await asked.make("Made by two versions")
            ended = await shown.ended(made["id"])
            assert ended["status"] == "completed", ended
            await shown.download(ended["assets"][0]["url"])
            paid += ended["cost"]
        for user in (today, yesterday):
            shown_credits = await user.credits()
            assert (shown_credits["held"], shown_credits["used"]) == (0, paid)
        counts = {service: await handled(session, port) for service, port in former.items()}
        if all(count.get("done") for count in counts.values()):
            break
    assert all(count.get("done") for count in counts.values()), counts
    assert not any(count.get("failed") or count.get("dead") for count in counts.values()), counts
