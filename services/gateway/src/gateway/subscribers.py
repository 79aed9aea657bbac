"""What the gateway hears: what moves, what has ended, and the ledger's question about it."""

from collections.abc import Sequence
from uuid import UUID

from faststream.nats import NatsBroker

from contracts.facts import Event, Outcome
from contracts.questions import (
    GATEWAY_OUTCOMES,
    Recorded,
    RecordedOutcome,
    RecordedOutcomes,
)
from contracts.topology import GATEWAY_FOLLOW_GENERATION, GATEWAY_RECORD_OUTCOMES
from gateway import records
from gateway.commands import Commands
from gateway.settings import SweeperSettings
from gateway.waiting import Verdicts
from runtime.consumption import Consumers
from runtime.database import Database

BATCH = 64
LINGER_SECONDS = 0.25
"""Nobody waits for these: fewer and larger batches."""
RENDERED = "darkroom.generation.rendered"


class Moved(Event):
    """`funded` or `rendered`: all that the gateway needs of either is what it is about."""


def register(
    consumers: Consumers,
    broker: NatsBroker,
    database: Database,
    commands: Commands,
    verdicts: Verdicts,
    sweeper: SweeperSettings,
) -> None:
    """The gateway's subscriptions."""

    @consumers.batch(GATEWAY_FOLLOW_GENERATION, Moved, size=BATCH, linger_seconds=LINGER_SECONDS)
    async def follow(facts: Sequence[Moved]) -> None:
        async with database.statement() as connection:
            moved = [(UUID(fact.subject), fact.type == RENDERED) for fact in facts]
            await records.follow(connection, moved, sweeper.first_drive_seconds)

    @consumers.batch(GATEWAY_RECORD_OUTCOMES, Outcome, size=BATCH)
    async def record(outcomes: Sequence[Outcome]) -> None:
        await commands.settle(outcomes, await verdicts.applied(outcomes))

    @broker.subscriber(GATEWAY_OUTCOMES, queue="gateway")
    async def recorded(question: RecordedOutcomes) -> Recorded:
        async with database.statement() as connection:
            known = await records.recorded_outcomes(connection, question.generation_ids)
        return Recorded(outcomes=tuple(_answer(generation_id, known) for generation_id in question.generation_ids))


def _answer(generation_id: UUID, known: dict[UUID, Outcome | None]) -> RecordedOutcome:
    if generation_id not in known:
        return RecordedOutcome(generation_id=generation_id, state="unknown")
    outcome = known[generation_id]
    return RecordedOutcome(generation_id=generation_id, state="recorded" if outcome else "unfinished", outcome=outcome)
