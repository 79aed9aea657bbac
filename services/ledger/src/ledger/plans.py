"""Plans: what they give in a month and what they bound. The numbers are rows, a user's plan is the account's."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text

from contracts.questions import (
    Plan,
    PlansOf,
    UserPlan,
    UserPlans,
)
from ledger import accounts
from ledger.accounts import Posted
from ledger.domain.transactions import monthly_grant
from runtime.database import Connection, Database, Row

COLUMNS = "plans.name, monthly_grant, daily_spend_cap, max_count, concurrent, cooldown_seconds"
_PLANS = text(f"SELECT {COLUMNS} FROM plans")  # noqa: S608
_NAMES = text("SELECT user_id, plan FROM accounts WHERE user_id = ANY(CAST(:users AS uuid[]))")
_SET = text("UPDATE accounts SET plan = :plan WHERE user_id = :user_id")
_DUE = text(f"""
    SELECT accounts.user_id, monthly_grant, plan, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM') AS month
    FROM accounts JOIN plans ON plans.name = accounts.plan
    WHERE accounts.user_id = ANY(CAST(:users AS uuid[])) AND {accounts.MONTH_IS_DUE} ORDER BY accounts.user_id
""")  # noqa: S608 - put together from constants


async def all_plans(connection: Connection) -> dict[str, Plan]:
    """By name."""
    return {row.name: plan_of(row) for row in await connection.execute(_PLANS)}


async def name_plans(database: Database, asked: PlansOf) -> UserPlans:
    """Which plan each is on; nobody is given anything by being asked about. A stranger is on the first, `free`."""
    async with database.statement() as connection:
        rows = await connection.execute(_NAMES, {"users": list(asked.user_ids)})
        known = {row.user_id: row.plan for row in rows}
    return UserPlans(plans=tuple(UserPlan(user_id=user, name=known.get(user, Plan().name)) for user in asked.user_ids))


async def assign(connection: Connection, user_id: UUID, plan: str) -> None:
    """Gives a user who has an account a plan that exists."""
    await connection.execute(_SET, {"user_id": user_id, "plan": plan})


async def grant_month(connection: Connection, users: Collection[UUID]) -> Posted:
    """Gives these users this month's credits, each once, whoever else is about to."""
    rows = await connection.execute(_DUE, {"users": list(users)})
    grants = [monthly_grant(row.user_id, row.month, row.monthly_grant, row.plan) for row in rows]
    return await accounts.post(connection, grants, only_new=True)


def plan_of(row: Row) -> Plan:
    return Plan(
        name=row.name,
        monthly_grant=row.monthly_grant,
        daily_spend_cap=row.daily_spend_cap,
        max_count=row.max_count,
        concurrent=row.concurrent,
        cooldown_seconds=row.cooldown_seconds,
    )
