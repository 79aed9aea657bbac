"""A provider is paid once per attempt, and never without one (7). The simulator's journal plays the invoice."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from darkroom.audit.evidence import MAX_FINDINGS, Evidence, Journal
from darkroom.audit.findings import Result, finder

_BATCH = 1000
_OUTSIDE = "outside"
"""Of a renderer that the operator has: no provider is paid for it, and no call was made."""
_OUR_OWN = "darkroom"
"""Puts films together itself."""


async def paid_twice(evidence: Evidence) -> Result:
    """Of one submission at most one attempt delivered, and an unknown one was repeated only where the model allows.

    What it allowed before its policy was changed, or it was taken out of the catalog, cannot be known."""
    result = Result("paid twice", "7")
    found = finder(result.check)
    result.looked_at = await evidence.count(
        "SELECT count(*) FROM generator.attempts WHERE created_at > now() - make_interval(secs => $1 * 86400)",
        evidence.bounds.days,
    )
    rows = await evidence.rows(
        """SELECT generation_id, item, rendered, unknown, coalesce(m.unknown_policy, 'not known') AS policy,
                  rendered + unknown = 2 AND rendered < 2 AND (m.policy_since <= last) IS NOT TRUE AS was_another
           FROM (
               SELECT generation_id, item, count(*) FILTER (WHERE state = 'rendered') AS rendered,
                      count(*) FILTER (WHERE state = 'unknown') AS unknown, max(created_at) AS last
               FROM generator.attempts
               WHERE created_at > now() - make_interval(secs => $1 * 86400) AND provider <> $2
               GROUP BY generation_id, item HAVING count(*) FILTER (WHERE state IN ('rendered', 'unknown')) > 1
           ) AS items
           JOIN generator.work w USING (generation_id)
           LEFT JOIN generator.models m ON m.id = w.request->>'model'
           WHERE rendered > 1 OR rendered + unknown > CASE m.unknown_policy WHEN 'resubmit_once' THEN 2 ELSE 1 END""",
        evidence.bounds.days,
        _OUTSIDE,
    )
    result.findings = [
        found(
            row["generation_id"],
            f"submission {row['item']}: {row['rendered']} attempts delivered and {row['unknown']} are unknown, "
            f"the model's policy is {row['policy']}" + (", and was perhaps another then" if row["was_another"] else ""),
            "note" if row["was_another"] else "wrong",
        )
        for row in rows
    ]
    unknown = await evidence.count(
        """SELECT count(*) FROM generator.attempts
           WHERE state = 'unknown' AND created_at > now() - make_interval(secs => $1 * 86400)""",
        evidence.bounds.days,
    )
    if unknown:
        result.findings.append(found("attempts", f"{unknown} are unknown: perhaps paid, never delivered", "note"))
    return result


async def left_open(evidence: Evidence) -> Result:
    """Where the work is over, every attempt has ended: one that nobody ended is a call that nobody counts."""
    result = Result("attempt open", "7")
    found = finder(result.check)
    result.looked_at = await evidence.count(
        "SELECT count(*) FROM generator.attempts WHERE state IN ('intent', 'submitted')"
    )
    rows = await evidence.rows(
        """SELECT a.id, a.generation_id, a.state, w.state AS work
           FROM generator.attempts a JOIN generator.work w USING (generation_id)
           WHERE a.state IN ('intent', 'submitted') AND w.state <> 'open'
             AND a.created_at + make_interval(secs => $1) < now()""",
        evidence.bounds.grace_seconds,
    )
    result.findings = [
        found(row["id"], f"is still {row['state']}, the work is {row['work']} (generation {row['generation_id']})")
        for row in rows
    ]
    return result


async def journal(evidence: Evidence) -> Result:
    """Every call names an attempt, no two the same one, and what was delivered was called for."""
    result = Result("calls", "7")
    found = finder(result.check)
    if evidence.journal is None:
        result.skipped = "no simulator was named"
        return result
    entries = evidence.journal.entries
    result.looked_at = len(entries)
    calls: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        calls.setdefault(entry["client_request_id"], []).append(entry)
    known = await _attempts(evidence, [reference for reference in calls if _is_uuid(reference)])
    for reference, made in calls.items():
        attempt = known.get(reference)
        billed = sum(entry["billed"] for entry in made)
        if attempt is None:
            about = reference or f"call {made[0]['sequence']}"
            words = f"{len(made)} calls without an attempt: {made[0]['model']}, {made[0]['outcome']}, {billed} billed"
            result.findings.append(found(about, words))
        elif len(made) > 1:
            words = f"one attempt, {len(made)} calls, {billed} billed (generation {attempt.generation_id})"
            result.findings.append(found(reference, words))
        elif billed > attempt.count:
            words = f"{billed} were billed, {attempt.count} were asked for (generation {attempt.generation_id})"
            result.findings.append(found(reference, words))
        if len(result.findings) > MAX_FINDINGS:
            return result
    for row in await _uncalled(evidence, evidence.journal, set(calls)):
        result.findings.append(found(row["id"], f"delivered without a call (generation {row['generation_id']})"))
    return result


async def _uncalled(evidence: Evidence, read: Journal, calls: set[str]) -> list[asyncpg.Record]:
    """Attempts that delivered though the journal, where it reaches back to them, knows nothing of them. What Darkroom
    makes itself is no call."""
    if not read.entries:
        return []
    complete = read.entries[0]["sequence"] == 1
    since = datetime.fromtimestamp(0 if complete else read.entries[0]["time"], UTC)
    # What ended after the journal was read and before the snapshot of the database is in one of them only.
    rows = await evidence.database.fetch(
        """SELECT id, generation_id FROM generator.attempts
           WHERE state = 'rendered' AND created_at > $1 AND ended_at < now() - make_interval(secs => $2)
             AND provider <> ALL ($3::text[])""",
        since,
        read.age_seconds(),
        [_OUTSIDE, _OUR_OWN],
    )
    return [row for row in rows if str(row["id"]) not in calls][: MAX_FINDINGS + 1]


@dataclass(frozen=True, slots=True)
class _Attempt:
    generation_id: UUID
    count: int


async def _attempts(evidence: Evidence, references: list[str]) -> dict[str, _Attempt]:
    known: dict[str, _Attempt] = {}
    for start in range(0, len(references), _BATCH):
        rows = await evidence.database.fetch(
            "SELECT id, generation_id, count FROM generator.attempts WHERE id = ANY($1::uuid[])",
            references[start : start + _BATCH],
        )
        known |= {str(row["id"]): _Attempt(row["generation_id"], row["count"]) for row in rows}
    return known


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
