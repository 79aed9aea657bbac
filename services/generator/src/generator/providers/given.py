"""Bytes of what a submission starts from, for providers that read no addresses."""

import aiohttp

from generator.providers.interface import Given, Invalid, Unreadable
from runtime.outbound import Refused, Unreachable, fetch

MAX_GIVEN_BYTES = 50 * 1024 * 1024
FETCH_SECONDS = 30.0


async def content_of(session: aiohttp.ClientSession, given: Given) -> bytes:
    """Nothing has been paid yet.

    Raises:
        Invalid: what the address holds can never be read.
        Unreadable: it could not be read this time.
    """
    if given.content is not None:
        return given.content
    try:
        async with fetch(
            session, given.url or "", max_bytes=MAX_GIVEN_BYTES, deadline_seconds=FETCH_SECONDS
        ) as download:
            return b"".join([chunk async for chunk in download.chunks()])
    except Refused as error:
        raise Invalid("What it should start from cannot be read.") from error
    except Unreachable as error:
        raise Unreadable from error
