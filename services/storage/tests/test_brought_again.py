"""An upload that is sent again under its key after what it was has been deleted, or is gone."""

from uuid import uuid4

import pytest
from nats.aio.client import Client

from contracts.facts import Asset
from contracts.keeping import Delete, TakeUpload
from runtime.database import Database
from storage import assets
from storage.assets import Named
from storage.keeping import Bounds, Keeping
from storage.objects.local import LocalObjects
from storage.variants import Variants
from storage.workshop import Workshop

from .conftest import Make
from .samples import picture, put_claim, rows

pytestmark = pytest.mark.connected


@pytest.mark.parametrize("state", ["deleted", "purged"])
async def test_what_has_been_deleted_since_is_brought_again(
    make: Make, bus: Client, objects: LocalObjects, database: Database, workshop: Workshop, state: str
) -> None:
    """The same asset, kept as long as a new one; nothing is left of the former. Its address is another where it is
    another file: whoever has read the former one keeps it for ever."""
    question = TakeUpload(upload_id=uuid4(), user_id=uuid4(), claim=str(uuid4()))
    await put_claim(bus, question.claim or "", picture(300, 200))
    first = (await make().take(question)).asset
    assert first is not None
    variants = Variants(database, objects, workshop)

    async def thumbnail(of: Asset) -> Named:
        sought = await assets.seek(database, of.key[:32], "thumbnail")
        assert sought is not None
        return await variants.get(sought, "thumbnail")

    former = await thumbnail(first)
    older = "UPDATE assets SET created_at = created_at - interval '40 days' WHERE id = :id"
    await rows(database, older, id=first.id)
    keeping = Keeping(database, Bounds(retention_days=30, trash_seconds=0 if state == "purged" else 86_400))
    await keeping.expire()
    [row] = await rows(database, "SELECT state FROM assets WHERE id = :id", id=first.id)
    assert row["state"] == state
    await put_claim(bus, question.claim or "", picture(300, 200))
    second = (await make().take(question)).asset
    assert second is not None
    assert (second.id, second.sha256 == first.sha256, second.key == first.key) == (first.id, False, False)
    assert await assets.seek(database, first.key[:32], "original") is None
    assert (await thumbnail(second)).sha256 != former.sha256
    await keeping.expire()
    assert (await make().take(question)).asset == second


async def test_the_same_file_comes_back_to_its_address(make: Make, bus: Client, database: Database) -> None:
    question, content = TakeUpload(upload_id=uuid4(), user_id=uuid4(), claim=str(uuid4())), picture()
    await put_claim(bus, question.claim or "", content)
    first = await make().take(question)
    assert first.asset is not None
    keeping = Keeping(database, Bounds())
    await keeping.delete(Delete(user_id=question.user_id, asset_id=first.asset.id))
    assert await make().take(question) == first
