"""What a client asks of a resource by its headers (RFC 9110, 13 and 14), without I/O."""

import re

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class Unsatisfiable(Exception):
    """None of the bytes asked for exist."""


def asked_range(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the byte after the last; None for what may be ignored: several ranges, other units, nonsense.

    Raises:
        Unsatisfiable: a well-formed range outside the content.
    """
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if found is None:
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        if int(last) == 0 or size == 0:
            raise Unsatisfiable
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise Unsatisfiable
    return int(first), min(size, int(last) + 1) if last else size


def matches(header: str | None, tag: str, *, strongly: bool = False) -> bool:
    """Whether a list of entity tags names this one, or any; strongly, where one that says that it is weak does not."""
    if header is None:
        return False
    given = (each.strip() for each in header.split(","))
    return any((each if strongly else each.removeprefix("W/")) in {"*", f'"{tag}"'} for each in given)
