"""Media that users start something from: theirs alone, by any of its names, and its bytes by claim (ruling 15)."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from nats.aio.client import Client

from contracts.facts import Asset
from contracts.keeping import FindMedia, Forget, Lend, MediaName
from runtime.database import Database
from storage import lending as module
from storage.keeping import Bounds, Keeping
from storage.lending import Lending
from storage.objects import name_of
from storage.objects.local import LocalObjects

from .conftest import Make
from .recorded import sound, video
from .samples import picture, rows
from .test_uploads import brought, read

pytestmark = pytest.mark.connected


@pytest.fixture
def bring(make: Make, bus: Client) -> Callable[..., object]:
    async def bring(content: bytes, user_id: UUID) -> Asset:
        asset = (await brought(make(), bus, content, user_id)).asset
        assert asset is not None
        return asset

    return bring


async def claimed(bus: Client, name: str) -> bytes:
    bucket = await bus.jetstream().object_store("claims")
    return (await bucket.get(name)).data or b""


async def find(lending: Lending, user_id: UUID, *names: MediaName) -> list[tuple[UUID, str | None, str] | None]:
    found = await lending.find(FindMedia(user_id=user_id, names=names))
    return [media and (media.asset_id, media.variant, media.mime_type) for media in found.media]


async def test_every_name_of_an_asset_leads_to_it_and_to_nobody_elses(lending: Lending, bring: Callable) -> None:
    user_id = uuid4()
    still, film = await bring(picture(), user_id), await bring(video(160, 90, 1), user_id)
    others = await bring(picture(), uuid4())
    names = [
        MediaName(asset_id=still.id),
        MediaName(key=still.key),
        MediaName(key=film.variants["poster"]),
        MediaName(asset_id=others.id),
        MediaName(key=others.key),
        MediaName(key=f"{still.key.partition('/')[0]}/poster.webp"),
        MediaName(key=still.key.replace(".png", ".jpg")),
        MediaName(key="../../etc/passwd"),
        MediaName(),
    ]
    assert await find(lending, user_id, *names) == [
        (still.id, None, "image/png"),
        (still.id, None, "image/png"),
        (film.id, "poster", "image/webp"),
        *[None] * 6,
    ]
    [found] = (await lending.find(FindMedia(user_id=user_id, names=(MediaName(asset_id=film.id),)))).media
    assert found is not None and found.seconds == pytest.approx(1, abs=0.1) and found.size_bytes == film.size_bytes


async def test_bytes_are_lent_by_claim_and_the_same_ones_again(
    lending: Lending, bring: Callable, bus: Client, objects: LocalObjects
) -> None:
    user_id = uuid4()
    asset = await bring(picture(900, 700), user_id)
    question = Lend(user_id=user_id, asset_id=asset.id, max_bytes=asset.size_bytes)
    lent = await lending.lend(question)
    assert lent.claim is not None and lent.mime_type == "image/png"
    assert await claimed(bus, lent.claim) == await read(objects, name_of(user_id, asset.sha256))
    before = (await bus.jetstream().stream_info("OBJ_claims")).state.messages
    assert await lending.lend(question) == lent
    assert (await bus.jetstream().stream_info("OBJ_claims")).state.messages == before


async def test_what_was_lent_half_a_bucket_s_time_ago_is_put_anew(
    lending: Lending, bring: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that is about to expire is of no use to whoever has just begun."""
    user_id = uuid4()
    asset = await bring(picture(), user_id)
    question = Lend(user_id=user_id, asset_id=asset.id, max_bytes=1 << 20)
    first = await lending.lend(question)
    now = module.time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + module.LENT_SECONDS)
    assert (await lending.lend(question)).claim not in {None, first.claim}


async def test_a_variant_is_made_for_whoever_borrows_it(lending: Lending, bring: Callable, bus: Client) -> None:
    user_id = uuid4()
    film = await bring(video(160, 90, 1), user_id)
    lent = await lending.lend(Lend(user_id=user_id, asset_id=film.id, variant="poster", max_bytes=1 << 20))
    assert lent.claim is not None and lent.mime_type == "image/webp"
    assert (await claimed(bus, lent.claim))[8:12] == b"WEBP"
    heard = await bring(sound(1, "mp3"), user_id)
    gone = await lending.lend(Lend(user_id=user_id, asset_id=heard.id, variant="poster", max_bytes=1 << 20))
    assert gone.failure is not None and gone.failure.code == "input_not_found"


async def test_nothing_is_lent_that_is_not_there_not_yours_or_too_large(
    lending: Lending, bring: Callable, database: Database
) -> None:
    user_id = uuid4()
    asset = await bring(picture(), user_id)

    async def why(user_id: UUID = user_id, asset_id: UUID = asset.id, max_bytes: int = 1 << 20) -> str | None:
        lent = await lending.lend(Lend(user_id=user_id, asset_id=asset_id, max_bytes=max_bytes))
        return lent.failure.code if lent.failure else None

    assert await why() is None
    assert await why(user_id=uuid4()) == "input_not_found"
    assert await why(asset_id=uuid4()) == "input_not_found"
    assert await why(max_bytes=asset.size_bytes - 1) == "too_large"
    await rows(database, "UPDATE assets SET state = 'deleted' WHERE id = :id RETURNING 1", id=asset.id)
    assert await why() == "input_not_found"
    assert await find(lending, user_id, MediaName(asset_id=asset.id), MediaName(key=asset.key)) == [None, None]
    await rows(database, "UPDATE assets SET state = 'stored' WHERE id = :id RETURNING 1", id=asset.id)
    await Keeping(database, Bounds()).forget(Forget(user_id=user_id))
    assert await why() == "input_not_found"


async def test_an_object_that_is_gone_or_a_store_that_is_away(
    lending: Lending, bring: Callable, objects: LocalObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = uuid4()
    asset = await bring(picture(), user_id)
    question = Lend(user_id=user_id, asset_id=asset.id, max_bytes=1 << 20)

    def away(*_: object) -> None:
        raise ConnectionError("the store is away")

    with monkeypatch.context() as patched:
        patched.setattr(objects, "open", away)
        lent = await lending.lend(question)
    assert lent.failure is not None and lent.failure.code == "unavailable"
    await objects.delete(name_of(user_id, asset.sha256))
    lent = await lending.lend(question)
    assert lent.failure is not None and lent.failure.code == "input_not_found"
