"""A hold ends once, by an outcome, and captures what was delivered and no more (6). Corrections are listed (5)."""

import asyncpg

from contracts.money import Quote, TokenPrices, Usage, cost, in_credits
from darkroom.audit.evidence import MAX_FINDINGS, Evidence
from darkroom.audit.findings import Finding, Result, finder

NOBODYS_SECONDS = 86_400.0
"""The ledger asks about a hold that is open for an hour and a half, unless it is told to wait longer, and ends what the
gateway does not know."""


async def ended(evidence: Evidence) -> Result:
    """A final generation has a hold that ended; it may lag behind the outcome, not stay behind."""
    result = Result("hold not ended", "6")
    found = finder(result.check)
    bounds = evidence.bounds
    result.looked_at = await evidence.count(
        """SELECT count(*) FROM gateway.generations
           WHERE outcome IS NOT NULL AND created_at > now() - make_interval(secs => $1 * 86400)""",
        bounds.days,
    )
    # Without a hold, nothing was ever set aside: where the log was lost since, nobody will hear of it, nor needs to.
    rows = await evidence.rows(
        """SELECT g.id, g.status, h.state, extract(epoch FROM now() - g.completed_at) AS age
           FROM gateway.generations g LEFT JOIN ledger.holds h ON h.generation_id = g.id
           WHERE g.outcome IS NOT NULL AND g.completed_at + make_interval(secs => $1) < now()
             AND g.created_at > now() - make_interval(secs => $2 * 86400)
             AND (h.state = 'open' OR h.generation_id IS NULL
                  AND (g.status = 'completed' OR $3::timestamptz IS NULL OR g.completed_at > $3))
           ORDER BY g.completed_at""",
        bounds.settle_seconds,
        bounds.days,
        evidence.log_created,
    )
    for row in rows:
        state = "has no hold" if row["state"] is None else "its hold is open"
        result.findings.append(found(row["id"], f"is {row['status']} since {row['age']:.0f} s, and {state}"))
    disputed = await evidence.rows(
        """SELECT generation_id, extract(epoch FROM now() - disputed_at) AS age FROM ledger.holds
           WHERE disputed_at IS NOT NULL AND disputed_at + make_interval(secs => $1) < now()""",
        bounds.settle_seconds,
    )
    result.findings += [
        found(row["generation_id"], f"its two outcomes are disputed since {row['age']:.0f} s") for row in disputed
    ]
    nobodys = await evidence.rows(
        """SELECT generation_id, amount, extract(epoch FROM now() - opened_at) AS age FROM ledger.holds
           WHERE state = 'open' AND opened_at + make_interval(secs => $1) < now()
             AND NOT EXISTS (SELECT FROM gateway.generations g WHERE g.id = generation_id)
           ORDER BY opened_at""",
        NOBODYS_SECONDS,
    )
    result.findings += [
        found(
            row["generation_id"],
            f"{row['amount']} units are held for it since {row['age']:.0f} s, and the gateway does not know it",
        )
        for row in nobodys
    ]
    return result


async def captured(evidence: Evidence) -> Result:
    """captured = cost(quote, delivered) ≤ quote where completed, nothing elsewhere; the postings say the same."""
    result = Result("charged wrongly", "6")
    async for row in evidence.stream(_DOUBTFUL, evidence.bounds.days):
        result.looked_at = row["looked_at"]
        result.findings += _judge(row) if row["id"] is not None else []
        if len(result.findings) > MAX_FINDINGS:
            break
    # A row of the gateway's stays for ever, also when its user deletes what it made.
    unknown = await evidence.rows(
        """SELECT h.generation_id, h.captured - coalesce(c.amount, 0) AS kept
           FROM ledger.holds h LEFT JOIN ledger.corrections c
               ON c.generation_id = h.generation_id AND c.type = 'refund'
           WHERE h.captured > coalesce(c.amount, 0) AND h.disputed_at IS NULL
             AND h.closed_at + make_interval(secs => $1) < now()
             AND NOT EXISTS (SELECT FROM gateway.generations g WHERE g.id = h.generation_id)""",
        evidence.bounds.settle_seconds,
    )
    found = finder(result.check)
    result.findings += [
        found(row["generation_id"], f"{row['kept']} units were captured, and the gateway does not know it")
        for row in unknown
    ]
    return result


# The database passes over what is plainly right, of a price per output and made for it alone: that is nearly all, and
# judging a million here would take a minute. What is left, right or wrong, is judged by the contracts' own `cost`.
# `OFFSET 0` reads outcomes where they are: a million of them are not carried through joins and sorted. Transactions
# are told apart by their keys and belong to the generation that they name, which is the key's where they name none.
# There is always a row, which says how many were looked at.
_DOUBTFUL = """
    WITH told AS (
        SELECT g.id, g.status, g.quote_amount, g.unit_price, g.price_version, g.input_price, g.output_price,
               CASE WHEN g.outcome->'data'->'text' IS NOT NULL THEN 1
                    WHEN jsonb_typeof(g.outcome->'data'->'assets') = 'array'
                    THEN jsonb_array_length(g.outcome->'data'->'assets') ELSE 0 END AS delivered,
               g.outcome->'data'->>'usage' AS usage,
               coalesce(CAST(g.outcome->'data'->'cached'->>'percent' AS integer), 100) AS percent,
               coalesce(g.payer_id, g.user_id) AS payer_id
        FROM gateway.generations g
        WHERE g.outcome IS NOT NULL AND g.created_at > now() - make_interval(secs => $1 * 86400)
        OFFSET 0
    ), held AS (
        SELECT h.generation_id AS id, h.user_id, h.state, h.amount, h.unit_price AS held_price, h.captured,
               h.outcome->'data'->>'verdict' AS verdict
        FROM ledger.holds h WHERE h.state <> 'open' AND h.disputed_at IS NULL
        OFFSET 0
    ), moved AS (
        SELECT h.generation_id AS id,
               coalesce(sum(p.amount) FILTER (WHERE p.purse = 'revenue'), 0)::bigint AS revenue,
               coalesce(sum(p.amount) FILTER (WHERE p.purse = 'held'), 0)::bigint AS held,
               count(*) FILTER (WHERE p.purse = 'held' AND t.type IN ('capture', 'release')) AS settled,
               count(*) FILTER (WHERE p.user_id <> h.user_id) AS elsewhere
        FROM (
            SELECT id, type, coalesce(generation_id, CASE
                WHEN generation_id IS NULL AND pg_input_is_valid(split_part(key, ':', 2), 'uuid')
                THEN CAST(split_part(key, ':', 2) AS uuid) END) AS generation_id
            FROM ledger.transactions WHERE split_part(key, ':', 1) IN ('hold', 'settle', 'refund', 'write_off')
        ) AS t JOIN ledger.postings p ON p.transaction_id = t.id
        JOIN ledger.holds h ON h.generation_id = t.generation_id
        GROUP BY h.generation_id
    ), charged AS MATERIALIZED (
        SELECT told.*, held.user_id, held.state, held.amount, held.held_price, held.captured, held.verdict,
               CASE c.type WHEN 'refund' THEN -c.amount WHEN 'write_off' THEN c.amount ELSE 0 END AS corrected
        FROM told JOIN held USING (id) LEFT JOIN ledger.corrections c ON c.generation_id = told.id
    ), doubtful AS (
        SELECT charged.*, coalesce(moved.revenue, 0) AS revenue, coalesce(moved.held, 0) AS held,
               coalesce(moved.settled, 0) AS settled, coalesce(moved.elsewhere, 0) AS elsewhere
        FROM charged LEFT JOIN moved USING (id)
        WHERE (input_price IS NULL AND percent = 100
               AND captured + corrected =
                   CASE status WHEN 'completed' THEN least(quote_amount, unit_price * delivered) ELSE 0 END
               AND captured <= quote_amount AND (captured = 0 OR verdict = 'completed')
               AND (user_id IS NULL
                    OR (amount, held_price, user_id) = (quote_amount, charged.unit_price, payer_id))
               AND coalesce(revenue, 0) = captured + corrected AND coalesce(held, 0) = 0
               AND coalesce(settled, 0) <= 1 AND coalesce(elsewhere, 0) = 0) IS NOT TRUE
    )
    SELECT (SELECT count(*) FROM charged) AS looked_at, doubtful.*
    FROM (SELECT 1) AS always LEFT JOIN doubtful ON true ORDER BY doubtful.id
"""


def _judge(row: asyncpg.Record) -> list[Finding]:
    found = finder("charged wrongly")
    about, findings = row["id"], []
    quote = Quote(
        amount=row["quote_amount"],
        unit_price=row["unit_price"],
        price_version=row["price_version"],
        tokens=None
        if row["input_price"] is None
        else TokenPrices(input=row["input_price"], output=row["output_price"]),
    )
    usage = Usage.model_validate_json(row["usage"]) if row["usage"] else None
    due = cost(quote, row["delivered"], usage, row["percent"]) if row["status"] == "completed" else 0
    charged = row["captured"] + row["corrected"]
    if charged != due:
        findings.append(
            found(about, f"{row['status']} with {row['delivered']} delivered costs {due} units, {charged} were charged")
        )
    if row["captured"] > row["quote_amount"]:
        findings.append(found(about, f"{row['captured']} units were captured of a quote of {row['quote_amount']}"))
    if row["user_id"] is not None and (row["amount"], row["held_price"]) != (row["quote_amount"], row["unit_price"]):
        findings.append(found(about, f"{row['amount']} units were held for a quote of {row['quote_amount']}"))
    if row["user_id"] is not None and row["user_id"] != row["payer_id"]:
        findings.append(found(about, f"{row['payer_id']} has to pay for it, it was held on {row['user_id']}"))
    if row["elsewhere"]:
        findings.append(found(about, f"{row['elsewhere']} of its postings are not on the account that it was held on"))
    if row["captured"] and row["verdict"] != "completed":
        findings.append(found(about, f"{row['captured']} units were captured by an outcome {row['verdict']}"))
    if row["revenue"] != charged:
        findings.append(found(about, f"{charged} units were charged, its postings say {row['revenue']}"))
    if row["held"]:
        findings.append(
            found(about, f"its hold has ended as {row['state']}, its postings still hold {row['held']} units")
        )
    if row["settled"] > 1:
        findings.append(found(about, f"its hold was ended {row['settled']} times"))
    return findings


async def corrections(evidence: Evidence) -> Result:
    """Every correction that was made because a client had been told otherwise."""
    result = Result("corrected", "5")
    found = finder(result.check)
    rows = await evidence.rows(
        """SELECT generation_id, type, amount, corrected_at, applied->'data'->>'verdict' AS applied,
                  told->'data'->>'verdict' AS told
           FROM ledger.corrections ORDER BY corrected_at DESC"""
    )
    result.looked_at = len(rows)
    result.findings = [
        found(
            row["generation_id"],
            f"{row['type']} of {in_credits(row['amount'])} credits at {row['corrected_at']:%Y-%m-%d %H:%M:%S}: "
            f"the client was told {row['told']}, applied was {row['applied']}",
            "note",
        )
        for row in rows
    ]
    return result
