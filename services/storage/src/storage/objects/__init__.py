"""Owns the bytes: one interface, a folder or any S3 behind it. Never knows what a row is.

An object is named by its owner and the hash of its content, so that equal bytes are kept once per owner and an object
never changes: it is there, whole, or it is not.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime
from typing import IO, Protocol
from uuid import UUID

CHUNK_BYTES = 256 << 10
Buffer = bytes | memoryview
NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{64}")


class Absent(Exception):
    """There is no such object."""


class Objects(Protocol):
    """A store. Whatever keeps it from answering is an OSError (ConnectionError for a remote one)."""

    @property
    def backend(self) -> str:
        """What MEDIA_STORAGE_BACKEND calls it."""

    async def check(self) -> None:
        """Raises OSError unless the store can be written to."""

    async def put(self, name: str, data: IO[bytes], size: int) -> None:
        """Keeps all of `data`, durably and all at once, or raises; what is there already is left as it is."""

    async def size(self, name: str) -> int | None:
        """In bytes; None where there is no such object."""

    async def put_at(self, name: str) -> datetime | None:
        """When it came here; None where there is no such object."""

    def open(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes from `offset`, at most `length`; raises Absent. Close it when not read to the end."""

    def pieces(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[Buffer, None]:
        """As `open`, for who hands them to a socket and looks at none: they may be the file itself, and larger."""

    async def delete(self, name: str) -> None:
        """Also where there is no such object."""

    def names(self) -> AsyncIterator[list[str]]:
        """The names of all objects of ours, in lists of bounded length. Changes nothing."""

    async def clear(self) -> None:
        """Removes what was begun long ago and never came to be an object."""

    async def close(self) -> None: ...


def name_of(owner_id: UUID, sha256: str) -> str:
    """`<owner>/<hash>`: a folder more would be made, and made durable, for nearly every object."""
    return f"{owner_id}/{sha256}"


def checked(name: str) -> str:
    """Raises ValueError for a name that `name_of` cannot have made."""
    if not NAME.fullmatch(name):
        raise ValueError(f"not the name of an object: {name!r}")
    return name
