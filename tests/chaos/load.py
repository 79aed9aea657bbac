"""A load with a list of its own: what was accepted, and what became of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp

from tests.whole.conftest import User

QUIESCE_SECONDS = 90
SOME = 10


async def accepted_under_load(
    new_user: Callable[[], User],
    seconds: float,
    every_seconds: float = 0.05,
    accepted: list[tuple[User, str]] | None = None,
) -> list[tuple[User, str]]:
    """Asks for a picture every so often and lists what was accepted; refusals are the client's to repeat."""
    accepted = [] if accepted is None else accepted

    async def ask(number: int) -> None:
        user = new_user()
        body = {"kind": "image", "prompt": f"Load {number % 7} [[sim:latency=0.3]]", "size": "512x512"}
        try:
            status, answer, _ = await user.call("POST", "/v1/generations", json=body)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return
        if status == 202:
            accepted.append((user, answer["id"]))
        else:
            assert status in {429, 503}, answer

    asking = []
    for number in range(int(seconds / every_seconds)):
        asking.append(asyncio.create_task(ask(number)))
        await asyncio.sleep(every_seconds)
    await asyncio.gather(*asking)
    return accepted


async def in_mid_load(accepted: list[tuple[User, str]], load: "asyncio.Task[Any]") -> None:
    """Once some were accepted, however slow the machine is; the load goes on."""
    while len(accepted) < SOME and not load.done():
        await asyncio.sleep(0.02)


async def all_ended(accepted: list[tuple[User, str]]) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*(user.ended(generation, QUIESCE_SECONDS) for user, generation in accepted)))
