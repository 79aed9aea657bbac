"""Who is the same person at several issuers: whoever has the same verified e-mail address."""

from uuid import UUID

from sqlalchemy import text

from runtime.database import Connection, Database

MAX_EMAIL_CHARACTERS = 254

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:email, 0))")
_KNOWN = text("""
    SELECT user_id FROM identities WHERE issuer = :issuer AND subject = :subject AND email = :email
""")
# The address is kept as it is today: who gave it up is no longer found by it.
_LINK = text("""
    INSERT INTO identities AS i (issuer, subject, user_id, email)
    VALUES (:issuer, :subject, coalesce(
        (SELECT id FROM users WHERE email = :email AND email_verified_at IS NOT NULL),
        (SELECT user_id FROM identities WHERE email = :email ORDER BY created_at LIMIT 1),
        CAST(:user_id AS uuid)), :email)
    ON CONFLICT (issuer, subject) DO UPDATE SET email = excluded.email
    RETURNING user_id
""")


class Links:
    """The identities that tokens with a verified e-mail address name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def user(self, issuer: str, subject: str, email: str, user_id: UUID) -> UUID:
        """The user behind an identity: the one whose address this is, else `user_id`, from now on and for ever."""
        values = {"issuer": issuer, "subject": subject, "email": normal(email)}
        async with self._database.statement() as connection:
            known = (await connection.execute(_KNOWN, values)).scalar_one_or_none()
        if known is not None:
            return UUID(str(known))
        async with self._database.transaction() as connection:
            await lock(connection, values["email"])
            return UUID(str((await connection.execute(_LINK, values | {"user_id": user_id})).scalar_one()))


async def lock(connection: Connection, email: str) -> None:
    """Two identities of one address that come at the same time meet each other."""
    await connection.execute(_LOCK, {"email": email})


def normal(email: str) -> str:
    """How an address is kept and compared."""
    return email.strip().lower()
