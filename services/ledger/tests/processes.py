"""Two processes of the ledger as a state machine drives them, and their books in the words of the model."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import text

from contracts.facts import Funded, Granted, Outcome, Request, Verdict
from contracts.ids import event_id
from contracts.questions import (
    Consumption,
    PlanSet,
)
from ledger.domain import payments as domain
from ledger.operations import Ledger
from ledger.payments import rows
from ledger.payments.operations import Payments
from ledger.settings import PaymentSettings
from runtime.database import Database
from runtime.settings import DatabaseSettings

from .model import BOUNDED, CAPPED, DAILY_CAP, DECLINED, GIVING, MONTHLY, REFUSED, Model, Payment

STARTING_GRANT = 10
USERS = [UUID(int=number) for number in (1, 2, 3)]
"""The last of them is asked for nothing until a rule asks: a stranger."""

Action = tuple[str, Any]
"""An operation of the ledger, which is one of the model as well, and its argument."""

_FORGET = text("""
    TRUNCATE accounts, transactions, postings, holds, corrections, consumptions, payments, payment_claims,
             payment_events
""")
_PLANS = text(f"""
    INSERT INTO plans (name, monthly_grant, daily_spend_cap)
    VALUES ('{GIVING}', {MONTHLY}, NULL), ('{BOUNDED}', 0, {DAILY_CAP}) ON CONFLICT DO NOTHING
""")
_AGE = text("UPDATE consumptions SET consumed_at = consumed_at - interval '1 hour'")
_HOLDS = text("""
    SELECT holds.generation_id, holds.user_id, holds.amount, state, captured, disputed_at IS NOT NULL AS disputed,
           outcome::text, corrections.told::text
    FROM holds LEFT JOIN corrections USING (generation_id)
""")
_PAYMENTS = text("SELECT id, payment_intent, state, taken_back FROM payments")


class Processes:
    """Two processes of the ledger on one database, driven from outside of any event loop."""

    def __init__(self, database_url: str) -> None:
        # Not the event loop of the tests: it waits for the test that drives this one.
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        settings = DatabaseSettings(database_url=SecretStr(database_url))
        self.databases = [Database(settings, "ledger") for _ in range(2)]
        self.ledgers = [Ledger(database, STARTING_GRANT) for database in self.databases]
        self.payments = [
            Payments(database, ledger, PaymentSettings())
            for database, ledger in zip(self.databases, self.ledgers, strict=True)
        ]

    def close(self) -> None:
        for database in self.databases:
            self.runner.run(database.close())
        self.runner.close()

    async def forget(self) -> None:
        """An example begins with empty books; for once their rules are off."""
        async with self.databases[0].transaction() as connection:
            await connection.execute(text("SET LOCAL session_replication_role = replica"))
            await connection.execute(_FORGET)
            await connection.execute(_PLANS)

    async def age(self) -> None:
        """An hour passes for what was consumed."""
        async with self.databases[0].statement() as connection:
            await connection.execute(_AGE)

    async def begin(self, payments: Sequence[Payment]) -> None:
        """As if Stripe had been asked, and its answer lost: the rows know no intent yet."""
        async with self.databases[0].transaction() as connection:
            for each in payments:
                new = domain.Payment(each.id, each.user, "small", each.credits, each.price, "usd")
                await rows.begin(connection, new, 60)

    async def at_once(self, actions: Sequence[Action]) -> list[Any]:
        """Each in a process of its own; what they answered, in the model's words."""
        return await asyncio.gather(*(self._answer(number, *action) for number, action in enumerate(actions)))

    async def _answer(self, process: int, operation: str, argument: Any) -> Any:
        if operation == "apply":
            return (await self.payments[process].apply(argument.report, argument)).verdict
        if operation == "collect":
            return await self.payments[process].collect_debts()
        return await _answer(self.ledgers[process], operation, argument)

    async def books(self) -> dict[str, Any]:
        """What the ledger says that there is, in the words of `_expected`."""
        async with self.databases[0].statement() as connection:
            held = (await connection.execute(_HOLDS)).all()
            paid = (await connection.execute(_PAYMENTS)).all()
        found = await asyncio.gather(*(self.ledgers[0].balance(user) for user in USERS))
        return {
            "balances": [(balance.available, balance.held, balance.used, balance.debt) for balance, _ in found],
            "still open": [set(still_open) for _, still_open in found],
            "holds": {row.generation_id: (*tuple(row)[1:-2], *map(_read, tuple(row)[-2:])) for row in held},
            "payments": {row.id: tuple(row)[1:] for row in paid},
        }


async def _answer(ledger: Ledger, operation: str, argument: Any) -> Any:
    carry_out = getattr(ledger, operation)
    try:
        answer = await (carry_out(argument) if argument is not None else carry_out())
    except ValueError:
        return REFUSED
    if operation == "hold":
        assert len({fact.data.generation_id for fact in answer}) == len(answer), "an id is answered once"
        return {fact.data.generation_id: _said(fact) for fact in answer}
    return _in_its_words(answer, argument)


def _in_its_words(answer: Any, argument: Any) -> Any:
    match answer:
        case Granted():
            assert answer.id == event_id("granted", "ledger", argument.grant_id)
            return argument.model_copy(update={"user_id": answer.data.user_id, "amount": answer.data.amount})
        case Consumption():
            return answer.state, answer.available
        case PlanSet():
            return answer.plan.name
        case int():
            return None  # of how many consumptions revenue was made
    return answer


def _said(fact: Funded | Outcome) -> Request | Outcome | str:
    if isinstance(fact, Funded):
        return fact.data
    if fact.data.verdict is not Verdict.DECLINED:
        return fact
    return CAPPED if fact.data.failure.code == "daily_cap_reached" else DECLINED


def _read(recorded: str | None) -> Outcome | None:
    """Verbatim: the same outcome said at another time is another text."""
    return Outcome.decode(recorded.encode()) if recorded else None


def expected(model: Model) -> dict[str, Any]:
    return {
        "balances": [model.balance(user) for user in USERS],
        "still open": [model.open_of(user) for user in USERS],
        "holds": {
            id_: (
                hold.request.user_id if hold.request else None,
                hold.amount,
                hold.state,
                hold.captured,
                hold.disputed,
                hold.ended_by,
                hold.corrected_to,
            )
            for id_, hold in model.holds.items()
        },
        "payments": {each.id: (each.intent, each.state, each.taken_back) for each in model.payments.values()},
    }
