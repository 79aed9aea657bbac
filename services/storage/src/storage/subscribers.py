"""What storage hears: what was rendered, and what has ended."""

from collections.abc import Sequence

from faststream.nats import NatsBroker

from contracts.facts import CONTENT_TYPE, Outcome, Rendered
from contracts.topology import STORAGE_CLOSE_OUTCOMES, STORAGE_STORE, generation_of, outcome_subject
from runtime.broker import publish_unique
from runtime.consumption import Consumers
from runtime.database import Database
from storage import assets
from storage.ingest import Ingest, unreadable

SLOTS = 16
BATCH = 64
LINGER_SECONDS = 0.25
"""Nobody waits for these: fewer and larger batches."""


def register(consumers: Consumers, broker: NatsBroker, database: Database, ingest: Ingest) -> None:
    """Storage's subscriptions."""

    async def store(rendered: Rendered) -> None:
        await say(await ingest.store(rendered))

    async def give_up(subject: str, _: bytes) -> None:
        await say(unreadable(generation_of(subject)))

    async def say(outcome: Outcome) -> None:
        subject, payload = outcome_subject(outcome.data.generation_id), outcome.encode()
        kept = await publish_unique(broker, subject, payload, stream="OUTCOMES", content_type=CONTENT_TYPE)
        if kept != payload:
            await ingest.yield_to(Outcome.decode(kept))

    for consumer in STORAGE_STORE.values():
        consumers.each(consumer, Rendered, slots=SLOTS, unreadable=give_up)(store)

    @consumers.batch(STORAGE_CLOSE_OUTCOMES, Outcome, size=BATCH, linger_seconds=LINGER_SECONDS)
    async def close(outcomes: Sequence[Outcome]) -> None:
        await assets.close(database, outcomes)
