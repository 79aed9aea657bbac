"""Whatever the description of the social routes allows, and what it does not: no 5xx, and no garbage is taken."""

import asyncio

import pytest
import schemathesis
from hypothesis import given
from schemathesis import Case, GenerationMode
from schemathesis.checks import negative_data_rejection, not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from .client import token
from .conftest import MakeClient, Service
from .examples import bounded

pytestmark = pytest.mark.connected

ROUTES = [
    ("POST", "/api/social/generate-image"),
    ("GET", "/api/social/generated-images"),
    ("POST", "/api/social/download-image/{id}"),
    ("POST", "/api/social/generate-text"),
]
MAX_EXAMPLES = 10
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


def test_every_route_is_among_them(service: Service) -> None:
    """Those below /api/ai are the same."""
    ours = {
        (method.upper(), path.replace("/api/ai/", "/api/social/"))
        for path, item in service.app.openapi()["paths"].items()
        for method, operation in item.items()
        if operation.get("tags") == ["social"]
    }
    assert ours == set(ROUTES)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda value: str(value).rpartition("/")[2])
async def test_what_the_description_allows_and_what_it_does_not(
    service: Service, client_of: MakeClient, method: str, path: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(service.app.openapi())
    headers = {"Authorization": f"Bearer {token(client_of().user_id)}"}
    # What a query says beyond what is known here is ignored.
    is_refused = mode is GenerationMode.NEGATIVE and method != "GET"
    checks = CHECKS + ([negative_data_rejection] if is_refused else [])

    @bounded(MAX_EXAMPLES)
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        response = case.call(base_url=service.url, headers=headers, timeout=30)
        case.validate_response(response, checks=checks)

    await asyncio.to_thread(ask)
