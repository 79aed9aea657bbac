"""The ledger's tables. Amounts are units, times are the database's own.

An account is (user, purse). The purses `available` and `held` are the user's, the others are the house's, kept per user
so that no row is hot; only the user's balances are cached. `used` caches what the user paid: revenue, write-offs, and
what was consumed. `debt` caches what the user owes. The user of a hold is whose account it is on (docs/adr/0033).
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)

from runtime.database import make_metadata

metadata = make_metadata()


def _amount(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


plans = Table(
    "plans",
    metadata,
    Column("name", Text, primary_key=True),
    _amount("monthly_grant"),
    Column("daily_spend_cap", BigInteger),
    Column("max_count", Integer),
    Column("concurrent", Integer),
    Column("cooldown_seconds", Integer),
)

accounts = Table(
    "accounts",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    _amount("available"),
    _amount("held"),
    _amount("used"),
    _now("opened_at"),
    Column("debt", BigInteger, nullable=False, server_default="0"),
    Column("plan", Text, ForeignKey(plans.c.name), nullable=False, server_default="free"),
    _now("changed_at"),
)
Index("ix_accounts_in_debt", accounts.c.user_id, postgresql_where=text("debt > 0"))

transactions = Table(
    "transactions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("key", Text(collation="C"), nullable=False),
    Column("type", Text, nullable=False),
    Column("generation_id", Uuid),
    Column("reason", Text),
    _now("created_at"),
    UniqueConstraint("key"),
)
Index("ix_transactions_created_at", transactions.c.created_at, postgresql_using="brin")

postings = Table(
    "postings",
    metadata,
    Column("transaction_id", BigInteger, ForeignKey(transactions.c.id), primary_key=True),
    Column("purse", Text, primary_key=True),
    Column("user_id", Uuid, primary_key=True),
    _amount("amount"),
)
Index(
    "ix_postings_given",
    postings.c.user_id,
    postings.c.transaction_id,
    postgresql_where=text("purse IN ('issuance', 'promotion', 'payments')"),
)

holds = Table(
    "holds",
    metadata,
    Column("generation_id", Uuid, primary_key=True),
    Column("user_id", Uuid),
    _amount("amount"),
    _amount("unit_price"),
    Column("price_version", Integer, nullable=False),
    Column("input_price", BigInteger),
    Column("output_price", BigInteger),
    Column("state", Text, nullable=False),
    _amount("captured"),
    _now("opened_at"),
    Column("closed_at", DateTime(timezone=True)),
    Column("outcome_id", Uuid),
    Column("outcome", JSON),
    Column("disputed_at", DateTime(timezone=True)),
    Column("kind", Text),
    Column("model", Text),
    Column("declined_for", Text),
)
_open = text("state = 'open'")
_disputed = text("disputed_at IS NOT NULL")
Index("ix_holds_open", holds.c.opened_at, holds.c.generation_id, postgresql_where=_open)
Index("ix_holds_of_user", holds.c.user_id, holds.c.opened_at.desc(), holds.c.generation_id.desc())
Index("ix_holds_open_of_user", holds.c.user_id, postgresql_where=_open)
Index("ix_holds_disputed", holds.c.disputed_at, holds.c.generation_id, postgresql_where=_disputed)

corrections = Table(
    "corrections",
    metadata,
    Column("generation_id", Uuid, ForeignKey(holds.c.generation_id), primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("type", Text, nullable=False),
    _amount("amount"),
    Column("applied", JSON, nullable=False),
    Column("told", JSON, nullable=False),
    _now("corrected_at"),
)

consumptions = Table(
    "consumptions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    _amount("amount"),
    _amount("taken"),
    Column("reason", Text, nullable=False),
    _now("consumed_at"),
    Column("spent_at", DateTime(timezone=True)),
)
_unspent = text("spent_at IS NULL")
Index("ix_consumptions_of_user", consumptions.c.user_id, consumptions.c.consumed_at.desc(), consumptions.c.id.desc())
Index("ix_consumptions_unspent", consumptions.c.consumed_at, consumptions.c.id, postgresql_where=_unspent)

prices = Table(
    "prices",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("size", Text, primary_key=True, server_default=""),
    Column("quality", Text, primary_key=True, server_default=""),
    Column("per", Text, nullable=False, server_default="output"),
    _amount("amount"),
    Column("input_amount", BigInteger, nullable=False, server_default="0"),
    Column("provider_cost_micros", BigInteger),
)

epochs = Table(
    "epochs",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("created", Text, nullable=False),
    _now("seen_at"),
)

credit_packs = Table(
    "credit_packs",
    metadata,
    Column("id", Text, primary_key=True),
    _amount("credits"),
    _amount("price"),
    Column("currency", Text, nullable=False),
    Column("is_offered", Boolean, nullable=False, server_default=text("true")),
)
Index(
    "uq_credit_packs_price",
    credit_packs.c.price,
    credit_packs.c.currency,
    unique=True,
    postgresql_where=text("is_offered"),
)

payments = Table(
    "payments",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("pack", Text, nullable=False),
    _amount("credits"),
    _amount("price"),
    Column("currency", Text, nullable=False),
    Column("payment_intent", Text),
    Column("state", Text, nullable=False, server_default="created"),
    _amount("taken_back"),
    Column("movements", Integer, nullable=False),
    _now("created_at"),
    Column("paid_at", DateTime(timezone=True)),
    Column("told_at", DateTime(timezone=True)),
    UniqueConstraint("payment_intent"),
)
Index("ix_payments_untold", payments.c.paid_at, postgresql_where=text("state = 'paid' AND told_at IS NULL"))

payment_claims = Table(
    "payment_claims",
    metadata,
    Column("payment_intent", Text, primary_key=True),
    Column("claim", Text, primary_key=True),
    _amount("amount"),
    Column("currency", Text, nullable=False),
    Column("state", Text, nullable=False),
    _now("claimed_at"),
)

payment_events = Table(
    "payment_events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("payment_intent", Text, nullable=False),
    _now("received_at"),
)

payment_pulls = Table(
    "payment_pulls",
    metadata,
    Column("source", Text, primary_key=True),
    _amount("until_seconds"),
    _now("pulled_at"),
)
