"""The vendor as a client: it posts to the address that a caller gave it as a task moves, and reads given pictures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from simulator.clock import Clock
from simulator.tasks import FINAL, Task, Tasks

ANSWER_SECONDS = 5.0
"""How soon the last word has to be acknowledged."""
RETRIES = 3
RETRY_PAUSE_SECONDS = 0.2
LOOK_SECONDS = 0.5
"""The clock may be advanced meanwhile."""
GIVEN_BYTES_MAX = 30 * 1024 * 1024
GIVEN_SECONDS = 20.0

Word = Callable[[Task], Mapping[str, Any] | None]
"""What a vendor posts about a task as it stands; None where it says nothing yet."""
Sign = Callable[[bytes], Mapping[str, str]]
"""The headers by which a vendor signs a body."""


def _unsigned(_: bytes) -> Mapping[str, str]:
    return {}


class Outside:
    """The vendor's own way out: to callers' addresses, and to the pictures that they name."""

    def __init__(self, clock: Clock, tasks: Tasks) -> None:
        self._clock, self._tasks = clock, tasks
        self._session: aiohttp.ClientSession | None = None
        self._following: set[asyncio.Task[None]] = set()

    def follow(self, task: Task, url: str, word: Word, sign: Sign = _unsigned) -> None:
        """Posts `word` now and whenever the task moves, until it has ended."""
        if "callback-lost" in task.wishes:
            return
        following = asyncio.create_task(self._follow(task, url, word, sign))
        self._following.add(following)
        following.add_done_callback(self._following.discard)

    async def fetch(self, url: str) -> bytes:
        """What a caller's address holds. Raises ValueError for anything that is no use."""
        try:
            async with asyncio.timeout(GIVEN_SECONDS), self._http().get(url) as answer:
                if answer.status != 200:
                    raise ValueError(f"answers {answer.status}")
                body = await answer.content.read(GIVEN_BYTES_MAX + 1)
                while len(body) <= GIVEN_BYTES_MAX and (more := await answer.content.read(GIVEN_BYTES_MAX)):
                    body += more
        except (aiohttp.ClientError, OSError) as error:
            raise ValueError("cannot be downloaded") from error
        if len(body) > GIVEN_BYTES_MAX:
            raise ValueError("is too large")
        return body

    async def close(self) -> None:
        for following in self._following:
            following.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _follow(self, task: Task, url: str, word: Word, sign: Sign) -> None:
        told = ""
        times = 2 if "callback-twice" in task.wishes else 1
        while True:
            state = self._tasks.state(task)
            if state != told:
                told = state
                said = word(task)
                for _ in range(times if said is not None else 0):
                    await self._tell(url, json.dumps(said).encode(), sign, 1 + RETRIES if state in FINAL else 1)
            if told in FINAL:
                return
            moves_at = task.starts_at if told == "waiting" else task.ends_at
            await asyncio.sleep(max(0.01, min(LOOK_SECONDS, moves_at - self._clock.now())))

    async def _tell(self, url: str, body: bytes, sign: Sign, tries: int) -> None:
        for number in range(tries):
            if await self._post(url, body, sign(body)):
                return
            if number < tries - 1:
                await asyncio.sleep(RETRY_PAUSE_SECONDS)

    async def _post(self, url: str, body: bytes, signature: Mapping[str, str]) -> bool:
        headers = {"Content-Type": "application/json", **signature}
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        try:
            async with self._http().post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                return answer.status < 300
        except (aiohttp.ClientError, OSError):
            return False

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return self._session
