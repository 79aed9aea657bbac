"""Users' own keys: encrypted, never said again, used for their generations and nobody else's."""

from uuid import uuid4

import pytest
from pydantic import SecretStr

from contracts.questions import (
    SetKey,
)
from generator.adapters import make_provider
from generator.user_keys import UserKeys

from .stage import ask, provider_settings

pytestmark = pytest.mark.connected

KEY = "sk-sim-401"
"""The simulator refuses whoever comes with it."""


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
    new = make_keys("second secret")
    await new.refresh()
    await old.refresh()
    assert new.provider(user, "modelark") is not None and old.provider(user, "modelark") is None


async def test_without_a_secret_nobody_can_set_one(make_keys):
    user = uuid4()
    keys = make_keys("")
    told = await keys.set(SetKey(user_id=user, provider="modelark", key=KEY))
    assert not told.is_offered and (await keys.answer(user)).keys == ()
