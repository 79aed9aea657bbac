"""Users' own keys: encrypted, never said again, used for their generations and nobody else's."""

import asyncio
import math
import time
from uuid import uuid4

import pytest
from pydantic import SecretStr

from contracts.questions import SetKey
from generator.adapters import make_provider
from generator.attempts import KEY_NOT_READ, State
from generator.course import Assignment
from generator.user_keys import UserKeys

from .stage import FILM, ask, ask_film, provider_settings

pytestmark = pytest.mark.connected

KEY = "sk-sim-401"
"""The simulator refuses whoever comes with it."""
OWN = "sk-an-account-of-their-own"


@pytest.fixture(autouse=True)
async def nobodys(process):
    await process.rows("DELETE FROM user_keys RETURNING 1")


@pytest.fixture
def make_keys(process, simulator):
    def make(secrets="a secret of the operator's"):
        settings = provider_settings(simulator.url)
        keys = UserKeys(
            process.database, SecretStr(secrets), lambda name, key: make_provider(process.session, settings, name, key)
        )
        process.submitter.own = keys.provider
        return keys

    return make


async def test_a_users_own_key_is_used_for_their_generations_alone(process, make_keys):
    keys = make_keys()
    mine, others = ask(), ask()
    told = await keys.set(SetKey(user_id=mine.user_id, provider="modelark", key=KEY))
    assert [(each.provider, each.last4) for each in told.keys] == [("modelark", "-401")]
    await process.generate(mine)
    await process.generate(others)
    assert (await process.outcome(mine)).data.failure.code == "provider_unauthorized"
    assert await process.rendered(others) is not None


async def test_it_is_never_said_again_and_never_stored_as_it_is(process, make_keys):
    keys = make_keys()
    user = uuid4()
    asked = SetKey(user_id=user, provider="openai", key="sk-very-secret-canary")
    told = await keys.set(asked)
    assert "canary" not in repr(asked) and "secret" not in told.model_dump_json()
    assert (await keys.answer(user)) == told and (await keys.answer(uuid4())).keys == ()
    rows = await process.rows("SELECT user_keys::text AS everything FROM user_keys")
    assert rows and not any("canary" in row.everything for row in rows)


async def test_other_processes_learn_of_it_and_of_its_end(process, make_keys):
    here, there = make_keys(), make_keys()
    user = uuid4()
    await here.set(SetKey(user_id=user, provider="modelark", key=KEY))
    assert there.provider(user, "modelark") is None
    await there.refresh()
    assert there.provider(user, "modelark") is not None
    assert there.provider(user, "modelark") is there.provider(user, "modelark")
    await here.set(SetKey(user_id=user, provider="modelark"))
    await there.refresh()
    assert here.provider(user, "modelark") is there.provider(user, "modelark") is None
    assert (await here.answer(user)).keys == ()


async def test_secrets_are_changed_one_after_the_other(make_keys):
    old = make_keys("first secret")
    user = uuid4()
    await old.set(SetKey(user_id=user, provider="modelark", key=KEY))
    both = make_keys("second secret, first secret")
    assert await both.rotate() == 1 and await both.rotate() == 0
    new, late = make_keys("second secret"), make_keys("first secret")
    for each in (new, late, old):
        await each.refresh()
    assert new.provider(user, "modelark") is not None and late.provider(user, "modelark") is None
    assert old.provider(user, "modelark") is not None, "until it is restarted as well, it has what it has read"
    await both.set(SetKey(user_id=user, provider="modelark"))
    await old.refresh()
    assert old.provider(user, "modelark") is None


async def test_without_a_secret_nobody_can_set_one(make_keys):
    user = uuid4()
    keys = make_keys("")
    told = await keys.set(SetKey(user_id=user, provider="modelark", key=KEY))
    assert not told.is_offered and (await keys.answer(user)).keys == ()


@pytest.fixture
async def ours(process):
    """What is asked about tasks with the operator's key, of a model that is looked at often."""
    await process.rows("UPDATE models SET p99_seconds = 10 WHERE id = :id RETURNING 1", id=FILM)
    await process.catalog.refresh()
    provider, asked = process.submitter._providers["modelark"], []
    look = provider.look

    async def noted(submission, task):
        asked.append(submission.reference)
        return await look(submission, task)

    provider.look = noted
    return asked


async def own_keys(process, request):
    rows = await process.rows(
        "SELECT own_key FROM attempts WHERE generation_id = :id ORDER BY number", id=request.generation_id
    )
    return [row.own_key for row in rows]


async def test_a_key_that_is_set_while_a_film_is_made_is_not_asked_about_it(process, make_keys, ours, simulator):
    """The user's account knows nothing of it, and the operator's is billed for it."""
    keys = make_keys()
    request = ask_film("[[sim:latency=0.5]]")
    await process.generate(request)
    await keys.set(SetKey(user_id=request.user_id, provider="modelark", key=KEY))
    await process.finish()
    assert await process.rendered(request) is not None and simulator.billed(request) == 1
    assert await own_keys(process, request) == [False] and ours


async def test_a_film_that_ones_own_key_began_is_followed_with_it_by_every_process(
    process, make_keys, make_process, ours
):
    keys = make_keys()
    request = ask_film("[[sim:latency=0.5]]")
    await keys.set(SetKey(user_id=request.user_id, provider="modelark", key=OWN))
    other = await make_process()
    other.submitter.own = keys.provider
    await other.generate(request)
    await other.leases.drain()
    await other.leases.stop()
    await process.take_due()
    await process.finish()
    assert await process.rendered(request) is not None
    assert await own_keys(process, request) == [True] and not ours


async def test_a_film_that_ones_own_key_began_goes_on_while_the_secrets_are_changed(process, make_keys, ours):
    """Processes are restarted one after the other, and this one has the former secret alone."""
    keys = make_keys("first secret")
    request = ask_film("[[sim:latency=0.5]]")
    await keys.set(SetKey(user_id=request.user_id, provider="modelark", key=OWN))
    await process.generate(request)
    await make_keys("second secret, first secret").rotate()
    await keys.refresh()
    process.submitter.own, process.submitter.keys_read_at = keys.provider, lambda: keys.read_at
    await process.finish()
    assert await process.rendered(request) is not None and not ours


@pytest.mark.parametrize("read_after_seconds", [0.0, 2.0], ids=["read at once", "read later"])
async def test_what_a_key_began_that_is_gone_ends_and_no_other_account_is_asked(
    process, make_keys, ours, read_after_seconds
):
    reading_at = time.monotonic() + read_after_seconds
    process.submitter.keys_read_at = lambda: math.inf if time.monotonic() >= reading_at else -math.inf
    keys = make_keys()
    request = ask_film("[[sim:latency=60]]")
    await keys.set(SetKey(user_id=request.user_id, provider="modelark", key=OWN))
    await process.generate(request)
    await keys.set(SetKey(user_id=request.user_id, provider="modelark"))
    await process.finish()
    assert await process.attempts(request) == [(0, 1, "failed", "provider_unauthorized")]
    assert (await process.outcome(request)).data.failure.code == "provider_unauthorized" and not ours


async def test_a_call_that_ones_own_key_made_is_not_looked_for_in_another_account(process, make_keys, monkeypatch):
    """There it would surely not be, and would be paid again."""
    monkeypatch.setattr("generator.submit.FIND_PAUSES_SECONDS", (0.0, 0.0))
    keys = make_keys()
    request = ask_film()
    model = await process.catalog.find(request)
    await keys.set(SetKey(user_id=request.user_id, provider="modelark", key=OWN))
    [intent] = await process.generator._driver.admission.first(request, model)
    await keys.set(SetKey(user_id=request.user_id, provider="modelark"))
    for read_at in (math.inf, -math.inf):
        process.submitter.keys_read_at = lambda read_at=read_at: read_at
        assignment = Assignment(request, None, model, time.monotonic() + 60)
        found = await process.submitter.find(assignment, intent)
        assert found.state is State.UNKNOWN
    assert (await process.submitter.submit(assignment, intent)).failure == KEY_NOT_READ


async def test_what_a_former_version_began_is_asked_about_with_its_users_key(process, make_keys, make_process, ours):
    """It works beside this one while that comes, and wrote down with whose key for no attempt."""
    keys = make_keys()
    request = ask_film("[[sim:latency=0.5]]")
    await keys.set(SetKey(user_id=request.user_id, provider="modelark", key=OWN))
    former = await make_process()
    former.submitter.own = keys.provider
    await former.generate(request)
    await former.rows(
        "UPDATE attempts SET own_key = DEFAULT WHERE generation_id = :id RETURNING 1", id=request.generation_id
    )
    await former.leases.drain()
    await former.leases.stop()
    await process.take_due()
    await process.finish()
    assert await process.rendered(request) is not None
    assert await own_keys(process, request) == [None] and not ours


async def test_a_process_that_has_read_no_keys_yet_ends_nothing_that_one_began(process, make_keys, make_process):
    """Its first look at them failed with the database, and what was begun before is taken over sooner than they are
    read."""
    keys, unread = make_keys(), make_keys()
    request = ask_film("[[sim:latency=0.5]]")
    await keys.set(SetKey(user_id=request.user_id, provider="modelark", key=OWN))
    former = await make_process()
    former.submitter.own = keys.provider
    await former.generate(request)
    await former.leases.drain()
    await former.leases.stop()
    await former.rows(
        "UPDATE attempts SET created_at = now() - interval '40 s' WHERE generation_id = :id RETURNING 1",
        id=request.generation_id,
    )
    process.submitter.own, process.submitter.keys_read_at = unread.provider, lambda: unread.read_at
    await process.take_due()
    process.follower.start(process.leases.go_on)
    await asyncio.sleep(2)
    await unread.refresh()
    await process.finish()
    assert await process.rendered(request) is not None
