"""Bytes of what a submission starts from, for providers that read no addresses."""

import aiohttp

from generator.providers.interface import Given, Invalid
from runtime.outbound import Refused, Unreachable, fetch

MAX_GIVEN_BYTES = 50 * 1024 * 1024
FETCH_SECONDS = 30.0


async def content_of(session: aiohttp.ClientSession, given: Given) -> bytes:
    """Raises Invalid for what cannot be read: nothing has been paid yet."""
    if given.content is not None:
        return given.content
    try:
        async with fetch(
            session, given.url or "", max_bytes=MAX_GIVEN_BYTES, deadline_seconds=FETCH_SECONDS
        ) as download:
            return b"".join([chunk async for chunk in download.chunks()])
    except (Refused, Unreachable) as error:
        raise Invalid("What it should start from cannot be read.") from error
