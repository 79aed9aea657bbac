"""The internet and something of ours, both played on loopback, and a look at what is fetched from the one."""

import asyncio
from collections.abc import Callable

import aiohttp
from aiohttp import web

from runtime.outbound import fetch

PUBLIC_HOST = "127.0.0.2"
"""Plays the internet: an address of loopback that the allow-list names."""
CANARY_HOST = "127.0.0.1"


class Canary:
    """Something of ours that listens on loopback and must never be reached."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    def connected(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


class Stranger:
    """A server on the internet, and the requests that it got."""

    def __init__(self) -> None:
        self.port = 0
        self.hosts: list[str] = []
        self.answer: Callable[[web.Request], object] = lambda _: web.Response(body=b"picture")

    @property
    def url(self) -> str:
        return f"http://{PUBLIC_HOST}:{self.port}/a"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.hosts.append(request.host)
        answer = self.answer(request)
        if asyncio.iscoroutine(answer):
            answer = await answer
        assert isinstance(answer, web.StreamResponse)
        return answer


async def read(
    session: aiohttp.ClientSession, url: str, *, max_bytes: int = 1000, deadline_seconds: float = 5.0
) -> bytes:
    async with fetch(session, url, max_bytes=max_bytes, deadline_seconds=deadline_seconds) as download:
        return b"".join([chunk async for chunk in download.chunks()])
