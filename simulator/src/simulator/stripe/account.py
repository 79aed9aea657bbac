"""The books of one Stripe account: what was created, what was paid, refunded and disputed, and what was said of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from simulator.clock import Clock
from simulator.stripe.refusals import INVALID, StripeRefusal, missing

API_VERSION = "2026-10-28.endive"
MINIMUM = {"usd": 50, "eur": 50, "gbp": 30, "jpy": 50}
"""The currencies that this account takes, each with the least amount, in minor units."""
MOST = 99_999_999
DISPUTING_CARD = "pm_card_createDispute"
_CARDS = {"pm_card_visa": "", "pm_card_mastercard": "", DISPUTING_CARD: "", "pm_card_chargeDeclined": "card_declined"}
"""Stripe's own test cards, with why they are declined."""
_UNPAID = ("requires_payment_method", "requires_confirmation")

Record = dict[str, Any]


class Account:
    """Objects as the API shows them. `said` hears of every event once it stands in the books."""

    def __init__(self, clock: Clock, *, livemode: bool, said: Callable[[Account, Record], None]) -> None:
        self._clock, self._livemode, self._said = clock, livemode, said
        self.intents: dict[str, Record] = {}
        self.charges: dict[str, Record] = {}
        self.refunds: dict[str, Record] = {}
        self.disputes: dict[str, Record] = {}
        self.events: dict[str, Record] = {}
        self.endpoints: dict[str, Record] = {}

    # -- payments -----------------------------------------------------------------------------------------------

    def create_intent(self, amount: int, currency: str, metadata: dict[str, str], **more: Any) -> Record:
        if currency not in MINIMUM:
            raise StripeRefusal(400, INVALID, None, f"Invalid currency: {currency}.", "currency")
        if amount < MINIMUM[currency]:
            raise StripeRefusal(400, INVALID, "amount_too_small", "Amount must be at least the minimum.", "amount")
        if amount > MOST:
            raise StripeRefusal(400, INVALID, "amount_too_large", f"Amount must be no more than {MOST}.", "amount")
        made = self._new("pi", "payment_intent")
        self.intents[made["id"]] = made | {
            "amount": amount,
            "amount_received": 0,
            "canceled_at": None,
            "client_secret": f"{made['id']}_secret_{secrets.token_hex(12)}",
            "currency": currency,
            "last_payment_error": None,
            "latest_charge": None,
            "metadata": metadata,
            "payment_method": None,
            "status": "requires_payment_method",
            **more,
        }
        self._say("payment_intent.created", self.intents[made["id"]])
        return self.intents[made["id"]]

    def confirm(self, intent: Record, card: str, *, has_return_url: bool) -> Record:
        if intent["status"] not in _UNPAID:
            words = f"You cannot confirm this PaymentIntent because it has a status of {intent['status']}."
            raise StripeRefusal(400, INVALID, "payment_intent_unexpected_state", words, payment_intent=deepcopy(intent))
        methods = intent["automatic_payment_methods"] or {}
        if methods.get("enabled") and methods.get("allow_redirects") != "never" and not has_return_url:
            raise StripeRefusal(400, INVALID, None, "You must provide a `return_url`.", "return_url")
        if card not in _CARDS:
            raise StripeRefusal(400, INVALID, "resource_missing", f"No such PaymentMethod: '{card}'", "payment_method")
        if _CARDS[card]:
            refusal = StripeRefusal(
                402, "card_error", _CARDS[card], "Your card was declined.", decline_code="generic_decline"
            )
            intent["last_payment_error"] = refusal.body()["error"]
            self._say("payment_intent.payment_failed", intent)
            refusal.more["payment_intent"] = deepcopy(intent)
            raise refusal
        charge = self._charge(intent)
        intent |= {
            "amount_received": intent["amount"],
            "latest_charge": charge["id"],
            "payment_method": card,
            "status": "succeeded",
        }
        self._say("charge.succeeded", charge)
        self._say("payment_intent.succeeded", intent)
        if card == DISPUTING_CARD:
            self._dispute(charge)
        return intent

    def cancel(self, intent: Record) -> Record:
        if intent["status"] not in _UNPAID:
            words = f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
            raise StripeRefusal(400, INVALID, "payment_intent_unexpected_state", words, payment_intent=deepcopy(intent))
        intent |= {"status": "canceled", "canceled_at": int(self._clock.now())}
        self._say("payment_intent.canceled", intent)
        return intent

    def _charge(self, intent: Record) -> Record:
        charge = self._new("ch", "charge") | {
            "amount": intent["amount"],
            "amount_captured": intent["amount"],
            "amount_refunded": 0,
            "captured": True,
            "currency": intent["currency"],
            "disputed": False,
            "metadata": dict(intent["metadata"]),
            "paid": True,
            "payment_intent": intent["id"],
            "refunded": False,
            "status": "succeeded",
        }
        self.charges[charge["id"]] = charge
        return charge

    # -- what is taken back -------------------------------------------------------------------------------------

    def refund(self, charge: Record, amount: int | None, metadata: dict[str, str]) -> Record:
        left = charge["amount"] - charge["amount_refunded"]
        wanted = left if amount is None else amount
        if left == 0:
            words = f"Charge {charge['id']} has already been refunded."
            raise StripeRefusal(400, INVALID, "charge_already_refunded", words)
        if not 0 < wanted <= left:
            words = f"Refund amount ({wanted}) is greater than unrefunded amount on charge ({left})"
            raise StripeRefusal(400, INVALID, None, words, "amount")
        charge["amount_refunded"] += wanted
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        refund = self._new("re", "refund") | {
            "amount": wanted,
            "charge": charge["id"],
            "currency": charge["currency"],
            "metadata": metadata,
            "payment_intent": charge["payment_intent"],
            "status": "succeeded",
        }
        self.refunds[refund["id"]] = refund
        self._say("refund.created", refund)
        self._say("charge.refunded", charge)
        return refund

    def _dispute(self, charge: Record) -> None:
        dispute = self._new("du", "dispute") | {
            "amount": charge["amount"],
            "charge": charge["id"],
            "currency": charge["currency"],
            "evidence_details": {"has_evidence": False, "submission_count": 0},
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "reason": "fraudulent",
            "status": "needs_response",
        }
        self.disputes[dispute["id"]] = dispute
        charge["disputed"] = True
        self._say("charge.dispute.created", dispute)
        self._say("charge.dispute.funds_withdrawn", dispute)

    def answer_dispute(self, dispute: Record, evidence: str, *, submit: bool) -> Record:
        """As in Stripe's test mode: the evidence says how it ends."""
        if dispute["status"] != "needs_response":
            raise StripeRefusal(400, INVALID, None, "This dispute is already closed.")
        dispute["evidence_details"]["has_evidence"] = bool(evidence)
        if submit:
            dispute["evidence_details"]["submission_count"] += 1
            dispute["status"] = {"winning_evidence": "won", "losing_evidence": "lost"}.get(evidence, "under_review")
            self._say("charge.dispute.updated", dispute)
            if dispute["status"] != "under_review":
                self._end_dispute(dispute)
        return dispute

    def close_dispute(self, dispute: Record) -> Record:
        """Accepts that it is lost."""
        if dispute["status"] != "needs_response":
            raise StripeRefusal(400, INVALID, None, "This dispute is already closed.")
        dispute["status"] = "lost"
        self._end_dispute(dispute)
        return dispute

    def _end_dispute(self, dispute: Record) -> None:
        self._say("charge.dispute.closed", dispute)
        if dispute["status"] == "won":
            self._say("charge.dispute.funds_reinstated", dispute)

    # -- what the books have ------------------------------------------------------------------------------------

    def found(self, records: dict[str, Record], name: str, identifier: str) -> Record:
        if identifier not in records:
            raise missing(name, identifier)
        return records[identifier]

    def add_endpoint(self, url: str, enabled_events: list[str]) -> Record:
        made = self._new("we", "webhook_endpoint") | {
            "enabled_events": enabled_events,
            "secret": f"whsec_{secrets.token_hex(16)}",
            "status": "enabled",
            "url": url,
        }
        self.endpoints[made["id"]] = made
        return made

    def _new(self, prefix: str, kind: str) -> Record:
        return {
            "id": f"{prefix}_{secrets.token_hex(12)}",
            "object": kind,
            "created": int(self._clock.now()),
            "livemode": self._livemode,
        }

    def _say(self, kind: str, about: Record) -> None:
        event = self._new("evt", "event") | {
            "api_version": API_VERSION,
            "data": {"object": deepcopy(about)},
            "pending_webhooks": len(self.endpoints),
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
        }
        self.events[event["id"]] = event
        self._said(self, event)
