"""Every accepted generation ends, once, and everybody remembers the same end (1, 3, 4)."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
from pydantic import ValidationError

from contracts.facts import Outcome
from darkroom.audit.evidence import Evidence, Log
from darkroom.audit.findings import Finding, Result, finder

_BATCH = 1000
ASKED_SECONDS = 3 * 3600.0
"""Longer than storage waits until it asks the gateway how something ended."""
_APPLIED = {
    "gateway": "SELECT id, outcome::text FROM gateway.generations WHERE outcome IS NOT NULL AND id = ANY($1::uuid[])",
    "ledger": "SELECT generation_id AS id, outcome::text FROM ledger.holds "
    "WHERE outcome IS NOT NULL AND generation_id = ANY($1::uuid[])",
    "generator": "SELECT generation_id AS id, outcome::text FROM generator.work "
    "WHERE outcome IS NOT NULL AND generation_id = ANY($1::uuid[])",
    "storage": "SELECT generation_id AS id, outcome::text FROM storage.generations "
    "WHERE outcome IS NOT NULL AND generation_id = ANY($1::uuid[])",
}
"""The outcomes of some generations as each service recorded them."""


async def unfinished(evidence: Evidence) -> Result:
    """What the gateway accepted ends by its deadline. Those that wait for a free slot get a new one with it."""
    result = Result("unfinished", "1")
    found = finder(result.check)
    result.looked_at = await evidence.count(
        "SELECT count(*) FROM gateway.generations WHERE status IN ('pending', 'processing')"
    )
    rows = await evidence.rows(
        """SELECT id, status, drives, extract(epoch FROM now() - deadline_at) AS late FROM gateway.generations
           WHERE status IN ('pending', 'processing') AND published
             AND deadline_at + make_interval(secs => $1) < now() ORDER BY deadline_at""",
        evidence.bounds.grace_seconds,
    )
    result.findings = [
        found(row["id"], f"is still {row['status']} {row['late']:.0f} s after its deadline, {row['drives']} drives")
        for row in rows
    ]
    # Whoever has nothing at work, and had nothing for a while, is let in: nothing has to end first.
    forgotten = await evidence.rows(
        """SELECT w.id, extract(epoch FROM now() - w.created_at) AS age FROM gateway.generations w
           WHERE w.status = 'pending' AND NOT w.published AND w.created_at + make_interval(secs => $1) < now()
             AND NOT EXISTS (
                 SELECT FROM gateway.generations g WHERE g.user_id = w.user_id AND g.lane = w.lane AND g.published
                     AND (g.status IN ('pending', 'processing')
                          OR g.completed_at + make_interval(secs => $1) > now()))
           ORDER BY w.created_at""",
        evidence.bounds.grace_seconds,
    )
    result.findings += [
        found(row["id"], f"waits for a slot since {row['age']:.0f} s, and nothing of its user's is at work")
        for row in forgotten
    ]
    return result


async def closed(evidence: Evidence) -> Result:
    """Where the outcome is recorded, generator and storage have closed the generation; nobody works for a stranger."""
    result = Result("still worked on", "3")
    found = finder(result.check)
    bounds = evidence.bounds
    result.looked_at = await evidence.count("SELECT count(*) FROM generator.work WHERE state = 'open'")
    # Whoever was not told, as the log was lost since, works until the deadline; what was rendered by then stays so.
    open_work = await evidence.rows(
        """SELECT w.generation_id AS id, coalesce(g.status, 'not known to the gateway') AS status, w.state
           FROM generator.work w LEFT JOIN gateway.generations g ON g.id = w.generation_id
           WHERE w.state <> 'closed' AND (
               w.state = 'open' AND w.deadline_at + make_interval(secs => $2) < now()
                   AND (g.id IS NULL OR g.completed_at + make_interval(secs => $1) < now())
               OR g.completed_at + make_interval(secs => $2) < now()
                   AND ($3::timestamptz IS NULL OR g.completed_at > $3))""",
        bounds.settle_seconds,
        bounds.grace_seconds,
        evidence.log_created,
    )
    result.findings = [
        found(row["id"], f"is {row['status']}, but the generator's work is {row['state']}") for row in open_work
    ]
    unheard = await evidence.rows(
        """SELECT g.id, g.status FROM storage.generations s JOIN gateway.generations g ON g.id = s.generation_id
           WHERE s.outcome IS NULL AND greatest(g.completed_at, s.opened_at) + make_interval(secs => CASE
               WHEN $2::timestamptz IS NULL OR g.completed_at > $2 THEN $1::float8 ELSE $3::float8 END) < now()
             AND g.outcome IS NOT NULL""",
        bounds.grace_seconds,
        evidence.log_created,
        ASKED_SECONDS,
    )
    result.findings += [found(row["id"], f"is {row['status']}, and storage waits for its end") for row in unheard]
    return result


async def statuses(evidence: Evidence) -> Result:
    """What a list shows is what the outcome says, and the outcome is about this generation."""
    result = Result("status differs", "4")
    found = finder(result.check)
    days = evidence.bounds.days
    (counted,) = await evidence.fetch(
        """SELECT count(*) AS ended,
                  count(*) FILTER (WHERE status IS DISTINCT FROM outcome->'data'->>'verdict'
                      OR id::text IS DISTINCT FROM outcome->'data'->>'generation_id') AS differ
           FROM gateway.generations
           WHERE outcome IS NOT NULL AND created_at > now() - make_interval(secs => $1 * 86400)""",
        days,
    )
    result.looked_at = counted["ended"]
    if not counted["differ"]:
        return result
    rows = await evidence.rows(
        """SELECT id, status, outcome->'data'->>'verdict' AS verdict, outcome->'data'->>'generation_id' AS of
           FROM gateway.generations
           WHERE outcome IS NOT NULL AND created_at > now() - make_interval(secs => $1 * 86400)
             AND (status IS DISTINCT FROM outcome->'data'->>'verdict'
                  OR id::text IS DISTINCT FROM outcome->'data'->>'generation_id')""",
        days,
    )
    result.findings = [
        found(row["id"], f"shows {row['status']}, its outcome says {row['verdict']} of {row['of']}") for row in rows
    ]
    return result


async def outcomes(evidence: Evidence) -> Result:
    """What each service applied is what the log holds, unless it was applied before this log was made.

    What one version says, the next one keeps in its own words: with the fields that it has come to know, as nothing.
    """
    result = Result("outcome differs", "4, 5")
    log = evidence.log
    if log is None:
        result.skipped = "the log was not given or does not exist"
        return result
    result.looked_at = len(log.outcomes)
    for ids in _batches(list(log.outcomes)):
        for service, question in _APPLIED.items():
            rows = await evidence.fetch(question, ids)
            result.findings += [finding for row in rows if (finding := _compare(service, row, log)) is not None]
        result.findings += await _unheard(evidence, log, ids)
    return result


async def _unheard(evidence: Evidence, log: Log, ids: list[str]) -> list[Finding]:
    """Of what ended by the log, that whose client still waits."""
    found = finder("outcome differs")
    rows = await evidence.fetch(
        """SELECT id, status, extract(epoch FROM now() - ended.at) AS age
           FROM gateway.generations JOIN unnest($1::uuid[], $2::timestamptz[]) AS ended (id, at) USING (id)
           WHERE outcome IS NULL AND ended.at + make_interval(secs => $3) < now()""",
        ids,
        [log.at[each] for each in ids],
        evidence.bounds.settle_seconds,
    )
    return [
        found(row["id"], f"is still {row['status']}, the log holds its outcome since {row['age']:.0f} s")
        for row in rows
    ]


def _compare(service: str, row: asyncpg.Record, log: Log) -> Finding | None:
    found = finder("outcome differs")
    kept, applied = _json(log.outcomes[str(row["id"])]), _json(row["outcome"])
    if kept == applied or ((read := _read(kept)) is not None and read == _read(applied)):
        return None
    words = f"{service} applied {_words(applied)}, the log holds {_words(kept)}"
    if _said_at(applied) < log.created:
        return found(row["id"], f"{words}; the log is newer", "note")
    return found(row["id"], words)


def _said_at(outcome: Any) -> datetime:
    try:
        return datetime.fromisoformat(outcome["time"])
    except (TypeError, KeyError, ValueError):
        return datetime.max.replace(tzinfo=UTC)


def _json(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _read(outcome: Any) -> Outcome | None:
    try:
        return Outcome.model_validate(outcome)
    except ValidationError:
        return None


def _words(outcome: Any) -> str:
    if not isinstance(outcome, dict):
        return "something unreadable"
    return f"{outcome.get('data', {}).get('verdict')} ({outcome.get('source')}, {outcome.get('id')})"


def _batches(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]


async def slots(evidence: Evidence) -> Result:
    """A user's slots are taken by what is at work, and by nothing else: one that leaks is one generation less."""
    result = Result("slots leak", "§2.7")
    found = finder(result.check)
    result.looked_at = await evidence.count("SELECT count(*) FROM gateway.slots")
    rows = await evidence.rows(
        """SELECT user_id, lane, s.taken, s.waiting, coalesce(g.taken, 0) AS at_work, coalesce(g.waiting, 0) AS queued
           FROM gateway.slots s FULL JOIN (
               SELECT user_id, lane, count(*) FILTER (WHERE published) AS taken,
                      count(*) FILTER (WHERE NOT published) AS waiting
               FROM gateway.generations WHERE status IN ('pending', 'processing') GROUP BY user_id, lane
           ) g USING (user_id, lane)
           WHERE coalesce(s.taken, 0) <> coalesce(g.taken, 0) OR coalesce(s.waiting, 0) <> coalesce(g.waiting, 0)"""
    )
    result.findings = [
        found(
            row["user_id"],
            f"{row['lane']}: {row['taken']} slots taken by {row['at_work']} generations, "
            f"{row['waiting']} counted as waiting, {row['queued']} wait",
        )
        for row in rows
    ]
    return result
