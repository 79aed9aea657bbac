"""Reads bodies and queries as Stripe does: `metadata[user]=1`, `expand[0]=…`; a value is text until it is asked for."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from simulator.fields import Fields, InvalidFieldError

MAX_FIELDS = 500
MAX_METADATA_KEYS = 50
MAX_METADATA_KEY_CHARACTERS = 40
MAX_METADATA_VALUE_CHARACTERS = 500
_NAME = re.compile(r"([a-z0-9_]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")
_WHOLE = re.compile(r"-?\d{1,18}")


def read_form(text: str) -> dict[str, Any]:
    """Nested objects and lists of text. Raises InvalidFieldError for a name that is not written so."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MAX_FIELDS)
    except ValueError:
        raise InvalidFieldError("body", "type", "is not a form") from None
    tree: dict[str, Any] = {}
    for name, value in pairs:
        match = _NAME.fullmatch(name)
        if match is None:
            raise InvalidFieldError(name, "unknown", "is not a parameter of this endpoint")
        place, path = tree, [match[1], *_PART.findall(match[2])]
        for part in path[:-1]:
            place = place.setdefault(part or str(len(place)), {})
            if not isinstance(place, dict):
                raise InvalidFieldError(name, "type", "is both a value and an object")
        place[path[-1] or str(len(place))] = value
    return {name: _lists(value) for name, value in tree.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inside = {name: _lists(part) for name, part in value.items()}
    return list(inside.values()) if inside and all(name.isdigit() for name in inside) else inside


class Form(Fields):
    """Numbers and flags are written out."""

    def whole(self, name: str, low: int, high: int, default: int) -> int:
        written = self._body.get(name)
        if written is None:
            return default
        if not isinstance(written, str) or not _WHOLE.fullmatch(written):
            raise self.invalid(name, "type", "must be an integer")
        if not low <= int(written) <= high:
            raise self.invalid(name, "value", f"must lie between {low} and {high}")
        return int(written)

    def flag(self, name: str, *, default: bool) -> bool:
        return self.choice(name, ("true", "false"), str(default).lower()) == "true"

    def texts(self, name: str) -> list[str]:
        value = self._body.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.invalid(name, "type", "must be a list")
        return value

    def form(self, name: str, known: set[str]) -> Form:
        """A nested object; an absent one is empty."""
        value = self._body.get(name, {})
        if not isinstance(value, dict):
            raise self.invalid(name, "type", "must be an object")
        return Form(value, known, f"{self._inside}{name}.")

    def metadata(self) -> dict[str, str]:
        value = self._body.get("metadata") or {}
        if not isinstance(value, dict) or len(value) > MAX_METADATA_KEYS:
            raise self.invalid("metadata", "value", f"must be an object of at most {MAX_METADATA_KEYS} keys")
        for key, words in value.items():
            if not isinstance(words, str) or len(words) > MAX_METADATA_VALUE_CHARACTERS:
                raise self.invalid("metadata", "value", f"has a value of more than {MAX_METADATA_VALUE_CHARACTERS}")
            if len(key) > MAX_METADATA_KEY_CHARACTERS:
                raise self.invalid("metadata", "value", f"has a key of more than {MAX_METADATA_KEY_CHARACTERS}")
        return dict(value)
