"""instaveo's signed requests, in both forms that its clients write; how often and how many may be asked for."""

import asyncio
import hmac
import json
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import unquote
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from gateway.settings import Settings

from .client import Answer, Client, token
from .conformance import JSON
from .conftest import MakeClient
from .players import Players
from .test_instaveo import with_instaveo

pytestmark = pytest.mark.connected

SECRET = "a secret of more than thirty-two characters"
COOLDOWN_SECONDS = 120
Sign = Callable[[str, str, bytes, float], tuple[str, str]]
"""Of method, path, body and Unix seconds: timestamp and signature."""


def digest(text: bytes) -> str:
    return hmac.new(SECRET.encode(), text, sha256).hexdigest()


def proxy(method: str, path: str, body: bytes, at: float) -> tuple[str, str]:
    timestamp = str(int(at))
    parts = [timestamp.encode(), method.encode(), unquote(path.partition("?")[0]).encode(), *([body] if body else [])]
    return timestamp, digest(b"\n".join(parts))


def browser(method: str, path: str, body: bytes, at: float) -> tuple[str, str]:
    timestamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    parts = [method.encode(), unquote(path.partition("?")[0]).encode(), body, timestamp.encode()]
    return timestamp, digest(b"|".join(parts))


FORMS = pytest.mark.parametrize("sign", [proxy, browser])


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return with_instaveo(
        settings,
        request_signature_secret=SecretStr(SECRET),
        video_creation_cooldown_seconds=COOLDOWN_SECONDS,
        video_queue_maxsize=3,
        video_status_max_polls=40,
    )


@pytest.fixture(autouse=True)
async def nothing_under_way(postgres: asyncpg.Pool) -> None:
    await postgres.execute("UPDATE generations SET dialect = 'native'")


async def send(
    client: Client,
    sign: Sign,
    path: str,
    body: bytes = b"",
    method: str = "POST",
    at: float | None = None,
    changed: dict[str, Any] | None = None,
) -> Answer:
    """A signed request; `changed` says what is sent otherwise than it was signed."""
    changed = changed or {}
    timestamp, signature = sign(method, path, body, time.time() if at is None else at)
    headers = {"X-InstaVeo-Timestamp": timestamp, "X-InstaVeo-Signature": signature} | changed.get("headers", {})
    sent = {name: value for name, value in headers.items() if value is not None}
    return await client.request(
        changed.get("method", method),
        changed.get("path", path),
        JSON | sent,
        data=changed.get("body", body),
    )


CREATE = "/videos/create"
PROMPT = json.dumps({"prompt": "A lighthouse: é, 灯台"}).encode()


@FORMS
async def test_a_signed_request_passes(client: Client, sign: Sign) -> None:
    answer = await send(client, sign, CREATE, PROMPT)
    assert (answer.status, answer.json["prompt"]) == (201, "A lighthouse: é, 灯台")
    video = answer.json["id"]
    for path in (f"/videos/{video}/like", f"/videos/{video}/view?x=%20y", f"/videos/{video}/sync-status"):
        assert (await send(client, sign, path)).status == 200
    changed = await send(client, sign, f"/users/{client.user_id}", b'{"avatarUrl": null}', "PATCH")
    assert changed.status == 200, changed.text


@FORMS
@pytest.mark.parametrize(
    ("at", "changed"),
    [
        (-121, {}),
        (+122, {}),
        (0, {"body": PROMPT + b" "}),
        (0, {"body": b""}),
        (0, {"path": f"/videos/{UUID(int=1)}/recreate"}),
        (0, {"headers": {"X-InstaVeo-Signature": "0" * 64}}),
        (0, {"headers": {"X-InstaVeo-Signature": "A" * 64}}),
        (0, {"headers": {"X-InstaVeo-Signature": "é"}}),
        (0, {"headers": {"X-InstaVeo-Signature": None}}),
        (0, {"headers": {"X-InstaVeo-Timestamp": None}}),
        (0, {"headers": {"X-InstaVeo-Timestamp": ""}}),
        (0, {"headers": {"X-InstaVeo-Timestamp": "-5"}}),
        (0, {"headers": {"X-InstaVeo-Timestamp": "9" * 12}}),
        (0, {"headers": {"X-InstaVeo-Timestamp": "9" * 400}}),
        (0, {"headers": {"X-InstaVeo-Timestamp": "2026-13-01T00:00:00.000Z"}}),
        (0, {"headers": {"X-InstaVeo-Timestamp": "2026-01-01T00:00:00Z"}}),
        (0, {"headers": {"X-InstaVeo-Timestamp": "1e9"}}),
    ],
    ids=str,
)
async def test_what_is_not_signed_as_sent_is_refused_and_does_nothing(
    client: Client, postgres: asyncpg.Pool, sign: Sign, at: float, changed: dict[str, Any]
) -> None:
    answer = await send(client, sign, CREATE, PROMPT, at=time.time() + at, changed=changed)
    assert (answer.status, answer.json["code"]) == (401, "signature_refused")
    assert isinstance(answer.json["detail"], str)
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 0


@FORMS
async def test_the_signature_is_looked_at_before_the_token_and_the_body(client_of: MakeClient, sign: Sign) -> None:
    hasty = client_of(uuid4(), "not a token")
    answer = await hasty.post(CREATE, JSON, data=b"{")
    assert (answer.status, answer.json["code"]) == (401, "signature_refused")
    signed = await send(hasty, sign, CREATE, PROMPT)
    assert (signed.status, signed.json["code"]) == (401, "unauthenticated")
    large = await send(client_of(), sign, CREATE, b"x" * ((1 << 20) + 1))
    assert large.status == 413


async def test_reading_and_publishing_are_not_signed(client: Client) -> None:
    video = (await send(client, proxy, CREATE, PROMPT)).json["id"]
    for path in (f"/videos/{video}", "/videos/feed", "/users/top", f"/users/{client.user_id}"):
        assert (await client.get(path)).status == 200
    assert (await client.post(f"/videos/{video}/publish", JSON)).status == 200


# -- the same again -----------------------------------------------------------------------------------------------


@FORMS
async def test_a_signature_makes_one_video(client: Client, postgres: asyncpg.Pool, sign: Sign) -> None:
    at = time.time()
    first = await send(client, sign, CREATE, PROMPT, at=at)
    assert first.status == 201
    await cooled_down(postgres, client)
    again = await send(client, sign, CREATE, PROMPT, at=at)
    assert (again.status, again.json["code"]) == (401, "signature_refused")
    recreate = f"/videos/{first.json['id']}/recreate"
    assert (await send(client, sign, recreate, at=at)).status == 201
    await cooled_down(postgres, client)
    assert (await send(client, sign, recreate, at=at)).status == 401
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 2


async def test_one_signature_of_two_users_makes_a_video_each(client_of: MakeClient) -> None:
    at = time.time()
    assert [(await send(client_of(), proxy, CREATE, PROMPT, at=at)).status for _ in range(2)] == [201, 201]


async def test_what_may_be_repeated_may_be_repeated(client: Client) -> None:
    at = time.time()
    video = (await send(client, proxy, CREATE, PROMPT, at=at)).json["id"]
    statuses = [(await send(client, proxy, f"/videos/{video}/like", at=at)).status for _ in range(3)]
    assert statuses == [200, 200, 200]


async def test_a_refused_request_may_be_sent_again_as_it_was(
    client: Client, client_of: MakeClient, players: Players
) -> None:
    at = time.time()
    expired = client_of(client.user_id, token(client.user_id, exp=int(at) - 3600))
    assert (await send(expired, proxy, CREATE, PROMPT, at=at)).status == 401
    players.available[client.user_id] = 0
    assert (await send(client, proxy, CREATE, PROMPT, at=at)).status == 402
    players.available[client.user_id] = 10_000_000
    assert (await send(client, proxy, CREATE, PROMPT, at=at)).status == 201


async def test_signatures_are_forgotten_once_they_are_too_old_anyway(client: Client, postgres: asyncpg.Pool) -> None:
    await send(client, proxy, CREATE, PROMPT)
    lives = await postgres.fetchval(
        "SELECT extract(epoch FROM expires_at - now()) FROM instaveo_signatures WHERE user_id = $1", client.user_id
    )
    assert 240 <= math.ceil(lives) <= 241


# -- how often, and how many --------------------------------------------------------------------------------------


async def cooled_down(postgres: asyncpg.Pool, client: Client) -> None:
    await postgres.execute("UPDATE instaveo_creators SET last_created_at = NULL WHERE id = $1", client.user_id)


async def test_between_two_videos_there_is_a_pause(client: Client, postgres: asyncpg.Pool) -> None:
    video = (await send(client, proxy, CREATE, PROMPT)).json["id"]
    for path, body in [(CREATE, b'{"prompt": "another"}'), (f"/videos/{video}/recreate", b"")]:
        answer = await send(client, proxy, path, body)
        assert (answer.status, answer.json["statusCode"]) == (429, 429)
        assert isinstance(answer.json["detail"], str)
        assert COOLDOWN_SECONDS - 60 < int(answer.headers["Retry-After"]) <= COOLDOWN_SECONDS
    await postgres.execute(
        "UPDATE instaveo_creators SET last_created_at = last_created_at - make_interval(secs => $2) WHERE id = $1",
        client.user_id,
        float(COOLDOWN_SECONDS),
    )
    assert (await send(client, proxy, CREATE, b'{"prompt": "another"}')).status == 201


async def test_what_is_refused_costs_no_pause(client: Client, players: Players) -> None:
    assert (await send(client, proxy, CREATE, b'{"prompt": ""}')).status == 422
    players.available[client.user_id] = 0
    assert (await send(client, proxy, CREATE, PROMPT)).status == 402
    players.available[client.user_id] = 10_000_000
    assert (await send(client, proxy, CREATE, PROMPT)).status == 201


async def test_of_two_at_once_one_is_made(client: Client, postgres: asyncpg.Pool) -> None:
    bodies = [json.dumps({"prompt": f"number {number}"}).encode() for number in range(4)]
    answers = await asyncio.gather(*(send(client, proxy, CREATE, body) for body in bodies))
    assert sorted(answer.status for answer in answers) == [201, 429, 429, 429]
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 1


async def test_a_full_queue_asks_to_wait_and_charges_nothing(
    client_of: MakeClient, players: Players, postgres: asyncpg.Pool
) -> None:
    clients = [client_of() for _ in range(8)]
    for client in clients:
        players.scripts[client.user_id] = players.hold
    answers = await asyncio.gather(*(send(client, proxy, CREATE, PROMPT) for client in clients))
    assert sorted(answer.status for answer in answers) == [201] * 3 + [429] * 5
    waiting = [client for client, answer in zip(clients, answers, strict=True) if answer.status == 429]
    assert all(int(answer.headers["Retry-After"]) == 5 for answer in answers if answer.status == 429)
    done = next(client for client, answer in zip(clients, answers, strict=True) if answer.status == 201)
    [request] = await players.published(done.user_id)
    await players.complete(request)
    await done.ended(str(request.generation_id))
    assert (await send(waiting[0], proxy, CREATE, PROMPT)).status == 201
    used = await postgres.fetchval(
        "SELECT count(*) FROM slots WHERE user_id = ANY($1) AND taken > 0", [client.user_id for client in waiting[1:]]
    )
    assert used == 0


async def test_a_video_is_given_up_after_so_many_looks(client: Client, postgres: asyncpg.Pool) -> None:
    video = (await send(client, proxy, CREATE, PROMPT)).json["id"]
    row = await postgres.fetchrow(
        "SELECT deadline_seconds, extract(epoch FROM deadline_at - created_at)::int AS seconds FROM generations "
        "WHERE id = CAST($1::text AS uuid)",
        video,
    )
    assert tuple(row) == (200, 200)
