"""What a webhook is owed is delivered within a day or parked for all to see, and says what the record says (9)."""

from darkroom.audit.evidence import Evidence
from darkroom.audit.findings import Result, finder

MOST_ATTEMPTS = 16
"""A delivery has eight, and one more for each process that stopped during one: so many do not. Counted from when it was
last asked for, since its owner may have it sent again after days."""
LONGEST_PAUSE_HOURS = 12
"""Longer than the longest between two attempts."""
KEPT_DAYS = 29
"""A day less than the gateway keeps deliveries that ended."""
JUST_CHANGED_SECONDS = 60
"""What ends while its webhook is being changed is told by what it was before."""


async def owed(evidence: Evidence) -> Result:
    """No delivery of a webhook that is on is overdue, or tried for ever, or about something else than came of it."""
    result = Result("webhook not told", "9")
    found = finder(result.check)
    result.looked_at = await evidence.count("SELECT count(*) FROM gateway.deliveries")
    late = await evidence.rows(
        """SELECT d.id, d.generation_id, d.attempts, extract(epoch FROM now() - d.next_at) AS late
           FROM gateway.deliveries d JOIN gateway.webhooks w ON w.id = d.webhook_id
           WHERE d.state = 'pending' AND w.state = 'active'
             AND (d.next_at + make_interval(secs => $1) < now() OR d.attempts > $2
                  OR d.next_at > now() + make_interval(hours => $3))
           ORDER BY d.next_at""",
        evidence.bounds.grace_seconds,
        MOST_ATTEMPTS,
        LONGEST_PAUSE_HOURS,
    )
    result.findings = [
        found(
            row["id"],
            f"is pending after {row['attempts']} attempts, {abs(row['late']):.0f} s "
            f"{'after' if row['late'] >= 0 else 'before'} its turn (generation {row['generation_id']})",
        )
        for row in late
    ]
    # That one has begun stays true of it, whatever came of it.
    other = await evidence.rows(
        """SELECT d.id, d.generation_id, d.event, g.status
           FROM gateway.deliveries d JOIN gateway.generations g ON g.id = d.generation_id
           WHERE d.event <> 'generation.' || g.status AND d.event LIKE 'generation.%'
             AND d.event <> 'generation.started'
             AND d.created_at > now() - make_interval(secs => $1 * 86400)""",
        evidence.bounds.days,
    )
    result.findings += [
        found(row["id"], f"says {row['event']}, its record is {row['status']} (generation {row['generation_id']})")
        for row in other
    ]
    # Of what ended before it was switched on, or asked for such ends, a webhook is told nothing.
    silent = await evidence.rows(
        """SELECT * FROM (
               SELECT w.id, g.id AS generation_id, 'generation.' || g.status AS event
               FROM (
                   SELECT w.id, w.events, w.owed_since, g.id AS told_of
                   FROM gateway.webhooks w JOIN gateway.generations g USING (user_id)
                   WHERE w.style = 'standard' AND w.state = 'active'
                   UNION ALL
                   SELECT id, events, owed_since, id FROM gateway.webhooks
                   WHERE style <> 'standard' AND state = 'active'
               ) AS w JOIN gateway.generations g ON g.id = w.told_of
               WHERE 'generation.' || g.status = ANY (w.events) AND g.outcome IS NOT NULL
                 AND g.completed_at > w.owed_since + make_interval(secs => $2)
                 AND g.completed_at > now() - make_interval(secs => $1 * 86400)
               EXCEPT SELECT webhook_id, generation_id, event FROM gateway.deliveries
           ) AS silent""",
        min(evidence.bounds.days, KEPT_DAYS),
        JUST_CHANGED_SECONDS,
    )
    result.findings += [
        found(row["id"], f"was never to be told {row['event']} of {row['generation_id']}") for row in silent
    ]
    return result
