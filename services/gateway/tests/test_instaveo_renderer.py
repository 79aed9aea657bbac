"""An outside renderer finishes an instaveo video, and `sync-status` names a provider's task."""

import base64
import hmac
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from pydantic import SecretStr

from contracts.questions import GENERATOR_LOOK_AT_TASK, GENERATOR_TAKE_RESULT
from contracts.tasks import LookAtTask, LookedAtTask, TakenResult, TakeResult
from gateway.settings import Settings

from .client import Answer, Client
from .conftest import MakeClient
from .players import Players
from .test_instaveo import created, shown, with_instaveo

pytestmark = pytest.mark.connected

KEY = b"a key of the renderer's own"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
URL = "https://renderer.example/film.mp4"


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return with_instaveo(
        settings,
        video_creation_cooldown_seconds=0,
        video_queue_maxsize=0,
        video_callback_secret=SecretStr(SECRET),
    )


class Generator:
    """Plays the generator where it is asked."""

    def __init__(self) -> None:
        self.results: dict[UUID, str] = {}
        self.tasks: dict[UUID, set[str]] = defaultdict(set)
        self.state: Any = "taken"

    async def take(self, message: Msg) -> None:
        question = TakeResult.model_validate_json(message.data)
        self.results[question.generation_id] = question.url
        await message.respond(TakenResult(state=self.state).model_dump_json().encode())

    async def look(self, message: Msg) -> None:
        question = LookAtTask.model_validate_json(message.data)
        is_known = {*question.names} <= self.tasks[question.generation_id]
        await message.respond(LookedAtTask(is_known=is_known).model_dump_json().encode())


@pytest.fixture
async def generator(bus: NatsClient) -> AsyncIterator[Generator]:
    generator = Generator()
    heard = [
        await bus.subscribe(GENERATOR_TAKE_RESULT, cb=generator.take),
        await bus.subscribe(GENERATOR_LOOK_AT_TASK, cb=generator.look),
    ]
    await bus.flush()
    yield generator
    for subscription in heard:
        await subscription.unsubscribe()


@pytest.fixture
def client(client_of: MakeClient, players: Players) -> Client:
    """Whose videos nobody makes."""
    client = client_of()
    players.scripts[client.user_id] = players.hold
    return client


async def call(
    client: Client, video_id: str, body: Any, *, key: bytes = KEY, at: float | None = None, **headers: str
) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    timestamp = str(int(time.time() if at is None else at))
    signed = hmac.digest(key, f"msg_1.{timestamp}.".encode() + content, sha256)
    sent = {
        "Content-Type": "application/json",
        "webhook-id": "msg_1",
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(
            f"v1,{base64.b64encode(each).decode()}" for each in (b"of an older secret", signed)
        ),
    }
    return await client.post(f"/videos/{video_id}/complete", sent | headers, data=content)


async def test_its_film_is_handed_to_the_generator(
    client: Client, nobody: Client, players: Players, generator: Generator
) -> None:
    video = await created(client)
    answer = await call(nobody, video["id"], {"videoUrl": URL, "thumbnailUrl": "ignored"})
    assert (answer.status, answer.json) == (200, {"success": True})
    assert generator.results == {UUID(video["id"]): URL}
    await players.complete((await players.published(client.user_id))[0])
    await client.ended(video["id"])
    generator.results.clear()
    assert (await call(nobody, video["id"], {"videoUrl": URL})).status == 200
    assert generator.results == {}, "what has ended is not asked for again"


async def test_it_may_say_that_it_failed(client: Client, nobody: Client) -> None:
    video = await created(client)
    answer = await call(nobody, video["id"], {"status": "failed", "failureReason": "The scene is too dark."})
    assert answer.status == 200
    await client.ended(video["id"])
    told = await shown(client, video["id"])
    assert (told["status"], told["failureReason"]) == ("failed", "The scene is too dark.")


@pytest.mark.parametrize(
    "changed",
    [
        {"key": b"another key"},
        {"at": 0},
        {"at": time.time() + 3600},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": "v2,AAAA"},
        {"webhook-timestamp": "now"},
        {"webhook-id": "msg_2"},
    ],
    ids=lambda changed: str({*changed}),
)
async def test_whoever_does_not_sign_is_not_believed(
    client: Client, nobody: Client, generator: Generator, changed: dict[str, Any]
) -> None:
    video = await created(client)
    answer = await call(nobody, video["id"], {"videoUrl": URL}, **changed)
    assert (answer.status, answer.json["code"]) == (401, "signature_refused")
    assert generator.results == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        {},
        {"status": "done"},
        {"videoUrl": "ftp://x/y"},
        {"videoUrl": "file:///etc/passwd"},
        {"videoUrl": 5},
    ],
    ids=str,
)
async def test_what_says_nothing_changes_nothing(
    client: Client, nobody: Client, generator: Generator, body: Any
) -> None:
    video = await created(client)
    assert (await call(nobody, video["id"], body)).status == 400
    assert generator.results == {}


async def test_other_generations_are_not_its_affair(client: Client, nobody: Client, generator: Generator) -> None:
    picture = await client.accepted()
    for video_id in (picture["id"], str(uuid4())):
        assert (await call(nobody, video_id, {"videoUrl": URL})).status == 404
    assert generator.results == {}


async def test_before_it_is_being_made_the_callback_is_to_come_again(
    client: Client, nobody: Client, generator: Generator
) -> None:
    video = await created(client)
    generator.state = "unknown"
    assert (await call(nobody, video["id"], {"videoUrl": URL})).status == 409


async def test_sync_status_names_its_own_task_or_none(client: Client, generator: Generator) -> None:
    video = await created(client)
    generator.tasks[UUID(video["id"])] = {"operations/7", "scene-1"}
    path = f"/videos/{video['id']}/sync-status"
    for body, status in [
        ({}, 200),
        ({"operationName": "operations/7"}, 200),
        ({"operationName": "operations/7", "sceneId": "scene-1"}, 200),
        ({"operationName": None, "sceneId": ""}, 200),
        ({"operationName": "operations/8"}, 404),
        ({"sceneId": "scene-2"}, 404),
        ({"operationName": 5}, 422),
        ({"operationName": "x" * 151}, 422),
    ]:
        answer = await client.post(path, json=body)
        assert answer.status == status, (body, answer.text)


async def test_without_the_generator_a_name_cannot_be_checked(client: Client) -> None:
    video = await created(client)
    answer = await client.post(f"/videos/{video['id']}/sync-status", json={"operationName": "operations/7"})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
