"""What is held open until its result is there, as at `fal.run`: whoever asks there is told no id before that."""

import structlog
from fastapi import Request

from gateway.dialects.surface import Surface
from gateway.identity import Caller
from gateway.orders import Order
from gateway.records import Generation
from gateway.refusals import Unavailable

NODE = "@fal-ai/client/"
"""How fal's client for Node begins to call itself."""

log = structlog.get_logger()


async def run(surface: Surface, request: Request, caller: Caller, order: Order, seconds: float | None) -> Generation:
    """Makes it, and waits so many seconds for its end, or as long as anybody may; accepting it is counted to them.

    Once the client has hung up it is cancelled, unless somebody can still find it: by its Idempotency-Key, or by what
    it tells a webhook. fal's client for Python repeats what it gave up, up to ten times: each would be made and paid.

    Raises:
        Refusal: nothing was begun, or it was deleted meanwhile.
    """
    made = await surface.commands.create_and_wait(surface.verdicts, caller, order, seconds)
    if made.is_final or order.idempotency_key or order.beside or not await request.is_disconnected():
        return made
    log.info("run.cancelled", generation_id=str(made.id))
    return (await surface.commands.cancel(caller, made.id))[0]


async def ended(surface: Surface, caller: Caller, generation: Generation, seconds: float) -> Generation:
    """It, once it has ended. Where the events of its states end, fal's client for Node asks for the result at once, and
    takes 400 for the end: they end early with the process that tells them, and what is made and paid would be lost.

    Raises:
        Unavailable: so many seconds are over; that client asks again. Refusal: it was deleted, or too many wait.
    """
    if generation.is_final:
        return generation
    with surface.verdicts.place(caller.user_id):
        async with surface.verdicts.listening(generation.id) as heard:
            generation = await surface.verdicts.wait(caller, generation, heard, seconds)
    if not generation.is_final:
        raise Unavailable("Request is still in progress.")
    return generation
