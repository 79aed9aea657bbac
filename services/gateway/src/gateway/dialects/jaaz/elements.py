"""What stands on a canvas, and how two writers' versions of it become one.

Elements are Excalidraw's: each has an `id`, a `version` that grows with every change and, against ties, a
`versionNonce`; what was deleted is said to be (`isDeleted`), not left out.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID, uuid5

Element = dict[str, Any]
_UNNAMED = UUID("8a0b6a56-6e0b-5d0f-9c86-0d0f4f1c8a11")


def named(elements: Iterable[Element]) -> list[Element]:
    """Elements with ids: one without is named after what it holds, so that it is the same when it comes again."""
    return [
        element if isinstance(element.get("id"), str) else {**element, "id": _id_of(element)} for element in elements
    ]


def merged(kept: Sequence[Element], incoming: Iterable[Element]) -> list[Element]:
    """Of each element the newer version, in the incoming order; what the writer did not know of stays."""
    known = {element["id"]: element for element in kept}
    wanted = {element["id"]: element for element in named(incoming)}
    newest = [
        element if name not in known or not is_older(element, known[name]) else known[name]
        for name, element in wanted.items()
    ]
    return newest + [element for name, element in known.items() if name not in wanted]


def is_older(element: Element, known: Element) -> bool:
    """Whether a version of an element comes before the one that is known."""
    return _age(element) < _age(known)


def visible(elements: Iterable[Element]) -> list[Element]:
    """What has not been deleted."""
    return [element for element in elements if element.get("isDeleted") is not True]


def _age(element: Element) -> tuple[int, int]:
    """Of two of one version every replica keeps the one with the lower nonce."""
    return _number(element.get("version")), -_number(element.get("versionNonce"))


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _id_of(element: Element) -> str:
    return str(uuid5(_UNNAMED, json.dumps(element, sort_keys=True)))
