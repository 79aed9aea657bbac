"""Somebody is forgotten while others are at work on what they have."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from faststream.nats import NatsBroker
from sqlalchemy import text

from contracts.keeping import Forget
from runtime.database import Database
from storage import assets
from storage.assets import Named
from storage.collector import Collector
from storage.keeping import Bounds, Keeping
from storage.objects import Absent, name_of
from storage.objects.local import LocalObjects
from storage.variants import Variants
from storage.workshop import Workshop

from .samples import names, rows
from .serving import Stored

pytestmark = pytest.mark.connected


async def test_nothing_is_drawn_of_what_is_forgotten_meanwhile(
    stored: Stored,
    objects: LocalObjects,
    database: Database,
    broker: NatsBroker,
    workshop: Workshop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the variant has a row, and between that and its bytes."""
    keeping, variants = Keeping(database, Bounds()), Variants(database, objects, workshop)
    user_id = UUID(stored.object_name.partition("/")[0])
    sought = await assets.seek(database, stored.asset.key[:32], "thumbnail")
    assert sought is not None
    really_draw, really_put = variants._draw, objects.put

    async def draw(*arguments: Any) -> bytes:
        drawn = await really_draw(*arguments)
        await keeping.forget(Forget(user_id=user_id))
        return drawn

    async def put(*arguments: Any) -> None:
        await really_put(*arguments)
        await keeping.forget(Forget(user_id=user_id))

    with monkeypatch.context() as patched:
        patched.setattr(objects, "put", put)
        await variants.get(sought, "thumbnail")
    await rows(database, "UPDATE assets SET state = 'stored' WHERE id = :id", id=stored.asset.id)
    with monkeypatch.context() as patched:
        patched.setattr(variants, "_draw", draw)
        with pytest.raises(Absent):
            await variants.get(sought, "thumbnail")
    assert await rows(database, "SELECT * FROM variants WHERE asset_id = :id", id=stored.asset.id) == []
    [row] = await rows(database, "SELECT state, blurhash FROM assets WHERE id = :id", id=stored.asset.id)
    assert tuple(row) == ("purged", None)
    await rows(database, "TRUNCATE orphans")
    await Collector(database, broker, objects, keeping, None, every_seconds=3600, orphan_seconds=0).collect()
    assert await names(objects) == set()


async def test_who_is_forgotten_is_waited_for(stored: Stored, database: Database) -> None:
    """An asset that somebody is about to say something of is not passed over, and what they say goes as well."""
    keeping, asset_id = Keeping(database, Bounds()), stored.asset.id
    user_id = UUID(stored.object_name.partition("/")[0])
    named = Named(name_of(user_id, "0" * 64), "0" * 64, 1, "image/webp")
    async with database.transaction() as another:
        await another.execute(text("SELECT FROM assets WHERE id = :id FOR SHARE"), {"id": asset_id})
        forgetting = asyncio.create_task(keeping.forget(Forget(user_id=user_id)))
        await asyncio.sleep(0.5)
        assert await assets.open_variant(database, asset_id, "thumbnail", named)
    assert (await forgetting).assets == 1
    assert await rows(database, "SELECT * FROM variants WHERE asset_id = :id", id=asset_id) == []
