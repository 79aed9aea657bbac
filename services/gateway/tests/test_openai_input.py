"""Whatever the description of OpenAI's routes allows, and what it does not: no 5xx, and no garbage is taken."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import schemathesis
from hypothesis import given
from nats.aio.client import Client as NatsClient
from schemathesis import Case, GenerationMode
from schemathesis.checks import negative_data_rejection, not_a_server_error

from contracts.judging import Judgement, Moderate, Moderated
from contracts.questions import GENERATOR_MODERATE

from .client import token
from .conftest import Service
from .examples import bounded
from .jaaz import answering
from .lenders import Lender
from .takers import taking

pytestmark = pytest.mark.connected

DOCUMENT = json.loads((Path(__file__).parents[3] / "docs/openapi.json").read_text())
ROUTES = [
    (method.upper(), path)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if "openai" in operation["tags"]
]
MAX_EXAMPLES = 4


@pytest.fixture(scope="module")
async def user(bus: NatsClient, lender: Lender) -> AsyncIterator[UUID]:
    """For whom everybody else answers."""

    async def judge(message: Any) -> None:
        texts = Moderate.model_validate_json(message.data).texts
        answer = Moderated(judgements=tuple(Judgement(flagged=False) for _ in texts))
        await message.respond(answer.model_dump_json().encode())

    async with taking(bus), answering(bus, {GENERATOR_MODERATE: judge}):
        yield uuid4()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda value: str(value).replace("/", "."))
async def test_what_the_description_allows_and_what_it_does_not(
    service: Service, user: UUID, method: str, path: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(service.app.openapi())
    headers = {"Authorization": f"Bearer {token(user)}"}
    # What a query says beyond what is known here is ignored.
    is_refused = mode is GenerationMode.NEGATIVE and method != "GET"
    checks = [not_a_server_error] + ([negative_data_rejection] if is_refused else [])

    @bounded(MAX_EXAMPLES)
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        response = case.call(base_url=service.url, headers=headers, timeout=30, allow_redirects=False)
        case.validate_response(response, checks=checks)

    await asyncio.to_thread(ask)
