"""Memory stays flat, however much is stored and served: the short form of what `python -m bench.storage` measures."""

import gc
import tracemalloc
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from runtime.database import Database
from storage.ingest import Ingest
from storage.media import Media
from storage.objects.local import LocalObjects
from storage.variants import Variants
from storage.workshop import Workshop

from .samples import OPEN, Provider, noise, picture, rendered
from .serving import served

pytestmark = pytest.mark.connected
WARM = 20
"""Modules are loaded, statements prepared and connections made by then."""
MANY = 100
MOST_BYTES_EACH = 1024
"""Caches of the interpreter's own grow by some hundred; a fact has two kilobytes, and a body more."""


async def grown(once: Callable[[], Awaitable[None]]) -> int:
    """Bytes in use more than before, after many."""

    async def used_after(number: int) -> int:
        for _ in range(number):
            await once()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = await used_after(WARM)
        return await used_after(MANY) - before
    finally:
        tracemalloc.stop()


async def test_what_was_stored_is_in_no_memory(ingest: Ingest, provider: Provider) -> None:
    url = provider.url("a", picture(64, 64))

    async def once() -> None:
        assert (await ingest.store(rendered(url))).data.assets

    assert await grown(once) < MANY * MOST_BYTES_EACH


async def test_what_was_served_is_in_no_memory(
    database: Database, objects: LocalObjects, workshop: Workshop, ingest: Ingest, provider: Provider
) -> None:
    """A piece of a file is mapped while it is sent, and no longer."""
    [asset] = (await ingest.store(rendered(provider.url("a", noise(400, 400))))).data.assets
    media = Media(database, objects, Variants(database, objects, workshop), OPEN)
    async with served(media) as base, aiohttp.ClientSession() as http:

        async def once() -> None:
            async with http.get(f"{base}/media/{asset.key}") as answer:
                assert len(await answer.read()) == asset.size_bytes

        assert await grown(once) < MANY * MOST_BYTES_EACH
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        assert asset.sha256 not in maps.read()
