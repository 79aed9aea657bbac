"""The generator's tables. Migrations make them; a test compares the two."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from runtime.database import make_metadata

metadata = make_metadata()
_now = text("now()")

models = Table(
    "models",
    metadata,
    Column("id", Text, primary_key=True),
    Column("position", SmallInteger, nullable=False),  # the first of a kind is its default
    Column("kind", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("provider_model", Text, nullable=False),  # the provider's own name for it
    Column("state", Text, nullable=False),
    Column("state_when_on", Text),  # what it was before it was switched off
    Column("successor", Text),  # does its work, where its provider has retired it
    Column("fallbacks", ARRAY(Text), nullable=False, server_default="{}"),  # cost the same, and stand in for it
    Column("sizes", ARRAY(Text), nullable=False),  # what is offered
    Column("provider_sizes", ARRAY(Text), nullable=False, server_default="{}"),  # what is made; empty: the same
    Column("default_size", Text),
    Column("seconds", ARRAY(Integer), nullable=False, server_default="{}"),  # what is made; every whole one is offered
    Column("default_seconds", Integer),
    Column("ratios", ARRAY(Text), nullable=False, server_default="{}"),
    Column("inputs", ARRAY(Text), nullable=False, server_default="{}"),  # the roles of what it can start from
    Column("voices", ARRAY(Text), nullable=False, server_default="{}"),
    Column("voice_models", ARRAY(Text), nullable=False, server_default="{}"),  # speak in its films; the first that can
    Column("needs", ARRAY(Text), nullable=False, server_default="{}"),  # the roles without which it makes nothing
    Column("follows_speech", Boolean, nullable=False, server_default="false"),
    Column("max_tokens", Integer),
    Column("max_count", SmallInteger, nullable=False),
    Column("max_per_submission", SmallInteger, nullable=False),
    Column("max_prompt_characters", Integer, nullable=False),
    Column("deadline_seconds", Integer, nullable=False),
    Column("p99_seconds", Integer, nullable=False),
    Column("unknown_policy", Text, nullable=False),
    Column("policy_since", DateTime(timezone=True), nullable=False, server_default=_now),  # a trigger dates its change
    CheckConstraint("kind IN ('image', 'video', 'speech', 'text')", name="kind"),
    CheckConstraint("state IN ('active', 'legacy', 'off')", name="state"),
    CheckConstraint("unknown_policy IN ('fail', 'resubmit_once')", name="unknown_policy"),
    CheckConstraint("max_count > 0 AND max_per_submission > 0", name="counts"),
)

catalog = Table(
    "catalog",
    metadata,
    Column("version", BigInteger, primary_key=True),  # grows with every change of models or offered; there is one row
    Column("offered", ARRAY(Text), nullable=False),  # the providers that have a key
    Column("callback_key", Text, nullable=False, server_default=text("gen_random_uuid()::text")),
)

breakers = Table(
    "breakers",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("open_until", DateTime(timezone=True), nullable=False),
    Column("by_tasks", Boolean, nullable=False, server_default=text("false")),  # closed by a result alone
)

limits = Table(
    "limits",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("max_running", Integer),  # generations at its provider at a time; a trigger makes as many permits
    Column("per_minute", Integer),  # calls
    Column("tokens", Double, nullable=False, server_default="0"),  # of those, left when it was last looked
    Column("filled_at", DateTime(timezone=True), nullable=False, server_default=_now),
    CheckConstraint("max_running > 0", name="max_running"),
    CheckConstraint("per_minute > 0", name="per_minute"),
)

permits = Table(
    "permits",
    metadata,
    Column("provider", Text, ForeignKey("limits.provider", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("generation_id", Uuid),  # free again when its work is not open any more
    Column("user_id", Uuid),  # whose it is
    Column("taken_at", DateTime(timezone=True), nullable=False, server_default=_now),
)

waiters = Table(
    "waiters",
    metadata,
    Column("provider", Text, ForeignKey("limits.provider", ondelete="CASCADE"), primary_key=True),
    Column("lane", Text, primary_key=True),
    Column("user_id", Uuid, primary_key=True),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=_now),  # when it was sent away last
)

retry_budgets = Table(
    "retry_budgets",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("retries_left", Double, nullable=False),
    Column("counted_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
)

moderation_rules = Table(
    "moderation_rules",
    metadata,
    Column("name", Text, primary_key=True),
    Column("groups", JSONB, nullable=False),  # lists of phrases; a text that has one of each breaks the rule
    Column("unless", JSONB, nullable=False, server_default="[]"),  # phrases whose words do not count
    Column("within_words", Integer, nullable=False),  # how near to each other they stand
    Column("is_active", Boolean, nullable=False, server_default=text("true")),
    CheckConstraint("within_words > 0", name="within_words"),
)

user_keys = Table(
    "user_keys",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("sealed", Text),  # encrypted; null once it is forgotten
    Column("last4", Text, nullable=False),
    Column("set_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()"), index=True),
)

work = Table(
    "work",
    metadata,
    Column("generation_id", Uuid, primary_key=True),
    Column("state", Text, nullable=False),
    Column("request", JSONB),  # null where the outcome came first
    Column("deadline_at", DateTime(timezone=True)),
    Column("traceparent", Text),
    Column("lease_process", Uuid),  # who works on it; kept when an outcome ends it meanwhile
    Column("fence", Integer, nullable=False),  # grows with every lease: a writer with an older one is stale
    Column("lease_until", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("not_before", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("outcome", JSONB),  # verbatim, for ever
    Column("reuse_key", LargeBinary),  # the same for the same request of a user, where it allows to be answered from it
    Column("reused", Uuid),  # the earlier generation that this one is answered from, where it is
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_now),
    CheckConstraint("state IN ('open', 'rendered', 'closed')", name="state"),
    CheckConstraint("state = 'closed' OR request IS NOT NULL", name="request"),
    CheckConstraint("(state = 'closed') = (outcome IS NOT NULL)", name="outcome"),
)
Index("ix_work_reuse_key", work.c.reuse_key, work.c.created_at, postgresql_where=work.c.reuse_key.is_not(None))
Index("ix_work_open", work.c.lease_until, postgresql_where=work.c.state == text("'open'"))

attempts = Table(
    "attempts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("generation_id", Uuid, ForeignKey("work.generation_id"), nullable=False),
    Column("item", SmallInteger, nullable=False),  # which submission of the generation, from 0
    Column("number", SmallInteger, nullable=False),  # which attempt at it, from 1
    Column("first_index", SmallInteger, nullable=False),
    Column("count", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("own_key", Boolean),  # whose account: its user's, or ours; null where a former version did not say
    Column("model", Text),  # which one does the work; not always the one that was asked for
    Column("kind", Text),  # what it makes for the step after it; null where it makes what was asked for
    Column("process", Uuid, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("task", Text),  # the provider's own name of what it works on; kept when it has ended
    Column("result", JSONB),  # what arrived: a list of outputs, or a text and its usage
    Column("error", JSONB),  # why nothing did, as a failure
    Column(
        "provider_cost_micros", BigInteger
    ),  # what the provider charged, in millionths of a dollar, where it is known
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("ended_at", DateTime(timezone=True)),
    UniqueConstraint("generation_id", "item", "number", name="uq_attempts_number"),
    CheckConstraint("state IN ('intent', 'submitted', 'rendered', 'failed', 'unknown')", name="state"),
)
Index("ix_attempts_created_at", attempts.c.created_at, postgresql_using="brin")
Index("ix_attempts_submitted", attempts.c.generation_id, postgresql_where=attempts.c.state == text("'submitted'"))
Index(
    "ix_attempts_history",
    attempts.c.model,
    attempts.c.ended_at,
    postgresql_where=text("state = 'rendered' AND task IS NOT NULL"),
)
