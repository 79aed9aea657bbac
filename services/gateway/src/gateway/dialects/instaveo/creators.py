"""Creators: who makes and who reacts, made on first sight, and the leaderboard of them."""

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from gateway.dialects.instaveo.who import Who
from gateway.refusals import NotFound, UsernameTaken
from runtime.database import Database, Row, Together

MAX_KNOWN = 100_000
"""Users that this process does not look for again."""
_NOTHING = ("", None)
"""What is said of a user by a key, or by a token with no more than their id."""
USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{2,29}")
MAX_WISH_CHARACTERS = 20
MAX_TOP = 100

_COLUMNS = """id, username, email, avatar_url, is_enterprise, videos_created, total_likes, total_dislikes,
    creator_score, last_active_at, created_at"""
# The first name that is free; the last one holds the whole id, so that nobody else can have it.
_MEET = text("""
    WITH met AS (
        SELECT DISTINCT ON (id) * FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[]), CAST(:emails AS text[]),
            CAST(:enterprises AS boolean[])) AS t (id, name, email, is_enterprise)
        ORDER BY id
    )
    INSERT INTO instaveo_creators (id, username, email, is_enterprise)
    SELECT id, name, email, coalesce(is_enterprise, false) FROM met ORDER BY id
    ON CONFLICT DO NOTHING
""")
# What a token does not say stays: an API key's owner is known by their id alone.
_HEED = text("""
    UPDATE instaveo_creators c SET email = coalesce(nullif(said.email, ''), c.email),
        is_enterprise = coalesce(said.is_enterprise, c.is_enterprise), updated_at = now()
    FROM (SELECT DISTINCT ON (id) * FROM unnest(CAST(:ids AS uuid[]), CAST(:emails AS text[]),
        CAST(:enterprises AS boolean[])) AS t (id, email, is_enterprise) ORDER BY id) AS said
    WHERE c.id = said.id AND (c.email <> coalesce(nullif(said.email, ''), c.email)
        OR c.is_enterprise <> coalesce(said.is_enterprise, c.is_enterprise))
""")
_MISSING = text("""
    SELECT id FROM unnest(CAST(:ids AS uuid[])) AS t (id)
    WHERE NOT EXISTS (SELECT 1 FROM instaveo_creators c WHERE c.id = t.id)
""")
_GET = text(f"SELECT {_COLUMNS} FROM instaveo_creators WHERE id = :id")
_CHANGE = text(f"""
    UPDATE instaveo_creators SET username = coalesce(CAST(:username AS text), username),
        avatar_url = CASE WHEN CAST(:has_avatar AS boolean) THEN CAST(:avatar_url AS text) ELSE avatar_url END,
        updated_at = now(), last_active_at = now(), is_stale = true
    WHERE id = :id RETURNING {_COLUMNS}
""")
TOP = text(f"""
    SELECT {_COLUMNS} FROM instaveo_creators WHERE videos_created > 0
    ORDER BY creator_score DESC, id LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Creator:
    """A profile and its figures, as of the last ranking."""

    id: UUID
    username: str
    email: str
    avatar_url: str | None
    is_enterprise: bool
    videos_created: int
    total_likes: int
    total_dislikes: int
    creator_score: float
    last_active_at: datetime
    created_at: datetime


def _creator_of(row: Row) -> Creator:
    return Creator(**dict(row))


def names_for(who: Who) -> tuple[str, str, str]:
    """What somebody may be called at first: as they wish; with a part of their id; by their whole id."""
    wish = re.sub(r"[^A-Za-z0-9_.-]+", "-", who.name)[:MAX_WISH_CHARACTERS].strip("-_.")
    if not USERNAME.fullmatch(wish):
        wish = "creator"
    return wish, f"{wish}-{who.user_id.hex[-6:]}", f"u{who.user_id.hex}"


class Creators:
    """The commands and queries."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._meet = Together(self._meet_all)
        self._known: OrderedDict[UUID, tuple[str, bool | None]] = OrderedDict()

    async def meet(self, who: Who) -> None:
        """Makes a profile for whoever has none yet, and keeps what their issuer says of them now."""
        said = who.email, who.is_enterprise
        if who.user_id in self._known and said in {_NOTHING, self._known[who.user_id]}:
            return
        await self._meet(who)
        self._known[who.user_id] = said
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    async def get(self, user_id: UUID) -> Creator:
        """Raises NotFound."""
        async with self._database.statement() as connection:
            row = (await connection.execute(_GET, {"id": user_id})).one_or_none()
        if row is None:
            raise NotFound("There is no such user.")
        return _creator_of(row)

    async def change(self, user_id: UUID, username: str | None, avatar_url: str | None, *, has_avatar: bool) -> Creator:
        """A name of None stays as it is. Raises UsernameTaken."""
        values = {"id": user_id, "username": username, "avatar_url": avatar_url, "has_avatar": has_avatar}
        try:
            async with self._database.statement() as connection:
                return _creator_of((await connection.execute(_CHANGE, values)).one())
        except IntegrityError as error:
            raise UsernameTaken(f"Somebody else is called {username}.") from error

    async def top(self, limit: int) -> Sequence[Creator]:
        """Who has made something, the best first."""
        async with self._database.statement() as connection:
            return [_creator_of(row) for row in await connection.execute(TOP, {"limit": limit})]

    async def _meet_all(self, met: Sequence[Who]) -> list[None]:
        async with self._database.statement() as connection:
            missing = set((await connection.execute(_MISSING, {"ids": [who.user_id for who in met]})).scalars())
            for attempt in range(3):
                new = [who for who in met if who.user_id in missing]
                if not new:
                    break
                values = {
                    "ids": [who.user_id for who in new],
                    "names": [names_for(who)[attempt] for who in new],
                    "emails": [who.email for who in new],
                    "enterprises": [who.is_enterprise for who in new],
                }
                await connection.execute(_MEET, values)
                missing = set((await connection.execute(_MISSING, {"ids": list(missing)})).scalars())
            said = {
                "ids": [who.user_id for who in met],
                "emails": [who.email for who in met],
                "enterprises": [who.is_enterprise for who in met],
            }
            await connection.execute(_HEED, said)
        return [None for _ in met]
