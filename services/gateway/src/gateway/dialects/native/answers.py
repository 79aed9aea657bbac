"""What the routes of /v1 have in common: headers that they take, refusals that they document, and how they answer."""

import hashlib
import re
from typing import Annotated, Any

from fastapi import Header, Response
from pydantic import BaseModel

from gateway.dialects.native.schemas import Problem

Key = Annotated[
    str | None, Header(alias="Idempotency-Key", description="The same key and body give the same generation.")
]


Known = Annotated[
    str | None, Header(alias="If-None-Match", description="The `ETag` that is known; 304 where nothing has changed.")
]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its documentation."""
    return {status: {"model": Problem, "content": {"application/problem+json": {}}} for status in (401, *statuses, 503)}


def json_answer(body: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body.model_dump_json(), status, headers, media_type="application/json")


def tagged(body: BaseModel, known: str | None, headers: dict[str, str] | None = None) -> Response:
    """The body under its ETag, or 304 where the client has it already."""
    text = body.model_dump_json()
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    headers = {**(headers or {}), "ETag": tag, "Cache-Control": "private, no-cache"}
    if known is not None and (known.strip() == "*" or tag in re.split(r"\s*,\s*|\bW/", known.strip())):
        return Response(status_code=304, headers=headers)
    return Response(text, headers=headers, media_type="application/json")
