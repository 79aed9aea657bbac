"""Which plans users are on, as the ledger says. What each of them keeps are rows here: the ledger knows no bytes."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError
from sqlalchemy import text

from contracts.questions import LEDGER_PLANS, PlansOf, UserPlans
from runtime.database import Database

ANSWER_TIMEOUT_SECONDS = 1.0

Names = Callable[[Sequence[UUID]], Awaitable[dict[UUID, str] | None]]
"""The names of users' plans; None where the ledger is silent."""
log = structlog.get_logger()

_ANY = text("SELECT EXISTS (SELECT FROM plans)")
_NOTE = text("""
    INSERT INTO owners (owner_id, plan, plan_heard_at)
    SELECT owner_id, plan, now()
    FROM unnest(CAST(:owner_ids AS uuid[]), CAST(:plans AS text[])) AS heard (owner_id, plan)
    ORDER BY owner_id
    ON CONFLICT (owner_id) DO UPDATE SET plan = excluded.plan, plan_heard_at = excluded.plan_heard_at
""")


async def ask_ledger(broker: NatsBroker, user_ids: Sequence[UUID]) -> dict[UUID, str] | None:
    """At most MAX_IDS_PER_QUESTION of them."""
    question = PlansOf(user_ids=tuple(user_ids)).model_dump_json().encode()
    try:
        answer = await broker.connection.request(LEDGER_PLANS, question, timeout=ANSWER_TIMEOUT_SECONDS)
        return {each.user_id: each.name for each in UserPlans.model_validate_json(answer.data).plans}
    except (NatsError, OSError, ValidationError) as error:
        log.warning("plans.not_answered", error=type(error).__name__)
        return None


class Plans:
    """Asked anew whenever something depends on it, so that a plan that has changed holds from then on."""

    def __init__(self, database: Database, names: Names) -> None:
        self._database = database
        self._names = names

    async def matter(self) -> bool:
        """Whether any plan keeps more or less than what holds for everybody."""
        async with self._database.statement() as connection:
            return bool((await connection.execute(_ANY)).scalar_one())

    async def hear(self, owner_ids: Sequence[UUID]) -> list[UUID]:
        """Notes the plans of these; those that were heard of, which are none where the ledger is silent."""
        names = await self._names(owner_ids) if owner_ids else None
        if not names:
            return []
        async with self._database.statement() as connection:
            await connection.execute(_NOTE, {"owner_ids": list(names), "plans": list(names.values())})
        return list(names)
