"""Ways of not delivering an answer."""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web

HOLD_SECONDS_MAX = 3600.0
_LOOK_SECONDS = 0.1


def reset_connection(request: web.Request) -> web.StreamResponse:
    """Drops the connection at once; the peer sees a reset."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def hold(request: web.Request) -> web.StreamResponse:
    """Says nothing until the client goes away, at most an hour."""
    clock = asyncio.get_running_loop().time
    until = clock() + HOLD_SECONDS_MAX
    while clock() < until and request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_SECONDS)  # the transport tells nobody when its peer leaves
    return reset_connection(request)


async def send_partly(request: web.Request, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
    """Half the body, then a reset."""
    response = await _started(request, body, headers)
    await response.write(body[: len(body) // 2])
    await asyncio.sleep(0.02)
    reset_connection(request)
    return response


async def send_late(request: web.Request, body: bytes, headers: dict[str, str], seconds: float) -> web.StreamResponse:
    """The headers at once, the body after a pause."""
    response = await _started(request, body, headers)
    await asyncio.sleep(seconds)
    await response.write(body)
    await response.write_eof()
    return response


async def _started(request: web.Request, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    response.content_type = "application/json"
    response.content_length = len(body)
    await response.prepare(request)
    return response
