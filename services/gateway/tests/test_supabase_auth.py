"""The part of GoTrue that supabase-js needs: its calls, its claims, its words for what is wrong."""

import asyncio
import statistics
import time
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import jwt
import pytest

from gateway import users as users_module
from gateway.settings import Settings, UserSettings

from .client import SECRET, Answer, Client, token
from .conftest import PUBLIC_URL, MakeClient, Service

pytestmark = pytest.mark.connected
PASSWORD = "correct horse battery staple"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return replace(settings, users=UserSettings(local_users=True))


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tests come from one address."""
    monkeypatch.setattr(users_module, "SIGN_INS_OF_ADDRESS", 100_000)


def address() -> str:
    return f"{uuid4()}@example.com"


async def sign_up(nobody: Client, email: str, **body: Any) -> Answer:
    return await nobody.post("/auth/v1/signup", json={"email": email, "password": PASSWORD} | body)


async def sign_in(nobody: Client, email: str, password: str = PASSWORD) -> Answer:
    return await nobody.post("/auth/v1/token?grant_type=password", json={"email": email, "password": password})


async def refresh(nobody: Client, refresh_token: str) -> Answer:
    return await nobody.post("/auth/v1/token?grant_type=refresh_token", json={"refresh_token": refresh_token})


def assert_refused(answer: Answer, status: int, word: str) -> None:
    assert answer.status == status, answer.text
    body = answer.json
    assert (body["code"], body["error_code"]) == (status, word)
    assert all(isinstance(body[key], str) and body[key] for key in ("msg", "message", "error", "detail"))


async def test_signing_up_gives_a_session_with_supabases_claims(nobody: Client) -> None:
    email = address()
    made = await sign_up(nobody, email.upper(), data={"full_name": "Ada"})
    assert made.status == 200, made.text
    session = made.json
    assert (session["token_type"], session["expires_in"]) == ("bearer", 3600)
    assert abs(session["expires_at"] - time.time() - 3600) < 60
    claims = jwt.decode(session["access_token"], SECRET, ["HS256"], audience="authenticated")
    assert claims["iss"] == f"{PUBLIC_URL}/auth/v1"
    assert (claims["sub"], claims["email"], claims["role"]) == (session["user"]["id"], email, "authenticated")
    assert claims["app_metadata"] == {"provider": "email", "providers": ["email"]}
    assert claims["user_metadata"]["full_name"] == "Ada"
    assert (claims["aal"], claims["amr"][0]["method"], claims["is_anonymous"]) == ("aal1", "password", False)
    assert UUID(claims["session_id"])
    assert "email_verified" not in claims, "nobody has verified it"
    assert "kid" not in jwt.get_unverified_header(session["access_token"])
    user = session["user"]
    assert (user["aud"], user["role"], user["email"]) == ("authenticated", "authenticated", email)
    assert user["email_confirmed_at"]
    assert user["identities"][0]["provider"] == "email"


async def test_the_token_works_in_every_dialect(nobody: Client, client_of: MakeClient) -> None:
    session = (await sign_up(nobody, address())).json
    client = client_of(UUID(session["user"]["id"]), session["access_token"])
    made = await client.accepted()
    assert (await client.ended(made["id"]))["status"] == "completed"
    asked = await client.post("/api/images/generate", json={"prompt": "x", "userId": session["user"]["id"]})
    assert asked.status == 200


async def test_signing_in_looks_up_refreshes_and_signs_out(nobody: Client, client_of: MakeClient) -> None:
    email = address()
    user_id = (await sign_up(nobody, email)).json["user"]["id"]
    session = (await sign_in(nobody, email)).json
    client = client_of(bearer=session["access_token"])
    shown = await client.get("/auth/v1/user")
    assert (shown.status, shown.json["id"], shown.json["email"]) == (200, user_id, email)
    refreshed = await refresh(nobody, session["refresh_token"])
    assert refreshed.status == 200
    assert refreshed.json["user"]["id"] == user_id
    assert refreshed.json["refresh_token"] != session["refresh_token"]
    assert (await client.post("/auth/v1/logout?scope=global", JSON)).status == 204
    assert_refused(await refresh(nobody, refreshed.json["refresh_token"]), 400, "refresh_token_not_found")
    assert_refused(await client.get("/auth/v1/user"), 403, "user_not_found")


async def test_signing_out_ends_this_session_or_the_others(nobody: Client, client_of: MakeClient) -> None:
    email = address()
    sessions = [(await sign_up(nobody, email)).json, *[(await sign_in(nobody, email)).json for _ in range(2)]]
    first = client_of(bearer=sessions[0]["access_token"])
    assert (await first.post("/auth/v1/logout?scope=others")).status == 204
    for session in sessions[1:]:
        assert_refused(await refresh(nobody, session["refresh_token"]), 400, "refresh_token_not_found")
    kept = (await refresh(nobody, sessions[0]["refresh_token"])).json
    assert (await first.post("/auth/v1/logout?scope=local")).status == 204
    assert_refused(await refresh(nobody, kept["refresh_token"]), 400, "refresh_token_not_found")


async def test_a_stolen_refresh_token_signs_everybody_of_the_session_out(nobody: Client) -> None:
    session = (await sign_up(nobody, address())).json
    second = (await refresh(nobody, session["refresh_token"])).json
    third = (await refresh(nobody, second["refresh_token"])).json
    for spent in (session, second, third):
        assert_refused(await refresh(nobody, spent["refresh_token"]), 400, "refresh_token_not_found")


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("", ""),
        ("nobody@example.com", PASSWORD),
        ("nobody@example.com\0", PASSWORD),
        ("' OR 1=1 --@example.com", PASSWORD),
        ("\ud800@example.com", "\ud800"),
        ("x" * 10_000, "x" * 10_000),
    ],
)
async def test_who_is_not_known_is_wrong_like_everybody_else(nobody: Client, email: str, password: str) -> None:
    assert_refused(await sign_in(nobody, email, password), 400, "invalid_credentials")


async def test_a_wrong_password_is_wrong_and_an_unknown_address_takes_as_long(
    nobody: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the answer nor its time tells whether the address is known."""
    monkeypatch.setattr(users_module, "SIGN_INS_OF_EMAIL", 100_000)
    known, unknown = address(), address()
    await sign_up(nobody, known)
    answers, seconds = {}, {}
    for email in (known, unknown):
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            answers[email] = await sign_in(nobody, email, "wrong")
            taken.append(time.perf_counter() - began)
        seconds[email] = statistics.median(taken)
    assert answers[known].text == answers[unknown].text
    assert_refused(answers[known], 400, "invalid_credentials")
    assert 0.2 < seconds[known] / seconds[unknown] < 5, "without a hash it would be a twentieth"


async def test_a_password_is_kept_as_a_slow_hash(nobody: Client, postgres: asyncpg.Pool) -> None:
    email = address()
    await sign_up(nobody, email)
    row = await postgres.fetchrow("SELECT * FROM users WHERE email = $1", email)
    assert row["password_hash"].startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert PASSWORD not in str(row)


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"email": "", "password": PASSWORD}, 400, "validation_failed"),
        ({"email": "a@b", "password": PASSWORD}, 400, "validation_failed"),
        ({"email": "a b@example.com", "password": PASSWORD}, 400, "validation_failed"),
        ({"email": "a@example.com\n", "password": "short"}, 422, "weak_password"),
        ({"email": "a@example.com", "password": "x" * 300}, 422, "weak_password"),
        ({"email": "\u0430@example.com", "password": PASSWORD}, 400, "validation_failed"),
        ({"email": ["a@example.com"], "password": PASSWORD}, 400, "validation_failed"),
        ({"password": PASSWORD}, 400, "validation_failed"),
        ({"email": "z@example.com", "password": PASSWORD, "data": {"x": "y" * 20_000}}, 400, "validation_failed"),
        ({"email": "z@example.com", "password": PASSWORD, "data": {"x": "\0"}}, 400, "validation_failed"),
        ({"email": "z@example.com", "password": PASSWORD, "data": {"x": "\ud800"}}, 400, "validation_failed"),
        ({"email": "z@example.com", "password": PASSWORD, "data": {"x": float("inf")}}, 400, "validation_failed"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_bad_sign_up_is_refused_and_makes_nobody(
    nobody: Client, postgres: asyncpg.Pool, body: dict[str, Any], status: int, word: str
) -> None:
    before = await postgres.fetchval("SELECT count(*) FROM users")
    assert_refused(await nobody.post("/auth/v1/signup", json=body), status, word)
    assert await postgres.fetchval("SELECT count(*) FROM users") == before


async def test_an_address_is_taken_once_even_by_two_at_a_time(nobody: Client, postgres: asyncpg.Pool) -> None:
    email = address()
    answers = await asyncio.gather(*(sign_up(nobody, email) for _ in range(3)))
    assert sorted(answer.status for answer in answers) == [200, 422, 422]
    assert_refused(await sign_up(nobody, email.upper()), 422, "user_already_exists")
    assert await postgres.fetchval("SELECT count(*) FROM users WHERE email = $1", email) == 1


async def test_guessing_is_slowed_down_by_the_address_that_is_guessed_at(
    nobody: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users_module, "SIGN_INS_OF_EMAIL", 2)
    email = address()
    answers = [await sign_in(nobody, email, "wrong") for _ in range(3)]
    assert {answer.status for answer in answers[:-1]} == {400}
    assert_refused(answers[-1], 429, "over_request_rate_limit")
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert (await sign_up(nobody, address())).status == 200, "nobody else notices"


async def test_guessing_is_slowed_down_by_where_it_comes_from(nobody: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users_module, "SIGN_INS_OF_ADDRESS", 1)
    monkeypatch.setattr(users_module, "_FROM", f"test {uuid4()} from")
    spoofed = {"X-Forwarded-For": "203.0.113.7"}
    assert (await sign_in(nobody, address())).status == 400
    answer = await nobody.post(
        "/auth/v1/token?grant_type=password", spoofed, json={"email": address(), "password": "wrong"}
    )
    assert_refused(answer, 429, "over_request_rate_limit")


@pytest.mark.parametrize("grant", ["", "id_token", "pkce", "password&grant_type=nonsense"])
async def test_other_grants_are_not_offered(nobody: Client, grant: str) -> None:
    answer = await nobody.post(f"/auth/v1/token?grant_type={grant}", json={"email": "a", "password": "b"})
    assert_refused(answer, 400, "validation_failed")


async def test_without_a_token_nobody_is_anybody(nobody: Client) -> None:
    assert_refused(await nobody.get("/auth/v1/user"), 401, "no_authorization")
    assert_refused(await nobody.post("/auth/v1/logout"), 401, "no_authorization")
    assert_refused(await nobody.get("/auth/v1/nothing"), 404, "user_not_found")


async def test_somebody_of_another_issuer_has_no_user_here(client: Client) -> None:
    assert_refused(await client.get("/auth/v1/user"), 403, "user_not_found")


async def test_only_a_service_says_whose_an_address_is(
    nobody: Client, client_of: MakeClient, client: Client, postgres: asyncpg.Pool
) -> None:
    session = (await sign_up(nobody, address())).json
    place = f"/auth/v1/admin/users/{session['user']['id']}"
    for who in (nobody, client, client_of(bearer=session["access_token"])):
        assert_refused(await who.request("PUT", place, json={"email_confirm": True}), 403, "not_admin")
    service = client_of(bearer=token(None, role="service_role", aud=None))
    assert_refused(
        await service.request("PUT", f"/auth/v1/admin/users/{uuid4()}", json={"email_confirm": True}),
        404,
        "user_not_found",
    )
    assert (await service.request("PUT", place, json={"email_confirm": True})).status == 200
    claims = jwt.decode(
        (await sign_in(nobody, session["user"]["email"])).json["access_token"], options={"verify_signature": False}
    )
    assert claims["email_verified"] is True


async def test_settings_and_keys_are_public(nobody: Client) -> None:
    shown = (await nobody.get("/auth/v1/settings")).json
    assert (shown["external"]["email"], shown["disable_signup"], shown["mailer_autoconfirm"]) == (True, False, True)
    assert (await nobody.get("/auth/v1/.well-known/jwks.json")).json == {"keys": []}
    assert (await nobody.get("/auth/v1/health")).status == 200


async def test_there_is_no_other_provider_without_a_supabase(nobody: Client) -> None:
    answer = await nobody.get("/auth/v1/authorize?provider=google")
    assert_refused(answer, 501, "not_configured")
    assert "provider is not enabled" in answer.json["msg"]


async def test_browsers_may_call_it(nobody: Client, service: Service) -> None:
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "apikey,authorization,content-type,x-client-info,x-supabase-api-version",
    }
    assert (await nobody.request("OPTIONS", "/auth/v1/token", asked)).status == 200
