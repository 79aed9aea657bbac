"""Reads a JSON body field by field and says precisely what is wrong with it; each dialect words that in its own way."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

Kind = Literal["missing", "unknown", "type", "value"]


class InvalidFieldError(Exception):
    """`reason` completes a sentence about the field: "must be a string"."""

    def __init__(self, field: str, kind: Kind, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field, self.kind, self.reason = field, kind, reason


class Fields:
    """An explicit null counts as absent, as both vendors treat it."""

    def __init__(self, body: Mapping[str, Any], known: Collection[str], inside: str = "") -> None:
        self._inside = inside
        for name in body:
            if name not in known:
                raise InvalidFieldError(inside + name, "unknown", "is not a parameter of this endpoint")
        self._body = {name: value for name, value in body.items() if value is not None}

    def has(self, name: str) -> bool:
        return name in self._body

    def get(self, name: str) -> Any:
        return self._body.get(name)

    def refuse(self, *names: str, reason: str) -> None:
        """None of these may be present."""
        for name in names:
            if name in self._body:
                raise self.invalid(name, "value", reason)

    def required_text(self, name: str, characters_max: int) -> str:
        if name not in self._body:
            raise self.invalid(name, "missing", "is required")
        text = self.text(name, "", characters_max)
        if not text.strip():
            raise self.invalid(name, "value", "must not be empty")
        return text

    def text(self, name: str, default: str, characters_max: int = 10_000) -> str:
        value = self._body.get(name, default)
        if not isinstance(value, str):
            raise self.invalid(name, "type", "must be a string")
        if len(value) > characters_max:
            raise self.invalid(name, "value", f"must have at most {characters_max} characters")
        return value

    def choice(self, name: str, options: Collection[str], default: str) -> str:
        value = self.text(name, default)
        if value not in options and name in self._body:
            raise self.invalid(name, "value", f"must be one of {', '.join(options) or 'nothing for this model'}")
        return value

    def whole(self, name: str, low: int, high: int, default: int) -> int:
        value = self._body.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.invalid(name, "type", "must be an integer")
        if name in self._body and not low <= value <= high:
            raise self.invalid(name, "value", f"must lie between {low} and {high}")
        return value

    def number(self, name: str, low: float, high: float, default: float) -> float:
        value = self._body.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.invalid(name, "type", "must be a number")
        if not low <= value <= high:
            raise self.invalid(name, "value", f"must lie between {low} and {high}")
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._body.get(name, default)
        if not isinstance(value, bool):
            raise self.invalid(name, "type", "must be a boolean")
        return value

    def part(self, name: str, known: Collection[str]) -> Fields:
        """A nested object; an absent one is empty."""
        value = self._body.get(name, {})
        if not isinstance(value, dict):
            raise self.invalid(name, "type", "must be an object")
        return Fields(value, known, f"{self._inside}{name}.")

    def invalid(self, name: str, kind: Kind, reason: str) -> InvalidFieldError:
        return InvalidFieldError(self._inside + name, kind, reason)
