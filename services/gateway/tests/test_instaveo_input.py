"""Whatever the description of the instaveo routes allows, or does not: no 5xx, no garbage; and bad tokens (B17-B21)."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import jwt
import pytest
import schemathesis
from hypothesis import given
from schemathesis import Case, GenerationMode
from schemathesis.checks import negative_data_rejection, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.settings import Settings

from .client import SECRET, Client, token
from .conformance import JSON
from .conftest import MakeClient, Service
from .examples import bounded
from .players import Players
from .test_instaveo import completed, with_instaveo

pytestmark = pytest.mark.connected

POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
VIDEO, USER = "/videos/{video_id}", "/users/{user_id}"
ROUTES = [
    ("GET", "/videos/feed", POSITIVE),
    ("GET", "/videos/feed", NEGATIVE),
    ("POST", "/videos/create", POSITIVE),
    ("POST", "/videos/create", NEGATIVE),
    ("GET", VIDEO, POSITIVE),
    ("POST", f"{VIDEO}/sync-status", POSITIVE),
    *(("POST", f"{VIDEO}/{action}", POSITIVE) for action in ("recreate", "like", "dislike", "view", "publish")),
    *(("GET", f"{VIDEO}/{action}", POSITIVE) for action in ("download", "share")),
    ("GET", "/users/top", POSITIVE),
    ("GET", "/users/top", NEGATIVE),
    ("GET", USER, POSITIVE),
    ("PATCH", USER, POSITIVE),
    ("GET", f"{USER}/videos", POSITIVE),
    ("GET", f"{USER}/liked", POSITIVE),
]
MAX_EXAMPLES = 5
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return with_instaveo(settings, video_creation_cooldown_seconds=0, video_queue_maxsize=0)


def test_every_route_is_among_them(service: Service) -> None:
    described = service.app.openapi()["paths"]
    ours = {
        (method.upper(), path)
        for path, item in described.items()
        for method, operation in item.items()
        if operation.get("tags") == ["instaveo"]
    }
    assert ours == {(method, path) for method, path, _ in ROUTES}


@pytest.mark.parametrize(("method", "path", "mode"), ROUTES, ids=str)
async def test_what_the_description_allows_and_what_it_does_not(
    service: Service, client_of: MakeClient, method: str, path: str, mode: GenerationMode
) -> None:
    client = client_of()
    known = {"video_id": (await completed(client))["id"], "user_id": str(client.user_id)}
    schema = schemathesis.openapi.from_dict(service.app.openapi())
    headers = {"Authorization": f"Bearer {token(client.user_id)}"}
    # What a GET has too much of, nobody has to refuse.
    is_refused = mode is NEGATIVE and method != "GET"

    @bounded(MAX_EXAMPLES)
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        for parameters in ({}, known):  # an id that names nothing, and one that does
            case.path_parameters = {**(case.path_parameters or {}), **parameters}
            response = case.call(base_url=service.url, headers=headers, timeout=30)
            case.validate_response(response, checks=CHECKS + ([negative_data_rejection] if is_refused else []))

    await asyncio.to_thread(ask)


def forged(**changed: Any) -> str:
    claims = {"aud": "authenticated", "sub": str(uuid4()), "exp": int(time.time()) + 3600} | changed
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, SECRET)


BEARERS = [
    "garbage",
    "a.b.c",
    "Bearer x",
    "x" * 60_000,
    forged(exp=int(time.time()) - 3600),
    forged(exp=None),
    forged(aud="somebody else"),
    forged(nbf=int(time.time()) + 3600),
    jwt.encode({"sub": str(uuid4()), "aud": "authenticated"}, "", algorithm="none"),
    token(uuid4(), secret="somebody else's secret, which is long enough"),
]


@pytest.mark.parametrize("bearer", BEARERS, ids=lambda bearer: bearer[:20])
async def test_a_token_that_is_not_to_be_believed_is_a_401_of_one_shape_everywhere(
    client_of: MakeClient, bearer: str
) -> None:
    """B17 and B18; on the routes that need no token as well."""
    video = (await completed(client_of()))["id"]
    hasty = client_of(uuid4(), bearer)
    for method, path in [("GET", "/videos/feed"), ("GET", f"/videos/{video}"), ("POST", f"/videos/{video}/like")]:
        answer = await hasty.request(method, path, JSON)
        assert answer.status == 401
        assert {*answer.json} == {"message", "statusCode", "error", "detail", "code"}


async def test_two_tokens_are_none(client: Client) -> None:
    other = token(uuid4())
    answer = await client.get("/videos/feed", {"Authorization": f"Bearer {other}"})
    assert answer.status == 401


async def test_what_is_not_the_clients_to_say_is_ignored(client: Client, players: Players) -> None:
    """B21: neither whose it is, nor what it costs, nor how it stands."""
    players.scripts[client.user_id] = players.hold
    body = {"prompt": "x", "user_id": str(uuid4()), "status": "completed", "likes": 9, "is_admin": True, "price": 0}
    answer = await client.post("/videos/create", json=body)
    assert (answer.status, answer.json["userId"]) == (201, str(client.user_id))
    assert (answer.json["status"], answer.json["likes"]) == ("pending", 0)


@pytest.mark.parametrize("path", ["/videos/..%2ffeed", "/videos/%00", "/videos//", "/videos/feed.", "/videos"])
async def test_a_path_that_leads_nowhere_is_404_in_the_seeds_shape(client: Client, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status, answer.json["statusCode"]) == (404, 404)
    assert isinstance(answer.json["message"], str)
