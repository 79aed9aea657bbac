"""What was rendered becomes assets of ours and an outcome (design.md §2.4, §3.2, §3.3, §3.8)."""

import asyncio
import hashlib
import io
import json
import secrets
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from faststream.nats import NatsBroker
from nats.aio.client import Client
from PIL import Image

from contracts.facts import Failure, Outcome, Output
from contracts.ids import asset_id
from contracts.topology import progress_subject
from runtime.database import Database
from runtime.health import is_transient
from storage import assets
from storage.addresses import addresses
from storage.assets import Opening
from storage.downloads import Downloads
from storage.ingest import Ingest, Overtaken
from storage.objects import Objects, name_of
from storage.objects.local import LocalObjects
from storage.objects.minio import MinioObjects
from storage.preparation import Preparation

from .samples import Provider, assets_of, names, noise, picture, put_claim, rendered, rows

pytestmark = pytest.mark.connected


async def test_a_picture_is_fetched_checked_and_stored(
    ingest: Ingest, provider: Provider, objects: LocalObjects, database: Database
) -> None:
    """Design §3.8: stored, hashed, decoded, typed by content."""
    content = picture(64, 48, "JPEG")
    fact = rendered(provider.url("a.png", content))
    outcome = await ingest.store(fact)
    request = fact.data.request
    sha256 = hashlib.sha256(content).hexdigest()
    ending, [asset] = outcome.data, outcome.data.assets
    assert (ending.verdict, ending.provider, ending.failure, ending.delivered) == ("completed", "simulator", None, 1)
    assert (asset.mime_type, asset.width, asset.height) == ("image/jpeg", 64, 48)
    assert (asset.size_bytes, asset.sha256, asset.index) == (len(content), sha256, 0)
    assert asset.id == asset_id(request.generation_id, 0)
    assert asset.source_url == fact.data.outputs[0].url
    token = asset.key.removesuffix("/original.jpg")
    assert len(bytes.fromhex(token)) == 16
    assert asset.variants == {name: f"{token}/{name}.webp" for name in ("full", "medium", "thumbnail")}
    assert (asset.seconds, asset.bitrate, asset.provider_size) == (None, None, None)
    assert await names(objects) == {name_of(request.user_id, sha256)}
    assert await objects.size(name_of(request.user_id, sha256)) == len(content)
    [row] = await assets_of(database, fact)
    assert (row["state"], row["token"], row["owner_id"]) == ("stored", token, request.user_id)


async def test_four_outputs_come_in_parallel_and_in_order(ingest: Ingest, provider: Provider) -> None:
    together = asyncio.Barrier(4)

    async def wait(request: web.Request) -> web.StreamResponse:
        await asyncio.wait_for(together.wait(), 2)
        return web.Response(body=picture(seed=int(request.path[1:])))

    outcome = await ingest.store(rendered(*(provider.url(str(number), wait) for number in range(4))))
    assert [asset.index for asset in outcome.data.assets] == [0, 1, 2, 3]
    expected = [hashlib.sha256(picture(seed=number)).hexdigest() for number in range(4)]
    assert [asset.sha256 for asset in outcome.data.assets] == expected


async def test_what_is_there_is_delivered(ingest: Ingest, provider: Provider) -> None:
    """Partial delivery: three of four, each missing for a reason of its own; its index stays."""
    outcome = await ingest.store(
        rendered(
            Output(index=0, failure=Failure(code="moderated", message="No.")),
            Output(index=1, url=provider.url("gone", 404)),
            Output(index=2, url=provider.url("there", picture())),
            Output(index=3, url=provider.url("html", b"<html>sign in</html>")),
        )
    )
    assert outcome.data.verdict == "completed"
    assert [asset.index for asset in outcome.data.assets] == [2]
    assert outcome.data.failure is None


async def test_nothing_kept_is_failed_with_the_first_reason(ingest: Ingest, provider: Provider) -> None:
    moderated = Failure(code="moderated", message="The provider refused the prompt.")
    outputs = (Output(index=0, failure=moderated), Output(index=1, url=provider.url("gone", 403)))
    outcome = await ingest.store(rendered(*outputs))
    assert (outcome.data.verdict, outcome.data.failure) == ("failed", moderated)
    outcome = await ingest.store(rendered(provider.url("gone", 403)))
    assert outcome.data.failure is not None
    assert outcome.data.failure.code == "result_unusable"
    assert "403" in outcome.data.failure.message
    outcome = await ingest.store(rendered())
    assert outcome.data.failure is not None
    assert outcome.data.failure.code == "result_unusable"


async def test_a_provider_that_stumbles_is_asked_again(ingest: Ingest, provider: Provider) -> None:
    async def at_the_third_try(request: web.Request) -> web.StreamResponse:
        if provider.asked["late"] == 1:
            return web.Response(status=503)
        if provider.asked["late"] == 2:
            response = web.StreamResponse(headers={"Content-Length": "5000"})
            await response.prepare(request)
            await response.write(b"\x89PNG")
            assert request.transport is not None
            request.transport.close()
            return response
        return web.Response(body=picture())

    outcome = await ingest.store(rendered(provider.url("late", at_the_third_try)))
    assert (outcome.data.verdict, provider.asked["late"]) == ("completed", 3)


async def test_a_provider_that_is_away_is_asked_a_few_times(ingest: Ingest, provider: Provider) -> None:
    outcome = await ingest.store(rendered(provider.url("down", 500)))
    assert outcome.data.failure is not None
    assert outcome.data.failure.code == "result_unreachable"
    assert 2 <= provider.asked["down"] <= 4


async def test_bytes_come_by_claim_check(ingest: Ingest, bus: Client, objects: LocalObjects) -> None:
    content = noise(400, 300, "WEBP", lossless=True)
    await put_claim(bus, "claim-1", content)
    fact = rendered(Output(index=0, claim="claim-1", mime_type="image/png"))
    [asset] = (await ingest.store(fact)).data.assets
    assert (asset.mime_type, asset.size_bytes, asset.source_url) == ("image/webp", len(content), None)
    assert asset.sha256 == hashlib.sha256(content).hexdigest()
    assert await names(objects) == {name_of(fact.data.request.user_id, asset.sha256)}


async def test_a_claim_put_by_the_official_client(ingest: Ingest, bus: Client) -> None:
    content = noise(300, 250)
    bucket = await bus.jetstream().object_store("claims")
    await bucket.put("official/claim-1.png", content)
    [asset] = (await ingest.store(rendered(Output(index=0, claim="official/claim-1.png")))).data.assets
    assert asset.size_bytes == len(content)


@pytest.mark.parametrize(
    "changes", [{"digest": "SHA-256=AAAA"}, {"size": 10**9}, {"chunks": 5}, {"deleted": True}, {"nuid": None}]
)
async def test_a_claim_that_is_not_what_it_says(ingest: Ingest, bus: Client, changes: dict[str, object]) -> None:
    """P17; the cap holds for claims, too."""
    await put_claim(bus, "odd", picture(), **changes)
    outcome = await ingest.store(rendered(Output(index=0, claim="odd")))
    assert outcome.data.failure is not None
    assert outcome.data.failure.code == "result_unusable"


async def test_a_claim_that_is_gone(ingest: Ingest) -> None:
    outcome = await ingest.store(rendered(Output(index=0, claim="never put")))
    assert outcome.data.failure is not None
    assert "expired" in outcome.data.failure.message


# -- again and again ------------------------------------------------------------------------------------------


async def test_the_same_fact_twice_is_the_same_asset(
    ingest: Ingest, provider: Provider, objects: LocalObjects, database: Database
) -> None:
    """Design §3.2: nothing is fetched again, the address stays, the event is the same."""
    fact = rendered(provider.url("a", picture()), provider.url("b", picture()))
    first, second = await ingest.store(fact), await ingest.store(fact)
    assert second.data == first.data
    assert second.id == first.id
    assert provider.asked == {"a": 1, "b": 1}
    assert len(await assets_of(database, fact)) == len(await names(objects)) == 2


async def test_both_at_once_agree(ingest: Ingest, provider: Provider, database: Database) -> None:
    """Two processes at the same fact: one may be overtaken and look again, and both say the same."""
    fact = rendered(*(provider.url(str(number), picture()) for number in range(3)))

    async def run() -> Outcome:
        while True:
            try:
                return await ingest.store(fact)
            except Overtaken as error:
                assert is_transient(error)

    outcomes = await asyncio.gather(*(run() for _ in range(5)))
    assert all(outcome.data == outcomes[0].data for outcome in outcomes)
    assert len(await assets_of(database, fact)) == 3


async def test_what_comes_differently_the_second_time_overtakes(
    ingest: Ingest, provider: Provider, database: Database
) -> None:
    """Two processes got different bytes for one output: only the row's own bytes are finished."""
    fact = rendered(provider.url("a", picture()))
    [asset] = (await ingest.store(fact)).data.assets
    await rows(
        database, "UPDATE assets SET state = 'writing', sha256 = :other WHERE id = :id", other="0" * 64, id=asset.id
    )
    assert await assets.finish_rows(database, [[asset]]) == [False]
    [again] = (await ingest.store(fact)).data.assets
    assert again == asset


@pytest.mark.parametrize("step", ["rows committed", "bytes written", "rows finished"])
@pytest.mark.parametrize("store", ["local", "s3"])
async def test_killed_between_two_steps(
    provider: Provider,
    database: Database,
    broker: Any,
    downloads: Downloads,
    preparation: Preparation,
    objects: LocalObjects,
    bucket: MinioObjects,
    step: str,
    store: str,
) -> None:
    """P17: the row is there before its bytes; whoever comes after finishes, and the token stays."""
    kept: Objects = objects if store == "local" else bucket
    ingest = Ingest(database, broker, downloads, kept, preparation)
    content = picture()
    fact = rendered(provider.url("a", content))
    planned = await ingest.store(rendered(provider.url("b", content), user_id=fact.data.request.user_id))
    template = planned.data.assets[0]
    asset = template.model_copy(
        update={
            "id": asset_id(fact.data.request.generation_id, 0),
            **addresses(secrets.token_hex(16), template.mime_type),
        }
    )
    asked = fact.data.request
    await assets.open_rows(database, store, [Opening(asked.generation_id, asked.user_id, [asset])])
    name = name_of(asked.user_id, asset.sha256)
    await kept.delete(name)
    if step != "rows committed":
        await kept.put(name, io.BytesIO(content), len(content))
    if step == "rows finished":
        await assets.finish_rows(database, [[asset]])
    [row] = await assets_of(database, fact)
    assert row["state"] == ("stored" if step == "rows finished" else "writing")
    [stored] = (await ingest.store(fact)).data.assets
    assert (stored.id, stored.key) == (asset.id, asset.key)
    assert provider.asked.get("a", 0) == (0 if step == "rows finished" else 1)
    [row] = await assets_of(database, fact)
    assert row["state"] == "stored"
    assert hashlib.sha256(b"".join([chunk async for chunk in kept.open(name)])).hexdigest() == row["sha256"]


async def test_equal_bytes_are_kept_once_per_owner(ingest: Ingest, provider: Provider, objects: LocalObjects) -> None:
    content, user = picture(), uuid4()
    urls = provider.url("a", content), provider.url("b", content)
    one = await ingest.store(rendered(*urls, user_id=user))
    two = await ingest.store(rendered(*urls, user_id=user))
    await ingest.store(rendered(*urls, user_id=uuid4()))
    assert len({asset.key for asset in (*one.data.assets, *two.data.assets)}) == 4
    assert len(await names(objects)) == 2


# -- what surrounds it ----------------------------------------------------------------------------------------


async def test_own_store_away_is_no_verdict(
    database: Database,
    broker: NatsBroker,
    downloads: Downloads,
    provider: Provider,
    objects: LocalObjects,
    preparation: Preparation,
) -> None:
    """The disk is full or gone: the fact waits in place (transient), the row says `writing`, and it goes on after."""

    class Full(LocalObjects):
        async def put(self, *_: object) -> None:
            raise OSError(28, "No space left on device")

    fact = rendered(provider.url("a", picture()))
    with pytest.raises(OSError, match="No space") as caught:
        await Ingest(database, broker, downloads, Full(Path(objects._root)), preparation).store(fact)
    assert is_transient(caught.value)
    [row] = await assets_of(database, fact)
    assert row["state"] == "writing"
    outcome = await Ingest(database, broker, downloads, objects, preparation).store(fact)
    assert outcome.data.assets[0].key.startswith(str(row["token"]))


async def test_progress_is_told(ingest: Ingest, provider: Provider, bus: Client) -> None:
    fact = rendered(provider.url("a", picture()))
    heard = await bus.subscribe(progress_subject(fact.data.request.generation_id))
    for _ in range(2):  # the first ping overtakes what nats-py has not written yet
        await bus.flush()
    await ingest.store(fact)
    progress = json.loads((await heard.next_msg(2)).data)
    assert (progress["stage"], progress["percent"]) == ("storing", 90)
    await heard.unsubscribe()


async def test_large_results_go_by_disk(ingest: Ingest, provider: Provider, objects: LocalObjects) -> None:
    output = io.BytesIO()
    Image.effect_noise((1200, 1200), 90).save(output, "PNG")
    content = output.getvalue()
    assert 1_000_000 < len(content) < 2_000_000
    [asset] = (await ingest.store(rendered(provider.url("large", content)))).data.assets
    assert asset.size_bytes == len(content)
    [name] = await names(objects)
    assert b"".join([chunk async for chunk in objects.open(name)]) == content
