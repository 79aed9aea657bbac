"""A bare event stream: Starlette's StreamingResponse with a queue for each client. `uvicorn` runs it.

`GET /events/{client}` is the stream, `POST /say` tells every client the body once, `POST /say/{client}` one of them.
"""

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

MAX_QUEUED = 64
queues: dict[str, asyncio.Queue[bytes]] = {}


async def events(request: Request) -> Response:
    client = request.path_params["client"]
    queue = queues[client] = asyncio.Queue(MAX_QUEUED)

    async def told() -> AsyncIterator[bytes]:
        yield b"event: snapshot\ndata: {}\n\n"
        while True:
            yield await queue.get()

    return StreamingResponse(told(), media_type="text/event-stream")


async def say(request: Request) -> Response:
    said = b"event: generation\ndata: " + await request.body() + b"\n\n"
    client = request.path_params.get("client")
    for each in queues.values() if client is None else (queues[client],):
        await each.put(said)
    return Response(status_code=204)


async def ready(_: Request) -> Response:
    return Response(status_code=200)


app = Starlette(
    routes=[
        Route("/events/{client}", events),
        Route("/say", say, methods=["POST"]),
        Route("/say/{client}", say, methods=["POST"]),
        Route("/ready", ready),
    ]
)
