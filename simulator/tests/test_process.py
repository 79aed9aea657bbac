"""The simulator as a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys

import aiohttp


async def test_it_starts_answers_and_stops(tmp_path):
    journal = tmp_path / "journal.jsonl"
    arguments = ["--port", "0", "--latency", "0.01", "--journal", str(journal)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        url = (await process.stdout.readline()).decode().split()[-1]
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer k"}) as http:
            async with http.get(f"{url}/__sim/health") as answer:
                assert (await answer.json())["status"] == "ok"
            body = {"model": "dall-e-2", "prompt": "a boat", "size": "256x256"}
            async with http.post(f"{url}/openai/v1/images/generations", json=body) as answer:
                assert answer.status == 200
    finally:
        process.terminate()
        assert await process.wait() == 0
    assert json.loads(journal.read_text())["outcome"] == "answered"
