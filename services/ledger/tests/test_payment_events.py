"""Webhooks that are not to be believed, and those that are genuine and not about us: never a posting."""

import json
from base64 import b64encode
from uuid import uuid4

import pytest
from sqlalchemy import text

from contracts.payments import (
    PaymentEvent,
)
from ledger.payments.events import UnreadableError, read_event

from .test_payments import money

pytestmark = pytest.mark.connected


async def booked(database) -> tuple[int, ...]:
    """How much stands in the tables."""
    async with database.statement() as connection:
        row = await connection.execute(
            text("""SELECT (SELECT count(*) FROM postings), (SELECT count(*) FROM payment_claims),
                           (SELECT count(*) FROM payments WHERE state = 'paid')""")
        )
        return tuple(row.one())


# -- not to be believed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signature",
    ["", "rubbish", "t=1", "v1=ab", "t=1,v1=", "t=x,v1=ab", "t=1,v1=é", "t=1,v0=ab", "t=,v1=,", "t=1=2,v1=3", "=,=,"],
)
async def test_without_a_signature_of_stripes_it_is_refused(payments, bank, database, paid, signature):
    before = await booked(database)
    body = json.dumps(paid[1]).encode()
    verdict = await payments.receive(PaymentEvent(body=b64encode(body), signature=signature))
    assert (verdict.verdict, "signature" in verdict.reason) == ("refused", True)
    assert await booked(database) == before


@pytest.mark.parametrize(
    ("at", "verdict"),
    [(0, "accepted"), (-290, "accepted"), (290, "accepted"), (-310, "refused"), (310, "refused"), (10**9, "refused")],
)
async def test_a_signature_is_of_now_five_minutes_both_ways(payments, bank, operations, paid, at, verdict):
    user, event = paid
    assert (await payments.receive(bank.webhook(event, at=at))).verdict == verdict
    assert await money(operations, user) == ((110 if verdict == "accepted" else 10), 0, 0)


async def test_a_body_that_was_changed_after_it_was_signed_is_refused(payments, bank, operations, paid):
    user, event = paid
    genuine = bank.webhook(event)
    for body in (
        genuine.body.replace(b"1000", b"9000"),
        genuine.body + b" ",
        genuine.body[:-1],
        json.dumps(event, indent=1).encode(),
        b"\xff" + genuine.body,
        b"",
    ):
        assert body != genuine.body
        verdict = await payments.receive(PaymentEvent(body=b64encode(body), signature=genuine.signature))
        assert verdict.verdict == "refused"
    forged = bank.webhook(event, secret="whsec_of_somebody_else")
    assert (await payments.receive(forged)).verdict == "refused"
    assert await money(operations, user) == (10, 0, 0)
    assert (await payments.receive(genuine)).verdict == "accepted"
    assert await money(operations, user) == (110, 0, 0)


async def test_one_of_two_signatures_is_enough_while_a_secret_is_changed(payments, bank, operations, paid):
    user, event = paid
    new, old = bank.webhook(event), bank.webhook(event, secret="whsec_that_goes")
    both = f"{old.signature},{new.signature.partition(',')[2]}"
    assert (await payments.receive(PaymentEvent(body=b64encode(new.body), signature=both))).verdict == "accepted"
    assert await money(operations, user) == (110, 0, 0)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{}", b'{"id": 1}', b"[" * 100_000, b'{"id": "evt_1", "type": "charge.refunded"}']
)
async def test_what_is_signed_and_cannot_be_read_is_refused(payments, bank, database, body):
    before = await booked(database)
    assert (await payments.receive(bank.webhook(body))).verdict == "refused"
    assert await booked(database) == before


@pytest.mark.parametrize("amount", [True, "1000", 1e3, 10.5, -1000, 10**18, None, [1000]])
async def test_an_amount_that_is_no_whole_number_is_not_read(payments, bank, database, paid, amount):
    """Refused and not ignored: Stripe says it again for days, and then we may know better."""
    _, event = paid
    event["data"]["object"]["amount_received"] = amount
    before = await booked(database)
    with pytest.raises(UnreadableError, match="amount_received"):
        read_event(event)
    assert (await payments.receive(bank.webhook(event))).verdict == "refused"
    assert await booked(database) == before


# -- genuine, and not about us ------------------------------------------------------------------------------------


async def ignored(payments, bank, database, event) -> str:
    before = await booked(database)
    verdict = await payments.receive(bank.webhook(event))
    assert verdict.verdict == "ignored"
    assert await booked(database) == before
    return verdict.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amount_received": 999}, "another amount was paid"),
        ({"amount_received": 0}, "another amount was paid"),
        ({"amount_received": 8000}, "another amount was paid"),
        ({"currency": "jpy"}, "another currency was paid"),
        ({"id": "pi_another"}, "the payment has another intent"),
        ({"id": "pi_another", "metadata": {}}, "no payment of ours"),
    ],
)
async def test_what_contradicts_our_row_is_never_credited(payments, bank, database, paid, changes, reason):
    _, event = paid
    event["data"]["object"] |= changes
    assert await ignored(payments, bank, database, event) == reason


async def test_a_payment_cannot_be_made_out_to_somebody_else(payments, bank, database, operations, paid):
    user, event = paid
    thief = uuid4()
    event["data"]["object"]["metadata"]["user_id"] = str(thief)
    assert await ignored(payments, bank, database, event) == "it is for another user"
    assert await money(operations, thief) == (10, 0, 0)
    assert await money(operations, user) == (10, 0, 0)


async def test_a_live_event_is_nothing_for_a_test_key(payments, bank, database, paid):
    _, event = paid
    assert "mode" in await ignored(payments, bank, database, event | {"livemode": True})


async def test_what_is_about_something_else_is_ignored(payments, bank, database, paid):
    _, event = paid
    for kind in ("payment_intent.created", "payment_intent.payment_failed", "customer.created", "", "x" * 1000):
        assert await ignored(payments, bank, database, event | {"type": kind})
    others = {"id": "pi_of_a_ship", "amount_received": 999_999_999_999, "currency": "idr", "metadata": {"user_id": "7"}}
    event["data"]["object"] |= others
    assert await ignored(payments, bank, database, event) == "no payment of ours"
    (charge,) = await bank.events("charge.succeeded")
    charge["data"]["object"]["payment_intent"] = None
    assert await ignored(payments, bank, database, charge)


async def test_the_same_event_with_another_content_changes_nothing(payments, bank, operations, paid):
    """Signed by us for the test: by id it was applied before."""
    user, event = paid
    await payments.receive(bank.webhook(event))
    verdict = await payments.receive(bank.webhook(event | {"type": "payment_intent.canceled"}))
    assert verdict.reason == "applied before"
    assert await money(operations, user) == (110, 0, 0)
