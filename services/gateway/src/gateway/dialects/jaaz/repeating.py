"""Repeats the words of a text to the sockets of its session, as they are written."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import structlog

from gateway.dialects.endings import delivered
from gateway.dialects.jaaz.errors import code_of
from gateway.dialects.jaaz.talk import Audience
from gateway.dialects.surface import Surface
from gateway.identity import Caller
from gateway.live import Heard
from gateway.records import Generation
from gateway.refusals import Refusal, TimedOut, TooManyRequests
from gateway.words import Anew, Words

MAX_FOLLOWED = 2000
"""Texts that this process repeats to sockets at one time."""
RETRY_SECONDS = 5

Accept = Callable[[Generation], None]
Over = Callable[[Caller, Audience, Generation], Awaitable[None]]
log = structlog.get_logger()


class Repeater:
    """All that this process repeats. `over` is what follows once a text has ended and that was said."""

    def __init__(self, surface: Surface, over: Over) -> None:
        self._surface = surface
        self._over = over
        self.words = Words(surface.hub, surface.broker, surface.database)
        self._followed: set[asyncio.Task[None]] = set()

    def admit(self) -> None:
        """Raises TooManyRequests."""
        if len(self._followed) >= MAX_FOLLOWED:
            raise TooManyRequests("Too many chats are under way.", RETRY_SECONDS)

    @contextlib.asynccontextmanager
    async def repeating(self, caller: Caller, audience: Audience, generation_id: UUID) -> AsyncIterator[Accept]:
        """Listens before the text is asked for; yields what has to be told of it once it is accepted. Left without
        that, nothing is repeated."""
        loop = asyncio.get_running_loop()
        listens: asyncio.Future[None] = loop.create_future()
        accepted: asyncio.Future[Generation] = loop.create_future()
        task = self._surface.sockets.begin(self._follow(caller, audience, generation_id, listens, accepted))
        self._followed.add(task)
        task.add_done_callback(self._followed.discard)
        try:
            await asyncio.wait([listens, task], return_when=asyncio.FIRST_COMPLETED)
            yield accepted.set_result
        finally:
            if not accepted.done():
                task.cancel()

    async def _follow(
        self,
        caller: Caller,
        audience: Audience,
        generation_id: UUID,
        listens: asyncio.Future[None],
        accepted: asyncio.Future[Generation],
    ) -> None:
        try:
            async with self.words.listening(generation_id) as heard:
                listens.set_result(None)
                generation = await self._repeat(caller, audience, await accepted, heard)
            await self._over(caller, audience, generation)
        except TimedOut:
            pass  # the process stops, and its sockets come back elsewhere
        except Exception as error:
            log.error("chat.not_repeated", generation_id=str(generation_id), exc_info=error)

    async def _repeat(self, caller: Caller, audience: Audience, generation: Generation, heard: Heard) -> Generation:
        """Each piece is numbered, so that a client sees what it missed; the last says that it is complete, and has the
        whole where that was written anew."""
        number, whole = 0, None
        try:
            async for piece in self.words.pieces(caller, generation, heard):
                if isinstance(piece, Generation):
                    generation = piece
                    break
                if isinstance(piece, Anew):
                    whole = piece.text
                    continue
                if piece is None:
                    continue
                number += 1
                await audience.respond(generation.id, piece, number)
                await audience.update("delta", text=piece)
            delivered(generation)
        except TimedOut:
            raise
        except Refusal as refusal:
            await audience.fail(generation.id, refusal.message, code_of(refusal)[0])
        else:
            await audience.respond(generation.id, "", number + 1, is_complete=True, whole=whole)
        return generation
