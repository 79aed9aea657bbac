"""The ledger, the generator and storage, played by one object: it does as a test tells it, for each user."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import APIError

from contracts import topology
from contracts.facts import (
    CONTENT_TYPE,
    Failure,
    Funded,
    Kind,
    Outcome,
    Output,
    Rendered,
    Rendering,
    Request,
    Requested,
    Verdict,
)
from contracts.money import (
    Balance,
    Price,
    PriceList,
)
from contracts.payments import (
    ConfirmedPayment,
    ConfirmPayment,
    CreatedPayment,
    CreatePayment,
    CreditPack,
    CreditPacks,
    PaymentEvent,
    PaymentEventVerdict,
)
from contracts.progress import Progress
from contracts.questions import (
    GENERATOR_CATALOG,
    LEDGER_AFFORDABLE,
    LEDGER_BALANCE,
    LEDGER_CONFIRM_PAYMENT,
    LEDGER_CONSUME,
    LEDGER_CREATE_PAYMENT,
    LEDGER_CREDIT_PACKS,
    LEDGER_PAYMENT_EVENT,
    LEDGER_PRICES,
    LEDGER_STATEMENT,
    LEDGER_USAGE,
    Affordability,
    Affordable,
    BalanceOf,
    Catalog,
    CatalogModel,
    ConsumeCredits,
    Consumption,
    Plan,
)
from contracts.statement import Statement, StatementOf
from contracts.usage import (
    UsageEntry,
    UsageOf,
    UsageReport,
    UsageTotal,
)

from .outcomes import outcome_of

Script = Callable[[Request], Awaitable[Any]]

SEEDREAM = "seedream-3-0-t2i-250415"
SEEDANCE = "seedance-1-0-lite-t2v"
WRITER = "gpt-4o-mini"
SIZES = ("1024x1024", "512x512", "1536x1024", "1024x1536")
CATALOG = Catalog(
    version=1,
    models=(
        CatalogModel(
            id=SEEDREAM,
            kind=Kind.IMAGE,
            provider="modelark",
            sizes=SIZES,
            default_size="1024x1024",
            max_count=4,
            deadline_seconds=60,
            p99_seconds=20,
        ),
        CatalogModel(id="old-image", kind=Kind.IMAGE, provider="openai", state="legacy", max_count=10),
        CatalogModel(id="switched-off", kind=Kind.IMAGE, provider="openai", state="off"),
        CatalogModel(id="unpriced", kind=Kind.IMAGE, provider="openai"),
        CatalogModel(id="a-voice", kind=Kind.SPEECH, provider="elevenlabs", max_prompt_characters=100),
        CatalogModel(
            id=SEEDANCE,
            kind=Kind.VIDEO,
            provider="modelark",
            sizes=("1280x720", "720x1280", "1024x1024"),
            default_size="1280x720",
            seconds=tuple(range(2, 13)),
            default_seconds=5,
            inputs=("first_frame",),
        ),
        CatalogModel(id=WRITER, kind=Kind.TEXT, provider="openai", max_tokens=1000, calls_tools=True),
    ),
)
PRICES = PriceList(
    version=7,
    prices={
        SEEDREAM: 10_000,
        "old-image": 2_500,
        "switched-off": 1,
        "a-voice": 5_000,
        SEEDANCE: 10_000,
        WRITER: 100_000,
    },
    table=(
        Price(model=SEEDREAM, amount=15_000, size="1536x1024"),
        Price(model=SEEDREAM, amount=30_000, size="1536x1024", quality="hd"),
        Price(model=SEEDANCE, amount=10_000, per="second"),
        Price(model=WRITER, amount=100_000, input_amount=20_000, per="million_tokens"),
    ),
)
STARTING_UNITS = 10_000_000
PACKS = CreditPacks(
    packs=(CreditPack(id="small", credits=1_000_000, price=1000, currency="usd"),), publishable_key="pk_test_1"
)


class Players:
    """Answers questions and plays facts. Without a script every request is funded, rendered and completed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._jetstream = client.jetstream(timeout=5)
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard = asyncio.Condition()
        self.catalog, self.prices = CATALOG, PRICES
        self.scripts: dict[UUID, Script] = {}
        """What happens to a user's requests."""
        self.available: dict[UUID, int] = defaultdict(lambda: STARTING_UNITS)
        self.silent: set[UUID] = set()
        """Users about whom the ledger says nothing."""
        self.statements: dict[tuple[UUID, str | None, int], Statement] = {}
        """By user, cursor and limit."""
        self.payments: dict[UUID, CreatedPayment] = {}
        """What is answered to a user who begins to pay."""
        self.confirmations: dict[tuple[UUID, str], ConfirmedPayment] = {}
        """By user and reference."""
        self.begun: list[CreatePayment] = []
        self.events: list[PaymentEvent] = []
        """Every webhook that was handed on."""
        self.event_verdict: PaymentEventVerdict | None = PaymentEventVerdict(verdict="accepted")
        """None: the ledger is silent."""
        self.plans: dict[UUID, Plan] = defaultdict(Plan)
        self.left_today: dict[UUID, int] = {}
        self.consumed: dict[UUID, ConsumeCredits] = {}
        """By consumption id."""
        self.usage: list[UsageOf] = []
        self.asked: list[Affordable] = []
        self.requested: list[Requested] = []
        """Every `requested` that the bus carried, in order."""

    async def start(self) -> None:
        for subject, answer in [
            (GENERATOR_CATALOG, self._catalog),
            (LEDGER_PRICES, self._prices),
            (LEDGER_AFFORDABLE, self._affordable),
            (LEDGER_BALANCE, self._balance),
            (LEDGER_STATEMENT, self._statement),
            (LEDGER_CREDIT_PACKS, self._packs),
            (LEDGER_CREATE_PAYMENT, self._create_payment),
            (LEDGER_CONFIRM_PAYMENT, self._confirm_payment),
            (LEDGER_PAYMENT_EVENT, self._payment_event),
            (LEDGER_CONSUME, self._consume),
            (LEDGER_USAGE, self._usage),
            ("generation.requested.>", self._requested),
        ]:
            await self._client.subscribe(subject, cb=answer)
        for _ in range(2):  # the first ping overtakes what nats-py has not written yet
            await self._client.flush()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what the bus carried ---------------------------------------------------------------------------------

    def of(self, user_id: UUID) -> list[Request]:
        """A user's requests as they were published, repetitions included."""
        return [fact.data for fact in self.requested if fact.data.user_id == user_id]

    async def published(self, user_id: UUID, times: int = 1, seconds: float = 5) -> list[Request]:
        """The same, once there are so many: who was answered may be ahead of the bus."""
        async with asyncio.timeout(seconds), self._heard:
            await self._heard.wait_for(lambda: len(self.of(user_id)) >= times)
        return self.of(user_id)

    async def heard(self, generation_id: UUID | str, times: int = 1, seconds: float = 5) -> Request:
        """Waits until a generation was requested so many times."""
        wanted = str(generation_id)

        def count() -> int:
            return sum(fact.subject == wanted for fact in self.requested)

        async with asyncio.timeout(seconds), self._heard:
            await self._heard.wait_for(lambda: count() >= times)
        return next(fact.data for fact in self.requested if fact.subject == wanted)

    # -- what the others say ----------------------------------------------------------------------------------

    async def hold(self, _: Request) -> None:
        """Nobody does anything: the test says the next word."""

    async def complete(self, request: Request, delivered: int | None = None) -> bool:
        """The whole way; `delivered` below the count is a partial delivery. False where another outcome was first."""
        await self.fund(request)
        await self.render(request)
        return await self.end(request, Verdict.COMPLETED, delivered=delivered)

    async def fund(self, request: Request) -> None:
        fact = Funded.of(request, "ledger", None)
        await self._publish(topology.funded_subject(request), fact.encode())

    async def render(self, request: Request) -> None:
        outputs = tuple(Output(index=index, url="https://provider.example/picture") for index in range(request.count))
        fact = Rendered.of(Rendering(request=request, provider="modelark", outputs=outputs), "generator", None)
        await self._publish(topology.rendered_subject(request), fact.encode())

    async def end(
        self, request: Request, verdict: Verdict, failure: Failure | None = None, delivered: int | None = None
    ) -> bool:
        """False where the log has another outcome already."""
        return await self.say(outcome_of(request, verdict, failure, delivered))

    async def write(self, request: Request, text: str) -> bool:
        """The whole way, of these words."""
        await self.fund(request)
        ending = outcome_of(request, Verdict.COMPLETED).data
        return await self.say(Outcome.of(ending.model_copy(update={"text": text}), "generator", None))

    async def say(self, outcome: Outcome) -> bool:
        try:
            await self._publish(topology.outcome_subject(outcome.data.generation_id), outcome.encode())
        except APIError as error:
            assert error.err_code == 10077
            return False
        return True

    async def progress(
        self, generation_id: UUID | str, number: int, percent: int, stage: str = "rendering", **more: Any
    ) -> None:
        progress = Progress(generation_id=UUID(str(generation_id)), number=number, stage=stage, percent=percent, **more)
        await self._client.publish(
            topology.progress_subject(progress.generation_id), progress.model_dump_json().encode()
        )
        await self._client.flush()

    async def _publish(self, subject: str, payload: bytes) -> None:
        await self._jetstream.publish(subject, payload, headers={"content-type": CONTENT_TYPE})

    # -- questions --------------------------------------------------------------------------------------------

    async def _catalog(self, message: Msg) -> None:
        await message.respond(self.catalog.model_dump_json().encode())

    async def _prices(self, message: Msg) -> None:
        await message.respond(self.prices.model_dump_json().encode())

    async def _affordable(self, message: Msg) -> None:
        question = Affordable.model_validate_json(message.data)
        self.asked.append(question)
        if question.user_id not in self.silent:
            available = self.available[question.user_id]
            left = self.left_today.get(question.user_id)
            answer = Affordability(
                affordable=question.amount <= available and (left is None or question.amount <= left),
                available=available,
                left_today=left,
                plan=self.plans[question.user_id],
            )
            await message.respond(answer.model_dump_json().encode())

    async def _balance(self, message: Msg) -> None:
        question = BalanceOf.model_validate_json(message.data)
        if question.user_id not in self.silent:
            answer = Balance(available=self.available[question.user_id], held=12_500, used=40_001)
            await message.respond(answer.model_dump_json().encode())

    async def _statement(self, message: Msg) -> None:
        question = StatementOf.model_validate_json(message.data)
        if question.user_id not in self.silent:
            answer = self.statements.get((question.user_id, question.cursor, question.limit))
            answer = answer or Statement(entries=(), cursor=None, is_cursor_known=question.cursor is None)
            await message.respond(answer.model_dump_json().encode())

    async def _packs(self, message: Msg) -> None:
        await message.respond(PACKS.model_dump_json().encode())

    async def _create_payment(self, message: Msg) -> None:
        question = CreatePayment.model_validate_json(message.data)
        self.begun.append(question)
        if question.user_id in self.payments:
            await message.respond(self.payments[question.user_id].model_dump_json().encode())

    async def _confirm_payment(self, message: Msg) -> None:
        question = ConfirmPayment.model_validate_json(message.data)
        unknown = ConfirmedPayment(state="unknown")
        answer = self.confirmations.get((question.user_id, question.reference), unknown)
        await message.respond(answer.model_dump_json().encode())

    async def _payment_event(self, message: Msg) -> None:
        self.events.append(PaymentEvent.model_validate_json(message.data))
        if self.event_verdict is not None:
            await message.respond(self.event_verdict.model_dump_json().encode())

    async def _consume(self, message: Msg) -> None:
        question = ConsumeCredits.model_validate_json(message.data)
        if question.user_id in self.silent:
            return
        known = self.consumed.get(question.consumption_id)
        state: Literal["consumed", "insufficient_credits", "mismatch"] = "consumed"
        if known is not None and known.amount != question.amount:
            state = "mismatch"
        elif known is None and question.amount > self.available[question.user_id]:
            state = "insufficient_credits"
        elif known is None:
            self.consumed[question.consumption_id] = question
            self.available[question.user_id] -= question.amount
        answer = Consumption(state=state, required=question.amount, available=self.available[question.user_id])
        await message.respond(answer.model_dump_json().encode())

    async def _usage(self, message: Msg) -> None:
        question = UsageOf.model_validate_json(message.data)
        self.usage.append(question)
        day = question.until
        entry = UsageEntry(at=datetime(day.year, day.month, day.day, tzinfo=UTC), state="consumed", used=15_000)
        total = UsageTotal(day=day, kind=None, model=None, number=1, used=15_000)
        answer = UsageReport(entries=(entry,), totals=(total,), total=1)
        await message.respond(answer.model_dump_json().encode())

    async def _requested(self, message: Msg) -> None:
        fact = Requested.decode(message.data)
        async with self._heard:
            self.requested.append(fact)
            self._heard.notify_all()
        task = asyncio.create_task(self._play(fact.data))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _play(self, request: Request) -> None:
        script = self.scripts.get(request.user_id, self.complete)
        await script(request)
