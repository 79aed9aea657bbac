"""A user's pictures: pages of them, and what was downloaded. Every statement names the owner."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from contracts.facts import Asset
from gateway.records import COLUMNS, Generation, generation_of
from runtime.database import Connection, Row

# As the indexes of migration 0007 say it, word for word: otherwise they are not used.
_DELIVERED = "dialect = 'social' AND kind = 'image' AND status = 'completed' AND deleted_at IS NULL"
_ASSETS = "outcome->'data'->'assets'"

_PAGE = text(f"""
    SELECT {COLUMNS}, place FROM generations
        CROSS JOIN LATERAL generate_series(1, jsonb_array_length({_ASSETS})) AS place
    WHERE {_DELIVERED} AND user_id = :user_id
    ORDER BY created_at DESC, id DESC, place LIMIT :limit OFFSET :offset
""")  # noqa: S608 - put together from constants
_COUNT = text(f"""
    SELECT coalesce(sum(jsonb_array_length({_ASSETS})), 0) FROM generations WHERE {_DELIVERED} AND user_id = :user_id
""")  # noqa: S608
# Logged in the same statement: whoever has the link is in the log.
_DOWNLOAD = text(f"""
    WITH found AS (
        SELECT {COLUMNS} FROM generations
        WHERE {_DELIVERED} AND user_id = :user_id
            AND {_ASSETS} @> jsonb_build_array(jsonb_build_object('id', CAST(:asset_id AS text)))
    ), logged AS (
        INSERT INTO image_downloads (user_id, generation_id, asset_id)
        SELECT user_id, id, CAST(:asset_id AS uuid) FROM found
    )
    SELECT * FROM found
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class Picture:
    """One asset of a generation."""

    generation: Generation
    asset: Asset


@dataclass(frozen=True, slots=True)
class Page:
    """`total` is the number of pictures on all pages."""

    pictures: tuple[Picture, ...]
    total: int


async def page(connection: Connection, user_id: UUID, number: int, limit: int) -> Page:
    """Page `number`, from 1, the newest pictures first."""
    total = (await connection.execute(_COUNT, {"user_id": user_id})).scalar_one()
    values = {"user_id": user_id, "limit": limit, "offset": (number - 1) * limit}
    return Page(tuple(map(_picture, await connection.execute(_PAGE, values))), int(total))


async def download(connection: Connection, user_id: UUID, asset_id: UUID) -> Picture | None:
    """Logs the download of a user's picture; None for somebody else's, and then nothing is logged."""
    values = {"user_id": user_id, "asset_id": str(asset_id)}
    row = (await connection.execute(_DOWNLOAD, values)).one_or_none()
    if row is None:
        return None
    generation = generation_of(row)
    return next(Picture(generation, asset) for asset in assets_of(generation) if asset.id == asset_id)


def assets_of(generation: Generation) -> tuple[Asset, ...]:
    return generation.outcome.data.assets if generation.outcome else ()


def _picture(row: Row) -> Picture:
    generation = generation_of(row)
    return Picture(generation, assets_of(generation)[row.place - 1])
