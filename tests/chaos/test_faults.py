"""Kill, wipe, flood; then heal, quiesce, audit. A client's own list is compared with what became of it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import psutil
import pytest

from tests.chaos.conftest import Broken
from tests.chaos.followers import killed_under
from tests.chaos.load import QUIESCE_SECONDS, SOME, accepted_under_load, all_ended, in_mid_load
from tests.whole.conftest import User

pytestmark = [pytest.mark.whole, pytest.mark.timeout(240)]

PARTS = ("gateway", "generator", "nats", "postgres")
"""The others die in test_links.py, with these, by a seed."""


@pytest.mark.parametrize("part", PARTS)
async def test_whatever_is_killed_in_mid_job_what_was_accepted_ends(
    darkroom: Broken, new_user: Callable[[], User], session: aiohttp.ClientSession, part: str
) -> None:
    """P1, F1–F3, F5, F13–F15, F26: kill -9 under load."""
    accepted: list[tuple[User, str]] = []
    load = asyncio.create_task(accepted_under_load(new_user, 3, accepted=accepted))
    await in_mid_load(accepted, load)
    darkroom.kill(part)
    await load
    assert len(accepted) >= SOME
    ended = await all_ended(accepted)
    failures = [generation["error"] for generation in ended if generation["status"] != "completed"]
    # An attempt whose answer was lost with its process is unknown; whether it is paid for again is the model's policy.
    assert all(failure["code"] == "provider_unknown" for failure in failures), failures
    assert len(failures) < len(ended) / 2
    await darkroom.ready(session)


async def test_what_was_accepted_survives_a_wiped_broker(
    darkroom: Broken, new_user: Callable[[], User], session: aiohttp.ClientSession
) -> None:
    """P2, F7: streams, consumers and messages are gone; the rows are not."""
    accepted: list[tuple[User, str]] = []
    load = asyncio.create_task(accepted_under_load(new_user, 3, accepted=accepted))
    await in_mid_load(accepted, load)
    await asyncio.to_thread(darkroom.wipe_broker)
    await load
    ended = await all_ended(accepted)
    assert len(accepted) >= SOME
    assert {generation["status"] for generation in ended} <= {"completed", "failed"}
    assert sum(generation["status"] == "completed" for generation in ended) > len(ended) / 2
    await darkroom.ready(session)


async def test_a_broker_wiped_between_two_readers_of_an_outcome_changes_nothing(
    darkroom: Broken, new_user: Callable[[], User], session: aiohttp.ClientSession
) -> None:
    """The ledger has read `completed` and captured, the gateway has not, and the log is gone: the client still gets
    its picture, and pays once. Whoever is driven for a closed id repeats its outcome (ADR 4)."""
    user = new_user()
    accepted = await user.make("Read by one of two [[sim:latency=1]]")
    gateway = psutil.Process(darkroom.pid("gateway"))
    connection = await asyncpg.connect(darkroom.known["database_url"])

    async def held(state: str) -> None:
        async with asyncio.timeout(30):
            found = "SELECT state = $2 FROM ledger.holds WHERE generation_id = $1"
            while not await connection.fetchval(found, UUID(accepted["id"]), state):
                await asyncio.sleep(0.05)

    try:
        await held("open")  # it was published, which is done beside the answer (ADR 46)
        gateway.suspend()
        await held("captured")
        await asyncio.to_thread(darkroom.wipe_broker)
    finally:
        gateway.resume()
        await connection.close()
    made = await user.ended(accepted["id"], QUIESCE_SECONDS)
    assert made["status"] == "completed"
    assert made["cost"] == 1
    await darkroom.ready(session)
    assert await user.credits() == {"available": 9, "held": 0, "used": 1, "owed": 0}


async def test_a_gateway_killed_under_its_followers_hides_no_end_from_them(
    darkroom: Broken, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """They go on at the other replica, from the log. `python -m tests.chaos.followers` is the same for a thousand."""
    people = await killed_under(darkroom.data, tmp_path / "second.log", 25, 3, both=False)
    assert all(len(each.expected) == 3 and each.expected == each.ended for each in people)
    assert all(each.came_back for each in people[::2]), "those of the gateway that was killed"
    assert not any(each.resets for each in people)
    await darkroom.ready(session)


async def test_a_flood_of_one_user_delays_no_other(darkroom: Broken, new_user: Callable[[], User]) -> None:
    """P19: the flood waits in its own slots; another waits three times as long as without it, or ten seconds, at most:
    behind all of the flood it would be half a minute."""
    loop = asyncio.get_running_loop()
    idle_began = loop.time()
    quiet = new_user()
    await quiet.ended((await quiet.make("Quiet"))["id"])
    idle_seconds = loop.time() - idle_began
    flood = new_user()
    await asyncio.to_thread(darkroom.command, "grant", "--user", str(flood.id), "--credits", "200")
    flooded = await asyncio.gather(*(flood.make(f"Flood {uuid4()} [[sim:latency=0.5]]") for _ in range(120)))
    quick = new_user()
    began = loop.time()
    made = await quick.ended((await quick.make("Quick"))["id"])
    assert made["status"] == "completed"
    assert loop.time() - began < max(10, 3 * idle_seconds)
    ended = await asyncio.gather(*(flood.ended(generation["id"], QUIESCE_SECONDS) for generation in flooded))
    assert {generation["status"] for generation in ended} == {"completed"}


def test_zz_the_auditor_finds_nothing(darkroom: Broken) -> None:
    """After every fault above; the name keeps it last."""
    darkroom.audit()
