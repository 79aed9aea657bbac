"""The Python client: it follows events, looks where there are none, asks again, and believes only the hash."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from aiohttp import BodyPartReader, web

from darkroom.client import (
    ApiError,
    AsyncClient,
    Client,
    Generation,
    NewGeneration,
    Progress,
    connection,
    errors,
    file_names,
    files,
)

PICTURE = b"a picture"
ID = "01920000-0000-7000-8000-0000000abcde"
SUNSET: NewGeneration = {"kind": "image", "prompt": "A sunset"}


def generation(status: str, **other: Any) -> dict[str, Any]:
    asset = {"id": ID, "url": "/media/token/original.png", "mime_type": "image/png", "width": 1, "height": 1}
    asset |= {"seconds": None, "sha256": sha256(PICTURE).hexdigest(), "variants": {}}
    return {
        "id": ID,
        "status": status,
        "kind": "image",
        "model": "a-model",
        "prompt": "A sunset",
        "count": 1,
        "size": None,
        "seconds": None,
        "quote": 1,
        "cost": 0.5,
        "visibility": "public",
        "assets": [asset],
        "text": None,
        "usage": None,
        "cached": False,
        "error": None,
        "is_new_to_this_client": True,
        "created_at": "2026-01-01T00:00:00Z",
        "completed_at": None,
        **other,
    }


class Gateway:
    """Plays the gateway's side of the wire: what is asked, and answers as they are set."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.events: list[bytes] | None = []
        self.views: list[dict[str, Any]] = []
        self.refusals: list[tuple[int, dict[str, Any] | str, dict[str, str]]] = []
        self.files: list[tuple[str, bytes]] = []
        self.lose_media = 0
        self.media_statuses: list[int] = []
        self.lose_answers = 0

    async def create(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.lose_answers:
            self.lose_answers -= 1
            assert request.transport is not None
            request.transport.close()
        if self.refusals:
            status, body, headers = self.refusals.pop(0)
            text = body if isinstance(body, str) else json.dumps(body)
            return web.Response(status=status, text=text, headers=headers)
        return web.json_response(generation("pending"), status=202)

    async def show(self, _: web.Request) -> web.Response:
        return web.json_response(self.views.pop(0) if len(self.views) > 1 else self.views[0])

    async def follow(self, request: web.Request) -> web.StreamResponse:
        if self.events is None:
            raise web.HTTPTooManyRequests
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        for event in self.events:
            await stream.write(event)
        return stream

    async def upload(self, request: web.Request) -> web.StreamResponse:
        field = await anext(aiter(await request.multipart()))
        assert isinstance(field, BodyPartReader)
        self.files.append((str(field.filename), bytes(await field.read())))
        answer = await self.create(request)
        if answer.status != 202:
            return answer
        asset = generation("completed")["assets"][0]
        return web.json_response({"id": ID, "asset": asset, "visibility": "public"}, status=201)

    async def media(self, request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers, "nobody who keeps files is told the token"
        if self.lose_media:
            self.lose_media -= 1
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=self.media_statuses.pop(0) if self.media_statuses else 200, body=PICTURE)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PAUSES_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(files, "PAUSES_SECONDS", (0.0, 0.0, 0.0))


@pytest.fixture
async def url(gateway: Gateway) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(
        [
            web.post("/v1/generations", gateway.create),
            web.post("/v1/webhooks", gateway.create),
            web.post("/v1/api-keys", gateway.create),
            web.delete("/v1/webhooks/{id}", gateway.create),
            web.post("/v1/uploads", gateway.upload),
            web.get("/v1/generations/{id}", gateway.show),
            web.get("/v1/generations/{id}/events", gateway.follow),
            web.get("/media/{key:.*}", gateway.media),
        ]
    )
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(url, "a-token") as client:
        yield client


def event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


async def heard(client: AsyncClient) -> list[Any]:
    seen = [seen async for seen in client.follow(ID)]
    return [one.status if isinstance(one, Generation) else (one.stage, one.percent) for one in seen]


async def test_progress_is_followed_to_the_outcome(client: AsyncClient, gateway: Gateway) -> None:
    gateway.events = [
        event("generation", generation("pending")),
        b": ping\n\n",
        event("something new", {}),
        event("progress", {"number": 1, "stage": "rendering", "percent": 40})[:20],
        event("progress", {"number": 1, "stage": "rendering", "percent": 40})[20:],
        b"id: x-1\r\nevent: outcome\r\ndata: " + json.dumps(generation("completed")).encode() + b"\r\n\r\n",
        event("progress", {"number": 2, "stage": "too late", "percent": 99}),
    ]
    assert await heard(client) == ["pending", ("rendering", 40), "completed"]


@pytest.mark.parametrize(
    "events",
    [None, [], [event("generation", generation("pending"))], [b"data: no JSON\n\n"], [b"data: " + b"x" * (9 << 20)]],
)
async def test_where_events_end_or_are_refused_it_looks(
    client: AsyncClient, gateway: Gateway, events: list[bytes] | None
) -> None:
    gateway.events = events
    gateway.views = [generation("processing"), generation("failed")]
    assert (await client.wait(ID, 60)).status == "failed"


async def test_who_waits_no_longer_is_told_so(client: AsyncClient, gateway: Gateway) -> None:
    gateway.views = [generation("processing")]
    with pytest.raises(TimeoutError):
        await client.wait(ID, 0.2)


async def test_a_lost_answer_does_not_order_twice(client: AsyncClient, gateway: Gateway) -> None:
    gateway.lose_answers = 2
    assert str((await client.generate(**SUNSET)).id) == ID
    keys = [request.headers["Idempotency-Key"] for request in gateway.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert gateway.asked[0].headers["Authorization"] == "Bearer a-token"
    await client.generate(**SUNSET)
    await client.generate(idempotency_key="mine", **SUNSET)
    assert gateway.asked[3].headers["Idempotency-Key"] not in {keys[0], "mine"}, "another wish is another one"
    assert gateway.asked[4].headers["Idempotency-Key"] == "mine"


async def test_a_key_is_sent_as_it_is_given(client: AsyncClient, gateway: Gateway) -> None:
    """Also an empty one, which the gateway refuses: a new key in its place would order twice."""
    await client.generate(**SUNSET, idempotency_key="")
    assert [request.headers["Idempotency-Key"] for request in gateway.asked] == [""]


async def test_a_secret_whose_answer_was_lost_is_not_made_twice(client: AsyncClient, gateway: Gateway) -> None:
    """A webhook's is shown again under its key; an API key's is not, and that is said."""
    gateway.refusals = [(502, "<html>", {}), (422, {"code": "invalid_request"}, {})]
    with pytest.raises(errors.InvalidRequest):
        await client.make_webhook("https://receiver.example/told")
    gateway.refusals = [(502, "<html>", {}), (409, {"code": "shown_once"}, {})]
    with pytest.raises(errors.ShownOnce):
        await client.make_api_key(name="reports", idempotency_key="mine")
    keys = [request.headers["Idempotency-Key"] for request in gateway.asked]
    assert keys == [keys[0]] * 2 + ["mine"] * 2


async def test_an_id_that_is_none_leads_nowhere_else(client: AsyncClient, gateway: Gateway) -> None:
    with pytest.raises(errors.Refused, match="404"):
        await client.cancel("../webhooks?")
    assert gateway.asked == []


async def test_what_no_request_can_carry_is_said_in_words(client: AsyncClient, gateway: Gateway) -> None:
    """As of an argument that was no text, or a line end within a key."""
    with pytest.raises(ApiError, match="cannot be sent"):
        await client.generate(kind="image", prompt="\udcff")
    with pytest.raises(ApiError, match="cannot be sent"):
        await client.generate(**SUNSET, idempotency_key="a\nb")
    with pytest.raises(errors.Refused, match="404"):
        await client.cancel("\udcff")
    assert gateway.asked == []


async def test_a_token_may_come_from_a_file(url: str, gateway: Gateway) -> None:
    async with AsyncClient(url, "a-token\n") as client:
        await client.generate(**SUNSET)
    assert gateway.asked[0].headers["Authorization"] == "Bearer a-token"


async def test_what_has_no_key_is_not_asked_twice(client: AsyncClient, gateway: Gateway) -> None:
    gateway.refusals = [(502, "<html>", {})]
    with pytest.raises(errors.Refused):
        await client.remove_webhook(ID)
    assert len(gateway.asked) == 1


async def test_it_asks_again_only_where_that_may_help(client: AsyncClient, gateway: Gateway) -> None:
    soon, tomorrow = {"Retry-After": "0"}, {"Retry-After": "40000"}
    away, unsure = (503, {"code": "unavailable"}, soon), (502, "<html>", dict[str, str]())
    gateway.refusals = [away, unsure, (429, {"code": "too_many_requests"}, soon)]
    assert (await client.generate(**SUNSET)).status == "pending"
    gateway.refusals = [(429, {"code": "daily_cap_reached"}, tomorrow)]
    with pytest.raises(errors.DailyCapReached) as refused:
        await client.generate(**SUNSET)
    assert refused.value.retry_after_seconds == 40_000
    gateway.refusals = [away] * 4
    with pytest.raises(errors.Unavailable):
        await client.generate(**SUNSET)
    assert (len(gateway.asked), gateway.refusals) == (4 + 1 + 4, [])


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (402, {"code": "insufficient_credits", "detail": "Too little.", "required": 2, "available": 1},
         errors.InsufficientCredits, ["Too little.", "Required: 2", "available: 1"]),
        (422, {"code": "invalid_request", "detail": "Not valid.", "errors": [{"field": "size", "message": "odd"}]},
         errors.InvalidRequest, ["size: odd"]),
        (401, {"error": {"message": "Who are you?"}}, errors.Refused, ["Who are you?"]),
        (418, {"code": "of_tomorrow", "title": "A teapot"}, errors.Refused, ["A teapot"]),
        (404, "<html>", errors.Refused, ["The gateway answered 404."]),
        (301, ["odd"], errors.Refused, ["The gateway answered 301."]),
    ],
)  # fmt: skip
async def test_a_refusal_is_said_in_words(
    client: AsyncClient, gateway: Gateway, status: int, body: Any, kind: type[Exception], words: list[str]
) -> None:
    gateway.refusals = [(status, body, {})]
    with pytest.raises(errors.Refused) as refused:
        await client.generate(**SUNSET)
    assert type(refused.value) is kind
    assert all(word in str(refused.value) for word in words)
    assert len(gateway.asked) == 1, "a refusal is not asked again"


async def test_who_answers_in_a_gateways_place_is_not_taken_for_it(client: AsyncClient, gateway: Gateway) -> None:
    """Such as a page to log in, or to wait; what was accepted goes on behind it."""
    gateway.refusals = [(200, "<html>", {})]
    with pytest.raises(errors.UnreachableError, match="does not answer: what came is no Generation"):
        await client.generate(**SUNSET)
    gateway.views = [{"please": "wait"}, generation("completed")]
    assert (await client.wait(ID, 60)).status == "completed"


async def test_a_file_is_brought_whole_again_after_a_lost_answer(
    client: AsyncClient, gateway: Gateway, tmp_path: Path
) -> None:
    gateway.lose_answers = 1
    (tmp_path / "sketch.png").write_bytes(PICTURE)
    upload = await client.upload(tmp_path / "sketch.png")
    assert gateway.files == [("sketch.png", PICTURE)] * 2
    assert len({request.headers["Idempotency-Key"] for request in gateway.asked}) == 1
    assert upload.as_input("image") == {"role": "image", "upload_id": UUID(ID)}


@pytest.mark.parametrize(("name", "said"), [(b"a\nb.png", "a_b.png"), (b"\xff.png", quote("\ufffd.png"))])
async def test_a_file_is_brought_whatever_its_name(
    client: AsyncClient, gateway: Gateway, tmp_path: Path, name: bytes, said: str
) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(PICTURE)
    await client.upload(path)
    assert gateway.files == [(said, PICTURE)]


async def test_a_picture_is_saved_only_when_it_is_the_one(
    client: AsyncClient, gateway: Gateway, tmp_path: Path
) -> None:
    gateway.lose_media = 1
    made = Generation.model_validate(generation("completed"))
    (path,) = await client.save(made, tmp_path / "new")
    assert path.read_bytes() == PICTURE
    with pytest.raises(ApiError, match="its hash differs"):
        await client.fetch(made.assets[0].model_copy(update={"sha256": "0" * 64}), tmp_path / "new" / "two.png")
    assert list((tmp_path / "new").iterdir()) == [path]


async def test_a_picture_is_asked_for_again_where_that_may_help(
    client: AsyncClient, gateway: Gateway, tmp_path: Path
) -> None:
    made = Generation.model_validate(generation("completed"))
    gateway.media_statuses = [502, 503, 429]
    (path,) = await client.save(made, tmp_path)
    assert path.read_bytes() == PICTURE
    gateway.media_statuses = [404]
    with pytest.raises(ApiError, match="404"):
        await client.save(made, tmp_path)
    assert gateway.media_statuses == []


async def test_who_has_no_loop_can_do_the_same(url: str, gateway: Gateway, tmp_path: Path) -> None:
    gateway.events = [
        event("progress", {"number": 1, "stage": "rendering", "percent": 40}),
        event("outcome", generation("completed")),
    ]

    def program() -> None:
        with Client(url, "a-token") as client:
            made = client.generate(**SUNSET)
            progress, done = client.follow(made)
            assert isinstance(progress, Progress)
            assert isinstance(done, Generation)
            assert next(client.follow(made)) == progress, "left in the middle"
            assert client.wait(made) == done
            assert client.save(done, tmp_path)[0].read_bytes() == PICTURE
            gateway.refusals = [(404, {"code": "not_found"}, {})]
            with pytest.raises(errors.NotFound):
                client.generate(**SUNSET)
        client.close()

    await asyncio.to_thread(program)


def test_both_clients_can_do_the_same() -> None:
    def can(client: type) -> set[str]:
        return {name for name in vars(client) if not name.startswith("_")}

    assert can(AsyncClient) == can(Client) - {"run"}


@pytest.mark.parametrize(
    ("prompt", "assets", "names"),
    [
        ("A beautiful sunset!", ["image/png"], ["a-beautiful-sunset-0abcde.png"]),
        ("Zwei Bären", ["image/png", "image/webp"], ["zwei-bären-0abcde-1.png", "zwei-bären-0abcde-2.webp"]),
        ("../../etc/passwd", ["image/jpeg"], ["etc-passwd-0abcde.jpg"]),
        ("???", ["image/png"], ["image-0abcde.png"]),
        ("x" * 500, ["image/png"], ["x" * 40 + "-0abcde.png"]),
    ],
)
def test_files_are_named_after_the_prompt(prompt: str, assets: list[str], names: list[str]) -> None:
    (asset,) = generation("completed")["assets"]
    of_these = [{**asset, "mime_type": mime_type} for mime_type in assets]
    assert file_names(Generation.model_validate(generation("completed", prompt=prompt, assets=of_these))) == names
