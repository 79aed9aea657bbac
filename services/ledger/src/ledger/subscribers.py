"""What the ledger listens to: facts in batches, and questions with an immediate answer."""

from collections.abc import Awaitable, Sequence

import structlog
from faststream.middlewares import ExceptionMiddleware
from faststream.nats import NatsBroker, NatsRouter

from contracts.facts import Outcome, Requested
from contracts.money import (
    Balance,
    PriceList,
)
from contracts.payments import (
    ConfirmedPayment,
    ConfirmPayment,
    CreatedPayment,
    CreatePayment,
    CreditPacks,
    PaymentEvent,
    PaymentEventVerdict,
)
from contracts.questions import (
    LEDGER_AFFORDABLE,
    LEDGER_BALANCE,
    LEDGER_CONFIRM_PAYMENT,
    LEDGER_CONSUME,
    LEDGER_COURSE,
    LEDGER_CREATE_PAYMENT,
    LEDGER_CREDIT_PACKS,
    LEDGER_FIGURES,
    LEDGER_GRANT,
    LEDGER_PAYMENT_EVENT,
    LEDGER_PLANS,
    LEDGER_PRICES,
    LEDGER_SET_PLAN,
    LEDGER_SET_PRICES,
    LEDGER_STATEMENT,
    LEDGER_USAGE,
    Affordability,
    Affordable,
    BalanceOf,
    ConsumeCredits,
    Consumption,
    CreditsGranted,
    GrantCredits,
    Nothing,
    PlanSet,
    PlansOf,
    PricesSet,
    SetPlan,
    SetPrices,
    UserPlans,
)
from contracts.statement import Statement, StatementOf
from contracts.topology import LEDGER_HOLD_REQUESTED, LEDGER_SETTLE_OUTCOMES
from contracts.usage import (
    UsageOf,
    UsageReport,
)
from contracts.watching import BookFigures, Course, CourseOf, FiguresOf
from ledger import watching
from ledger.announcements import announce
from ledger.balances import Balances
from ledger.operations import Ledger
from ledger.payments.operations import Payments
from ledger.payments.pull import Pull
from ledger.plans import name_plans
from ledger.pricing import price_list, set_prices
from ledger.statement import statement
from ledger.usage import usage
from runtime.consumption import Consumers
from runtime.database import Database

BATCH_SIZE = 128
LINGER_SECONDS = 0.25
"""Nobody waits for these: fewer and larger batches."""
ANSWERS_AT_ONCE = 16

log = structlog.get_logger()


def consume_facts(consumers: Consumers, broker: NatsBroker, ledger: Ledger) -> None:
    """Registers the ledger's two durable consumers."""

    @consumers.batch(LEDGER_HOLD_REQUESTED, Requested, size=BATCH_SIZE)
    async def hold(facts: Sequence[Requested]) -> Awaitable[None]:
        return announce(broker, await ledger.hold(facts))

    @consumers.batch(LEDGER_SETTLE_OUTCOMES, Outcome, size=BATCH_SIZE, linger_seconds=LINGER_SECONDS)
    async def settle(facts: Sequence[Outcome]) -> None:
        await ledger.settle(facts)


def questions(broker: NatsBroker, database: Database, ledger: Ledger, balances: Balances) -> NatsRouter:
    """Answers on the subjects of contracts.questions. What cannot be answered gets no answer, and a log line."""
    router = NatsRouter(middlewares=[ExceptionMiddleware(handlers={Exception: _unanswered})])

    @router.subscriber(LEDGER_AFFORDABLE, queue="ledger", max_workers=ANSWERS_AT_ONCE)
    async def affordable(question: Affordable) -> Affordability:
        return await balances.affordable(question)

    @router.subscriber(LEDGER_BALANCE, queue="ledger", max_workers=ANSWERS_AT_ONCE)
    async def balance(question: BalanceOf) -> Balance:
        return await balances.of(question.user_id)

    @router.subscriber(LEDGER_PRICES, queue="ledger")
    async def prices(question: Nothing) -> PriceList:
        return await price_list(database)

    @router.subscriber(LEDGER_STATEMENT, queue="ledger")
    async def entries(question: StatementOf) -> Statement:
        return await statement(database, question)

    @router.subscriber(LEDGER_GRANT, queue="ledger")
    async def grant(question: GrantCredits) -> CreditsGranted:
        return await balances.grant(question)

    @router.subscriber(LEDGER_CONSUME, queue="ledger", max_workers=ANSWERS_AT_ONCE)
    async def consume(question: ConsumeCredits) -> Consumption:
        return await balances.consume(question)

    @router.subscriber(LEDGER_USAGE, queue="ledger")
    async def used(question: UsageOf) -> UsageReport:
        return await usage(database, question)

    @router.subscriber(LEDGER_SET_PLAN, queue="ledger")
    async def plan(question: SetPlan) -> PlanSet:
        return await ledger.set_plan(question)

    @router.subscriber(LEDGER_PLANS, queue="ledger")
    async def plans_of(question: PlansOf) -> UserPlans:
        return await name_plans(database, question)

    @router.subscriber(LEDGER_SET_PRICES, queue="ledger")
    async def new_prices(question: SetPrices) -> PricesSet:
        return await set_prices(database, question)

    @router.subscriber(LEDGER_COURSE, queue="ledger")
    async def course(question: CourseOf) -> Course:
        return await watching.course(database, question)

    @router.subscriber(LEDGER_FIGURES, queue="ledger")
    async def figures(question: FiguresOf) -> BookFigures:
        return await watching.figures(database, question)

    return router


def payment_questions(payments: Payments, pull: Pull) -> NatsRouter:
    """Answers about payments, in the same way."""
    router = NatsRouter(middlewares=[ExceptionMiddleware(handlers={Exception: _unanswered})])

    @router.subscriber(LEDGER_CREDIT_PACKS, queue="ledger")
    async def packs(question: Nothing) -> CreditPacks:
        return await payments.packs()

    @router.subscriber(LEDGER_CREATE_PAYMENT, queue="ledger", max_workers=ANSWERS_AT_ONCE)
    async def create(question: CreatePayment) -> CreatedPayment:
        return await payments.create(question)

    @router.subscriber(LEDGER_CONFIRM_PAYMENT, queue="ledger", max_workers=ANSWERS_AT_ONCE)
    async def confirm(question: ConfirmPayment) -> ConfirmedPayment:
        confirmed = await payments.confirm(question)
        await pull.tell_soon()
        return confirmed

    @router.subscriber(LEDGER_PAYMENT_EVENT, queue="ledger", max_workers=ANSWERS_AT_ONCE)
    async def event(question: PaymentEvent) -> PaymentEventVerdict:
        verdict = await payments.receive(question)
        await pull.tell_soon()
        return verdict

    return router


async def _unanswered(error: Exception) -> None:
    log.warning("question.unanswered", error=f"{type(error).__name__}: {error}"[:500])
