"""Ways of not delivering an answer, and of delivering it piece by piece."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping, Sequence

from aiohttp import web

HOLD_SECONDS_MAX = 3600.0
ENDLESS_PAUSE_SECONDS = 0.01
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


async def send_partly(request: web.Request, body: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
    """Half the body, then a reset."""
    response = await _started(request, headers, len(body))
    await response.write(body[: len(body) // 2])
    await asyncio.sleep(0.02)
    reset_connection(request)
    return response


async def send_late(
    request: web.Request, body: bytes, headers: Mapping[str, str], seconds: float
) -> web.StreamResponse:
    """The headers at once, the body after a pause."""
    response = await _started(request, headers, len(body))
    await asyncio.sleep(seconds)
    await response.write(body)
    await response.write_eof()
    return response


async def send_pieces(
    request: web.Request,
    pieces: Sequence[bytes],
    headers: Mapping[str, str],
    failure: str,
    error: bytes,
    pause_seconds: float,
) -> web.StreamResponse:
    """A stream, piece by piece, or as much of it as the failure lets through; a pause before it, or between pieces."""
    response = await _started(request, headers)
    await asyncio.sleep(pause_seconds)
    half = max(1, len(pieces) // 2)
    broken = failure in {"reset", "stream-cut", "stream-error", "stream-endless"}
    for piece in pieces[:half] if broken else pieces:
        await response.write(piece)
        if failure == "stream-slow":
            await asyncio.sleep(pause_seconds)
    if failure == "reset":
        await asyncio.sleep(0.02)
        return reset_connection(request)
    if failure == "stream-error":
        await response.write(error)
    clock = asyncio.get_running_loop().time
    until = clock() + HOLD_SECONDS_MAX
    while failure == "stream-endless" and clock() < until:  # until the client goes away: then `write` raises
        await response.write(pieces[half - 1])
        await asyncio.sleep(ENDLESS_PAUSE_SECONDS)
    await response.write_eof()
    return response


async def _started(request: web.Request, headers: Mapping[str, str], length: int | None = None) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    if length is not None:
        response.content_length = length
    await response.prepare(request)
    return response
