"""What Google made, where only our key can download it: `GET /v1beta/files/{name}:download`."""

import re

import aiohttp

from generator.providers import http
from generator.providers.interface import Unavailable, Unknown
from runtime.outbound import Refused, Unreachable, fetch

_FILE = re.compile(r"files/([a-z0-9-]{1,64})(?=[:/?]|$)")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Files:
    """The files of one account. At most `max_bytes` are read of one."""

    def __init__(self, caller: http.Caller, session: aiohttp.ClientSession, max_bytes: int) -> None:
        self._caller, self._session, self._max_bytes = caller, session, max_bytes

    async def content_of(self, uri: str | None) -> bytes:
        """The address is not trusted with our key: only the file's name is taken from it.

        Raises:
            Unknown: there is no such file, or it cannot be had.
            Unavailable: not this time.
        """
        file = _FILE.search(uri or "")
        if file is None:
            raise Unknown
        path = f"/v1beta/files/{file[1]}:download?alt=media"
        reply = await self._caller.question("GET", path, timeout_seconds=http.DOWNLOAD_TIMEOUT_SECONDS)
        if reply.status in _REDIRECTS:
            content = await self._redirected(reply.headers.get("Location", ""))
        else:
            content = self._caller.answered(reply).content
        if not content:
            raise Unavailable
        return content

    async def _redirected(self, address: str) -> bytes:
        """From the host that has the bytes, which needs no key and gets none."""
        try:
            async with fetch(
                self._session, address, max_bytes=self._max_bytes, deadline_seconds=http.DOWNLOAD_TIMEOUT_SECONDS
            ) as download:
                return b"".join([chunk async for chunk in download.chunks()])
        except Refused as error:
            raise Unknown from error
        except Unreachable as error:
            raise Unavailable from error
