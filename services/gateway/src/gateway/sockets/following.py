"""How far a user's generations are, said to their sockets here while they are made.

Which ones there are is read from the rows when the user comes, and when their credits moved, as accepting one does.
Every replica says it to its own sockets.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from pydantic import ValidationError
from sqlalchemy import text

from contracts.progress import Progress
from contracts.topology import progress_subject
from runtime.broker import connected
from runtime.database import Database
from runtime.health import is_transient

LOOK_EVERY_SECONDS = 1.0
"""For the generations of one user."""
SAY_EVERY_SECONDS = 1.0
"""Of one generation."""
MAX_OF_USER = 20
"""Generations, the newest first."""
MOST_PERCENT = 99
"""All of it is for the end to say."""
_UNFINISHED = text("""
    SELECT id, dialect FROM generations
    WHERE user_id = :user_id AND status IN ('pending', 'processing') AND kind <> 'text'
        AND created_at > now() - interval '1 day' AND deleted_at IS NULL
    ORDER BY created_at DESC, id DESC LIMIT :most
""")

Say = Callable[[UUID, dict[str, Any]], Awaitable[None]]
log = structlog.get_logger()


@dataclass(slots=True)
class _Followed:
    """One generation: what was said of it, and what will be."""

    user_id: UUID
    dialect: str
    percent: int = -1
    said: int = -1
    said_at: float = float("-inf")
    timer: asyncio.TimerHandle | None = None
    subscription: Subscription | None = None


@dataclass(slots=True)
class _User:
    looked_at: float = float("-inf")
    looking: asyncio.Task[None] | None = None
    over: set[UUID] = field(default_factory=set)
    """What ended since the rows were read."""
    followed: dict[UUID, _Followed] = field(default_factory=dict)


class Following:
    """Of all users who have a socket here."""

    def __init__(self, database: Database, broker: NatsBroker, say: Say) -> None:
        self._database = database
        self._broker = broker
        self._say = say
        self._users: dict[UUID, _User] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def look(self, user_id: UUID) -> None:
        """Somebody came, or something of theirs may have begun: it is looked for, soon."""
        user = self._users.setdefault(user_id, _User())
        if user.looking is None:
            user.looking = self._begin(self._look(user_id, user))

    def end(self, user_id: UUID, generation_id: UUID) -> None:
        """Its end is said by somebody else: nothing more of it is said here."""
        if (user := self._users.get(user_id)) is not None:
            user.over.add(generation_id)
            self._drop(user, generation_id)

    def leave(self, user_id: UUID) -> None:
        """The user has no socket here any more."""
        if (user := self._users.pop(user_id, None)) is not None:
            if user.looking is not None:
                user.looking.cancel()
            for generation_id in list(user.followed):
                self._drop(user, generation_id)

    def stop(self) -> None:
        for user_id in list(self._users):
            self.leave(user_id)
        for task in list(self._tasks):
            task.cancel()

    async def _look(self, user_id: UUID, user: _User) -> None:
        try:
            await asyncio.sleep(max(0.0, user.looked_at + LOOK_EVERY_SECONDS - time.monotonic()))
            user.looked_at = time.monotonic()
        finally:
            user.looking = None  # what moves from now on is looked for again
        user.over.clear()
        try:
            async with self._database.statement() as connection:
                rows = (await connection.execute(_UNFINISHED, {"user_id": user_id, "most": MAX_OF_USER})).all()
        except Exception as error:
            if not is_transient(error):
                raise
            return
        found = {row.id: row.dialect for row in rows if row.id not in user.over}
        for generation_id in user.followed.keys() - found:
            self._drop(user, generation_id)
        for generation_id in found.keys() - user.followed:
            await self._follow(user_id, user, generation_id, found[generation_id])

    async def _follow(self, user_id: UUID, user: _User, generation_id: UUID, dialect: str) -> None:
        if not connected(self._broker) or self._users.get(user_id) is not user or generation_id in user.over:
            return
        followed = user.followed[generation_id] = _Followed(user_id, dialect)
        subject, arrived = progress_subject(generation_id), partial(self._arrived, followed)
        try:
            subscription = await self._broker.connection.subscribe(subject, cb=arrived)
        except (NatsError, OSError) as error:
            log.warning("progress.not_heard", error=type(error).__name__)
            user.followed.pop(generation_id, None)
            return
        if user.followed.get(generation_id) is followed:
            followed.subscription = subscription
        else:
            await _unsubscribe(subscription)

    async def _arrived(self, followed: _Followed, message: Msg) -> None:
        try:
            told = Progress.model_validate_json(message.data)
        except ValidationError:
            return
        followed.percent = max(followed.percent, min(told.percent, MOST_PERCENT))
        if followed.percent > followed.said and followed.timer is None:
            early_seconds = max(0.0, followed.said_at + SAY_EVERY_SECONDS - time.monotonic())
            utter = partial(self._utter, followed, told.generation_id)
            followed.timer = asyncio.get_running_loop().call_later(early_seconds, utter)

    def _utter(self, followed: _Followed, generation_id: UUID) -> None:
        followed.timer = None
        followed.said, followed.said_at = followed.percent, time.monotonic()
        body = {"id": str(generation_id), "status": "processing", "progress": followed.said}
        self._begin(self._say(followed.user_id, {**body, "dialect": followed.dialect}))

    def _drop(self, user: _User, generation_id: UUID) -> None:
        followed = user.followed.pop(generation_id, None)
        if followed is None:
            return
        if followed.timer is not None:
            followed.timer.cancel()
        if followed.subscription is not None:
            self._begin(_unsubscribe(followed.subscription))

    def _begin(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _unsubscribe(subscription: Subscription) -> None:
    with contextlib.suppress(NatsError, OSError):
        await subscription.unsubscribe()
