"""What the tests of the reelmate frontend share: storage with its users' media, and a catalog that has its films."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from nats.aio.client import Client as NatsClient

from contracts.facts import Kind
from contracts.keeping import FindMedia, FoundMedia, NamedMedia
from contracts.money import Price
from contracts.questions import STORAGE_DELETE, STORAGE_FIND_MEDIA, STORAGE_TAKE_UPLOAD, CatalogModel

from .client import Client
from .jaaz import answering
from .players import CATALOG, PRICES, Players
from .test_uploads import Storage

AVATAR = "550e8400-e29b-41d4-a716-446655440001"
VOICE = "550e8400-e29b-41d4-a716-446655440005"
UNITS_PER_SECOND = 2000
SETTINGS = {"duration": 30, "quality": "high", "style": "professional"}
FILM = {"script": "Hello there.", "avatarId": AVATAR, "voiceId": VOICE, "generationSettings": SETTINGS}
MODEL = CatalogModel(
    id="darkroom-avatar",
    kind=Kind.VIDEO,
    provider="darkroom",
    sizes=("1080x1920", "720x1280", "1080x1080", "1920x1080", "1280x720"),
    default_size="1080x1920",
    seconds=(300,),
    inputs=("image", "audio"),
    needs=("image",),
    voices=("nova", "echo", "shimmer", "onyx"),
    follows_speech=True,
    deadline_seconds=1200,
    p99_seconds=180,
)
OFFERED = CATALOG.model_copy(update={"models": (*CATALOG.models, MODEL)})
PRICED = PRICES.model_copy(
    update={
        "prices": {**PRICES.prices, MODEL.id: UNITS_PER_SECOND},
        "table": (*PRICES.table, Price(model=MODEL.id, amount=UNITS_PER_SECOND, per="second")),
    }
)


async def offer(database_url: str, players: Players) -> None:
    """What the gateway heard before, and what it will hear."""
    players.catalog, players.prices = OFFERED, PRICED
    connection = await asyncpg.connect(database_url)
    for name, document in [("catalog", OFFERED), ("prices", PRICED)]:
        await connection.execute("UPDATE offers SET document = $2 WHERE name = $1", name, document.model_dump_json())
    await connection.close()


class Media(Storage):
    """Storage that has what was brought, and nothing else."""

    async def find(self, message: Any) -> None:
        question = FindMedia.model_validate_json(message.data)
        found = tuple(
            NamedMedia(asset_id=name.asset_id, mime_type="image/jpeg", size_bytes=1)
            if name.asset_id is not None and self.kept.get(name.asset_id) == question.user_id
            else None
            for name in question.names
        )
        await message.respond(FoundMedia(media=found).model_dump_json().encode())

    def brought_by(self, client: Client) -> list[bytes]:
        return [content for user_id, content in self.taken.values() if user_id == client.user_id]


@asynccontextmanager
async def keeping_media(bus: NatsClient) -> AsyncIterator[Media]:
    media = Media(bus)
    async with answering(
        bus, {STORAGE_FIND_MEDIA: media.find, STORAGE_TAKE_UPLOAD: media.take, STORAGE_DELETE: media.delete}
    ):
        yield media
