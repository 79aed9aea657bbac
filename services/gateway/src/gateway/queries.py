"""What can be asked: one generation, a page of them, the balance, the statement, the usage, the models."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from faststream.nats import NatsBroker

from contracts.facts import Asset, Kind
from contracts.money import (
    Balance,
    Price,
    Quote,
)
from contracts.questions import (
    LEDGER_AFFORDABLE,
    LEDGER_BALANCE,
    LEDGER_STATEMENT,
    LEDGER_USAGE,
    Affordability,
    Affordable,
    BalanceOf,
    CatalogModel,
)
from contracts.statement import Statement, StatementOf
from contracts.usage import (
    MAX_USAGE_DAYS,
    UsageOf,
    UsageReport,
)
from gateway import batches, files, pages, records, turns
from gateway.batches import Batch
from gateway.identity import Caller
from gateway.inputs import Inputs
from gateway.offers import Offers
from gateway.orders import Order, check_count, fit
from gateway.pages import Filter, Page
from gateway.questions import ask_ledger
from gateway.records import Generation
from gateway.refusals import Gone, Invalid, NotFound
from gateway.waiting import Verdicts
from runtime.database import Database

LEDGER_TIMEOUT_SECONDS = 2.0
USAGE_DAYS = 30


class Queries:
    """The queries and what they need."""

    def __init__(self, database: Database, broker: NatsBroker, offers: Offers, inputs: Inputs) -> None:
        self._database = database
        self._broker = broker
        self._offers = offers
        self._inputs = inputs

    async def generation(self, caller: Caller, generation_id: UUID) -> Generation:
        """Raises NotFound, for somebody else's, too."""
        async with self._database.statement() as connection:
            generation = await records.get(connection, caller.user_id, generation_id)
        if generation is None:
            raise NotFound("There is no such generation.")
        return generation

    async def file(
        self, caller: Caller, dialect: str, file_name: str, *, also_deleted: bool = False
    ) -> tuple[Generation, Asset]:
        """A stored file by its name (`files.named`). Raises NotFound, for somebody else's, too."""
        async with self._database.statement() as connection:
            found = await files.named(connection, caller.user_id, dialect, file_name, also_deleted=also_deleted)
        if found is None:
            raise NotFound("There is no such file.")
        return found

    async def generation_once_final(
        self, verdicts: Verdicts, caller: Caller, generation_id: UUID, seconds: float
    ) -> Generation:
        """The same, held open until it is final or the seconds are over. Raises NotFound, TooManyRequests."""
        with verdicts.place(caller.user_id):
            async with verdicts.listening(generation_id) as heard:
                generation = await self.generation(caller, generation_id)
                try:
                    return await verdicts.wait(caller, generation, heard, seconds)
                except Gone as error:
                    raise NotFound("There is no such generation.") from error

    async def position(self, generation: Generation) -> int:
        """How many of its user's generations wait before it (`turns.ahead`)."""
        if generation.published:
            return 0  # it has a slot: others wait for nobody
        async with self._database.statement() as connection:
            return await turns.ahead(connection, generation)

    async def batch(self, caller: Caller, batch_id: UUID) -> Batch:
        """Raises NotFound, for somebody else's, too."""
        async with self._database.statement() as connection:
            batch = await batches.get(connection, caller.user_id, batch_id)
        if batch is None:
            raise NotFound("There is no such batch.")
        return batch

    async def price(self, caller: Caller, order: Order) -> tuple[Order, Quote]:
        """What an order would cost at most, with what was left open filled in.

        Raises Invalid, InputNotFound or UnknownModel for what would not be accepted, Unavailable while somebody does
        not answer.
        """
        model = self._offers.model(order.kind, order.model)
        fitted = await self._inputs.find(caller, fit(self._inputs.named(order), model))
        return replace(fitted, model=model.id), self._offers.quote(model, fitted)

    def is_retired(self, model: str) -> bool:
        """Whether the name is one that should not be asked for any more."""
        return self._offers.is_retired(model)

    def cost(self, order: Order) -> Quote:
        """What an order costs at most, whatever it starts from. Raises UnknownModel, Invalid, Unavailable."""
        return self._offers.quote(self._offers.model(order.kind, order.model), order)

    async def quote(self, caller: Caller, order: Order) -> tuple[Order, Quote, Affordability]:
        """The same, and whether the caller could pay it now, as it is asked before it is accepted. Raises what `price`
        does; Invalid for more than the plan allows at once, too."""
        fitted, quote = await self.price(caller, order)
        asked = Affordable(user_id=caller.user_id, amount=quote.amount, prepaid=order.prepaid)
        answer = await ask_ledger(self._broker, LEDGER_AFFORDABLE, asked, Affordability, LEDGER_TIMEOUT_SECONDS)
        check_count(answer.plan, [order])
        return fitted, quote, answer

    async def generations(self, caller: Caller, limit: int, cursor: str | None, wanted: Filter) -> Page:
        """The caller's generations, newest first. Raises Invalid for a cursor that is not ours."""
        try:
            async with self._database.statement() as connection:
                return await pages.page(connection, caller.user_id, limit, cursor, wanted)
        except ValueError as error:
            raise Invalid("The cursor is not one that was handed out.") from error

    async def balance(self, caller: Caller) -> Balance:
        """Raises Unavailable while the ledger does not answer."""
        return await ask_ledger(
            self._broker, LEDGER_BALANCE, BalanceOf(user_id=caller.user_id), Balance, LEDGER_TIMEOUT_SECONDS
        )

    async def statement(self, caller: Caller, limit: int, cursor: str | None) -> Statement:
        """What happened to the caller's credits, newest first.

        Raises:
            Invalid: a cursor that is not ours.
            Unavailable: the ledger does not answer.
        """
        question = StatementOf(user_id=caller.user_id, limit=limit, cursor=cursor)
        answer = await ask_ledger(self._broker, LEDGER_STATEMENT, question, Statement, LEDGER_TIMEOUT_SECONDS)
        if not answer.is_cursor_known:
            raise Invalid("The cursor is not one that was handed out.")
        return answer

    async def usage(
        self, caller: Caller, since: date | None, until: date | None, limit: int, offset: int
    ) -> UsageReport:
        """What the caller's credits went into, newest first; the last 30 days (UTC) where nothing else is said.

        Raises:
            Invalid: days in the wrong order, or more than a year of them.
            Unavailable: the ledger does not answer.
        """
        until = until or datetime.now(UTC).date()
        since = since or until - timedelta(days=min(USAGE_DAYS - 1, until.toordinal() - 1))
        if not 0 <= (until - since).days < MAX_USAGE_DAYS:
            raise Invalid(f"Ask for 1 to {MAX_USAGE_DAYS} days.")
        question = UsageOf(user_id=caller.user_id, since=since, until=until, limit=limit, offset=offset)
        return await ask_ledger(self._broker, LEDGER_USAGE, question, UsageReport, LEDGER_TIMEOUT_SECONDS)

    def models(self, kind: Kind | None = None) -> list[tuple[CatalogModel, Sequence[Price]]]:
        """What can be asked for, with its prices: first the one of whatever the others do not name."""
        offers = self._offers
        return [(model, offers.prices.of(model.id)) for model in offers.models(kind)]
