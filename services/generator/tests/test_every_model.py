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
MASKS = ("gpt-image-2", "gpt-image-1.5", "gpt-image-1-mini", "gpt-image-1")
PAINTERS = (*MASKS, "seedream-4-0-250828", "seedream-4-5-251128", "gemini-2.5-flash-image", "sd3.5-large")
FILMERS = ("seedance-1-5-pro", "runway-gen-4.5", "gemini-omni-1.1-flash", "veo-3.1", "sora-2", "stable-video")
"""The vendors' documents say so, and so do the adapters: it can be asked for as well."""


async def test_every_model_that_is_offered_delivers(process, simulator):
    """The retired ones as well, by whoever succeeds them; paid once each."""
    await process.rows("UPDATE models SET p99_seconds = 10 RETURNING 1")
    await process.catalog.refresh()
    started = ask()
    await process.generate(started)
    address = (await process.rendered(started)).data.outputs[0].url
    await Claims(process.broker).put("a-film", film(0.3))
    requests = []
    needy = {model.id for model in (await process.catalog.answer()).models if model.needs}
    assert needy == {*STARTS, SOUND}, "nobody is offered them for words alone"
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


async def test_every_model_starts_from_what_it_is_said_to(process, simulator):
    """From each role by itself; a mask is one of a picture, and an end has a beginning. Ours has tests of its own."""
    await process.rows("UPDATE models SET p99_seconds = 10 RETURNING 1")
    await process.catalog.refresh()
    started = ask(size="1024x1024")
    await process.generate(started)
    address = (await process.rendered(started)).data.outputs[0].url
    requests, able = [], set()
    for model in (await process.catalog.answer()).models:
        for role in model.inputs if model.provider != NAME else ():
            able.add((model.id, role))
            roles = {role, {"mask": "image", "last_frame": "first_frame"}.get(role, role)}
            request = ask("[[sim:latency=0]]", model=model.id, kind=model.kind, size=model.default_size)
            given = tuple(Input(role=each, url=address, mime_type="image/jpeg") for each in sorted(roles))
            changes = {"seconds": model.default_seconds, "inputs": given}
            requests.append(request.model_copy(update=changes))
    assert {(name, "image") for name in PAINTERS} | {(name, "mask") for name in MASKS} <= able
    assert {(name, "first_frame") for name in FILMERS} <= able
    await asyncio.gather(*map(process.generate, requests))
    await process.finish()
    ended = [await process.rendered(request) or (await process.outcome(request)).data for request in requests]
    failed = {
        (request.model, request.inputs): each.failure
        for request, each in zip(requests, ended, strict=True)
        if getattr(each, "failure", None) is not None
    }
    assert failed == {}
    assert [simulator.billed(request) for request in requests] == [1] * len(requests)


@pytest.mark.parametrize(
    ("quality", "size", "made"),
    [("hd", "1792x1024", "high"), ("standard", "1024x1792", "auto"), ("low", "1024x1024", "low")],
)
async def test_what_was_offered_of_a_retired_model_is_made_by_its_successor(process, monkeypatch, quality, size, made):
    """Each has words of its own for how good a picture is to be."""
    told, openai = [], process.submitter._providers["openai"]

    async def submit(submission, ask=openai.submit):
        told.append(submission)
        return await ask(submission)

    monkeypatch.setattr(openai, "submit", submit)
    options = {"quality": quality, "style": "vivid", "response_format": "url"}
    request = ask(model="dall-e-3", size=size, options=options)
    await process.generate(request)
    assert await process.rendered(request) is not None
    [submission] = told
    assert (submission.model, submission.size, submission.options["quality"]) == ("gpt-image-2", size, made)
