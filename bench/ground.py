"""What the rows of one run stand on: one provider, one stack, and the peers' environments."""

import sys
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from bench.processes import answering, process
from bench.stack import Stack, running
from darkroom.embedded.ports import free_port
from darkroom.stack import read_stack_file

UPSTREAM_KEY = "sk-upstream"


class Ground:
    """What the rows of one run stand on; each part starts when it is first asked for, and all stop at the end."""

    def __init__(self, folder: Path, *, short: bool) -> None:
        self.folder = folder
        self.short = short
        self._exit = AsyncExitStack()
        self._upstream: str | None = None
        self._darkroom: Stack | None = None

    async def __aenter__(self) -> "Ground":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._exit.aclose()

    def size(self, long: int, short: int) -> int:
        """How much of something a round takes."""
        return short if self.short else long

    async def upstream(self) -> str:
        """The address of the provider that everybody calls."""
        if self._upstream is None:
            port = free_port()
            command = [sys.executable, "-m", "bench.upstream", "--port", str(port)]
            self._exit.enter_context(process(command, self.folder / "upstream.log"))
            self._upstream = f"http://127.0.0.1:{port}"
            await answering(f"{self._upstream}/__bench/answered")
        return self._upstream

    async def answering_after(self, seconds: float) -> None:
        """From now on the provider takes so long for each picture."""
        async with aiohttp.ClientSession() as session:
            url = f"{await self.upstream()}/__bench/latency?seconds={seconds}"
            async with session.put(url) as answer:
                answer.raise_for_status()

    async def darkroom(self) -> Stack:
        """The whole stack, as `darkroom up` starts it, with the upstream as its provider."""
        if self._darkroom is None:
            environment = stack_environment(await self.upstream())
            self._darkroom = self._exit.enter_context(running(self.folder / "darkroom", **environment))
        return self._darkroom

    async def secret(self) -> str:
        """What the stack's tokens are signed with."""
        return str(read_stack_file(Path((await self.darkroom()).known["data"]))["jwt_secret"])


def stack_environment(upstream: str) -> dict[str, str]:
    """Settings of the stack that is measured. Moderation is off, since no peer has any."""
    return {
        "OPENAI_API_KEY": UPSTREAM_KEY,
        "OPENAI_BASE_URL": f"{upstream}/v1",
        "OUTBOUND_ALLOW": upstream.removeprefix("http://"),
        "MODERATION_BY_PROVIDER": "off",
    }
