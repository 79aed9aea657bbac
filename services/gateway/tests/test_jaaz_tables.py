"""The jaaz frontend's table, which it reads with `select=credits&user_id=eq.<id>`."""

from uuid import UUID, uuid4

import pytest

from tests.tables import Tables

pytestmark = pytest.mark.connected


async def account(tables: Tables, available: int) -> UUID:
    user = uuid4()
    await tables.admin.execute(
        "INSERT INTO ledger.accounts (user_id, available, held, used) VALUES ($1, $2, 5000, 0)", user, available
    )
    return user


@pytest.mark.parametrize(("available", "whole"), [(0, 0), (9_999, 0), (10_000, 1), (1_259_999, 125)])
async def test_whole_credits_that_may_be_spent(tables: Tables, available: int, whole: int) -> None:
    user = await account(tables, available)
    query = "SELECT credits FROM jaaz.user_credits WHERE user_id = $1"
    assert await tables.rows(user, query, user) == [{"credits": whole}]


async def test_a_user_reads_their_own_alone(tables: Tables) -> None:
    user, other = await account(tables, 10_000), await account(tables, 20_000)
    assert [row["user_id"] for row in await tables.rows(user, "SELECT * FROM jaaz.user_credits")] == [user]
    assert await tables.rows(user, "SELECT * FROM jaaz.user_credits WHERE user_id = $1", other) == []
    assert await tables.rows(None, "SELECT * FROM jaaz.user_credits", role="anon") == []
    assert list(await tables.columns("jaaz.user_credits")) == ["user_id", "credits", "created_at", "updated_at"]
