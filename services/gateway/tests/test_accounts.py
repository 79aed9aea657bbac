"""Signing in as reelmate and social do: one router with the union of their keys."""

import asyncio
import time
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import jwt
import pytest
from pydantic import SecretStr

from gateway import users as users_module
from gateway.settings import AddressSettings, Settings, TokenSettings, UserSettings

from .client import SECRET, Answer, Client, token
from .conftest import MakeClient

pytestmark = pytest.mark.connected
PASSWORD = "correct horse battery staple"
OWN_SECRET = "reelmate's own secret, long enough"
SUPABASE = "https://project.supabase.example"


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return replace(
        settings,
        users=UserSettings(local_users=True),
        tokens=TokenSettings(
            supabase_jwt_secret=SecretStr(SECRET), jwt_secret=SecretStr(OWN_SECRET), supabase_url=SUPABASE
        ),
        addresses=AddressSettings(
            public_url=settings.addresses.public_url, cors_origins="https://app.example, http://localhost:3000"
        ),
    )


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tests come from one address."""
    monkeypatch.setattr(users_module, "SIGN_INS_OF_ADDRESS", 100_000)


async def register(nobody: Client, **fields: Any) -> Answer:
    body = {"email": f"{uuid4()}@example.com", "password": PASSWORD} | fields
    return await nobody.post("/api/auth/register", json=body)


async def refresh(nobody: Client, refresh_token: Any) -> Answer:
    return await nobody.post("/api/auth/refresh-token", json={"refreshToken": refresh_token})


def assert_refused(answer: Answer, status: int) -> None:
    assert answer.status == status, answer.text
    body = answer.json
    assert (body["success"], body["statusCode"]) == (False, status)
    assert all(isinstance(body[key], str) and body[key] for key in ("error", "message", "detail", "code"))


async def test_reelmate_registers_signs_in_and_looks_itself_up(nobody: Client, client_of: MakeClient) -> None:
    """`POST /auth/login` → `{token, user}`, `GET /profile`: the token lives JWT_EXPIRES_IN."""
    made = await register(nobody, name="Ada Lovelace")
    assert made.status == 201, made.text
    email = made.json["user"]["email"]
    signed_in = await nobody.post("/api/auth/login", json={"email": email, "password": PASSWORD})
    assert signed_in.status == 200
    claims = jwt.decode(signed_in.json["token"], OWN_SECRET, ["HS256"], audience="authenticated")
    assert (claims["iss"], claims["sub"]) == ("darkroom/reelmate", made.json["user"]["id"])
    assert claims["exp"] - claims["iat"] == 7 * 86_400
    profile = await client_of(bearer=signed_in.json["token"]).get("/api/profile")
    assert profile.json["user"] == profile.json["data"] == made.json["user"]
    assert (profile.json["user"]["name"], profile.json["user"]["email"]) == ("Ada Lovelace", email)


async def test_social_refreshes_and_replays_its_request(nobody: Client, client_of: MakeClient) -> None:
    """A 401 with a token, then `POST /auth/refresh-token` → `{success, tokens}`, then the same POST again."""
    made = (await register(nobody)).json
    assert made["success"] is True
    stale = {"sub": made["user"]["id"], "aud": "authenticated", "iss": "darkroom/social", "exp": int(time.time()) - 60}
    expired = client_of(bearer=jwt.encode(stale, OWN_SECRET, headers={"kid": "darkroom/social"}))
    assert (await expired.create()).status == 401
    answer = await refresh(nobody, made["tokens"]["refreshToken"])
    assert (answer.status, answer.json["success"]) == (200, True)
    assert set(answer.json["tokens"]) == {"accessToken", "refreshToken"}
    again = client_of(UUID(made["user"]["id"]), answer.json["tokens"]["accessToken"])
    assert (await again.ended((await again.accepted())["id"]))["status"] == "completed"


async def test_all_tokens_of_a_user_name_one_user_in_every_dialect(nobody: Client, client_of: MakeClient) -> None:
    made = (await register(nobody)).json
    gotrue = await nobody.post(
        "/auth/v1/token?grant_type=password", json={"email": made["user"]["email"], "password": PASSWORD}
    )
    bearers = [made["token"], made["tokens"]["accessToken"], gotrue.json["access_token"]]
    clients = [client_of(UUID(made["user"]["id"]), bearer) for bearer in bearers]
    generation = await clients[0].accepted()
    for client in clients:
        assert (await client.show(generation["id"]))["id"] == generation["id"]
        assert (await client.get("/api/images/models")).status == 200


@pytest.mark.parametrize("given", ["", "x", "\0", "\ud800", None, 5, ["x"], "x" * 1000])
async def test_a_refresh_token_that_is_none_is_refused(nobody: Client, given: Any) -> None:
    answer = await refresh(nobody, given)
    assert_refused(answer, 401 if given in ("", "x", "\0") else 422)


async def test_tokens_of_one_kind_are_none_of_another(nobody: Client, client_of: MakeClient) -> None:
    made = (await register(nobody)).json
    for wrong in (made["token"], made["tokens"]["accessToken"]):
        assert (await refresh(nobody, wrong)).status in {401, 422}
    assert (await client_of(bearer=made["tokens"]["refreshToken"]).get("/v1/models")).status == 401
    gotrue = await nobody.post(
        "/auth/v1/token?grant_type=refresh_token", json={"refresh_token": made["tokens"]["refreshToken"]}
    )
    assert gotrue.status == 400
    assert (await refresh(nobody, made["tokens"]["refreshToken"])).status == 200


async def test_a_wrong_password_is_401_and_changes_nothing(nobody: Client, postgres: asyncpg.Pool) -> None:
    made = (await register(nobody)).json
    before = await postgres.fetch("SELECT * FROM sessions ORDER BY id")
    for body in ({"email": made["user"]["email"], "password": "wrong"}, {"email": "", "password": ""}):
        assert_refused(await nobody.post("/api/auth/login", json=body), 401)
    assert await postgres.fetch("SELECT * FROM sessions ORDER BY id") == before


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"email": "nonsense"}, 422),
        ({"password": "short"}, 422),
        ({"password": None}, 422),
        ({"name": "x" * 300}, 422),
        ({"name": "\0"}, 422),
        ({"name": "\ud800"}, 422),
    ],
)
async def test_a_bad_registration_is_refused(nobody: Client, fields: dict[str, Any], status: int) -> None:
    assert_refused(await register(nobody, **fields), status)


async def test_an_address_is_registered_once(nobody: Client) -> None:
    email = f"{uuid4()}@example.com"
    answers = await asyncio.gather(*(register(nobody, email=email) for _ in range(2)))
    assert sorted(answer.status for answer in answers) == [201, 409]


async def test_the_profile_is_of_whoever_asks(nobody: Client, client: Client) -> None:
    """Somebody of another issuer has one too, without what only that issuer knows."""
    assert_refused(await nobody.get("/api/profile"), 401)
    shown = (await client.get("/api/profile")).json["user"]
    assert (shown["id"], shown["email"]) == (str(client.user_id), None)


async def test_a_verified_address_joins_who_was_somebody_elsewhere(
    nobody: Client, client_of: MakeClient, postgres: asyncpg.Pool
) -> None:
    """First at the hosted Supabase, then here: the pictures are there once a service has verified the address."""
    elsewhere, email = uuid4(), f"{uuid4()}@example.com"
    hosted = client_of(elsewhere, token(elsewhere, email=email, email_verified=True))
    generation = await hosted.accepted()
    made = (await register(nobody, email=email)).json
    assert made["user"]["id"] != str(elsewhere), "anybody could have registered this address"
    # As where addresses are confirmed first: nobody has signed in here yet.
    await postgres.execute("UPDATE users SET last_sign_in_at = NULL WHERE email = $1", email)
    service = client_of(bearer=token(None, role="service_role", aud=None))
    place = f"/auth/v1/admin/users/{made['user']['id']}"
    verified = await service.request("PUT", place, json={"email_confirm": True})
    assert verified.json["id"] == str(elsewhere)
    signed_in = (await nobody.post("/api/auth/login", json={"email": email, "password": PASSWORD})).json
    local = client_of(elsewhere, signed_in["token"])
    assert (await local.show(generation["id"]))["id"] == generation["id"]


async def test_and_the_other_way_round(nobody: Client, client_of: MakeClient) -> None:
    made = (await register(nobody)).json
    service = client_of(bearer=token(None, role="service_role", aud=None))
    place = f"/auth/v1/admin/users/{made['user']['id']}"
    assert (await service.request("PUT", place, json={"email_confirm": True})).status == 200
    hosted = client_of(bearer=token(uuid4(), email=made["user"]["email"], email_verified=True))
    assert (await hosted.get("/api/profile")).json["user"]["id"] == made["user"]["id"]
    unverified = client_of(bearer=token(uuid4(), email=made["user"]["email"]))
    assert (await unverified.get("/api/profile")).json["user"]["id"] != made["user"]["id"]


async def test_whoever_is_linked_may_name_themselves_as_their_token_does(nobody: Client, client_of: MakeClient) -> None:
    """A frontend knows the id in its token, and sends no other; another user's is still nobody's to name."""
    made = (await register(nobody)).json
    service = client_of(bearer=token(None, role="service_role", aud=None))
    place = f"/auth/v1/admin/users/{made['user']['id']}"
    assert (await service.request("PUT", place, json={"email_confirm": True})).status == 200
    subject, stranger = uuid4(), client_of()
    hosted = client_of(bearer=token(subject, email=made["user"]["email"], email_verified=True))
    for user_id, status in ((subject, 200), (made["user"]["id"], 200), (stranger.user_id, 404)):
        body = {"prompt": "x", "userId": str(user_id)}
        assert (await hosted.post("/api/images/generate", json=body)).status == status, user_id
    assert (await stranger.post("/api/images/generate", json={"prompt": "x", "userId": str(subject)})).status == 404
    assert (await hosted.get("/api/profile")).json["user"]["id"] == made["user"]["id"]
    own = await hosted.get(f"/users/{subject}")
    assert (own.status, own.json["id"]) == (200, made["user"]["id"])
    name = f"n{uuid4().hex[:12]}"
    assert (await hosted.request("PATCH", f"/users/{subject}", json={"username": name})).json["username"] == name
    for list_of in ("videos", "liked"):
        assert (await hosted.get(f"/users/{subject}/{list_of}")).json == []
    assert (await hosted.get(f"/users/{stranger.user_id}/liked")).status == 404
    assert (await stranger.get(f"/users/{subject}")).status == 404


# -- other providers ----------------------------------------------------------------------------------------------


async def test_the_redirect_helper_names_supabases_page(nobody: Client) -> None:
    answer = await nobody.get("/auth/oauth/google?redirect_to=https%3A%2F%2Fapp.example%2Fauth%3Fnext%3D%252Ffeed")
    assert answer.status == 200, answer.text
    assert answer.json == {
        "provider": "google",
        "url": f"{SUPABASE}/auth/v1/authorize?provider=google&redirect_to=https://app.example/auth?next%3D%252Ffeed",
    }
    sent = await nobody.get(
        "/auth/v1/authorize?provider=twitter&code_challenge=abc&apikey=x&code_challenge_method=s256"
    )
    assert sent.status == 302
    assert sent.headers["Location"] == (
        f"{SUPABASE}/auth/v1/authorize?provider=twitter&code_challenge=abc&code_challenge_method=s256"
    )


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "https://app.example.evil.example/",
        "https://app.example@evil.example/",
        "//evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "app.example",
        "http://app.example/",
        "https://app.example:444/",
        "http://[",
        "\0",
        "https://app.example/" + "x" * 3000,
    ],
)
async def test_nobody_is_sent_elsewhere(nobody: Client, target: str) -> None:
    for path in ("/auth/oauth/google", "/auth/v1/authorize"):
        answer = await nobody.request("GET", path, params={"provider": "google", "redirect_to": target})
        assert answer.status in {400, 422}, answer.text
        assert "Location" not in answer.headers


@pytest.mark.parametrize("provider", ["Google", "a/../b", "a%2Fb", "x" * 99, "g?x=1", "%00"])
async def test_a_provider_has_a_name(nobody: Client, provider: str) -> None:
    assert (await nobody.get(f"/auth/oauth/{provider}")).status in {404, 422}
