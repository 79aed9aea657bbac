"""Bodies that come as JSON where forms come as well."""

import json
from typing import Any

from fastapi import Request

from gateway.refusals import BodyTooLarge, MalformedBody

MAX_JSON_BYTES = 1 << 20


def is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


async def json_of(request: Request) -> dict[str, Any]:
    """Bounded by itself: where files are sent bodies may be larger. Raises BodyTooLarge, MalformedBody."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise BodyTooLarge(f"A body may have {MAX_JSON_BYTES} bytes at most.")
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedBody("The body is not valid JSON.") from error
    return fields if isinstance(fields, dict) else {}
