"""The work of every asynchronous pipeline that we are compared with: ask the provider, fetch the picture, keep it.

The file is not synced and is named after the job; the row is committed with Postgres's own settings, which are those
of our stack.
"""

import os
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

UPSTREAM_URL = os.environ["PEER_UPSTREAM_URL"]
MEDIA = Path(os.environ["PEER_MEDIA"])
DATABASE_URL = os.environ["PEER_DATABASE_URL"]
AT_ONCE = 32
INSERT = "INSERT INTO jobs (id, prompt, path, size_bytes) VALUES ($1, $2, $3, $4)"


class Work:
    """Made once for each worker process: one HTTP session, one pool."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._pool: Any = None

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE))
        self._pool = await asyncpg.create_pool(DATABASE_URL, min_size=2, max_size=10)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            await self._pool.close()

    async def generate(self, job_id: str, prompt: str) -> None:
        assert self._session is not None
        body = {"model": "dall-e-2", "prompt": prompt, "size": "512x512", "n": 1}
        async with self._session.post(f"{UPSTREAM_URL}/v1/images/generations", json=body) as answer:
            answer.raise_for_status()
            made = await answer.json()
        async with self._session.get(made["data"][0]["url"]) as answer:
            answer.raise_for_status()
            content = await answer.read()
        path = MEDIA / f"{job_id}.png"
        path.write_bytes(content)
        await self._pool.execute(INSERT, job_id, prompt, str(path), len(content))
