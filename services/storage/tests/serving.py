"""Media over real HTTP, and what a test knows of a picture that is stored."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import uvicorn

from contracts.facts import Asset
from storage.media import Media
from storage.objects import name_of


@asynccontextmanager
async def served(media: Media) -> AsyncIterator[str]:
    """The base address of a real server."""
    server = uvicorn.Server(uvicorn.Config(media, port=0, log_config=None, access_log=False, lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


class Stored:
    def __init__(self, asset: Asset, content: bytes, owner_id: UUID) -> None:
        self.asset = asset
        self.content = content
        self.object_name = name_of(owner_id, asset.sha256)
