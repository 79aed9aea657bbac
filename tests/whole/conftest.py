"""The whole stack as its user runs it: `darkroom up`, real processes, the simulator as the provider."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from playwright.async_api import Browser

from bench.stack import Stack, running
from tests.whole.browser import Visit, running_browser, visiting

BRISK = {
    "DEFAULT_USER_CREDITS": "10",
    "GATEWAY_SWEEP_EVERY_SECONDS": "0.5",
    "GATEWAY_SWEEP_FIRST_DRIVE_SECONDS": "2",
    "GATEWAY_SWEEP_LONGEST_PAUSE_SECONDS": "5",
    "GENERATOR_LEASE_SECONDS": "4",
    "STRIPE_WEBHOOK_SECRET": "whsec_of_this_run",
    "STRIPE_PULL_SECONDS": "2",
    "MODERATION_BY_PROVIDER": "all",
}
"""What sweeper and leases would do in half an hour, in half a minute."""
TOKEN_HOURS = 24
"""Longer than any test: of two hours under load one was lost because tokens had expired."""

PATIENT = {"Prefer": "wait=5"}
"""Held open: a hundred who look again and again are a load of their own."""

LATE_ANSWER = 'Publish Violation - Subject "_INBOX_'


class Darkroom:
    """A running stack and the ways to use it."""

    def __init__(self, stack: Stack, data: Path) -> None:
        self.stack = stack
        self.data = data
        self.known: dict[str, Any] = stack.known

    @property
    def url(self) -> str:
        return self.stack.url

    def command(self, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs `darkroom <words> --data …`."""
        return subprocess.run(
            [sys.executable, "-m", "darkroom", *words, "--data", str(self.data)],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env={**os.environ, "COLUMNS": "200"},
        )

    def token(self, user: UUID) -> str:
        from darkroom.stack import read_stack_file
        from darkroom.tokens import make_token

        return make_token(read_stack_file(self.data)["jwt_secret"], user, TOKEN_HOURS, "darkroom")

    def audit(self) -> None:
        """Fails with what the auditor found."""
        audited = self.command("audit", "--deep", seconds=120)
        assert audited.returncode == 0, audited.stdout + audited.stderr

    def check_permissions(self, *, late_answers: bool = False) -> None:
        """Fails where NATS refused something to somebody: everybody has what they need.

        `late_answers`: whoever was stopped in between may answer after the server's ten seconds; nobody waits any more.
        """
        log = (self.data / "logs" / "nats.log").read_text()
        assert "Server is ready" in log
        refused = [line for line in log.splitlines() if "Violation" in line]
        assert [line for line in refused if not (late_answers and LATE_ANSWER in line)] == []


class User:
    """One user with a token of their own."""

    def __init__(self, darkroom: Darkroom, session: aiohttp.ClientSession, user_id: UUID) -> None:
        self.id = user_id
        self._darkroom = darkroom
        self._session = session
        self._headers = {"Authorization": f"Bearer {darkroom.token(user_id)}"}

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any, dict[str, str]]:
        headers = {**self._headers, **options.pop("headers", {})}
        async with self._session.request(method, self._darkroom.url + path, headers=headers, **options) as answer:
            body = await answer.json(content_type=None)
            return answer.status, body, dict(answer.headers)

    async def make(self, prompt: str, **wishes: Any) -> dict[str, Any]:
        status, body, _ = await self.call(
            "POST", "/v1/generations", json={"kind": "image", "prompt": prompt, "size": "512x512", **wishes}
        )
        assert status == 202, body
        return dict(body)

    async def ended(self, generation_id: str, seconds: float = 30) -> dict[str, Any]:
        """The generation once it is final; an outage in between is waited out."""
        give_up_at = time.monotonic() + seconds
        last: Any = None
        while time.monotonic() < give_up_at:
            try:
                status, last, _ = await self.call("GET", f"/v1/generations/{generation_id}", headers=PATIENT)
            except (aiohttp.ClientError, OSError):
                status = 0
            if status == 200 and last["status"] not in {"pending", "processing"}:
                return dict(last)
            await asyncio.sleep(0.05)
        raise AssertionError(f"not final after {seconds} s: {last}")

    async def credits(self) -> dict[str, float]:
        """How many there are; a ledger that is just coming back is asked again, as its 503 says."""
        for _ in range(10):
            status, body, _ = await self.call("GET", "/v1/credits")
            if status != 503:
                break
            await asyncio.sleep(1)
        assert status == 200, body
        return {name: body[name] for name in ("available", "held", "used", "owed")}

    async def download(self, url: str) -> tuple[bytes, dict[str, str]]:
        """As an `<img>` would: without a token."""
        async with self._session.get(url) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read(), dict(answer.headers)


@pytest.fixture(scope="session")
def darkroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Darkroom]:
    data = tmp_path_factory.mktemp("stack")
    with running(data, **BRISK) as stack:
        darkroom = Darkroom(stack, data)
        yield darkroom
    darkroom.check_permissions()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as opened:
        yield opened


@pytest.fixture
def new_user(darkroom: Darkroom, session: aiohttp.ClientSession) -> Callable[[], User]:
    return lambda: User(darkroom, session, uuid4())


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_browser() as browser:
        yield browser


@pytest.fixture
async def visit(browser: Browser, darkroom: Darkroom) -> AsyncIterator[Visit]:
    async with visiting(browser, darkroom.url) as visit:
        yield visit


@pytest.fixture
def someone() -> UUID:
    return uuid4()
