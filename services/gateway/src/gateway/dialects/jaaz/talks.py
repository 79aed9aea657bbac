"""Talking: each message is a generation of kind text, whose words go to the session's sockets as they are written.
About a canvas a model may draw while it answers: then more words follow, until it calls for nothing more (`agents`)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from contracts.facts import Ending, Kind
from contracts.money import Usage
from gateway.dialects.endings import delivered
from gateway.dialects.jaaz import transcripts
from gateway.dialects.jaaz.agents import Agents
from gateway.dialects.jaaz.chats import MAX_TURNS, Chats
from gateway.dialects.jaaz.steps import words_id
from gateway.dialects.jaaz.talk import DIALECT, Audience, Talk
from gateway.dialects.surface import Surface
from gateway.identity import Caller
from gateway.live import Heard, look
from gateway.orders import Order, generation_id_of, unfit
from gateway.records import Generation
from gateway.refusals import IdempotencyMismatch, Invalid, NotFound, NotHeard, Refusal, TimedOut

BETWEEN_ROUNDS = "\n\n"
_NOTHING = Usage(input_tokens=0, output_tokens=0)


@dataclass(frozen=True, slots=True)
class Spoken:
    """What was answered to a message so far: rounds of words, the last of which calls for nothing more."""

    text: str = ""
    usage: Usage = _NOTHING
    rounds: int = 0
    goes_on: bool = False

    def and_then(self, ending: Ending) -> "Spoken":
        text = BETWEEN_ROUNDS.join(filter(None, (self.text, ending.text)))
        took = ending.usage or _NOTHING
        usage = Usage(
            input_tokens=self.usage.input_tokens + took.input_tokens,
            output_tokens=self.usage.output_tokens + took.output_tokens,
        )
        return Spoken(text, usage, self.rounds + 1, bool(ending.calls))


class Talks:
    """Saying something, and what comes of it."""

    def __init__(self, surface: Surface, chats: Chats, agents: Agents) -> None:
        self._surface = surface
        self._chats = chats
        self._agents = agents
        self.words = agents.repeater.words

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
        surface, repeater = self._surface, self._agents.repeater
        if (problem := unfit([talk.said, talk.model, talk.canvas_id])) is not None:
            raise Invalid(f"The message cannot be kept: {problem}.")
        repeater.admit()
        is_new = await self._chats.begin_turn(
            caller, talk.session_id, generation_id, talk.said, talk.canvas_id, talk.model
        )
        if not is_new:
            with contextlib.suppress(NotFound):
                known = await surface.queries.generation(caller, generation_id)
                if known.prompt != talk.said:
                    raise IdempotencyMismatch("This Idempotency-Key was used for another request.")
                return known
        order, canvas_id = await self._order(caller, talk, route, traceparent)
        audience = Audience(surface.sockets, caller.user_id, talk.session_id, canvas_id or "")
        async with repeater.repeating(caller, audience, generation_id) as accept:
            try:
                generation = await surface.commands.create(caller, order, generation_id)
            except NotHeard:
                raise
            except Refusal:
                await self._chats.take_back(caller, generation_id)
                raise
            accept(generation)
        return generation

    async def whole(self, caller: Caller, generation: Generation) -> Spoken:
        """All that is answered to a message, once it is over.

        Raises:
            TimedOut: the longest wait is over. Refusal: it failed, or was cancelled.
        """
        surface, turn_id = self._surface, generation.id
        give_up_at = time.monotonic() + surface.verdicts.wait_seconds
        spoken = Spoken()
        while True:
            left = max(0.0, give_up_at - time.monotonic())
            async with surface.verdicts.listening(generation.id) as heard:
                seen = await look(surface.database, caller, generation)
                final = await surface.verdicts.wait(caller, seen, heard, left)
            spoken = spoken.and_then(delivered(final))
            if not spoken.goes_on:
                return spoken
            try:
                async with asyncio.timeout(max(0.0, give_up_at - time.monotonic())):
                    more = await self._agents.next_words(turn_id, spoken.rounds)
            except TimeoutError as error:
                place = {"Location": f"/v1/generations/{turn_id}"}
                raise TimedOut("The answer is still being written.", headers=place) from error
            if more is None:
                return spoken
            generation = more

    async def pieces(self, caller: Caller, generation: Generation, heard: Heard) -> AsyncIterator[str | Spoken | None]:
        """The words as they come, None where there were none for long, then all of them again.

        Raises Refusal: it failed, or was cancelled.
        """
        turn_id, spoken = generation.id, Spoken()
        async for piece in self.words.pieces(caller, generation, heard):
            if isinstance(piece, str | None):
                yield piece
            elif isinstance(piece, Generation):
                spoken = spoken.and_then(delivered(piece))
        while spoken.goes_on:
            async with self.words.listening(words_id(turn_id, spoken.rounds)) as more_heard:
                more = await self._agents.next_words(turn_id, spoken.rounds)
                if more is None:
                    break
                if spoken.text:
                    yield BETWEEN_ROUNDS
                async for piece in self.words.pieces(caller, more, more_heard):
                    if isinstance(piece, str | None):
                        yield piece
                    elif isinstance(piece, Generation):
                        spoken = spoken.and_then(delivered(piece))
        yield spoken

    async def cancel(self, caller: Caller, session_id: str) -> int:
        """Asks for the end of what is being written and drawn in a session; how many messages that are."""
        stopped = await self._agents.cancel(caller, session_id)
        running = await self._chats.running(caller, session_id)
        for generation_id in running:
            await self._surface.commands.cancel(caller, generation_id)
        return len(running) or stopped

    async def delete(self, caller: Caller, session_id: str) -> None:
        """Stops what is under way in a session, which is shown no more. What was drawn by then lands on its canvas.

        Raises:
            NotFound: no such session of this user.
        """
        await self.cancel(caller, session_id)
        await self._chats.delete(caller, session_id)

    async def _order(self, caller: Caller, talk: Talk, route: str, traceparent: str | None) -> tuple[Order, str | None]:
        """The order, and the canvas that the session is about. Where a model may draw on that, both are recorded."""
        surface, before = self._surface, talk.before
        if before is None:
            before = transcripts.told(await self._chats.turns(caller, talk.session_id, MAX_TURNS), surface)
        canvas_id = talk.canvas_id or await self._chats.canvas_of(caller, talk.session_id)
        tools = await self._agents.offer(caller, canvas_id, talk.model, talk.tools)
        beside = partial(self._agents.begin, caller, talk.session_id, canvas_id) if tools and canvas_id else None
        order = Order(
            dialect=DIALECT,
            route=route,
            kind=Kind.TEXT,
            prompt=talk.said,
            model=talk.model or None,
            messages=before,
            tools=tools,
            max_tokens=talk.max_tokens,
            options=talk.options or {},
            traceparent=traceparent,
            beside=beside,
        )
        return order, canvas_id
