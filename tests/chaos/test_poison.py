"""A fact that kills its consumer every time ends by its deadline, and its neighbours are unharmed."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from bench.stack import running
from tests.chaos.conftest import Broken
from tests.whole.conftest import BRISK, User

pytestmark = [pytest.mark.whole, pytest.mark.timeout(480)]


@pytest.fixture(scope="module")
def darkroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    data = tmp_path_factory.mktemp("stack")
    quick = {"GATEWAY_SWEEP_DRIVES_BEFORE_DEADLINE": "3", "GATEWAY_SWEEP_FIRST_DRIVE_SECONDS": "1"}
    environment = {**BRISK, **quick, "PYTHONPATH": str(Path(__file__).parent / "poison")}
    with running(data, **environment) as stack:
        broken = Broken(stack, data)
        yield broken
    broken.check_permissions(late_answers=True)


async def test_a_fact_that_kills_its_consumer_ends_by_its_deadline(
    darkroom: Broken, new_user: Callable[[], User]
) -> None:
    victim = new_user()
    poison = await victim.make("Poison [[poison]]")
    neighbours = [new_user() for _ in range(5)]
    # Slow once: a paid call that was interrupted is made again once only, so whoever is slow twice may be hit twice.
    slow = [await user.make(f"Neighbour {uuid4()} [[sim:latencyx1=0.5]]") for user in neighbours]
    await asyncio.sleep(1)
    connection = await asyncpg.connect(darkroom.known["database_url"])
    try:
        time_passes = "UPDATE gateway.generations SET deadline_at = now(), next_drive_at = now() WHERE id = $1"
        await connection.execute(time_passes, poison["id"])
        ended = await victim.ended(poison["id"], 200)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "deadline")
        assert ended["cost"] == 0
        beside = await asyncio.gather(
            *(user.ended(generation["id"], 200) for user, generation in zip(neighbours, slow, strict=True))
        )
        assert {generation["status"] for generation in beside} == {"completed"}, beside
        assert await victim.credits() == {"available": 10, "held": 0, "used": 0, "owed": 0}
    finally:
        await connection.close()
    darkroom.audit()
