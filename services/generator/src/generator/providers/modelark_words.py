"""ModelArk's error codes, and how pictures are given to it."""

import base64

from generator.providers.interface import (
    Given,
    Invalid,
    ProviderRefusal,
    QuotaExhausted,
    Rejected,
    Throttled,
)

_USED_UP = frozenset({"AccountOverdueError", "SetLimitExceeded", "QuotaExceeded"})
_BLOCKED = ("SensitiveContentDetected", "RiskDetection")


def meaning(status: int, code: str, _: str) -> type[ProviderRefusal] | None:
    if any(word in code for word in _BLOCKED):
        return Rejected
    if code in _USED_UP:
        return QuotaExhausted
    if code.startswith(("InvalidParameter", "MissingParameter")):
        return Invalid
    if code == "ServerOverloaded":
        return Throttled
    return None


def address(given: Given) -> str:
    """What stands for a picture: its address, or the bytes in a data URI, whose type has to be in lower case."""
    if given.content is None:
        if given.url is None:
            raise Invalid
        return given.url
    mime_type = (given.mime_type or "image/png").lower()
    return f"data:{mime_type};base64,{base64.b64encode(given.content).decode()}"
