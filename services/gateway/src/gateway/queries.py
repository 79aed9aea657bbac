"""What can be asked: one generation, a page of them, the balance, the models."""

from uuid import UUID

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.facts import Kind
from contracts.questions import LEDGER_BALANCE, Balance, BalanceOf, CatalogModel
from gateway import pages, records
from gateway.identity import Caller
from gateway.offers import Offers
from gateway.pages import Page
from gateway.records import Generation
from gateway.refusals import Invalid, NotFound, Unavailable
from runtime.broker import connected
from runtime.database import Database

BALANCE_TIMEOUT_SECONDS = 2.0


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
        if connected(self._broker):
            question = BalanceOf(user_id=caller.user_id).model_dump_json().encode()
            try:
                answer = await self._broker.connection.request(
                    LEDGER_BALANCE, question, timeout=BALANCE_TIMEOUT_SECONDS
                )
                return Balance.model_validate_json(answer.data)
            except (NatsError, TimeoutError, OSError, ValidationError):
                pass
        raise Unavailable("The ledger does not answer right now.")

    def models(self, kind: Kind | None = None) -> list[tuple[CatalogModel, int]]:
        """What can be asked for, with the price of one output in units."""
        prices = self._offers.prices.prices
        return [(model, prices[model.id]) for model in self._offers.models(kind)]
