"""Every check of the auditor finds the defect that it is for (design.md §3): each is planted here, by SQL."""

from typing import Any

import pytest

pytestmark = pytest.mark.connected

_ANOTHER_SOURCE = """jsonb_set(outcome::jsonb, '{source}', '"another"')"""
_NEXT_ATTEMPT = """
    INSERT INTO generator.attempts (id, generation_id, item, number, first_index, count, state, provider, process,
        fence, ended_at) SELECT gen_random_uuid(), generation_id, item, 2, first_index, count, '%s', provider, process,
        fence, now() FROM generator.attempts WHERE id = '{completed_attempt}'
"""
_NEW_TRANSACTION = """
    INSERT INTO ledger.transactions (key, type) VALUES ('refund:{completed}', 'capture');
    INSERT INTO ledger.postings SELECT max(id), 'revenue', '{user}', 1 FROM ledger.transactions;
    INSERT INTO ledger.postings SELECT max(id), 'available', '{user}', -1 FROM ledger.transactions
"""

_REVENUE = """
    INSERT INTO ledger.transactions (key, type) VALUES ('%s', 'capture');
    INSERT INTO ledger.postings SELECT max(id), 'revenue', '{user}', 1 FROM ledger.transactions;
    INSERT INTO ledger.postings SELECT max(id), 'available', '{user}', -1 FROM ledger.transactions;
    UPDATE ledger.accounts SET available = available - 1, used = used + 1 WHERE user_id = '{user}'
"""


_PAYMENT = """
    INSERT INTO ledger.payments (id, user_id, pack, credits, price, currency, payment_intent, state, paid_at)
        VALUES ('{user}', '{user}', 'small', 10, 5, 'usd', 'pi_{user}', 'paid', now());
"""
_PAID = """
    INSERT INTO ledger.transactions (key, type) VALUES ('payment:{user}', 'payment');
    INSERT INTO ledger.postings SELECT max(id), 'payments', '{user}', -10 FROM ledger.transactions;
    INSERT INTO ledger.postings SELECT max(id), 'available', '{user}', 10 FROM ledger.transactions;
    UPDATE ledger.accounts SET available = available + 10 WHERE user_id = '{user}';
"""


def _of(key: str, purse: str, change: str) -> str:
    """Changes one posting."""
    return f"""
        UPDATE ledger.postings SET {change} FROM ledger.transactions t
        WHERE t.id = transaction_id AND t.key = '{key}' AND purse = '{purse}'
    """


def _account(change: str) -> str:
    return f"UPDATE ledger.accounts SET {change} WHERE user_id = '{{user}}'"


def _slots(change: str) -> str:
    return f"UPDATE gateway.slots SET {change} WHERE user_id = '{{user}}'"


def _asset(change: str) -> str:
    return f"UPDATE storage.assets SET {change} WHERE owner_id = '{{user}}'"


PLANTED = {
    # 1: a row is a promise
    "unfinished past its deadline": (
        "unfinished",
        "UPDATE gateway.generations SET deadline_at = now() - interval '11 minutes' WHERE id = '{unfinished}'",
    ),
    "a place in the queue that nobody looks at": (
        "unfinished",
        """UPDATE gateway.generations SET status = 'pending', published = false, created_at = now() - interval '10 days'
           WHERE id = '{unfinished}';
           UPDATE gateway.slots SET taken = 0, waiting = 1 WHERE user_id = '{user}'""",
    ),
    # 2.7: fairness
    "a slot that was never given back": ("slots leak", _slots("taken = 2")),
    "a slot that was given back twice": ("slots leak", "DELETE FROM gateway.slots WHERE user_id = '{user}'"),
    "somebody counted as waiting who is not": (
        "slots leak",
        _slots("waiting = 1"),
    ),
    # 9: what a client was told, its next read shows
    "a webhook that nobody tells": (
        "webhook not told",
        """UPDATE gateway.deliveries SET state = 'pending', next_at = now() - interval '1 hour'
           WHERE generation_id = '{completed}'""",
    ),
    "a webhook that is tried for ever": (
        "webhook not told",
        """UPDATE gateway.deliveries SET state = 'pending', attempts = 17 WHERE generation_id = '{completed}'""",
    ),
    "a webhook whose turn never comes": (
        "webhook not told",
        """UPDATE gateway.deliveries SET state = 'pending', next_at = now() + interval '13 hours'
           WHERE generation_id = '{completed}'""",
    ),
    "a webhook that was told something else": (
        "webhook not told",
        """UPDATE gateway.deliveries SET event = 'generation.failed'
           WHERE generation_id = '{completed}' AND event = 'generation.completed'""",
    ),
    "an end that a webhook was never owed": (
        "webhook not told",
        """UPDATE gateway.webhooks SET owed_since = now() - interval '2 hours'
           WHERE user_id = '{user}' AND style = 'standard';
           DELETE FROM gateway.deliveries d USING gateway.webhooks w
           WHERE w.id = d.webhook_id AND w.user_id = '{user}' AND w.style = 'standard'""",
    ),
    "an end that a request's own webhook was never owed": (
        "webhook not told",
        """UPDATE gateway.webhooks SET owed_since = now() - interval '2 hours' WHERE id = '{completed}';
           DELETE FROM gateway.deliveries WHERE webhook_id = '{completed}' AND event = 'generation.completed'""",
    ),
    # 3: every service closes the id
    "work that goes on after the outcome": (
        "still worked on",
        """UPDATE generator.work SET state = 'open', outcome = NULL, deadline_at = now() - interval '1 hour'
           WHERE generation_id = '{failed}'""",
    ),
    "work for a generation that the gateway does not know": (
        "still worked on",
        """UPDATE generator.work SET deadline_at = now() - interval '10 days' WHERE generation_id = '{unfinished}';
           DELETE FROM gateway.generations WHERE id = '{unfinished}'""",
    ),
    "a storage that never heard of the end": (
        "still worked on",
        """UPDATE storage.generations SET outcome = NULL, closed_at = NULL, opened_at = now() - interval '5 hours'
           WHERE generation_id = '{failed}';
           UPDATE gateway.generations SET completed_at = now() - interval '4 hours' WHERE id = '{failed}'""",
    ),
    # 4: one outcome, decided by the log
    "a list that shows another status": (
        "status differs",
        "UPDATE gateway.generations SET status = 'failed' WHERE id = '{completed}'",
    ),
    "the outcome of another generation": (
        "status differs",
        """UPDATE gateway.generations g SET outcome = other.outcome, status = 'failed'
           FROM gateway.generations other WHERE other.id = '{failed}' AND g.id = '{completed}'""",
    ),
    "a gateway that told something else than the log": (
        "outcome differs",
        f"UPDATE gateway.generations SET outcome = {_ANOTHER_SOURCE} WHERE id = '{{failed}}'",
    ),
    "a ledger that applied something else than the log": (
        "outcome differs",
        f"UPDATE ledger.holds SET outcome = {_ANOTHER_SOURCE}::json WHERE generation_id = '{{failed}}'",
    ),
    "a generator that applied something else than the log": (
        "outcome differs",
        f"UPDATE generator.work SET outcome = {_ANOTHER_SOURCE} WHERE generation_id = '{{failed}}'",
    ),
    "a storage that applied something else than the log": (
        "outcome differs",
        f"UPDATE storage.generations SET outcome = {_ANOTHER_SOURCE} WHERE generation_id = '{{failed}}'",
    ),
    # 6: a hold ends once, by an outcome, and captures what was delivered
    "a hold that outlives its outcome": (
        "hold not ended",
        """UPDATE ledger.holds SET state = 'open', closed_at = NULL, outcome = NULL, outcome_id = NULL
           WHERE generation_id = '{failed}'""",
    ),
    "completed without a hold": ("hold not ended", "DELETE FROM ledger.holds WHERE generation_id = '{completed}'"),
    "a hold of a generation that the gateway does not know": (
        "hold not ended",
        """UPDATE ledger.holds SET opened_at = now() - interval '10 days' WHERE generation_id = '{unfinished}';
           DELETE FROM gateway.generations WHERE id = '{unfinished}'""",
    ),
    "a dispute that nobody settles": (
        "hold not ended",
        "UPDATE ledger.holds SET disputed_at = now() - interval '1 hour' WHERE generation_id = '{failed}'",
    ),
    "charged for what was not delivered": (
        "charged wrongly",
        "UPDATE ledger.holds SET captured = 2 * {price} WHERE generation_id = '{completed}'",
    ),
    "charged for what the gateway does not know": (
        "charged wrongly",
        "DELETE FROM gateway.generations WHERE id = '{completed}'",
    ),
    "charged nothing for what was delivered": (
        "charged wrongly",
        "UPDATE ledger.holds SET captured = 0, state = 'released' WHERE generation_id = '{completed}'",
    ),
    "charged for a failure": (
        "charged wrongly",
        "UPDATE ledger.holds SET captured = {price}, state = 'captured' WHERE generation_id = '{failed}'",
    ),
    "captured more than was quoted": (
        "charged wrongly",
        """ALTER TABLE ledger.holds DROP CONSTRAINT ck_holds_captured;
           UPDATE ledger.holds SET captured = 3 * {price} WHERE generation_id = '{completed}'""",
    ),
    "held more than was quoted": (
        "charged wrongly",
        "UPDATE ledger.holds SET amount = 5 * {price} WHERE generation_id = '{completed}'",
    ),
    "a capture that was not posted": ("charged wrongly", _of("settle:{completed}", "revenue", "amount = 1")),
    "a hold that was not posted back": ("charged wrongly", _of("settle:{failed}", "held", "amount = -1")),
    "a hold that was ended twice": ("charged wrongly", _NEW_TRANSACTION),
    "held on an account that was not to pay": (
        "charged wrongly",
        "UPDATE gateway.generations SET payer_id = gen_random_uuid() WHERE id = '{completed}'",
    ),
    "captured from another account than it was held on": (
        "charged wrongly",
        f"""{_of("settle:{completed}", "revenue", "user_id = gen_random_uuid()")};
            {_of("settle:{completed}", "available", "user_id = gen_random_uuid()")}""",
    ),
    # 6, 10: money adds up
    "a transaction that is not balanced": ("not balanced", _of("hold:{failed}", "held", "amount = amount + 1")),
    "a transaction without postings": (
        "not balanced",
        "INSERT INTO ledger.transactions (key, type) VALUES ('grant:{user}', 'grant')",
    ),
    "available credits from nowhere": (
        "balance differs",
        _account("available = available + 1"),
    ),
    "held credits from nowhere": (
        "balance differs",
        _account("held = held + 1"),
    ),
    "used credits from nowhere": (
        "balance differs",
        _account("used = used + 1"),
    ),
    "a negative balance": (
        "balance differs",
        """ALTER TABLE ledger.accounts DROP CONSTRAINT ck_accounts_available;
           UPDATE ledger.accounts SET available = -1 WHERE user_id = '{user}'""",
    ),
    "postings of nobody's account": ("balance differs", "DELETE FROM ledger.accounts WHERE user_id = '{user}'"),
    "a hold that no posting backs": (
        "balance differs",
        "UPDATE ledger.holds SET amount = 1 WHERE generation_id = '{unfinished}'",
    ),
    "a debt that nothing made": ("balance differs", _account("debt = 1")),
    "a payment that was made and not credited": ("payment differs", _PAYMENT),
    "a payment that was credited and not made": ("payment differs", _PAID),
    "a refund that took nothing back": (
        "payment differs",
        f"""{_PAYMENT} {_PAID} INSERT INTO ledger.payment_claims (payment_intent, claim, amount, currency, state)
            VALUES ('pi_{{user}}', 'refunds', 3, 'usd', 'lost')""",
    ),
    "consumed credits that no posting took": (
        "consumption differs",
        """INSERT INTO ledger.consumptions (id, user_id, amount, reason)
           VALUES (gen_random_uuid(), '{user}', 1, 'consumed')""",
    ),
    "consumed credits that nobody made revenue of": (
        "consumption differs",
        "UPDATE ledger.consumptions SET consumed_at = now() - interval '9 days' WHERE user_id = '{user}'",
    ),
    "revenue by the end of an unknown hold": ("revenue differs", _REVENUE % "settle:{user}"),
    "revenue by a key that nobody knows": ("revenue differs", _REVENUE % "capture:zzz-{user}"),
    "revenue by a second capture": ("revenue differs", _REVENUE % "capture2:{completed}"),
    # 7: a provider is paid once per attempt
    "two attempts of one submission that delivered": ("paid twice", _NEXT_ATTEMPT % "rendered"),
    "an unknown attempt repeated against the model's policy": (
        "paid twice",
        f"UPDATE generator.models SET unknown_policy = 'fail'; {_NEXT_ATTEMPT % 'unknown'}",
    ),
    "an attempt that nobody ended": (
        "attempt open",
        "UPDATE generator.attempts SET state = 'intent', ended_at = NULL WHERE id = '{failed_attempt}'",
    ),
    "a call whose attempt nobody wrote": ("calls", "DELETE FROM generator.attempts WHERE id = '{failed_attempt}'"),
    "more billed than the attempt asked for": (
        "calls",
        "UPDATE generator.attempts SET count = 0 WHERE id = '{completed_attempt}'",
    ),
    "an attempt that delivered without a call": (
        "calls",
        """INSERT INTO generator.attempts (id, generation_id, item, number, first_index, count, state, provider,
               process, fence, created_at, ended_at)
           SELECT gen_random_uuid(), generation_id, 1, 1, 1, 1, 'rendered', provider, process, fence, created_at,
               now() - interval '1 minute' FROM generator.attempts WHERE id = '{completed_attempt}'""",
    ),
    # 8: completed means that we own the bytes
    "an asset without a row": ("asset not stored", "DELETE FROM storage.assets WHERE owner_id = '{user}'"),
    "an asset that is still being written": (
        "asset not stored",
        _asset("state = 'writing'"),
    ),
    "an asset with another hash": (
        "asset not stored",
        _asset("sha256 = repeat('0', 64)"),
    ),
    "an asset of another generation": (
        "asset not stored",
        _asset("generation_id = '{failed}'"),
    ),
    "completed without anything": (
        "asset not stored",
        "UPDATE gateway.generations SET outcome = jsonb_set(outcome, '{data,assets}', '[]') WHERE id = '{completed}'",
    ),
    "an asset that a lost race left behind": (
        "left behind",
        """INSERT INTO storage.assets (id, generation_id, index, owner_id, token, state, mime_type, size_bytes, sha256)
           SELECT gen_random_uuid(), '{failed}', 0, owner_id, 'another', state, mime_type, size_bytes, sha256
           FROM storage.assets WHERE owner_id = '{user}'""",
    ),
    "an object that is gone": (
        "object differs",
        _asset("owner_id = gen_random_uuid()"),
    ),
    "an object that is gone from the listing": (
        "objects listed",
        _asset("sha256 = repeat('0', 64)"),
    ),
    "an object that the collector leaves": (
        "objects listed",
        """DELETE FROM storage.assets WHERE owner_id = '{user}';
           INSERT INTO storage.orphans SELECT '{user}/' || (outcome->'data'->'assets'->0->>'sha256'),
               now() - interval '3 days' FROM gateway.generations WHERE id = '{completed}'""",
    ),
    "an object of another size": (
        "object differs",
        _asset("size_bytes = 1"),
    ),
    "a variant that is gone": (
        "object differs",
        """INSERT INTO storage.variants SELECT id, 'thumbnail', 'stored', 1, repeat('0', 64) FROM storage.assets
           WHERE owner_id = '{user}'""",
    ),
}


@pytest.fixture(scope="module")
async def found(worlds: Any) -> dict[str, list[Any]]:
    """What one audit finds of each defect: every defect has a user of its own, and one user's world stays whole."""
    world = await worlds(len(PLANTED) + 1)
    for (_, sql), trio in zip(PLANTED.values(), world.trios, strict=False):
        await world.plant(sql, trio)
    wrong = [finding for finding in await world.audit() if finding.severity == "wrong"]
    of = [{value for name, value in trio.names.items() if name != "price"} for trio in world.trios]
    return {
        name: [finding for finding in wrong if any(word in finding.about + finding.words for word in words)]
        for name, words in zip([*PLANTED, "nothing"], of, strict=True)
    }


@pytest.mark.parametrize("planted", PLANTED)
async def test_a_planted_defect_is_found(found: dict[str, list[Any]], planted: str) -> None:
    check, _ = PLANTED[planted]
    assert check in {finding.check for finding in found[planted]}, found[planted]


async def test_nothing_is_found_of_those_whose_world_is_whole(found: dict[str, list[Any]]) -> None:
    assert found["nothing"] == []


def test_every_check_has_a_defect_planted_for_it() -> None:
    from darkroom.audit.audit import CHECKS

    listed_only = 1  # corrections
    assert len({check for check, _ in PLANTED.values()}) == len(CHECKS) - listed_only
