"""asyncpg's errors as SQLAlchemy's: which of them mean that the database is away, and which that we are wrong."""

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from runtime.database import _as_sqlalchemy
from runtime.health import is_transient

AWAY = (
    asyncpg.exceptions.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    asyncpg.exceptions.AdminShutdownError("terminating connection due to administrator command"),
    asyncpg.exceptions.DeadlockDetectedError("deadlock detected"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.exceptions.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
)
OURS = (
    asyncpg.DataError("invalid input for query argument $1"),
    asyncpg.exceptions.CheckViolationError("violates check constraint"),
    asyncpg.exceptions.UndefinedTableError("relation does not exist"),
    asyncpg.exceptions.InternalClientError("no binary format encoder for type xml"),
)


@pytest.mark.parametrize(("error", "away"), [*((error, True) for error in AWAY), *((error, False) for error in OURS)])
def test_an_error_says_whether_waiting_helps(error: Exception, away: bool) -> None:
    with pytest.raises(DBAPIError) as raised, _as_sqlalchemy("SELECT 1"):
        raise error
    assert raised.value.orig is error
    assert is_transient(raised.value) is away
