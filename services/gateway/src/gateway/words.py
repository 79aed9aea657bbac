"""What is written, while it is written: the pieces of a text in their order, and the generation once it is final."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from faststream.nats import NatsBroker

from contracts.facts import Verdict
from contracts.progress import NUMBERS_PER_ATTEMPT, Progress
from gateway.identity import Caller
from gateway.live import LOOK_AGAIN_SECONDS, PING_SECONDS, Heard, Hub, hearing, look
from gateway.records import Generation
from runtime.database import Database


@dataclass(frozen=True, slots=True)
class Anew:
    """The text is another than what was said of it: whoever heard that has to be told so."""

    text: str


class Words:
    """Follows texts."""

    def __init__(self, hub: Hub, broker: NatsBroker, database: Database) -> None:
        self._hub = hub
        self._broker = broker
        self._database = database

    @contextlib.asynccontextmanager
    async def listening(self, generation_id: UUID) -> AsyncIterator[Heard]:
        """Yields what is heard of a generation. Open it before that is published, so that no piece passes unheard."""
        with self._hub.following(generation_id) as queue:
            async with hearing(self._broker, generation_id, queue):
                yield queue

    async def pieces(
        self, caller: Caller, generation: Generation, heard: Heard
    ) -> AsyncIterator[str | Anew | Generation | None]:
        """The pieces, then the final generation; None where nothing was to be told for long, so that a stream says that
        it lives. Whoever comes in the middle of them is told the whole at the end.

        Together the pieces are what the outcome holds. Where one was lost the others wait for the outcome, which has
        the whole. Nothing that was said can be taken back: should another attempt have written something else, that
        comes as `Anew` after the pieces.

        Raises Gone: it was deleted meanwhile. TimedOut: the process stops.
        """
        said, number, is_whole, told_at = "", None, True, time.monotonic()
        while not generation.is_final:
            self._hub.stay(generation.id)
            told = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                    told = await heard.get()
            if time.monotonic() - told_at > PING_SECONDS:
                told_at = time.monotonic()
                yield None
            if not isinstance(told, Progress):
                generation = await look(self._database, caller, generation)
                continue
            if told.text is None:
                continue
            before = told.number - 1 if told.number % NUMBERS_PER_ATTEMPT != 1 else None
            is_whole = is_whole and number == before
            number = told.number
            if is_whole:
                said, told_at = said + told.text, time.monotonic()
                yield told.text
        whole = (generation.outcome.data.text if generation.outcome else None) or ""
        if whole.startswith(said) and len(whole) > len(said):
            yield whole[len(said) :]
        elif not whole.startswith(said) and generation.status == Verdict.COMPLETED:
            yield Anew(whole)
        yield generation
