"""Keys of programs: what they may do, how often, for how much, and that they are over when they are revoked."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from gateway.api_keys import keys
from gateway.api_keys import ring as ring_module

from .client import IMAGE, Answer, Client, until
from .conftest import MakeClient

pytestmark = pytest.mark.connected


async def make_key(client: Client, **fields: Any) -> Any:
    answer = await client.post("/v1/api-keys", json={"name": "a program"} | fields)
    assert answer.status == 201, answer.text
    return answer.json


async def program(client_of: MakeClient, client: Client, **fields: Any) -> Client:
    """Somebody who has nothing but a key of the client's."""
    return client_of(client.user_id, (await make_key(client, **fields))["key"])


def assert_problem(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.json["code"]) == (status, code), answer.text


# -- being believed -----------------------------------------------------------------------------------------------


async def test_a_key_is_shown_once_and_kept_as_a_hash(client: Client, postgres: asyncpg.Pool) -> None:
    made = await make_key(client, name="renderer")
    assert made["key"].startswith("dk_") and len(made["key"]) == 46
    assert made["prefix"] == made["key"][:10]
    listed = (await client.get("/v1/api-keys")).json["items"]
    assert [(key["id"], key["name"], key["key"]) for key in listed] == [(made["id"], "renderer", None)]
    row = await postgres.fetchrow("SELECT * FROM api_keys WHERE id = $1", UUID(made["id"]))
    assert row["hash"] == hashlib.sha256(made["key"].encode()).digest()
    assert made["key"] not in str(row)


@pytest.mark.parametrize(
    "form",
    [
        {"Authorization": "Bearer {}"},
        {"Authorization": "bearer {}"},
        {"Authorization": "Key {}"},
        {"Authorization": "Token {}"},
        {"x-api-key": "{}"},
        {"x-api-key": "{}", "Authorization": "Bearer {}"},
    ],
    ids=str,
)
async def test_every_form_and_every_dialect_take_it(nobody: Client, client: Client, form: dict[str, str]) -> None:
    key = (await make_key(client))["key"]
    headers = {name: value.format(key) for name, value in form.items()}
    made = await nobody.post("/v1/generations", headers, json={"kind": "image", "prompt": "x"})
    assert made.status == 202, made.text
    assert (await client.get(f"/v1/generations/{made.json['id']}")).status == 200
    own = {"prompt": "x", "userId": str(client.user_id)}
    assert (await nobody.post("/api/images/generate", headers, json=own)).status == 200
    assert (await nobody.post("/api/images/generate", headers, json=own | {"userId": str(uuid4())})).status == 404
    assert (await nobody.get("/api/profile", headers)).json["user"]["id"] == str(client.user_id)


async def test_what_is_no_key_of_ours_is_refused(nobody: Client, client: Client, client_of: MakeClient) -> None:
    key, other = (await make_key(client))["key"], (await make_key(client))["key"]
    changed = key[:-1] + ("A" if key[-1] != "A" else "B")
    for headers in (
        {"Authorization": f"Bearer {changed}"},
        {"Authorization": f"Bearer dk_{'A' * 43}"},
        {"Authorization": "Bearer dk_"},
        {"Authorization": f"Bearer {key}x"},
        {"Authorization": f"Bearer {key} {key}"},
        {"Authorization": f"Basic {key}"},
        {"Authorization": f"Bearer {key}", "x-api-key": other},
        {"Authorization": "Bearer somebody", "x-api-key": key},
        {"x-api-key": "something else"},
    ):
        assert_problem(await nobody.get("/v1/models", headers), 401, "unauthenticated")
    signed_in = client_of(client.user_id)
    assert (await signed_in.get("/v1/models", {"x-api-key": key})).status == 401, "a key and a token"
    assert (await signed_in.get("/v1/models", {"x-api-key": "meant for somebody else"})).status == 200


# -- what it may do -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (["read"], {"read"}),
        (["write"], {"write"}),
        (["read", "write"], {"read", "write"}),
        (["account"], {"account"}),
        (["read", "write", "account"], {"read", "write", "account"}),
    ],
)
async def test_a_scope_is_what_it_may_do(
    client: Client, client_of: MakeClient, scopes: list[str], allowed: set[str]
) -> None:
    holder = await program(client_of, client, scopes=scopes)
    asked = {
        "read": [await holder.get("/v1/generations"), await holder.get("/v1/credits")],
        "write": [await holder.create(), await holder.post("/v1/batches", json={"items": [IMAGE]})],
        "account": [
            await holder.get("/v1/api-keys"),
            await holder.post("/v1/api-keys", json={"name": "another"}),
            await holder.get("/v1/webhooks"),
            await holder.get("/v1/provider-keys"),
            await holder.post("/v1/payments", json={}),
            await holder.request("PUT", "/api/v1/configs", json={"providers": {}}),
            await holder.get("/api/config"),
            await holder.post("/api/v1/auth/device/approve", json={"user_code": "AAAA-AAAA"}),
            await holder.post("/api/v1/auth/logout", json={"all": True}),
            await holder.post("/functions/v1/create-payment-intent", json={}),
            await holder.post("/functions/v1/process-payment-success", json={}),
        ],
    }
    for scope, answers in asked.items():
        refused = {answer.status == 403 for answer in answers}
        assert refused == {scope not in allowed}, scope
    if "read" not in allowed:
        assert_problem(asked["read"][0], 403, "scope_missing")


async def test_who_may_only_read_signs_no_webhooks(client: Client, client_of: MakeClient) -> None:
    secret = "/replicate/v1/webhooks/default/secret"
    reader, writer = [await program(client_of, client, scopes=scopes) for scopes in (["read"], ["read", "write"])]
    assert [(await each.get(secret)).status for each in (reader, writer)] == [403, 200]


async def test_a_key_cannot_manage_keys(client: Client, client_of: MakeClient, postgres: asyncpg.Pool) -> None:
    made = await make_key(client)
    holder = client_of(client.user_id, made["key"])
    for method, path, body in (
        ("POST", "/v1/api-keys", {"name": "x"}),
        ("GET", "/v1/api-keys", None),
        ("POST", f"/v1/api-keys/{made['id']}/rotate", {}),
        ("DELETE", f"/v1/api-keys/{made['id']}", None),
    ):
        assert_problem(await holder.request(method, path, json=body), 403, "scope_missing")
    assert await postgres.fetchval("SELECT count(*) FROM api_keys WHERE user_id = $1", client.user_id) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "a\nb"},
        {"scopes": []},
        {"scopes": ["admin"]},
        {"requests_per_minute": 0},
        {"credits_per_day": -1},
        {"credits_per_day": 0.5},
        {"credits_per_day": True},
        {"requests_per_minute": "60"},
        {"credits_per_month": 10**18},
        {"expires_at": "2030-01-01T00:00:00"},
        {"expires_at": "never"},
        {"expires_at": "9999-12-31T23:59:59-14:00"},
        {"expires_at": "0001-01-01T00:00:00+14:00"},
        {"user_id": str(UUID(int=1))},
    ],
    ids=str,
)
async def test_a_bad_wish_makes_no_key(client: Client, postgres: asyncpg.Pool, fields: dict[str, Any]) -> None:
    assert (await client.post("/v1/api-keys", json={"name": "x"} | fields)).status == 422
    assert await postgres.fetchval("SELECT count(*) FROM api_keys WHERE user_id = $1", client.user_id) == 0


async def test_keys_of_one_user_are_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.api_keys.keys.MAX_KEYS", 2)
    await make_key(client)
    await make_key(client)
    assert (await client.post("/v1/api-keys", json={"name": "third"})).status == 422


# -- its end ------------------------------------------------------------------------------------------------------


async def test_two_that_are_made_at_once_are_not_both_the_last(
    client: Client, postgres: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MAX_KEYS", 2)
    first = await make_key(client)
    async with postgres.acquire() as connection, connection.transaction():
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('API keys of ' || $1::uuid, 0))", client.user_id
        )
        await connection.execute(
            "INSERT INTO api_keys (id, user_id, name, prefix, hash, scopes) "
            "SELECT gen_random_uuid(), user_id, name, prefix, sha256(hash), scopes FROM api_keys WHERE id = $1",
            UUID(first["id"]),
        )
        asking = asyncio.create_task(client.post("/v1/api-keys", json={"name": "the third"}))
        await asyncio.wait([asking], timeout=0.5)
    assert (await asking).status == 422


async def test_a_key_is_made_once_under_an_idempotency_key(client: Client, client_of: MakeClient) -> None:
    """It cannot be shown again, and a second one that nobody asked for would work for ever."""
    once = {"Idempotency-Key": "once"}
    made = await client.post("/v1/api-keys", once, json={"name": "n"})
    again = await client.post("/v1/api-keys", once, json={"name": "n"})
    assert (made.status, again.status, again.json["code"]) == (201, 409, "shown_once")
    assert [each["id"] for each in (await client.get("/v1/api-keys")).json["items"]] == [made.json["id"]]
    assert (await client_of().post("/v1/api-keys", once, json={"name": "n"})).json["id"] != made.json["id"]
    refused = await client.post("/v1/api-keys", {"Idempotency-Key": "k" * 300}, json={"name": "n"})
    assert (refused.status, refused.json["code"]) == (400, "invalid_idempotency_key")


async def test_a_revoked_key_is_over_within_ten_seconds(
    client: Client, client_of: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ring_module.BELIEVED_SECONDS <= 10
    monkeypatch.setattr(ring_module, "BELIEVED_SECONDS", 0.3)
    made = await make_key(client)
    holder = client_of(client.user_id, made["key"])
    assert (await holder.get("/v1/models")).status == 200
    assert (await client.request("DELETE", f"/v1/api-keys/{made['id']}")).status == 204
    assert (await client.request("DELETE", f"/v1/api-keys/{made['id']}")).status == 404

    async def refused() -> bool:
        return (await holder.get("/v1/models")).status == 401

    await until(refused)
    assert (await client.get("/v1/api-keys")).json["items"] == []


async def test_a_rotation_lets_both_work_for_a_while(
    client: Client, client_of: MakeClient, postgres: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring_module, "BELIEVED_SECONDS", 0.0)
    made = await make_key(client, requests_per_minute=60)
    rotated = (await client.post(f"/v1/api-keys/{made['id']}/rotate", json={"overlap_seconds": 3600})).json
    assert rotated["id"] == made["id"] and rotated["key"] != made["key"]
    assert rotated["requests_per_minute"] == 60
    assert datetime.fromisoformat(rotated["previous_works_until"]) > datetime.now(UTC) + timedelta(minutes=50)
    former, present = client_of(client.user_id, made["key"]), client_of(client.user_id, rotated["key"])
    assert [(await each.get("/v1/models")).status for each in (former, present)] == [200, 200]
    await postgres.execute("UPDATE api_keys SET previous_until = now() WHERE id = $1", UUID(made["id"]))
    assert [(await each.get("/v1/models")).status for each in (former, present)] == [401, 200]
    newest = (await client.post(f"/v1/api-keys/{made['id']}/rotate", json={"overlap_seconds": 0})).json
    assert [(await each.get("/v1/models")).status for each in (former, present)] == [401, 401]
    assert (await client_of(client.user_id, newest["key"]).get("/v1/models")).status == 200
    assert (await client.post(f"/v1/api-keys/{made['id']}/rotate")).status == 200, "without a body: a day"


async def test_a_rotation_that_is_repeated_cuts_nobody_off(
    client: Client, client_of: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its answer was lost, a second one would end the key that is in use at once, whatever the overlap."""
    monkeypatch.setattr(ring_module, "BELIEVED_SECONDS", 0.0)
    made, once = await make_key(client), {"Idempotency-Key": "once"}
    path = f"/v1/api-keys/{made['id']}/rotate"
    rotated, again = await client.post(path, once), await client.post(path, once)
    assert (rotated.status, again.status, again.json["code"]) == (200, 409, "shown_once")
    for key in (made["key"], rotated.json["key"]):
        assert (await client_of(client.user_id, key).get("/v1/models")).status == 200
    assert (await client_of().post(path, once)).status == 404
    assert (await client.post(path, {"Idempotency-Key": "twice"})).status == 200


async def test_a_key_expires_even_while_it_is_believed(client: Client, client_of: MakeClient) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    holder = await program(client_of, client, expires_at=soon.isoformat())
    assert (await holder.get("/v1/models")).status == 200

    async def refused() -> bool:
        return (await holder.get("/v1/models")).status == 401

    await until(refused)
    assert datetime.now(UTC) >= soon


async def test_a_use_is_written_down_once_a_minute(
    client: Client, client_of: MakeClient, postgres: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring_module, "BELIEVED_SECONDS", 0.0)
    made = await make_key(client)
    assert made["last_used_at"] is None
    holder = client_of(client.user_id, made["key"])
    used = []
    for _ in range(3):
        await holder.get("/v1/models")
        used.append((await client.get("/v1/api-keys")).json["items"][0]["last_used_at"])
    assert used[0] is not None and len(set(used)) == 1
    await postgres.execute("UPDATE api_keys SET last_used_at = now() - interval '61 s'")
    await holder.get("/v1/models")
    assert (await client.get("/v1/api-keys")).json["items"][0]["last_used_at"] > used[0]


# -- how often ----------------------------------------------------------------------------------------------------


async def test_a_key_has_a_limit_of_its_own(client: Client, client_of: MakeClient) -> None:
    hasty, other = await program(client_of, client, requests_per_minute=3), await program(client_of, client)
    answers = [await hasty.get("/v1/models") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[2].headers["X-RateLimit-Limit"] == "3"
    assert answers[2].headers["X-RateLimit-Remaining"] == "0"
    assert '"key";q=3;w=60' in answers[2].headers["RateLimit-Policy"]
    assert '"user";q=' in answers[2].headers["RateLimit-Policy"]
    assert 0 < int(answers[3].headers["Retry-After"]) <= 20
    assert answers[3].headers["X-RateLimit-Remaining"] == "0"
    assert (await other.get("/v1/models")).status == 200
    assert (await client.get("/v1/models")).status == 200


async def test_the_memory_for_keys_is_bounded(client: Client, monkeypatch: pytest.MonkeyPatch, nobody: Client) -> None:
    """Made-up keys cost a look each, and no memory."""
    monkeypatch.setattr(ring_module, "MAX_KEYS_BELIEVED", 3)
    for number in range(6):
        answer = await nobody.get("/v1/models", {"x-api-key": f"dk_{number:043d}"})
        assert answer.status == 401
    made = await make_key(client)
    assert (await nobody.get("/v1/models", {"x-api-key": made["key"]})).status == 200
