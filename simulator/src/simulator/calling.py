"""Calls of tools, as every vendor's models make them: what was said, what is offered, and what is asked for.

A model asks for each offered tool of which the last word of the name stands in what the user said: `draw_image` for
"an image of a fox". Once it was answered it says so, and asks for nothing more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator.fields import Fields

_NAME = re.compile(r"[a-zA-Z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    schema: dict[str, Any]


@dataclass(slots=True)
class Conversation:
    """What was said, as (role, text), and which calls wait for an answer."""

    said: list[tuple[str, str]] = field(default_factory=list)
    open: dict[str, str] = field(default_factory=dict)
    """Id and name of each."""
    has_called: bool = False

    @property
    def prompt(self) -> str:
        """The last that the user said."""
        return next((text for role, text in reversed(self.said) if role == "user"), "")

    @property
    def may_be_answered(self) -> bool:
        return bool(self.said) and self.said[-1][0] in {"user", "tool"}

    def say(self, role: str, text: str, calls: Mapping[str, str] | None = None) -> None:
        self.said.append((role, text))
        self.open = dict(calls or {})
        self.has_called = self.has_called or bool(calls)

    def answer(self, call_id: str, text: str) -> bool:
        """Whether there is such a call, and nobody answered it."""
        if self.open.pop(call_id, None) is None:
            return False
        self.said.append(("tool", text))
        return True


def tools_of(fields: Fields, read: Callable[[dict[str, Any]], Tool], most: int) -> list[Tool]:
    """The tools that a request offers, each with a name of its own."""
    entries = fields.get("tools")
    if not isinstance(entries, list) or not 1 <= len(entries) <= most:
        raise fields.invalid("tools", "value", f"must be a list of 1 to {most} tools")
    if not all(isinstance(entry, dict) for entry in entries):
        raise fields.invalid("tools", "type", "must be a list of objects")
    tools = [read(entry) for entry in entries]
    names = {tool.name for tool in tools}
    if len(names) < len(tools) or not all(map(_NAME.fullmatch, names)):
        raise fields.invalid("tools", "value", "must have names of letters, digits, _ and -, each once")
    return tools


def fits_schema(schema: Any) -> bool:
    """Whether it is the JSON Schema of an object."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return False
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, dict) or not all(isinstance(each, dict) for each in properties.values()):
        return False
    return isinstance(required, list) and all(name in properties for name in required)


def asked_for(tools: list[Tool], talk: Conversation) -> list[dict[str, str]]:
    """The name and the arguments, as JSON, of each call that the model makes now."""
    if not talk.said or talk.said[-1][0] != "user":
        return []
    words = set(re.findall(r"[a-z]+", talk.prompt.lower()))
    wanted = [tool for tool in tools if re.split(r"[_-]", tool.name.lower())[-1] in words]
    return [{"name": tool.name, "arguments": json.dumps(_arguments(tool.schema, talk.prompt))} for tool in wanted]


def _arguments(schema: dict[str, Any], prompt: str) -> dict[str, Any]:
    """What the schema requires, made of the prompt."""
    properties = schema.get("properties", {})
    return {name: _value(properties.get(name, {}), prompt) for name in schema.get("required", ())}


def _value(schema: dict[str, Any], prompt: str) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    match schema.get("type", "string"):
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return []
        case "object":
            return {}
        case _:
            return prompt[: schema.get("maxLength")]
