"""The generations as clients see them. Every read and write for a client names its owner."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from contracts.facts import Kind, Lane, Outcome, Request, Visibility
from contracts.money import Quote, TokenPrices, cost
from gateway import figures
from gateway.api_keys.spending import give_back
from runtime.database import Connection, Row


@dataclass(frozen=True, slots=True)
class Generation:
    """One row."""

    id: UUID
    user_id: UUID
    dialect: str
    kind: Kind
    lane: Lane
    model: str
    prompt: str
    size: str | None
    count: int
    options: dict[str, Any]
    particulars: dict[str, Any]
    """What only some have: `seconds`, `inputs`, `messages`, `max_tokens`, `visibility`, as in the request; `prompt`,
    where the provider is told something else than the user's own words; the dialect's `remarks`."""
    quote: Quote
    status: str
    published: bool
    body_hash: bytes
    traceparent: str | None
    created_at: datetime
    deadline_at: datetime
    cancel_asked_at: datetime | None
    completed_at: datetime | None
    outcome: Outcome | None
    api_key_id: UUID | None
    batch_id: UUID | None
    payer_id: UUID | None
    """Whose account pays; None: its user's own."""

    @property
    def is_final(self) -> bool:
        return self.outcome is not None

    @property
    def cost(self) -> int:
        """What was paid, in units; 0 while nothing is."""
        if self.outcome is None or self.status != "completed":
            return 0
        ending = self.outcome.data
        return cost(self.quote, ending.delivered, ending.usage, ending.percent)

    @property
    def visibility(self) -> Visibility:
        """Who may look at what it has become."""
        return Visibility(self.particulars.get("visibility", Visibility.PUBLIC))

    @property
    def remarks(self) -> dict[str, Any]:
        """What the dialect kept of the request for itself."""
        found: dict[str, Any] = self.particulars.get("remarks", {})
        return found

    def request(self) -> Request:
        """What the fact `requested` says: to it the dialect's remarks are unknown."""
        said = {"prompt": self.prompt, **self.particulars}
        return Request(
            generation_id=self.id,
            user_id=self.user_id,
            kind=self.kind,
            lane=self.lane,
            model=self.model,
            count=self.count,
            size=self.size,
            options=self.options,
            quote=self.quote,
            deadline_at=self.deadline_at,
            payer_id=self.payer_id,
            **said,
        )


COLUMNS = """id, user_id, dialect, kind, lane, model, prompt, size, count AS wanted, options::text AS options,
    particulars::text AS particulars, quote_amount, unit_price, price_version, input_price, output_price, status,
    published, body_hash, traceparent, created_at, deadline_at, cancel_asked_at, completed_at,
    outcome::text AS outcome, api_key_id, batch_id, payer_id"""


def generation_of(row: Row, outcome: Outcome | None = None) -> Generation:
    """`outcome`: the recorded one, where the caller has it and it need not be read.

    Columns are taken as keys: as attributes, which Python code finds, they were 3 % of accepting a generation.
    """
    if outcome is None and row["outcome"]:
        outcome = Outcome.decode(row["outcome"].encode())
    return Generation(
        id=row["id"],
        user_id=row["user_id"],
        dialect=row["dialect"],
        kind=Kind(row["kind"]),
        lane=Lane(row["lane"]),
        model=row["model"],
        prompt=row["prompt"],
        size=row["size"],
        count=row["wanted"],
        options=json.loads(row["options"]),
        particulars=json.loads(row["particulars"]) if row["particulars"] else {},
        quote=Quote(
            amount=row["quote_amount"],
            unit_price=row["unit_price"],
            price_version=row["price_version"],
            tokens=None
            if row["input_price"] is None
            else TokenPrices(input=row["input_price"], output=row["output_price"]),
        ),
        status=row["status"],
        published=row["published"],
        body_hash=row["body_hash"],
        traceparent=row["traceparent"],
        created_at=row["created_at"],
        deadline_at=row["deadline_at"],
        cancel_asked_at=row["cancel_asked_at"],
        completed_at=row["completed_at"],
        outcome=outcome,
        api_key_id=row["api_key_id"],
        batch_id=row["batch_id"],
        payer_id=row["payer_id"],
    )


# A free slot is taken, or the generation joins those that wait: never both, and nobody overtakes. No slot row comes
# back when the queue is full. A second row of one id breaks the whole statement, slot included.
_INSERT = text(f"""
    WITH slot AS (
        INSERT INTO slots AS s (user_id, lane, taken, waiting) VALUES (:user_id, :lane, 1, 0)
        ON CONFLICT (user_id, lane) DO UPDATE SET
            taken = s.taken + (s.taken < :slots AND s.waiting = 0)::int,
            waiting = s.waiting + (NOT (s.taken < :slots AND s.waiting = 0))::int
        WHERE s.waiting < :max_waiting OR (s.taken < :slots AND s.waiting = 0)
        RETURNING waiting = 0 AS free
    )
    INSERT INTO generations (id, user_id, dialect, kind, lane, model, prompt, size, count, options, particulars,
        batch_id, batch_item, quote_amount, unit_price, price_version, input_price, output_price, status, published,
        body_hash, traceparent, api_key_id, payer_id, created_at, deadline_at, deadline_seconds, p99_seconds,
        next_drive_at)
    SELECT :id, :user_id, :dialect, :kind, :lane, :model, :prompt, :size, :count, CAST(:options AS jsonb),
        CAST(:particulars AS jsonb), CAST(:batch_id AS uuid), CAST(:batch_item AS smallint), :quote_amount,
        :unit_price, :price_version, CAST(:input_price AS bigint), CAST(:output_price AS bigint), 'pending',
        slot.free, :body_hash, :traceparent, CAST(:api_key_id AS uuid), CAST(:payer_id AS uuid),
        coalesce(CAST(:created_at AS timestamptz), now()),
        now() + make_interval(secs => :deadline_seconds), :deadline_seconds, :p99_seconds,
        CASE WHEN slot.free THEN now() + make_interval(secs => :first_drive_seconds) ELSE 'infinity' END
    FROM slot
    RETURNING {COLUMNS}
""")


class QueueFull(Exception):
    """The user has as many generations waiting as the plan allows."""


class Duplicate(Exception):
    """There is a generation with this id already."""


async def insert(connection: Connection, values: dict[str, Any]) -> Generation:
    """Records a generation.

    Raises:
        QueueFull, Duplicate: nothing was recorded.
    """
    try:
        row = (await connection.execute(_INSERT, values)).one_or_none()
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) == "23505":
            raise Duplicate from error
        raise
    if row is None:
        raise QueueFull
    return generation_of(row)


_GET = text(f"SELECT {COLUMNS} FROM generations WHERE id = :id AND user_id = :user_id AND deleted_at IS NULL")


async def get(connection: Connection, user_id: UUID, generation_id: UUID) -> Generation | None:
    """A user's generation; None for somebody else's and for a deleted one, too."""
    row = (await connection.execute(_GET, {"id": generation_id, "user_id": user_id})).one_or_none()
    return generation_of(row) if row else None


_KNOWN = text(f"""
    SELECT {COLUMNS}, deleted_at IS NOT NULL AS is_deleted FROM generations WHERE id = :id AND user_id = :user_id
""")


async def known(connection: Connection, user_id: UUID, generation_id: UUID) -> tuple[Generation, bool] | None:
    """A user's generation, and whether it was deleted: what an Idempotency-Key has made."""
    row = (await connection.execute(_KNOWN, {"id": generation_id, "user_id": user_id})).one_or_none()
    return (generation_of(row), row.is_deleted) if row else None


_ANYBODYS = text(f"SELECT {COLUMNS} FROM generations WHERE id = :id")


async def anybodys(connection: Connection, generation_id: UUID) -> Generation | None:
    """A generation, whoever's and deleted or not: for the house alone, never for a client."""
    row = (await connection.execute(_ANYBODYS, {"id": generation_id})).one_or_none()
    return generation_of(row) if row else None


# Its turn has come: should the bus be away, the sweeper says the word as soon as it is back.
_ASK_CANCEL = text(f"""
    UPDATE generations SET cancel_asked_at = coalesce(cancel_asked_at, now()),
        next_drive_at = CASE WHEN cancel_asked_at IS NULL THEN now() ELSE next_drive_at END
    WHERE id = :id AND user_id = :user_id AND status IN ('pending', 'processing') RETURNING {COLUMNS}
""")


async def ask_cancel(connection: Connection, user_id: UUID, generation_id: UUID) -> Generation | None:
    """Writes the wish down, so that it outlives a broker that is away; None when there is nothing left to cancel."""
    row = (await connection.execute(_ASK_CANCEL, {"id": generation_id, "user_id": user_id})).one_or_none()
    return generation_of(row) if row else None


_DELETE = text("""
    UPDATE generations SET deleted_at = now()
    WHERE id = :id AND user_id = :user_id AND deleted_at IS NULL AND status NOT IN ('pending', 'processing')
    RETURNING id
""")


async def delete(connection: Connection, user_id: UUID, generation_id: UUID) -> bool:
    """Hides a final generation from its user for ever; the row stays, since the ledger and the log know its id."""
    values = {"id": generation_id, "user_id": user_id}
    return (await connection.execute(_DELETE, values)).first() is not None


# In the order of the ids: two batches that share rows lock them in one order.
# Who is to be told that one has begun is told the first time alone.
# A webhook that is being deleted is waited for, here and below: owed to none, a delivery would break the statement.
# Here and below it is the outcome, not the status, that says what is final: by the status the planner would read the
# whole index of all that is due, and what ended since that was last vacuumed with it, to find a few ids.
_FOLLOW = text("""
    WITH moved AS (UPDATE generations g SET
        status = 'processing',
        funded_at = coalesce(g.funded_at, now()),
        rendered_at = CASE WHEN f.rendered THEN coalesce(g.rendered_at, now()) ELSE g.rendered_at END,
        next_drive_at = CASE
            WHEN g.cancel_asked_at IS NOT NULL THEN g.next_drive_at
            WHEN f.rendered AND g.rendered_at IS NULL
            THEN now() + make_interval(secs => :first_drive_seconds)
            WHEN NOT f.rendered AND g.funded_at IS NULL AND g.rendered_at IS NULL
            THEN greatest(g.next_drive_at, now() + make_interval(secs => greatest(:first_drive_seconds, g.p99_seconds)))
            ELSE g.next_drive_at END
    FROM (SELECT id, bool_or(rendered) AS rendered
          FROM unnest(CAST(:ids AS uuid[]), CAST(:rendered AS boolean[])) AS t (id, rendered)
          GROUP BY id ORDER BY id) f
    WHERE g.id = f.id AND g.outcome IS NULL
    RETURNING g.id, g.funded_at = now() AS has_begun)
    INSERT INTO deliveries (id, webhook_id, generation_id, event)
    SELECT gen_random_uuid(), w.id, moved.id, 'generation.started' FROM moved JOIN webhooks w ON w.id = moved.id
    WHERE moved.has_begun AND w.state = 'active' AND 'generation.started' = ANY (w.events)
    FOR KEY SHARE OF w
""")


async def follow(connection: Connection, moved: Sequence[tuple[UUID, bool]], first_drive_seconds: float) -> None:
    """Notes which generations move: (id, whether rendered). Only the first time does it put off their next drive."""
    values = {
        "ids": [generation_id for generation_id, _ in moved],
        "rendered": [rendered for _, rendered in moved],
        "first_drive_seconds": first_drive_seconds,
    }
    await connection.execute(_FOLLOW, values)


# Aggregated per slot: an UPDATE … FROM applies one source row per target row only; and in one order, as batches take
# them. What webhooks are owed is written with the outcome: one is never there without the other.
_FINISH = text(f"""
    WITH done AS (
        UPDATE generations SET status = ended_status, outcome = ended_outcome, completed_at = now()
        FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:outcomes AS jsonb[]))
            AS ended (ended_id, ended_status, ended_outcome)
        WHERE id = ended_id AND outcome IS NULL
        RETURNING {COLUMNS}
    ), of_users AS (
        SELECT w.id, done.id AS generation_id, 'generation.' || done.status AS event
        FROM done CROSS JOIN LATERAL (
            SELECT id FROM webhooks
            WHERE user_id = done.user_id AND style = 'standard' AND state = 'active'
                AND 'generation.' || done.status = ANY (events)
            FOR KEY SHARE
        ) w
    ), of_single_ones AS (
        SELECT w.id, done.id AS generation_id, 'generation.' || done.status AS event
        FROM done JOIN webhooks w ON w.id = done.id AND w.style <> 'standard'
        WHERE w.state = 'active' AND 'generation.' || done.status = ANY (w.events)
        FOR KEY SHARE OF w
    ), told AS (
        INSERT INTO deliveries (id, webhook_id, generation_id, event)
        SELECT gen_random_uuid(), w.* FROM (TABLE of_users UNION ALL TABLE of_single_ones) w
    ), freed AS (
        SELECT user_id, lane, count(*) FILTER (WHERE published) AS taken,
            count(*) FILTER (WHERE NOT published) AS waiting
        FROM done GROUP BY user_id, lane ORDER BY user_id, lane
    ), passed_on AS (
        UPDATE slots s SET taken = greatest(0, s.taken - f.taken), waiting = greatest(0, s.waiting - f.waiting)
        FROM freed f WHERE s.user_id = f.user_id AND s.lane = f.lane
        RETURNING s.user_id, s.lane, s.waiting
    )
    SELECT done.*, passed_on.waiting FROM done LEFT JOIN passed_on USING (user_id, lane)
""")
TOLD_SECONDS = 3600
"""For so long what is final is told again where its outcome comes again: longer than the bus or all gateways are away,
since one may have recorded it and not come to tell. A consumer made anew brings the outcomes of seven days, and nobody
is to hear of all of them once more."""
_ENDED = text(f"""
    SELECT g.id, g.user_id, g.dialect, g.status, g.lane, s.waiting,
        g.completed_at < now() - make_interval(secs => {TOLD_SECONDS}) AS is_old
    FROM generations g JOIN slots s USING (user_id, lane) WHERE g.id = ANY(CAST(:ids AS uuid[]))
""")


@dataclass(frozen=True, slots=True)
class Ended:
    """A generation whose record is final."""

    id: UUID
    user_id: UUID
    dialect: str
    status: str
    lane: Lane
    is_waited_for: bool
    """Whether another of the user's waits for the slot that it had."""
    generation: Generation | None = None
    """All of it, where it became final just now."""
    is_old: bool = False
    """Whether it has been final for so long that its clients were told."""


async def finish(connection: Connection, outcomes: Sequence[Outcome]) -> list[Ended]:
    """Applies outcomes to the rows that have none, and returns these; a final row stays as it is."""
    unique = {outcome.data.generation_id: outcome for outcome in reversed(outcomes)}
    unique = dict(sorted(unique.items()))  # two batches that share rows lock them in one order
    values = {
        "ids": list(unique),
        "statuses": [outcome.data.verdict.value for outcome in unique.values()],
        "outcomes": [outcome.encode().decode() for outcome in unique.values()],
    }
    done = [(row, generation_of(row, unique[row.id])) for row in await connection.execute(_FINISH, values)]
    unspent = [
        (each.api_key_id, each.created_at, each.quote.amount - each.cost)
        for _, each in done
        if each.api_key_id is not None
    ]
    if unspent:
        await give_back(connection, unspent)
    figures.end([(generation.kind, generation.status) for _, generation in done])
    return [_ended(row, generation) for row, generation in done]


async def settle(connection: Connection, outcomes: Sequence[Outcome]) -> list[Ended]:
    """The same, and all that was final of them before.

    Whoever applied an outcome first, the consumer of outcomes still passes the slot on.
    """
    ended = await finish(connection, outcomes)
    now = {each.id for each in ended}
    if before := [each.data.generation_id for each in outcomes if each.data.generation_id not in now]:
        ended += [_ended(row, is_old=row.is_old) for row in await connection.execute(_ENDED, {"ids": before})]
    return ended


def _ended(row: Row, generation: Generation | None = None, *, is_old: bool = False) -> Ended:
    return Ended(row.id, row.user_id, row.dialect, row.status, Lane(row.lane), bool(row.waiting), generation, is_old)


_RECORDED = text("SELECT id, outcome::text AS outcome FROM generations WHERE id = ANY(CAST(:ids AS uuid[]))")


async def recorded_outcomes(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Outcome | None]:
    """Known ids with the outcome that was recorded, if any."""
    rows = await connection.execute(_RECORDED, {"ids": list(ids)})
    return {row.id: Outcome.decode(row.outcome.encode()) if row.outcome else None for row in rows}
