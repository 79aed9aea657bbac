"""Identifiers: what they are made of and how they travel in subjects."""

import os
import time
from uuid import UUID, uuid5

_KEYED = UUID("5a3f0c1e-7a54-5d8e-9a6f-3c1d2b4e5f60")
_EVENT = UUID("b0c2a7d4-2f1b-5c39-8f0e-6d7a9b8c1e23")
_ASSET = UUID("e1d9f8a6-4c3b-5a27-b1f4-0a9c8d7e6f51")
_USER = UUID("0f6c2d18-93ab-5e4d-a7c0-51b8e2f4d396")


def new_generation_id() -> UUID:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return UUID(int=value)


def keyed_generation_id(user_id: UUID, route: str, key: str, item: int = 0) -> UUID:
    """The id that one Idempotency-Key always names: the same user, route, key and item give the same id."""
    return uuid5(_KEYED, f"{user_id}\n{route}\n{key}\n{item}")


def event_id(fact: str, source: str, generation_id: UUID, what: str = "") -> UUID:
    """The id of a fact: a service that says the same thing again says it under the same id."""
    return uuid5(_EVENT, f"{fact}\n{source}\n{generation_id}\n{what}")


def asset_id(generation_id: UUID, index: int) -> UUID:
    """The asset that output `index` of a generation becomes, however often it is stored."""
    return uuid5(_ASSET, f"{generation_id}\n{index}")


def user_of(issuer: str, subject: str) -> UUID:
    """The user that a token names: its subject where that is a UUID, else derived from (issuer, subject)."""
    try:
        return UUID(subject)
    except ValueError:
        return uuid5(_USER, f"{issuer}\n{subject}")
