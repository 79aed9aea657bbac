"""What a client prefers: the header `Prefer` (RFC 7240), in whatever form it comes."""

import re
from collections.abc import Mapping
from urllib.request import parse_http_list

from fastapi import Request

# What a part has taken it never gives back (`*+`): else a run of spaces is tried at every split of it, for seconds.
_PREFERENCE = re.compile(r'\s*+([^\s=;"]++)\s*+(?:=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s;"]*+))\s*+)?(?:;.*)?')


def preferences(request: Request) -> Mapping[str, str]:
    """Name in small letters → value, empty where there is none; the first of a name counts, as the RFC says.

    What has no form that the RFC knows is left out, and so are parameters, since we know none.
    """
    found = dict[str, str]()
    for said in parse_http_list(", ".join(request.headers.getlist("prefer"))):
        match = _PREFERENCE.fullmatch(said)
        if match is not None:
            name, quoted, plain = match.groups()
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain or ""
            found.setdefault(name.lower(), value)
    return found


def whole_seconds(value: str) -> float | None:
    """None where it is no such number, or one that nobody waits."""
    return float(value) if value.isascii() and value.isdecimal() and len(value) <= 6 else None
