"""The jaaz frontend's table, which it reads with `select=credits&user_id=eq.<id>`."""

from uuid import UUID, uuid4

import pytest

from tests.tables import Tables

pytestmark = pytest.mark.connected


async def account(tables: Tables, available: int, debt: int = 0) -> UUID:
    user = uuid4()
    statement = "INSERT INTO ledger.accounts (user_id, available, held, used, debt) VALUES ($1, $2, 5000, 0, $3)"
    await tables.admin.execute(statement, user, available, debt)
    return user


@pytest.mark.parametrize(
    ("available", "debt", "whole"),
    [(0, 0, 0), (9_999, 0, 0), (10_000, 0, 1), (1_259_999, 0, 125), (1_259_999, 250_000, 100), (10_000, 250_000, 0)],
)
async def test_whole_credits_that_may_be_spent(tables: Tables, available: int, debt: int, whole: int) -> None:
    """What is owed is paid first, though it may take a minute."""
    user = await account(tables, available, debt)
    query = "SELECT credits FROM jaaz.user_credits WHERE user_id = $1"
    assert await tables.rows(user, query, user) == [{"credits": whole}]


async def test_a_user_reads_their_own_alone(tables: Tables) -> None:
    user, other = await account(tables, 10_000), await account(tables, 20_000)
    assert [row["user_id"] for row in await tables.rows(user, "SELECT * FROM jaaz.user_credits")] == [user]
    assert await tables.rows(user, "SELECT * FROM jaaz.user_credits WHERE user_id = $1", other) == []
    assert await tables.rows(None, "SELECT * FROM jaaz.user_credits", role="anon") == []
    assert list(await tables.columns("jaaz.user_credits")) == ["user_id", "credits", "created_at", "updated_at"]
