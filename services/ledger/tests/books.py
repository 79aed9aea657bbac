"""The auditor's questions about the books: what must be true after anything that happened."""

from typing import Any

from sqlalchemy import text

from runtime.database import Database

CONTRADICTIONS = {
    "P8: all postings together are zero": "SELECT sum(amount) FROM postings HAVING sum(amount) <> 0",
    "P8: the postings of each transaction are zero": """
        SELECT transaction_id FROM postings GROUP BY transaction_id HAVING sum(amount) <> 0""",
    "P8: every transaction moved something": """
        SELECT id FROM transactions WHERE NOT EXISTS (SELECT FROM postings WHERE transaction_id = id)""",
    "P8: cached balances are the sums of postings": """
        SELECT accounts.*, sums.* FROM accounts FULL JOIN (
            SELECT user_id, coalesce(sum(amount) FILTER (WHERE purse = 'available'), 0) AS s_available,
                   coalesce(sum(amount) FILTER (WHERE purse = 'held'), 0) AS s_held,
                   coalesce(sum(amount) FILTER (WHERE purse IN ('revenue', 'writeoff', 'consumed')), 0) AS s_used,
                   coalesce(-sum(amount) FILTER (WHERE purse = 'debt'), 0) AS s_debt
            FROM postings GROUP BY user_id
        ) AS sums USING (user_id)
        WHERE (coalesce(available, -1), held, used, debt) IS DISTINCT FROM
              (coalesce(s_available, 0), coalesce(s_held, 0), coalesce(s_used, 0), coalesce(s_debt, 0))""",
    "P9: what is held is what open holds hold": """
        SELECT user_id, held FROM accounts WHERE held <>
            (SELECT coalesce(sum(amount), 0) FROM holds WHERE holds.user_id = accounts.user_id AND state = 'open')""",
    "P8: what is consumed and not spent is what its purse says": """
        SELECT * FROM (
            SELECT user_id, sum(amount) AS posted FROM postings WHERE purse = 'consumed' GROUP BY user_id
        ) AS purses FULL JOIN (
            SELECT user_id, sum(amount - taken) AS unspent FROM consumptions WHERE spent_at IS NULL GROUP BY user_id
        ) AS rows USING (user_id)
        WHERE coalesce(posted, 0) <> coalesce(unspent, 0)""",
    "P4: a month is granted once": """
        SELECT user_id, reason FROM transactions JOIN postings ON transaction_id = id
        WHERE type = 'monthly_grant' AND purse = 'promotion' GROUP BY user_id, reason HAVING count(*) > 1""",
    "P7: no balance is negative": "SELECT * FROM accounts WHERE available < 0 OR held < 0 OR debt < 0",
    "P4: nothing is captured twice": """
        SELECT generation_id FROM transactions WHERE type = 'capture' GROUP BY generation_id HAVING count(*) > 1""",
    "P6: nothing is captured above its quote": "SELECT generation_id FROM holds WHERE captured > amount",
    "P6: what a hold says is what was posted": """
        SELECT generation_id, captured, posted FROM holds LEFT JOIN (
            SELECT generation_id, sum(amount) FILTER (WHERE purse = 'revenue') AS posted
            FROM transactions JOIN postings ON transaction_id = id
            WHERE type IN ('capture', 'release') GROUP BY generation_id
        ) AS revenue USING (generation_id)
        WHERE captured <> coalesce(posted, 0)""",
    "P10: a payment is credited once, and only if it was made": """
        SELECT payments.id, state, count(key) FROM payments LEFT JOIN transactions ON key = 'payment:' || payments.id
        GROUP BY payments.id, state HAVING count(key) <> (state = 'paid')::int""",
    "P10: nothing else is credited as a payment": """
        SELECT key FROM transactions WHERE type = 'payment'
        AND NOT EXISTS (SELECT FROM payments WHERE key = 'payment:' || payments.id)""",
    "P10: what was bought and not taken back is what was posted": """
        SELECT user_id, bought, posted FROM (
            SELECT user_id, sum(credits - taken_back) AS bought FROM payments WHERE state = 'paid' GROUP BY user_id
        ) AS bought FULL JOIN (
            SELECT user_id, -sum(amount) AS posted FROM postings WHERE purse = 'payments' GROUP BY user_id
        ) AS posted USING (user_id)
        WHERE coalesce(bought, 0) <> coalesce(posted, 0)""",
    "P10: what is claimed of a payment is taken back, and no more": """
        SELECT payments.id, taken_back, claimed FROM payments, LATERAL (
            SELECT coalesce(sum(CASE WHEN claims.currency = payments.currency THEN amount ELSE price END), 0) AS claimed
            FROM payment_claims AS claims
            WHERE claims.payment_intent = payments.payment_intent AND claims.state <> 'won'
        ) AS claims
        WHERE payments.state = 'paid' AND taken_back <> div(credits * least(claimed, price), price)""",
    "P5: who was told of a failure paid nothing": """
        SELECT holds.generation_id FROM holds JOIN transactions USING (generation_id)
            JOIN postings ON transaction_id = id
        WHERE purse IN ('revenue', 'writeoff') AND outcome->'data'->>'verdict' <> 'completed'
          AND disputed_at IS NULL
        GROUP BY holds.generation_id HAVING sum(postings.amount) <> 0""",
}


async def contradictions(database: Database) -> dict[str, list[Any]]:
    """Each broken promise with the rows that break it; empty where the books are right."""
    found = {}
    async with database.statement() as connection:
        for promise, query in CONTRADICTIONS.items():
            rows = (await connection.execute(text(query))).all()
            if rows:
                found[promise] = [tuple(row) for row in rows[:5]]
    return found
