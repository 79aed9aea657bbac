"""Reads and deletes rows of the frontends' tables, in the role and with the claims of whoever asks."""

import asyncio
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from contracts.facts import Visibility
from contracts.media import PATH
from gateway.dialects.supabase.catalog import Catalog, Relation
from gateway.dialects.supabase.errors import not_one, not_parsed, of_database, without_filter
from gateway.dialects.supabase.query import Query
from gateway.dialects.supabase.statements import Builder, Related
from runtime.database import Connection, Database

Sign = Callable[[str, Visibility], str]
Work = Callable[[Connection], Awaitable["Rows"]]

ANONYMOUS = "anon"
STATEMENT_SECONDS = 5
MARK_BYTES = 16
AT_ONCE = 4
"""Of the process's connections: the rest is left to generations."""

# One round trip. Each holds for its transaction alone, the role too. The service's own statements are planned for a few
# rows by an index (runtime.database); these join all that a user has, whose number nobody knows.
_BECOME = text("""
    SELECT set_config('statement_timeout', :timeout, true), set_config('darkroom.media_base', :media_base, true),
        set_config('darkroom.owner_media_base', :owner_media_base, true),
        set_config('enable_hashjoin', 'on', true), set_config('enable_mergejoin', 'on', true),
        set_config('enable_seqscan', 'on', true), set_config('plan_cache_mode', 'force_custom_plan', true),
        set_config('request.jwt.claims', :claims, true), set_config('role', :role, true)
""")


@dataclass(frozen=True, slots=True)
class Reader:
    """Whose rows are seen: `anon`, `authenticated` with a user, or `service_role`."""

    role: str
    user_id: UUID | None = None

    @property
    def claims(self) -> str:
        return json.dumps({"role": self.role} | ({"sub": str(self.user_id)} if self.user_id else {}))


@dataclass(frozen=True, slots=True)
class Rows:
    """A JSON array, how many rows are in it, and how many there are in all where that was asked."""

    body: str
    rows: int
    total: int | None = None


class Tables:
    """The frontends' tables."""

    def __init__(self, database: Database, media_base: str, sign: Sign | None = None) -> None:
        """`sign` makes the address of a media key for who may look at it; None where all addresses stay."""
        self._database = database
        self._media_base = media_base
        self._sign = sign
        self._room = asyncio.Semaphore(AT_ONCE)
        self.catalog = Catalog(database)

    async def read(self, reader: Reader, relation: Relation, query: Query, *, counted: bool) -> Rows:
        """Raises RestError."""
        builder = Builder(relation, query, await self._related(relation, query))

        async def work(connection: Connection) -> Rows:
            page = (await connection.execute(builder.read(), builder.values)).one()
            if not counted:
                return Rows(page.body, page.rows)
            total = (await connection.execute(builder.count(), builder.values)).scalar_one()
            return Rows(page.body, page.rows, total)

        return await self._as(reader, work)

    async def delete(self, reader: Reader, relation: Relation, query: Query, *, one: bool) -> Rows:
        """Deletes what the conditions name, which have to be there; `one`: exactly one row, or none is deleted.

        Raises:
            RestError: nothing was deleted.
        """
        if query.embedding is not None:
            raise not_parsed("select parameter", query.embedding.name)
        if not query.conditions:
            raise without_filter()
        builder = Builder(relation, query, None)

        async def work(connection: Connection) -> Rows:
            gone = (await connection.execute(builder.delete(), builder.values)).one()
            if one and gone.rows != 1:
                raise not_one(gone.rows)
            return Rows(gone.body, gone.rows)

        return await self._as(reader, work)

    async def _related(self, relation: Relation, query: Query) -> Related | None:
        return None if query.embedding is None else await self.catalog.related(relation, query.embedding.name)

    async def _as(self, reader: Reader, work: Work) -> Rows:
        # What the views put before a key where addresses are signed: no text of a user's has it.
        marks = {each: secrets.token_hex(MARK_BYTES) if self._sign else self._media_base for each in Visibility}
        become = {
            "timeout": f"{STATEMENT_SECONDS}s",
            "media_base": marks[Visibility.PUBLIC],
            "owner_media_base": marks[Visibility.OWNER],
            "claims": reader.claims,
            "role": reader.role,
        }
        try:
            async with self._room, self._database.transaction() as connection:
                await connection.execute(_BECOME, become)
                rows = await work(connection)
        except DBAPIError as error:
            state, message = getattr(error.orig, "sqlstate", None) or "", str(error.orig)
            refusal = of_database(state, message, anonymous=reader.role == ANONYMOUS)
            if refusal is None:
                raise
            raise refusal from error
        if self._sign is None:
            return rows
        return replace(rows, body=_signed(rows.body, marks, self._sign, self._media_base))


def _signed(body: str, marks: Mapping[Visibility, str], sign: Sign, base: str) -> str:
    """What is no medium, as a preview that we ship, has an address that stays."""

    def address(found: re.Match[str]) -> str:
        return sign(found[2], visibility_of[found[1]])

    visibility_of = {mark: visibility for visibility, mark in marks.items()}
    either = "|".join(visibility_of)
    return re.sub(either, lambda _: base, re.sub(f'({either}){PATH}([^"]+)', address, body))
