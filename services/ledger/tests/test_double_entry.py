"""What the database itself refuses, whoever writes to it."""

from uuid import UUID, uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from darkroom.migration import upgrade
from ledger import accounts
from ledger.domain.transactions import Purse, Transaction, grant
from ledger.tables import metadata
from runtime.database import Database

from .conftest import MIGRATIONS
from .samples import CREDIT, completed, request, requested


async def transaction_id(connection) -> int:
    made = await connection.execute(
        text("INSERT INTO transactions (key, type) VALUES (:key, 'grant') RETURNING id"), {"key": str(uuid4())}
    )
    return made.scalar_one()


async def insert_posting(connection, transaction: int, user_id: UUID, purse: str, amount: int) -> None:
    await connection.execute(
        text("INSERT INTO postings (transaction_id, purse, user_id, amount) VALUES (:id, :purse, :user, :amount)"),
        {"id": transaction, "purse": purse, "user": user_id, "amount": amount},
    )


async def test_p8_an_unbalanced_transaction_is_refused_at_commit(database):
    with pytest.raises(IntegrityError, match="is not balanced"):
        async with database.transaction() as connection:
            transaction = await transaction_id(connection)
            await insert_posting(connection, transaction, uuid4(), "issuance", -5)
            await insert_posting(connection, transaction, uuid4(), "revenue", 4)
            inserted = True
    assert inserted, "the rule must wait for the commit, or nothing could ever be posted"


async def test_p8_a_balanced_transaction_cannot_be_unbalanced_later(database):
    user = uuid4()
    async with database.transaction() as connection:
        transaction = await transaction_id(connection)
        await insert_posting(connection, transaction, user, "issuance", -5)
        await insert_posting(connection, transaction, user, "revenue", 5)
    with pytest.raises(IntegrityError, match="is not balanced"):
        async with database.transaction() as connection:
            await insert_posting(connection, transaction, user, "writeoff", 1)
    async with database.transaction() as connection:  # the books of this test balance per user as well
        back = await transaction_id(connection)
        await insert_posting(connection, back, user, "revenue", -5)
        await insert_posting(connection, back, user, "issuance", 5)
    async with database.transaction() as connection:
        await accounts.open_accounts(connection, [user], 0)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE postings SET amount = amount + 1",
        "DELETE FROM postings",
        "TRUNCATE postings",
        "UPDATE transactions SET type = 'grant'",
        "DELETE FROM transactions",
        "DELETE FROM corrections",
        "UPDATE prices SET amount = 0",
    ],
)
async def test_what_is_written_in_the_books_never_changes(database, change):
    with pytest.raises(DBAPIError, match="does not change"):
        async with database.transaction() as connection:
            await connection.execute(text(change))


@pytest.mark.parametrize(
    "change",
    [
        "state = 'released', captured = 0",
        "state = 'open', closed_at = NULL, outcome = NULL, outcome_id = NULL",
        "captured = 0",
    ],
)
async def test_promise_6_a_hold_ends_once(database, operations, change):
    asked = request(uuid4())
    await operations.hold([requested(asked)])
    await operations.settle([completed(asked.generation_id)])
    with pytest.raises(DBAPIError, match="does not change once it is closed"):
        async with database.transaction() as connection:
            await connection.execute(
                text(f"UPDATE holds SET {change} WHERE generation_id = :id"), {"id": asked.generation_id}
            )


async def test_p7_the_database_refuses_a_negative_balance(database):
    user = uuid4()
    spend = Transaction(str(uuid4()), "hold", user, ((Purse.AVAILABLE, -11 * CREDIT), (Purse.HELD, 11 * CREDIT)))
    with pytest.raises(IntegrityError, match="ck_accounts_available"):
        async with database.transaction() as connection:
            await accounts.open_accounts(connection, [user], 10 * CREDIT)
            await accounts.post(connection, [spend])


async def test_a_batch_changes_each_account_by_the_sum_of_its_postings(database):
    """UPDATE … FROM applies one row per account: three grants to one user must not become one."""
    anna, boris = uuid4(), uuid4()
    gifts = [(anna, 1), (boris, 10), (anna, 2), (boris, 20), (anna, 3)]
    async with database.transaction() as connection:
        await accounts.open_accounts(connection, [anna, boris], 0)
        await accounts.post(connection, [grant(uuid4(), user, units, "gift") for user, units in gifts])
        found = await accounts.lock(connection, [anna, boris])
        assert {user: account.available for user, account in found.items()} == {anna: 6, boris: 30}


async def test_one_business_is_posted_once(database):
    user, gift = uuid4(), uuid4()
    async with database.transaction() as connection:
        await accounts.open_accounts(connection, [user], 0)
        assert (await accounts.post(connection, [grant(gift, user, 5, "gift")])).made == 1
        assert (await accounts.post(connection, [grant(gift, user, 5, "gift")], only_new=True)).made == 0
    with pytest.raises(IntegrityError, match="uq_transactions_key"):
        async with database.transaction() as connection:
            await accounts.post(connection, [grant(gift, user, 5, "gift"), grant(uuid4(), user, 7, "gift")])
    async with database.transaction() as connection:
        assert (await accounts.lock(connection, [user]))[user].available == 5


async def test_nothing_is_posted_to_a_user_without_an_account(database):
    with pytest.raises(RuntimeError, match="no account"):
        async with database.transaction() as connection:
            await accounts.post(connection, [grant(uuid4(), uuid4(), 5, "gift")])


async def test_the_tables_are_what_the_migrations_make(database, database_url):
    def differences(connection) -> list:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)

    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_migrating_again_changes_nothing(database_url, database: Database):
    await upgrade(database_url, MIGRATIONS)
    async with database.statement() as connection:
        versions = await connection.execute(text("SELECT count(DISTINCT version) FROM prices"))
        assert versions.scalar_one() == 1
