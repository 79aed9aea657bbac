"""Forms with files in them, as `multipart/form-data`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.base_protocol import BaseProtocol

from simulator.fields import InvalidFieldError

PARTS_MAX = 100


@dataclass(slots=True)
class Form:
    """Texts and files by name, in their order."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[bytes]] = field(default_factory=dict)

    def pop(self, *names: str) -> list[bytes]:
        """The files of these names; they are then no longer unknown."""
        return [content for name in names for content in self.files.pop(name, [])]

    def values(self, whole: Collection[str] = (), flags: Collection[str] = ()) -> dict[str, Any]:
        """The texts as a JSON body would hold them; what is left of the files stays as unknown as it is."""
        body: dict[str, Any] = dict.fromkeys(self.files, b"")
        for name, [value, *more] in self.texts.items():
            if more:
                raise InvalidFieldError(name, "value", "was given twice")
            body[name] = _read(value, name in whole, name in flags)
        return body


async def read_form(request: web.Request, raw: bytes) -> Form:
    if not request.content_type.startswith("multipart/form-data"):
        raise InvalidFieldError("body", "type", "must be multipart/form-data")
    loop = asyncio.get_running_loop()
    # All of it is here already: a stream that held less would ask a connection to wait that there is not.
    stream = StreamReader(BaseProtocol(loop), limit=max(1, len(raw)), loop=loop)
    stream.feed_data(raw)
    stream.feed_eof()
    form = Form()
    try:
        reader = MultipartReader(request.headers, stream)
        for _ in range(PARTS_MAX):
            part = await reader.next()
            if part is None:
                return form
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise InvalidFieldError("body", "type", "holds a part without a name")
            content = bytes(await part.read(decode=True))
            if part.filename is not None:
                form.files.setdefault(part.name, []).append(content)
            else:
                form.texts.setdefault(part.name, []).append(content.decode())
    except ValueError:
        raise InvalidFieldError("body", "type", "is not a valid form") from None
    raise InvalidFieldError("body", "value", f"has more than {PARTS_MAX} parts")


def _read(value: str, whole: bool, flag: bool) -> Any:
    if whole and value.isdigit():
        return int(value)
    return {"true": True, "false": False}.get(value, value) if flag else value
