"""Who asks (B17, B18, B20, B21; API1, API2): only a token that the issuer signed for a user names that user."""

import asyncio
import base64
import hmac
import json
import time
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from multidict import CIMultiDict
from sqlalchemy import text

from contracts.payments import (
    ConfirmedPayment,
)
from gateway import records

from .client import IMAGE, SECRET, Answer, Client, token
from .conftest import MakeClient, Service
from .players import Players
from .test_uploads import Storage, bring, storage

__all__ = ["storage"]

pytestmark = pytest.mark.connected
OWNED_ELSEWHERE = {"/v1/uploads/{id}/finalize", "/v1/provider-keys/{provider}"}
"""Storage knows whose an upload is (services/storage/tests/test_uploads.py); a provider names no user."""

USER = uuid4()
NOBODYS = UUID("3f0d7c9e-5a41-4c7b-8a52-6d1e0b9f4c33")
CLAIMS = {"sub": str(USER), "aud": "authenticated", "role": "authenticated", "exp": int(time.time()) + 3600}


def raw_token(header: Any, claims: Any = CLAIMS, secret: str = SECRET, digest: str = "sha256") -> str:
    """Signed whatever it says; a header given as text is taken as it is."""
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    signed = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
    signature = hmac.new(secret.encode(), signed.encode(), digest).digest()
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


HS256 = {"alg": "HS256", "typ": "JWT"}
REFUSED = {
    "nothing after Bearer": "Bearer",
    "only a space": "Bearer ",
    "another scheme": f"Basic {token(USER)}",
    "no scheme": token(USER),
    "Bearer twice": f"Bearer Bearer {token(USER)}",
    "two tokens": f"Bearer {token(USER)} {token(USER)}",
    "garbage": "Bearer garbage",
    "three garbage parts": "Bearer a.b.c",
    "64 KB": "Bearer " + "x" * 65_000,
    "non-ASCII": "Bearer \u00fc\u00e4\u00f6.x.y",
    "expired": f"Bearer {token(USER, exp=int(time.time()) - 60)}",
    "no exp": f"Bearer {token(USER, exp=None)}",
    "exp a text": "Bearer " + raw_token(HS256, CLAIMS | {"exp": "never"}),
    "exp without end": "Bearer " + raw_token(HS256, CLAIMS | {"exp": float("inf")}),
    "not yet": f"Bearer {token(USER, nbf=int(time.time()) + 3000)}",
    "issued in the future": f"Bearer {token(USER, iat=int(time.time()) + 3000)}",
    "another secret": f"Bearer {token(USER, secret='another secret, as long as the right one is')}",
    "empty secret": "Bearer " + raw_token(HS256, secret=""),
    "another audience": f"Bearer {token(USER, aud='https://api.example')}",
    "audiences without ours": f"Bearer {token(USER, aud=['a', 'b'])}",
    "no audience": f"Bearer {token(USER, aud=None)}",
    "subject a number": "Bearer " + raw_token(HS256, CLAIMS | {"sub": 5}),
    "subject empty": f"Bearer {token('')}",
    "no subject (an anonymous key)": f"Bearer {token(None, aud=None, role='anon')}",
    "alg none": "Bearer " + raw_token({"alg": "none"}).rpartition(".")[0] + ".",
    "alg None": "Bearer " + raw_token({"alg": "None"}).rpartition(".")[0] + ".",
    "alg HS512": "Bearer " + raw_token({"alg": "HS512"}, digest="sha512"),
    "alg ES256 without keys": "Bearer " + raw_token({"alg": "ES256", "kid": "k"}),
    "alg null": "Bearer " + raw_token({"alg": None}),
    "alg a list": "Bearer " + raw_token({"alg": ["HS256"]}),
    "alg an object": "Bearer " + raw_token({"alg": {"a": 1}}),
    "no alg": "Bearer " + raw_token({"typ": "JWT"}),
    "kid a number": "Bearer " + raw_token(HS256 | {"kid": 5}),
    "kid a list": "Bearer " + raw_token({"alg": "ES256", "kid": ["k"]}),
    "unknown crit": "Bearer " + raw_token(HS256 | {"crit": ["exp"], "exp": 1}),
    "header a list": "Bearer " + raw_token("[]"),
    "header not JSON": "Bearer " + raw_token("{"),
    "header nested 2500 deep": "Bearer " + raw_token("[" * 2500 + "]" * 2500),
    "header of 4 301 digits": "Bearer " + raw_token('{"alg": ' + "9" * 4301 + "}"),
    "claims a list": "Bearer " + raw_token(HS256, []),
    "claims nested 1500 deep": "Bearer " + raw_token(HS256, '{"a":' * 1500 + "1" + "}" * 1500),
}


@pytest.mark.parametrize("header", REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_not_to_be_believed_is_refused_and_nothing_changes(
    nobody: Client, postgres: asyncpg.Pool, header: str
) -> None:
    """B17, B18: 401, always in the same shape."""
    before = await postgres.fetchval("SELECT count(*) FROM generations")
    for answer in (
        await nobody.post("/v1/generations", {"Authorization": header}, json=IMAGE),
        await nobody.get("/v1/credits", {"Authorization": header}),
    ):
        assert answer.status == 401, answer.text
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert set(answer.json) == {"type", "title", "status", "detail", "code"}
        assert answer.json["code"] == "unauthenticated"
    answer = await nobody.post("/api/images/generate", {"Authorization": header}, json={"prompt": "x"})
    assert answer.status == 401
    assert isinstance(answer.json["error"], str)
    assert await postgres.fetchval("SELECT count(*) FROM generations") == before


@pytest.mark.parametrize(
    "path",
    ["/v1/generations", "/v1/credits", "/v1/models", f"/v1/generations/{NOBODYS}", f"/v1/generations/{NOBODYS}/events"],
)
async def test_nobody_may_look_at_anything(nobody: Client, path: str) -> None:
    answer = await nobody.get(path)
    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")


async def test_two_authorization_headers_are_one_too_many(nobody: Client) -> None:
    """A proxy may have looked at the other one."""
    headers = CIMultiDict([("Authorization", f"Bearer {token(uuid4())}"), ("Authorization", f"Bearer {token(USER)}")])
    assert (await nobody.get("/v1/models", headers)).status == 401


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer {token(USER)}",
        f"bearer {token(USER)}",
        f"Bearer   {token(USER)}",
        f"Bearer {token(USER, aud=['other', 'authenticated'])}",
    ],
)
async def test_tokens_of_the_issuer_are_believed(nobody: Client, header: str) -> None:
    assert (await nobody.get("/v1/models", {"Authorization": header})).status == 200


async def test_clocks_may_differ_a_little(client_of: MakeClient) -> None:
    now = int(time.time())
    assert (await client_of(bearer=token(USER, exp=now - 3, nbf=now + 3)).get("/v1/models")).status == 200


async def test_an_ordinary_token_speaks_for_its_own_user_only(client_of: MakeClient, postgres: asyncpg.Pool) -> None:
    """B20, B21: somebody else's id in a body is 404, whatever stands there."""
    client = client_of()
    for other in (str(uuid4()), "not an id", "", str(client.user_id)[:-1]):
        answer = await client.post("/api/images/generate", json={"prompt": "x", "userId": other})
        assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 0
    own = await client.post("/api/images/generate", json={"prompt": "x", "userId": str(client.user_id)})
    assert own.status == 200


@pytest.mark.parametrize(
    "key",
    [token(uuid4(), role="service_role"), token(None, role="service_role", aud=None, iss="supabase")],
    ids=["a service's user", "the service key as Supabase issues it: without aud and sub"],
)
async def test_a_service_may_act_for_another_user(client_of: MakeClient, postgres: asyncpg.Pool, key: str) -> None:
    user = uuid4()
    answer = await client_of(bearer=key).post("/api/images/generate", json={"prompt": "x", "userId": str(user)})
    assert answer.status == 200
    owner = await postgres.fetchval("SELECT user_id FROM generations WHERE id = $1", UUID(answer.json["promptId"]))
    assert owner == user


async def test_a_token_that_was_believed_is_not_believed_for_longer_than_it_lives(
    client_of: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.identity.LEEWAY_SECONDS", 0)
    client = client_of(bearer=token(USER, exp=int(time.time()) + 2))
    assert (await client.get("/v1/generations")).status == 200
    assert (await client.get("/v1/generations")).status == 200
    await asyncio.sleep(2.1)
    assert (await client.get("/v1/generations")).status == 401


async def test_a_service_key_alone_is_nobody(client_of: MakeClient) -> None:
    service = client_of(bearer=token(None, role="service_role", aud=None))
    assert (await service.create()).status == 401
    assert (await service.post("/api/images/generate", json={"prompt": "x"})).status == 401


async def test_a_role_is_not_taken_from_a_token_for_somebody_else(client_of: MakeClient) -> None:
    """A key signed with the same secret for another audience is none of ours."""
    service = client_of(bearer=token(None, role="service_role", aud="other"))
    answer = await service.post("/api/images/generate", json={"prompt": "x", "userId": str(uuid4())})
    assert answer.status == 401


async def test_every_route_with_an_id_is_404_for_others(
    service: Service, client_of: MakeClient, players: Players, postgres: asyncpg.Pool, storage: Storage
) -> None:
    """P26: the routes are read off the application, so that a new one is in here by itself. What a dialect shows is
    asked for by the conformance suite that each inherits."""
    owner, stranger = client_of(), client_of()
    made = await owner.accepted()
    await owner.ended(made["id"])
    batch = (await owner.post("/v1/batches", json={"items": [IMAGE]})).json
    webhook = (await owner.post("/v1/webhooks", json={"url": "https://example.com/"})).json
    delivery = (await owner.post(f"/v1/webhooks/{webhook['id']}/test")).json
    picture = await owner.post("/api/social/generate-image", json={"prompt": "x", "style": "minimal", "count": 1})
    image = picture.json["data"]["images"][0]["id"]
    players.confirmations = {(owner.user_id, made["id"]): ConfirmedPayment(state="unpaid")}
    key = (await owner.post("/v1/api-keys", json={"name": "a program"})).json
    before = await postgres.fetchrow("SELECT * FROM generations WHERE id = $1", UUID(made["id"]))
    period = {"since": "2000-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}
    bodies = {
        "/v1/generations/{id}": {"visibility": "public"},
        "/v1/generations/{id}/links": {"lifetime_seconds": 60},
        "/v1/webhooks/{id}": {"state": "active"},
        "/v1/webhooks/{id}/redeliver": period,
    }
    owned = {
        "api-keys": key["id"],
        "batches": batch["id"],
        "generations": made["id"],
        "webhooks": webhook["id"],
        "payments": made["id"],
        "uploads": (await bring(owner, b"x")).json["id"],
        "social": image,
        "ai": image,
    }
    routes = [
        (method.upper(), path, owned[path.split("/")[2]])
        for path, operations in service.app.openapi()["paths"].items()
        for method in operations
        if path.startswith("/v1/")
        and "{" in path
        and path not in OWNED_ELSEWHERE
        and not path.startswith("/v1/operator/")  # nobody's own, and 403 for everybody else (test_operating.py)
    ]
    assert len(routes) >= 10

    async def ask(client: Client, method: str, path: str, own: str) -> Answer:
        place = path.replace("{id}", own).replace("{delivery}", delivery["id"])
        return await client.request(method, place, json=bodies.get(path))

    for method, path, own in routes:
        foreign = await ask(stranger, method, path, own)
        unknown = await ask(stranger, method, path, str(uuid4()))
        assert (foreign.status, foreign.text) == (404, unknown.text), path
    assert await postgres.fetchrow("SELECT * FROM generations WHERE id = $1", UUID(made["id"])) == before
    await postgres.execute("UPDATE deliveries SET state = 'parked' WHERE id = $1", UUID(delivery["id"]))
    for method, path, own in sorted(routes, key=lambda route: route[0] == "DELETE"):
        assert (await ask(owner, method, path, own)).status != 404, path


async def test_planted_an_owner_that_is_missing_in_a_where_turns_the_check_red(
    service: Service,
    client_of: MakeClient,
    players: Players,
    postgres: asyncpg.Pool,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wording = records._GET.text
    assert "user_id = :user_id" in wording, "plant the bug anew"
    anybody = wording.replace("user_id = :user_id", "CAST(:user_id AS uuid) IS NOT NULL")
    monkeypatch.setattr(records, "_GET", text(anybody))
    with pytest.raises(AssertionError):
        await test_every_route_with_an_id_is_404_for_others(service, client_of, players, postgres, storage)
