"""Which plan a user is on is the ledger's to say, and what a plan keeps is storage's."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from faststream.nats import NatsBroker
from nats.aio.client import Client

from contracts.keeping import Keep
from contracts.questions import LEDGER_PLANS, MAX_IDS_PER_QUESTION, PlansOf, UserPlan, UserPlans
from runtime.database import Database
from storage.ingest import Ingest
from storage.keeping import Bounds, Keeping
from storage.plans import Plans, ask_ledger

from .samples import Provider, picture, rendered, rows
from .test_keeping import DAY, older, state_of

pytestmark = pytest.mark.connected


class Ledger:
    """Says which plan a user is on, unless it is silent; and counts how often it was asked."""

    def __init__(self) -> None:
        self.plans: dict[UUID, str] = {}
        self.is_silent = False
        self.asked: list[UUID] = []

    async def names(self, user_ids: Sequence[UUID]) -> dict[UUID, str] | None:
        self.asked += user_ids
        return None if self.is_silent else {user_id: self.plans.get(user_id, "free") for user_id in user_ids}


@pytest.fixture
async def plans(database: Database) -> AsyncIterator[Ledger]:
    """Free keeps for 30 days and 1000 bytes, paying for a year; whatever else there is, as everybody."""
    await rows(database, "INSERT INTO plans VALUES ('free', 30, 1000), ('paying', 365, NULL)")
    yield Ledger()
    await rows(database, "DELETE FROM plans")


async def test_a_plan_that_changes_holds_from_then_on(
    ingest: Ingest, provider: Provider, database: Database, plans: Ledger
) -> None:
    """Retention and quota follow the plan of today, up and down; a word about one user comes before it."""
    user_id = uuid4()
    facts = [rendered(provider.url(str(number), picture()), user_id=user_id) for number in range(2)]
    for fact, age in zip(facts, (40, 400), strict=True):
        await ingest.store(fact)
        await older(database, fact.data.request.generation_id, age)
    newer, elder = (fact.data.request.generation_id for fact in facts)
    keeping = Keeping(database, Bounds(trash_seconds=1000 * DAY), Plans(database, plans.names))
    await keeping.keep(Keep(user_id=user_id, retention_days=1000))
    await keeping.expire()
    assert (await state_of(database, elder), user_id in plans.asked[1:]) == (["stored"], False)
    await keeping.keep(Keep(user_id=user_id))
    plans.plans[user_id] = "paying"
    await keeping.expire()
    assert (await state_of(database, newer), await state_of(database, elder)) == (["stored"], ["deleted"])
    usage = await keeping.usage(user_id)
    assert (usage.retention_days, usage.quota_bytes) == (365, None)
    plans.plans[user_id] = "free"
    usage = await keeping.usage(user_id)
    assert (usage.retention_days, usage.quota_bytes) == (30, 1000)
    await keeping.expire()
    assert await state_of(database, newer) == ["deleted"]


async def test_nothing_is_deleted_on_hearsay(
    ingest: Ingest, provider: Provider, database: Database, plans: Ledger
) -> None:
    """Who was on the free plan yesterday may have paid since: while the ledger is silent, things stay."""
    fact = rendered(provider.url("a", picture()))
    await ingest.store(fact)
    generation_id, user_id = fact.data.request.generation_id, fact.data.request.user_id
    keeping = Keeping(database, Bounds(retention_days=5), Plans(database, plans.names))
    assert (await keeping.usage(user_id)).retention_days == 30
    await older(database, generation_id, 40)
    plans.is_silent = True
    await keeping.expire()
    assert await state_of(database, generation_id) == ["stored"]
    assert (await keeping.usage(user_id)).retention_days == 30, "as was last heard"
    plans.is_silent = False
    await keeping.expire()
    assert await state_of(database, generation_id) == ["deleted"]


async def test_who_keeps_for_longer_is_asked_about_once_a_day(
    ingest: Ingest, provider: Provider, database: Database, plans: Ledger
) -> None:
    fact = rendered(provider.url("a", picture()))
    await ingest.store(fact)
    user_id = fact.data.request.user_id
    await older(database, fact.data.request.generation_id, 40)
    plans.plans[user_id] = "paying"
    keeping = Keeping(database, Bounds(), Plans(database, plans.names))
    for _ in range(3):
        await keeping.expire()
    assert plans.asked.count(user_id) == 1
    await rows(database, "UPDATE owners SET plan_heard_at = plan_heard_at - interval '2 days'")
    await keeping.expire()
    assert plans.asked.count(user_id) == 2


@pytest.fixture
async def bounded(database: Database) -> AsyncIterator[None]:
    """No statement changes more than half of what is there."""
    await rows(
        database,
        """CREATE FUNCTION refuse_many() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF (SELECT count(*) FROM changed) > 3000 THEN RAISE 'too many at once'; END IF; RETURN NULL; END $$""",
    )
    await rows(
        database,
        """CREATE TRIGGER refuse_many AFTER UPDATE ON assets REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_many()""",
    )
    yield
    await rows(database, "DROP FUNCTION refuse_many CASCADE")


@pytest.mark.parametrize("by_plan", [True, False])
async def test_however_much_expires_it_does_so_in_parts(
    database: Database, plans: Ledger, bounded: None, by_plan: bool
) -> None:
    """A plan where none was, in a house that is full: all of it goes in one round, and no statement takes long."""
    owners = [uuid4() for _ in range(MAX_IDS_PER_QUESTION + 100)]
    spared, *others = owners
    await rows(
        database,
        """INSERT INTO assets (id, index, owner_id, token, state, mime_type, size_bytes, sha256, created_at)
        SELECT gen_random_uuid(), 0, owner_id, gen_random_uuid(), 'stored', 'image/png', 1, repeat('0', 64),
            now() - interval '40 days'
        FROM unnest(CAST(:owners AS uuid[])) AS owner_id, generate_series(1, 10)""",
        owners=owners,
    )
    if by_plan:
        plans.plans[spared] = "paying"
        keeping = Keeping(database, Bounds(trash_seconds=DAY), Plans(database, plans.names))
    else:
        keeping = Keeping(database, Bounds(retention_days=30, trash_seconds=DAY))
        await keeping.keep(Keep(user_id=spared, retention_days=365))
    await keeping.expire()
    left = "SELECT DISTINCT owner_id FROM assets WHERE state = 'stored' AND owner_id = ANY(:owners)"
    assert [row[0] for row in await rows(database, left, owners=owners)] == [spared]
    assert sorted(plans.asked) == (sorted(owners) if by_plan else []), "each of them once"
    older = "UPDATE assets SET deleted_at = now() - interval '2 days' WHERE owner_id = ANY(:owners)"
    for some in (others[:250], others[250:500]):
        await rows(database, older, owners=some)
    assert await keeping.expire() == 5000


async def test_the_ledger_is_asked_on_the_bus(broker: NatsBroker, bus: Client) -> None:
    user_id = uuid4()
    assert await ask_ledger(broker, [user_id]) is None, "nobody is there"

    async def answer(message: Any) -> None:
        asked = PlansOf.model_validate_json(message.data)
        plans = tuple(UserPlan(user_id=user_id, name="paying") for user_id in asked.user_ids)
        await message.respond(UserPlans(plans=plans).model_dump_json().encode())

    subscription = await bus.subscribe(LEDGER_PLANS, cb=answer)
    await bus.flush()
    async with asyncio.timeout(30):
        while (told := await ask_ledger(broker, [user_id])) is None:
            pass  # it has a second to answer, which a busy machine may not have
    assert told == {user_id: "paying"}
    await subscription.unsubscribe()
