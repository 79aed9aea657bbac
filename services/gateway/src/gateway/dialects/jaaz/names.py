"""The names that clients choose for canvases and sessions: each belongs to its user."""

import re
from uuid import uuid4

from gateway.refusals import Invalid, NotFound

MAX_CHARACTERS = 100
RESERVED = {"list", "create", "save", "rename", "delete", "new"}
"""What stands at the same place in a path."""
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_CHARACTERS}}}")


def chosen(name: str | None, field: str) -> str:
    """A name that may be given; a new one where none is. Raises Invalid."""
    if not name:
        return str(uuid4())
    if not _NAME.fullmatch(name) or name in RESERVED:
        rule = f"1 to {MAX_CHARACTERS} letters, digits, _ and -, and none of {', '.join(sorted(RESERVED))}"
        raise Invalid(f"{field}: {rule}", details={"errors": [{"field": field, "message": rule}]})
    return name


def known(name: str, what: str) -> str:
    """A name that may be there. Raises NotFound for one that cannot."""
    if not _NAME.fullmatch(name):
        raise NotFound(f"There is no such {what}.")
    return name
