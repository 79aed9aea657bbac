"""OpenAI's SDK, unmodified: pictures from pictures, streamed pictures, and moderations."""

import base64
import io
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import openai
import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import Failure, Request, Verdict
from contracts.judging import MAX_JUDGED_CHARACTERS, Category, Judgement, Moderate, Moderated
from contracts.questions import GENERATOR_MODERATE
from gateway.settings import Settings

from .client import Client
from .conftest import with_limits
from .jaaz import answering
from .lenders import Lender
from .openai import BASE, sdk_of
from .players import CATALOG, Players
from .takers import Storage, taking

pytestmark = pytest.mark.connected

EDITS = f"{BASE}/images/edits"
PAINTER = "old-image"
"""Who starts from pictures here."""


@pytest.fixture(scope="module")
async def settings(settings: Settings, players: Players) -> Settings:
    """A gateway that has heard of the painter."""
    models = [
        model.model_copy(update={"inputs": ("image", "mask")}) if model.id == PAINTER else model
        for model in CATALOG.models
    ]
    players.catalog = CATALOG.model_copy(update={"version": 2, "models": tuple(models)})
    connection = await asyncpg.connect(settings.database.database_url.get_secret_value())
    await connection.execute(
        "UPDATE offers SET document = $1 WHERE name = 'catalog'", players.catalog.model_dump_json()
    )
    await connection.close()
    return with_limits(settings, sync_wait_seconds=5)


@pytest.fixture(scope="module")
async def storage(bus: NatsClient) -> AsyncIterator[Storage]:
    async with taking(bus) as storage:
        yield storage


# -- pictures from pictures -----------------------------------------------------------------------------------------


async def test_pictures_and_a_mask_are_uploads_to_start_from(
    client: Client, players: Players, storage: Storage
) -> None:
    pictures = [("one.png", b"the first", "image/png"), ("two.png", b"the second", "image/png")]
    async with sdk_of(client) as sdk:
        made = await sdk.images.edit(
            image=pictures, mask=("mask.png", b"where", "image/png"), prompt="Add a boat", n=2, response_format="url"
        )
    [request] = await players.published(client.user_id)
    assert (request.model, request.prompt, request.count) == (PAINTER, "Add a boat", 2)
    assert [given.role for given in request.inputs] == ["image", "image", "mask"]
    assert [_brought(storage, client, given.asset_id) for given in request.inputs] == [
        b"the first",
        b"the second",
        b"where",
    ]
    assert len(made.data or ()) == 2


async def test_a_single_picture_is_enough(client: Client, players: Players, storage: Storage) -> None:
    async with sdk_of(client) as sdk:
        await sdk.images.edit(image=("one.png", b"x" * 300_000, "image/png"), prompt="x", model=PAINTER)
    [request] = await players.published(client.user_id)
    [given] = request.inputs
    assert _brought(storage, client, given.asset_id) == b"x" * 300_000


async def test_the_same_key_is_the_same_edit(client: Client, players: Players, storage: Storage) -> None:
    async with sdk_of(client) as sdk:
        for _ in range(2):
            await sdk.images.edit(
                image=("one.png", b"x", "image/png"), prompt="x", extra_headers={"Idempotency-Key": "once"}
            )
    assert len(await players.published(client.user_id)) == 1


async def test_another_picture_under_the_same_key_is_refused(
    client: Client, players: Players, storage: Storage
) -> None:
    async with sdk_of(client) as sdk:
        asked: Any = {"prompt": "x", "extra_headers": {"Idempotency-Key": "once"}}
        await sdk.images.edit(image=("one.png", b"a cat", "image/png"), **asked)
        with pytest.raises(openai.UnprocessableEntityError):
            await sdk.images.edit(image=("one.png", b"a dog", "image/png"), **asked)
    assert len(await players.published(client.user_id)) == 1


async def test_what_was_refused_under_a_key_may_be_corrected_under_it(
    client: Client, players: Players, storage: Storage
) -> None:
    asked: Any = {"prompt": "x", "model": PAINTER, "extra_headers": {"Idempotency-Key": "once"}}
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.BadRequestError):
            await sdk.images.edit(image=("one.png", b"a cat", "image/png"), size="1x1", **asked)
        await sdk.images.edit(image=("one.png", b"a dog", "image/png"), **asked)
    [request] = await players.published(client.user_id)
    assert [_brought(storage, client, given.asset_id) for given in request.inputs] == [b"a dog"]


async def test_pictures_by_their_addresses(client: Client, players: Players, storage: Storage) -> None:
    elsewhere, inside = "https://pictures.example/x.png", "data:image/png;base64,aGVsbG8="
    body = {"prompt": "x", "images": [{"image_url": elsewhere}, {"image_url": inside}], "mask": {"image_url": inside}}
    made = await client.post(EDITS, json=body | {"response_format": "url"})
    assert made.status == 200, made.text
    [request] = await players.published(client.user_id)
    assert [given.role for given in request.inputs] == ["image", "image", "mask"]
    first, *others = request.inputs
    assert (first.url, request.model) == (elsewhere, PAINTER)
    assert {_brought(storage, client, given.asset_id) for given in others} == {b"hello"}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x", "n": 0}, "n"),
        ({"prompt": "x", "model": "seedream-3-0-t2i-250415"}, "image"),
        ({"prompt": "x", "image": []}, "image"),
        ({"prompt": "x", "image": [("a.png", b"x", "image/png")] * 16, "mask": b"x"}, "image"),
    ],
    ids=["no prompt", "none", "a model that cannot", "no picture", "too many"],
)
async def test_an_edit_that_cannot_be_made_is_refused(
    client: Client, players: Players, storage: Storage, asked: dict[str, Any], param: str
) -> None:
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.images.edit(**{"image": ("one.png", b"x", "image/png"), **asked})
    assert refused.value.param == param
    assert not players.of(client.user_id)


@pytest.mark.parametrize("content", [b"\xff", b"a" * 70_000], ids=["no text", "longer than any field"])
async def test_a_file_that_nobody_expects_is_named(
    client: Client, players: Players, storage: Storage, content: bytes
) -> None:
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.BadRequestError, match=r"markup: .* no file is taken there") as refused:
            await sdk.images.edit(image=b"x", prompt="x", markup=content)
    assert refused.value.param == "markup"
    assert not players.of(client.user_id)


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b"{}", 415),
        ("application/json", b"{}", 400),
        ("application/json", b"{", 400),
        ("application/json", b'{"prompt": "x", "images": []}', 400),
        ("application/json", b'{"prompt": "x", "images": [{"file_id": "file-1"}]}', 400),
        ("application/json", b'{"prompt": "x", "images": [{"image_url": "https://10.0.0.1/"}]}', 400),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=x", b"nonsense", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n", 400),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 400),
    ],
)
async def test_what_is_no_form_is_refused(client: Client, content_type: str, body: bytes, status: int) -> None:
    answer = await client.post(EDITS, {"Content-Type": content_type}, data=body)
    assert answer.status == status, answer.text
    assert answer.json["error"]["message"]


@pytest.mark.parametrize("fields", [{"prompt": "x", "n": "0"}, {"n": "1"}, {"prompt": "x" * 70_000}], ids=list)
async def test_a_picture_before_fields_that_are_refused_is_not_kept(
    client: Client, storage: Storage, fields: dict[str, str]
) -> None:
    before = len(storage.brought)
    body = aiohttp.FormData({"image": io.BytesIO(b"x"), "image[]": io.BytesIO(b"y")} | fields)
    answer = await client.post(EDITS, data=body)
    assert (answer.status, len(storage.brought)) in {(400, before), (413, before)}, answer.text


@pytest.mark.parametrize("how", [{}, {"Idempotency-Key": "once"}], ids=["no key", "key"])
async def test_of_what_is_refused_no_picture_is_kept(client: Client, storage: Storage, how: dict[str, str]) -> None:
    """The SDKs ask again, and each time it would be in the way of the user's other files."""
    before, inside = dict(storage.brought), {"image_url": "data:image/png;base64,aGVsbG8="}
    for asked in ({"size": "1x1"}, {"model": "nobodys"}, {"stream": "true", "size": "1x1"}):
        fields = {"prompt": "x", "model": PAINTER} | asked
        form = aiohttp.FormData({"image": io.BytesIO(b"x"), "mask": io.BytesIO(b"y")} | fields)
        refused = [
            await client.post(EDITS, how, data=form),
            await client.post(EDITS, how, json=fields | {"images": [inside], "mask": inside}),
        ]
        assert {answer.status for answer in refused} == {404 if "model" in asked else 400}, refused[0].text
        assert storage.brought == before


async def test_of_what_fails_the_pictures_stay(client: Client, players: Players, storage: Storage) -> None:
    """It was accepted, and may be tried again."""

    async def fail(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="provider_error", message="Not now."))

    players.scripts[client.user_id] = fail
    made = await client.post(EDITS, data={"prompt": "x", "image": io.BytesIO(b"x")})
    [request] = await players.published(client.user_id)
    assert (made.status, _brought(storage, client, request.inputs[0].asset_id)) == (502, b"x")


async def test_nothing_is_taken_of_nobody(nobody: Client, storage: Storage) -> None:
    before = len(storage.brought)
    assert (await nobody.post(EDITS, data={"prompt": "x", "image": io.BytesIO(b"x")})).status == 401
    assert len(storage.brought) == before


def _brought(storage: Storage, client: Client, asset_id: UUID | None) -> bytes:
    assert asset_id is not None
    owner, content = storage.brought[asset_id]
    assert owner == client.user_id
    return content


# -- streamed pictures ----------------------------------------------------------------------------------------------


async def test_a_streamed_picture_is_one_event_each(client: Client, lender: Lender) -> None:
    async with sdk_of(client) as sdk:
        stream = await sdk.images.generate(prompt="x", n=2, stream=True, partial_images=2, size="512x512")
        events = [event async for event in stream]
    lent = [each for each in lender.asked if each.user_id == client.user_id]
    assert [event.type for event in events] == ["image_generation.completed"] * 2
    assert [base64.b64decode(event.b64_json) for event in events] == [*map(lender.content, lent)]
    assert {(event.size, event.output_format, event.quality) for event in events} == {("512x512", "png", "auto")}


async def test_a_picture_is_shown_as_far_as_it_has_come(client: Client, players: Players, lender: Lender) -> None:
    """Late and repeated hints are passed over; who does not ask for any is shown none."""

    async def play(request: Request) -> None:
        for number, index, picture in ((1, 0, b"rough"), (2, 1, b"finer"), (1, 0, b"rough")):
            drawn = {"picture": base64.b64encode(picture).decode(), "picture_index": index}
            await players.progress(request.generation_id, number, 0, **drawn)
        await players.complete(request)

    players.scripts[client.user_id] = play
    async with sdk_of(client) as sdk:
        stream = await sdk.images.generate(prompt="x", stream=True, partial_images=2, quality="low")
        *shown, last = [event async for event in stream]
    assert [event.type for event in shown] == ["image_generation.partial_image"] * 2
    assert [(event.partial_image_index, base64.b64decode(event.b64_json)) for event in shown] == [
        (0, b"rough"),
        (1, b"finer"),
    ]
    assert {(event.quality, event.output_format) for event in shown} == {("low", "png")}
    assert last.type == "image_generation.completed"
    asked = (await players.published(client.user_id))[0]
    assert asked.options == {"quality": "low", "partial_images": 2}
    assert base64.b64decode(last.b64_json) == lender.content(lender.asked[-1])


async def test_a_streamed_edit_has_its_own_name(client: Client, storage: Storage, lender: Lender) -> None:
    async with sdk_of(client) as sdk:
        stream = await sdk.images.edit(image=("one.png", b"x", "image/png"), prompt="x", stream=True)
        assert [event.type async for event in stream] == ["image_edit.completed"]


async def test_a_stream_that_fails_says_so(client: Client, players: Players) -> None:
    async def play(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="content_policy", message="Not this."))

    players.scripts[client.user_id] = play
    async with sdk_of(client) as sdk:
        stream = await sdk.images.generate(prompt="x", stream=True)
        with pytest.raises(openai.APIError, match=r"Not this\.") as refused:
            [event async for event in stream]
    assert refused.value.code == "content_policy_violation"


async def test_what_is_refused_at_once_is_no_stream(client: Client, players: Players) -> None:
    players.available[client.user_id] = 0
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.RateLimitError):
            await sdk.images.generate(prompt="x", stream=True)


# -- moderations ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def judge(bus: NatsClient) -> AsyncIterator[list[Moderate]]:
    """The generator: `torture` is violence, `mascot` is what the operator forbids, of `?` it knows nothing."""
    asked: list[Moderate] = []

    def judged(text: str) -> Judgement:
        if "mascot" in text:
            return Judgement(flagged=True, by="rules")
        if "torture" in text:
            found = Category(name="violence", is_broken=True, score=0.97), Category(name="new", is_broken=True)
            return Judgement(flagged=True, by="openai", categories=found)
        return Judgement(flagged=False, categories=(Category(name="violence", is_broken=False, score=0.01),))

    async def answer(message: Any) -> None:
        question = Moderate.model_validate_json(message.data)
        asked.append(question)
        known = () if "?" in question.texts else tuple(map(judged, question.texts))
        await message.respond(Moderated(judgements=known).model_dump_json().encode())

    async with answering(bus, {GENERATOR_MODERATE: answer}):
        yield asked


async def test_a_text_is_judged(client: Client, judge: list[Moderate]) -> None:
    async with sdk_of(client) as sdk:
        judged = await sdk.moderations.create(input="a torture chamber", model="omni-moderation-latest")
    [result] = judged.results
    assert judged.id.startswith("modr-")
    assert (result.flagged, result.categories.violence, result.categories.hate_threatening) == (True, True, False)
    assert (result.category_scores.violence, result.category_scores.hate) == (0.97, 0.0)
    assert result.categories.model_dump()["new"] is True


async def test_each_text_of_a_list_is_judged_and_parts_together(client: Client, judge: list[Moderate]) -> None:
    async with sdk_of(client) as sdk:
        judged = await sdk.moderations.create(input=["a boat", "our mascot"])
        assert [result.flagged for result in judged.results] == [False, True]
        assert judged.results[1].categories.model_dump()["rules"] is True
        parts: Any = [{"type": "text", "text": "a"}, {"type": "text", "text": "torture"}]
        [together] = (await sdk.moderations.create(input=parts)).results
    assert together.flagged
    assert judge[-1].texts == ("a\ntorture",)


@pytest.mark.parametrize(
    "asked",
    [
        [],
        "x" * (MAX_JUDGED_CHARACTERS + 1),
        ["x"] * 33,
        "a\0b",
        [{"type": "image_url", "image_url": {"url": "https://pictures.example/x.png"}}],
    ],
    ids=["nothing", "too long", "too many", "no text", "a picture"],
)
async def test_what_cannot_be_judged_is_refused(client: Client, judge: list[Moderate], asked: Any) -> None:
    before = len(judge)
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.moderations.create(input=asked)
    assert refused.value.param == "input"
    assert len(judge) == before


async def test_a_judgement_that_is_not_given_is_none_of_innocence(client: Client, judge: list[Moderate]) -> None:
    async with sdk_of(client, max_retries=0) as sdk:
        with pytest.raises(openai.InternalServerError) as refused:
            await sdk.moderations.create(input="?")
    assert refused.value.status_code == 503
