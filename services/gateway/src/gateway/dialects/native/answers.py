"""What the routes of /v1 have in common: headers that they take, refusals that they document, and how they answer."""

from typing import Annotated, Any

from fastapi import Header, Response
from pydantic import BaseModel

from gateway.dialects.native.schemas import Problem

Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="The same key and body make one thing, however often they come."),
]


EVERYWHERE = (401, 403, 429, 503)
"""Whose token it is, what a key may do and how often, and what is away."""
OF_A_BODY = (400, 413, 415, 422)


def problems(*statuses: int, has_body: bool = False) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its documentation: those of its own, and those of every route, or of every body."""
    every = sorted({*EVERYWHERE, *statuses, *(OF_A_BODY if has_body else ())})
    return {status: {"model": Problem, "content": {"application/problem+json": {}}} for status in every}


def json_answer(body: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body.model_dump_json(), status, headers, media_type="application/json")
