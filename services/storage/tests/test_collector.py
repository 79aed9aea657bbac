"""Only the collector deletes objects, and only what nothing has named for a day (design.md §3.5, §3.8, P17)."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from faststream.nats import NatsBroker
from nats.aio.client import Client
from sqlalchemy import text

from contracts.facts import Outcome
from contracts.questions import (
    GATEWAY_OUTCOMES,
    Recorded,
    RecordedOutcome,
    RecordedOutcomes,
)
from runtime.database import Database
from storage import assets
from storage.collector import Collector
from storage.ingest import Ingest
from storage.keeping import Bounds, Keeping
from storage.objects import name_of
from storage.objects.local import LocalObjects
from storage.variants import Variants
from storage.workshop import Workshop

from .samples import Provider, cancelled, names, picture, rendered, rows

pytestmark = pytest.mark.connected


def collector_of(database: Database, broker: NatsBroker, objects: LocalObjects, orphan_seconds: float) -> Collector:
    keeping = Keeping(database, Bounds())
    return Collector(database, broker, objects, keeping, None, every_seconds=3600, orphan_seconds=orphan_seconds)


@pytest.fixture
async def collector(database: Database, broker: NatsBroker, objects: LocalObjects) -> AsyncIterator[Collector]:
    await rows(database, "TRUNCATE orphans")
    yield collector_of(database, broker, objects, 0)


async def put(objects: LocalObjects, content: bytes = b"nobody's") -> str:
    name = name_of(uuid4(), hashlib.sha256(content).hexdigest())
    await objects.put(name, io.BytesIO(content), len(content))
    return name


async def test_named_objects_stay_and_orphans_go(
    collector: Collector,
    ingest: Ingest,
    provider: Provider,
    objects: LocalObjects,
    database: Database,
    workshop: Workshop,
) -> None:
    content = picture(400, 400)
    fact = rendered(provider.url("kept", content))
    await ingest.store(fact)
    token = (await ingest.store(fact)).data.assets[0].key[:32]
    sought = await assets.seek(database, token, "thumbnail")
    assert sought is not None
    await Variants(database, objects, workshop).get(sought, "thumbnail")
    kept = await names(objects)
    assert len(kept) == 2
    same_bytes_of_another = await put(objects, content)
    orphan = await put(objects)
    assert await collector.collect() == 2
    assert await names(objects) == kept
    assert {same_bytes_of_another, orphan}.isdisjoint(kept)
    assert await rows(database, "SELECT * FROM orphans") == []


async def test_what_a_lost_race_left_goes_with_its_variants(
    collector: Collector, ingest: Ingest, provider: Provider, objects: LocalObjects
) -> None:
    """P17: rows are dropped at once, bytes only here."""
    fact = rendered(provider.url("a", picture()), provider.url("b", picture()))
    await ingest.store(fact)
    assert await collector.collect() == 0
    await ingest.yield_to(cancelled(fact))
    assert len(await names(objects)) == 2
    assert await collector.collect() == 2


async def test_an_object_is_an_orphan_for_a_day_first(
    database: Database, broker: NatsBroker, collector: Collector, objects: LocalObjects
) -> None:
    patient = collector_of(database, broker, objects, 86_400)
    name = await put(objects)
    assert await patient.collect() == 0
    await rows(database, "UPDATE orphans SET since = since - interval '23 hours 59 minutes'")
    assert await patient.collect() == 0
    await rows(database, "UPDATE orphans SET since = since - interval '2 minutes'")
    assert await patient.collect() == 1
    assert name not in await names(objects)


async def test_named_again_the_day_starts_anew(
    database: Database,
    broker: NatsBroker,
    collector: Collector,
    ingest: Ingest,
    provider: Provider,
    objects: LocalObjects,
) -> None:
    patient = collector_of(database, broker, objects, 86_400)
    content, user = picture(), uuid4()
    first = rendered(provider.url("a", content), user_id=user)
    await ingest.store(first)
    await ingest.yield_to(cancelled(first))
    await patient.collect()
    await rows(database, "UPDATE orphans SET since = since - interval '2 days'")
    await ingest.store(rendered(provider.url("a", content), user_id=user))
    assert await patient.collect() == 0
    assert await rows(database, "SELECT * FROM orphans") == []


async def test_a_writer_and_the_collector_exclude_each_other(
    collector: Collector, ingest: Ingest, provider: Provider, objects: LocalObjects, database: Database
) -> None:
    """Design §3.8: while the collector is about to delete, a writer of the same hash waits, then writes it again."""
    content, user = picture(), uuid4()
    name = name_of(user, hashlib.sha256(content).hexdigest())
    await objects.put(name, io.BytesIO(content), len(content))
    fact = rendered(provider.url("a", content), user_id=user)
    storing: asyncio.Task[Outcome] | None = None
    really_delete = objects.delete

    async def delete(name: str) -> None:
        nonlocal storing
        storing = asyncio.create_task(ingest.store(fact))
        await asyncio.sleep(0.3)
        assert not storing.done(), "the writer waits for the lock on the hash"
        assert await rows(database, "SELECT * FROM assets WHERE owner_id = :user", user=user) == []
        await really_delete(name)

    objects.delete = delete  # type: ignore[method-assign]
    assert await collector.collect() == 1
    assert storing is not None
    assert (await storing).data.verdict == "completed"
    assert await objects.size(name) == len(content)


async def test_who_draws_a_variant_and_the_collector_exclude_each_other(
    ingest: Ingest, provider: Provider, database: Database
) -> None:
    """As above: the row that names the bytes of a variant is not written while they are being deleted."""
    outcome = await ingest.store(rendered(provider.url("a", picture())))
    small = assets.Named(f"{uuid4()}/{'ab' * 32}", "ab" * 32, 123, "image/webp")
    async with database.transaction() as deleting:
        lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
        await deleting.execute(lock, {"name": small.object_name})
        opening = asyncio.create_task(assets.open_variant(database, outcome.data.assets[0].id, "thumbnail", small))
        await asyncio.sleep(0.3)
        assert not opening.done(), "it waits for the lock on the hash"
        assert await rows(database, "SELECT * FROM variants WHERE sha256 = :hash", hash=small.sha256) == []
    assert await opening


async def test_a_writer_that_came_first_is_seen(
    collector: Collector, ingest: Ingest, provider: Provider, objects: LocalObjects
) -> None:
    """The object was named after it was marked and before it was to be deleted."""
    content, user = picture(), uuid4()
    name = name_of(user, hashlib.sha256(content).hexdigest())
    await objects.put(name, io.BytesIO(content), len(content))
    really_list = objects.names

    async def name_it_after_marking() -> AsyncIterator[list[str]]:
        async for batch in really_list():
            yield batch
        await ingest.store(rendered(provider.url("a", content), user_id=user))

    objects.names = name_it_after_marking  # type: ignore[method-assign]
    assert await collector.collect() == 0
    assert await objects.size(name) == len(content)


async def test_two_collectors_take_turns(
    collector: Collector, ingest: Ingest, provider: Provider, database: Database, objects: LocalObjects
) -> None:
    await put(objects)
    fact = rendered(provider.url("deleted", picture()))
    await ingest.store(fact)
    deleted = "UPDATE assets SET state = 'deleted', deleted_at = '2020-01-01' WHERE generation_id = :id"
    await rows(database, deleted, id=fact.data.request.generation_id)
    async with database.statement() as other:
        await other.execute(text("SELECT pg_advisory_lock(:key)"), {"key": 0x636F6C6C})
        assert (await collector.expire(), await collector.collect()) == (0, 0)
        await other.execute(text("SELECT pg_advisory_unlock_all()"))
    assert (await collector.expire(), await collector.collect()) == (1, 2)


async def test_locks_are_given_back_after_a_failure(collector: Collector, objects: LocalObjects) -> None:
    await put(objects)
    really_delete = objects.delete

    async def fail(_: str) -> None:
        raise ConnectionError("the store is away")

    objects.delete = fail  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await collector.collect()
    objects.delete = really_delete  # type: ignore[method-assign]
    assert await collector.collect() == 1


async def test_a_deletion_on_its_way_keeps_its_lock_when_all_stops(
    collector: Collector, database: Database, objects: LocalObjects
) -> None:
    """A writer that waits for the lock puts the object after it was deleted, not before."""
    name = await put(objects)
    really_delete, goes_on, begun = objects.delete, asyncio.Event(), asyncio.Event()

    async def slowly(_: str) -> None:
        begun.set()
        await goes_on.wait()
        await really_delete(name)

    objects.delete = slowly  # type: ignore[method-assign]
    collecting = asyncio.create_task(collector.collect())
    await begun.wait()
    collecting.cancel()
    is_free = "SELECT pg_try_advisory_xact_lock_shared(hashtextextended(:name, 0)) AS is_free"
    await asyncio.sleep(0.1)
    assert [row.is_free for row in await rows(database, is_free, name=name)] == [False]
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await collecting
    assert await objects.size(name) is None
    assert [row.is_free for row in await rows(database, is_free, name=name)] == [True]


async def test_a_step_that_fails_stops_none_of_the_others(
    database: Database, broker: NatsBroker, objects: LocalObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows(database, "TRUNCATE orphans")
    await put(objects)

    async def fail(*_: object) -> int:
        raise RuntimeError("too much to expire")

    monkeypatch.setattr(Keeping, "expire", fail)
    often = Collector(
        database, broker, objects, Keeping(database, Bounds()), None, every_seconds=0.05, orphan_seconds=0
    )
    often.start()
    async with asyncio.timeout(30):
        while await names(objects):
            await asyncio.sleep(0.05)
    await often.stop()


async def test_foreign_files_are_never_touched(collector: Collector, objects: LocalObjects, tmp_path: object) -> None:
    root = Path(objects._root)
    await objects.check()
    foreign = [root / "README.md", root / "images/picture.png", root / str(uuid4()) / "ab" / "short"]
    for file in foreign:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"somebody's")
    assert await collector.collect() == 0
    assert all(file.exists() for file in foreign)


# -- outcomes that were never heard ---------------------------------------------------------------------------


async def test_the_gateway_is_asked_how_it_ended(
    collector: Collector, ingest: Ingest, provider: Provider, database: Database, bus: Client
) -> None:
    """Design §3.5: after the loss of the log, the collector closes by what the clients were told."""
    ended, unfinished, unknown = (rendered(provider.url("a", picture())) for _ in range(3))
    for fact in (ended, unfinished, unknown):
        await ingest.store(fact)
    told = cancelled(ended)

    async def answer(message: object) -> None:
        question = RecordedOutcomes.model_validate_json(message.data)  # type: ignore[attr-defined]
        states = {
            ended.data.request.generation_id: ("recorded", told),
            unfinished.data.request.generation_id: ("unfinished", None),
        }
        found = [
            RecordedOutcome(generation_id=each, state=state, outcome=outcome)
            for each in question.generation_ids
            for state, outcome in [states.get(each, ("unknown", None))]
        ]
        await message.respond(Recorded(outcomes=tuple(found)).model_dump_json().encode())  # type: ignore[attr-defined]

    gateway = await bus.subscribe(GATEWAY_OUTCOMES, cb=answer)
    await bus.flush()
    assert await collector.ask(silent_seconds=0) == 1
    await gateway.unsubscribe()
    left = await rows(
        database,
        "SELECT generation_id FROM assets WHERE generation_id = ANY(:ids)",
        ids=[fact.data.request.generation_id for fact in (ended, unfinished, unknown)],
    )
    assert {row["generation_id"] for row in left} == {
        unfinished.data.request.generation_id,
        unknown.data.request.generation_id,
    }
    assert await ingest.store(ended) == told


async def test_young_generations_are_not_asked_about(collector: Collector, ingest: Ingest, provider: Provider) -> None:
    await ingest.store(rendered(provider.url("a", picture())))
    assert await collector.ask() == 0
