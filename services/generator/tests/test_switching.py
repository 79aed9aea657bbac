"""The catalog is changed without a deploy: by the command line, over the bus."""

import asyncio
import time

import pytest
from typer.testing import CliRunner

from contracts.facts import Kind
from contracts.questions import (
    GENERATOR_MODELS,
    GENERATOR_SWITCH_MODEL,
    Nothing,
    SwitchModel,
)
from darkroom.main import app
from generator.breakers import _Breaker
from generator.catalog import Model

from .stage import DEAR, FILM, ask, ask_film

pytestmark = pytest.mark.connected


@pytest.fixture
async def command(process, streams, tmp_path):
    """`darkroom models`, answered by the catalog of one process."""
    connection = process.broker.connection

    async def models(message):
        Nothing.model_validate_json(message.data)
        await message.respond((await process.catalog.listed()).model_dump_json().encode())

    async def switch(message):
        asked = SwitchModel.model_validate_json(message.data)
        await message.respond((await process.catalog.switch(asked)).model_dump_json().encode())

    heard = [
        await connection.subscribe(GENERATOR_MODELS, cb=models),
        await connection.subscribe(GENERATOR_SWITCH_MODEL, cb=switch),
    ]
    await connection.flush()

    async def run(*words, code=0):
        arguments = ["models", *words, "--data", str(tmp_path)]
        ended = await asyncio.to_thread(CliRunner().invoke, app, arguments, env={"NATS_URL": streams, "COLUMNS": "200"})
        assert ended.exit_code == code, ended.output
        return ended.output

    yield run
    for subscription in heard:
        await subscription.unsubscribe()


async def test_a_model_is_switched_off_and_on_again_as_it_was(process, command):
    assert "gpt-image-2" in await command()
    shown = await command("show", "dall-e-2")
    assert "state: legacy" in shown and "kind: image" in shown and "provider_model: dall-e-2" in shown
    before = (await process.catalog.answer()).version
    for name, state in (("dall-e-2", "legacy"), ("dall-e-3", "legacy"), ("gpt-image-2", "active")):
        assert f"{name} is off" in await command("off", name)
        assert f"{name} is off" in await command("off", name), "asked again it is harmless"
        answer = await process.catalog.answer()
        assert name not in {model.id for model in answer.models} and answer.version > before
        assert f"{name} is {state}" in await command("on", name)
    assert "There is no model 'nonsense'" in await command("off", "nonsense", code=1)
    assert "There is no model 'nonsense'" in await command("show", "nonsense", code=1)


async def test_what_an_operator_had_switched_off_in_the_rows_comes_back_too(process):
    await process.rows("UPDATE models SET state = 'off' WHERE id IN ('dall-e-3', 'gpt-image-2') RETURNING 1")
    for name, state in (("dall-e-3", "legacy"), ("gpt-image-2", "active")):
        switched = await process.catalog.switch(SwitchModel(id=name, on=True))
        assert switched.model.model.state == state


async def test_nothing_is_begun_with_a_model_that_is_off_and_what_was_begun_goes_on(make_process, simulator):
    gone, other = await make_process(0.05), await make_process()
    await gone.rows("UPDATE models SET p99_seconds = 10 WHERE id = :id RETURNING 1", id=FILM)
    await gone.catalog.refresh()
    request = ask_film("[[sim:latency=0.5]]")
    await gone.generate(request)
    await other.catalog.switch(SwitchModel(id=FILM, on=False))
    assert not isinstance(await other.catalog.find(ask(model=FILM, kind=Kind.VIDEO)), Model)
    await asyncio.sleep(0.4)
    await other.take_due()
    await other.finish()
    assert (await other.rendered(request)) is not None and len(simulator.calls(request)) == 1
    refused = ask_film()
    await other.generate(refused)
    assert (await other.outcome(refused)).data.failure.code == "invalid_request"
    await other.catalog.switch(SwitchModel(id=FILM, on=True))


async def test_what_somebody_who_stands_in_has_begun_goes_on_while_they_are_off(make_process, simulator, monkeypatch):
    """Its task is theirs: the model that was asked for does not know it, and it would be paid again."""
    gone, other = await make_process(0.05), await make_process()
    asked, stand_in = "flux-schnell-replicate", "flux-schnell"
    gone.breakers._known["replicate", asked] = _Breaker(open_seconds=60, open_until=time.monotonic() + 60)
    request = ask("[[sim:latency=0.5]]", model=asked, size="1024x1024")
    await gone.generate(request)
    await other.catalog.switch(SwitchModel(id=stand_in, on=False))
    looks, look = [], other.submitter._providers["fal"].look
    monkeypatch.setattr(
        other.submitter._providers["fal"], "look", lambda about, task: looks.append(about.model) or look(about, task)
    )
    await asyncio.sleep(0.4)
    await other.take_due()
    await other.finish()
    await other.catalog.switch(SwitchModel(id=stand_in, on=True))
    assert (await other.rendered(request)) is not None and {*looks} == {"fal-ai/flux/schnell"}


async def test_a_retired_model_is_off_while_its_successor_is(process, simulator):
    request = ask(model="dall-e-3")
    await process.catalog.switch(SwitchModel(id=DEAR, on=False))
    offered = {model.id for model in (await process.catalog.answer()).models}
    await process.generate(request)
    begun = await process.catalog.find(request, is_begun=True)
    switched = await process.catalog.switch(SwitchModel(id=DEAR, on=True))
    assert switched.model.model.state == "active" and not {"dall-e-3", DEAR} & offered
    assert (await process.outcome(request)).data.failure.code == "invalid_request" and simulator.calls(request) == []
    assert begun.id == DEAR, "what was begun is carried out"
    assert isinstance(await process.catalog.find(request), Model)


async def test_what_was_begun_with_more_than_may_be_asked_for_now_is_carried_out(make_process, simulator):
    gone, other = await make_process(0.05), await make_process()
    request = ask("[[sim:latency=0.5]]", model="flux-schnell", count=2)
    await gone.generate(request)
    await gone.rows("UPDATE models SET max_count = 1 WHERE id = :id RETURNING 1", id=request.model)
    await other.catalog.refresh()
    refused = ask(model="flux-schnell", count=2)
    await other.generate(refused)
    await asyncio.sleep(0.4)
    await other.take_due()
    await other.finish()
    await gone.rows("UPDATE models SET max_count = 4 WHERE id = :id RETURNING 1", id=request.model)
    assert (await other.rendered(request)) is not None
    assert simulator.calls(refused) == [] and (await other.outcome(refused)).data.failure.code == "invalid_request"
