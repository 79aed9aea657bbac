"""The OpenAPI document: what the framework writes by itself, corrected where it would not be true."""

import json
from typing import Any

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel

Documented = dict[int | str, dict[str, Any]]
"""By status, as FastAPI takes `responses`."""
_NEVER_SENT = ("HTTPValidationError", "ValidationError")
_SCHEMAS = "#/components/schemas/"
_referred: dict[str, type[BaseModel]] = {}
"""The models of all refusals, by the names that documents first have for them."""


def with_references(responses: Documented) -> Documented:
    """The same answers, which refer to their models by name.

    Given a model, FastAPI makes it ready for validating anew for each status of each route, though nothing ever
    validates a refusal: two thirds of the time that it took to make the application.
    """
    return {status: _referring(answer) if "model" in answer else answer for status, answer in responses.items()}


def describe(app: FastAPI) -> None:
    """Makes the application's document say who may ask, and in which shape it is refused."""
    written = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = written()
            _correct(document)
            app.openapi_schema = _with_models(document)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _referring(answer: dict[str, Any]) -> dict[str, Any]:
    model = answer["model"]
    name = f"{model.__module__}.{model.__name__}".replace(".", "__")
    _referred[name] = model
    [media_type] = answer.get("content", {"application/json": {}})
    content = {media_type: {"schema": {"$ref": _SCHEMAS + name}}}
    return {**{key: value for key, value in answer.items() if key != "model"}, "content": content}


def _correct(document: dict[str, Any]) -> None:
    components = document["components"]
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.setdefault("security", [{"bearer": []}])
            answers = operation["responses"]
            for status, answer in list(answers.items()):
                if any(name in str(answer.get("content")) for name in _NEVER_SENT):
                    del answers[status]
    for name in _NEVER_SENT:
        components["schemas"].pop(name, None)


def _with_models(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the models that its refusals refer to, under short names where those are clear."""
    text, added = json.dumps(document), dict[str, Any]()
    known: dict[str, Any] = document["components"]["schemas"]
    for name, model in _referred.items():
        if _SCHEMAS + name not in text:
            continue
        written = model.model_json_schema(mode="serialization", ref_template=_SCHEMAS + "{model}")
        schema = jsonable_encoder(written, exclude_none=True)  # as the framework leaves out defaults of null
        added |= {inner: known.get(inner, schema) for inner, schema in schema.pop("$defs", {}).items()}
        namesakes = sum(other.__name__ == model.__name__ for other in _referred.values())
        is_clear = namesakes == 1 and known.get(model.__name__, schema) == schema
        if is_clear:
            text = text.replace(_SCHEMAS + name + '"', _SCHEMAS + model.__name__ + '"')
        added[model.__name__ if is_clear else name] = schema
    document = json.loads(text)
    document["components"]["schemas"] = dict(sorted((known | added).items()))
    return document
