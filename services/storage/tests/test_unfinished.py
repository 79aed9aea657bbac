"""Uploads that broke off between their row and their bytes take no room for ever, and are forgotten with their user."""

from pathlib import Path
from typing import IO
from uuid import UUID, uuid4

import pytest
from faststream.nats import NatsBroker
from nats.aio.client import Client

from contracts.keeping import Forget, TakenUpload, TakeUpload
from runtime.database import Database
from storage.collector import Collector
from storage.ingest import Ingest, Overtaken
from storage.keeping import ABANDONED_SECONDS, Bounds, Keeping
from storage.objects.local import LocalObjects

from .conftest import Make
from .samples import Provider, assets_of, names, noise, picture, put_claim, rendered, rows

pytestmark = pytest.mark.connected


class Breaking(LocalObjects):
    """A disk that takes the bytes and then goes away, until it is back."""

    is_back = False

    async def put(self, name: str, data: IO[bytes], size: int) -> None:
        await super().put(name, data, size)
        if not self.is_back:
            raise OSError("the disk is away")


@pytest.fixture
def breaking(objects: LocalObjects) -> Breaking:
    """Over the same folder."""
    return Breaking(Path(objects._root))


async def broke_off(make: Make, bus: Client, breaking: Breaking, content: bytes, **bounds: int) -> TakeUpload:
    question = TakeUpload(upload_id=uuid4(), user_id=uuid4(), claim=str(uuid4()))
    await put_claim(bus, question.claim or "", content)
    assert code_of(await make(objects=breaking, **bounds).take(question)) == "unavailable"
    return question


def code_of(taken: TakenUpload) -> str | None:
    return taken.failure.code if taken.failure is not None else None


async def states_of(database: Database, user_id: UUID) -> list[str]:
    return [row["state"] for row in await rows(database, "SELECT state FROM assets WHERE owner_id = :id", id=user_id)]


async def test_an_upload_takes_no_room_beside_itself(make: Make, bus: Client, breaking: Breaking) -> None:
    content = noise(200, 200)
    quota_bytes = len(content) * 3 // 2
    question = await broke_off(make, bus, breaking, content, quota_bytes=quota_bytes)
    breaking.is_back = True
    assert (await make(objects=breaking, quota_bytes=quota_bytes).take(question)).asset is not None


async def test_what_nobody_finished_goes_after_a_day(
    make: Make, bus: Client, breaking: Breaking, objects: LocalObjects, database: Database, broker: NatsBroker
) -> None:
    """Without an Idempotency-Key each of a client's attempts is an upload of its own."""
    question = await broke_off(make, bus, breaking, picture())
    keeping = Keeping(database, Bounds())
    await keeping.expire()
    assert await states_of(database, question.user_id) == ["writing"]
    older = "UPDATE assets SET created_at = created_at - make_interval(secs => :seconds) WHERE owner_id = :id"
    await rows(database, older, seconds=ABANDONED_SECONDS, id=question.user_id)
    await keeping.expire()
    assert await states_of(database, question.user_id) == []
    assert (await keeping.usage(question.user_id)).used_bytes == 0
    await rows(database, "TRUNCATE orphans")
    collector = Collector(database, broker, objects, keeping, None, every_seconds=3600, orphan_seconds=0)
    await collector.collect()
    assert await names(objects) == set()
    breaking.is_back = True
    assert (await make(objects=breaking).take(question)).asset is not None, "and whoever still wants it has it"


async def test_what_is_being_written_is_forgotten_as_well(
    make: Make, bus: Client, breaking: Breaking, database: Database, ingest: Ingest, provider: Provider
) -> None:
    """And whoever was writing it does not bring it back."""
    question = await broke_off(make, bus, breaking, picture())
    keeping = Keeping(database, Bounds())
    assert (await keeping.forget(Forget(user_id=question.user_id))).assets == 1
    assert await states_of(database, question.user_id) == ["purged"]
    fact = rendered(provider.url("a", picture()))
    really_put = ingest._objects.put

    async def put(name: str, data: IO[bytes], size: int) -> None:
        await really_put(name, data, size)
        await keeping.forget(Forget(user_id=fact.data.request.user_id))

    ingest._objects.put = put  # type: ignore[method-assign]
    with pytest.raises(Overtaken):
        await ingest.store(fact)
    [delivered] = (await ingest.store(fact)).data.assets
    assert [(row["id"], row["state"]) for row in await assets_of(database, fact)] == [(delivered.id, "purged")]


async def test_an_offer_that_ended_long_ago_goes(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are; what may still be asked for stays."""
    monkeypatch.setattr("storage.keeping.PURGED_AT_ONCE", 2)
    user_id = uuid4()
    for hours in (30, 30, 30, 2, -1):
        await rows(
            database,
            "INSERT INTO offers VALUES (:id, :owner, 1, now() - make_interval(hours => :hours))",
            id=uuid4(),
            owner=user_id,
            hours=hours,
        )
    await Keeping(database, Bounds()).expire()
    left = await rows(database, "SELECT expires_at < now() AS is_over FROM offers WHERE owner_id = :id", id=user_id)
    assert sorted(row["is_over"] for row in left) == [False, True]
