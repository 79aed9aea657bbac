"""The OpenAPI document: what the framework writes by itself, corrected where it would not be true."""

from typing import Any

from fastapi import FastAPI

PROBLEM = "application/problem+json"
_NEVER_SENT = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> None:
    """Makes the application's document say who may ask, and in which shape it is refused."""
    written = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _correct(written())
        return written()

    app.openapi = openapi  # type: ignore[method-assign]


def _correct(document: dict[str, Any]) -> None:
    components = document["components"]
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.setdefault("security", [{"bearer": []}])
            answers = operation["responses"]
            for status, answer in list(answers.items()):
                content = answer.get("content", {})
                if PROBLEM in content:
                    content[PROBLEM] = content.pop("application/json")
                elif any(name in str(content) for name in _NEVER_SENT):
                    del answers[status]
    for name in _NEVER_SENT:
        components["schemas"].pop(name, None)
