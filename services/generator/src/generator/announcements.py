"""What the generator says: `rendered`, its own outcomes, and how far a generation is."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError

from contracts.facts import CONTENT_TYPE, Ending, Kind, Outcome, Rendered, Rendering, Request
from contracts.progress import NUMBERS_PER_ATTEMPT, Progress
from contracts.topology import outcome_subject, progress_subject, rendered_subject
from generator.providers.interface import PARTIAL_IMAGES, Show
from runtime.broker import connected, publish, publish_unique
from runtime.telemetry import current_traceparent

SOURCE = "generator"
SPOKEN_EVERY_SECONDS = 0.05
"""What a text grows by is said at most 20 times a second."""
MAX_SKETCH_CHARACTERS = 4 << 20
"""Of a picture that is not finished, in base64; NATS takes messages of 8 MB."""


log = structlog.get_logger()


class Announcer:
    """The generator's voice."""

    def __init__(self, broker: NatsBroker, judges_frames: Callable[[Request], bool]) -> None:
        """`judges_frames`: whether what was made of a request is judged once it can be seen."""
        self._broker = broker
        self._judges_frames = judges_frames

    async def rendered(self, rendering: Rendering, traceparent: str | None) -> None:
        seen = rendering.model_copy(update={"judge_frames": self._judges_frames(rendering.request)})
        await publish(
            self._broker,
            rendered_subject(rendering.request),
            Rendered.of(seen, SOURCE, current_traceparent(traceparent)).encode(),
            stream="GENERATION",
            content_type=CONTENT_TYPE,
        )

    async def ended(self, ending: Ending, traceparent: str | None) -> tuple[Outcome, bool]:
        """The outcome that the log keeps, and whether it is this one."""
        ours = Outcome.of(ending, SOURCE, current_traceparent(traceparent))
        kept = Outcome.decode(await self.outcome(ending.generation_id, ours.encode()))
        return kept, kept.id == ours.id

    async def outcome(self, generation_id: UUID, outcome: bytes) -> bytes:
        """Says an outcome, ours or one that was recorded; returns the one that the log keeps."""
        return await publish_unique(
            self._broker, outcome_subject(generation_id), outcome, stream="OUTCOMES", content_type=CONTENT_TYPE
        )

    async def progress(self, told: Progress) -> None:
        """Lossy on purpose."""
        if connected(self._broker):
            with contextlib.suppress(NatsError, OSError):
                await self._broker.connection.publish(
                    progress_subject(told.generation_id), told.model_dump_json(exclude_defaults=True).encode()
                )


def showing(announcer: Announcer, request: Request, attempt: int) -> Show | None:
    """Shows a picture while one attempt draws it, where that was asked for: a hint as all progress, kept nowhere."""
    if request.kind is not Kind.IMAGE or not request.options.get(PARTIAL_IMAGES):
        return None
    numbers = itertools.count((attempt - 1) * NUMBERS_PER_ATTEMPT + 1)

    async def show(index: int, picture: str) -> None:
        if len(picture) > MAX_SKETCH_CHARACTERS:
            log.info("sketch.too_large", generation_id=str(request.generation_id), characters=len(picture))
            return
        told = Progress(
            generation_id=request.generation_id,
            number=next(numbers),
            stage="rendering",
            percent=0,
            picture=picture,
            picture_index=index,
        )
        await announcer.progress(told)

    return show


class Speech:
    """What one attempt writes, said while it is written: in pieces of what came since the last one."""

    def __init__(self, announcer: Announcer, told: Progress) -> None:
        self._announcer = announcer
        self._told = told
        self._number = told.number
        self._waiting: list[str] = []
        self._said_at = float("-inf")
        self._timer: asyncio.Task[None] | None = None

    async def say(self, words: str) -> None:
        self._waiting.append(words)
        early_seconds = self._said_at + SPOKEN_EVERY_SECONDS - time.monotonic()
        if early_seconds <= 0:
            await self._utter()
        elif self._timer is None:
            self._timer = asyncio.create_task(self._utter_in(early_seconds), name="speech")

    async def finish(self) -> None:
        """Says what has not been said."""
        self.stop()
        await self._utter()

    def stop(self) -> None:
        """Says no more by itself: what has not been said is of no use."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _utter_in(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._timer = None
        await self._utter()

    async def _utter(self) -> None:
        if not self._waiting:
            return
        text, self._waiting = "".join(self._waiting), []
        self._number += 1
        self._said_at = time.monotonic()
        await self._announcer.progress(self._told.model_copy(update={"number": self._number, "text": text}))
