"""Tokens signed with an issuer's private key: its public keys come from one configured address (API2, B18)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from nats.aio.client import Client as NatsClient
from starlette.requests import Request

from gateway import identity
from gateway.identity import Caller, Identity, Keys, jwks_url
from gateway.refusals import Unauthenticated, Unavailable
from gateway.settings import Settings, TokenSettings

from .client import Client, token
from .conftest import serving
from .players import Players
from .test_identity import CLAIMS, raw_token

USER = uuid4()
PRIVATE = {
    "elliptic": ("ES256", ec.generate_private_key(ec.SECP256R1())),
    "rsa": ("RS256", rsa.generate_private_key(65537, 2048)),
    "edwards": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    "larger": ("ES384", ec.generate_private_key(ec.SECP384R1())),
    "next": ("ES256", ec.generate_private_key(ec.SECP256R1())),
}
JWK_OF: dict[str, Any] = {
    "ES256": ECAlgorithm.to_jwk,
    "ES384": ECAlgorithm.to_jwk,
    "RS256": RSAAlgorithm.to_jwk,
    "EdDSA": OKPAlgorithm.to_jwk,
}


def public(name: str) -> dict[str, Any]:
    algorithm, key = PRIVATE[name]
    return json.loads(JWK_OF[algorithm](key.public_key())) | {"kid": name}


class Issuer:
    """Serves a key set on loopback, and counts who asks for what."""

    def __init__(self) -> None:
        self.keys = [public(name) for name in ("elliptic", "rsa", "edwards", "larger")]
        self.asked: list[str] = []
        self.url = ""
        self.status = 200
        self.body: bytes | None = None
        self.pause_seconds = 0.0
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> None:
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.status != 200:
            return web.Response(status=self.status, headers={"Location": f"{self.url}/elsewhere"})
        body = self.body if self.body is not None else json.dumps({"keys": self.keys}).encode()
        answer = web.StreamResponse()
        await answer.prepare(request)
        for half in (body[: len(body) // 2], body[len(body) // 2 :]):
            await answer.write(half)
            await asyncio.sleep(self.pause_seconds)
        return answer

    def token(self, name: str = "elliptic", key_id: str | None = None, header: Any = None, **claims: Any) -> str:
        algorithm, key = PRIVATE[name]
        body = {
            "iss": f"{self.url}/auth/v1",
            "sub": str(USER),
            "aud": "authenticated",
            "exp": int(time.time()) + 60,
        } | claims
        return jwt.encode(body, key, algorithm, {"kid": key_id or name} | (header or {}))


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    await issuer.start()
    yield issuer
    await issuer.stop()


@pytest.fixture
async def known(issuer: Issuer) -> AsyncIterator[Identity]:
    """The gateway's identity, which believes this issuer."""
    settings = TokenSettings(supabase_url=issuer.url)
    keys = Keys(jwks_url(settings))
    yield Identity(settings, keys, local_mode=False)
    await keys.close()


async def ask(known: Identity, token: str) -> Caller:
    headers = [(b"authorization", f"Bearer {token}".encode())]
    return await known.required(Request({"type": "http", "headers": headers}))


@pytest.mark.parametrize("name", ["elliptic", "rsa", "edwards"])
async def test_tokens_of_the_configured_issuer_are_believed(issuer: Issuer, known: Identity, name: str) -> None:
    assert (await ask(known, issuer.token(name))).user_id == USER
    await ask(known, issuer.token(name))
    assert issuer.asked == ["/auth/v1/.well-known/jwks.json"]


async def test_the_first_requests_share_one_fetch_and_all_are_believed(issuer: Issuer, known: Identity) -> None:
    """Without the keys every token looks forged; a client that hears 401 logs its user out."""
    issuer.pause_seconds = 0.05
    callers = await asyncio.gather(*(ask(known, issuer.token("elliptic")) for _ in range(20)))
    assert {caller.user_id for caller in callers} == {USER}
    assert len(issuer.asked) == 1


async def test_a_key_set_may_come_in_pieces(issuer: Issuer, known: Identity) -> None:
    issuer.pause_seconds = 0.05
    assert (await ask(known, issuer.token())).user_id == USER


@pytest.mark.parametrize(
    ("name", "key_id", "header"),
    [
        ("elliptic", "rsa", {}),  # a key of another type
        ("rsa", "elliptic", {}),
        ("elliptic", "next", {}),  # unknown
        ("next", "elliptic", {}),  # another key under a known name
        ("larger", "larger", {}),  # an algorithm that is not ours
        ("elliptic", "../../x", {}),
        ("elliptic", "' OR 1=1 --", {}),
        ("elliptic", "k\0", {}),
        ("next", "made-up", {"jku": "URL/evil"}),
        ("next", "made-up", {"x5u": "URL/evil"}),
        ("next", "elliptic", {"jwk": public("next")}),
        ("elliptic", "elliptic", {"crit": ["b64"], "b64": True}),
    ],
)
async def test_what_the_issuer_did_not_sign_is_refused(
    issuer: Issuer, known: Identity, name: str, key_id: str, header: dict[str, Any]
) -> None:
    """B18: and no address in a token is ever asked."""
    header = {
        key: value.replace("URL", issuer.url) if isinstance(value, str) else value for key, value in header.items()
    }
    with pytest.raises(Unauthenticated):
        await ask(known, issuer.token(name, key_id, header))
    assert set(issuer.asked) <= {"/auth/v1/.well-known/jwks.json"}


@pytest.mark.parametrize("name", ["elliptic", "rsa"])
async def test_a_public_key_is_no_secret(issuer: Issuer, known: Identity, name: str) -> None:
    """B18: HS256, signed with what everybody can read."""
    pem = PRIVATE[name][1].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    claims = CLAIMS | {"iss": f"{issuer.url}/auth/v1"}
    for secret in (pem, pem.strip(), json.dumps(public(name)), public(name).get("n", "")):
        with pytest.raises(Unauthenticated):
            await ask(known, raw_token({"alg": "HS256", "kid": name}, claims, secret))


@pytest.mark.parametrize(
    "claims",
    [{"iss": "https://elsewhere.example/auth/v1"}, {"iss": None}, {"aud": "other"}, {"exp": 1}, {"aud": None}],
)
async def test_other_issuers_and_audiences_are_refused(issuer: Issuer, known: Identity, claims: dict[str, Any]) -> None:
    body = {"iss": f"{issuer.url}/auth/v1", "sub": str(USER), "aud": "authenticated", "exp": time.time() + 60} | claims
    token = jwt.encode(
        {name: value for name, value in body.items() if value is not None},
        PRIVATE["elliptic"][1],
        "ES256",
        {"kid": "elliptic"},
    )
    with pytest.raises(Unauthenticated):
        await ask(known, token)


async def test_a_new_key_is_fetched_but_unknown_ones_cause_one_fetch_in_30_s(
    issuer: Issuer, known: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(known, issuer.token())
    issuer.keys.append(public("next"))
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await ask(known, issuer.token("next"))
    assert len(issuer.asked) == 1
    monkeypatch.setattr(identity, "JWKS_PAUSE_SECONDS", 0.0)
    assert (await ask(known, issuer.token("next"))).user_id == USER
    assert len(issuer.asked) == 2
    monkeypatch.setattr(identity, "JWKS_PAUSE_SECONDS", 30.0)
    for number in range(20):
        with pytest.raises(Unauthenticated):
            await ask(known, issuer.token("next", f"made-up-{number}"))
    assert len(issuer.asked) == 2


async def test_a_key_that_the_issuer_withdrew_is_forgotten(
    issuer: Issuer, known: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(known, issuer.token())
    issuer.keys = [public("next")]
    monkeypatch.setattr(identity, "JWKS_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(identity, "JWKS_LIFETIME_SECONDS", 0.0)
    with pytest.raises(Unauthenticated):
        await ask(known, issuer.token())


@pytest.mark.parametrize("trouble", ["down", "500", "redirect", "garbage", "not a set", "empty set", "huge"])
async def test_known_keys_work_on_while_the_issuer_is_in_trouble(
    issuer: Issuer, known: Identity, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    await ask(known, issuer.token())
    monkeypatch.setattr(identity, "JWKS_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(identity, "JWKS_LIFETIME_SECONDS", 0.0)
    await into(trouble, issuer)
    for _ in range(2):
        assert (await ask(known, issuer.token())).user_id == USER
    assert "/elsewhere" not in issuer.asked


@pytest.mark.parametrize("trouble", ["down", "500", "redirect", "garbage", "not a set", "empty set", "huge"])
async def test_without_any_key_the_answer_is_503_until_the_issuer_is_back(
    issuer: Issuer, known: Identity, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Not 401: the token may well be good."""
    monkeypatch.setattr(identity, "JWKS_RETRY_SECONDS", 0.05)
    token, port = issuer.token(), int(issuer.url.rsplit(":", 1)[1])
    await into(trouble, issuer)
    for _ in range(3):
        with pytest.raises(Unavailable) as raised:
            await ask(known, token)
        assert raised.value.headers["Retry-After"]
    if trouble == "down":
        await issuer.start(port)
    issuer.status, issuer.body = 200, None
    await asyncio.sleep(0.1)
    assert (await ask(known, token)).user_id == USER


@pytest.mark.connected
async def test_a_gateway_that_is_told_its_issuer_believes_it(
    issuer: Issuer, settings: Settings, bus: NatsClient, players: Players, http: aiohttp.ClientSession
) -> None:
    async with serving(replace(settings, tokens=TokenSettings(supabase_url=issuer.url)), bus) as service:
        client = Client(http, service.url, USER, issuer.token())
        assert (await client.ended((await client.accepted())["id"]))["status"] == "completed"
        assert players.of(USER)
        assert (await Client(http, service.url, USER, issuer.token("next")).create()).status == 401
        assert (await Client(http, service.url, USER, token(USER)).create()).status == 401


async def into(trouble: str, issuer: Issuer) -> None:
    if trouble == "down":
        await issuer.stop()
    elif trouble in {"500", "redirect"}:
        issuer.status = 500 if trouble == "500" else 302
    else:
        bodies = {
            "garbage": b"<html>",
            "not a set": b'["x"]',
            "empty set": b'{"keys": []}',
            "huge": b'{"keys": ["' + b"x" * (1 << 19) + b'"]}',
        }
        issuer.body = bodies[trouble]
