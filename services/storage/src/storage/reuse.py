"""One set of bytes, two generations: what was made for an earlier one becomes another's as well.

The new rows name the same objects, which stay as long as any row names them. What happens to the earlier rows later is
nothing to the new ones.
"""

import secrets

from sqlalchemy import text

from contracts.ids import asset_id
from contracts.keeping import (
    ChangedAssets,
    ReuseAssets,
)
from runtime.database import Database

# The earlier rows are kept as they are until the new ones are there, and the hashes locked as by any writer: nothing
# that a row is about to name is collected meanwhile. Where one is missing or the new generation is closed, there is
# none.
_REUSE = text("""
    WITH opened AS (
        INSERT INTO generations (generation_id) VALUES (:generation_id)
        ON CONFLICT (generation_id) DO UPDATE SET generation_id = excluded.generation_id
        RETURNING outcome IS NULL AS is_open
    ), earlier AS MATERIALIZED (
        SELECT * FROM assets
        WHERE generation_id = :earlier_id AND owner_id = :owner_id AND state = 'stored' ORDER BY id FOR SHARE
    ), locked AS MATERIALIZED (
        SELECT count(CAST(pg_advisory_xact_lock_shared(hashtextextended(name, 0)) AS text)) AS locks
        FROM (SELECT owner_id || '/' || sha256 AS name FROM earlier) AS named
    )
    INSERT INTO assets
        (generation_id, owner_id, id, index, token, state, mime_type, size_bytes, sha256, width, height, source_url,
         seconds, bitrate, blurhash, provider_size, visibility, backend)
    SELECT :generation_id, owner_id, new.id, index, new.token, 'stored', mime_type, size_bytes, sha256, width, height,
        source_url, seconds, bitrate, blurhash, provider_size, :visibility, backend
    FROM earlier
    JOIN unnest(CAST(:ids AS uuid[]), CAST(:indexes AS smallint[]), CAST(:tokens AS text[]))
        AS new (id, index, token) USING (index), opened, locked
    WHERE opened.is_open AND locked.locks = :count
    ON CONFLICT (id) DO NOTHING
""")
_STORED = text("""
    SELECT count(*) FROM assets
    WHERE generation_id = :generation_id AND owner_id = :owner_id AND state = 'stored'
""")


async def reuse(database: Database, question: ReuseAssets) -> ChangedAssets:
    """How many assets the new generation has: as many as were asked for, or none. Somebody else's are none."""
    of = {"generation_id": question.generation_id, "owner_id": question.user_id}
    indexes = list(range(question.count))
    values = of | {
        "earlier_id": question.earlier_id,
        "count": question.count,
        "visibility": question.visibility.value,
        "ids": [asset_id(question.generation_id, index) for index in indexes],
        "indexes": indexes,
        "tokens": [secrets.token_hex(16) for _ in indexes],
    }
    async with database.transaction() as connection:
        await connection.execute(_REUSE, values)
        stored = (await connection.execute(_STORED, of)).scalar_one()
    return ChangedAssets(assets=stored)
