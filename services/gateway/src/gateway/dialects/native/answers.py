"""What the routes of /v1 have in common: headers that they take, refusals that they document, and how they answer."""

from typing import Annotated, Any

from fastapi import Header, Response
from pydantic import BaseModel

from gateway.dialects.native.schemas import Problem

Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="The same key and body make one thing, however often they come."),
]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its documentation."""
    return {status: {"model": Problem, "content": {"application/problem+json": {}}} for status in (401, *statuses, 503)}


def json_answer(body: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body.model_dump_json(), status, headers, media_type="application/json")
