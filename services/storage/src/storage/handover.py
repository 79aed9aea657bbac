"""Letting somebody else send the bytes: a proxy in front of us that sees our files, or the object store itself."""

from typing import Protocol

from storage.assets import Named
from storage.objects.minio import MinioObjects

Headers = dict[str, str]
_OF_THE_BODY = {"content-length", "content-range", "accept-ranges"}


class Handover(Protocol):
    """Who sends an object instead of us."""

    async def answer(self, named: Named, headers: Headers, seconds_left: int | None) -> tuple[int, Headers]:
        """Status and headers of an answer without a body; `headers` are those that the client is to see, and the
        address that it came with is good for `seconds_left`, or for ever."""


class ToProxy:
    """nginx has a location for internal use alone, whose root is MEDIA_ROOT: it sends the file, and cares for Range."""

    def __init__(self, prefix: str) -> None:
        self._prefix = f"/{prefix.strip('/')}"

    async def answer(self, named: Named, headers: Headers, _: int | None) -> tuple[int, Headers]:
        kept = {name: value for name, value in headers.items() if name not in _OF_THE_BODY}
        return 200, kept | {"x-accel-redirect": f"{self._prefix}/{named.object_name}"}


class ToStore:
    """The client is sent on to an address of the store that works for a few minutes."""

    def __init__(self, objects: MinioObjects, seconds: int) -> None:
        self._objects = objects
        self._seconds = seconds

    async def answer(self, named: Named, headers: Headers, seconds_left: int | None) -> tuple[int, Headers]:
        """Raises OSError where the store cannot be asked."""
        seconds = self._seconds if seconds_left is None else max(1, min(self._seconds, seconds_left))
        url = await self._objects.presigned(named.object_name, seconds, named.mime_type, headers["content-disposition"])
        kept = {name: value for name, value in headers.items() if name.startswith(("x-", "access-", "cross-"))}
        return 307, kept | {"location": url, "cache-control": f"private, max-age={seconds // 2}"}
