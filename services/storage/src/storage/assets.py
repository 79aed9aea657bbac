"""The rows: what a generation became, and the two ways to lock it, opening and closing.

A writer that names a hash takes a shared lock on it, the collector that deletes takes it alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from contracts.facts import Asset, Outcome, Verdict, Visibility
from runtime.database import Database, Row
from storage.addresses import addresses, type_of
from storage.objects import name_of


@dataclass(frozen=True, slots=True)
class Named:
    """An object and how it is served."""

    object_name: str
    sha256: str
    size_bytes: int
    mime_type: str


@dataclass(frozen=True, slots=True)
class Sought:
    """What a token leads to: the original, and the variant where it was made already."""

    asset_id: UUID
    owner_id: UUID
    original: Named
    variant: Named | None
    seconds: float | None = None
    blurhash: str | None = None
    visibility: Visibility = Visibility.PUBLIC


_KNOWN = text("""
    SELECT asked.generation_id AS asked_id, CAST(generations.outcome AS text) AS outcome, assets.*
    FROM unnest(CAST(:generation_ids AS uuid[])) AS asked (generation_id)
    LEFT JOIN generations USING (generation_id)
    LEFT JOIN assets ON assets.generation_id = asked.generation_id AND assets.state <> 'writing'
""")

# One statement, one round trip, for several generations. Their rows are inserted or locked first, in the order of the
# ids; where one is closed already, nothing is inserted below. A token that was given once is kept, and so is what was
# stored once. Nobody waits for these rows to be on the disk: the statement that finishes them does, and takes them
# along; should the power fail before, the fact comes again, and an object without a row is the collector's.
_OPEN = text("""
    WITH opened AS (
        INSERT INTO generations (generation_id)
        SELECT DISTINCT generation_id FROM unnest(CAST(:generation_ids AS uuid[])) AS new (generation_id)
        ORDER BY generation_id
        ON CONFLICT (generation_id) DO UPDATE SET generation_id = excluded.generation_id
        RETURNING generation_id, outcome IS NULL AS is_open
    ), locked AS MATERIALIZED (
        SELECT count(CAST(pg_advisory_xact_lock_shared(hashtextextended(name, 0)) AS text)) AS locks,
            set_config('synchronous_commit', 'off', true) AS unhurried
        FROM unnest(CAST(:names AS text[])) AS name
    )
    INSERT INTO assets
        (generation_id, owner_id, id, index, token, mime_type, size_bytes, sha256, width, height, source_url,
         seconds, bitrate, blurhash, provider_size, visibility, backend)
    SELECT new.*, CAST(:backend AS text)
    FROM unnest(
        CAST(:generation_ids AS uuid[]), CAST(:owner_ids AS uuid[]), CAST(:ids AS uuid[]),
        CAST(:indexes AS smallint[]), CAST(:tokens AS text[]), CAST(:mime_types AS text[]), CAST(:sizes AS bigint[]),
        CAST(:hashes AS text[]), CAST(:widths AS integer[]), CAST(:heights AS integer[]), CAST(:source_urls AS text[]),
        CAST(:seconds AS float[]), CAST(:bitrates AS bigint[]), CAST(:blurhashes AS text[]),
        CAST(:provider_sizes AS text[]), CAST(:visibilities AS text[])
    ) AS new (generation_id, owner_id, id, index, token, mime_type, size_bytes, sha256, width, height, source_url,
              seconds, bitrate, blurhash, provider_size, visibility)
    JOIN opened USING (generation_id), locked
    WHERE opened.is_open AND locked.locks >= 0 AND locked.unhurried = 'off'
    ON CONFLICT (id) DO UPDATE SET
        mime_type = excluded.mime_type, size_bytes = excluded.size_bytes, sha256 = excluded.sha256,
        width = excluded.width, height = excluded.height, source_url = excluded.source_url,
        seconds = excluded.seconds, bitrate = excluded.bitrate, blurhash = excluded.blurhash,
        provider_size = excluded.provider_size, visibility = excluded.visibility, backend = excluded.backend
        WHERE assets.state = 'writing'
    RETURNING id, token
""")

# The hash is compared so that no index of it is used: many assets may have one hash, and one has its id.
# What was deleted or forgotten meanwhile stays so.
_FINISH = text("""
    UPDATE assets SET state = 'stored'
    FROM unnest(CAST(:ids AS uuid[]), CAST(:hashes AS text[])) AS written (id, sha256)
    WHERE assets.id = written.id AND assets.sha256 IS NOT DISTINCT FROM written.sha256
        AND assets.state IN ('writing', 'stored')
    RETURNING assets.id
""")

# In the order of the ids, so that two closers never wait for each other.
_CLOSE = text("""
    INSERT INTO generations (generation_id, outcome, closed_at)
    SELECT closing.generation_id, CAST(closing.outcome AS jsonb), now()
    FROM unnest(CAST(:generation_ids AS uuid[]), CAST(:outcomes AS text[])) AS closing (generation_id, outcome)
    ORDER BY closing.generation_id
    ON CONFLICT (generation_id) DO UPDATE SET outcome = excluded.outcome, closed_at = excluded.closed_at
        WHERE generations.outcome IS NULL
""")

# A statement of its own, after the close is committed: whoever was opening the generation meanwhile is done by then,
# and its rows are seen.
_DROP = text("""
    DELETE FROM assets USING generations
    WHERE assets.generation_id = generations.generation_id
        AND generations.generation_id = ANY(CAST(:generation_ids AS uuid[]))
        AND NOT COALESCE(generations.outcome #> '{data,assets}', '[]')
            @> jsonb_build_array(jsonb_build_object('id', assets.id))
    RETURNING assets.id
""")

_SEEK = text("""
    SELECT assets.*, variants.sha256 AS variant_sha256, variants.size_bytes AS variant_size_bytes
    FROM assets
    LEFT JOIN variants ON variants.asset_id = assets.id AND variants.name = :variant AND variants.state = 'stored'
    WHERE assets.token = :token AND assets.state = 'stored'
""")

# Of what is being forgotten nothing is drawn: whoever purges waits for this row, or this for whoever purges.
_OPEN_VARIANT = text("""
    WITH locked AS MATERIALIZED (
        SELECT count(CAST(pg_advisory_xact_lock_shared(hashtextextended(:object_name, 0)) AS text)) AS locks
    )
    INSERT INTO variants (asset_id, name, size_bytes, sha256)
    SELECT asset.id, :variant, :size_bytes, :sha256
    FROM (SELECT id FROM assets WHERE id = :asset_id AND state <> 'purged' FOR SHARE) AS asset, locked
    WHERE locked.locks >= 0
    ON CONFLICT (asset_id, name) DO UPDATE SET
        size_bytes = excluded.size_bytes, sha256 = excluded.sha256,
        state = CASE WHEN variants.sha256 = excluded.sha256 THEN variants.state ELSE 'writing' END
    RETURNING asset_id
""")

_FINISH_VARIANT = text("""
    WITH finished AS (
        UPDATE variants SET state = 'stored' WHERE asset_id = :asset_id AND name = :variant AND sha256 = :sha256
    )
    UPDATE assets SET blurhash = CAST(:blurhash AS text)
    WHERE id = :asset_id AND state <> 'purged' AND blurhash IS NULL AND CAST(:blurhash AS text) IS NOT NULL
""")


@dataclass(frozen=True, slots=True)
class Known:
    """The recorded outcome, where the generation is closed, and the assets that were stored once, by index: what its
    owner has deleted since was delivered all the same."""

    outcome: Outcome | None
    stored: dict[int, Asset]


@dataclass(frozen=True, slots=True)
class Opening:
    """Assets that a generation is to get."""

    generation_id: UUID
    owner_id: UUID
    assets: Sequence[Asset]
    visibility: Visibility = Visibility.PUBLIC


async def known(database: Database, generation_ids: Sequence[UUID]) -> list[Known]:
    """What is known of each."""
    async with database.statement() as connection:
        rows = (await connection.execute(_KNOWN, {"generation_ids": generation_ids})).all()
    found = {row["asked_id"]: Known(_outcome(row), {}) for row in rows}
    for row in rows:
        if row["id"] is not None:
            found[row["asked_id"]].stored[row["index"]] = asset_of(row)
    return [found[generation_id] for generation_id in generation_ids]


async def open_rows(database: Database, backend: str, openings: Sequence[Opening]) -> list[tuple[Asset, ...] | None]:
    """Commits a row for each asset, before its bytes are written, and returns them with the tokens that they keep.

    None where the generation was closed meanwhile, or another process has stored one of its assets.
    """
    new = [(opening, asset) for opening in openings for asset in opening.assets]
    values = {
        "generation_ids": [opening.generation_id for opening, _ in new],
        "owner_ids": [opening.owner_id for opening, _ in new],
        "names": [name_of(opening.owner_id, asset.sha256) for opening, asset in new],
        "ids": [asset.id for _, asset in new],
        "indexes": [asset.index for _, asset in new],
        "tokens": [_token(asset) for _, asset in new],
        "mime_types": [asset.mime_type for _, asset in new],
        "sizes": [asset.size_bytes for _, asset in new],
        "hashes": [asset.sha256 for _, asset in new],
        "widths": [asset.width for _, asset in new],
        "heights": [asset.height for _, asset in new],
        "source_urls": [asset.source_url for _, asset in new],
        "seconds": [asset.seconds for _, asset in new],
        "bitrates": [asset.bitrate for _, asset in new],
        "blurhashes": [asset.blurhash for _, asset in new],
        "provider_sizes": [asset.provider_size for _, asset in new],
        "visibilities": [opening.visibility for opening, _ in new],
        "backend": backend,
    }
    async with database.statement() as connection:
        tokens = {row.id: row.token for row in await connection.execute(_OPEN, values)}
    return [_opened(opening.assets, tokens) for opening in openings]


async def finish_rows(database: Database, written: Sequence[Sequence[Asset]]) -> list[bool]:
    """Says that the bytes of these assets are in the store; False where a row is gone, or names other bytes by now,
    or was deleted meanwhile."""
    values = {
        "ids": [asset.id for assets in written for asset in assets],
        "hashes": [asset.sha256 for assets in written for asset in assets],
    }
    async with database.statement() as connection:
        finished = {row.id for row in await connection.execute(_FINISH, values)}
    return [finished.issuperset(asset.id for asset in assets) for assets in written]


async def close(database: Database, outcomes: Sequence[Outcome]) -> None:
    """Records outcomes, also of generations never heard of; a generation that is closed keeps its first.

    What was stored for nothing is dropped. A completed outcome is our own: whoever stored something that it does not
    name finds the generation closed, and drops it then.
    """
    values = {
        "generation_ids": [outcome.data.generation_id for outcome in outcomes],
        "outcomes": [outcome.encode().decode() for outcome in outcomes],
    }
    async with database.statement() as connection:
        await connection.execute(_CLOSE, values)
    in_vain = [each.data.generation_id for each in outcomes if each.data.verdict is not Verdict.COMPLETED]
    if in_vain:
        await drop(database, in_vain)


async def drop(database: Database, generation_ids: Sequence[UUID]) -> int:
    """Deletes the rows of assets that the recorded outcomes of closed generations do not name; returns how many."""
    async with database.statement() as connection:
        return len((await connection.execute(_DROP, {"generation_ids": list(generation_ids)})).all())


async def seek(database: Database, token: str, variant: str) -> Sought | None:
    """What is served below a token."""
    async with database.statement() as connection:
        row = (await connection.execute(_SEEK, {"token": token, "variant": variant})).first()
    if row is None:
        return None
    owner_id = row["owner_id"]
    original = Named(name_of(owner_id, row["sha256"]), row["sha256"], row["size_bytes"], row["mime_type"])
    made = row["variant_sha256"]
    stored = Named(name_of(owner_id, made), made, row["variant_size_bytes"], type_of(variant)) if made else None
    return Sought(row["id"], owner_id, original, stored, row["seconds"], row["blurhash"], Visibility(row["visibility"]))


async def open_variant(database: Database, asset_id: UUID, variant: str, named: Named) -> bool:
    """Commits the row of a variant, before its bytes are written; False where the asset is gone."""
    values = {
        "asset_id": asset_id,
        "variant": variant,
        "object_name": named.object_name,
        "size_bytes": named.size_bytes,
        "sha256": named.sha256,
    }
    async with database.statement() as connection:
        return (await connection.execute(_OPEN_VARIANT, values)).first() is not None


async def finish_variant(
    database: Database, asset_id: UUID, variant: str, sha256: str, blurhash: str | None = None
) -> None:
    """Says that the bytes of a variant are in the store, and what the picture is like where that was found out."""
    async with database.statement() as connection:
        values = {"asset_id": asset_id, "variant": variant, "sha256": sha256, "blurhash": blurhash}
        await connection.execute(_FINISH_VARIANT, values)


def _opened(assets: Sequence[Asset], tokens: dict[UUID, str]) -> tuple[Asset, ...] | None:
    if any(asset.id not in tokens for asset in assets):
        return None
    return tuple(asset.model_copy(update=addresses(tokens[asset.id], asset.mime_type)) for asset in assets)


def _outcome(row: Row) -> Outcome | None:
    return Outcome.decode(row["outcome"]) if row["outcome"] is not None else None


def _token(asset: Asset) -> str:
    return asset.key.split("/", 1)[0]


def asset_of(row: Row) -> Asset:
    """A row as a fact tells of it."""
    return Asset.model_validate({**row, **addresses(row["token"], row["mime_type"])})
