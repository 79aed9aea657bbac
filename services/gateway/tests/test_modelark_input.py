"""Whatever the description of the modelark routes and of the tables allows, or does not: no 5xx, no garbage."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import schemathesis
from hypothesis import given
from nats.aio.client import Client as NatsClient
from schemathesis import Case, GenerationMode
from schemathesis.checks import negative_data_rejection, not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from darkroom.migration import service_urls
from darkroom.stack import SERVICES
from gateway.settings import Settings
from tests.tables import Tables

from .client import token
from .conftest import MakeClient, Service, migrated, settings_of
from .examples import bounded
from .takers import Storage, taking

pytestmark = pytest.mark.connected

POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
ROUTES = [
    ("POST", "/api/images/generate", POSITIVE),
    ("POST", "/api/images/generate", NEGATIVE),
    ("POST", "/api/images/test", POSITIVE),
    ("POST", "/api/images/test", NEGATIVE),
    ("GET", "/api/images/models", POSITIVE),
    ("GET", "/api/images/storage/{fileName}", POSITIVE),
    ("DELETE", "/api/images/storage/{fileName}", POSITIVE),
    ("POST", "/api/videos/generate", POSITIVE),
    ("POST", "/api/videos/generate", NEGATIVE),
    ("POST", "/api/videos/test", POSITIVE),
    ("POST", "/api/videos/test", NEGATIVE),
    ("GET", "/rest/v1/{table}", POSITIVE),
    ("DELETE", "/rest/v1/{table}", POSITIVE),
]
MAX_EXAMPLES = 10
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
async def settings(nats_server: Any, tables: Tables) -> Settings:
    url = service_urls(tables.admin_url, dict.fromkeys(SERVICES, "secret"))["gateway"]
    return settings_of(nats_server.nats_url, await migrated(url))


@pytest.fixture(scope="module")
async def storage(bus: NatsClient) -> AsyncIterator[Storage]:
    async with taking(bus) as storage:
        yield storage


def test_every_route_is_among_them(service: Service) -> None:
    ours = {
        (method.upper(), path)
        for path, item in service.app.openapi()["paths"].items()
        for method, operation in item.items()
        if operation.get("tags") in (["modelark"], ["supabase"])
    }
    assert ours == {(method, path) for method, path, _ in ROUTES}


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize(("method", "path", "mode"), ROUTES, ids=str)
async def test_what_the_description_allows_and_what_it_does_not(
    service: Service, client_of: MakeClient, method: str, path: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(service.app.openapi())
    headers = {"Authorization": f"Bearer {token(client_of().user_id)}"}
    # In a form everything is text, so that what is no text there becomes one.
    is_checked = mode is NEGATIVE and path != "/api/videos/generate"

    @bounded(MAX_EXAMPLES)
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        response = case.call(base_url=service.url, headers=headers, timeout=30)
        case.validate_response(response, checks=CHECKS + ([negative_data_rejection] if is_checked else []))

    await asyncio.to_thread(ask)
