"""Completed means that we own the bytes: a row, an object, and the same hash in both (8)."""

import hashlib
from typing import Any

import asyncpg

from darkroom.audit.evidence import MAX_FINDINGS, Evidence
from darkroom.audit.findings import Result, finder

SAMPLE = 100
"""How many of the newest objects are read, and how many at random, unless all of them are."""


async def rows(evidence: Evidence) -> Result:
    """Every asset that a client was told of is a stored row with the same hash, unless it was deleted since."""
    result = Result("asset not stored", "8")
    found = finder(result.check)
    (counted,) = await evidence.fetch(
        """SELECT coalesce(sum(told), 0) AS told, count(*) FILTER (WHERE told = 0 AND kind <> 'text') AS empty FROM (
               SELECT kind, CASE jsonb_typeof(outcome->'data'->'assets') WHEN 'array'
                   THEN jsonb_array_length(outcome->'data'->'assets') ELSE 0 END AS told
               FROM gateway.generations
               WHERE status = 'completed' AND created_at > now() - make_interval(secs => $1 * 86400)
               OFFSET 0
           ) AS completed""",
        evidence.bounds.days,
    )
    result.looked_at = int(counted["told"])
    missing = await evidence.rows(
        """SELECT g.id, told.asset->>'id' AS asset, told.asset->>'sha256' AS told, a.state, a.sha256
           FROM gateway.generations g
           CROSS JOIN LATERAL jsonb_array_elements(g.outcome->'data'->'assets') AS told (asset)
           LEFT JOIN storage.assets a ON a.id = (told.asset->>'id')::uuid
           WHERE g.status = 'completed' AND g.created_at > now() - make_interval(secs => $1 * 86400)
             AND (coalesce(a.state, 'writing') = 'writing' OR a.sha256 IS DISTINCT FROM told.asset->>'sha256'
                  OR a.generation_id <> g.id)""",
        evidence.bounds.days,
    )
    for row in missing:
        if row["state"] is None:
            words = "has no row in storage"
        elif row["state"] == "writing":
            words = f"is {row['state']}"
        else:
            words = f"has the hash {row['sha256']}, the client was told {row['told']}"
        result.findings.append(found(row["id"], f"is completed, and its asset {row['asset']} {words}"))
    if not counted["empty"]:
        return result
    empty = await evidence.rows(
        """SELECT id FROM gateway.generations
           WHERE status = 'completed' AND kind <> 'text' AND created_at > now() - make_interval(secs => $1 * 86400)
             AND jsonb_array_length(coalesce(outcome->'data'->'assets', '[]'::jsonb)) = 0""",
        evidence.bounds.days,
    )
    result.findings += [found(row["id"], "is completed without any asset") for row in empty]
    return result


async def left_behind(evidence: Evidence) -> Result:
    """Rows of a generation that ended otherwise are removed."""
    result = Result("left behind", "8")
    found = finder(result.check)
    result.looked_at = await evidence.count("SELECT count(*) FROM storage.assets")
    lost = await evidence.rows(
        """SELECT a.id, a.generation_id, s.outcome->'data'->>'verdict' AS verdict
           FROM storage.assets a JOIN storage.generations s USING (generation_id)
           WHERE s.outcome IS NOT NULL AND s.closed_at + make_interval(secs => $1) < now()
             AND (s.outcome->'data'->'assets' @> jsonb_build_array(jsonb_build_object('id', a.id))) IS NOT TRUE""",
        evidence.bounds.settle_seconds,
    )
    result.findings = [
        found(row["generation_id"], f"is {row['verdict']} without its asset {row['id']}, whose row is still there")
        for row in lost
    ]
    return result


async def objects(evidence: Evidence) -> Result:
    """The objects are there, as long and with the hash that their rows say."""
    result = Result("object differs", "8")
    found = finder(result.check)
    if evidence.objects is None:
        result.skipped = "no object store was named"
        return result
    if evidence.bounds.deep:
        chosen = await evidence.fetch(_ALL)
    else:
        chosen = await evidence.fetch(_SAMPLED, SAMPLE)
    result.looked_at = len(chosen)
    for row in chosen:
        words = await _examine(evidence.objects, row)
        if words is not None:
            result.findings.append(found(row["generation_id"], f"the {row['what']} of its asset {row['id']} {words}"))
        if len(result.findings) > MAX_FINDINGS:
            break
    return result


_STORED = """
    SELECT a.id, a.generation_id, 'original' AS what, a.owner_id, a.sha256, a.size_bytes, a.created_at
    FROM storage.assets a WHERE a.state = 'stored'
    UNION ALL
    SELECT a.id, a.generation_id, v.name, a.owner_id, v.sha256, v.size_bytes, v.created_at
    FROM storage.variants v JOIN storage.assets a ON a.id = v.asset_id WHERE v.state = 'stored'
"""
_ALL = f"SELECT DISTINCT ON (owner_id, sha256) * FROM ({_STORED}) AS stored ORDER BY owner_id, sha256"  # noqa: S608
_SAMPLED = f"""
    WITH stored AS ({_STORED})
    (SELECT * FROM stored ORDER BY created_at DESC LIMIT $1) UNION (SELECT * FROM stored ORDER BY random() LIMIT $1)
"""  # noqa: S608


async def _examine(store: Any, row: asyncpg.Record) -> str | None:
    from storage.objects import Absent, name_of

    digest, size = hashlib.sha256(), 0
    try:
        async for chunk in store.open(name_of(row["owner_id"], row["sha256"])):
            digest.update(chunk)
            size += len(chunk)
    except Absent:
        return "is gone"
    except OSError as error:
        return f"cannot be read: {error}"
    if size != row["size_bytes"]:
        return f"has {size} bytes instead of {row['size_bytes']}"
    if digest.hexdigest() != row["sha256"]:
        return f"has the hash {digest.hexdigest()} instead of {row['sha256']}"
    return None
