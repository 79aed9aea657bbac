"""`python -m bench.words`: from a provider's first word to the client's.

The whole stack, with a provider whose words come at a steady pace; a client reads OpenAI's stream of chunks. Both read
this machine's one clock. Chats follow each other first; then some are under way at a time.
"""

import argparse
import asyncio
import itertools
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from bench import RESULTS
from bench.ground import Ground
from bench.load import many, percentile
from bench.processes import cpu_seconds, session_of
from bench.rows.generations import OUTSIDE
from darkroom.tokens import make_token

MODEL = "gpt-5.4-mini"
THINKING_SECONDS = 0.2
"""Before the first word: by then everything that comes before a provider is asked is over."""
MANY = 8
USERS = 8
GOALS = {"one at a time, p50 ms": "≤ 15", "one at a time, p99 ms": "≤ 15"}


class Chats:
    """Asks, and notes when the first word came."""

    def __init__(self, session: aiohttp.ClientSession, url: str, tokens: Sequence[str]) -> None:
        self._session = session
        self._url = f"{url}/openai/v1/chat/completions"
        self._tokens = itertools.cycle(tokens)
        self.heard: dict[str, float] = {}

    async def once(self) -> float:
        prompt = f"Say something, {uuid4()}"
        body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": prompt}]}
        headers = {"Authorization": f"Bearer {next(self._tokens)}"}
        async with self._session.post(self._url, json=body, headers=headers) as answer:
            if answer.status != 200:
                raise RuntimeError(f"{answer.status}: {await answer.text()}")
            async for line in answer.content:
                if prompt not in self.heard and _has_words(line):
                    self.heard[prompt] = time.perf_counter()
        return self.heard[prompt]


def _has_words(line: bytes) -> bool:
    if not line.startswith(b"data: {"):
        return False
    choices: list[Any] = json.loads(line.removeprefix(b"data: "))["choices"]
    return bool(choices and choices[0]["delta"].get("content"))


async def run(folder: Path, chats: int) -> dict[str, float]:
    async with Ground(folder, short=False) as ground, session_of() as session:
        stack, upstream, secret = await ground.darkroom(), await ground.upstream(), await ground.secret()
        await ground.answering_after(THINKING_SECONDS)
        asking = Chats(session, stack.url, [make_token(secret, uuid4(), 1, "darkroom") for _ in range(USERS)])

        async def seconds(at_once: int) -> list[float]:
            asking.heard.clear()
            await many(asking.once, chats, at_once)
            async with session.get(f"{upstream}/__bench/answered") as answer:
                said = await answer.json()
            return [heard - said[prompt] for prompt, heard in asking.heard.items()]

        await many(asking.once, max(8, chats // 10), 4)
        single = await seconds(1)
        parts = stack.processes()
        ours = [each for part, processes in parts.items() if part not in OUTSIDE for each in processes]
        before = cpu_seconds(ours)
        together = await seconds(MANY)
        used = cpu_seconds(ours) - before
    return {
        "one at a time, p50 ms": percentile(single, 0.5),
        "one at a time, p99 ms": percentile(single, 0.99),
        f"{MANY} at a time, p50 ms": percentile(together, 0.5),
        f"{MANY} at a time, p99 ms": percentile(together, 0.99),
        "CPU ms per chat": 1000 * used / chats,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chats", type=int, default=300)
    chats = parser.parse_args().chats
    before = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        rows = asyncio.run(run(Path(folder), chats))
    for name, value in rows.items():
        print(f"{name:>24} {value:10.1f}   {GOALS.get(name, '')}")
    found = {"rows": rows, "chats": chats, "goals": GOALS, "load": [before, os.getloadavg()]}
    found |= {"machine": platform.platform(), "python": platform.python_version()}
    path = RESULTS / f"words-{time.strftime('%Y-%m-%dT%H%M%S', time.gmtime())}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
