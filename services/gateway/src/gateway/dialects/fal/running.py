"""What is held open until its result is there, as at `fal.run`: whoever asks there is told no id before that."""

import asyncio
import time

import structlog
from fastapi import Request

from gateway.dialects.surface import Surface
from gateway.identity import Caller
from gateway.orders import Order, generation_id_of
from gateway.records import Generation

log = structlog.get_logger()


async def run(surface: Surface, request: Request, caller: Caller, order: Order, seconds: float | None) -> Generation:
    """Makes it, and waits so many seconds for its end, or as long as anybody may; accepting it is counted to them.

    Once the client has hung up it is cancelled, unless somebody can still find it: by its Idempotency-Key, or by what
    it tells a webhook. fal's client for Python repeats what it gave up, up to ten times: each would be made and paid.

    Raises:
        Refusal: nothing was begun, or it was deleted meanwhile.
    """
    begun_at, generation_id = time.monotonic(), generation_id_of(caller, order)
    async with surface.verdicts.listening(generation_id) as heard:
        generation = await surface.commands.create(caller, order, generation_id)
        left = None if seconds is None else seconds - (time.monotonic() - begun_at)
        waiting = asyncio.create_task(surface.verdicts.wait(caller, generation, heard, left))
        leaving = asyncio.create_task(_has_left(request))
        try:
            watched = {waiting} if order.idempotency_key or order.beside else {waiting, leaving}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            log.info("run.cancelled", generation_id=str(generation.id))
            return (await surface.commands.cancel(caller, generation.id))[0]
        finally:
            waiting.cancel()
            leaving.cancel()


async def _has_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
