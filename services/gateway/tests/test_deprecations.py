"""What should not be asked for any more says so: `Deprecation`, `Sunset` and `Link` (RFC 9745, RFC 8594)."""

from datetime import UTC, datetime

import pytest
from fastapi import APIRouter, FastAPI, Response
from starlette.testclient import TestClient

from gateway import deprecations
from gateway.deprecations import Deprecation
from gateway.dialects.native import errors
from gateway.dialects.surface import route_class

from .client import Client

RETIRED, SOUND = "old-image", "seedream-4-0-250828"
SINCE, SUNSET = datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 7, 1, tzinfo=UTC)


@pytest.mark.connected
async def test_a_retired_name_is_served_and_every_answer_about_it_says_so(client: Client) -> None:
    body = {"kind": "image", "prompt": "A lighthouse", "model": RETIRED}
    made = await client.post("/v1/generations", json=body)
    assert made.status == 202, made.text
    answers = [
        made,
        await client.get(f"/v1/generations/{made.json['id']}"),
        await client.post("/v1/quotes", json=body),
        await client.post("/v1/batches", json={"items": [body]}),
    ]
    for answer in answers:
        assert answer.headers["Deprecation"] == f"@{int(deprecations.RETIRED_NAME.since.timestamp())}"
        assert answer.headers["Link"] == '</v1/models>; rel="deprecation"'
        assert "Sunset" not in answer.headers, "the name goes on being served"


@pytest.mark.connected
async def test_of_a_model_in_service_nothing_is_said(client: Client) -> None:
    made = await client.accepted()
    answer = await client.get(f"/v1/generations/{made['id']}")
    assert (answer.status, "Deprecation" in answer.headers, "Link" in answer.headers) == (200, False, False)


def test_an_operation_of_the_table_says_so_in_its_answers_and_in_openapi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(deprecations.OPERATIONS, ("GET", "/v1/old"), Deprecation(SINCE, "/docs", SUNSET))
    router = APIRouter(prefix="/v1", route_class=route_class(errors.render))

    @router.get("/old")
    async def old() -> Response:
        return Response()

    @router.get("/new")
    async def new() -> Response:
        return Response()

    app = FastAPI()
    app.include_router(router)
    client = TestClient(app)
    said = client.get("/v1/old").headers
    assert said["deprecation"] == "@1798761600"
    assert said["sunset"] == "Thu, 01 Jul 2027 00:00:00 GMT"
    assert said["link"] == '</docs>; rel="deprecation"'
    assert "deprecation" not in client.get("/v1/new").headers
    paths = app.openapi()["paths"]
    assert paths["/v1/old"]["get"]["deprecated"] is True
    assert "deprecated" not in paths["/v1/new"]["get"]
