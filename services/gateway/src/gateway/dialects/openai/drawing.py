"""Pictures as events: as far as they have come, where a provider shows that, and then whole."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from contracts.facts import Asset
from contracts.progress import Progress
from gateway.dialects.endings import delivered
from gateway.dialects.openai import errors, translate
from gateway.dialects.openai.answers import event
from gateway.dialects.surface import Surface
from gateway.identity import Caller
from gateway.lending import Lending
from gateway.live import LOOK_AGAIN_SECONDS, PING, PING_SECONDS, Heard, hearing, look
from gateway.orders import Order, generation_id_of
from gateway.records import Generation
from gateway.refusals import Gone, Refusal, TimedOut


async def drawn(surface: Surface, lending: Lending, who: Caller, order: Order, name: str) -> AsyncIterator[bytes]:
    """`<name>.partial_image` as often as the provider shows one, `<name>.completed` for each that is finished.

    Before the first event refusals are raised; after it, they are an event.
    """
    generation_id = generation_id_of(who, order)
    with surface.hub.following(generation_id) as heard:
        async with surface.hub.place(who.user_id), hearing(surface.broker, generation_id, heard):
            generation = await surface.commands.create(who, order, generation_id)
            yield b": accepted\n\n"
            try:
                async for said in _until_final(surface, who, generation, heard):
                    if isinstance(said, Generation):
                        generation = said
                    else:
                        yield PING if said is None else event(_sketch(name, generation, said), _partial(name))
            except (Gone, TimedOut) as refusal:
                yield event({"error": errors.error_of(refusal)}, "error")
                return
    try:
        for asset in delivered(generation).assets:
            text = await translate.in_base64(lending, generation, asset)
            yield event(_completed(name, generation, asset, text), f"{name}.completed")
    except Refusal as refusal:
        yield event({"error": errors.error_of(refusal)}, "error")


async def _until_final(
    surface: Surface, who: Caller, generation: Generation, heard: Heard
) -> AsyncIterator[Progress | Generation | None]:
    """What is shown, in its order; None where nothing was for long; at last the final generation.

    Raises Gone, TimedOut.
    """
    last, quiet_since = -1, time.monotonic()
    while not generation.is_final:
        surface.hub.stay(generation.id)
        told = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                told = await heard.get()
        if not isinstance(told, Progress):
            generation = await look(surface.database, who, generation)
        elif told.picture is not None and told.number > last:
            last, quiet_since = told.number, time.monotonic()
            yield told
        if time.monotonic() - quiet_since > PING_SECONDS:
            quiet_since = time.monotonic()
            yield None
    yield generation


def _partial(name: str) -> str:
    return f"{name}.partial_image"


def _sketch(name: str, generation: Generation, told: Progress) -> dict[str, Any]:
    options = generation.options
    return {
        "type": _partial(name),
        "b64_json": told.picture,
        "created_at": int(generation.created_at.timestamp()),
        "background": options.get("background", "auto"),
        "output_format": options.get("output_format", "png"),
        "partial_image_index": told.picture_index or 0,
        "quality": options.get("quality", "auto"),
        "size": generation.size or "auto",
    }


def _completed(name: str, generation: Generation, asset: Asset, text: str) -> dict[str, Any]:
    return {
        "type": f"{name}.completed",
        "b64_json": text,
        "created_at": int(generation.created_at.timestamp()),
        "background": generation.options.get("background", "auto"),
        "output_format": translate.format_of(asset),
        "quality": generation.options.get("quality", "auto"),
        "size": translate.size_of(generation, asset),
    }
