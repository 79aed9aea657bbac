"""Texts: said while they are written, ended by the generator itself, stopped with the call."""

import asyncio
import time

import pytest

from contracts.facts import Input, Kind, Verdict
from contracts.progress import Progress
from contracts.talking import Message, Tool
from contracts.topology import progress_subject
from generator.announcements import SPOKEN_EVERY_SECONDS, Speech

from .stage import ask, ended, until

pytestmark = pytest.mark.connected

MODEL = "gpt-5.4-mini"


def ask_text(words="Write about a quiet harbour", **others):
    others = {"kind": Kind.TEXT, "model": MODEL, "max_tokens": 200} | others
    return ask(words, **others).model_copy(update={"size": None})


async def heard(process, request, subscription):
    """What was said of it, once it has ended."""
    await until(lambda: process.outcome(request))
    told = []
    while subscription.pending_msgs:
        told.append(Progress.model_validate_json((await subscription.next_msg(timeout=1)).data))
    return told


@pytest.mark.parametrize("model", [MODEL, "claude-haiku-5-5"])
async def test_a_text_is_said_while_it_is_written_and_ends_with_the_whole(process, simulator, model):
    """The outcome is the generator's own: no storage, what it took beside it, and one paid call."""
    request = ask_text(model=model, messages=(Message(role="system", content="Be brief."),))
    subscription = await process.broker.connection.subscribe(progress_subject(request.generation_id))
    await process.generate(request)
    told = await heard(process, request, subscription)
    ending = (await process.outcome(request)).data
    assert ending.verdict is Verdict.COMPLETED and ending.text and ending.delivered == 1
    assert ending.usage.output_tokens > 0 and ending.usage.input_tokens > 0
    pieces = [each for each in told if each.text is not None]
    assert "".join(each.text for each in pieces) == ending.text
    assert [each.number for each in pieces] == list(range(1, len(pieces) + 1))
    assert await process.attempts(request) == [(0, 1, "rendered", None)]
    assert await process.state(request) == "closed" and await process.rendered(request) is None
    assert len(simulator.calls(request)) == 1


async def test_funded_again_after_it_was_written_is_said_again_unpaid(make_process, simulator):
    """The outcome that won is the one that every process repeats."""
    first, second = await make_process(), await make_process()
    request = ask_text()
    await first.generate(request)
    said = await first.outcome(request)
    await second.generate(request)
    assert await second.outcome(request) == said and len(simulator.calls(request)) == 1


async def test_a_text_whose_outcome_was_not_said_is_said_from_its_row(process, make_process, simulator, monkeypatch):
    """The process stopped between recording what was paid for and telling anybody."""
    request = ask_text()

    async def gone(*_):
        raise ZeroDivisionError

    with monkeypatch.context() as planted:
        planted.setattr(process.announcer, "ended", gone)
        with pytest.raises(ZeroDivisionError):
            await process.generate(request)
    assert await process.state(request) == "rendered" and await process.outcome(request) is None
    other = await make_process()
    await other.generate(request)
    ending = (await process.outcome(request)).data
    assert ending.text and ending.usage.output_tokens and len(simulator.calls(request)) == 1


async def test_what_a_text_calls_for_is_said_again_from_its_row(process, make_process, simulator, monkeypatch):
    """It may say nothing beside; the process stopped before it told anybody."""
    schema = {"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]}
    request = ask_text("An image of a harbour", tools=(Tool(name="draw_image", description="", parameters=schema),))

    async def gone(*_):
        raise ZeroDivisionError

    with monkeypatch.context() as planted:
        planted.setattr(process.announcer, "ended", gone)
        with pytest.raises(ZeroDivisionError):
            await process.generate(request)
    other = await make_process()
    await other.generate(request)
    ending = (await process.outcome(request)).data
    assert ending.verdict is Verdict.COMPLETED and ending.text == "" and ending.delivered == 1
    assert [call.name for call in ending.calls] == ["draw_image"] and ending.calls[0].id
    assert len(simulator.calls(request)) == 1


async def test_a_stopped_text_ends_the_call(process, simulator):
    """Stopping is cancelling: the provider writes no further."""
    request = ask_text("[[sim:stream-endless]]")
    running = process.begin(request)
    await until(lambda: process.attempts(request))
    await asyncio.sleep(0.3)
    await process.generator.close([ended(request)])
    await asyncio.wait_for(running, 1)
    assert await process.attempts(request) == [(0, 1, "unknown", "cancelled")]
    assert await process.outcome(request) is None


async def read_some(process, request):
    """A text that is being written, as soon as something was said of it."""
    subscription = await process.broker.connection.subscribe(progress_subject(request.generation_id))
    running = process.begin(request)
    await subscription.next_msg(timeout=5)
    await subscription.unsubscribe()
    return running


@pytest.mark.parametrize("model", [MODEL, "claude-haiku-5-5"])
async def test_a_text_that_is_read_and_then_cancelled_is_delivered_as_far_as_it_was_said(process, simulator, model):
    """It was paid for and read: it ends with what there is, and with what that took."""
    request = ask_text("[[sim:stream-endless]]", model=model)
    subscription = await process.broker.connection.subscribe(progress_subject(request.generation_id))
    running = await read_some(process, request)
    await asyncio.sleep(0.3)
    assert await process.generator.finish_text(request.generation_id) is True
    ending = (await process.outcome(request)).data
    assert (ending.verdict, ending.cut_by, ending.delivered) == (Verdict.COMPLETED, "cancel", 1)
    assert ending.usage.output_tokens > 0 and ending.usage.input_tokens > 0
    told = await heard(process, request, subscription)
    assert "".join(each.text for each in told if each.text is not None) == ending.text
    await asyncio.wait_for(running, 1)
    assert await process.attempts(request) == [(0, 1, "rendered", None)]
    assert len(simulator.calls(request)) == 1


async def test_a_text_whose_time_is_over_is_delivered_as_far_as_it_was_said(process, simulator):
    request = ask_text("[[sim:stream-endless]]", seconds=4)
    await process.generate(request)
    ending = (await process.outcome(request)).data
    assert (ending.verdict, ending.cut_by) == (Verdict.COMPLETED, "deadline") and ending.text
    assert await process.attempts(request) == [(0, 1, "rendered", None)]
    assert len(simulator.calls(request)) == 1


async def test_a_cut_text_is_said_again_from_its_row_as_cut(process, make_process, monkeypatch):
    request = ask_text("[[sim:stream-endless]]")

    async def gone(*_):
        raise ZeroDivisionError

    with monkeypatch.context() as planted:
        planted.setattr(process.announcer, "ended", gone)
        running = await read_some(process, request)
        assert await process.generator.finish_text(request.generation_id) is True
        with pytest.raises(ZeroDivisionError):
            await running
    other = await make_process()
    await other.generate(request)
    ending = (await process.outcome(request)).data
    assert ending.cut_by == "cancel" and ending.text and ending.usage.output_tokens


async def test_a_text_that_has_ended_and_is_about_to_be_said_is_waited_for(process, monkeypatch):
    """Between its last word and its outcome nobody gets it for nothing, and it stays whole."""
    request, saved = ask_text(), asyncio.Event()
    save = process.work.save

    async def slow(*arguments, **others):
        saved.set()
        await asyncio.sleep(0.2)
        return await save(*arguments, **others)

    monkeypatch.setattr(process.work, "save", slow)
    running = process.begin(request)
    await saved.wait()
    assert await process.generator.finish_text(request.generation_id) is True
    ending = (await process.outcome(request)).data
    assert ending.verdict is Verdict.COMPLETED and ending.cut_by is None
    await running


async def test_a_text_of_which_nothing_was_said_has_nothing_to_deliver(process):
    """Whoever works on it says so; whoever does not is silent, since another may."""
    request = ask_text("[[sim:slow-first-byte=5]]")
    assert await process.generator.finish_text(request.generation_id) is None
    running = process.begin(request)
    await until(lambda: process.attempts(request))
    assert await process.generator.finish_text(request.generation_id) is False
    await process.generator.close([ended(request)])
    await asyncio.wait_for(running, 1)
    assert await process.outcome(request) is None


async def test_half_a_text_is_nothing(process, simulator):
    """It may have been paid, and is made once more: what was said is numbered after what was said before."""
    request = ask_text("[[sim:stream-cutx1]]")
    subscription = await process.broker.connection.subscribe(progress_subject(request.generation_id))
    await process.generate(request)
    told = [each for each in await heard(process, request, subscription) if each.text is not None]
    assert [attempt[2] for attempt in await process.attempts(request)] == ["unknown", "rendered"]
    assert [each.number for each in told] == sorted({each.number for each in told})
    late = "".join(each.text for each in told if each.number > 1_000_000)
    assert late == (await process.outcome(request)).data.text


async def test_a_text_is_said_in_few_pieces(process):
    """Whatever the provider's rhythm; and the last words are not held back."""
    request = ask_text()
    subscription = await process.broker.connection.subscribe(progress_subject(request.generation_id))
    told = Progress(generation_id=request.generation_id, number=0, stage="rendering", percent=0)
    speech = Speech(process.announcer, told)
    began_at = time.monotonic()
    while time.monotonic() - began_at < 0.5:
        await speech.say("word ")
        await asyncio.sleep(0.002)
    await asyncio.sleep(2 * SPOKEN_EVERY_SECONDS)
    await process.broker.connection.flush()
    assert 5 <= subscription.pending_msgs <= 0.5 / SPOKEN_EVERY_SECONDS + 2
    await subscription.unsubscribe()
    await speech.finish()


async def test_what_a_generation_starts_from_is_read_from_the_claims(process, simulator):
    """The bytes reach the provider; what is not there any more is refused unpaid."""
    png = await picture(process)
    await process.submitter._claims.put("given-1", png)
    claim = Input(role="image", claim="given-1", mime_type="image/png")
    request = ask(model="seedream-4-0-250828", size="1024x1024", inputs=(claim,))
    await process.generate(request)
    assert await process.rendered(request) is not None and simulator.billed(request) == 1
    lost = ask(model="seedream-4-0-250828", size="1024x1024", inputs=(claim.model_copy(update={"claim": "gone"}),))
    await process.generate(lost)
    assert (await process.outcome(lost)).data.failure.code == "invalid_request" and simulator.calls(lost) == []


async def picture(process):
    """A small one, from the provider."""
    request = ask()
    await process.generate(request)
    async with process.session.get((await process.rendered(request)).data.outputs[0].url) as answer:
        return await answer.read()


async def test_whoever_asks_for_the_end_of_a_text_is_not_waited_for_longer_than_they_wait(process, monkeypatch):
    """Else a database that is away keeps everybody who answers, and other texts are cancelled for nothing."""
    request, may_save = ask_text("[[sim:stream-endless]]"), asyncio.Event()
    save = process.work.save

    async def held(*arguments, **others):
        await may_save.wait()
        return await save(*arguments, **others)

    running = await read_some(process, request)
    monkeypatch.setattr(process.work, "save", held)
    monkeypatch.setattr("generator.generate.FINISH_SECONDS", 0.1)
    assert await process.generator.finish_text(request.generation_id) is None
    may_save.set()
    await running
    assert (await process.outcome(request)).data.cut_by == "cancel"
