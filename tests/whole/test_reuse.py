"""The same request twice: the second is answered with what the first made, in its own right."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.whole.conftest import User

pytestmark = pytest.mark.whole

TIMES = 6


async def test_the_same_again_is_the_same_picture_for_nothing(new_user: Callable[[], User]) -> None:
    user, other = new_user(), new_user()
    prompt = f"A quiet harbour {uuid4()}"
    made = [await user.ended((await user.make(prompt, reuse=True))["id"])]
    while not made[-1]["cached"]:
        assert (made[-1]["status"], made[-1]["cost"]) == ("completed", 1)
        assert len(made) < TIMES, "never answered from what was made before"
        await asyncio.sleep(0.5)  # the generator hears a little later that it was completed
        made.append(await user.ended((await user.make(f" {prompt} ", reuse=True))["id"]))
    again, paid = made[-1], len(made) - 1
    assert (again["status"], again["cost"], again["quote"]) == ("completed", 0, 1)
    assert await user.credits() == {"available": 10 - paid, "held": 0, "used": paid, "owed": 0}
    (same,) = again["assets"]
    origins = {asset["sha256"]: (asset, each) for each in made[:-1] for asset in each["assets"]}
    asset, origin = origins[same["sha256"]]
    assert asset["id"] != same["id"] and asset["url"] != same["url"]
    foreign = await other.ended((await other.make(prompt, reuse=True))["id"])
    assert (foreign["cached"], foreign["cost"]) == (False, 1)
    status, _, _ = await user.call("DELETE", f"/v1/generations/{origin['id']}")
    assert status == 204
    await user.download(same["url"])
    await user.download(same["variants"]["thumbnail"])
