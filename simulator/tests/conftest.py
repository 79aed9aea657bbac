from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from simulator.app import start
from simulator.settings import Settings


@dataclass
class Running:
    """A listening simulator and a client for it."""

    url: str
    http: aiohttp.ClientSession
    journal_file: Path

    def sdk(self, provider: str, key: str = "sk-test") -> AsyncOpenAI:
        path = {"ark": "/ark/api/v3", "openai": "/openai/v1"}[provider]
        return AsyncOpenAI(api_key=key, base_url=self.url + path, max_retries=0, timeout=10)

    def anthropic(self) -> AsyncAnthropic:
        return AsyncAnthropic(api_key="sk-ant-test", base_url=self.url + "/anthropic", max_retries=0, timeout=10)

    def post(self, provider: str, body: Any, key: str | None = "sk-test", **headers: str) -> Any:
        path = {"ark": "/ark/api/v3", "openai": "/openai/v1"}[provider]
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return self.http.post(f"{self.url}{path}/images/generations", json=body, headers=headers)

    def ask(self, method: str, path: str, body: Any = None, key: str = "sk-test", **others: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}"} | others.pop("headers", {})
        return self.http.request(method, self.url + path, json=body, headers=headers, **others)

    async def journal(self, since: int = 0) -> list[dict[str, Any]]:
        async with self.http.get(f"{self.url}/__sim/journal?since={since}") as answer:
            entries: list[dict[str, Any]] = await answer.json()
            return entries

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        async with self.http.request(method, f"{self.url}/__sim/{path}", json=body) as answer:
            return answer.status, await answer.json() if answer.content_type == "application/json" else None


@pytest.fixture(scope="session")
async def listening(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    journal_file = tmp_path_factory.mktemp("simulator") / "journal.jsonl"
    runner, port = await start(Settings(journal=journal_file, seed=7))
    async with aiohttp.ClientSession() as http:
        yield Running(f"http://127.0.0.1:{port}", http, journal_file)
    await runner.cleanup()


@pytest.fixture
async def simulator(listening: Running) -> Running:
    await listening.admin("POST", "reset")
    return listening


@pytest.fixture
def ark_body() -> dict[str, Any]:
    return {
        "model": "seedream-3-0-t2i-250415",
        "prompt": "a quiet harbour at dawn",
        "size": "512x512",
        "watermark": False,
    }


@pytest.fixture
def openai_body() -> dict[str, Any]:
    return {"model": "gpt-image-2", "prompt": "a quiet harbour at dawn", "size": "512x512"}
