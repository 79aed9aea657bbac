"""Chat sessions. What was said stands in the generations; a turn only says to which session one belongs."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from gateway.dialects.jaaz.steps import Round, Steps
from gateway.identity import Caller
from gateway.orders import Order
from gateway.records import Generation
from gateway.refusals import AlreadyFinished, NotFound
from runtime.database import Database, Row

MAX_TITLE_CHARACTERS = 80
MAX_LISTED = 1000
MAX_TURNS = 50
"""Of a session that a model is told of: the newest."""

_OPEN = text("""
    INSERT INTO chat_sessions (user_id, id, title, canvas_id, model, provider)
    VALUES (:user_id, :id, :title, :canvas_id, :model, :provider)
    ON CONFLICT (user_id, id) DO UPDATE SET updated_at = now(),
        canvas_id = coalesce(chat_sessions.canvas_id, excluded.canvas_id),
        model = coalesce(excluded.model, chat_sessions.model)
""")
_TURN = text("""
    INSERT INTO chat_turns (generation_id, user_id, session_id) VALUES (:generation_id, :user_id, :session_id)
    ON CONFLICT (generation_id) DO NOTHING RETURNING generation_id
""")
_FORGET = text("""
    DELETE FROM chat_turns WHERE generation_id = :generation_id AND user_id = :user_id
        AND NOT EXISTS (SELECT FROM generations WHERE id = :generation_id)
    RETURNING session_id
""")
_FORGET_SESSION = text("""
    DELETE FROM chat_sessions s WHERE user_id = :user_id AND id = :id
        AND NOT EXISTS (SELECT FROM chat_turns t WHERE t.user_id = s.user_id AND t.session_id = s.id)
""")
_SESSIONS = text("""
    SELECT id, title, canvas_id, model, provider, created_at, updated_at FROM chat_sessions
    WHERE user_id = :user_id AND (CAST(:canvas_id AS text) IS NULL OR canvas_id = :canvas_id)
        AND EXISTS (SELECT FROM chat_turns t JOIN generations g ON g.id = t.generation_id AND g.user_id = t.user_id
            WHERE t.user_id = chat_sessions.user_id AND t.session_id = chat_sessions.id)
    ORDER BY updated_at DESC, id LIMIT :limit
""")
_SAID = text("""
    SELECT t.generation_id, g.prompt, g.status, g.outcome #>> '{data,text}' AS answer, g.created_at
    FROM chat_turns t JOIN generations g ON g.id = t.generation_id AND g.user_id = t.user_id
    WHERE t.user_id = :user_id AND t.session_id = :id AND g.deleted_at IS NULL ORDER BY t.number DESC LIMIT :limit
""")
_RUNNING = text("""
    SELECT t.generation_id FROM chat_turns t JOIN generations g ON g.id = t.generation_id AND g.user_id = t.user_id
    WHERE t.user_id = :user_id AND t.session_id = :id AND g.status IN ('pending', 'processing')
""")
_CANVAS = text("SELECT canvas_id FROM chat_sessions WHERE user_id = :user_id AND id = :id")
_IS_SAID = text("""
    SELECT EXISTS (SELECT FROM chat_turns WHERE generation_id = :id) OR EXISTS (
        SELECT FROM agent_steps s JOIN chat_turns t ON t.generation_id = s.turn_id WHERE s.id = :id)
""")
_DELETE = text("DELETE FROM chat_sessions WHERE user_id = :user_id AND id = :id RETURNING id")
# Those that are not over end by themselves.
_DELETE_TURNS = text("""
    DELETE FROM agent_turns a USING chat_turns t WHERE a.generation_id = t.generation_id AND a.state = 'done'
        AND t.user_id = :user_id AND t.session_id = :id
""")


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing that a user said; `answer` is None while there is none, and where it failed. Where the model could draw
    while it answered, `rounds` has all that it said and drew."""

    generation_id: UUID
    prompt: str
    status: str
    answer: str | None
    created_at: datetime
    rounds: tuple[Round, ...] = ()


class Chats:
    """The sessions and what they need."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._steps = Steps(database)

    async def begin_turn(
        self,
        caller: Caller,
        session_id: str,
        generation_id: UUID,
        said: str,
        canvas_id: str | None = None,
        model: str | None = None,
    ) -> bool:
        """Notes where a generation belongs, before there is one; False where that is noted already.

        A turn whose generation never came is shown nowhere.
        """
        session = {
            "user_id": caller.user_id,
            "id": session_id,
            "title": _title(said),
            "canvas_id": canvas_id,
            "model": model,
            "provider": None,
        }
        turn = {"generation_id": generation_id, "user_id": caller.user_id, "session_id": session_id}
        async with self._database.transaction() as connection:
            await connection.execute(_OPEN, session)
            return (await connection.execute(_TURN, turn)).first() is not None

    async def take_back(self, caller: Caller, generation_id: UUID) -> None:
        """A turn that was refused is none; where it was the first of its session, neither is that."""
        turn = {"user_id": caller.user_id, "generation_id": generation_id}
        async with self._database.transaction() as connection:
            row = (await connection.execute(_FORGET, turn)).first()
            if row is not None:
                await connection.execute(_FORGET_SESSION, {"user_id": caller.user_id, "id": row.session_id})

    async def turns(self, caller: Caller, session_id: str, limit: int = MAX_LISTED) -> list[Turn]:
        """What was said, the oldest first; nothing in a session that is not there."""
        values = {"user_id": caller.user_id, "id": session_id, "limit": limit}
        async with self._database.statement() as connection:
            rows = (await connection.execute(_SAID, values)).all()
        rounds = await self._steps.rounds([row.generation_id for row in rows]) if rows else {}
        return [
            Turn(
                row.generation_id,
                row.prompt,
                row.status,
                row.answer,
                row.created_at,
                rounds.get(row.generation_id, ()),
            )
            for row in reversed(rows)
        ]

    async def canvas_of(self, caller: Caller, session_id: str) -> str | None:
        """The canvas that a session is about."""
        async with self._database.statement() as connection:
            row = (await connection.execute(_CANVAS, {"user_id": caller.user_id, "id": session_id})).one_or_none()
        return row.canvas_id if row is not None else None

    async def sessions(self, caller: Caller, canvas_id: str | None = None) -> list[Row]:
        """The caller's, the last used first; those of one canvas where it is named."""
        values = {"user_id": caller.user_id, "canvas_id": canvas_id, "limit": MAX_LISTED}
        async with self._database.statement() as connection:
            return list(await connection.execute(_SESSIONS, values))

    async def running(self, caller: Caller, session_id: str) -> list[UUID]:
        """The generations of a session that have not ended."""
        async with self._database.statement() as connection:
            rows = await connection.execute(_RUNNING, {"user_id": caller.user_id, "id": session_id})
            return rows.scalars()

    async def again(self, caller: Caller, generation: Generation, order: Order) -> Order:
        """Raises AlreadyFinished for what belongs to a session: made again it would be in none."""
        async with self._database.statement() as connection:
            is_said = (await connection.execute(_IS_SAID, {"id": generation.id})).scalar_one()
        if is_said:
            raise AlreadyFinished("It belongs to a chat: send the message again there.")
        return order

    async def delete(self, caller: Caller, session_id: str) -> None:
        """Raises NotFound."""
        session = {"user_id": caller.user_id, "id": session_id}
        async with self._database.transaction() as connection:
            await connection.execute(_DELETE_TURNS, session)
            if (await connection.execute(_DELETE, session)).first() is None:
                raise NotFound("There is no such session.")


def _title(said: str) -> str:
    return " ".join(said.split())[:MAX_TITLE_CHARACTERS] or "New chat"
