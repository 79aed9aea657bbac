"""Payments: what can be bought, what was begun and paid, what was taken back, and what users owe."""

from alembic import op

revision = "0010"
down_revision = "0003"

_PACKS = (
    ("small", 100 * 10_000, 1_000),
    ("medium", 500 * 10_000, 4_500),
    ("large", 1_000 * 10_000, 8_000),
)
"""Id, units, US cents. An operator's own are rows beside them."""
_TYPES = "'starting_grant', 'grant', 'hold', 'capture', 'release', 'refund', 'write_off'"
_PURSES = "'available', 'held', 'issuance', 'promotion', 'revenue', 'writeoff'"


def upgrade() -> None:
    _purses(
        f"{_TYPES}, 'payment', 'payment_reversal', 'payment_restored', 'debt_payment'", f"{_PURSES}, 'payments', 'debt'"
    )
    op.execute("""
        ALTER TABLE accounts ADD COLUMN debt bigint NOT NULL DEFAULT 0 CONSTRAINT ck_accounts_debt CHECK (debt >= 0)
    """)
    op.execute("CREATE INDEX ix_accounts_in_debt ON accounts (user_id) WHERE debt > 0")
    op.execute("DROP INDEX ix_postings_given")
    op.execute("""
        CREATE INDEX ix_postings_given ON postings (user_id, transaction_id)
        WHERE purse IN ('issuance', 'promotion', 'payments')
    """)
    _packs()
    _payments()


def _purses(types: str, purses: str) -> None:
    # Not validated: what stands there passed a narrower rule, and looking at all of it again would hold up everybody.
    op.execute(f"""
        ALTER TABLE transactions DROP CONSTRAINT ck_transactions_type,
            ADD CONSTRAINT ck_transactions_type CHECK (type IN ({types})) NOT VALID
    """)
    op.execute(f"""
        ALTER TABLE postings DROP CONSTRAINT ck_postings_purse,
            ADD CONSTRAINT ck_postings_purse CHECK (purse IN ({purses})) NOT VALID
    """)


def _packs() -> None:
    op.execute("""
        CREATE TABLE credit_packs (
            id text CONSTRAINT pk_credit_packs PRIMARY KEY,
            credits bigint NOT NULL CONSTRAINT ck_credit_packs_credits CHECK (credits > 0),
            price bigint NOT NULL CONSTRAINT ck_credit_packs_price CHECK (price > 0),
            currency text NOT NULL CONSTRAINT ck_credit_packs_currency CHECK (currency ~ '^[a-z]{3}$'),
            is_offered boolean NOT NULL DEFAULT true
        )
    """)
    # A price names its pack, so no two that are offered have the same.
    op.execute("CREATE UNIQUE INDEX uq_credit_packs_price ON credit_packs (price, currency) WHERE is_offered")
    for name, credits_, price in _PACKS:
        op.execute(f"INSERT INTO credit_packs VALUES ('{name}', {credits_}, {price}, 'usd')")  # noqa: S608


def _payments() -> None:
    op.execute("""
        CREATE TABLE payments (
            id uuid CONSTRAINT pk_payments PRIMARY KEY,
            user_id uuid NOT NULL,
            pack text NOT NULL,
            credits bigint NOT NULL CONSTRAINT ck_payments_credits CHECK (credits > 0),
            price bigint NOT NULL CONSTRAINT ck_payments_price CHECK (price > 0),
            currency text NOT NULL,
            payment_intent text CONSTRAINT uq_payments_payment_intent UNIQUE,
            state text NOT NULL DEFAULT 'created'
                CONSTRAINT ck_payments_state CHECK (state IN ('created', 'canceled', 'paid')),
            taken_back bigint NOT NULL DEFAULT 0,
            movements integer NOT NULL DEFAULT 0,
            created_at timestamptz NOT NULL DEFAULT now(),
            paid_at timestamptz,
            told_at timestamptz,
            CONSTRAINT ck_payments_taken_back CHECK
                (taken_back BETWEEN 0 AND credits AND (taken_back = 0 OR state = 'paid')),
            CONSTRAINT ck_payments_paid_at CHECK ((paid_at IS NOT NULL) = (state = 'paid')),
            CONSTRAINT ck_payments_payment_intent CHECK (state = 'created' OR payment_intent IS NOT NULL)
        )
    """)
    op.execute("CREATE INDEX ix_payments_untold ON payments (paid_at) WHERE state = 'paid' AND told_at IS NULL")
    op.execute("""
        CREATE TABLE payment_claims (
            payment_intent text NOT NULL,
            claim text NOT NULL,
            amount bigint NOT NULL CONSTRAINT ck_payment_claims_amount CHECK (amount >= 0),
            currency text NOT NULL,
            state text NOT NULL CONSTRAINT ck_payment_claims_state CHECK (state IN ('open', 'lost', 'won')),
            claimed_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_payment_claims PRIMARY KEY (payment_intent, claim)
        )
    """)
    op.execute("""
        CREATE TABLE payment_events (
            id text CONSTRAINT pk_payment_events PRIMARY KEY,
            type text NOT NULL,
            payment_intent text NOT NULL,
            received_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payment_events
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('once it is written')
    """)
    op.execute("""
        CREATE TABLE payment_pulls (
            source text CONSTRAINT pk_payment_pulls PRIMARY KEY,
            until_seconds bigint NOT NULL,
            pulled_at timestamptz NOT NULL DEFAULT now()
        )
    """)


def downgrade() -> None:
    for table in ("payment_pulls", "payment_events", "payment_claims", "payments", "credit_packs"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP INDEX ix_postings_given")
    op.execute("""
        CREATE INDEX ix_postings_given ON postings (user_id, transaction_id) WHERE purse IN ('issuance', 'promotion')
    """)
    op.execute("ALTER TABLE accounts DROP COLUMN debt")
    _purses(_TYPES, _PURSES)
