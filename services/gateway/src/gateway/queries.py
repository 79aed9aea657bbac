"""What can be asked: one generation, a page of them, the balance, the statement, the models."""

from uuid import UUID

from faststream.nats import NatsBroker

from contracts.facts import Kind
from contracts.money import Price
from contracts.questions import (
    LEDGER_BALANCE,
    LEDGER_STATEMENT,
    Balance,
    BalanceOf,
    CatalogModel,
    Statement,
    StatementOf,
)
from gateway import pages, records
from gateway.identity import Caller
from gateway.offers import Offers
from gateway.pages import Page
from gateway.questions import ask_ledger
from gateway.records import Generation
from gateway.refusals import Invalid, NotFound
from runtime.database import Database

LEDGER_TIMEOUT_SECONDS = 2.0


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

    async def generations(
        self, caller: Caller, limit: int, cursor: str | None, status: str | None, kind: str | None
    ) -> Page:
        """The caller's generations, newest first. Raises Invalid for a cursor that is not ours."""
        try:
            async with self._database.statement() as connection:
                return await pages.page(connection, caller.user_id, limit, cursor, status, kind)
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

    def models(self, kind: Kind | None = None) -> list[tuple[CatalogModel, list[Price]]]:
        """What can be asked for, with its prices: first the one of whatever the others do not name."""
        offers = self._offers
        return [(model, offers.prices.of(model.id)) for model in offers.models(kind)]
