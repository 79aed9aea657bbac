"""What an order starts from: media of one's own by any of its names, without HTTP, and addresses elsewhere."""

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from fastapi import Request
from nats.aio.client import Client as NatsClient

from contracts.facts import Asset, Input, Kind, Visibility
from contracts.ids import asset_id
from contracts.keeping import FindMedia, FoundMedia, MediaName, NamedMedia, TakenUpload, TakeUpload
from contracts.media import address
from contracts.money import PriceList
from contracts.questions import STORAGE_FIND_MEDIA, STORAGE_TAKE_UPLOAD, Catalog, CatalogModel
from gateway.forms import MAX_FIELD_BYTES, FieldsAndFile
from gateway.identity import Caller
from gateway.refusals import BodyTooLarge, Invalid, MalformedForm
from gateway.settings import Settings
from gateway.uploads import Uploads
from runtime.broker import make_broker
from runtime.database import Database
from runtime.outbound import OutboundSettings

from .client import Answer, Client
from .conftest import PUBLIC_URL, MakeClient, migrated, settings_of
from .players import CATALOG, PRICES, Players

pytestmark = pytest.mark.connected
KEY = "0123456789abcdef0123456789abcdef/original.png"
FILM = {"kind": "video", "model": "a-film"}
CDN = "cdn.example"


@pytest.fixture(scope="module")
async def settings(nats_server: Any, make_database: Any) -> Settings:
    found = settings_of(nats_server.nats_url, await migrated(make_database("gateway")))
    addresses = found.addresses.model_copy(update={"media_cdn_domain": CDN})
    return replace(found, addresses=addresses, outbound=OutboundSettings())


@pytest.fixture(scope="module")
def players(played: tuple[NatsClient, Players]) -> Players:
    """Who offer a film that starts from pictures and sounds."""
    players = played[1]
    film = CatalogModel(
        id="a-film",
        kind=Kind.VIDEO,
        provider="modelark",
        seconds=(5,),
        default_seconds=5,
        inputs=("first_frame", "audio"),
    )
    players.catalog = Catalog(version=2, models=(*CATALOG.models, film))
    players.prices = PriceList(version=8, prices={**PRICES.prices, film.id: 1_000}, table=PRICES.table)
    return players


class Storage:
    """Has some users' media, and says so."""

    def __init__(self, bus: NatsClient) -> None:
        self._bus = bus
        self.brought: list[bytes] = []
        self.media: dict[UUID, dict[str, NamedMedia]] = {}
        self.asked: list[FindMedia] = []

    def has(self, client: Client, name: UUID | str, mime_type: str = "image/png", **about: Any) -> UUID:
        identity = name if isinstance(name, UUID) else uuid4()
        media = NamedMedia(asset_id=identity, mime_type=mime_type, size_bytes=1, **about)
        self.media.setdefault(client.user_id, {})[str(name)] = media
        return identity

    async def find(self, message: Any) -> None:
        question = FindMedia.model_validate_json(message.data)
        self.asked.append(question)
        own = self.media.get(question.user_id, {})
        found = tuple(own.get(str(name.asset_id or name.key)) for name in question.names)
        await message.respond(FoundMedia(media=found).model_dump_json().encode())

    async def take(self, message: Any) -> None:
        question = TakeUpload.model_validate_json(message.data)
        bucket = await self._bus.jetstream().object_store("claims")
        if question.claim is not None:
            self.brought.append((await bucket.get(question.claim)).data or b"")
        asset = Asset(
            id=asset_id(question.upload_id, 0), index=0, key=KEY, mime_type="image/png", size_bytes=1, sha256="ab"
        )
        await message.respond(TakenUpload(asset=asset).model_dump_json().encode())


@pytest.fixture
async def storage(bus: NatsClient) -> AsyncIterator[Storage]:
    storage = Storage(bus)
    subscriptions = [
        await bus.subscribe(STORAGE_FIND_MEDIA, cb=storage.find),
        await bus.subscribe(STORAGE_TAKE_UPLOAD, cb=storage.take),
    ]
    for _ in range(2):  # the first ping overtakes what nats-py has not written yet
        await bus.flush()
    yield storage
    for subscription in subscriptions:
        await subscription.unsubscribe()


async def film(client: Client, *inputs: dict[str, Any], key: str | None = None) -> Answer:
    return await client.create(key, **FILM, inputs=[{"role": "first_frame", **given} for given in inputs])


async def made(client: Client, players: Players, *inputs: dict[str, Any]) -> tuple[Input, ...]:
    """What the fact names for it."""
    answer = await film(client, *inputs)
    assert answer.status == 202, answer.text
    return (await players.heard(answer.json["id"])).inputs


@pytest.mark.parametrize(
    "url",
    [
        address(PUBLIC_URL, KEY),
        address(PUBLIC_URL, KEY, "a key that signs"),
        address(PUBLIC_URL, KEY, "a key that signs", -60, download=True),
        address("https://media.example:443", KEY, "another key"),
        address(f"https://{CDN.upper()}", KEY),
        f"/media/{KEY}",
        f"/media/{KEY}?expires=1&signature=2",
    ],
)
async def test_an_address_of_ours_is_the_asset(client: Client, players: Players, storage: Storage, url: str) -> None:
    """Whatever signature it has or had: it is its owner who asks."""
    identity = storage.has(client, KEY)
    found = Input(role="first_frame", asset_id=identity, mime_type="image/png")
    assert await made(client, players, {"url": url}) == (found,)
    assert storage.asked[-1] == FindMedia(user_id=client.user_id, names=(MediaName(key=KEY),))


async def test_an_asset_an_upload_and_a_poster(client: Client, players: Players, storage: Storage) -> None:
    upload_id, poster = uuid4(), KEY.replace("original.png", "poster.webp")
    identity = storage.has(client, uuid4())
    uploaded = storage.has(client, asset_id(upload_id, 0), "image/jpeg")
    film_id = storage.has(client, poster, "image/webp", variant="poster")
    given = [{"asset_id": str(identity)}, {"upload_id": str(upload_id)}, {"url": f"{PUBLIC_URL}/media/{poster}"}]
    assert await made(client, players, *given) == (
        Input(role="first_frame", asset_id=identity, mime_type="image/png"),
        Input(role="first_frame", asset_id=uploaded, mime_type="image/jpeg"),
        Input(role="first_frame", asset_id=film_id, variant="poster", mime_type="image/webp"),
    )


async def test_the_address_of_a_file_is_the_asset_that_was_brought_or_made(
    client_of: MakeClient, players: Players, storage: Storage
) -> None:
    client, other, upload_id = client_of(), client_of(), uuid4()
    brought, drawn = storage.has(client, asset_id(upload_id, 0)), storage.has(client, uuid4())
    urls = [f"{PUBLIC_URL}/api/file/{upload_id}", f"/api/file/{drawn}"]
    found = tuple(Input(role="first_frame", asset_id=each, mime_type="image/png") for each in (brought, drawn))
    assert await made(client, players, *({"url": url} for url in urls)) == found
    for url in (*urls, f"{PUBLIC_URL}/api/file/nonsense"):
        refused(await film(other, {"url": url}), "input_not_found", "inputs.0")


async def test_a_public_address_stays_as_it_is(client: Client, players: Players, storage: Storage) -> None:
    before = len(storage.asked)
    url = "https://pictures.example/a.png?size=large"
    assert await made(client, players, {"url": url}) == (Input(role="first_frame", url=url),)
    assert len(storage.asked) == before


def refused(answer: Answer, code: str, field: str) -> None:
    assert (answer.status, answer.json["code"]) == (422, code), answer.text
    assert [error["field"] for error in answer.json["errors"]] == [field]


async def test_what_is_not_yours_is_not_there(client_of: MakeClient, storage: Storage, players: Players) -> None:
    """Somebody else's, a deleted one, one that never was: nobody can tell them apart, and nothing is recorded."""
    client, other = client_of(), client_of()
    identity = storage.has(other, uuid4())
    storage.has(other, KEY)
    for given in ({"asset_id": str(identity)}, {"url": f"{PUBLIC_URL}/media/{KEY}"}, {"upload_id": str(uuid4())}):
        refused(await film(client, given), "input_not_found", "inputs.0")
        quoted = await client.post(
            "/v1/quotes", json=FILM | {"prompt": "a", "inputs": [{"role": "first_frame", **given}]}
        )
        refused(quoted, "input_not_found", "inputs.0")
    assert players.of(client.user_id) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/a.png",
        "http://pictures.example/a.png",
        "https://user:password@pictures.example/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "https://[half",
        "",
        f"https://pictures.example/{'a' * 5000}",
        "https://pictures.example/\ud800",
        "https://pictures.example/\0",
        f"{PUBLIC_URL}/media/\ud800",
        "/media/\ud800.png",
    ],
)
async def test_an_address_that_nobody_may_be_asked_to_read(client: Client, url: str) -> None:
    refused(await film(client, {"url": url}), "invalid_request", "inputs.0.url")


async def test_a_sound_is_no_picture(client: Client, storage: Storage, players: Players) -> None:
    identity = storage.has(client, uuid4(), "audio/mpeg")
    refused(await film(client, {"asset_id": str(identity)}), "invalid_request", "inputs.0")
    found = Input(role="audio", asset_id=identity, mime_type="audio/mpeg")
    assert await made(client, players, {"asset_id": str(identity), "role": "audio"}) == (found,)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"asset_id": str(uuid4()), "url": f"{PUBLIC_URL}/media/{KEY}"},
        {"asset_id": "one"},
        {"claim": "uploads/somebody-elses"},
        {"asset_id": str(uuid4()), "role": "somebody"},
    ],
)
async def test_exactly_one_name_and_no_claim(client: Client, given: dict[str, Any]) -> None:
    answer = await film(client, given)
    assert (answer.status, answer.json["code"]) == (422, "invalid_request"), answer.text


async def test_the_same_key_whatever_the_signature_is_today(client: Client, storage: Storage) -> None:
    """Addresses are signed anew each time that they are read."""
    storage.has(client, KEY)
    first = await film(client, {"url": address(PUBLIC_URL, KEY, "key", 60)}, key="one")
    again = await film(client, {"url": address(PUBLIC_URL, KEY, "key", 120)}, key="one")
    assert (first.status, again.status) == (202, 202) and first.json["id"] == again.json["id"]
    other = await film(client, {"url": "https://pictures.example/a.png"}, key="one")
    assert other.json["code"] == "idempotency_mismatch"


async def test_each_of_a_batch_is_found(client: Client, players: Players, storage: Storage) -> None:
    identity = storage.has(client, uuid4())
    item = FILM | {"prompt": "a", "inputs": [{"role": "first_frame", "asset_id": str(identity)}]}
    answer = await client.post("/v1/batches", json={"items": [item, item]})
    assert answer.status == 202, answer.text
    for each in answer.json["items"]:
        assert (await players.heard(each["id"])).inputs[0].asset_id == identity
    lost = FILM | {"prompt": "a", "inputs": [{"role": "first_frame", "asset_id": str(uuid4())}]}
    refused(await client.post("/v1/batches", json={"items": [item, lost]}), "input_not_found", "inputs.0")


async def test_nothing_is_recorded_while_storage_is_silent(client: Client, players: Players) -> None:
    answer = await film(client, {"asset_id": str(uuid4())})
    assert (answer.status, answer.json["code"]) == (503, "unavailable"), answer.text
    assert players.of(client.user_id) == []


async def form_of(*parts: tuple[str, bytes | str, str | None]) -> Request:
    """A request as a route gets it, in pieces of a few bytes."""
    form = aiohttp.FormData(quote_fields=False, default_to_multipart=True)
    for name, value, filename in parts:
        form.add_field(name, value, filename=filename)
    payload = form()
    content = (await payload.as_bytes()) if parts else b""
    pieces = [content[start : start + 50] for start in range(0, len(content), 50)]
    headers = [(b"content-type", payload.headers["Content-Type"].encode())]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


@pytest.fixture(scope="module")
async def uploads(settings: Settings) -> AsyncIterator[Uploads]:
    broker = make_broker(settings.broker, "gateway")
    await broker.start()
    database = Database(settings.database, "gateway")
    yield Uploads(database, broker, 100_000, Visibility.PUBLIC)
    await broker.stop()
    await database.close()


async def test_a_form_of_a_dialect_brings_fields_and_a_picture(uploads: Uploads, storage: Storage) -> None:
    """Whichever comes first; under the same key of the same route the same bytes are the same asset, and others not."""
    caller, route, text = Caller(uuid4()), "/api/videos/generate", ("prompt", "Ein Boot", None)
    picture, other = ("image", b"\x89PNG" * 500, "a.png"), ("image", b"\x89PNG" * 501, "a.png")
    made = []
    for parts in ([picture, text], [text, picture], [text, other]):
        form = FieldsAndFile(await form_of(*parts), uploads.max_form_bytes, ("image",))
        async with uploads.bringing(caller, form.file()) as brought:
            assert brought.is_there and form.fields == {"prompt": "Ein Boot"}
            made.append((await brought.keep("one", route)).id)
    assert made[0] == made[1] != made[2]
    assert storage.brought == [b"\x89PNG" * 500] * 2 + [b"\x89PNG" * 501]


@pytest.mark.parametrize("parts", [[], [("image", b"", "")], [("image", "https://a.example/b.png", None)]])
async def test_a_form_without_a_file_has_its_fields(uploads: Uploads, parts: list[Any]) -> None:
    form = FieldsAndFile(await form_of(("prompt", "a", None), *parts), uploads.max_form_bytes, ("image",))
    async with uploads.bringing(Caller(uuid4()), form.file()) as brought:
        assert not brought.is_there and form.fields["prompt"] == "a"


@pytest.mark.parametrize(
    ("parts", "refusal"),
    [
        ([("image", b"1", "a.png"), ("image", b"2", "b.png")], Invalid),
        ([("prompt", "a" * (MAX_FIELD_BYTES + 1), None)], BodyTooLarge),
        ([("prompt", io.BytesIO(b"\xff\xfe"), None)], MalformedForm),
        ([("image", b"1" * 100_001, "a.png")], BodyTooLarge),
        ([(str(number), "a", None) for number in range(17)], Invalid),
    ],
)
async def test_a_form_that_is_none(uploads: Uploads, storage: Storage, parts: list[Any], refusal: type) -> None:
    form = FieldsAndFile(await form_of(*parts), uploads.max_form_bytes, ("image",))
    with pytest.raises(refusal):
        async with uploads.bringing(Caller(uuid4()), form.file()):
            pass
