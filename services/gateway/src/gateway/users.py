"""People who sign in here with e-mail and password: made, looked up, and their passwords checked."""

import asyncio
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from pydantic import SecretStr
from sqlalchemy import text

from gateway import linking
from gateway.linking import MAX_EMAIL_CHARACTERS, normal
from gateway.rates import Limit, Rates
from gateway.refusals import Invalid, NotConfigured, NotFound, Refusal
from gateway.settings import UserSettings
from runtime.database import Database, Row

MIN_PASSWORD_CHARACTERS = 6
MAX_PASSWORD_CHARACTERS = 256
MAX_PROFILE_BYTES = 16_384
HASHES_AT_ONCE = 2
"""Each takes 64 MiB and a processor for some 50 ms."""
SIGN_INS_OF_ADDRESS = 30
SIGN_INS_OF_EMAIL = 10
"""In a minute, right ones and wrong ones."""
_FROM = "sign-in from"
_EMAIL = re.compile(r"[!-?A-~]+@[!-\-/-?A-~]+(\.[!-\-/-?A-~]+)+")
"""Printable ASCII with one @ and a domain of two parts; whether somebody reads there is another question."""


class WrongCredentials(Refusal):
    """No user of this address has this password; which of both is wrong is not said."""

    status = 401
    code = "unauthenticated"


class EmailNotConfirmed(Refusal):
    status = 401
    code = "unauthenticated"


class EmailTaken(Refusal):
    status = 409
    code = "email_taken"


class WeakPassword(Invalid):
    """The password is too short or too long."""


@dataclass(frozen=True, slots=True)
class User:
    """A person; `profile` is what they said of themselves at sign-up."""

    id: UUID
    email: str
    profile: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    email_confirmed_at: datetime | None
    email_verified_at: datetime | None
    """When an operator's program said so: only this links a user to other issuers'."""
    last_sign_in_at: datetime | None

    @property
    def name(self) -> str:
        said = self.profile.get("full_name") or self.profile.get("name") or self.profile.get("username")
        return str(said) if said else self.email.partition("@")[0]


_COLUMNS = """id, email, profile::text AS profile, created_at, updated_at, email_confirmed_at, email_verified_at,
    last_sign_in_at"""
_MAKE = text(f"""
    INSERT INTO users (id, email, password_hash, profile, email_confirmed_at, last_sign_in_at)
    VALUES (:id, :email, :password_hash, CAST(:profile AS jsonb), CASE WHEN :confirmed THEN now() END,
        CASE WHEN :confirmed THEN now() END)
    ON CONFLICT (email) DO NOTHING RETURNING {_COLUMNS}
""")
_GET = text(f"SELECT {_COLUMNS} FROM users WHERE id = :id")
_PASSWORD = text("SELECT id, password_hash, email_confirmed_at FROM users WHERE email = :email")
_SIGNED_IN = text(f"""
    UPDATE users SET last_sign_in_at = now(), password_hash = coalesce(CAST(:rehashed AS text), password_hash)
    WHERE id = :id RETURNING {_COLUMNS}
""")
_EMAIL_OF = text("SELECT email FROM users WHERE id = :id")
# Somebody who never signed in owns nothing yet, and becomes whom the address names elsewhere already.
_VERIFY = text(f"""
    UPDATE users u SET email_confirmed_at = coalesce(email_confirmed_at, now()), updated_at = now(),
        email_verified_at = coalesce(email_verified_at, now()),
        id = CASE WHEN last_sign_in_at IS NULL THEN coalesce(
            (SELECT i.user_id FROM identities i WHERE i.email = u.email
                AND NOT EXISTS (SELECT 1 FROM users o WHERE o.id = i.user_id) ORDER BY i.created_at LIMIT 1), u.id)
            ELSE u.id END
    WHERE u.id = :id RETURNING {_COLUMNS}
""")


class Users:
    """The commands and queries about people who sign in here."""

    def __init__(self, database: Database, settings: UserSettings, rates: Rates) -> None:
        self._database = database
        self._settings = settings
        self._rates = rates
        self._hasher = PasswordHasher()
        self._nobodys: str | None = None
        """The hash that an unknown address is checked against, so that it takes as long."""
        self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)

    @property
    def confirms_emails(self) -> bool:
        return self._settings.confirm_emails

    @property
    def offered(self) -> bool:
        return self._settings.local_users

    async def sign_up(self, email: str, password: SecretStr, profile: dict[str, Any], address: str) -> User:
        """A new user, confirmed at once unless the operator wants addresses confirmed; then one of a taken address is
        answered like any other, and is nobody.

        Raises:
            Invalid, WeakPassword, EmailTaken, TooManyRequests, NotConfigured: nothing has changed.
        """
        self._check_offered()
        email = _checked_email(email)
        _check_password(password)
        said = _checked_profile(profile)
        await self._slow_down(email, address)
        async with self._hashing:
            hashed = await asyncio.to_thread(self._hasher.hash, _bytes(password))
        user_id, confirmed = uuid4(), not self._settings.confirm_emails
        values = {"id": user_id, "email": email, "password_hash": hashed, "profile": said}
        async with self._database.statement() as connection:
            row = (await connection.execute(_MAKE, values | {"confirmed": confirmed})).one_or_none()
        if row is not None:
            return _user_of(row)
        if confirmed:
            raise EmailTaken("User already registered")
        # Whoever has to read there first does not learn that somebody else does already.
        now = datetime.now(UTC)
        return User(user_id, email, profile, now, now, None, None, None)

    async def sign_in(self, email: str, password: SecretStr, address: str) -> User:
        """The user with this address and password.

        Raises:
            WrongCredentials, EmailNotConfirmed, TooManyRequests, NotConfigured.
        """
        self._check_offered()
        email = normal(email)
        if len(email) > MAX_EMAIL_CHARACTERS or not _EMAIL.fullmatch(email):
            raise WrongCredentials("Invalid login credentials")  # nobody has such an address
        await self._slow_down(email, address)
        async with self._database.statement() as connection:
            found = (await connection.execute(_PASSWORD, {"email": email})).one_or_none()
        async with self._hashing:
            known = found.password_hash if found else None
            right, rehashed = await asyncio.to_thread(self._check, known, _bytes(password))
        if found is None or not right:
            raise WrongCredentials("Invalid login credentials")
        if found.email_confirmed_at is None:
            raise EmailNotConfirmed("Email not confirmed")
        async with self._database.statement() as connection:
            values = {"id": found.id, "rehashed": rehashed}
            return _user_of((await connection.execute(_SIGNED_IN, values)).one())

    async def find(self, user_id: UUID) -> User | None:
        """None for a user of another issuer, whom nobody signed up here."""
        async with self._database.statement() as connection:
            row = (await connection.execute(_GET, {"id": user_id})).one_or_none()
        return _user_of(row) if row else None

    async def verify(self, user_id: UUID) -> User:
        """Writes down that the user's e-mail address is theirs. Raises NotFound, NotConfigured."""
        self._check_offered()
        async with self._database.transaction() as connection:
            email = (await connection.execute(_EMAIL_OF, {"id": user_id})).scalar_one_or_none()
            if email is None:
                raise NotFound("User not found")
            await linking.lock(connection, email)
            return _user_of((await connection.execute(_VERIFY, {"id": user_id})).one())

    def _check(self, known: str | None, password: bytes) -> tuple[bool, str | None]:
        """Whether the password is right, and its hash anew where it is made differently today."""
        if self._nobodys is None:
            self._nobodys = self._hasher.hash("nobody's")
        try:
            self._hasher.verify(known or self._nobodys, password)
        except (Argon2Error, InvalidHashError):
            return False, None
        if known is None:
            return False, None
        return True, self._hasher.hash(password) if self._hasher.check_needs_rehash(known) else None

    async def _slow_down(self, email: str, address: str) -> None:
        await self._rates.take(
            Limit(f"{_FROM} {address}", SIGN_INS_OF_ADDRESS, what="attempts to sign in"),
            Limit(f"sign-in as {email}", SIGN_INS_OF_EMAIL, what="attempts to sign in"),
        )

    def _check_offered(self) -> None:
        if not self._settings.local_users:
            raise NotConfigured("Nobody signs in here: the operator has to set GATEWAY_LOCAL_USERS.")


def _checked_email(email: str) -> str:
    email = normal(email)
    if len(email) > MAX_EMAIL_CHARACTERS or not _EMAIL.fullmatch(email):
        raise Invalid("Unable to validate email address: invalid format")
    return email


def _check_password(password: SecretStr) -> None:
    if not MIN_PASSWORD_CHARACTERS <= len(password.get_secret_value()) <= MAX_PASSWORD_CHARACTERS:
        raise WeakPassword(
            f"Password should be at least {MIN_PASSWORD_CHARACTERS} and at most {MAX_PASSWORD_CHARACTERS} characters."
        )


def _checked_profile(profile: dict[str, Any]) -> str:
    try:
        said = json.dumps(profile, ensure_ascii=False, allow_nan=False)
        size = len(said.encode())
    except (ValueError, RecursionError) as error:
        raise Invalid("What is said of a user has to be text and numbers.") from error
    if size > MAX_PROFILE_BYTES or "\\u0000" in said:
        raise Invalid(f"What is said of a user may have {MAX_PROFILE_BYTES} bytes at most, and no NUL.")
    return said


def _bytes(password: SecretStr) -> bytes:
    """Of whatever was sent: JSON can hold what UTF-8 cannot."""
    return password.get_secret_value().encode(errors="surrogatepass")


def _user_of(row: Row) -> User:
    return User(
        id=row.id,
        email=row.email,
        profile=json.loads(row.profile),
        created_at=row.created_at,
        updated_at=row.updated_at,
        email_confirmed_at=row.email_confirmed_at,
        email_verified_at=row.email_verified_at,
        last_sign_in_at=row.last_sign_in_at,
    )
