"""The log was wiped, or a hold is overdue: the gateway is asked what its clients were told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from faststream.nats import NatsBroker
from pydantic import SecretStr
from sqlalchemy import text

from contracts.facts import CONTENT_TYPE, Outcome
from contracts.questions import (
    GATEWAY_OUTCOMES,
    Recorded,
    RecordedOutcome,
    RecordedOutcomes,
)
from contracts.topology import OUTCOMES, outcome_subject
from ledger import reconciler as module
from ledger.operations import Ledger
from ledger.reconciler import Reconciler, SilentError
from ledger.settings import ReconcilerSettings
from runtime.broker import last_on, make_broker, publish_unique
from runtime.database import Database
from runtime.settings import BrokerSettings, DatabaseSettings

from .samples import CREDIT, cancelled, completed, failed, request, requested
from .test_connected import eventually

pytestmark = pytest.mark.connected

UNKNOWN, UNFINISHED = "unknown", "unfinished"


class Gateway:
    """What the gateway's records say. `questions` are the ids that each question named."""

    def __init__(self) -> None:
        self.told: dict[UUID, Outcome] = {}
        self.unfinished: set[UUID] = set()
        self.questions: list[tuple[UUID, ...]] = []
        self.silent = False
        self.before_answering = asyncio.Event()
        self.before_answering.set()

    async def answer(self, question: RecordedOutcomes) -> Recorded:
        self.questions.append(question.generation_ids)
        await self.before_answering.wait()
        if self.silent:
            raise TimeoutError
        return Recorded(outcomes=tuple(map(self.one, question.generation_ids)))

    def one(self, id_: UUID) -> RecordedOutcome:
        if id_ in self.told:
            return RecordedOutcome(generation_id=id_, state="recorded", outcome=self.told[id_])
        return RecordedOutcome(generation_id=id_, state=UNFINISHED if id_ in self.unfinished else UNKNOWN)


@pytest.fixture
async def gateway(nats_server) -> AsyncIterator[Gateway]:
    gateway = Gateway()
    broker = make_broker(BrokerSettings(nats_url=nats_server.nats_url), "gateway")
    broker.subscriber(GATEWAY_OUTCOMES, queue="gateway")(gateway.answer)
    await broker.start()
    yield gateway
    await broker.stop()


@pytest.fixture
def reconciler(database, broker: NatsBroker, operations) -> Reconciler:
    return Reconciler(ReconcilerSettings(hold_overdue_seconds=60), database, broker, operations)


@pytest.fixture(autouse=True)
async def quiet(database):
    """Each test sees only its own holds: those of the others are closed and their epoch is forgotten."""
    yield
    async with database.transaction() as connection:
        await connection.execute(text("DELETE FROM epochs"))
        left = await connection.execute(text("SELECT generation_id FROM holds WHERE state = 'open'"))
        open_ids = [row.generation_id for row in left]
        await connection.execute(text("UPDATE holds SET disputed_at = NULL"))
    await Ledger(database, 10 * CREDIT).settle([failed(id_) for id_ in open_ids])


async def held(operations: Ledger, count: int = 1) -> UUID:
    asked = request(uuid4(), count=count)
    await operations.hold([requested(asked)])
    return asked.generation_id


async def row(database: Database, generation_id: UUID):
    async with database.statement() as connection:
        found = await connection.execute(
            text(
                "SELECT holds.*, accounts.available FROM holds JOIN accounts USING (user_id) WHERE generation_id = :id"
            ),
            {"id": generation_id},
        )
        return found.one()


async def state(database: Database, generation_id: UUID) -> str:
    return (await row(database, generation_id)).state


async def age(database: Database, *generation_ids: UUID) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE holds SET opened_at = opened_at - interval '61 s' WHERE generation_id = ANY(:ids)"),
            {"ids": list(generation_ids)},
        )


async def wipe(streams) -> None:
    await streams.remove(OUTCOMES)
    await streams.create(OUTCOMES)


async def test_promise_5_after_a_wipe_open_holds_are_settled_by_what_the_clients_were_told(
    reconciler, gateway, streams, database, operations
):
    await reconciler.reconcile()
    done, lost, waiting, new = [await held(operations, 2) for _ in range(4)]
    gateway.told = {done: completed(done, 1), lost: failed(lost)}
    gateway.unfinished = {waiting}
    await reconciler.reconcile()
    assert gateway.questions == [], "while the log is the one that we know, nobody is asked"
    await wipe(streams)
    await reconciler.reconcile()
    assert [await state(database, id_) for id_ in (done, lost, waiting, new)] == [
        "captured",
        "released",
        "open",
        "open",
    ]
    assert (await row(database, done)).captured == CREDIT
    asked = len(gateway.questions)
    await reconciler.reconcile()
    assert len(gateway.questions) == asked, "the new log is known now"


async def test_promise_2_a_wipe_is_noticed_by_a_running_process(service, gateway, streams, database, operations):
    async with service():

        async def is_known() -> bool:
            """The log, since the first round."""
            async with database.statement() as connection:
                return bool((await connection.execute(text("SELECT count(*) FROM epochs"))).scalar_one())

        await eventually(is_known)
        done = await held(operations)
        gateway.told = {done: completed(done)}
        await wipe(streams)

        async def is_settled() -> bool:
            return await state(database, done) == "captured"

        await eventually(is_settled)


async def test_a_silent_gateway_changes_nothing_and_is_asked_again(
    reconciler, gateway, streams, database, operations, monkeypatch
):
    await reconciler.reconcile()
    done = await held(operations)
    gateway.told = {done: completed(done)}
    gateway.silent = True
    await wipe(streams)
    with monkeypatch.context() as impatient:
        impatient.setattr(module, "ANSWER_TIMEOUT_SECONDS", 0.3)
        for _ in range(2):
            with pytest.raises(SilentError):
                await reconciler.reconcile()
            assert await state(database, done) == "open"
    gateway.silent = False
    await reconciler.reconcile()
    assert await state(database, done) == "captured"


async def test_no_gateway_at_all_is_silence_too(reconciler, broker, streams, database, operations):
    overdue = await held(operations)
    await age(database, overdue)
    with pytest.raises(SilentError):
        await reconciler.reconcile()
    assert await state(database, overdue) == "open"


async def test_promise_6_an_overdue_hold_that_nobody_knows_expires_once_the_log_accepted_it(
    reconciler, gateway, broker, database, operations
):
    unknown, young, unfinished, told = [await held(operations) for _ in range(4)]
    await age(database, unknown, unfinished, told)
    gateway.unfinished = {unfinished}
    gateway.told = {told: cancelled(told)}
    await reconciler.reconcile()
    assert [await state(database, id_) for id_ in (unknown, young, unfinished, told)] == [
        "expired",
        "open",
        "open",
        "released",
    ]
    kept = Outcome.decode(await last_on(broker, outcome_subject(unknown), stream="OUTCOMES"))
    assert (kept.data.verdict, kept.data.failure.code, kept.source) == ("failed", "expired", "ledger")
    assert (await row(database, unknown)).available == 10 * CREDIT


async def test_promise_4_where_the_log_knows_better_an_overdue_hold_ends_as_the_log_says(
    reconciler, gateway, broker, database, operations
):
    unknown = await held(operations)
    await age(database, unknown)
    outcome = completed(unknown)
    subject = outcome_subject(unknown)
    await publish_unique(broker, subject, outcome.encode(), stream="OUTCOMES", content_type=CONTENT_TYPE)
    await reconciler.reconcile()
    assert await state(database, unknown) == "captured"


async def test_promise_6_nothing_expires_while_the_log_is_away(
    reconciler, gateway, streams, database, operations, monkeypatch
):
    monkeypatch.setattr("runtime.broker.UNIQUE_DEADLINE_SECONDS", 0.2)
    unknown = await held(operations)
    await age(database, unknown)
    await streams.remove(OUTCOMES)
    with pytest.raises(Exception):  # noqa: B017 - whatever the client library calls it
        await reconciler.reconcile()
    assert await state(database, unknown) == "open"
    await streams.create(OUTCOMES)
    await reconciler.reconcile()
    assert await state(database, unknown) == "expired"


async def test_promise_5_a_disputed_id_is_refunded_when_the_client_was_told_otherwise(
    reconciler, gateway, database, operations
):
    charged = await held(operations, 3)
    await operations.settle([completed(charged, 3)])
    told = failed(charged)
    await operations.settle([told])
    gateway.unfinished = {charged}
    await reconciler.reconcile()
    assert (await row(database, charged)).disputed_at is not None, "nobody was told yet"
    gateway.told = {charged: told}
    await reconciler.reconcile()
    found = await row(database, charged)
    assert (found.state, found.available, found.disputed_at) == ("captured", 10 * CREDIT, None)
    asked = len(gateway.questions)
    await reconciler.reconcile()
    assert len(gateway.questions) == asked


async def test_promise_5_what_the_new_log_ended_before_the_gateway_was_asked_is_doubted(
    reconciler, gateway, streams, database, operations
):
    """The gateway told `failed` by the old log; the ledger, which had not read it, captured by the new one."""
    await reconciler.reconcile()
    charged = await held(operations, 3)
    gateway.told = {charged: failed(charged)}
    await wipe(streams)
    await operations.settle([completed(charged, 3)])
    await reconciler.reconcile()
    assert (await row(database, charged)).available == 10 * CREDIT


async def test_an_answer_about_another_generation_is_not_believed(reconciler, gateway, database, operations):
    mine = await held(operations)
    await age(database, mine)
    gateway.told = {mine: completed(uuid4())}
    await reconciler.reconcile()
    assert await state(database, mine) == "open"


async def test_more_holds_than_one_question_may_name_are_all_asked_about(
    reconciler, gateway, streams, database, operations, monkeypatch
):
    monkeypatch.setattr(module, "MAX_IDS_PER_QUESTION", 3)
    await reconciler.reconcile()
    ids = [await held(operations) for _ in range(8)]
    gateway.told = {id_: failed(id_) for id_ in ids[3:]}
    gateway.unfinished = set(ids[:3])
    await wipe(streams)
    await reconciler.reconcile()
    assert [len(named) for named in gateway.questions[:3]] == [3, 3, 2]
    assert [await state(database, id_) for id_ in ids] == ["open"] * 3 + ["released"] * 5


async def test_one_process_at_a_time_asks(reconciler, gateway, database_url, broker, database, operations):
    overdue = await held(operations)
    await age(database, overdue)
    gateway.unfinished = {overdue}
    gateway.before_answering.clear()
    first = asyncio.create_task(reconciler.reconcile())
    while not gateway.questions:
        await asyncio.sleep(0.01)
    elsewhere = Database(DatabaseSettings(database_url=SecretStr(database_url)), "ledger")
    second = Reconciler(ReconcilerSettings(hold_overdue_seconds=60), elsewhere, broker, operations)
    await second.reconcile()
    assert len(gateway.questions) == 1
    gateway.before_answering.set()
    await first
    await second.reconcile()
    assert len(gateway.questions) == 2
    await elsewhere.close()


async def test_p22_a_process_stops_although_a_cancellation_was_lost(reconciler, monkeypatch):
    """Seen in Python 3.11: asyncio.wait_for returns its result and forgets that its task was cancelled."""
    began = asyncio.Event()

    async def reconcile() -> None:
        began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    monkeypatch.setattr(reconciler, "reconcile", reconcile)
    await reconciler.start()
    await began.wait()
    async with asyncio.timeout(5):
        await reconciler.stop()
