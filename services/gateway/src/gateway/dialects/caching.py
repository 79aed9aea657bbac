"""Answers that a client need not be sent twice."""

import hashlib
import re
from typing import Annotated

from fastapi import Header, Response
from pydantic import BaseModel

Known = Annotated[
    str | None, Header(alias="If-None-Match", description="The `ETag` that is known; 304 where nothing has changed.")
]


def tagged(
    body: BaseModel, known: str | None, headers: dict[str, str] | None = None, *, max_age_seconds: int = 0
) -> Response:
    """The body under its ETag, or 304 where the client has it already; so long it need not even ask."""
    text = body.model_dump_json()
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    headers = {**(headers or {}), "ETag": tag, "Cache-Control": _lifetime(max_age_seconds)}
    if known is not None and (known.strip() == "*" or tag in re.split(r"\s*,\s*|\bW/", known.strip())):
        return Response(status_code=304, headers=headers)
    return Response(text, headers=headers, media_type="application/json")


def _lifetime(seconds: int) -> str:
    return f"private, max-age={seconds}" if seconds else "private, no-cache"
