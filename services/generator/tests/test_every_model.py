"""Everything that the catalog offers is made by somebody: each model once, through its adapter."""

import asyncio

import pytest

from contracts.facts import Input, Kind
from generator.claims import Claims
from generator.providers.darkroom import NAME

from .stage import ask
from .test_sounds import SOUND, film

pytestmark = pytest.mark.connected

STARTS = {"seedance-1-0-lite-i2v": "first_frame", "runway-gen-4-turbo": "first_frame", "darkroom-avatar": "image"}
"""Those that make nothing of words alone."""


async def test_every_model_that_is_offered_delivers(process, simulator):
    """The retired ones as well, by whoever succeeds them; paid once each."""
    await process.rows("UPDATE models SET p99_seconds = 10 RETURNING 1")
    await process.catalog.refresh()
    started = ask()
    await process.generate(started)
    address = (await process.rendered(started)).data.outputs[0].url
    await Claims(process.broker).put("a-film", film(0.3))
    requests = []
    for model in (await process.catalog.answer()).models:
        request = ask("[[sim:latency=0]]", model=model.id, kind=model.kind, size=model.default_size)
        changes = {"seconds": model.default_seconds, "max_tokens": model.max_tokens and 50, "size": model.default_size}
        if model.id in STARTS:
            changes["inputs"] = (Input(role=STARTS[model.id], url=address, mime_type="image/jpeg"),)
        if model.id == SOUND:
            changes["inputs"] = (Input(role="video", claim="a-film", mime_type="video/mp4"),)
        elif model.provider == NAME:
            changes |= {"size": "96x128", "options": {"quality": "draft"}}  # all others are drawn by somebody else
        requests.append(request.model_copy(update=changes))
    assert len(requests) > 30 and {request.kind for request in requests} == set(Kind)
    await asyncio.gather(*map(process.generate, requests))
    await process.finish()
    ended = {
        request.model: await process.rendered(request) or (await process.outcome(request)).data for request in requests
    }
    failed = {model: each.failure for model, each in ended.items() if getattr(each, "failure", None) is not None}
    assert failed == {}
    paid = dict.fromkeys(ended, 1) | {SOUND: 0}  # we make it ourselves, of what is there
    assert {request.model: simulator.billed(request) for request in requests} == paid
