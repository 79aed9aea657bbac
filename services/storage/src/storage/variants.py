"""Variants: smaller pictures whose addresses are known from the start, made when first asked for, then kept."""

import asyncio
from contextlib import aclosing
from hashlib import sha256
from io import BytesIO
from uuid import UUID

import structlog

from runtime.database import Database
from storage import assets
from storage.assets import VARIANT_TYPE, VARIANTS, Named, Sought
from storage.objects import Absent, Objects, name_of
from storage.workshop import Workshop

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
            Absent: the asset or its bytes are gone.
            storage.pictures.Unusable: it cannot be made.
            OSError, sqlalchemy.exc.DBAPIError: store or database are away.
        """
        if sought.variant is not None:
            return sought.variant
        key = (sought.asset_id, variant)
        if key not in self._making:
            self._making[key] = asyncio.create_task(self._make(sought, variant), name=f"make {variant}")
            self._making[key].add_done_callback(lambda _: self._making.pop(key))
        # Whoever asked may go away; the others still wait, and the variant is wanted anyway.
        return await asyncio.shield(self._making[key])

    async def _make(self, sought: Sought, variant: str) -> Named:
        async with self._workshop.places:
            async with aclosing(self._objects.open(sought.original.object_name)) as chunks:
                original = b"".join([chunk async for chunk in chunks])
            content = await self._workshop.shrink(original, VARIANTS[variant])
        digest = sha256(content).hexdigest()
        named = Named(name_of(sought.owner_id, digest), digest, len(content), VARIANT_TYPE)
        if not await assets.open_variant(self._database, sought.asset_id, variant, named):
            raise Absent(named.object_name)
        await self._objects.put(named.object_name, BytesIO(content), len(content))
        await assets.finish_variant(self._database, sought.asset_id, variant, digest)
        log.info("variant.made", asset=str(sought.asset_id), variant=variant, bytes=len(content))
        return named
