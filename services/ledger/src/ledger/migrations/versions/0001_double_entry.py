"""Accounts, transactions and postings; holds and their corrections; prices; the log's epochs."""

from alembic import op

revision = "0001"
down_revision = None

_UNITS_PER_IMAGE = 10_000
_MODELS = (
    "seedream-3-0-t2i-250415",
    "seedream-4-0-250828",
    "seedream-4-5-251128",
    "gpt-image-2",
    "gpt-image-1.5",
    "gpt-image-1-mini",
    "dall-e-3",
    "dall-e-2",
)


def upgrade() -> None:
    _double_entry()
    _rules_of_double_entry()
    _holds()
    _prices()
    op.execute("""
        CREATE TABLE epochs (
            stream text CONSTRAINT pk_epochs PRIMARY KEY,
            created text NOT NULL,
            seen_at timestamptz NOT NULL DEFAULT now()
        )
    """)


def _double_entry() -> None:
    # Room in the pages: a balance changes with every generation, and no index needs to know.
    op.execute("""
        CREATE TABLE accounts (
            user_id uuid CONSTRAINT pk_accounts PRIMARY KEY,
            available bigint NOT NULL DEFAULT 0 CONSTRAINT ck_accounts_available CHECK (available >= 0),
            held bigint NOT NULL DEFAULT 0 CONSTRAINT ck_accounts_held CHECK (held >= 0),
            used bigint NOT NULL DEFAULT 0 CONSTRAINT ck_accounts_used CHECK (used >= 0),
            opened_at timestamptz NOT NULL DEFAULT now()
        ) WITH (fillfactor = 70)
    """)
    op.execute("""
        CREATE TABLE transactions (
            id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_transactions PRIMARY KEY,
            key text COLLATE "C" NOT NULL CONSTRAINT uq_transactions_key UNIQUE,
            type text NOT NULL CONSTRAINT ck_transactions_type CHECK
                (type IN ('starting_grant', 'grant', 'hold', 'capture', 'release', 'refund', 'write_off')),
            generation_id uuid,
            reason text,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX ix_transactions_created_at ON transactions USING brin (created_at)")
    op.execute("""
        CREATE TABLE postings (
            transaction_id bigint NOT NULL
                CONSTRAINT fk_postings_transaction_id_transactions REFERENCES transactions (id),
            purse text NOT NULL CONSTRAINT ck_postings_purse CHECK
                (purse IN ('available', 'held', 'issuance', 'promotion', 'revenue', 'writeoff')),
            user_id uuid NOT NULL,
            amount bigint NOT NULL CONSTRAINT ck_postings_amount CHECK (amount <> 0),
            CONSTRAINT pk_postings PRIMARY KEY (transaction_id, purse, user_id)
        )
    """)


def _rules_of_double_entry() -> None:
    op.execute("""
        CREATE FUNCTION require_balance() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (SELECT sum(amount) FROM postings WHERE transaction_id = NEW.transaction_id) <> 0 THEN
                RAISE EXCEPTION 'transaction % is not balanced', NEW.transaction_id
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'balanced';
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON postings
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_balance()
    """)
    op.execute("""
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% does not change %', TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'restrict_violation';
        END $$
    """)
    for table in ("transactions", "postings"):
        _append_only(table)


def _holds() -> None:
    # Outcomes are json and not jsonb: kept verbatim, and cheaper to write than to search.
    op.execute("""
        CREATE TABLE holds (
            generation_id uuid CONSTRAINT pk_holds PRIMARY KEY,
            user_id uuid,
            amount bigint NOT NULL CONSTRAINT ck_holds_amount CHECK (amount >= 0),
            unit_price bigint NOT NULL CONSTRAINT ck_holds_unit_price CHECK (unit_price >= 0),
            price_version integer NOT NULL,
            state text NOT NULL CONSTRAINT ck_holds_state CHECK
                (state IN ('open', 'captured', 'released', 'declined', 'expired')),
            captured bigint NOT NULL DEFAULT 0,
            opened_at timestamptz NOT NULL DEFAULT now(),
            closed_at timestamptz,
            outcome_id uuid,
            outcome json,
            disputed_at timestamptz,
            CONSTRAINT ck_holds_captured CHECK
                (captured BETWEEN 0 AND amount AND (captured = 0 OR state = 'captured')),
            CONSTRAINT ck_holds_closed_at CHECK ((closed_at IS NULL) = (state = 'open')),
            CONSTRAINT ck_holds_user_id CHECK (user_id IS NOT NULL OR (state <> 'open' AND amount = 0)),
            CONSTRAINT ck_holds_outcome CHECK ((outcome IS NULL) = (outcome_id IS NULL) AND
                CASE state WHEN 'open' THEN outcome IS NULL WHEN 'declined' THEN true ELSE outcome IS NOT NULL END)
        ) WITH (fillfactor = 80)
    """)
    op.execute("CREATE INDEX ix_holds_open ON holds (opened_at, generation_id) WHERE state = 'open'")
    op.execute("CREATE INDEX ix_holds_open_of_user ON holds (user_id) WHERE state = 'open'")
    op.execute("CREATE INDEX ix_holds_disputed ON holds (disputed_at, generation_id) WHERE disputed_at IS NOT NULL")
    op.execute("""
        CREATE TRIGGER one_way BEFORE UPDATE ON holds FOR EACH ROW
        WHEN (OLD.state <> 'open' AND (NEW.state <> OLD.state OR NEW.captured <> OLD.captured))
        EXECUTE FUNCTION refuse_change('once it is closed')
    """)
    op.execute("""
        CREATE TABLE corrections (
            generation_id uuid CONSTRAINT pk_corrections PRIMARY KEY
                CONSTRAINT fk_corrections_generation_id_holds REFERENCES holds (generation_id),
            user_id uuid NOT NULL,
            type text NOT NULL CONSTRAINT ck_corrections_type CHECK (type IN ('refund', 'write_off')),
            amount bigint NOT NULL CONSTRAINT ck_corrections_amount CHECK (amount > 0),
            applied json NOT NULL,
            told json NOT NULL,
            corrected_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    _append_only("corrections")


def _prices() -> None:
    op.execute("""
        CREATE TABLE prices (
            version integer NOT NULL,
            model text NOT NULL,
            amount bigint NOT NULL CONSTRAINT ck_prices_amount CHECK (amount >= 0),
            CONSTRAINT pk_prices PRIMARY KEY (version, model)
        )
    """)
    rows = ", ".join(f"(1, '{model}', {_UNITS_PER_IMAGE})" for model in _MODELS)
    op.execute(f"INSERT INTO prices (version, model, amount) VALUES {rows}")  # noqa: S608
    _append_only("prices")


def _append_only(table: str) -> None:
    op.execute(f"""
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('once it is written')
    """)
