"""Whole ledger processes on a real broker: batches, redelivery, poison, questions, shutdown."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from nats.errors import NoRespondersError
from pydantic import BaseModel, ValidationError

from contracts.facts import CONTENT_TYPE, Funded, Outcome, Request, Verdict
from contracts.money import (
    Balance,
)
from contracts.questions import (
    LEDGER_AFFORDABLE,
    LEDGER_BALANCE,
    LEDGER_PRICES,
    Affordability,
    Affordable,
    BalanceOf,
)
from contracts.topology import (
    DEAD,
    GENERATION,
    OUTCOMES,
    funded_subject,
    outcome_subject,
    requested_subject,
)
from ledger import holds
from ledger.balances import Balances
from ledger.settings import CreditSettings
from runtime.broker import last_on, publish, publish_unique

from .conftest import get
from .samples import CREDIT, cancelled, completed, failed, request, requested

pytestmark = pytest.mark.connected


async def eventually(true: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Looks at the time itself: what is asked may lose a cancellation that comes beside its answer, as nats-py does."""
    until = time.monotonic() + seconds
    while not await true():
        if time.monotonic() > until:
            raise TimeoutError
        await asyncio.sleep(0.02)


async def drive(broker, *asked: Request) -> None:
    await asyncio.gather(
        *(
            publish(
                broker,
                requested_subject(each),
                requested(each).encode(),
                stream="GENERATION",
                content_type=CONTENT_TYPE,
            )
            for each in asked
        )
    )


async def end(broker, *outcomes: Outcome) -> None:
    for outcome in outcomes:
        subject = outcome_subject(outcome.data.generation_id)
        await publish_unique(broker, subject, outcome.encode(), stream="OUTCOMES", content_type=CONTENT_TYPE)


async def decided(streams) -> tuple[set[str], set[str]]:
    """The ids that the streams know as funded, and those that have an outcome."""
    funded = {subject.rsplit(".", 1)[1] for subject in await streams.subjects(GENERATION) if ".funded." in subject}
    ended = {subject.rsplit(".", 1)[1] for subject in await streams.subjects(OUTCOMES)}
    return funded, ended


async def ask(broker, subject: str, question: BaseModel, answer: type[BaseModel]):
    reply = await broker.connection.request(subject, question.model_dump_json().encode(), timeout=3)
    return answer.model_validate_json(reply.data)


async def credit_balance(broker, user: UUID) -> tuple[int, int, int]:
    found = await ask(broker, LEDGER_BALANCE, BalanceOf(user_id=user), Balance)
    return found.available // CREDIT, found.held // CREDIT, found.used // CREDIT


async def test_p7_fifty_requests_on_ten_credits_in_two_processes_fund_exactly_ten(service, broker, streams):
    user = uuid4()
    asked = [request(user) for _ in range(50)]
    async with service(), service():
        await drive(broker, *asked, *asked[::3])

        async def all_decided() -> bool:
            funded, ended = await decided(streams)
            return len(funded | ended) == 50

        await eventually(all_decided)
        funded, ended = await decided(streams)
        assert (len(funded), len(ended)) == (10, 40)
        assert not funded & ended
        assert await credit_balance(broker, user) == (0, 10, 0)
        for each in asked:
            if str(each.generation_id) in ended:
                outcome = Outcome.decode(await last_on(broker, outcome_subject(each.generation_id), stream="OUTCOMES"))
                assert (outcome.data.verdict, outcome.data.failure.code) == (Verdict.DECLINED, "insufficient_credits")


async def test_the_way_of_one_generation_from_requested_to_captured(service, broker, streams):
    asked = request(uuid4(), count=4)
    async with service():
        await drive(broker, asked)
        await eventually(lambda: is_kept(broker, funded_subject(asked), "GENERATION"))
        fact = Funded.decode(await last_on(broker, funded_subject(asked), stream="GENERATION"))
        assert (fact.data, fact.traceparent) == (asked, requested(asked).traceparent)
        await end(broker, completed(asked.generation_id, 3))
        await eventually(lambda: nothing_left(streams))
        assert await credit_balance(broker, asked.user_id) == (7, 0, 3)


async def test_promise_2_a_request_driven_again_after_a_wipe_tells_the_new_log_how_it_ended(service, broker, streams):
    asked = request(uuid4())
    outcome = completed(asked.generation_id)
    async with service():
        await drive(broker, asked)
        await eventually(lambda: is_kept(broker, funded_subject(asked), "GENERATION"))
        await end(broker, outcome)
        await eventually(lambda: nothing_left(streams))
        await streams.remove(OUTCOMES)
        await streams.create(OUTCOMES)
        await drive(broker, asked)
        await eventually(lambda: is_kept(broker, outcome_subject(asked.generation_id), "OUTCOMES"))
        kept = await last_on(broker, outcome_subject(asked.generation_id), stream="OUTCOMES")
        assert Outcome.decode(kept) == outcome
        assert await credit_balance(broker, asked.user_id) == (9, 0, 1)


async def test_promise_2_a_process_that_dies_before_it_held_has_said_nothing_and_loses_nothing(
    service, broker, streams, monkeypatch
):
    """What is asked for is held, then said to be funded, then acknowledged."""
    asked = request(uuid4())
    with monkeypatch.context() as dying:
        begun = stall(dying, "open_usual")
        async with service():
            await drive(broker, asked)
            await begun.wait()
            await asyncio.sleep(0.1)
        assert await decided(streams) == (set(), set())
    async with service():
        await eventually(lambda: is_kept(broker, funded_subject(asked), "GENERATION"), seconds=3)
        assert await credit_balance(broker, asked.user_id) == (9, 1, 0)


async def test_promise_2_an_outcome_whose_process_died_before_it_settled_is_settled_by_the_next(
    service, broker, streams, operations, monkeypatch
):
    asked = request(uuid4())
    await operations.hold([requested(asked)])
    with monkeypatch.context() as dying:
        begun = stall(dying, "look")
        async with service():
            await end(broker, completed(asked.generation_id))
            await begun.wait()
            await asyncio.sleep(0.1)

    async def captured() -> bool:
        return (await operations.balance(asked.user_id))[0].used == CREDIT

    async with service():
        await eventually(captured, seconds=3)


async def test_promise_3_a_cancel_before_the_request_is_handled_starts_nothing(service, broker, streams):
    asked = request(uuid4())
    await end(broker, cancelled(asked.generation_id))
    async with service():
        await eventually(lambda: nothing_left(streams))
        await drive(broker, asked)
        await eventually(lambda: nothing_left(streams))
        funded, _ = await decided(streams)
        assert funded == set()
        assert await credit_balance(broker, asked.user_id) == (10, 0, 0)


async def test_one_guilty_fact_in_a_batch_only_delays_itself(service, broker, streams):
    good = [request(uuid4()) for _ in range(6)]
    guilty = request(uuid4(), unit_price=10**30)
    await drive(broker, *good[:3], guilty, *good[3:])
    async with service():

        async def neighbours_are_funded() -> bool:
            return (await decided(streams))[0] == {str(each.generation_id) for each in good}

        await eventually(neighbours_are_funded, seconds=3)
        await eventually(lambda: nothing_left(streams, but=1), seconds=3)


async def test_f12_what_cannot_be_read_goes_to_dead_and_blocks_nobody(service, broker, streams):
    asked = request(uuid4())
    subject = requested_subject(request(uuid4()))
    for payload in (b"123", b"{}", b"\xff"):
        await publish(broker, subject, payload, stream="GENERATION", content_type=CONTENT_TYPE)
    async with service():
        await drive(broker, asked)
        await eventually(lambda: nothing_left(streams))
        assert (await decided(streams))[0] == {str(asked.generation_id)}
        assert await streams.subjects(DEAD) == ["dead.ledger-hold-requested"] * 3


# -- questions ------------------------------------------------------------------------------------------------


@pytest.fixture
def patience(monkeypatch) -> None:
    """A log on a busy machine is not mute."""
    for name in ("AFFORDABLE_PATIENCE_SECONDS", "BALANCE_PATIENCE_SECONDS"):
        monkeypatch.setattr(f"ledger.balances.{name}", 5.0)


async def test_a_stranger_can_afford_the_starting_grant_and_no_more(service, broker):
    user = uuid4()
    async with service():
        for amount, affordable in [(0, True), (10 * CREDIT, True), (10 * CREDIT + 1, False)]:
            answer = await ask(broker, LEDGER_AFFORDABLE, Affordable(user_id=user, amount=amount), Affordability)
            assert answer == Affordability(affordable=affordable, available=10 * CREDIT)


@pytest.mark.parametrize("outcome_known", [True, False])
async def test_promise_9_a_balance_counts_an_outcome_that_is_in_the_log_already(
    broker, operations, patience, outcome_known
):
    """No consumer runs here: the question itself looks into the log."""
    asked = request(uuid4(), count=10)
    await operations.hold([requested(asked)])
    if outcome_known:
        await end(broker, completed(asked.generation_id, 4))
    found = await Balances(operations, broker).of(asked.user_id)
    expected = (6, 0, 4) if outcome_known else (0, 10, 0)
    assert (found.available // CREDIT, found.held // CREDIT, found.used // CREDIT) == expected


async def test_promise_9_what_a_finished_generation_released_can_be_spent_at_once(broker, operations, patience):
    asked = request(uuid4(), count=10)
    await operations.hold([requested(asked)])
    balances = Balances(operations, broker)
    question = Affordable(user_id=asked.user_id, amount=10 * CREDIT)
    assert not (await balances.affordable(question)).affordable
    await end(broker, failed(asked.generation_id))
    assert (await balances.affordable(question)).affordable


async def test_a_no_is_said_in_time_while_the_log_is_mute(broker, operations, streams):
    """The asker goes on after 250 ms, a question to the log gives up after two seconds."""
    asked = request(uuid4(), count=10)
    await operations.hold([requested(asked)])
    await streams.remove(OUTCOMES)
    mute = await broker.connection.subscribe("$JS.API.DIRECT.GET.OUTCOMES.>")
    await broker.connection.flush()
    async with asyncio.timeout(1.0):
        answer = await Balances(operations, broker).affordable(Affordable(user_id=asked.user_id, amount=1))
    assert not answer.affordable
    await mute.unsubscribe()
    await streams.create(OUTCOMES)


# -- the process ----------------------------------------------------------------------------------------------


async def test_ready_names_a_consumer_that_is_gone_and_recovers_by_itself(service, broker, streams):
    """A fact shows at once that a consumer works, a heartbeat after seconds."""
    async with service() as app:
        await drive(broker, request(uuid4()))
        await end(broker, cancelled(uuid4()))

        async def is_ready() -> bool:
            return (await get(app, "/ready"))[0] == 200

        await eventually(is_ready)
        assert (await get(app, "/live"))[0] == 200
        assert b"facts_handled_total" in (await get(app, "/metrics"))[1]
        await streams.remove(GENERATION)

        async def not_ready() -> bool:
            status, body = await get(app, "/ready")
            return status == 503 and "ledger-hold-requested" in "".join(json.loads(body)["problems"])

        await eventually(not_ready)
        await streams.create(GENERATION)
        await drive(broker, request(uuid4()))
        await eventually(is_ready)


async def test_p22_a_process_that_stopped_answers_nothing_and_the_next_one_goes_on(service, broker, streams):
    first, second = request(uuid4()), request(uuid4())
    async with service():
        await drive(broker, first)
        await eventually(lambda: nothing_left(streams))
    with pytest.raises((NoRespondersError, TimeoutError)):
        await broker.connection.request(LEDGER_PRICES, b"{}", timeout=0.5)
    await drive(broker, second)
    async with service():
        await eventually(lambda: nothing_left(streams))
        assert (await decided(streams))[0] == {str(first.generation_id), str(second.generation_id)}


def test_the_starting_grant_is_an_exact_number_of_units(monkeypatch):
    monkeypatch.setenv("DEFAULT_USER_CREDITS", "2.5")
    assert CreditSettings().starting_grant == 25_000
    for wrong in ("-1", "0.00001", "NaN", "1e13"):
        monkeypatch.setenv("DEFAULT_USER_CREDITS", wrong)
        with pytest.raises(ValidationError):
            CreditSettings()
    monkeypatch.delenv("DEFAULT_USER_CREDITS")
    assert CreditSettings().default_user_credits == Decimal(10)


def stall(monkeypatch, name: str) -> asyncio.Event:
    """A process gets as far as this function of `ledger.holds` and no further; then it is killed."""
    begun = asyncio.Event()

    async def never(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(holds, name, never)
    monkeypatch.setattr("runtime.consumption.SHUTDOWN_GRACE_SECONDS", 0.1)
    return begun


async def is_kept(broker, subject: str, stream: str) -> bool:
    return await last_on(broker, subject, stream=stream) is not None


async def nothing_left(streams, but: int = 0) -> bool:
    return but == await streams.unsettled("ledger-hold-requested", GENERATION) + await streams.unsettled(
        "ledger-settle-outcomes", OUTCOMES
    )
