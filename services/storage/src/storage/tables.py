"""Storage's tables. A row names the bytes of an object by (owner, sha256); times are the database's own."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from runtime.database import make_metadata

metadata = make_metadata()


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


generations = Table(
    "generations",
    metadata,
    Column("generation_id", Uuid, primary_key=True),
    Column("outcome", JSONB),
    _now("opened_at"),
    Column("closed_at", DateTime(timezone=True)),
)
Index("ix_generations_open", generations.c.generation_id, postgresql_where=text("outcome IS NULL"))

assets = Table(
    "assets",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("generation_id", Uuid, ForeignKey(generations.c.generation_id)),
    Column("index", SmallInteger, nullable=False),
    Column("owner_id", Uuid, nullable=False),
    Column("token", Text(collation="C"), nullable=False),
    Column("state", Text, nullable=False, server_default="writing"),
    Column("mime_type", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text(collation="C"), nullable=False),
    Column("width", Integer),
    Column("height", Integer),
    Column("source_url", Text),
    _now("created_at"),
    Column("seconds", Double),
    Column("bitrate", BigInteger),
    Column("blurhash", Text),
    Column("provider_size", Text),
    Column("backend", Text),
    Column("deleted_at", DateTime(timezone=True)),
    Column("visibility", Text, nullable=False, server_default="public"),
    Column("given_sha256", Text),
    UniqueConstraint("token"),
    CheckConstraint("state IN ('writing', 'stored', 'deleted', 'purged')", name="state"),
    CheckConstraint("visibility IN ('public', 'owner')", name="visibility"),
)
Index("ix_assets_generation_id", assets.c.generation_id)
Index("ix_assets_sha256", assets.c.sha256)
Index("ix_assets_owner_id", assets.c.owner_id)
Index("ix_assets_created_at", assets.c.created_at, postgresql_using="brin")
Index("ix_assets_deleted_at", assets.c.deleted_at, postgresql_where=text("deleted_at IS NOT NULL"))

plans = Table(
    "plans",
    metadata,
    Column("name", Text, primary_key=True),
    Column("retention_days", Integer),
    Column("quota_bytes", BigInteger),
    CheckConstraint("retention_days > 0", name="retention_days"),
    CheckConstraint("quota_bytes >= 0", name="quota_bytes"),
)

owners = Table(
    "owners",
    metadata,
    Column("owner_id", Uuid, primary_key=True),
    Column("retention_days", Integer),
    Column("quota_bytes", BigInteger),
    _now("changed_at"),
    Column("plan", Text),
    Column("plan_heard_at", DateTime(timezone=True)),
    CheckConstraint("retention_days > 0", name="retention_days"),
    CheckConstraint("quota_bytes >= 0", name="quota_bytes"),
)
Index("ix_owners_retention_days", owners.c.retention_days, postgresql_where=text("retention_days IS NOT NULL"))

variants = Table(
    "variants",
    metadata,
    Column("asset_id", Uuid, ForeignKey(assets.c.id, ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False, server_default="writing"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text(collation="C"), nullable=False),
    _now("created_at"),
    CheckConstraint("state IN ('writing', 'stored')", name="state"),
)
Index("ix_variants_sha256", variants.c.sha256)

offers = Table(
    "offers",
    metadata,
    Column("upload_id", Uuid, primary_key=True),
    Column("owner_id", Uuid, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)
Index("ix_offers_expires_at", offers.c.expires_at)

orphans = Table(
    "orphans",
    metadata,
    Column("name", Text(collation="C"), primary_key=True),
    _now("since"),
)
