"""Storage, as far as it takes what users bring and finds it again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from nats.aio.client import Client as NatsClient

from contracts.facts import Asset
from contracts.ids import asset_id
from contracts.keeping import ChangedAssets, Delete, FindMedia, FoundMedia, NamedMedia, TakenUpload, TakeUpload
from contracts.questions import STORAGE_DELETE, STORAGE_FIND_MEDIA, STORAGE_TAKE_UPLOAD


class Storage:
    """Takes every file for a picture, and knows its owner; what an upload became it stays, whatever comes later."""

    def __init__(self, bus: NatsClient) -> None:
        self._bus = bus
        self.brought: dict[UUID, tuple[UUID, bytes]] = {}
        self.taking_seconds = 0.0
        """How long it looks at a file."""

    async def take(self, message: Any) -> None:
        await asyncio.sleep(self.taking_seconds)
        question = TakeUpload.model_validate_json(message.data)
        claims = await self._bus.jetstream().object_store("claims")
        asset = Asset(
            id=(brought := asset_id(question.upload_id, 0)),
            index=0,
            key=f"{brought.hex}/original.png",
            mime_type="image/png",
            size_bytes=1,
            sha256="ab",
        )
        content = (await claims.get(question.claim or "")).data or b""
        is_new = asset.id not in self.brought
        self.brought.setdefault(asset.id, (question.user_id, content))
        await message.respond(TakenUpload(asset=asset, is_new=is_new).model_dump_json().encode())

    async def delete(self, message: Any) -> None:
        question = Delete.model_validate_json(message.data)
        assert question.asset_id is not None and self.brought.pop(question.asset_id)[0] == question.user_id
        await message.respond(ChangedAssets(assets=1).model_dump_json().encode())

    async def find(self, message: Any) -> None:
        question = FindMedia.model_validate_json(message.data)
        ids = [name.asset_id or UUID((name.key or "").partition("/")[0]) for name in question.names]
        found = tuple(
            NamedMedia(asset_id=each, mime_type="image/png", size_bytes=1)
            if self.brought.get(each, (None, b""))[0] == question.user_id
            else None
            for each in ids
        )
        await message.respond(FoundMedia(media=found).model_dump_json().encode())


@contextlib.asynccontextmanager
async def taking(bus: NatsClient) -> AsyncIterator[Storage]:
    storage = Storage(bus)
    subscriptions = [
        await bus.subscribe(STORAGE_TAKE_UPLOAD, cb=storage.take),
        await bus.subscribe(STORAGE_FIND_MEDIA, cb=storage.find),
        await bus.subscribe(STORAGE_DELETE, cb=storage.delete),
    ]
    for _ in range(2):  # the first ping overtakes what nats-py has not written yet
        await bus.flush()
    yield storage
    for subscription in subscriptions:
        await subscription.unsubscribe()
