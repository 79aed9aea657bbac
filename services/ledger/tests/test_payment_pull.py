"""What webhooks never brought: asked for, applied by the same code, told; and whole processes that die in between."""

import asyncio
import io
import sys
from uuid import UUID, uuid4

import aiohttp
import pytest
from aiohttp import web
from pydantic import BaseModel, SecretStr
from sqlalchemy import text

from contracts.facts import PaymentReceived
from contracts.ids import event_id
from contracts.payments import (
    BegunPayment,
    ConfirmedPayment,
    ConfirmPayment,
    CreatedPayment,
    CreatePayment,
    CreditPacks,
    PaymentEventVerdict,
)
from contracts.questions import (
    LEDGER_CONFIRM_PAYMENT,
    LEDGER_CREATE_PAYMENT,
    LEDGER_CREDIT_PACKS,
    LEDGER_PAYMENT_EVENT,
    Nothing,
)
from contracts.topology import CREDITS
from ledger.payments import provider as provider_module
from ledger.payments import pull as pull_module
from ledger.payments.operations import Payments
from ledger.payments.provider import SilentError
from ledger.payments.pull import Pull
from runtime.broker import last_on

from .bank import DISPUTING, Bank, begin, quiet
from .test_connected import ask, eventually
from .test_payments import money

pytestmark = pytest.mark.connected


@pytest.fixture(autouse=True)
async def nothing_asked_for_yet(database) -> None:
    """Every test has an account at Stripe of its own, and asks it for the first time."""
    async with database.statement() as connection:
        await connection.execute(text("DELETE FROM payment_pulls"))


@pytest.fixture
def pull(database, broker, payments) -> Pull:
    return Pull(database, broker, payments, 60)


async def told(streams, user: UUID) -> int:
    return (await streams.subjects(CREDITS)).count(f"credits.payment_received.{user}")


# -- a round ------------------------------------------------------------------------------------------------------


async def test_p10_what_no_webhook_brought_is_healed_by_a_round(payments, bank, operations, pull, streams):
    users = {uuid4(): (110, 0, 0), uuid4(): (80, 0, 0), uuid4(): (10, 0, 0), uuid4(): (110, 0, 0), uuid4(): (10, 0, 0)}
    paid, refunded, lost, won, unpaid = [await begin(payments, user) for user in users]
    await bank.pay(paid)
    await bank.pay(refunded)
    await bank.refund(refunded, 300)
    for begun, evidence in ((lost, "losing_evidence"), (won, "winning_evidence")):
        await bank.pay(begun, DISPUTING)
        await bank.end_dispute(begun, evidence)
    await pull.round()
    assert {user: await money(operations, user) for user in users} == users
    await pull.round()
    await bank.tell(payments)
    assert {user: await money(operations, user) for user in users} == users
    assert [await told(streams, user) for user in users] == [1, 1, 1, 1, 0]
    assert unpaid.status == "requires_payment_method"


async def test_a_round_reads_as_many_pages_as_there_are_and_then_only_what_is_new(
    payments, bank, operations, pull, monkeypatch
):
    monkeypatch.setattr(provider_module, "EVENTS_PER_PAGE", 3)
    users = [uuid4() for _ in range(5)]
    for user in users:
        await bank.pay(await begin(payments, user))
    asked = []
    events = payments.provider.events

    async def counted(since: int, after: str | None):
        asked.append((since, after))
        return await events(since, after)

    monkeypatch.setattr(payments.provider, "events", counted)
    await pull.round()
    assert [await money(operations, user) for user in users] == [(110, 0, 0)] * 5
    assert len(asked) == 4, "two events of each payment, three on a page"
    await bank.admin("POST", "clock", {"seconds": 3600})
    late = uuid4()
    await bank.pay(await begin(payments, late))
    await pull.round()
    await pull.round()
    assert await money(operations, late) == (110, 0, 0)
    first, second, third = asked[0][0], asked[-2][0], asked[-1][0]
    assert second > first + 20 * 86_400, "the first look goes back as far as Stripe does"
    assert third > second + 3000


async def test_while_stripe_is_silent_nothing_is_passed_over(payments, bank, operations, pull, monkeypatch):
    monkeypatch.setattr(provider_module, "EVENTS_PER_PAGE", 1)
    users = [uuid4() for _ in range(2)]
    for user in users:
        await bank.pay(await begin(payments, user))
    await bank.fail("ok", "ok", "503")
    with pytest.raises(SilentError):
        await pull.round()
    assert sorted([await money(operations, user) for user in users]) == [(10, 0, 0), (110, 0, 0)]
    await pull.round()
    assert [await money(operations, user) for user in users] == [(110, 0, 0)] * 2


async def test_an_event_that_cannot_be_applied_holds_up_no_other_and_is_looked_at_again(
    payments, bank, operations, pull, monkeypatch
):
    users = [uuid4() for _ in range(3)]
    begun = [await begin(payments, user) for user in users]
    for each in begun:
        await bank.pay(each)
    apply = Payments.apply

    async def broken(self, report, event=None):
        if report.payment_intent == begun[1].payment_intent:
            raise RuntimeError("a defect")
        return await apply(self, report, event)

    with monkeypatch.context() as patch:
        patch.setattr(Payments, "apply", broken)
        await pull.round()
    assert [await money(operations, user) for user in users] == [(110, 0, 0), (10, 0, 0), (110, 0, 0)]
    await pull.round()
    assert [await money(operations, user) for user in users] == [(110, 0, 0)] * 3


async def test_one_process_at_a_time_asks(payments, bank, pull, make_process, broker, monkeypatch):
    calls, asked, may_answer = [], asyncio.Event(), asyncio.Event()
    events = payments.provider.events

    async def slow(since: int, after: str | None):
        calls.append(since)
        if not asked.is_set():
            asked.set()
            await may_answer.wait()
        return await events(since, after)

    monkeypatch.setattr(payments.provider, "events", slow)
    first = asyncio.create_task(pull.round())
    await asked.wait()
    await Pull(make_process(), broker, payments, 60).round()
    assert len(calls) == 1
    may_answer.set()
    await first


async def test_what_was_committed_and_not_said_is_said_by_the_next_round(
    payments, bank, operations, pull, streams, broker, monkeypatch
):
    user = uuid4()
    begun = await begin(payments, user)
    await bank.pay(begun)
    await bank.tell(payments)
    with monkeypatch.context() as dying:

        async def no_bus(*_):
            raise OSError("the bus is away")

        dying.setattr(pull_module, "announce", no_bus)
        await pull.tell_soon()
        with pytest.raises(OSError, match="away"):
            await pull.round()
    assert await told(streams, user) == 0
    for _ in range(3):
        await pull.round()
    assert await told(streams, user) == 1
    fact = PaymentReceived.decode(await last_on(broker, f"credits.payment_received.{user}", stream="CREDITS"))
    assert fact.id == event_id("payment_received", "ledger", begun.payment_id)
    assert (fact.data.user_id, fact.data.amount, fact.data.price) == (user, begun.credits, 1000)
    assert (fact.data.payment_intent, fact.subject) == (begun.payment_intent, str(user))


# -- whole processes ----------------------------------------------------------------------------------------------


@pytest.fixture
async def door(broker, bank: Bank):
    """What stands in front of the ledger: hands the raw bytes on, and says 503 where nobody answers."""

    async def take(request: web.Request) -> web.Response:
        signature = request.headers.get("Stripe-Signature", "")
        question = bank.webhook(b"{}").model_copy(update={"body": await request.read(), "signature": signature})
        try:
            verdict = await ask(broker, LEDGER_PAYMENT_EVENT, question, PaymentEventVerdict)
        except Exception:
            return web.Response(status=503)
        return web.Response(status=400 if verdict.verdict == "refused" else 200)

    app = web.Application()
    app.add_routes([web.post("/webhooks/stripe", take)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/stripe"
    endpoint = await bank.sdk.v1.webhook_endpoints.create_async({"url": url, "enabled_events": ["*"]})
    yield endpoint.secret
    await bank.sdk.v1.webhook_endpoints.delete_async(endpoint.id)
    await runner.cleanup()


@pytest.fixture
def payment_settings(stripe_settings, door):
    """With the secret of the door's endpoint."""
    return stripe_settings.model_copy(update={"stripe_webhook_secret": SecretStr(door)})


async def created(broker, user: UUID) -> BegunPayment:
    question = CreatePayment(payment_id=uuid4(), user_id=user, pack="small")
    return (await ask(broker, LEDGER_CREATE_PAYMENT, question, CreatedPayment)).payment


async def test_from_asking_for_a_pack_to_the_fact_that_it_was_paid(service, broker, bank, operations, streams):
    user = uuid4()
    async with service():
        offered = await ask(broker, LEDGER_CREDIT_PACKS, Nothing(), CreditPacks)
        assert (offered.publishable_key, len(offered.packs) >= 3) == ("pk_test_of_this_stack", True)
        begun = await created(broker, user)
        await bank.admin("PUT", "stripe/deliveries", {"outcomes": ["twice", "twice", "twice"]})
        await bank.pay(begun)
        made = await quiet(bank)
        assert {each["status"] for each in made} == {200}
        assert await money(operations, user) == (110, 0, 0)
        assert await told(streams, user) == 1
        question = ConfirmPayment(user_id=user, reference=begun.payment_intent)
        confirmed = await ask(broker, LEDGER_CONFIRM_PAYMENT, question, ConfirmedPayment)
        assert (confirmed.state, confirmed.balance.available) == ("credited", begun.credits + 100_000)


@pytest.mark.parametrize("fault", ["old", "future", "forged", "tampered"])
async def test_a_webhook_gone_wrong_is_refused_at_the_door(service, broker, bank, operations, fault):
    user = uuid4()
    async with service():
        begun = await created(broker, user)
        await bank.admin("PUT", "stripe/deliveries", {"outcomes": [fault] * 2})
        await bank.pay(begun)
        wrong = [each for each in await quiet(bank) if each["fault"] == fault]
        assert wrong
        assert {each["status"] for each in wrong} == {400}
        assert await money(operations, user) == (10, 0, 0)


@pytest.mark.parametrize("moment", ["remember", "store"])
async def test_a_process_that_dies_before_it_committed_hears_of_it_again(
    service, broker, bank, operations, streams, monkeypatch, moment
):
    user = uuid4()
    with monkeypatch.context() as dying:

        async def die(*_):
            raise RuntimeError("the process is gone")

        async with service():
            begun = await created(broker, user)
            dying.setattr(f"ledger.payments.rows.{moment}", die)
            await bank.pay(begun)
            async with asyncio.timeout(10):
                while not (await bank.admin("GET", "stripe/deliveries"))["made"]:
                    await asyncio.sleep(0.02)
        assert await money(operations, user) == (10, 0, 0)
    async with service():
        # Its first round asks, whether or not Stripe has given up by now.
        async def credited() -> bool:
            return await money(operations, user) == (110, 0, 0)

        await eventually(credited)
        await quiet(bank)
        assert await money(operations, user) == (110, 0, 0)
        await eventually(lambda: is_told(streams, user))


async def is_told(streams, user: UUID) -> bool:
    return await told(streams, user) == 1


async def test_no_secret_is_in_what_is_said_or_logged(service, broker, bank, monkeypatch):
    logged = io.StringIO()  # stays open: a logger keeps what it wrote to first
    monkeypatch.setattr(sys, "stdout", logged)
    monkeypatch.setattr(sys, "stderr", logged)
    async with service():
        await bank.fail("401", "500")
        answers: list[BaseModel] = []
        for _ in range(2):
            question = CreatePayment(payment_id=uuid4(), user_id=uuid4(), pack="small")
            answers.append(await ask(broker, LEDGER_CREATE_PAYMENT, question, CreatedPayment))
        answers.append(await ask(broker, LEDGER_PAYMENT_EVENT, bank.webhook({}), PaymentEventVerdict))
    said = "".join(answer.model_dump_json() for answer in answers) + logged.getvalue()
    assert bank.key not in said
    assert bank.secret not in said
    async with aiohttp.ClientSession() as http, http.get(f"{bank.url}/__sim/health") as answer:
        assert answer.status == 200
