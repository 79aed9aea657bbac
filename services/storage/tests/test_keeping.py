"""Deleting, plans, being forgotten: rows change at once, bytes go by the collector, and an outcome stays true."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.keeping import (
    ChangedAssets,
    Delete,
    Forget,
    Keep,
    Stored,
    TakeUpload,
)
from contracts.questions import (
    GATEWAY_FORGET_VOICES,
    STORAGE_DELETE,
    STORAGE_FORGET,
    STORAGE_KEEP,
)
from contracts.voices import ForgottenVoices
from runtime.broker import make_broker
from runtime.database import Database
from runtime.settings import BrokerSettings
from storage import assets
from storage.collector import Collector
from storage.ingest import Ingest
from storage.keeping import Bounds, Keeping
from storage.lending import Lending
from storage.media import Media
from storage.objects.local import LocalObjects
from storage.subscribers import questions
from storage.variants import Variants
from storage.workshop import Workshop

from .conftest import Make
from .samples import OPEN, Provider, names, noise, picture, put_claim, rendered, rows
from .serving import served
from .test_uploads import brought

pytestmark = pytest.mark.connected
DAY = 86_400


@pytest.fixture
async def collector(database: Database, broker: NatsBroker, objects: LocalObjects) -> Collector:
    await rows(database, "TRUNCATE orphans")
    keeping = Keeping(database, Bounds())
    return Collector(database, broker, objects, keeping, None, every_seconds=3600, orphan_seconds=0)


async def state_of(database: Database, generation_id: object) -> list[str]:
    found = await rows(database, "SELECT state FROM assets WHERE generation_id = :id", id=generation_id)
    return [row["state"] for row in found]


async def older(database: Database, generation_id: object, days: int) -> None:
    for column in ("created_at", "deleted_at"):
        statement = f"UPDATE assets SET {column} = {column} - make_interval(days => :days) WHERE generation_id = :id"
        await rows(database, statement, days=days, id=generation_id)


async def test_deleted_is_out_of_sight(
    ingest: Ingest, provider: Provider, objects: LocalObjects, database: Database, workshop: Workshop
) -> None:
    fact = rendered(provider.url("a", picture()))
    request = fact.data.request
    [asset] = (await ingest.store(fact)).data.assets
    keeping = Keeping(database, Bounds())
    media = Media(database, objects, Variants(database, objects, workshop), OPEN)
    question = Delete(user_id=request.user_id, generation_id=request.generation_id)
    async with served(media) as base, aiohttp.ClientSession() as http:

        async def status() -> int:
            async with http.get(f"{base}/media/{asset.key}") as answer:
                return answer.status

        foreign = question.model_copy(update={"user_id": uuid4()})
        assert (await keeping.delete(foreign)).assets == 0
        assert await status() == 200
        assert [(await keeping.delete(question)).assets for _ in range(2)] == [1, 0]
        assert await status() == 404


async def test_an_upload_is_deleted_by_its_owner_and_takes_no_room(
    ingest: Ingest, provider: Provider, make: Make, bus: Client, database: Database
) -> None:
    """What a generation made is deleted with the generation alone."""
    fact = rendered(provider.url("a", picture()))
    user_id = fact.data.request.user_id
    [made] = (await ingest.store(fact)).data.assets
    upload = TakeUpload(upload_id=uuid4(), user_id=user_id, claim=str(uuid4()))
    await put_claim(bus, upload.claim or "", picture())
    brought = (await make().take(upload)).asset
    assert brought is not None
    keeping = Keeping(database, Bounds())
    question = Delete(user_id=user_id, asset_id=brought.id)
    for wrong in ({"user_id": uuid4()}, {"asset_id": made.id}):
        assert (await keeping.delete(question.model_copy(update=wrong))).assets == 0
    assert (await keeping.usage(user_id)).assets == 2
    assert [(await keeping.delete(question)).assets for _ in range(2)] == [1, 0]
    assert (await keeping.usage(user_id)).used_bytes == made.size_bytes
    assert await assets.seek(database, brought.key[:32], "original") is None


async def test_the_bytes_of_what_was_deleted_go_some_days_later(
    ingest: Ingest, provider: Provider, objects: LocalObjects, database: Database, collector: Collector
) -> None:
    fact = rendered(provider.url("a", noise(40, 40)))
    request = fact.data.request
    await ingest.store(fact)
    keeping = Keeping(database, Bounds(trash_seconds=7 * DAY))
    await keeping.delete(Delete(user_id=request.user_id, generation_id=request.generation_id))
    assert (await keeping.expire(), await collector.collect()) == (0, 0)
    await older(database, request.generation_id, 8)
    assert await keeping.expire() == 1
    assert await state_of(database, request.generation_id) == ["purged"]
    assert await collector.collect() == 1
    assert await names(objects) == set()


async def test_bytes_that_somebody_still_names_stay(
    ingest: Ingest, provider: Provider, objects: LocalObjects, database: Database, collector: Collector
) -> None:
    content, user_id = picture(), uuid4()
    facts = [rendered(provider.url("a", content), user_id=user_id) for _ in range(2)]
    for fact in facts:
        await ingest.store(fact)
    keeping = Keeping(database, Bounds(trash_seconds=0))
    await keeping.expire()  # what other tests have deleted
    await keeping.delete(Delete(user_id=user_id, generation_id=facts[0].data.request.generation_id))
    assert await keeping.expire() == 1
    assert await collector.collect() == 0
    assert len(await names(objects)) == 1


async def test_a_plan_says_how_long_things_are_kept(ingest: Ingest, provider: Provider, database: Database) -> None:
    """Days as data: 30 for everybody, 90 for one of them, and the rest is found by itself."""
    keeping = Keeping(database, Bounds(retention_days=30))
    plans = {"free": (20, 40), "paying": (40, 100)}
    kept = {}
    for plan, ages in plans.items():
        for age in ages:
            fact = rendered(provider.url("a", picture()))
            await ingest.store(fact)
            await older(database, fact.data.request.generation_id, age)
            if plan == "paying":
                await keeping.keep(Keep(user_id=fact.data.request.user_id, retention_days=90))
            kept[plan, age] = fact.data.request.generation_id
    await keeping.expire()
    states = {which: await state_of(database, generation_id) for which, generation_id in kept.items()}
    assert states == {
        ("free", 20): ["stored"],
        ("free", 40): ["deleted"],
        ("paying", 40): ["stored"],
        ("paying", 100): ["deleted"],
    }
    await Keeping(database, Bounds()).expire()
    assert await state_of(database, kept["free", 20]) == ["stored"], "without a limit nothing is deleted"


async def test_a_user_is_forgotten(
    ingest: Ingest, provider: Provider, objects: LocalObjects, database: Database, collector: Collector
) -> None:
    """`delete my data`: all of it and nobody else's, at once; driven again it is the same."""
    user_id = uuid4()
    mine = [rendered(provider.url(str(number), picture()), user_id=user_id) for number in range(3)]
    other = rendered(provider.url("other", picture()))
    for fact in (*mine, other):
        await ingest.store(fact)
    keeping = Keeping(database, Bounds())
    await keeping.keep(Keep(user_id=user_id, quota_bytes=10**9))
    assert (await keeping.usage(user_id)).assets == 3
    assert [(await keeping.forget(Forget(user_id=user_id))).assets for _ in range(2)] == [3, 0]
    usage = await keeping.usage(user_id)
    assert (usage.assets, usage.used_bytes, usage.quota_bytes) == (0, 0, None)
    assert await collector.collect() == 3
    assert len(await names(objects)) == 1
    found = await rows(database, "SELECT source_url FROM assets WHERE owner_id = :id", id=user_id)
    assert [row["source_url"] for row in found] == [None] * 3
    [asset] = (await ingest.store(other)).data.assets
    assert asset.source_url is not None


async def test_delete_my_data_from_the_question_to_the_last_byte(
    lending: Lending,
    ingest: Ingest,
    provider: Provider,
    objects: LocalObjects,
    database: Database,
    collector: Collector,
    workshop: Workshop,
    make: Make,
    bus: Client,
    nats_server: Any,
) -> None:
    """A result, a thumbnail of it, and an upload: out of sight with the answer, gone with the collector's round."""
    user_id = uuid4()
    fact = rendered(provider.url("mine", picture(300, 200)), user_id=user_id)
    [mine] = (await ingest.store(fact)).data.assets
    [other] = (await ingest.store(rendered(provider.url("other", picture())))).data.assets
    upload = (await brought(make(), bus, picture(50, 40), user_id)).asset
    assert upload is not None
    keeping = Keeping(database, Bounds())
    answering = make_broker(BrokerSettings(nats_url=nats_server.nats_url), "storage")
    answering.include_router(questions(database, make(), keeping, lending))
    await answering.start()
    media = Media(database, objects, Variants(database, objects, workshop), OPEN)
    addresses = [mine.key, mine.variants["thumbnail"], upload.key, other.key]
    async with served(media) as base, aiohttp.ClientSession() as http:

        async def statuses() -> list[int]:
            return [(await http.get(f"{base}/media/{key}")).status for key in addresses]

        assert await statuses() == [200] * 4
        asked = Forget(user_id=user_id).model_dump_json().encode()
        said = ChangedAssets.model_validate_json((await bus.request(STORAGE_FORGET, asked, timeout=5)).data)
        assert (said.assets, await statuses()) == (2, [404, 404, 404, 200])
    await answering.stop()
    assert await collector.collect() == 3
    assert {name.partition("/")[0] for name in await names(objects)}.isdisjoint({str(user_id)})
    assert len(await names(objects)) == 1, "somebody else's"
    about = "SELECT count(*) FROM {} WHERE owner_id = :id"
    assert [(await rows(database, about.format(table), id=user_id))[0][0] for table in ("owners", "offers")] == [0, 0]
    told = await rows(database, "SELECT state, source_url, blurhash FROM assets WHERE owner_id = :id", id=user_id)
    assert [tuple(row) for row in told] == [("purged", None, None)] * 2
    late = await ingest.store(fact)
    assert [asset.id for asset in late.data.assets] == [mine.id], "it was delivered"
    assert await state_of(database, fact.data.request.generation_id) == ["purged"], "and nothing brings it back"


async def test_what_is_finished_is_stored_whatever_the_quota_says(
    ingest: Ingest, provider: Provider, database: Database
) -> None:
    """It was paid for."""
    user_id = uuid4()
    await Keeping(database, Bounds()).keep(Keep(user_id=user_id, quota_bytes=0))
    outcome = await ingest.store(rendered(provider.url("a", picture()), user_id=user_id))
    assert (outcome.data.verdict, len(outcome.data.assets)) == ("completed", 1)


async def test_an_operator_asks_storage_by_the_command_line(
    ingest: Ingest,
    provider: Provider,
    database: Database,
    make: Make,
    nats_server: Any,
    bus: Client,
    tmp_path: Path,
    lending: Lending,
) -> None:
    """The questions, answered on the bus as the service answers them."""
    fact = rendered(provider.url("a", picture()))
    await ingest.store(fact)
    user_id = fact.data.request.user_id
    answering = make_broker(BrokerSettings(nats_url=nats_server.nats_url), "storage")
    answering.include_router(
        questions(database, make(), Keeping(database, Bounds(quota_bytes=10_000, retention_days=7)), lending)
    )
    await answering.start()

    async def command(*words: str) -> str:
        environment = {"PATH": os.environ["PATH"], "NATS_URL": nats_server.nats_url}
        arguments = [sys.executable, "-m", "darkroom", "media", *words, "--user", str(user_id), "--data", str(tmp_path)]
        run = await asyncio.to_thread(subprocess.run, arguments, env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return run.stdout

    said = await command("usage")
    assert "1 assets of" in said and "may have 10,000 bytes, kept for 7 days" in said
    assert "may have 50 bytes, kept for 90 days" in await command("keep", "--days", "90", "--bytes", "50")
    asked_for: list[bytes] = []

    async def gateway(message: Msg) -> None:
        asked_for.append(message.data)
        await message.respond(ForgottenVoices(voices=2).model_dump_json().encode())

    await bus.subscribe(GATEWAY_FORGET_VOICES, cb=gateway)
    await bus.flush()
    said = await command("forget", "--yes")
    assert "1 assets of" in said and "2 voices are deleted" in said
    assert [Forget.model_validate_json(each).user_id for each in asked_for] == [user_id]
    assert "0 assets of 0 bytes" in await command("usage")
    asked = Delete(user_id=user_id, generation_id=fact.data.request.generation_id)
    answer = await bus.request(STORAGE_DELETE, asked.model_dump_json().encode(), timeout=5)
    assert ChangedAssets.model_validate_json(answer.data).assets == 0
    answer = await bus.request(STORAGE_KEEP, Keep(user_id=user_id, quota_bytes=5).model_dump_json().encode(), timeout=5)
    assert Stored.model_validate_json(answer.data).quota_bytes == 5
    await answering.stop()
