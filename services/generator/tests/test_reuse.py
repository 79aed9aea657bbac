"""Answered from what was made before: by the same user, of the same request, where it is still there."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

import storage
from contracts.facts import Asset, Cached, Ending, Kind, Outcome, Reuse, Verdict
from contracts.ids import asset_id, new_generation_id
from contracts.keeping import (
    Delete,
    ReuseAssets,
)
from contracts.questions import STORAGE_REUSE
from contracts.topology import progress_subject
from darkroom.migration import upgrade
from generator.reuse import key_of
from generator.work import Lease
from runtime.database import Database
from runtime.settings import DatabaseSettings
from storage import assets
from storage.keeping import Bounds, Keeping
from storage.reuse import reuse

from .stage import ask, ended

pytestmark = pytest.mark.connected

DAY = Reuse(seconds=86_400, percent=25)


@pytest.fixture(scope="module")
async def stored(make_database: Callable[[str], str]):
    """Storage's rows."""
    url = make_database("storage")
    await upgrade(url, Path(storage.__file__).parent / "migrations")
    database = Database(DatabaseSettings(database_url=SecretStr(url)), "storage")
    yield database
    await database.close()


@pytest.fixture
async def answering(process, stored):
    """Storage answers, as it does; returns what it was asked."""
    asked = []

    async def answer(message):
        question = ReuseAssets.model_validate_json(message.data)
        asked.append(question)
        await message.respond((await reuse(stored, question)).model_dump_json().encode())

    subscription = await process.broker.connection.subscribe(STORAGE_REUSE, cb=answer)
    await process.broker.connection.flush()
    yield asked
    await subscription.unsubscribe()


def made(request, delivered=None):
    return tuple(
        Asset(
            id=asset_id(request.generation_id, index),
            index=index,
            key=f"{new_generation_id().hex}/original.png",
            mime_type="image/png",
            size_bytes=1,
            sha256=hashlib.sha256(f"{request.generation_id}{index}".encode()).hexdigest(),
        )
        for index in range(request.count if delivered is None else delivered)
    )


def completed(request, kept):
    ending = Ending(generation_id=request.generation_id, verdict=Verdict.COMPLETED, assets=kept, provider="modelark")
    return Outcome.of(ending, "storage", None)


async def finish(process, stored, request, delivered=None):
    """Stores what a generation made and says that it is completed."""
    opening = assets.Opening(request.generation_id, request.user_id, made(request, delivered))
    [opened] = await assets.open_rows(stored, "local", [opening])
    await assets.finish_rows(stored, [opened])
    outcome = completed(request, opened)
    await assets.close(stored, [outcome])
    await process.generator.close([outcome])


def again(request, **changes):
    """The same request as another generation."""
    return request.model_copy(update={"generation_id": new_generation_id(), **changes})


@pytest.fixture
async def first(process, stored, simulator):
    """What was made before."""
    request = ask(reuse=DAY, count=2)
    await process.generate(request)
    assert simulator.billed(request) == 2
    await finish(process, stored, request)
    return request


async def test_the_same_request_is_answered_unpaid(process, simulator, first, answering):
    request = again(first, prompt=f"  {first.prompt.replace(' ', '  ')}\n")
    await process.generate(request)
    fact = (await process.rendered(request)).data
    assert fact.cached == Cached(generation_id=first.generation_id, percent=25)
    assert fact.request == request and fact.provider == "modelark"
    assert [output.index for output in fact.outputs] == [0, 1]
    assert await process.attempts(request) == [] and await process.state(request) == "rendered"
    assert len(simulator.calls(first)) == 2, "both prompts hold its id"
    assert [question.earlier_id for question in answering] == [first.generation_id]


@pytest.mark.parametrize(
    "different",
    [
        {"reuse": None},
        {"user_id": new_generation_id()},
        {"prompt": "A quiet harbour"},
        {"count": 1},
        {"size": "1024x1024"},
        {"options": {"seed": 4}},
        {"model": "seedream-4-0-250828"},
    ],
    ids=lambda different: next(iter(different)),
)
async def test_what_differs_is_made(process, first, answering, different):
    request = again(first, **different)
    await process.generate(request)
    assert (await process.rendered(request)).data.cached is None
    assert await process.attempts(request) != [] and answering == []


async def test_what_did_not_say_so_is_not_taken_nor_what_is_too_old_nor_what_came_in_part(
    process, stored, answering, simulator
):
    silent, old, partial = ask(), ask(reuse=DAY), ask(reuse=DAY, count=2)
    for request in (silent, old, partial):
        await process.generate(request)
    for request, delivered in ((silent, 1), (old, 1), (partial, 1)):
        await finish(process, stored, request, delivered)
    await process.rows(
        "UPDATE work SET created_at = now() - interval '25 h' WHERE generation_id = :id RETURNING 1",
        id=old.generation_id,
    )
    for request in (silent, old, partial):
        next_one = again(request, reuse=DAY)
        await process.generate(next_one)
        assert (await process.rendered(next_one)).data.cached is None
    assert answering == []


async def test_what_was_deleted_meanwhile_is_made_anew(process, stored, first, answering, simulator):
    gone = Delete(user_id=first.user_id, generation_id=first.generation_id)
    await Keeping(stored, Bounds()).delete(gone)
    request = again(first)
    await process.generate(request)
    fact = (await process.rendered(request)).data
    assert fact.cached is None and all(output.url for output in fact.outputs)
    assert len(answering) == 1 and await process.attempts(request) != []


async def test_what_was_itself_answered_from_before_is_no_origin(process, first, answering):
    """Else it would never grow old; and what remains of it when its origin is deleted is left alone."""
    second = again(first)
    await process.generate(second)
    await process.generator.close([completed(second, made(second))])
    third = again(first)
    await process.generate(third)
    assert (await process.rendered(third)).data.cached.generation_id == first.generation_id


async def test_said_again_it_is_the_same_in_every_process(make_process, first, answering):
    """Promise 2."""
    request = again(first)
    one, other = await make_process(), await make_process()
    await one.generate(request)
    said = await one.rendered(request)
    await other.generate(request)
    assert await one.rendered_times(request) == 2
    assert (await one.rendered(request)).data == said.data and len(answering) == 1


async def test_three_processes_at_once_agree(make_process, first, answering):
    request = again(first)
    processes = [await make_process() for _ in range(3)]
    await asyncio.gather(*(process.generate(request) for process in processes))
    assert await processes[0].rendered_times(request) == 1
    assert await processes[0].attempts(request) == []


class TestDied:
    """A process that ends between two lines leaves the rest to another, which comes to the same end."""

    @pytest.fixture
    async def gone(self, make_process):
        return await make_process(0.05)

    async def lease(self, gone, request) -> Lease:
        lease = await gone.work.claim(request, None, [])
        assert lease is not None
        return lease

    async def check(self, make_process, request, first):
        await asyncio.sleep(0.1)
        other = await make_process()
        await other.take_due()
        assert (await other.rendered(request)).data.cached.generation_id == first.generation_id
        assert await other.attempts(request) == []

    async def test_with_the_lease_alone(self, make_process, gone, first, answering):
        request = again(first)
        await self.lease(gone, request)
        await self.check(make_process, request, first)

    async def test_before_storage_was_asked(self, make_process, gone, first, answering, monkeypatch):
        """The row names it already: also when it is too old by now."""
        request = again(first)
        lease = await self.lease(gone, request)

        async def dies(*_):
            raise ConnectionError

        reuses = gone.generator._driver._reuses
        monkeypatch.setattr(reuses, "_stored", dies)
        with pytest.raises(ConnectionError):
            await reuses.find(lease)
        query = "UPDATE work SET created_at = now() - interval '25 h' WHERE generation_id = :id RETURNING 1"
        await gone.rows(query, id=first.generation_id)
        await self.check(make_process, request, first)

    async def test_after_storage_had_answered(self, make_process, gone, stored, first, answering):
        """Storage has made the assets: also when the earlier ones are deleted by now."""
        request = again(first)
        lease = await self.lease(gone, request)
        assert await gone.generator._driver._reuses.find(lease) is not None
        await Keeping(stored, Bounds()).delete(Delete(user_id=first.user_id, generation_id=first.generation_id))
        await self.check(make_process, request, first)

    async def test_before_it_was_said(self, make_process, gone, first, answering, monkeypatch):
        """The row says `rendered`; the fact comes again, as the sweeper sends it."""
        request = again(first)

        async def dies(*_):
            raise ConnectionError

        monkeypatch.setattr(gone.announcer, "rendered", dies)
        with pytest.raises(ConnectionError):
            await gone.generate(request)
        assert await gone.state(request) == "rendered"
        other = await make_process()
        await other.generate(request)
        assert (await other.rendered(request)).data.cached.generation_id == first.generation_id


async def test_storage_that_is_away_is_waited_for(process, first):
    """Nothing could be completed without it anyway; the row stays open for whoever goes on."""
    request = again(first)
    with pytest.raises(Exception, match="no responders"):
        await process.generate(request)
    assert await process.state(request) == "open" and await process.attempts(request) == []


async def test_a_generation_that_has_its_outcome_is_not_answered(process, first, answering):
    request = again(first)
    theirs = ended(request)
    await process.generator.close([theirs])
    await process.generate(request)
    assert await process.outcome(request) == theirs and answering == []


async def test_what_is_not_allowed_any_more_is_not_answered_from_before(process, first, answering):
    added = "INSERT INTO moderation_rules (name, groups, within_words) VALUES ('h', '[[\"harbour\"]]', 1) RETURNING 1"
    await process.rows(added)
    await process.submitter._moderation._rules.refresh()
    request = again(first)
    await process.generate(request)
    assert (await process.outcome(request)).data.failure.stage == "prompt"
    await process.rows("DELETE FROM moderation_rules WHERE name = 'h' RETURNING 1")


async def test_a_text_is_answered_without_storage(process, simulator, answering):
    request = ask("tell me about harbours", kind=Kind.TEXT, model="gpt-5.4-mini", max_tokens=50, reuse=DAY)
    await process.generate(request)
    earlier = (await process.outcome(request)).data
    second = again(request)
    await process.generate(second)
    ending = (await process.outcome(second)).data
    assert (ending.text, ending.usage, ending.provider) == (earlier.text, earlier.usage, earlier.provider)
    assert ending.cached == Cached(generation_id=request.generation_id, percent=25)
    assert len(simulator.calls(request)) == 1 and answering == []


async def test_a_text_that_was_cut_off_answers_nothing_else(process, simulator, answering):
    request = ask("[[sim:stream-endless]]", kind=Kind.TEXT, model="gpt-5.4-mini", max_tokens=50, reuse=DAY)
    subscription = await process.broker.connection.subscribe(progress_subject(request.generation_id))
    running = process.begin(request)
    await subscription.next_msg(timeout=5)
    await subscription.unsubscribe()
    assert await process.generator.finish_text(request.generation_id)
    await running
    second = again(request)
    lease = await process.work.claim(second, None, ())
    assert await process.generator._driver._reuses.find(lease) is None


def test_words_that_are_spoken_or_written_are_taken_as_they_are():
    picture, speech = ask(), ask(kind=Kind.SPEECH)
    spaced = {"prompt": picture.prompt.replace(" ", "  ")}
    assert key_of(picture) == key_of(picture.model_copy(update=spaced))
    spaced = {"prompt": speech.prompt.replace(" ", "  ")}
    assert key_of(speech) != key_of(speech.model_copy(update=spaced))
    assert key_of(picture) != key_of(picture.model_copy(update={"prompt": picture.prompt.upper()}))
