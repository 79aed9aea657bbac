"""A generation that starts from media of ours: storage lends the bytes when they are sent (ruling 15).

Storage is the real one, with a database and a store of its own.
"""

import asyncio
import io
import time
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image
from sqlalchemy import text

import storage
from contracts.facts import Input, Kind
from contracts.keeping import TakeUpload
from darkroom.migration import upgrade
from generator.claims import Claims as GeneratorClaims
from runtime.broker import make_broker
from runtime.database import Database
from runtime.settings import BrokerSettings, DatabaseSettings
from storage.claims import Claims
from storage.keeping import Bounds as KeepingBounds
from storage.keeping import Keeping
from storage.lending import Lending
from storage.objects.local import LocalObjects
from storage.preparation import Preparation
from storage.subscribers import questions
from storage.uploads import Uploads
from storage.variants import Variants
from storage.workshop import Workshop

from .stage import DEAR, ask, ask_film, until

pytestmark = pytest.mark.connected
FROM_A_PICTURE = "seedance-1-0-lite-i2v"


class Storage:
    """Storage as it answers questions."""

    def __init__(self, database, broker, objects, workshop):
        claims, variants = Claims(broker), Variants(database, objects, workshop)
        self.database, self.broker = database, broker
        keeping = Keeping(database, KeepingBounds())
        self.uploads = Uploads(
            database,
            objects,
            claims,
            Preparation(workshop),
            keeping,
            scanner=None,
            incoming=None,
            max_bytes=10 << 20,
        )
        broker.include_router(questions(database, self.uploads, keeping, Lending(database, objects, claims, variants)))

    async def bring(self, user_id, content):
        """What a user uploads, as the gateway leaves it for storage."""
        upload_id = uuid4()

        async def chunks():
            yield content

        await Claims(self.broker).put(f"uploads/{upload_id}", chunks())
        taken = await self.uploads.take(TakeUpload(upload_id=upload_id, user_id=user_id, claim=f"uploads/{upload_id}"))
        return taken.asset

    async def set_state(self, asset, state):
        async with self.database.statement() as connection:
            await connection.execute(
                text("UPDATE assets SET state = :state WHERE id = :id"), {"state": state, "id": asset.id}
            )


@pytest.fixture(scope="module")
async def kept(make_database, streams, tmp_path_factory):
    url = make_database("storage")
    await upgrade(url, Path(storage.__file__).parent / "migrations")
    database = Database(DatabaseSettings(database_url=url), "storage-tests")
    broker = make_broker(BrokerSettings(nats_url=streams), "storage")
    workshop = Workshop()
    kept = Storage(database, broker, LocalObjects(tmp_path_factory.mktemp("media")), workshop)
    await broker.start()
    yield kept
    await broker.stop()
    await database.close()
    workshop.close()


def picture(width=640, height=360, colour="navy", format_="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, format_)
    return buffer.getvalue()


def film_of(asset, **others):
    given = Input(role="first_frame", asset_id=asset.id)
    return ask_film(model=FROM_A_PICTURE, inputs=(given,), **others)


def of(request, user_id):
    return request.model_copy(update={"user_id": user_id})


async def sent(process, request):
    """What an adapter is given for this request."""
    return await GeneratorClaims(process.broker).given(request.user_id, request.inputs)


async def test_a_film_begins_with_a_picture_of_ones_own(process, simulator, kept):
    """The strict simulator reads the data URL that ModelArk documents, and bills one film."""
    user_id = uuid4()
    asset = await kept.bring(user_id, picture())
    request = of(film_of(asset), user_id)
    await process.generate(request)
    await process.finish()
    [output] = (await process.rendered(request)).data.outputs
    assert output.url and output.mime_type == "video/mp4"
    [call] = simulator.calls(request)
    assert (call["status"], call["billed"]) == (200, 1)
    [given] = await sent(process, request)
    assert sha256(given.content).hexdigest() == asset.sha256 and given.mime_type == asset.mime_type


@pytest.mark.parametrize(
    ("model", "kind", "role", "size"),
    [
        ("gpt-image-2", Kind.IMAGE, "image", "1024x1024"),
        ("runway-gen-4.5", Kind.VIDEO, "first_frame", "1280x720"),
        ("seedream-4-0-250828", Kind.IMAGE, "image", "1024x1024"),
    ],
)
async def test_each_vendor_gets_it_in_its_own_form(process, simulator, kept, model, kind, role, size):
    """OpenAI's edits in a form of many parts, Runway and ModelArk as a data URL: the simulator refuses all else."""
    user_id = uuid4()
    asset = await kept.bring(user_id, picture(1280, 720, format_="JPEG"))
    given = (Input(role=role, asset_id=asset.id),)
    request = ask(model=model, kind=kind, size=size, inputs=given)
    request = of(request, user_id)
    if kind is Kind.VIDEO:
        request = request.model_copy(update={"seconds": 5})
    await process.generate(request)
    await process.finish()
    assert all(output.failure is None for output in (await process.rendered(request)).data.outputs)
    [call] = simulator.calls(request)
    assert (call["status"], call["billed"] > 0) == (200, True)


@pytest.mark.parametrize(
    ("model", "kind", "role"),
    [
        ("sd3.5-large", Kind.IMAGE, "image"),
        ("gemini-omni-1.1-flash", Kind.VIDEO, "first_frame"),
        ("runway-gen-4.5", Kind.VIDEO, "image"),
    ],
)
async def test_of_several_pictures_none_is_passed_over(process, simulator, kept, model, kind, role):
    """Who starts from one does not take the first of two, and have what nobody asked for paid."""
    user_id = uuid4()
    inputs = [Input(role=role, asset_id=(await kept.bring(user_id, picture(1280, 720))).id) for _ in range(2)]
    size = "1024x1024" if kind is Kind.IMAGE else "1280x720"
    request = of(ask(model=model, kind=kind, size=size, inputs=tuple(inputs)), user_id)
    if kind is Kind.VIDEO:
        request = request.model_copy(update={"seconds": 5})
    await process.generate(request)
    await process.finish()
    assert (await process.outcome(request)).data.failure.code == "invalid_request"
    assert simulator.billed(request) == 0


@pytest.mark.parametrize("why", ["foreign", "deleted"])
async def test_what_is_not_ones_own_or_deleted_is_never_sent(process, simulator, kept, why):
    """Deleted after the generation was accepted; or a fact that names what its user never had."""
    owner, user_id = uuid4(), uuid4()
    asset = await kept.bring(owner, picture())
    if why == "deleted":
        await kept.set_state(asset, "deleted")
    request = of(film_of(asset), owner if why == "deleted" else user_id)
    await process.generate(request)
    assert (await process.outcome(request)).data.failure.code == "input_not_found"
    assert await process.attempts(request) == [(0, 1, "failed", "input_not_found")]
    assert simulator.calls(request) == []


async def test_it_waits_for_storage_and_pays_once(process, simulator, kept):
    """A silent storage is no reason to fail: the question is asked again until the deadline."""
    user_id = uuid4()
    asset = await kept.bring(user_id, picture())
    await kept.broker.stop()
    try:
        request = of(film_of(asset), user_id)
        working = process.begin(request)
        await until(lambda: process.generator.running)
        await asyncio.sleep(0.3)
        assert simulator.calls(request) == []
    finally:
        await kept.broker.start()
    await working
    await process.finish()
    assert len(simulator.calls(request)) == 1
    assert (await process.rendered(request)).data.outputs[0].failure is None


def lent_late(process, answers):
    """Storage lends, and its answer is here once `answers` has come."""
    given = process.submitter._claims.given

    async def late(user_id, inputs):
        found = await given(user_id, inputs)
        await answers()
        return found

    process.submitter._claims.given = late


async def test_f40_what_was_not_sent_for_want_of_its_picture_is_not_unknown(make_process, simulator, kept):
    """The process is stopped while storage is away: the next one makes the only call."""
    stopped, other = await make_process(), await make_process()
    user_id = uuid4()
    asset = await kept.bring(user_id, picture())
    request = of(ask(model=DEAR, size="1024x1024", inputs=(Input(role="image", asset_id=asset.id),)), user_id)
    await kept.broker.stop()
    try:
        running = stopped.begin(request)
        await until(lambda: stopped.attempts(request))
        await asyncio.sleep(0.3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    finally:
        await kept.broker.start()
    assert await other.attempts(request) == [(0, 1, "failed", "provider_unavailable")]
    await other.generate(request)
    assert await other.rendered(request) is not None and len(simulator.calls(request)) == 1


async def test_nothing_is_paid_once_the_time_is_over_that_its_picture_took(process, simulator, kept):
    user_id = uuid4()
    asset = await kept.bring(user_id, picture())
    given = (Input(role="image", asset_id=asset.id),)
    request = of(ask(model=DEAR, size="1024x1024", inputs=given, seconds=3), user_id)
    lent_late(process, lambda: asyncio.sleep(request.deadline_at.timestamp() - time.time() - 0.5))
    await process.generate(request)
    assert simulator.calls(request) == [] and await process.attempts(request) == [(0, 1, "failed", "deadline")]


async def test_nothing_is_paid_where_its_picture_never_came(process, simulator, kept):
    user_id = uuid4()
    asset = await kept.bring(user_id, picture())
    given = (Input(role="image", asset_id=asset.id),)
    request = of(ask(model=DEAR, size="1024x1024", inputs=given, seconds=2), user_id)
    await kept.broker.stop()
    try:
        await process.generate(request)
    finally:
        await kept.broker.start()
    assert simulator.calls(request) == [] and await process.attempts(request) == [(0, 1, "failed", "deadline")]


async def test_f16_a_lease_that_ran_out_while_its_picture_was_read_pays_nothing(
    make_process, simulator, kept, monkeypatch
):
    """The process was stopped meanwhile; another asked the provider, heard of nothing, and began anew."""
    monkeypatch.setattr("generator.submit.FIND_PAUSES_SECONDS", (0.0, 0.0))
    stopped, other = await make_process(0.3), await make_process()
    stopped.submitter.may_send = stopped.work.surely_holds
    goes_on = asyncio.Event()
    lent_late(stopped, goes_on.wait)
    user_id = uuid4()
    request = of(film_of(await kept.bring(user_id, picture())), user_id)
    stale = stopped.begin(request)
    await until(lambda: stopped.state(request))
    await asyncio.sleep(0.4)
    await other.take_due()
    goes_on.set()
    await stale
    await other.finish()
    assert len(simulator.calls(request)) == 1 and await other.rendered_times(request) == 1
