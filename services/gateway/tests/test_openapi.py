"""The description of the API is pleasant to read, and true."""

import itertools
from collections import Counter
from typing import Any

import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from pydantic import SecretStr
from starlette.routing import compile_path

from gateway.app import create_app
from gateway.settings import AddressSettings, LimitSettings, Settings, SweeperSettings, TokenSettings, WebhookSettings
from runtime.outbound import OutboundSettings
from runtime.settings import BrokerSettings, DatabaseSettings, ProcessSettings


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(
        Settings(
            BrokerSettings(),
            DatabaseSettings(database_url=SecretStr("postgresql://x@127.0.0.1:1/x")),
            ProcessSettings(log_level="WARNING"),
            TokenSettings(),
            AddressSettings(),
            LimitSettings(),
            SweeperSettings(),
            WebhookSettings(),
            OutboundSettings(),
        )
    )


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_route_says_what_it_is_for(document: dict[str, Any]) -> None:
    known = {tag["name"] for tag in document["tags"]}
    for method, path, operation in operations(document):
        assert operation.get("summary"), (method, path)
        assert set(operation.get("tags", ["none"])) <= known, (method, path)
        statuses = set(operation["responses"])
        assert "401" in statuses, (method, path)
        assert statuses & {"200", "201", "202", "204", "302"}, (method, path)


def test_the_routes_of_the_spine_are_there(document: dict[str, Any]) -> None:
    assert {(method, path) for method, path, _ in operations(document)} >= {
        ("post", "/v1/generations"),
        ("get", "/v1/generations"),
        ("get", "/v1/generations/{id}"),
        ("post", "/v1/generations/{id}/cancel"),
        ("get", "/v1/generations/{id}/events"),
        ("get", "/v1/credits"),
        ("get", "/v1/models"),
        ("post", "/api/images/generate"),
        ("post", "/api/images/test"),
        ("get", "/api/images/models"),
    }


def test_no_operation_id_is_used_twice(document: dict[str, Any]) -> None:
    counted = Counter(operation["operationId"] for _, _, operation in operations(document))
    assert [name for name, count in counted.items() if count > 1] == []


def test_no_path_is_hidden_by_an_earlier_one(document: dict[str, Any]) -> None:
    """Routes match in order: `/videos/{id}` before `/videos/feed` would answer for it."""
    found = operations(document)
    for (method, path, _), (later_method, later, _) in itertools.combinations(found, 2):
        pattern, _, _ = compile_path(path)
        hidden = method == later_method and "{" in path and pattern.match(later.replace("{", "").replace("}", ""))
        assert not hidden or later.count("{") >= path.count("{"), f"{path} hides {later}"
    assert not [path for _, path, _ in found if ":path}" in path]


def test_every_route_is_refused_in_the_shape_that_is_described(document: dict[str, Any]) -> None:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for method, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status[0] in "45" and path.startswith("/v1/"):
                assert answer["content"] == problem, (method, path, status)
    assert "HTTPValidationError" not in str(document)


def test_every_route_says_how_it_may_be_refused(document: dict[str, Any]) -> None:
    """A client that is made from the document knows no other answers."""
    for method, path, operation in operations(document):
        if path.startswith("/v1/"):
            has_body = "application/json" in operation.get("requestBody", {}).get("content", {})
            expected = {"401", "403", "429", "503", *(("400", "413", "415", "422") if has_body else ())}
            assert expected - set(operation["responses"]) == set(), (method, path)


def test_every_route_asks_for_a_bearer_token(document: dict[str, Any], app: FastAPI) -> None:
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    public = {
        ("get", "/videos/feed"),
        ("get", "/videos/{video_id}"),
        ("post", "/videos/{video_id}/view"),
        ("post", "/api/v1/auth/device/code"),
        ("post", "/api/v1/auth/device/token"),
        ("post", "/api/device/auth"),
        ("get", "/api/device/poll"),
    }
    for method, path, operation in operations(document):
        assert operation["security"] == [*([{}] if (method, path) in public else []), {"bearer": []}], path
    assert app.openapi() == document


def examples(node: Any, document: dict[str, Any]) -> list[tuple[dict[str, Any], Any]]:
    """Every example of a schema in the document, with its schema."""
    if isinstance(node, list):
        return [pair for item in node for pair in examples(item, document)]
    if not isinstance(node, dict):
        return []
    own = [(node, example) for example in node.get("examples", [])] if isinstance(node.get("examples"), list) else []
    return own + [pair for value in node.values() for pair in examples(value, document)]


def test_every_example_is_valid(document: dict[str, Any]) -> None:
    found = examples(document["components"]["schemas"], document)
    assert len(found) >= 3
    for schema, example in found:
        Draft202012Validator({**schema, "components": document["components"]}).validate(example)


def test_the_document_itself_is_well_formed(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)

    def references(node: Any) -> list[str]:
        if isinstance(node, list):
            return [each for item in node for each in references(item)]
        if not isinstance(node, dict):
            return []
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [each for value in node.values() for each in references(value)]

    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
