"""Between the account's routes below /v1 and what the ledger says."""

import csv
import io
from decimal import ROUND_DOWN, Decimal

from contracts.money import UNITS_PER_CREDIT, Balance, in_credits
from contracts.payments import BegunPayment, ConfirmedPayment, CreditPacks
from contracts.questions import Consumption
from contracts.statement import Statement, StatementEntry
from contracts.usage import UsageReport
from gateway.dialects.native.account_schemas import (
    ConfirmedPaymentView,
    Consumed,
    CreditPacksView,
    CreditPackView,
    Credits,
    PaymentView,
    StatementEntryView,
    StatementPage,
    UsagePage,
    UsageTotalView,
    UsageView,
)

_MONEY = Decimal("0.0001")
"""Amounts in dollars are shown to the hundredth of a cent, never more than there is."""


def credits_view(balance: Balance, credit_price: Decimal) -> Credits:
    return Credits(
        available=in_credits(balance.available),
        held=in_credits(balance.held),
        used=in_credits(balance.used),
        owed=in_credits(balance.debt),
        balance=float((balance.available * credit_price / UNITS_PER_CREDIT).quantize(_MONEY, ROUND_DOWN)),
        last_updated=balance.last_updated,
    )


def consumed_view(consumption: Consumption) -> Consumed:
    return Consumed(consumed=in_credits(consumption.required), available=in_credits(consumption.available))


def usage_view(report: UsageReport) -> UsagePage:
    return UsagePage(
        items=[
            UsageView(**entry.model_dump(exclude={"used"}), used=in_credits(entry.used)) for entry in report.entries
        ],
        totals=[
            UsageTotalView(**total.model_dump(exclude={"used"}), used=in_credits(total.used)) for total in report.totals
        ],
        total=report.total,
    )


def packs_view(packs: CreditPacks) -> CreditPacksView:
    return CreditPacksView(
        items=[
            CreditPackView(id=pack.id, credits=in_credits(pack.credits), amount=pack.price, currency=pack.currency)
            for pack in packs.packs
        ],
        publishable_key=packs.publishable_key,
    )


def payment_view(payment: BegunPayment) -> PaymentView:
    return PaymentView(
        id=payment.payment_id,
        payment_intent=payment.payment_intent,
        client_secret=payment.client_secret,
        publishable_key=payment.publishable_key,
        pack=payment.pack,
        credits=in_credits(payment.credits),
        amount=payment.price,
        currency=payment.currency,
        status=payment.status,
    )


def confirmed_view(confirmed: ConfirmedPayment) -> ConfirmedPaymentView:
    available = in_credits(confirmed.balance.available) if confirmed.balance is not None else None
    return ConfirmedPaymentView(state=confirmed.state, credits=in_credits(confirmed.credits), available=available)


def statement_view(statement: Statement) -> StatementPage:
    return StatementPage(items=[_entry_view(entry) for entry in statement.entries], next_cursor=statement.cursor)


def _entry_view(entry: StatementEntry) -> StatementEntryView:
    return StatementEntryView(
        at=entry.at,
        entry=entry.entry,
        generation_id=entry.generation_id,
        state=entry.state,
        quote=in_credits(entry.quote),
        captured=in_credits(entry.captured),
        released=in_credits(entry.released),
        refunded=in_credits(entry.refunded),
        granted=in_credits(entry.granted),
        why=entry.why,
    )


def statement_csv(page: StatementPage) -> str:
    """The page as a spreadsheet reads it (RFC 4180), with a line of names."""
    table = io.StringIO()
    writer = csv.DictWriter(table, list(StatementEntryView.model_fields))
    writer.writeheader()
    for item in page.items:
        row = item.model_dump(mode="json")
        writer.writerow({**row, "why": _no_formula(item.why)})
    return table.getvalue()


def _no_formula(text: str) -> str:
    """A spreadsheet would carry out what begins like a formula, and a provider may say anything."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
