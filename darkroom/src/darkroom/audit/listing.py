"""What the store lists, beside the rows: everything that is named is there, and what nothing names goes (8)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from darkroom.audit.evidence import MAX_FINDINGS, Evidence
from darkroom.audit.findings import Finding, Result, finder

UNNAMED_HOURS = 24
"""As long as storage lets be what nothing names, unless it is told otherwise."""
COLLECTED_HOURS = 48
"""By then the collector has been there, however long its rounds are."""

_NAMED = """
    SELECT a.owner_id || '/' || a.sha256 AS name, a.generation_id, a.id
    FROM storage.assets a WHERE a.state IN ('stored', 'deleted')
    UNION ALL
    SELECT a.owner_id || '/' || v.sha256, a.generation_id, a.id
    FROM storage.variants v JOIN storage.assets a ON a.id = v.asset_id
    WHERE v.state = 'stored' AND a.state IN ('stored', 'deleted')
"""
# What was purged is named by no row, and the next round of the collector's marks it: it is not old by its file.
_UNNAMED = """
    SELECT object.name, o.since FROM unnest($1::text[]) AS object (name) LEFT JOIN storage.orphans o USING (name)
    WHERE NOT EXISTS (
        SELECT FROM storage.assets a
        WHERE a.sha256 = right(object.name, 64) AND a.owner_id = CAST(left(object.name, 36) AS uuid)
            AND (a.state <> 'purged' OR o.since IS NULL)
    ) AND NOT EXISTS (
        SELECT FROM storage.variants v JOIN storage.assets a ON a.id = v.asset_id
        WHERE v.sha256 = right(object.name, 64) AND a.owner_id = CAST(left(object.name, 36) AS uuid)
    )
"""


async def listed(evidence: Evidence) -> Result:
    """Every object that a row names is listed, and none that nothing has named for a day.

    The listing is gone through once, in parts; of each name 64 bits are kept meanwhile, some 90 bytes.
    """
    result = Result("objects listed", "8")
    found = finder(result.check)
    store = evidence.objects
    if store is None:
        result.skipped = "no object store was named"
        return result
    there: set[int] = set()
    async for names in store.names():
        there.update(map(hash, names))
        if len(result.findings) <= MAX_FINDINGS:
            result.findings += await _unnamed(evidence, store, names)
    result.looked_at = len(there)
    gone = 0
    async for row in evidence.stream(_NAMED):
        # Asked for by its name as well: it may have come while the store was listed.
        if hash(row["name"]) not in there and await store.size(row["name"]) is None:
            words = f"its asset {row['id']} is gone from the store: there is no {row['name']}"
            result.findings.append(found(row["generation_id"], words))
            gone += 1
            if gone > MAX_FINDINGS:
                break
    return result


async def _unnamed(evidence: Evidence, store: Any, names: Sequence[str]) -> list[Finding]:
    found = finder("objects listed")
    findings: list[Finding] = []
    now = datetime.now(UTC)
    for row in await evidence.fetch(_UNNAMED, names):
        if row["since"] is not None:
            if row["since"] < now - timedelta(hours=COLLECTED_HOURS):
                findings.append(found(row["name"], f"is named by no row since {row['since']:%Y-%m-%d %H:%M}"))
            continue
        put_at = await store.put_at(row["name"])
        if put_at is not None and put_at < now - timedelta(hours=UNNAMED_HOURS):
            findings.append(found(row["name"], f"is named by no row, and there since {put_at:%Y-%m-%d %H:%M}"))
    return findings
