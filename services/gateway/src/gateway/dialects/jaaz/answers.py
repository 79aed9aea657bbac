"""What the routes of the dialect have in common."""

from dataclasses import dataclass
from typing import Any

from fastapi import Request

from gateway.dialects.callers import caller
from gateway.dialects.jaaz.agents import Agents
from gateway.dialects.jaaz.canvases import Canvases
from gateway.dialects.jaaz.chats import Chats
from gateway.dialects.jaaz.configs import Configs
from gateway.dialects.jaaz.files import Files
from gateway.dialects.jaaz.schemas import JaazError
from gateway.dialects.jaaz.steps import Steps
from gateway.dialects.jaaz.talk import DIALECT
from gateway.dialects.jaaz.talks import Talks
from gateway.dialects.surface import Surface
from gateway.identity import Caller

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": JaazError} for status in (400, 401, 402, 404, 409, 413, 415, 422, 429, 501, 502, 503, 504)
}
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


@dataclass(frozen=True, slots=True)
class Desk:
    """The surface, and the records of this dialect."""

    surface: Surface
    files: Files
    canvases: Canvases
    chats: Chats
    configs: Configs
    agents: Agents
    talks: Talks

    async def who(self, request: Request, user_id: str | None = None) -> Caller:
        """Raises Unauthenticated, NotFound."""
        return await caller(self.surface.identity, request, user_id)


def make_desk(surface: Surface) -> Desk:
    files = Files(surface.database, surface.uploads, surface.addresses.public_url)
    chats = Chats(surface.database)
    canvases = Canvases(surface.database, files)
    agents = Agents(surface, Steps(surface.database), chats, canvases, files)
    surface.commands.heard_by.append(agents.wake)
    surface.commands.repeats.of_dialect[DIALECT] = chats.again
    return Desk(
        surface,
        files,
        canvases,
        chats,
        Configs(surface.database, surface.provider_keys, surface.queries),
        agents,
        Talks(surface, chats, agents),
    )
