"""What the gateway says of a generation: that it is asked for, and its last word."""

import asyncio
import contextlib
from typing import Any

import structlog
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.facts import CONTENT_TYPE, Ending, Kind, Outcome, Requested, Verdict
from contracts.questions import GENERATOR_FINISH_TEXT, FinishedText, FinishText
from contracts.topology import outcome_subject, requested_subject
from gateway.questions import ask
from gateway.records import Generation
from gateway.refusals import Unavailable
from runtime.broker import connected, publish, publish_unique

REQUESTED_TIMEOUT_SECONDS = 1.0
DRIVEN_BESIDE = 256
"""Generations that one process publishes while whoever asked has an answer already; who comes then waits."""
FINISH_SECONDS = 1.0
"""How long a text may take to end, once whoever writes it is asked to; then it is cancelled all the same."""
SOURCE = "gateway"

log = structlog.get_logger()


async def drive(broker: NatsBroker, generation: Generation) -> bool:
    """Publishes `requested` (again). False when the bus did not take it: the sweeper will try again.

    What cannot be published at all counts as driven, so that its deadline ends it.
    """
    if not connected(broker):
        return False
    try:
        request = generation.request()
        fact = Requested.of(request, SOURCE, generation.traceparent)
        await publish(
            broker,
            requested_subject(request),
            fact.encode(),
            stream="GENERATION",
            content_type=CONTENT_TYPE,
            timeout_seconds=REQUESTED_TIMEOUT_SECONDS,
        )
    except (NatsError, TimeoutError, OSError) as error:
        log.warning("generation.not_published", generation_id=str(generation.id), error=type(error).__name__)
        return False
    except Exception as error:
        log.error("generation.not_driven", generation_id=str(generation.id), error=type(error).__name__)
    return True


async def cancel(broker: NatsBroker, generation: Generation) -> Outcome | None:
    """Says that a generation is cancelled, unless its outcome is there; returns the one that the log accepted.

    Whoever writes a text is asked to end it first: what was read of it is delivered, and paid for. Silence means that
    nobody writes it.
    """
    if generation.kind is Kind.TEXT and generation.published:
        question = FinishText(generation_id=generation.id)
        with contextlib.suppress(Unavailable):
            await ask(broker, GENERATOR_FINISH_TEXT, question, FinishedText, FINISH_SECONDS, "Nobody writes it.")
    return await end(broker, generation, Verdict.CANCELLED)


class Driving:
    """Publishes beside the answer: the row is the promise, and nobody waits until the log has written it down too."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker
        self._under_way: set[asyncio.Task[bool]] = set()

    async def begin(self, generation: Generation) -> None:
        """Raises nothing. Returns at once, unless the bus takes less than is accepted."""
        if len(self._under_way) >= DRIVEN_BESIDE:
            await drive(self._broker, generation)
            return
        task = asyncio.create_task(drive(self._broker, generation), name="drive")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)


async def end(broker: NatsBroker, generation: Generation, verdict: Verdict, **ending: Any) -> Outcome | None:
    """Says the last word and returns the one that the log accepted; None when the log does not tell."""
    outcome = Outcome.of(Ending(generation_id=generation.id, verdict=verdict, **ending), SOURCE, generation.traceparent)
    try:
        kept = await publish_unique(
            broker,
            outcome_subject(generation.id),
            outcome.encode(),
            stream="OUTCOMES",
            content_type=CONTENT_TYPE,
        )
        return Outcome.decode(kept)
    except (NatsError, TimeoutError, OSError, ValidationError) as error:
        log.warning("outcome.not_published", generation_id=str(generation.id), error=type(error).__name__)
        return None
