"""What a planted bug is, and how words of a statement are changed to plant one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text


@dataclass(frozen=True)
class Bug:
    """What is wrong, how it is planted, what it does to the database, and the check that must notice."""

    plant: Callable[[pytest.MonkeyPatch], None]
    check: Callable[..., Awaitable[None]]
    schema: tuple[str, ...] = ()


def reworded(patch: pytest.MonkeyPatch, module: Any, names: str, *changes: tuple[str, str]) -> None:
    """Statements with other words. What is replaced must be there, or nothing would be planted."""
    for name in names.split():
        wording = getattr(module, name).text
        for old, new in changes:
            assert old in wording, f"{name} has no {old!r}: plant the bug anew"
            wording = wording.replace(old, new)
        patch.setattr(module, name, text(wording))
