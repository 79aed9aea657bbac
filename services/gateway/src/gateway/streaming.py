"""How event streams leave: headers as every answer's, events straight to the server.

An answer passes everybody who looks at how it begins: limits, deprecations, CORS, the framework's own keepers of
errors. None of them looks at what follows, and thousands of streams would pay for each of them at each event.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextvars import ContextVar

from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.refusals import Unauthenticated

ASK_AGAIN_SECONDS = 50.0
"""Between two looks at whether who follows may still: with the time that a key is believed, a minute."""
_SERVER = "darkroom.server"
"""The ASGI extension with which a stream finds the server's own `send`."""

_RECEIVE: ContextVar[Receive | None] = ContextVar("receive", default=None)
"""The server's own `receive` of the request that is being answered."""

Write = Callable[[bytes], bool]
"""Writes a part of a stream that has begun, at once; False: nothing of it, since the client has to read first."""

Still = Callable[[], Awaitable[None]]
"""Raises Unauthenticated where whom a stream is for may not follow it any more."""


class Straight:
    """The outermost of all: says to streams how the server is written to, to those who wait how it is heard, and
    answers HEAD wherever GET is answered (RFC 9110, 9.1): the framework's routes know nothing of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["method"] == "HEAD":
                scope, send = {**scope, "method": "GET"}, _head(send)
            scope.setdefault("extensions", {})[_SERVER] = send
            _RECEIVE.set(receive)
        await self._app(scope, receive, send)


def _head(send: Send) -> Send:
    """The answer is over once it has begun: the end of a stream would be waited for for ever."""

    async def begin(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body"})

    return begin


async def hung_up() -> None:
    """Returns once the client of this request has hung up; of one whose body has been read."""
    receive = _RECEIVE.get()
    if receive is None:
        await asyncio.Future()
    else:
        while (await receive())["type"] != "http.disconnect":
            pass


def write_at_once(scope: Scope) -> Write:
    """For whoever is no task of the stream's: what uvicorn has to wait for, it waits for before it writes."""
    send = scope["extensions"][_SERVER]

    def write(said: bytes) -> bool:
        sending = send({"type": "http.response.body", "body": said, "more_body": True})
        try:
            sending.send(None)
        except StopIteration:
            return True
        except Exception:
            return False  # the stream's own task sends the same, and ends by what is wrong
        sending.close()
        return False

    return write


class EventStream(StreamingResponse):
    """Server-sent events, each as the generator gives it; it is closed when the client leaves, or may not stay.

    They are written by a task of their own: whoever wakes the request's wakes all whom it passed on its way here.
    The stream's place is taken before it begins, so that of many at once none is overlooked, and left at its end.
    """

    def __init__(self, events: AsyncGenerator[bytes, None], still: Still, place: contextlib.AsyncExitStack) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._events = events
        self._still = still
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._place, asyncio.TaskGroup() as group:
            writing = group.create_task(self._write(scope, send))
            may_stay = True
            while may_stay and not await self._has_left(receive):
                may_stay = await self._may_stay()
            writing.cancel()
            if not may_stay and not await _is_done(writing):
                # As if all had been said.
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, scope: Scope, send: Send) -> None:
        async with contextlib.aclosing(self._events) as events:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            straight = scope.get("extensions", {}).get(_SERVER, send)
            async for said in events:
                await straight({"type": "http.response.body", "body": said, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _has_left(self, receive: Receive) -> bool:
        """True as well where the answer has been sent; False where it is time to ask again who follows."""
        try:
            # In the task that there is: another for each of thousands of streams would take kilobytes.
            async with asyncio.timeout(ASK_AGAIN_SECONDS):
                await self.listen_for_disconnect(receive)
        except TimeoutError:
            return False
        return True

    async def _may_stay(self) -> bool:
        try:
            await self._still()
        except Unauthenticated:
            return False
        return True


async def _is_done(writing: asyncio.Task[None]) -> bool:
    """Whether all was written before it was told to end."""
    await asyncio.wait([writing])
    return not writing.cancelled()
