"""Variants: what an asset looks like when smaller, or at its beginning, or when drawn.

Their addresses are known from the start; each is made when first asked for, then kept.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from hashlib import sha256
from io import BytesIO
from typing import IO
from uuid import UUID

import structlog

from contracts.facts import Kind
from runtime.database import Database
from storage import assets, pictures
from storage.addresses import LONGEST_SIDES, kind_of, type_of, variants_of
from storage.assets import Named, Sought
from storage.nameless import nameless, path_of
from storage.objects import Absent, Objects, name_of
from storage.workshop import RECORDING_CPU_SECONDS, Place, Workshop

log = structlog.get_logger()


class Variants:
    """Makes each variant once per process at a time, however many ask for it."""

    def __init__(self, database: Database, objects: Objects, workshop: Workshop) -> None:
        self._database = database
        self._objects = objects
        self._workshop = workshop
        self._making: dict[tuple[UUID, str], asyncio.Task[Named]] = {}

    async def get(self, sought: Sought, variant: str) -> Named:
        """The variant, stored.

        Raises:
            Absent: the asset or its bytes are gone, or assets of its type have no such variant.
            storage.pictures.Unusable: it cannot be made.
            OSError, sqlalchemy.exc.DBAPIError: store or database are away.
        """
        if sought.variant is not None:
            return sought.variant
        if variant not in variants_of(sought.original.mime_type):
            raise Absent(variant)
        key = (sought.asset_id, variant)
        if key not in self._making:
            self._making[key] = asyncio.create_task(self._make(sought, variant), name=f"make {variant}")
            self._making[key].add_done_callback(partial(self._end, key))
        # Whoever asked may go away; the others still wait, and the variant is wanted anyway.
        return await asyncio.shield(self._making[key])

    def _end(self, key: tuple[UUID, str], made: asyncio.Task[Named]) -> None:
        del self._making[key]
        if not made.cancelled():
            made.exception()  # it is told to whoever still waits: where nobody does, it is nobody's fault

    async def _make(self, sought: Sought, variant: str) -> Named:
        async with self._workshop.place() as place:
            content = await self._draw(place, sought, variant)
            # Where a picture is decoded anyway: on the way of a generation it would be the dearest step of all.
            is_picture = sought.blurhash is None and type_of(variant) == "image/webp"
            blurhash = await place.do(pictures.blurhash, content) if is_picture else None
        digest = sha256(content).hexdigest()
        named = Named(name_of(sought.owner_id, digest), digest, len(content), type_of(variant))
        if not await assets.open_variant(self._database, sought.asset_id, variant, named):
            raise Absent(named.object_name)
        await self._objects.put(named.object_name, BytesIO(content), len(content))
        await assets.finish_variant(self._database, sought.asset_id, variant, digest, blurhash)
        log.info("variant.made", asset=str(sought.asset_id), variant=variant, bytes=len(content))
        return named

    async def _draw(self, place: Place, sought: Sought, variant: str) -> bytes:
        kind = kind_of(sought.original.mime_type)
        if kind is Kind.IMAGE:
            async with aclosing(self._objects.open(sought.original.object_name)) as chunks:
                original = b"".join([chunk async for chunk in chunks])
            return await place.do(pictures.shrink, original, LONGEST_SIDES[variant])
        async with self._as_file(sought.original) as file:
            if kind is Kind.SPEECH:
                return await place.do(
                    _waveform, path_of(file), sought.seconds or 0.0, cpu_seconds=RECORDING_CPU_SECONDS
                )
            poster = await place.do(_poster, path_of(file), cpu_seconds=RECORDING_CPU_SECONDS)
        longest = LONGEST_SIDES[variant]
        return poster if longest is None else await place.do(pictures.shrink, poster, longest)

    @asynccontextmanager
    async def _as_file(self, original: Named) -> AsyncIterator[IO[bytes]]:
        """A recording may be larger than memory, and a decoder wants to go back and forth in it."""
        with nameless() as file:
            async with aclosing(self._objects.open(original.object_name)) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
            file.flush()
            yield file


def _poster(path: str) -> bytes:
    from storage.films import poster  # FFmpeg is loaded by the processes that need it

    return poster(path)


def _waveform(path: str, seconds: float) -> bytes:
    from storage.waveforms import waveform

    return waveform(path, seconds)
