"""The main job, as a client sees it: one request, held open until the picture is stored."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID, uuid4

import aiohttp

TIMEOUT_SECONDS = 60
Given = TypeVar("Given")
PROMPTS = ("A beautiful sunset over mountains", "A quiet harbour at night", "A forest path in autumn")


class Client:
    """Sends synchronous image requests of many users."""

    def __init__(self, session: aiohttp.ClientSession, url: str, model: str, size: str, users: int = 50) -> None:
        self._session = session
        self._url = f"{url}/api/images/generate"
        self._model, self._size = model, size
        self._users: Sequence[UUID] = [uuid4() for _ in range(users)]
        self._sent = 0

    async def once(self) -> float:
        """Seconds from the request to the stored, answered picture."""
        self._sent += 1
        body = {
            "prompt": f"{PROMPTS[self._sent % len(PROMPTS)]}, {self._sent}",
            "model": self._model,
            "size": self._size,
            "userId": str(self._users[self._sent % len(self._users)]),
        }
        began = time.perf_counter()
        async with self._session.post(self._url, json=body) as answer:
            made = await answer.json()
            if answer.status != 200 or not made["images"][0]["bucketUrl"]:
                raise RuntimeError(f"{answer.status}: {made}")
        return time.perf_counter() - began

    async def one_by_one(self, requests: int) -> list[float]:
        return [await self.once() for _ in range(requests)]

    async def open_loop(self, requests: int, per_second: float) -> list[float]:
        return await open_loop(self.once, requests, per_second)

    async def sustained(self, requests: int, at_once: int) -> float:
        """Generations per second with so many in flight."""
        began = time.perf_counter()
        await many(self.once, requests, at_once)
        return requests / (time.perf_counter() - began)


async def many(once: Callable[[], Awaitable[Given]], requests: int, at_once: int) -> list[Given]:
    """What each of so many requests gives, of which so many are under way at a time."""
    left, taken = iter(range(requests)), list[Given]()

    async def worker() -> None:
        for _ in left:
            taken.append(await once())

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return taken


async def open_loop(once: Callable[[], Awaitable[float]], requests: int, per_second: float) -> list[float]:
    """Seconds since each was due."""
    taken: list[float] = []

    async def timed(due: float) -> None:
        await once()
        taken.append(time.perf_counter() - due)

    await by_the_clock(timed, requests, per_second)
    return taken


async def by_the_clock(once: Callable[[float], Awaitable[None]], requests: int, per_second: float) -> None:
    """Sent when each is due, which it is told, so that a stall delays nobody's start and hides nowhere."""
    began = time.perf_counter()

    async def at(number: int) -> None:
        due = began + number / per_second
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await once(due)

    await asyncio.gather(*map(at, range(requests)))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which the share of all lies; milliseconds from seconds."""
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]
