"""What can be asked: one generation, a page of them, the balance, the statement, the models."""

from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.facts import Kind
from contracts.model import Frozen
from contracts.money import Price, Quote
from contracts.questions import (
    LEDGER_BALANCE,
    LEDGER_STATEMENT,
    Balance,
    BalanceOf,
    CatalogModel,
    Statement,
    StatementOf,
)
from gateway import batches, pages, records
from gateway.batches import Batch
from gateway.identity import Caller
from gateway.offers import Offers
from gateway.orders import Order, fit
from gateway.pages import Filter, Page
from gateway.records import Generation
from gateway.refusals import Invalid, NotFound, Unavailable
from gateway.waiting import Verdicts
from runtime.broker import connected
from runtime.database import Database

LEDGER_TIMEOUT_SECONDS = 2.0
Answer = TypeVar("Answer", bound=Frozen)


class Queries:
    """The queries and what they need."""

    def __init__(self, database: Database, broker: NatsBroker, offers: Offers) -> None:
        self._database = database
        self._broker = broker
        self._offers = offers

    async def generation(self, caller: Caller, generation_id: UUID) -> Generation:
        """Raises NotFound, for somebody else's, too."""
        async with self._database.statement() as connection:
            generation = await records.get(connection, caller.user_id, generation_id)
        if generation is None:
            raise NotFound("There is no such generation.")
        return generation

    async def generation_once_final(
        self, verdicts: Verdicts, caller: Caller, generation_id: UUID, seconds: float
    ) -> Generation:
        """The same, held open until it is final or the seconds are over. Raises NotFound."""
        async with verdicts.listening(generation_id) as heard:
            generation = await self.generation(caller, generation_id)
            return await verdicts.wait(caller, generation, heard, seconds)

    async def batch(self, caller: Caller, batch_id: UUID) -> Batch:
        """Raises NotFound, for somebody else's, too."""
        async with self._database.statement() as connection:
            batch = await batches.get(connection, caller.user_id, batch_id)
        if batch is None:
            raise NotFound("There is no such batch.")
        return batch

    async def quote(self, caller: Caller, order: Order) -> tuple[Order, Quote, Balance]:
        """What an order would cost at most, with what was left open filled in, and what the caller has.

        Raises Invalid or UnknownModel for what would not be accepted, Unavailable while the ledger does not answer.
        """
        model = self._offers.model(order.kind, order.model)
        fitted = fit(order, model)
        quote = self._offers.quote(model, fitted)
        return replace(fitted, model=model.id), quote, await self.balance(caller)

    async def generations(self, caller: Caller, limit: int, cursor: str | None, wanted: Filter) -> Page:
        """The caller's generations, newest first. Raises Invalid for a cursor that is not ours."""
        try:
            async with self._database.statement() as connection:
                return await pages.page(connection, caller.user_id, limit, cursor, wanted)
        except ValueError as error:
            raise Invalid("The cursor is not one that was handed out.") from error

    async def balance(self, caller: Caller) -> Balance:
        """Raises Unavailable while the ledger does not answer."""
        return await self._ask_ledger(LEDGER_BALANCE, BalanceOf(user_id=caller.user_id), Balance)

    async def statement(self, caller: Caller, limit: int, cursor: str | None) -> Statement:
        """What happened to the caller's credits, newest first.

        Raises:
            Invalid: a cursor that is not ours.
            Unavailable: the ledger does not answer.
        """
        question = StatementOf(user_id=caller.user_id, limit=limit, cursor=cursor)
        answer = await self._ask_ledger(LEDGER_STATEMENT, question, Statement)
        if not answer.is_cursor_known:
            raise Invalid("The cursor is not one that was handed out.")
        return answer

    async def _ask_ledger(self, subject: str, question: Frozen, answer: type[Answer]) -> Answer:
        if connected(self._broker):
            payload = question.model_dump_json().encode()
            try:
                reply = await self._broker.connection.request(subject, payload, timeout=LEDGER_TIMEOUT_SECONDS)
                return answer.model_validate_json(reply.data)
            except (NatsError, TimeoutError, OSError, ValidationError):
                pass
        raise Unavailable("The ledger does not answer right now.")

    def models(self, kind: Kind | None = None) -> list[tuple[CatalogModel, list[Price]]]:
        """What can be asked for, with its prices: first the one of whatever the others do not name."""
        offers = self._offers
        return [(model, offers.prices.of(model.id)) for model in offers.models(kind)]
