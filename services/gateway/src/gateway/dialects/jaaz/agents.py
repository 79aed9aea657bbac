"""A model that may draw: what follows after each step of a turn, decided from its rows (`steps`).

The gateway goes on from outcomes: from words to what they call for, each a generation of its own with its own price,
from there to the canvas and to the next words. Whoever wrote words here goes on after them; what was drawn is gone on
with by whichever process records its outcome; and what nobody goes on with is found by the loop. Everything may be done
twice, by two processes, and out of order.
"""

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import UUID

import structlog

from contracts.facts import Kind, Verdict
from contracts.talking import Call, Tool
from gateway.dialects.jaaz import easel, transcripts, translate
from gateway.dialects.jaaz.canvases import Canvases
from gateway.dialects.jaaz.chats import Chats
from gateway.dialects.jaaz.errors import code_of
from gateway.dialects.jaaz.files import Files
from gateway.dialects.jaaz.repeating import Repeater
from gateway.dialects.jaaz.steps import Step, Steps, Turn, call_id, words_id
from gateway.dialects.jaaz.talk import DIALECT, Audience
from gateway.dialects.jaaz.tools import Toolbox, names_in, toolbox
from gateway.dialects.surface import Surface
from gateway.identity import Caller
from gateway.orders import Order, again
from gateway.records import Ended, Generation
from gateway.refusals import (
    InsufficientCredits,
    Invalid,
    NotFound,
    NotHeard,
    Refusal,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from gateway.sockets.rooms import user_room
from runtime.database import Connection
from runtime.health import is_transient

MAX_ROUNDS = 5
"""Of words, in one turn."""
MAX_DRAWINGS = 8
"""In one turn."""
MAX_WOKEN = 10_000
EVERY_SECONDS = 2.0
POLL_SECONDS = 0.5
PUT_OFF_SECONDS = 5.0
LONGEST_PUT_OFF_SECONDS = 120.0
"""What would have to wait for longer, as for another day, is refused."""
STOP_SECONDS = 2.0

log = structlog.get_logger()


class _Later(Exception):
    """It cannot be begun just now; ask again after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Agents:
    """The turns in which models may draw."""

    def __init__(self, surface: Surface, steps: Steps, chats: Chats, canvases: Canvases, files: Files) -> None:
        self._surface = surface
        self._steps = steps
        self._chats = chats
        self._canvases = canvases
        self._files = files
        self.repeater = Repeater(surface, self._said)
        self._woken: set[UUID] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="agents")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            # Bounded: on Python 3.11 the wait_for of nats-py may lose the cancellation.
            await asyncio.wait([self._task], timeout=STOP_SECONDS)

    def wake(self, ended: Sequence[Ended]) -> None:
        """Goes on with the turns that these generations were drawn for; what is forgotten here the loop finds."""
        mine = [each.id for each in ended if each.dialect == DIALECT]
        if mine and len(self._woken) < MAX_WOKEN:
            self._woken.update(mine)
            self._wake.set()

    async def offer(
        self, caller: Caller, canvas_id: str | None, model: str | None, wanted: Collection[str] | None
    ) -> tuple[Tool, ...]:
        """The tools for a message about a canvas, of the models that are `wanted`; none where there is no such canvas,
        or the model that answers calls for none."""
        if canvas_id is None or not await self._canvases.is_there(caller, canvas_id):
            return ()
        offered = [each for each, _ in self._surface.queries.models()]
        texts = [each for each in offered if each.kind is Kind.TEXT and (not model or each.id == model)]
        return toolbox(offered, wanted).tools() if texts and texts[0].calls_tools else ()

    async def begin(
        self, caller: Caller, session_id: str, canvas_id: str, connection: Connection, turn_id: UUID
    ) -> None:
        """Records that a message begins such a turn, with its generation."""
        await self._steps.begin(connection, caller, turn_id, session_id, canvas_id)

    async def cancel(self, caller: Caller, session_id: str) -> int:
        """Nothing more is begun in a session's turns, and what is at work is asked to end; how many of them went on."""
        went_on = 0
        for turn_id in await self._steps.stop(caller, session_id):
            turn = await self._steps.turn(turn_id)
            if turn is None:
                continue
            went_on += bool(turn.last.words.calls) or not turn.last.is_over
            for step in turn.last.steps:
                if step.generation is not None and not step.generation.is_final:
                    await self._surface.commands.cancel(caller, step.id)
        self._wake.set()
        return went_on

    async def next_words(self, turn_id: UUID, number: int) -> Generation | None:
        """The words of a round as soon as there are some; None where the turn ends without them.

        What was accepted goes on while the database is away, and so does the waiting. Raises TimedOut: the process
        stops.
        """
        while True:
            try:
                turn = await self._steps.turn(turn_id)
            except Exception as error:
                if not is_transient(error):
                    raise
            else:
                if turn is None:
                    return None
                if len(turn.rounds) > number:
                    return turn.rounds[number].words.generation
                if turn.state == "done":
                    return None
            self._surface.hub.stay(turn_id)
            await asyncio.sleep(POLL_SECONDS)

    async def advance(self, turn_id: UUID) -> None:
        """Does whatever a turn can have done to it now."""
        turn = await self._steps.turn(turn_id)
        if turn is None or turn.state == "done" or not turn.last.words.is_over:
            return
        caller = await self._caller(turn)
        try:
            if turn.state == "open" and await self._draw(caller, turn):
                turn = await self._steps.turn(turn_id) or turn
            for index, step in turn.last.drawn.items():
                if step.is_over and not step.is_told:
                    await self._show(caller, turn, turn.last.words.calls[index], step)
            turn = await self._steps.turn(turn_id) or turn
            if turn.state == "open" and not turn.last.is_over:
                return
            if any(not step.is_told for step in turn.last.drawn.values()):
                return
            if turn.state == "open" and turn.last.words.calls and len(turn.rounds) < MAX_ROUNDS:
                await self._go_on(caller, turn)
            else:
                await self._end(caller, turn)
        except _Later as later:
            log.info("turn.put_off", turn_id=str(turn_id), seconds=later.seconds)
            await self._steps.put_off(turn_id, later.seconds)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            woken, self._woken = self._woken, set()
            try:
                turns = set(await self._steps.turns_of(woken)) if woken else set()
                await asyncio.gather(*map(self._advance_safely, turns | set(await self._steps.due())))
            except Exception as error:
                log.warning("agents.failed", error=f"{type(error).__name__}: {error}"[:300])

    async def _advance_safely(self, turn_id: UUID) -> None:
        try:
            await self.advance(turn_id)
        except Exception as error:
            log.error("turn.not_advanced", turn_id=str(turn_id), exc_info=error)

    async def _said(self, caller: Caller, audience: Audience, generation: Generation) -> None:
        """Words have ended, and that was said."""
        turn_id = await self._steps.turn_of(generation.id)
        if turn_id is not None:
            await self.advance(turn_id)
            return
        if generation.status == Verdict.COMPLETED:
            turns = await self._chats.turns(caller, audience.session_id)
            await audience.update("all_messages", messages=transcripts.messages_of(turns, self._surface))
        await audience.update("done")

    # -- drawing ----------------------------------------------------------------------------------------------

    async def _draw(self, caller: Caller | None, turn: Turn) -> bool:
        """Begins what the words call for and was not begun; whether there was any. Raises _Later."""
        number, calls = len(turn.rounds) - 1, turn.last.words.calls
        missing = [index for index in range(len(calls)) if index not in turn.last.drawn]
        room = MAX_DRAWINGS - sum(len(each.drawn) for each in turn.rounds)
        for place, index in enumerate(missing):
            call, step_id = calls[index], call_id(turn.id, number, index)
            is_new = False

            async def beside(connection: Connection, generation_id: UUID, index: int = index) -> None:
                nonlocal is_new
                await self._steps.add(connection, turn.id, generation_id, number, index)
                is_new = True

            try:
                if place >= room:
                    raise Invalid(f"One message may draw {MAX_DRAWINGS} times at most.")
                order = self._toolbox(turn).order(call, _root(turn).traceparent)
                await self._create(caller, turn, replace(order, beside=beside), step_id)
            except Refusal as refusal:
                is_new = await self._steps.refuse(turn.id, step_id, number, index, refusal)
                if is_new and isinstance(refusal, InsufficientCredits):
                    await self._audience(turn).fail(turn.last.words.id, refusal.message, code_of(refusal)[0])
            if is_new:
                await self._audience(turn).update("tool_call", id=call.id, name=call.name, arguments=call.arguments)
        return bool(missing)

    async def _show(self, caller: Caller | None, turn: Turn, call: Call, step: Step) -> None:
        """Puts what was drawn on the canvas, and says what came of the call."""
        audience, canvas, asset = self._audience(turn), None, step.asset
        owner = caller or Caller(turn.user_id)
        if asset is not None:
            await self._files.note(owner, asset, step.id)
            # It was thrown away meanwhile, or is full: what was drawn is among the user's files.
            with contextlib.suppress(Refusal):
                canvas = await self._canvases.revise(owner, turn.canvas_id, lambda found: easel.put(found, asset))
        step = replace(step, is_placed=canvas is not None)
        if not await self._steps.tell(step.id, is_placed=step.is_placed):
            return
        if canvas is not None and asset is not None and (element := easel.element_on(canvas, asset)) is not None:
            updated = translate.canvas_update(self._surface, owner, canvas)
            await self._surface.sockets.say("canvas_updated", updated, user_room(turn.user_id))
            kind = "video" if asset.mime_type.startswith("video/") else "image"
            address = translate.addressed(self._surface, easel.path_of(asset.id))
            shown = {"element": element, "file": easel.file_of(asset), f"{kind}_url": address}
            await audience.update(f"{kind}_generated", **translate.addressed(self._surface, shown))
        message = {"role": "tool", "tool_call_id": call.id, "content": transcripts.said_of(self._surface, step)}
        await audience.update("tool_call_result", id=call.id, message=message)

    # -- words ------------------------------------------------------------------------------------------------

    async def _go_on(self, caller: Caller | None, turn: Turn) -> None:
        """The next round of words, which is told what came of the calls. Raises _Later."""
        number, audience = len(turn.rounds), self._audience(turn)
        step_id, is_new = words_id(turn.id, number), False

        async def beside(connection: Connection, generation_id: UUID) -> None:
            nonlocal is_new
            await self._steps.add(connection, turn.id, generation_id, number, None)
            is_new = True

        root = _root(turn)
        since = transcripts.since(self._surface, turn.rounds)
        order = replace(again(root, None, root.traceparent), since=since, beside=beside)
        try:
            async with self.repeater.repeating(caller or Caller(turn.user_id), audience, step_id) as accept:
                generation = await self._create(caller, turn, order, step_id)
                if is_new:
                    accept(generation)
        except Refusal as refusal:
            if await self._steps.refuse(turn.id, step_id, number, None, refusal):
                await audience.fail(step_id, refusal.message, code_of(refusal)[0])
            await self._end(caller, turn)

    async def _create(self, caller: Caller | None, turn: Turn, order: Order, step_id: UUID) -> Generation:
        """Raises _Later, and Refusal where it is not worth waiting."""
        if caller is None:
            raise Unauthenticated("The API key that began this is not valid any more.")
        try:
            return await self._surface.commands.create(caller, order, step_id)
        except (NotHeard, TooManyRequests, Unavailable) as refusal:
            seconds = float(refusal.headers.get("Retry-After", PUT_OFF_SECONDS))
            if turn.is_late or seconds > LONGEST_PUT_OFF_SECONDS:
                raise
            raise _Later(seconds) from refusal

    async def _end(self, caller: Caller | None, turn: Turn) -> None:
        if await self._steps.end(turn.id):
            audience = self._audience(turn)
            said = await self._chats.turns(caller or Caller(turn.user_id), turn.session_id)
            await audience.update("all_messages", messages=transcripts.messages_of(said, self._surface))
            await audience.update("done")

    # -- what a turn is about ---------------------------------------------------------------------------------

    async def _caller(self, turn: Turn) -> Caller | None:
        """Who asks: its user, within the bounds of the key that began it; None where that is gone."""
        if turn.api_key_id is None:
            return Caller(turn.user_id)
        key = await self._surface.api_keys.good(turn.user_id, turn.api_key_id)
        return Caller(turn.user_id, key=key) if key is not None else None

    def _audience(self, turn: Turn) -> Audience:
        return Audience(self._surface.sockets, turn.user_id, turn.session_id, turn.canvas_id)

    def _toolbox(self, turn: Turn) -> Toolbox:
        """What was offered when the turn began, as far as it is offered still."""
        offered = [model for model, _ in self._surface.queries.models()]
        return toolbox(offered, names_in(_root(turn).request().tools))


def _root(turn: Turn) -> Generation:
    root = turn.rounds[0].words.generation
    if root is None:
        raise NotFound("There is no such message.")
    return root
