"""Money is integers that add up: every transaction to zero, every balance to its postings (6, 10)."""

from darkroom.audit.evidence import Evidence
from darkroom.audit.findings import Result, finder

SPENT_SECONDS = 900.0
"""How long what was consumed may pay for a generation; within seconds after that it becomes revenue."""


async def postings(evidence: Evidence) -> Result:
    """Σ = 0, per transaction and over all."""
    result = Result("not balanced", "6, 10")
    found = finder(result.check)
    result.looked_at = await evidence.count("SELECT count(*) FROM ledger.transactions")
    rows = await evidence.rows(
        """SELECT t.id, t.key, coalesce(p.sum, 0) AS sum, coalesce(p.postings, 0) AS postings
           FROM ledger.transactions t LEFT JOIN (
               SELECT transaction_id, sum(amount) AS sum, count(*) AS postings FROM ledger.postings
               GROUP BY transaction_id
           ) p ON p.transaction_id = t.id
           WHERE coalesce(p.sum, 0) <> 0 OR coalesce(p.postings, 0) < 2"""
    )
    result.findings = [
        found(row["key"], f"has {row['postings']} postings that add up to {row['sum']} units") for row in rows
    ]
    total = await evidence.database.fetchval("SELECT coalesce(sum(amount), 0) FROM ledger.postings")
    if total:
        result.findings.append(found("all postings", f"add up to {total} units"))
    return result


async def balances(evidence: Evidence) -> Result:
    """The cached balances are the sums of the postings, what is held is what open holds hold, nothing is negative."""
    result = Result("balance differs", "6, 10")
    found = finder(result.check)
    result.looked_at = await evidence.count("SELECT count(*) FROM ledger.accounts")
    rows = await evidence.rows(
        """WITH posted AS (
               SELECT user_id,
                      coalesce(sum(amount) FILTER (WHERE purse = 'available'), 0) AS available,
                      coalesce(sum(amount) FILTER (WHERE purse = 'held'), 0) AS held,
                      coalesce(sum(amount) FILTER (WHERE purse IN ('revenue', 'writeoff', 'consumed')), 0) AS used,
                      coalesce(-sum(amount) FILTER (WHERE purse = 'debt'), 0) AS debt
               FROM ledger.postings GROUP BY user_id
           ), open AS (
               SELECT user_id, sum(amount) AS held FROM ledger.holds WHERE state = 'open' GROUP BY user_id
           )
           SELECT user_id, a.available, a.held, a.used, a.debt, coalesce(p.available, 0) AS sum_available,
                  coalesce(p.held, 0) AS sum_held, coalesce(p.used, 0) AS sum_used, coalesce(p.debt, 0) AS sum_debt,
                  coalesce(o.held, 0) AS open_held
           FROM ledger.accounts a FULL JOIN posted p USING (user_id) FULL JOIN open o USING (user_id)
           WHERE (coalesce(a.available, 0), coalesce(a.held, 0), coalesce(a.used, 0), coalesce(a.debt, 0))
                 IS DISTINCT FROM
                 (coalesce(p.available, 0), coalesce(p.held, 0), coalesce(p.used, 0), coalesce(p.debt, 0))
              OR coalesce(a.held, 0) <> coalesce(o.held, 0) OR least(a.available, a.held, a.used, a.debt) < 0"""
    )
    for row in rows:
        for purse in ("available", "held", "used", "debt"):
            cached, posted = row[purse] or 0, row[f"sum_{purse}"]
            if cached != posted:
                words = f"{purse} is {cached} units, its postings add up to {posted}"
                result.findings.append(found(row["user_id"], words))
            if cached < 0:
                result.findings.append(found(row["user_id"], f"{purse} is negative: {cached} units"))
        if (row["held"] or 0) != row["open_held"]:
            words = f"{row['held'] or 0} units are held, but open holds come to {row['open_held']}"
            result.findings.append(found(row["user_id"], words))
    return result


async def payments(evidence: Evidence) -> Result:
    """A payment is credited once, and only if it was made; what is claimed of it is taken back."""
    result = Result("payment differs", "6, 10")
    found = finder(result.check)
    result.looked_at = await evidence.count("SELECT count(*) FROM ledger.payments")
    for row in await evidence.rows(
        """SELECT p.id, p.state, count(t.key) AS credited FROM ledger.payments p
               LEFT JOIN ledger.transactions t ON t.key = 'payment:' || p.id
           GROUP BY p.id, p.state HAVING count(t.key) <> (p.state = 'paid')::int"""
    ):
        result.findings.append(found(row["id"], f"is {row['state']} and was credited {row['credited']} times"))
    for row in await evidence.rows(
        """SELECT user_id, coalesce(b.units, 0) AS bought, coalesce(t.units, 0) AS posted
           FROM (SELECT user_id, sum(credits - taken_back) AS units FROM ledger.payments WHERE state = 'paid'
                 GROUP BY user_id) b
               FULL JOIN (SELECT user_id, -sum(amount) AS units FROM ledger.postings WHERE purse = 'payments'
                          GROUP BY user_id) t USING (user_id)
           WHERE coalesce(b.units, 0) <> coalesce(t.units, 0)"""
    ):
        words = f"bought {row['bought']} units that were not taken back, and {row['posted']} are posted"
        result.findings.append(found(row["user_id"], words))
    for row in await evidence.rows(
        """SELECT p.id, p.taken_back, div(p.credits * least(c.claimed, p.price), p.price)::bigint AS due
           FROM ledger.payments p, LATERAL (
               SELECT coalesce(sum(CASE WHEN c.currency = p.currency THEN c.amount ELSE p.price END), 0) AS claimed
               FROM ledger.payment_claims c WHERE c.payment_intent = p.payment_intent AND c.state <> 'won') c
           WHERE p.state = 'paid' AND p.taken_back <> div(p.credits * least(c.claimed, p.price), p.price)"""
    ):
        words = f"{row['taken_back']} units of it are taken back, {row['due']} are claimed"
        result.findings.append(found(row["id"], words))
    return result


async def consumed(evidence: Evidence) -> Result:
    """What was consumed and may still pay for a generation is what its purse says."""
    result = Result("consumption differs", "6, 10")
    found = finder(result.check)
    result.looked_at = await evidence.count("SELECT count(*) FROM ledger.consumptions")
    rows = await evidence.rows(
        """WITH posted AS (
               SELECT user_id, sum(amount) AS units FROM ledger.postings WHERE purse = 'consumed' GROUP BY user_id
           ), unspent AS (
               SELECT user_id, sum(amount - taken) AS units FROM ledger.consumptions
               WHERE spent_at IS NULL GROUP BY user_id
           )
           SELECT user_id, coalesce(p.units, 0) AS posted, coalesce(u.units, 0) AS unspent
           FROM posted p FULL JOIN unspent u USING (user_id) WHERE coalesce(p.units, 0) <> coalesce(u.units, 0)"""
    )
    result.findings = [
        found(row["user_id"], f"{row['unspent']} consumed units can be spent, their postings add up to {row['posted']}")
        for row in rows
    ]
    left = await evidence.rows(
        """SELECT id, user_id, amount - taken AS units, extract(epoch FROM now() - consumed_at) AS age
           FROM ledger.consumptions WHERE spent_at IS NULL AND consumed_at + make_interval(secs => $1) < now()
           ORDER BY consumed_at""",
        SPENT_SECONDS + evidence.bounds.grace_seconds,
    )
    result.findings += [
        found(
            row["id"],
            f"{row['units']} units of {row['user_id']} were consumed {row['age']:.0f} s ago, and are not revenue yet",
        )
        for row in left
    ]
    return result


async def revenue(evidence: Evidence) -> Result:
    """Whatever its key says, revenue is what was captured, as corrected, and what was consumed and paid for nothing."""
    result = Result("revenue differs", "6, 10")
    found = finder(result.check)
    result.looked_at = await evidence.count("SELECT count(*) FROM ledger.postings WHERE purse = 'revenue'")
    rows = await evidence.rows(
        """WITH posted AS (
               SELECT user_id, sum(amount) AS units FROM ledger.postings WHERE purse = 'revenue' GROUP BY user_id
           ), earned AS (
               SELECT user_id, sum(units) AS units FROM (
                   SELECT user_id, captured AS units FROM ledger.holds WHERE captured <> 0
                   UNION ALL
                   SELECT user_id, CASE type WHEN 'refund' THEN -amount ELSE amount END FROM ledger.corrections
                   UNION ALL
                   SELECT user_id, amount - taken FROM ledger.consumptions WHERE spent_at IS NOT NULL
               ) AS each GROUP BY user_id
           )
           SELECT user_id, coalesce(p.units, 0) AS posted, coalesce(e.units, 0) AS earned
           FROM posted p FULL JOIN earned e USING (user_id) WHERE coalesce(p.units, 0) <> coalesce(e.units, 0)"""
    )
    result.findings = [
        found(row["user_id"], f"{row['earned']} units were earned, its postings of revenue add up to {row['posted']}")
        for row in rows
    ]
    return result
