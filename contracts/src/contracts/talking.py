"""What is said to a model that writes, and what it says: messages, and calls of the tools that it may use."""

from typing import Literal

from pydantic import Field, JsonValue

from contracts.model import Frozen


class Tool(Frozen):
    """Something that a model may call for. Whoever asked the model does it, and tells the model what came of it."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str
    parameters: dict[str, JsonValue]
    """A JSON Schema of an object: what a call has to say."""


class Call(Frozen):
    """That a model calls for a tool."""

    id: str
    """By the provider's own name."""
    name: str
    arguments: str
    """JSON, as the model wrote it; nobody has checked it."""


class Message(Frozen):
    """One turn of a conversation; a tool's says what came of a call."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    calls: tuple[Call, ...] = ()
    """What the assistant called for."""
    call_id: str | None = None
    """Which call a tool answers."""
