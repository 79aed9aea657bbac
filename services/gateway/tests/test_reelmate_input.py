"""Whatever the description of the reelmate routes allows, and what it does not: no 5xx, and no garbage is taken."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import given
from nats.aio.client import Client as NatsClient
from schemathesis import Case, GenerationMode
from schemathesis.checks import negative_data_rejection, not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from gateway.settings import Settings

from .client import token
from .conftest import MakeClient, Service, migrated, settings_of
from .examples import bounded
from .players import Players
from .reelmate import keeping_media, offer

pytestmark = pytest.mark.connected

DOCUMENT = json.loads((Path(__file__).parents[3] / "docs/openapi.json").read_text())
ROUTES = [
    (method.upper(), path)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if "reelmate" in operation["tags"] and "/previews/" not in path
]
MAX_EXAMPLES = 4
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
async def settings(nats_server: Any, make_database: Callable[[str], str], players: Players) -> Settings:
    database_url = await migrated(make_database("gateway"))
    await offer(database_url, players)
    return settings_of(nats_server.nats_url, database_url)


@pytest.fixture(scope="module", autouse=True)
async def media(bus: NatsClient) -> AsyncIterator[None]:
    async with keeping_media(bus):
        yield


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda value: str(value).replace("/", "."))
async def test_what_the_description_allows_and_what_it_does_not(
    service: Service, client_of: MakeClient, method: str, path: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(service.app.openapi())
    headers = {"Authorization": f"Bearer {token(client_of().user_id)}"}
    # What a query or a body says beyond what is known here is ignored; of bodies everything else has to be right. In a
    # form everything is text, so that an object in a field of text is not wrong.
    body = DOCUMENT["paths"][path][method.lower()].get("requestBody", {}).get("content", {})
    is_refused = mode is GenerationMode.NEGATIVE and method != "GET" and "multipart/form-data" not in body
    checks = CHECKS + ([negative_data_rejection] if is_refused else [])

    @bounded(MAX_EXAMPLES)
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        response = case.call(base_url=service.url, headers=headers, timeout=30, allow_redirects=False)
        case.validate_response(response, checks=checks)

    await asyncio.to_thread(ask)
