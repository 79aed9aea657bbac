"""Whatever the description of the jaaz routes allows, and what it does not: no 5xx, and no garbage is taken."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import schemathesis
from hypothesis import given
from nats.aio.client import Client as NatsClient
from schemathesis import Case, GenerationMode
from schemathesis.checks import negative_data_rejection, not_a_server_error

from .client import token
from .conftest import Service
from .examples import bounded
from .jaaz import begun, keeping_files, keeping_keys
from .players import Players

pytestmark = pytest.mark.connected

DOCUMENT = json.loads((Path(__file__).parents[3] / "docs/openapi.json").read_text())
ROUTES = [
    (method.upper(), path)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if "jaaz" in operation["tags"]
]
BODYLESS = {"/api/v1/auth/device/code", "/api/device/auth"}
"""Whatever comes is a good request: there is nothing that it could have wrong."""
CASES = [
    (method, path, mode)
    for method, path in ROUTES
    for mode in GenerationMode
    if not (path in BODYLESS and mode is GenerationMode.NEGATIVE)
]
MAX_EXAMPLES = 4


@pytest.fixture(scope="module")
async def user(bus: NatsClient, players: Players) -> AsyncIterator[UUID]:
    """For whom everybody else answers."""
    user_id = uuid4()
    players.payments[user_id] = begun(1000)
    async with keeping_keys(bus), keeping_files(bus):
        yield user_id


@pytest.mark.parametrize(
    ("method", "path", "mode"), CASES, ids=lambda value: getattr(value, "value", str(value)).replace("/", ".")
)
async def test_what_the_description_allows_and_what_it_does_not(
    service: Service, user: UUID, method: str, path: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(service.app.openapi())
    headers = {"Authorization": f"Bearer {token(user)}"}
    # What a query says beyond what is known here is ignored.
    is_refused = mode is GenerationMode.NEGATIVE and method != "GET"
    checks = [not_a_server_error] + ([negative_data_rejection] if is_refused else [])
    operation = schema[path][method]
    if path == "/api/device/poll":
        checks = [not_a_server_error]  # always 200, as its client wants it

    @bounded(MAX_EXAMPLES)
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        response = case.call(base_url=service.url, headers=headers, timeout=30, allow_redirects=False)
        case.validate_response(response, checks=checks)

    await asyncio.to_thread(ask)
