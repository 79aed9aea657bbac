"""Multipart forms, as vendors that take files read them."""

from __future__ import annotations

import asyncio

from aiohttp import BodyPartReader, MultipartReader, StreamReader
from aiohttp.base_protocol import BaseProtocol

from simulator.calls import Call
from simulator.fields import InvalidFieldError

BUFFER_BYTES = 2**16


async def read_form(call: Call) -> dict[str, str | bytes]:
    """Each field's text, and each file's bytes. Raises InvalidFieldError for what is no multipart form."""
    request = call.request
    if request.content_type != "multipart/form-data":
        raise InvalidFieldError("content-type", "value", "must be multipart/form-data")
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), BUFFER_BYTES, loop=loop)
    stream.feed_data(call.raw)
    stream.feed_eof()
    form: dict[str, str | bytes] = {}
    try:
        async for part in MultipartReader(request.headers, stream):
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise ValueError
            content = bytes(await part.read())
            form[part.name] = content if part.filename is not None else content.decode()
    except (ValueError, AssertionError):
        raise InvalidFieldError("body", "type", "is not a valid form") from None
    return form


def numbers(form: dict[str, str | bytes], *names: str) -> dict[str, object]:
    """The form with these fields as numbers, where they are any."""
    values: dict[str, object] = dict(form)
    for name in names:
        text = form.get(name)
        if isinstance(text, str):
            try:
                values[name] = float(text) if "." in text else int(text)
            except ValueError:
                continue
    return values
