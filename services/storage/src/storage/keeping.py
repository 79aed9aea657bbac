"""How long and how much: a user's quota and plan, deleting, taking that back, and being forgotten.

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

PURGED_AT_ONCE = 500
ABANDONED_SECONDS = 86_400
"""An upload that was begun so long ago is begun anew by whoever still wants it."""

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
    WHERE owner_id = :owner_id AND generation_id = :generation_id AND state = 'stored'
    RETURNING id
""")
_UNDO = text("""
    UPDATE assets SET state = 'stored', deleted_at = NULL
    WHERE owner_id = :owner_id AND generation_id = :generation_id AND state = 'deleted'
    RETURNING id
""")
_SHOW = text("""
    UPDATE assets SET visibility = :visibility
    WHERE owner_id = :owner_id AND generation_id = :generation_id AND state <> 'purged'
    RETURNING id
""")
# In two steps as every deletion: what is deleted here is purged below, once its days are over. Where plans matter, the
# first part waits for what the ledger says of each user.
_EXPIRE = text("""
    UPDATE assets SET state = 'deleted', deleted_at = now()
    WHERE id IN (
        SELECT assets.id FROM assets LEFT JOIN owners USING (owner_id)
        WHERE assets.state = 'stored'
            AND assets.created_at < now() - make_interval(days => CAST(:default_days AS integer))
            AND owners.retention_days IS NULL AND NOT :plans_matter
        UNION ALL
        SELECT assets.id FROM owners JOIN assets USING (owner_id)
        WHERE owners.retention_days IS NOT NULL AND assets.state = 'stored'
            AND assets.created_at < now() - make_interval(days => owners.retention_days)
        LIMIT :limit
    )
    RETURNING id
""")
# Whoever might have something that is too old: by the plan that was heard of last, or where that is a day ago, by the
# plan that keeps the shortest.
_DUE = text("""
    SELECT DISTINCT owner_id
    FROM assets LEFT JOIN owners USING (owner_id) LEFT JOIN plans ON plans.name = owners.plan
    WHERE assets.state = 'stored' AND owners.retention_days IS NULL AND owner_id > :after
        AND assets.created_at < now() - make_interval(
            days => least((SELECT min(retention_days) FROM plans), CAST(:default_days AS integer)))
        AND (owners.plan_heard_at IS NULL OR owners.plan_heard_at < now() - interval '1 day'
            OR assets.created_at < now() - make_interval(
                days => coalesce(plans.retention_days, CAST(:default_days AS integer))))
    ORDER BY owner_id LIMIT :limit
""")
_EXPIRE_BY_PLAN = text("""
    UPDATE assets SET state = 'deleted', deleted_at = now()
    FROM owners LEFT JOIN plans ON plans.name = owners.plan
    WHERE owners.owner_id = ANY(CAST(:owner_ids AS uuid[])) AND owners.retention_days IS NULL
        AND assets.owner_id = owners.owner_id AND assets.state = 'stored'
        AND assets.created_at < now() - make_interval(
            days => coalesce(plans.retention_days, CAST(:default_days AS integer)))
""")
_OLD = text("""
    SELECT id FROM assets WHERE state = 'deleted' AND deleted_at < now() - make_interval(secs => :trash_seconds)
    ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
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
# Of a generation's rows the facts take care.
_ABANDONED = text("""
    DELETE FROM assets WHERE id IN (
        SELECT id FROM assets
        WHERE state = 'writing' AND generation_id IS NULL
            AND created_at < now() - make_interval(secs => :abandoned_seconds)
        LIMIT :limit
    ) AND state = 'writing'
    RETURNING id
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
        """Takes a generation's assets out of sight, or brings them back; somebody else's are none."""
        values = {"owner_id": question.user_id, "generation_id": question.generation_id}
        async with self._database.statement() as connection:
            rows = await connection.execute(_UNDO if question.undo else _DELETE, values)
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

        Uploads that nobody finished go without a trace: nobody was told of them.
        """
        abandoned = {"abandoned_seconds": ABANDONED_SECONDS, "limit": PURGED_AT_ONCE}
        while True:
            async with self._database.statement() as connection:
                gone = len((await connection.execute(_ABANDONED, abandoned)).all())
            if gone < PURGED_AT_ONCE:
                break
        plans_matter = self._plans is not None and await self._plans.matter()
        if plans_matter:
            await self._expire_by_plan()
        days, limit = self._bounds.retention_days, PURGED_AT_ONCE
        values = {"default_days": days, "limit": limit, "plans_matter": plans_matter}
        while True:
            async with self._database.statement() as connection:
                expired = len((await connection.execute(_EXPIRE, values)).all())
            if expired < PURGED_AT_ONCE:
                break
        return await self._purge(_OLD, {"trash_seconds": self._bounds.trash_seconds})

    async def _expire_by_plan(self) -> None:
        """Nothing is deleted on hearsay: of whom the ledger says nothing, everything stays until the next round."""
        assert self._plans is not None  # noqa: S101
        days = self._bounds.retention_days
        after = UUID(int=0)
        while True:
            values = {"default_days": days, "after": after, "limit": MAX_IDS_PER_QUESTION}
            async with self._database.statement() as connection:
                due = list((await connection.execute(_DUE, values)).scalars())
            if not due:
                return
            heard = await self._plans.hear(due)
            async with self._database.statement() as connection:
                await connection.execute(_EXPIRE_BY_PLAN, {"owner_ids": heard, "default_days": days})
            after = due[-1]

    async def _purge(self, chosen: TextClause, values: dict[str, object]) -> int:
        purged = 0
        while True:
            async with self._database.transaction() as connection:
                ids = (await connection.execute(chosen, {**values, "limit": PURGED_AT_ONCE})).scalars()
                await connection.execute(_PURGE, {"ids": ids})
            purged += len(ids)
            if len(ids) < PURGED_AT_ONCE:
                return purged
