"""What a webhook is owed is delivered within a day or parked for all to see, and says what the record says (9)."""

from darkroom.audit.evidence import Evidence
from darkroom.audit.findings import Result, finder

LONGEST_DAYS = 2
"""Eight attempts are over within a day; twice that is nobody's pause."""


async def owed(evidence: Evidence) -> Result:
    """No delivery of a webhook that is on is overdue, or tried for ever, or about something else than came of it."""
    result = Result("webhook not told", "9")
    found = finder(result.check)
    result.looked_at = await evidence.count("SELECT count(*) FROM gateway.deliveries")
    late = await evidence.rows(
        """SELECT d.id, d.generation_id, d.attempts, extract(epoch FROM now() - d.next_at) AS late
           FROM gateway.deliveries d JOIN gateway.webhooks w ON w.id = d.webhook_id
           WHERE d.state = 'pending' AND w.state = 'active'
             AND (d.next_at + make_interval(secs => $1) < now() OR d.created_at < now() - make_interval(days => $2))
           ORDER BY d.next_at""",
        evidence.bounds.grace_seconds,
        LONGEST_DAYS,
    )
    result.findings = [
        found(
            row["id"],
            f"is pending after {row['attempts']} attempts, {row['late']:.0f} s after its turn "
            f"(generation {row['generation_id']})",
        )
        for row in late
    ]
    other = await evidence.rows(
        """SELECT d.id, d.generation_id, d.event, g.status
           FROM gateway.deliveries d JOIN gateway.generations g ON g.id = d.generation_id
           WHERE d.event <> 'generation.' || g.status AND d.event LIKE 'generation.%'
             AND d.created_at > now() - make_interval(secs => $1 * 86400)""",
        evidence.bounds.days,
    )
    result.findings += [
        found(row["id"], f"says {row['event']}, its record is {row['status']} (generation {row['generation_id']})")
        for row in other
    ]
    return result
