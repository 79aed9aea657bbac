"""Talking: each message is a generation of kind text, whose words go to the session's sockets as they are written."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from contracts.facts import Kind, Message
from gateway.dialects.endings import delivered
from gateway.dialects.jaaz.chats import Chats, messages_of
from gateway.dialects.jaaz.errors import code_of
from gateway.dialects.surface import Surface
from gateway.identity import Caller
from gateway.orders import Order, generation_id_of, unfit
from gateway.records import Generation
from gateway.refusals import IdempotencyMismatch, Invalid, NotFound, Refusal, TooManyRequests
from gateway.sockets.rooms import session_room, user_room
from gateway.words import Words

DIALECT = "jaaz"
MAX_FOLLOWED = 2000
"""Texts that this process repeats to sockets at one time."""
RETRY_SECONDS = 5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Talk:
    """What a user says in a session. `before` is what the client holds of it, where it sends that; else we know it."""

    session_id: str
    said: str
    model: str | None = None
    canvas_id: str | None = None
    before: tuple[Message, ...] | None = None
    max_tokens: int | None = None
    options: dict[str, Any] | None = None


class Talks:
    """Saying something, and what comes of it."""

    def __init__(self, surface: Surface, chats: Chats) -> None:
        self._surface = surface
        self._chats = chats
        self.words = Words(surface.hub, surface.broker, surface.database)
        self._followed: set[asyncio.Task[None]] = set()

    def id_of(self, caller: Caller, route: str, key: str | None) -> UUID:
        """What the message's answer will be called. Raises InvalidKey."""
        return generation_id_of(caller, Order(DIALECT, route, Kind.TEXT, "", idempotency_key=key))

    async def say(
        self,
        caller: Caller,
        talk: Talk,
        generation_id: UUID,
        *,
        route: str,
        traceparent: str | None = None,
    ) -> Generation:
        """Accepts the message; its words are heard by the session's sockets, whoever waits here or not.

        Said again under its id it is the same message.

        Raises:
            IdempotencyMismatch, TooManyRequests, and whatever `Commands.create` raises: nothing was said.
        """
        surface = self._surface
        if (problem := unfit([talk.said, talk.model, talk.canvas_id])) is not None:
            raise Invalid(f"The message cannot be kept: {problem}.")
        if len(self._followed) >= MAX_FOLLOWED:
            raise TooManyRequests("Too many chats are under way.", RETRY_SECONDS)
        is_new = await self._chats.begin_turn(
            caller, talk.session_id, generation_id, talk.said, talk.canvas_id, talk.model
        )
        if not is_new:
            with contextlib.suppress(NotFound):
                known = await surface.queries.generation(caller, generation_id)
                if known.prompt != talk.said:
                    raise IdempotencyMismatch("This Idempotency-Key was used for another request.")
                return known
        before = await self._chats.told(caller, talk.session_id) if talk.before is None else talk.before
        order = Order(
            dialect=DIALECT,
            route=route,
            kind=Kind.TEXT,
            prompt=talk.said,
            model=talk.model or None,
            messages=before,
            max_tokens=talk.max_tokens,
            options=talk.options or {},
            traceparent=traceparent,
        )
        listens: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        accepted: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        task = surface.sockets.begin(self._follow(caller, talk, generation_id, listens, accepted))
        self._followed.add(task)
        task.add_done_callback(self._followed.discard)
        try:
            await asyncio.wait([listens, task], return_when=asyncio.FIRST_COMPLETED)
            generation = await surface.commands.create(caller, order, generation_id)
        except BaseException as error:
            task.cancel()
            if isinstance(error, Refusal):
                await self._chats.take_back(caller, generation_id)
            raise
        accepted.set_result(generation)
        return generation

    async def once_final(self, caller: Caller, generation: Generation) -> Generation:
        """The generation when it has ended, or as it is when the longest wait is over."""
        surface = self._surface
        seconds = float("inf")
        return await surface.queries.generation_once_final(surface.verdicts, caller, generation.id, seconds)

    async def cancel(self, caller: Caller, session_id: str) -> int:
        """Asks for the end of what is being written in a session; how many that are."""
        running = await self._chats.running(caller, session_id)
        for generation_id in running:
            await self._surface.commands.cancel(caller, generation_id)
        return len(running)

    async def _follow(
        self,
        caller: Caller,
        talk: Talk,
        generation_id: UUID,
        listens: asyncio.Future[None],
        accepted: asyncio.Future[Generation],
    ) -> None:
        try:
            async with self.words.listening(caller, generation_id) as heard:
                listens.set_result(None)
                generation = await accepted
                await self._repeat(caller, talk, generation, heard)
        except Exception as error:
            log.error("chat.not_repeated", generation_id=str(generation_id), exc_info=error)

    async def _repeat(self, caller: Caller, talk: Talk, generation: Generation, heard: Any) -> None:
        """Each piece is numbered, so that a client sees what it missed; the last says that it is complete."""
        number = 0
        async for piece in self.words.pieces(caller, generation, heard):
            if isinstance(piece, Generation):
                generation = piece
                break
            number += 1
            await self._respond(caller, talk, generation, piece, number)
            await self._update(caller, talk, {"type": "delta", "text": piece})
        try:
            delivered(generation)
        except Refusal as refusal:
            word, _ = code_of(refusal)
            error = {"message": refusal.message, "code": word, "message_id": str(generation.id)}
            room = session_room(caller.user_id, talk.session_id)
            await self._surface.sockets.say("chat_error", {**error, "session_id": talk.session_id}, room)
            await self._update(caller, talk, {"type": "error", "error": refusal.message})
        else:
            await self._respond(caller, talk, generation, "", number + 1, is_complete=True)
            said = messages_of(await self._chats.turns(caller, talk.session_id))
            await self._update(caller, talk, {"type": "all_messages", "messages": said})
        await self._update(caller, talk, {"type": "done"})

    async def _respond(
        self,
        caller: Caller,
        talk: Talk,
        generation: Generation,
        message: str,
        number: int,
        *,
        is_complete: bool = False,
    ) -> None:
        said = {
            "message": message,
            "message_id": str(generation.id),
            "is_complete": is_complete,
            "session_id": talk.session_id,
            "sequence": number,
        }
        await self._surface.sockets.say("chat_response", said, session_room(caller.user_id, talk.session_id))

    async def _update(self, caller: Caller, talk: Talk, update: dict[str, Any]) -> None:
        """The client's form, which names its session in each event and joins none."""
        told = {"session_id": talk.session_id, "canvas_id": talk.canvas_id or "", **update}
        await self._surface.sockets.say("session_update", told, user_room(caller.user_id))
