"""What storage hears: what was rendered, what has ended, and questions about what users bring and keep."""

from collections.abc import Sequence

import structlog
from faststream.middlewares import ExceptionMiddleware
from faststream.nats import NatsBroker, NatsRouter

from contracts.facts import CONTENT_TYPE, Outcome, Rendered
from contracts.keeping import (
    ChangedAssets,
    Delete,
    FindMedia,
    Forget,
    FoundMedia,
    Keep,
    Lend,
    Lent,
    OfferedUpload,
    OfferUpload,
    ReuseAssets,
    Show,
    Stored,
    StoredBy,
    TakenUpload,
    TakeUpload,
)
from contracts.questions import (
    STORAGE_COURSE,
    STORAGE_DELETE,
    STORAGE_FIND_MEDIA,
    STORAGE_FORGET,
    STORAGE_KEEP,
    STORAGE_LEND,
    STORAGE_OFFER_UPLOAD,
    STORAGE_REUSE,
    STORAGE_SHOW,
    STORAGE_TAKE_UPLOAD,
    STORAGE_USAGE,
)
from contracts.topology import (
    STORAGE_CLOSE_OUTCOMES,
    STORAGE_STORE,
    STORAGE_STORE_RECORDINGS,
    generation_of,
    outcome_subject,
)
from contracts.watching import Course, CourseOf
from runtime.broker import publish_unique
from runtime.consumption import Consumers
from runtime.database import Database
from storage import assets, watching
from storage.ingest import Ingest, unreadable
from storage.keeping import Keeping
from storage.lending import Lending
from storage.reuse import reuse as reuse_assets
from storage.uploads import Uploads

SLOTS = 16
RECORDING_SLOTS = 4
"""Each may be a file of gigabytes."""
BATCH = 64
LINGER_SECONDS = 0.25
"""Nobody waits for these: fewer and larger batches."""
UPLOADS_AT_ONCE = 4
LOANS_AT_ONCE = 8
"""Each holds one chunk."""
REUSES_AT_ONCE = 8

log = structlog.get_logger()


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
    for consumer in STORAGE_STORE_RECORDINGS.values():
        consumers.each(consumer, Rendered, slots=RECORDING_SLOTS, unreadable=give_up)(store)

    @consumers.batch(STORAGE_CLOSE_OUTCOMES, Outcome, size=BATCH, linger_seconds=LINGER_SECONDS)
    async def close(outcomes: Sequence[Outcome]) -> None:
        await assets.close(database, outcomes)


def questions(database: Database, uploads: Uploads, keeping: Keeping, lending: Lending) -> NatsRouter:
    """Answers on the subjects of contracts.questions. What cannot be answered gets no answer, and a log line."""
    router = NatsRouter(middlewares=[ExceptionMiddleware(handlers={Exception: _unanswered})])

    @router.subscriber(STORAGE_TAKE_UPLOAD, queue="storage", max_workers=UPLOADS_AT_ONCE)
    async def take(question: TakeUpload) -> TakenUpload:
        return await uploads.take(question)

    @router.subscriber(STORAGE_OFFER_UPLOAD, queue="storage", max_workers=UPLOADS_AT_ONCE)
    async def offer(question: OfferUpload) -> OfferedUpload:
        return await uploads.offer(question)

    @router.subscriber(STORAGE_FIND_MEDIA, queue="storage")
    async def find(question: FindMedia) -> FoundMedia:
        return await lending.find(question)

    @router.subscriber(STORAGE_LEND, queue="storage", max_workers=LOANS_AT_ONCE)
    async def lend(question: Lend) -> Lent:
        return await lending.lend(question)

    @router.subscriber(STORAGE_USAGE, queue="storage")
    async def usage(question: StoredBy) -> Stored:
        return await keeping.usage(question.user_id)

    @router.subscriber(STORAGE_KEEP, queue="storage")
    async def keep(question: Keep) -> Stored:
        return await keeping.keep(question)

    @router.subscriber(STORAGE_DELETE, queue="storage")
    async def delete(question: Delete) -> ChangedAssets:
        return await keeping.delete(question)

    @router.subscriber(STORAGE_SHOW, queue="storage")
    async def show(question: Show) -> ChangedAssets:
        return await keeping.show(question)

    @router.subscriber(STORAGE_FORGET, queue="storage")
    async def forget(question: Forget) -> ChangedAssets:
        return await keeping.forget(question)

    @router.subscriber(STORAGE_REUSE, queue="storage", max_workers=REUSES_AT_ONCE)
    async def reuse(question: ReuseAssets) -> ChangedAssets:
        return await reuse_assets(database, question)

    @router.subscriber(STORAGE_COURSE, queue="storage")
    async def course(question: CourseOf) -> Course:
        return await watching.course(database, question)

    return router


async def _unanswered(error: Exception) -> None:
    log.warning("question.unanswered", error=f"{type(error).__name__}: {error}"[:500])
