"""The states of one request as server-sent events, until it has ended."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from gateway.dialects.surface import Surface
from gateway.identity import Caller
from gateway.live import LOOK_AGAIN_SECONDS, PING, PING_SECONDS, look
from gateway.records import Generation
from gateway.refusals import Gone

Show = Callable[[Generation], Awaitable[str]]


async def follow(surface: Surface, caller: Caller, generation: Generation, show: Show) -> AsyncGenerator[bytes, None]:
    """What `show` says of it, whenever it says something else, until it has ended or was deleted. Who connects again
    is told the state as it is."""
    with contextlib.suppress(Gone), surface.hub.following(generation.id) as heard:
        told, written_at = "", time.monotonic()
        while True:
            generation = await look(surface.database, caller, generation)
            if (state := await show(generation)) != told:
                told, written_at = state, time.monotonic()
                yield f"data: {state}\n\n".encode()
            elif time.monotonic() - written_at > PING_SECONDS:
                written_at = time.monotonic()
                yield PING
            if generation.is_final or surface.hub.is_closing:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                    await heard.get()
