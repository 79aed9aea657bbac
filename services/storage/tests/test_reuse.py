"""What was made for an earlier generation becomes another's as well: its own rows, the same bytes."""

import asyncio
from uuid import UUID, uuid4

import pytest
from faststream.nats import NatsBroker

from contracts.facts import Cached, Ending, Failure, Outcome, Output, Rendered, Rendering, Request, Verdict, Visibility
from contracts.ids import new_generation_id
from contracts.keeping import (
    ChangedAssets,
    Delete,
    Forget,
    ReuseAssets,
)
from contracts.questions import STORAGE_REUSE
from runtime.broker import make_broker
from runtime.database import Database
from runtime.settings import BrokerSettings
from storage import assets
from storage.collector import Collector
from storage.ingest import Ingest
from storage.keeping import Bounds, Keeping
from storage.lending import Lending
from storage.objects.local import LocalObjects
from storage.reuse import reuse
from storage.subscribers import questions

from .conftest import Make
from .samples import Provider, names, picture, rendered, rows

pytestmark = pytest.mark.connected

GONE = Failure(code="result_gone", message="It is not kept any more.")


def again(request: Request, count: int = 1) -> ReuseAssets:
    return ReuseAssets(
        user_id=request.user_id, generation_id=new_generation_id(), earlier_id=request.generation_id, count=count
    )


def cached(request: Request, question: ReuseAssets) -> Rendered:
    """What the generator says about a generation that storage has made already."""
    return Rendered.of(
        Rendering(
            request=request.model_copy(update={"generation_id": question.generation_id}),
            provider="modelark",
            outputs=tuple(Output(index=index, failure=GONE) for index in range(question.count)),
            cached=Cached(generation_id=question.earlier_id, percent=0),
        ),
        "generator",
        None,
    )


@pytest.fixture
async def made(ingest: Ingest, provider: Provider, database: Database) -> tuple[Request, Outcome]:
    """Two pictures, with their outcome recorded."""
    fact = rendered(provider.url("a", picture()), provider.url("b", picture()))
    outcome = await ingest.store(fact)
    await assets.close(database, [outcome])
    return fact.data.request, outcome


@pytest.fixture
def owned(made: tuple[Request, Outcome]) -> Request:
    return made[0]


@pytest.fixture
def earlier(made: tuple[Request, Outcome]) -> Outcome:
    return made[1]


async def test_the_new_generation_has_rows_of_its_own_and_the_same_bytes(
    ingest: Ingest, provider: Provider, database: Database, objects: LocalObjects, earlier: Outcome, owned: Request
) -> None:
    question = again(owned, 2)
    before = await names(objects)
    assert await reuse(database, question) == ChangedAssets(assets=2)
    asked = dict(provider.asked)
    ending = (await ingest.store(cached(owned, question))).data
    assert ending.verdict is Verdict.COMPLETED and ending.cached is not None
    assert ending.cached.generation_id == earlier.data.generation_id and ending.percent == 0
    assert [each.sha256 for each in ending.assets] == [each.sha256 for each in earlier.data.assets]
    assert {each.id for each in ending.assets}.isdisjoint(each.id for each in earlier.data.assets)
    assert {each.key for each in ending.assets}.isdisjoint(each.key for each in earlier.data.assets)
    assert await names(objects) == before and provider.asked == asked, "nothing was fetched or written"


async def test_asked_again_it_is_the_same(database: Database, owned: Request) -> None:
    question = again(owned, 2)
    answers = await asyncio.gather(*(reuse(database, question) for _ in range(5)))
    assert {answer.assets for answer in answers} == {2}
    found = await rows(database, "SELECT token FROM assets WHERE generation_id = :id", id=question.generation_id)
    assert len(found) == 2


async def test_deleting_the_earlier_one_leaves_the_new_one_its_bytes(
    database: Database, broker: NatsBroker, objects: LocalObjects, owned: Request
) -> None:
    question = again(owned, 2)
    await reuse(database, question)
    keeping = Keeping(database, Bounds(trash_seconds=0))
    gone = Delete(user_id=owned.user_id, generation_id=owned.generation_id)
    assert (await keeping.delete(gone)).assets == 2
    await rows(database, "UPDATE assets SET deleted_at = now() - interval '1 day' WHERE state = 'deleted'")
    await keeping.expire()
    assert await states(database, owned.generation_id) == ["purged", "purged"]
    collector = Collector(database, broker, objects, keeping, None, every_seconds=3600, orphan_seconds=0)
    await collector.collect()
    await collector.collect()
    kept = await rows(
        database, "SELECT owner_id, sha256 FROM assets WHERE generation_id = :id", id=question.generation_id
    )
    assert {f"{row['owner_id']}/{row['sha256']}" for row in kept} <= set(await names(objects))
    await keeping.forget(Forget(user_id=owned.user_id))
    await collector.collect()
    await collector.collect()
    assert not {f"{row['owner_id']}/{row['sha256']}" for row in kept} & set(await names(objects))


async def states(database: Database, generation_id: UUID) -> list[str]:
    return [
        row["state"]
        for row in await rows(database, "SELECT state FROM assets WHERE generation_id = :id", id=generation_id)
    ]


async def test_all_of_it_or_none(database: Database, owned: Request) -> None:
    for different in ({"user_id": uuid4()}, {"earlier_id": new_generation_id()}, {"count": 1}, {"count": 3}):
        question = again(owned, 2).model_copy(update=different)
        assert await reuse(database, question) == ChangedAssets(assets=0)
        assert await states(database, question.generation_id) == []
    await rows(
        database,
        "UPDATE assets SET state = 'deleted', deleted_at = now() WHERE generation_id = :id AND index = 1",
        id=owned.generation_id,
    )
    question = again(owned, 2)
    assert await reuse(database, question) == ChangedAssets(assets=0)
    assert await states(database, question.generation_id) == []


async def test_nothing_is_made_for_a_closed_generation_and_a_lost_race_drops_it(
    database: Database, owned: Request
) -> None:
    closed, overtaken = again(owned, 2), again(owned, 2)

    async def cancel(question: ReuseAssets) -> None:
        ending = Ending(generation_id=question.generation_id, verdict=Verdict.CANCELLED)
        await assets.close(database, [Outcome.of(ending, "gateway", None)])

    await cancel(closed)
    assert await reuse(database, closed) == ChangedAssets(assets=0)
    assert await reuse(database, overtaken) == ChangedAssets(assets=2)
    await cancel(overtaken)
    assert await states(database, overtaken.generation_id) == []
    assert await states(database, owned.generation_id) == ["stored", "stored"]


async def test_what_its_owner_gave_up_before_it_was_told_of_was_delivered_all_the_same(
    ingest: Ingest, database: Database, owned: Request
) -> None:
    """The user was forgotten in between."""
    question = again(owned, 2)
    await reuse(database, question)
    await Keeping(database, Bounds()).forget(Forget(user_id=owned.user_id))
    ending = (await ingest.store(cached(owned, question))).data
    assert ending.verdict is Verdict.COMPLETED and len(ending.assets) == 2


@pytest.mark.parametrize("visibility", Visibility)
async def test_who_may_look_is_what_the_new_request_says(
    database: Database, owned: Request, visibility: Visibility
) -> None:
    question = again(owned, 2).model_copy(update={"visibility": visibility})
    assert (await reuse(database, question)).assets == 2
    found = "SELECT visibility FROM assets WHERE generation_id = :id"
    kept = await rows(database, found, id=question.generation_id)
    assert {row.visibility for row in kept} == {visibility.value}


async def test_it_is_asked_over_the_bus(
    database: Database, make: Make, owned: Request, nats_server: object, lending: Lending
) -> None:
    answering = make_broker(BrokerSettings(nats_url=nats_server.nats_url), "storage")  # type: ignore[attr-defined]
    answering.include_router(questions(database, make(), Keeping(database, Bounds()), lending))
    await answering.start()
    try:
        payload = again(owned, 2).model_dump_json().encode()
        answer = await answering.connection.request(STORAGE_REUSE, payload, timeout=5)
        assert ChangedAssets.model_validate_json(answer.data).assets == 2
    finally:
        await answering.stop()
