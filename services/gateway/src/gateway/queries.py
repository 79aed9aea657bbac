"""What can be asked: one generation, a page of them, the balance, the statement, the usage, the models."""

from datetime import UTC, date, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.facts import Kind
from contracts.model import Frozen
from contracts.money import Price
from contracts.questions import (
    LEDGER_BALANCE,
    LEDGER_STATEMENT,
    LEDGER_USAGE,
    MAX_USAGE_DAYS,
    Balance,
    BalanceOf,
    CatalogModel,
    Statement,
    StatementOf,
    UsageOf,
    UsageReport,
)
from gateway import pages, records
from gateway.identity import Caller
from gateway.offers import Offers
from gateway.pages import Page
from gateway.records import Generation
from gateway.refusals import Invalid, NotFound, Unavailable
from runtime.broker import connected
from runtime.database import Database

LEDGER_TIMEOUT_SECONDS = 2.0
USAGE_DAYS = 30
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
        return await self._ask_ledger(LEDGER_USAGE, question, UsageReport)

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
