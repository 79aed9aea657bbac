"""One user's Socket.IO client, and what it heard."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from uuid import UUID

import socketio

from .client import until


class Socket:
    """One user's socket, and what it heard."""

    def __init__(self, user_id: UUID, **options: Any) -> None:
        self.user_id = user_id
        self.client = socketio.AsyncClient(reconnection=False, **options)
        self.heard: dict[str, list[Any]] = defaultdict(list)
        self.is_closed = asyncio.Event()
        self.client.on("*", self._arrived)
        self.client.on("disconnect", self._closed)

    async def _arrived(self, event: str, *body: Any) -> None:
        self.heard[event].append(body[0] if body else None)

    async def _closed(self, *_: Any) -> None:
        self.is_closed.set()

    async def ask(self, event: str, body: Any = None) -> Any:
        return await self.client.call(event, body, timeout=10)

    async def hears(self, event: str, number: int = 1) -> list[Any]:
        async def enough() -> bool:
            return len(self.heard[event]) >= number

        await until(enough, 10)
        return self.heard[event]


Open = Callable[..., Any]
