"""How this dialect's answers leave: JSON, and server-sent events."""

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from gateway.dialects.openai.schemas import ErrorBody
from gateway.lending import Borrowed

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 502, 503, 504)
}
DONE = b"data: [DONE]\n\n"


def json_answer(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")


def event(data: dict[str, Any], name: str | None = None) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


async def streamed(events: AsyncIterator[bytes]) -> StreamingResponse:
    """The events, once the first is there: until then a refusal is an answer of its own.

    Raises:
        Refusal: nothing was begun.
    """
    first = await anext(events)

    async def both() -> AsyncIterator[bytes]:
        yield first
        async for each in events:
            yield each

    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(both(), media_type="text/event-stream", headers=headers)


def bytes_answer(borrowed: Borrowed, mime_type: str) -> StreamingResponse:
    """The bytes, a chunk at a time; where they end too early, so does the connection."""
    return StreamingResponse(
        borrowed.chunks, media_type=mime_type, headers={"Content-Length": str(borrowed.size_bytes)}
    )
