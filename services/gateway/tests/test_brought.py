"""Files as fal's and Replicate's clients bring them: by a route of their own, or inside the request."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient
from replicate.client import Client as Replicate

from contracts.facts import Request

from .client import Client, token
from .conftest import MakeClient
from .players import SEEDANCE, Players
from .takers import Storage, taking

pytestmark = pytest.mark.connected

MODEL = f"x/{SEEDANCE}"
PREDICTIONS = f"/replicate/v1/models/{MODEL}/predictions"
FILES = "/replicate/v1/files"
PICTURE = b"\x89PNG and more"


@pytest.fixture(scope="module")
async def storage(bus: NatsClient) -> AsyncIterator[Storage]:
    async with taking(bus) as storage:
        yield storage


@pytest.fixture
def official(client: Client) -> Replicate:
    return Replicate(api_token=token(client.user_id), base_url=f"{client.url}/replicate")


def data_address(content: bytes, mime_type: str = "image/png") -> str:
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"


def started_from(players: Players, storage: Storage, client: Client) -> list[bytes]:
    """What the user's last request starts from, as storage was given it."""
    inputs = players.of(client.user_id)[-1].inputs
    return [storage.brought[given.asset_id][1] for given in inputs if given.asset_id is not None]


@pytest.mark.parametrize("strategy", [None, "base64"])
async def test_replicates_own_package_starts_from_a_file(
    client: Client, players: Players, storage: Storage, official: Replicate, strategy: Any
) -> None:
    asked = {"prompt": "x", "image": io.BytesIO(PICTURE)}
    made = await official.models.predictions.async_create(MODEL, asked, file_encoding_strategy=strategy)
    await players.heard(made.id)
    assert started_from(players, storage, client) == [PICTURE]
    assert made.input and made.input["image"].endswith("/original.png")


async def test_a_file_is_shown_as_replicate_shows_it(client: Client, storage: Storage, official: Replicate) -> None:
    made = await official.files.async_create(io.BytesIO(PICTURE), metadata={"of": "mine"}, filename="../a.png")
    assert (made.content_type, made.metadata, made.name) == ("image/png", {"of": "mine"}, "original.png")
    assert storage.brought and UUID(made.id)


@pytest.mark.parametrize(
    "metadata",
    ["[" * 60_000, '{"of":' * 300 + "1" + "}" * 300, r'{"of": "\ud800"}'],
    ids=["too deep", "deep", "no text"],
)
async def test_what_cannot_be_given_back_is_refused_and_the_file_not_kept(
    client: Client, storage: Storage, metadata: str
) -> None:
    before = len(storage.brought)
    answer = await client.post(FILES, data={"content": io.BytesIO(PICTURE), "metadata": metadata})
    assert (answer.status, len(storage.brought)) == (422, before), answer.text


async def test_a_file_of_somebody_else_is_none(client_of: MakeClient, storage: Storage, official: Replicate) -> None:
    address = (await official.files.async_create(io.BytesIO(PICTURE))).urls["get"]
    answer = await client_of().post(PREDICTIONS, json={"input": {"prompt": "x", "image": address}})
    assert answer.status in {404, 422}, answer.text


async def test_the_same_key_is_the_same_file_and_prediction(client: Client, players: Players, storage: Storage) -> None:
    body = {"input": {"prompt": "x", "image": data_address(PICTURE)}}
    made = [(await client.post(PREDICTIONS, {"Idempotency-Key": "once"}, json=body)) for _ in range(2)]
    assert made[0].json["id"] == made[1].json["id"], [answer.text for answer in made]
    assert len(await players.published(client.user_id)) == 1
    by_version = await client.post(
        "/replicate/v1/predictions", {"Idempotency-Key": "once"}, json=body | {"version": MODEL}
    )
    assert by_version.json["id"] == made[0].json["id"], by_version.text
    body["input"]["image"] = data_address(b"another")
    other = await client.post(PREDICTIONS, {"Idempotency-Key": "once"}, json=body)
    assert other.status == 422, other.text


async def test_the_time_that_a_file_takes_is_counted_to_the_wait(
    client: Client, players: Players, storage: Storage, official: Replicate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The official client reads for half a second longer than it asks to be held."""

    async def late(request: Request) -> None:
        await players.fund(request)
        await asyncio.sleep(1.5)
        await players.complete(request)

    players.scripts[client.user_id] = late
    monkeypatch.setattr(storage, "taking_seconds", 0.8)
    official.poll_interval = 0.05
    asked = {"prompt": "x", "image": data_address(PICTURE)}
    film = await official.async_run(MODEL, input=asked, wait=1, use_file_output=False)
    assert str(film).endswith("/original.mp4")


async def test_what_is_no_file_of_the_request_stays_as_it_is(client: Client, players: Players) -> None:
    text = data_address(b"a text about data addresses")
    made = await client.post(PREDICTIONS, json={"input": {"prompt": text}})
    assert (await players.heard(made.json["id"])).prompt == text


@pytest.mark.parametrize(
    "image",
    ["data:image/png;base64,%%%", "data:image/png,plain", [data_address(b"x")] * 17, "data:;base64,="],
    ids=["no base64", "not encoded", "too many", "cut off"],
)
async def test_a_file_that_is_none_is_refused_and_changes_nothing(
    client: Client, postgres: asyncpg.Pool, storage: Storage, image: Any
) -> None:
    answer = await client.post(PREDICTIONS, json={"input": {"prompt": "x", "image": image}})
    assert answer.status == 422, answer.text
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 0


async def test_of_what_is_refused_no_file_is_kept(client: Client, storage: Storage) -> None:
    before, image = dict(storage.brought), data_address(PICTURE)
    for asked in ({"duration": 900}, {"image_url": "nonsense"}, {"prompt": ""}):
        answer = await client.post(PREDICTIONS, json={"input": {"prompt": "x", "image": image} | asked})
        assert answer.status == 422, answer.text
    hook = {"input": {"prompt": "x", "image": image}, "webhook": "nonsense"}
    assert (await client.post(PREDICTIONS, json=hook)).status == 422
    assert storage.brought == before


async def test_a_user_may_ask_for_many_at_once_that_start_from_files(storage: Storage, official: Replicate) -> None:
    """What stands in a request that has been read is not waited for: only who sends slowly has few places."""
    storage.taking_seconds = 0.5

    async def film(number: int) -> object:
        asked = {"prompt": "x", "image": data_address(b"\x89PNG %d" % number)}
        return await official.async_run(MODEL, input=asked, use_file_output=False)

    assert all(await asyncio.gather(*map(film, range(8))))
