"""The program in docs/event-consumer.md hears every outcome with the permissions of its page, which give no more."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.facts import Ending, Outcome, Verdict
from contracts.ids import new_generation_id
from contracts.topology import outcome_subject
from darkroom.embedded import NatsServer
from darkroom.jetstream import connect
from darkroom.stack import NATS_USERS
from darkroom.topology import AUTHORIZATION
from darkroom.topology.apply import apply

pytestmark = pytest.mark.connected
PAGE = (Path(__file__).parents[2] / "docs/event-consumer.md").read_text()
PASSWORDS = {user: f"n{uuid4().hex}" for user in (*NATS_USERS, "reports")}
PATIENCE_SECONDS = 60
AWAY_SECONDS = 2


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    (user,) = blocks("")
    authorization = AUTHORIZATION.read_text().replace("users: [", f"users: [\n{user}", 1)
    variables = {f"{name.upper()}_NATS_PASSWORD": password for name, password in PASSWORDS.items()}
    server = NatsServer(tmp_path, authorization=authorization, variables=variables)
    server.start()
    yield server
    server.stop()


def url_of(server: NatsServer, user: str) -> str:
    return server.nats_url.replace("//", f"//{user}:{PASSWORDS[user]}@")


async def start(program: str, nats_url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), env={**os.environ, "NATS_URL": nats_url}, stdout=asyncio.subprocess.PIPE
    )


def programs_whose_database_is_away_at_first(seconds: float) -> tuple[str, str]:
    """Those of the page; an outcome that could not be counted comes again, sooner here than there."""
    making, consuming = blocks("python")
    away = f"    if time.monotonic() < STARTED + {seconds}:\n        raise OSError\n    print("
    assert "ack_wait=30" in making
    assert "    print(" in consuming
    return making.replace(
        "ack_wait=30", "ack_wait=1"
    ), f"import time\nSTARTED = time.monotonic()\n{consuming.replace('    print(', away)}"


async def test_the_consumer_of_the_page_hears_every_outcome(server: NatsServer, tmp_path: Path) -> None:
    making, consuming = programs_whose_database_is_away_at_first(AWAY_SECONDS)
    operator = await connect(url_of(server, "operator"), "operator")
    await apply(operator)
    for _ in range(2):
        assert await (await start(making, url_of(server, "operator"))).wait() == 0
    said = []
    for verdict in (Verdict.FAILED, Verdict.CANCELLED, Verdict.DECLINED):
        ending = Ending(generation_id=new_generation_id(), verdict=verdict)
        fact = Outcome.of(ending, "gateway", None)
        await operator.jetstream().publish(outcome_subject(ending.generation_id), fact.encode())
        said.append(f"{ending.generation_id} {verdict}")
    consumer = await start(consuming, url_of(server, "reports"))
    assert consumer.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            heard: list[str] = []
            while len(heard) < len(said):
                line = (await consumer.stdout.readline()).decode().strip()
                # FastStream says there what it does.
                heard += [line] if line.endswith(("failed", "cancelled", "declined")) else []
            assert sorted(heard) == sorted(said)
            jetstream = operator.jetstream()
            while (await jetstream.consumer_info("OUTCOMES", "reports-count-outcomes")).num_ack_pending:
                await asyncio.sleep(0.05)
    finally:
        consumer.terminate()
        await consumer.wait()
        await operator.close()
    assert "Violation" not in (tmp_path / "logs" / "nats.log").read_text()
    refused: list[str] = []
    reports = await connect(url_of(server, "reports"), "reports", forbidden=refused.append)
    await reports.publish(outcome_subject(new_generation_id()), b"{}")
    for _ in range(2):
        await reports.flush()
    await reports.close()
    assert "generation.outcome." in refused[0]
