"""What is said in a session, and where what comes of it is heard."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from contracts.facts import Verdict
from contracts.talking import Message
from gateway.sockets.rooms import session_room, user_room
from gateway.sockets.server import Sockets

DIALECT = "jaaz"
_CANCELLED = Verdict.CANCELLED.upper()


@dataclass(frozen=True, slots=True)
class Talk:
    """What a user says in a session. `before` is what the client holds of it, where it sends that; else we know it.

    `tools` are the models that may be called for while it is answered; None: whatever there is.
    """

    session_id: str
    said: str
    model: str | None = None
    canvas_id: str | None = None
    before: tuple[Message, ...] | None = None
    max_tokens: int | None = None
    options: dict[str, Any] | None = None
    tools: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Audience:
    """Who hears a session: the seed's clients join its room, the real ones hear all that is their user's."""

    sockets: Sockets
    user_id: UUID
    session_id: str
    canvas_id: str

    async def respond(
        self, message_id: UUID, message: str, number: int, *, is_complete: bool = False, whole: str | None = None
    ) -> None:
        """`whole` is `response` as in the last frame of a stream; None leaves it out."""
        said = {
            "message": message,
            "message_id": str(message_id),
            "is_complete": is_complete,
            "session_id": self.session_id,
            "sequence": number,
            **({} if whole is None else {"response": whole}),
        }
        await self.sockets.say("chat_response", said, session_room(self.user_id, self.session_id))

    async def update(self, kind: str, **update: Any) -> None:
        """The client's form, which names its session in each event and joins none."""
        told = {"session_id": self.session_id, "canvas_id": self.canvas_id, "type": kind, **update}
        await self.sockets.say("session_update", told, user_room(self.user_id))

    async def fail(self, message_id: UUID, message: str, code: str) -> None:
        error = {"message": message, "code": code, "message_id": str(message_id), "session_id": self.session_id}
        await self.sockets.say("chat_error", error, session_room(self.user_id, self.session_id))
        # The client shows an error to whoever stopped it, too, if it hears of one: `done` follows.
        if code != _CANCELLED:
            await self.update("error", error=message)
