"""The command line's view of a gateway: it follows events, asks where there are none, and believes only the hash."""

import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from darkroom.client import ApiError, Client, file_names

PICTURE = b"a picture"
ID = "01920000-0000-7000-8000-0000000abcde"


def generation(status: str, **other: Any) -> dict[str, Any]:
    assets = [{"url": "/media/token/original.png", "mime_type": "image/png", "sha256": sha256(PICTURE).hexdigest()}]
    return {"id": ID, "status": status, "kind": "image", "prompt": "A sunset", "assets": assets, **other}


class Gateway:
    """Plays the gateway's side of the wire: what is asked, and answers as they are set."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.events: list[bytes] | None = []
        self.views: list[dict[str, Any]] = []
        self.refusal: tuple[int, dict[str, Any] | str] | None = None
        self.lose_answers = 0

    async def create(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.lose_answers:
            self.lose_answers -= 1
            assert request.transport is not None
            request.transport.close()
        if self.refusal is not None:
            status, body = self.refusal
            return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body))
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

    async def media(self, _: web.Request) -> web.Response:
        return web.Response(body=PICTURE)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[Client]:
    app = web.Application()
    app.add_routes(
        [
            web.post("/v1/generations", gateway.create),
            web.get("/v1/generations/{id}", gateway.show),
            web.get("/v1/generations/{id}/events", gateway.follow),
            web.get("/media/{key:.*}", gateway.media),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with Client(f"http://127.0.0.1:{runner.addresses[0][1]}", "a-token") as client:
        yield client
    await runner.cleanup()


def event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


async def heard(client: Client) -> list[tuple[str, Any]]:
    return [pair async for pair in client.follow(generation("pending"))]


async def test_progress_is_followed_to_the_outcome(client: Client, gateway: Gateway) -> None:
    done = generation("completed")
    gateway.events = [
        event("generation", generation("pending")),
        b": ping\n\n",
        event("progress", {"number": 1, "stage": "rendering", "percent": 40})[:20],
        event("progress", {"number": 1, "stage": "rendering", "percent": 40})[20:],
        b"id: x-1\r\nevent: outcome\r\ndata: " + json.dumps(done).encode() + b"\r\n\r\n",
        event("progress", {"number": 2, "stage": "too late", "percent": 99}),
    ]
    assert await heard(client) == [
        ("generation", generation("pending")),
        ("progress", {"number": 1, "stage": "rendering", "percent": 40}),
        ("outcome", done),
    ]


@pytest.mark.parametrize("events", [None, [], [event("generation", generation("pending"))]])
async def test_where_events_end_or_are_refused_it_asks(
    client: Client, gateway: Gateway, events: list[bytes] | None
) -> None:
    gateway.events = events
    gateway.views = [generation("processing"), generation("failed")]
    assert (await heard(client))[-1] == ("outcome", generation("failed"))


async def test_a_lost_answer_does_not_order_twice(client: Client, gateway: Gateway) -> None:
    gateway.lose_answers = 1
    assert (await client.order({"kind": "image", "prompt": "A sunset"}))["id"] == ID
    keys = [request.headers["Idempotency-Key"] for request in gateway.asked]
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert gateway.asked[0].headers["Authorization"] == "Bearer a-token"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (402, {"detail": "Too little.", "required": 2, "available": 1}, ["Too little.", "Required: 2", "available: 1"]),
        (422, {"detail": "Not valid.", "errors": [{"field": "size", "message": "not offered"}]}, ["size: not offered"]),
        (401, {"error": {"message": "Who are you?"}}, ["Who are you?"]),
        (503, "<html>", ["The gateway answered 503."]),
    ],
)
async def test_a_refusal_is_said_in_words(
    client: Client, gateway: Gateway, status: int, body: Any, words: list[str]
) -> None:
    gateway.refusal = status, body
    with pytest.raises(ApiError) as refused:
        await client.order({})
    assert all(word in str(refused.value) for word in words)
    assert len(gateway.asked) == 1, "a refusal is not asked again"


async def test_a_picture_is_saved_only_when_it_is_the_one(client: Client, tmp_path: Path) -> None:
    asset = generation("completed")["assets"][0]
    await client.fetch(asset, tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes() == PICTURE
    with pytest.raises(ApiError, match="its hash differs"):
        await client.fetch({**asset, "sha256": "0" * 64}, tmp_path / "two.png")
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]


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
    made = generation("completed", prompt=prompt)
    made["assets"] = [{"mime_type": mime_type, "url": "/media/x"} for mime_type in assets]
    assert file_names(made) == names
