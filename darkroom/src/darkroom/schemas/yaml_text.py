"""YAML for documents made of dictionaries, lists and plain values: enough to be read, in the order given."""

import json
import re
from collections.abc import Iterator
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$ .()/-]*[A-Za-z0-9_)]|[A-Za-z]")
_WORDS_WITH_A_MEANING = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def to_yaml(document: dict[str, Any]) -> str:
    return "\n".join(_mapping(document, 0)) + "\n"


def _mapping(mapping: dict[str, Any], depth: int) -> Iterator[str]:
    for key, value in mapping.items():
        yield from _entry(f"{'  ' * depth}{_scalar(key)}:", value, depth)


def _sequence(items: list[Any], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for item in items:
        if isinstance(item, dict) and item:
            first, *rest = _mapping(item, depth + 1)
            yield f"{indent}- {first.lstrip()}"
            yield from rest
        else:
            yield f"{indent}- {_flow(item)}"


def _entry(head: str, value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, dict) and value:
        yield head
        yield from _mapping(value, depth + 1)
    elif isinstance(value, list | tuple) and value:
        yield head
        yield from _sequence(list(value), depth + 1)
    else:
        yield f"{head} {_flow(value)}"


def _flow(value: Any) -> str:
    return _scalar(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS_WITH_A_MEANING and len(text) < 100:
        return text
    return json.dumps(text, ensure_ascii=False)
