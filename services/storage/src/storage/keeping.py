"""How long and how much: a user's quota and plan, deleting, and being forgotten.

A deleted asset is served no more, and its bytes go some days later; a purged one is a row that names no bytes, so that
the outcome which once told of it is not contradicted. Objects are left to the collector, as ever.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import TextClause, text

from contracts.keeping import (
    ChangedAssets,
    Delete,
    Forget,
    Keep,
    Show,
    Stored,
)
from contracts.questions import MAX_IDS_PER_QUESTION
from runtime.database import Connection, Database
from storage.plans import Plans

PURGED_AT_ONCE = 2000
BLOCKS_AT_ONCE = 64
"""Of the table, of 8 kB each: some two thousand assets."""
ABANDONED_SECONDS = 86_400
"""An upload that was begun so long ago, or a place for one that was offered until then, is nobody's any more."""

_USAGE = text("""
    SELECT count(*) AS assets, CAST(coalesce(sum(size_bytes), 0) AS bigint) AS used_bytes
    FROM assets
    WHERE owner_id = :owner_id AND state IN ('writing', 'stored') AND id IS DISTINCT FROM CAST(:but AS uuid)
""")
# What was said of this user comes before what the plan says, and that before what holds for everybody.
_PLAN = text("""
    SELECT coalesce(owners.quota_bytes, plans.quota_bytes) AS quota_bytes,
        coalesce(owners.retention_days, plans.retention_days) AS retention_days
    FROM owners LEFT JOIN plans ON plans.name = owners.plan WHERE owner_id = :owner_id
""")
_KEEP = text("""
    INSERT INTO owners (owner_id, quota_bytes, retention_days) VALUES (:owner_id, :quota_bytes, :retention_days)
    ON CONFLICT (owner_id) DO UPDATE SET
        quota_bytes = excluded.quota_bytes, retention_days = excluded.retention_days, changed_at = now()
""")
_DELETE = text("""
    UPDATE assets SET state = 'deleted', deleted_at = now()
    WHERE owner_id = :owner_id AND state = 'stored'
        AND (generation_id = CAST(:generation_id AS uuid) OR id = CAST(:asset_id AS uuid) AND generation_id IS NULL)
    RETURNING id
""")
_SHOW = text("""
    UPDATE assets SET visibility = :visibility
    WHERE owner_id = :owner_id AND generation_id = :generation_id AND state <> 'purged'
    RETURNING id
""")
# The table is gone through once a round in the order in which it lies, however much there is and whatever became of it:
# a look for the next to expire would pass over all that did, and an index of those would have every asset that is
# stored written into all the others (docs/adr/0047).
_ROUND = text("""
    SELECT now() AS began_at, pg_relation_size('assets') / CAST(current_setting('block_size') AS bigint) AS blocks
""")
_PART = "assets.ctid >= CAST(:first AS tid) AND assets.ctid < CAST(:last AS tid)"
# Whoever might have something that is too old: by the plan that was heard of last, or where that is a day ago, by the
# plan that keeps the shortest.
_DUE = text(f"""
    SELECT DISTINCT assets.owner_id
    FROM assets LEFT JOIN owners USING (owner_id) LEFT JOIN plans ON plans.name = owners.plan
    WHERE {_PART} AND assets.state = 'stored' AND owners.retention_days IS NULL
        AND assets.created_at < now() - make_interval(
            days => least((SELECT min(retention_days) FROM plans), CAST(:default_days AS integer)))
        AND (owners.plan_heard_at IS NULL OR owners.plan_heard_at < now() - interval '1 day'
            OR owners.plan_heard_at < :began_at AND assets.created_at < now() - make_interval(
                days => coalesce(plans.retention_days, CAST(:default_days AS integer))))
""")  # noqa: S608 - put together from constants
# In two steps as every deletion: what is deleted here is purged below, once its days are over. Where plans matter,
# whoever has no days of their own keeps everything unless the ledger was heard of them in this round. Uploads that
# nobody finished go without a trace; of a generation's rows the facts take care.
_EXPIRE = text(f"""
    WITH abandoned AS (
        DELETE FROM assets
        WHERE {_PART} AND state = 'writing' AND generation_id IS NULL
            AND created_at < now() - make_interval(secs => :abandoned_seconds)
    ), due AS (
        SELECT assets.id
        FROM assets LEFT JOIN owners USING (owner_id) LEFT JOIN plans ON plans.name = owners.plan
        WHERE {_PART} AND assets.state = 'stored'
            AND assets.created_at < now() - make_interval(days => least(
                (SELECT min(retention_days) FROM owners), (SELECT min(retention_days) FROM plans),
                CAST(:default_days AS integer)))
            AND assets.created_at < now() - make_interval(days => CASE
                WHEN owners.retention_days IS NOT NULL THEN owners.retention_days
                WHEN NOT :plans_matter THEN CAST(:default_days AS integer)
                WHEN owners.plan_heard_at >= :began_at
                    THEN coalesce(plans.retention_days, CAST(:default_days AS integer))
            END)
    )
    UPDATE assets SET state = 'deleted', deleted_at = now()
    FROM due WHERE assets.id = due.id AND assets.state = 'stored'
""")  # noqa: S608 - put together from constants
_OLD = text("""
    SELECT id FROM assets WHERE state = 'deleted' AND deleted_at < now() - make_interval(secs => :trash_seconds)
    LIMIT :limit FOR UPDATE SKIP LOCKED
""")
_OWNED = text(
    "SELECT id FROM assets WHERE owner_id = :owner_id AND state <> 'purged' ORDER BY id LIMIT :limit FOR UPDATE"
)
# A statement of its own, after the rows are locked: a variant that was being opened meanwhile is seen.
_PURGE = text("""
    WITH emptied AS (
        DELETE FROM variants WHERE asset_id = ANY(CAST(:ids AS uuid[]))
    )
    UPDATE assets SET state = 'purged', deleted_at = NULL, source_url = NULL, blurhash = NULL
    WHERE id = ANY(CAST(:ids AS uuid[]))
""")
# Whoever was still sending then has had an hour (storage.uploads.FINALIZE_SECONDS).
_ENDED = text("""
    DELETE FROM offers WHERE upload_id IN (
        SELECT upload_id FROM offers WHERE expires_at < now() - make_interval(secs => :seconds) LIMIT :limit
    )
    RETURNING upload_id
""")
_FORGET = text(
    "WITH gone AS (DELETE FROM offers WHERE owner_id = :owner_id) DELETE FROM owners WHERE owner_id = :owner_id"
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds for whoever has no plan of their own; None is no limit."""

    quota_bytes: int | None = None
    retention_days: int | None = None
    trash_seconds: float = 7 * 86_400


class Keeping:
    """What users and their plans say about stored assets."""

    def __init__(self, database: Database, bounds: Bounds, plans: Plans | None = None) -> None:
        self._database = database
        self._bounds = bounds
        self._plans = plans
        """None where there is no ledger to ask."""

    async def usage(self, user_id: UUID, but: UUID | None = None) -> Stored:
        """By the plan that the user is on now, or was on when the ledger last answered.

        `but` is an asset that is not counted: what is written again takes no room beside itself.
        """
        if self._plans is not None and await self._plans.matter():
            await self._plans.hear([user_id])
        async with self._database.statement() as connection:
            return await self.usage_on(connection, user_id, but)

    async def usage_on(self, connection: Connection, user_id: UUID, but: UUID | None = None) -> Stored:
        """As seen by a transaction that is under way."""
        used = (await connection.execute(_USAGE, {"owner_id": user_id, "but": but})).one()
        plan = (await connection.execute(_PLAN, {"owner_id": user_id})).first()
        own = (plan.quota_bytes, plan.retention_days) if plan is not None else (None, None)
        return Stored(
            assets=used.assets,
            used_bytes=used.used_bytes,
            quota_bytes=own[0] if own[0] is not None else self._bounds.quota_bytes,
            retention_days=own[1] or self._bounds.retention_days,
        )

    async def keep(self, plan: Keep) -> Stored:
        """Records a user's plan; it holds for what is stored already, too."""
        values = {
            "owner_id": plan.user_id,
            "quota_bytes": plan.quota_bytes,
            "retention_days": plan.retention_days,
        }
        async with self._database.statement() as connection:
            await connection.execute(_KEEP, values)
        return await self.usage(plan.user_id)

    async def delete(self, question: Delete) -> ChangedAssets:
        """Takes a generation's assets out of sight, or an upload's; somebody else's are none."""
        values = {
            "owner_id": question.user_id,
            "generation_id": question.generation_id,
            "asset_id": question.asset_id,
        }
        async with self._database.statement() as connection:
            rows = await connection.execute(_DELETE, values)
        return ChangedAssets(assets=len(rows.all()))

    async def show(self, question: Show) -> ChangedAssets:
        """Says who may look at a generation's assets; somebody else's are none."""
        values = {
            "owner_id": question.user_id,
            "generation_id": question.generation_id,
            "visibility": question.visibility,
        }
        async with self._database.statement() as connection:
            rows = await connection.execute(_SHOW, values)
        return ChangedAssets(assets=len(rows.all()))

    async def forget(self, question: Forget) -> ChangedAssets:
        """A user's assets name no bytes from now on; the collector removes those."""
        assets = await self._purge(_OWNED, {"owner_id": question.user_id})
        async with self._database.statement() as connection:
            await connection.execute(_FORGET, {"owner_id": question.user_id})
        return ChangedAssets(assets=assets)

    async def expire(self) -> int:
        """Deletes what is older than its owner's plan keeps it, and purges what was deleted long enough ago.

        Nothing is deleted on hearsay: of whom the ledger says nothing, everything stays until the next round.
        """
        plans_matter = self._plans is not None and await self._plans.matter()
        async with self._database.statement() as connection:
            this = (await connection.execute(_ROUND)).one()
        values = {
            "began_at": this.began_at,
            "plans_matter": plans_matter,
            "default_days": self._bounds.retention_days,
            "abandoned_seconds": ABANDONED_SECONDS,
        }
        is_heard = plans_matter
        for block in range(0, this.blocks, BLOCKS_AT_ONCE):
            values |= {"first": (block, 0), "last": (block + BLOCKS_AT_ONCE, 0)}
            is_heard = is_heard and await self._hear(values)
            async with self._database.statement() as connection:
                await connection.execute(_EXPIRE, values)
        await self._end_offers()
        return await self._purge(_OLD, {"trash_seconds": self._bounds.trash_seconds})

    async def _hear(self, part: dict[str, object]) -> bool:
        """Asks which plans those are on who might have something that is too old; False where the ledger is silent."""
        assert self._plans is not None  # noqa: S101
        async with self._database.statement() as connection:
            due = (await connection.execute(_DUE, part)).scalars()
        for start in range(0, len(due), MAX_IDS_PER_QUESTION):
            if not await self._plans.hear(due[start : start + MAX_IDS_PER_QUESTION]):
                return False
        return True

    async def _end_offers(self) -> None:
        values = {"seconds": ABANDONED_SECONDS, "limit": PURGED_AT_ONCE}
        ended = PURGED_AT_ONCE
        while ended == PURGED_AT_ONCE:
            async with self._database.statement() as connection:
                ended = len((await connection.execute(_ENDED, values)).all())

    async def _purge(self, chosen: TextClause, values: dict[str, object]) -> int:
        purged = 0
        while True:
            async with self._database.transaction() as connection:
                ids = (await connection.execute(chosen, {**values, "limit": PURGED_AT_ONCE})).scalars()
                await connection.execute(_PURGE, {"ids": ids})
            purged += len(ids)
            if len(ids) < PURGED_AT_ONCE:
                return purged
