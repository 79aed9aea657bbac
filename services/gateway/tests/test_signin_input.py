"""Whatever the description of the routes about people and keys allows, or does not: no 5xx, no garbage."""

import asyncio
from dataclasses import replace

import pytest
import schemathesis
from hypothesis import given
from pydantic import SecretStr
from schemathesis import Case, GenerationMode
from schemathesis.checks import negative_data_rejection, not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from gateway import users as users_module
from gateway.settings import Settings, TokenSettings, UserSettings

from .client import SECRET, token
from .conftest import MakeClient, Service
from .examples import bounded

pytestmark = pytest.mark.connected

POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
BOTH = (
    ("POST", "/auth/v1/signup"),
    ("POST", "/auth/v1/token"),
    ("PUT", "/auth/v1/admin/users/{id}"),
    ("POST", "/api/auth/register"),
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/refresh-token"),
    ("POST", "/v1/api-keys"),
    ("POST", "/v1/api-keys/{id}/rotate"),
)
LENIENT = (
    ("POST", "/auth/v1/logout"),
    ("GET", "/auth/v1/user"),
    ("GET", "/auth/v1/authorize"),
    ("GET", "/auth/v1/settings"),
    ("GET", "/auth/oauth/{provider}"),
    ("GET", "/api/profile"),
    ("GET", "/v1/api-keys"),
    ("DELETE", "/v1/api-keys/{id}"),
)
ROUTES = [(*route, mode) for route in BOTH for mode in (POSITIVE, NEGATIVE)] + [(*route, POSITIVE) for route in LENIENT]
MAX_EXAMPLES = 10
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    tokens = TokenSettings(
        supabase_jwt_secret=SecretStr(SECRET),
        jwt_secret=SecretStr("reelmate's own secret, long enough"),
        supabase_url="https://project.supabase.example",
    )
    return replace(settings, users=UserSettings(local_users=True), tokens=tokens)


@pytest.mark.parametrize(("method", "path", "mode"), ROUTES, ids=str)
async def test_what_the_description_allows_and_what_it_does_not(
    service: Service,
    client_of: MakeClient,
    method: str,
    path: str,
    mode: GenerationMode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(users_module, "SIGN_INS_OF_ADDRESS", 100_000)
    schema = schemathesis.openapi.from_dict(service.app.openapi())
    bearer = (
        token(None, role="service_role", aud=None) if path.startswith("/auth/v1/admin") else token(client_of().user_id)
    )

    @bounded(MAX_EXAMPLES)
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        headers = {"Authorization": f"Bearer {bearer}"}
        response = case.call(base_url=service.url, headers=headers, timeout=30, allow_redirects=False)
        case.validate_response(response, checks=CHECKS + ([negative_data_rejection] if mode is NEGATIVE else []))

    await asyncio.to_thread(ask)
