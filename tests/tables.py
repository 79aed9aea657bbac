"""The frontends' tables under test: a database of all four services with its views, read as the frontends read it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from contracts.facts import Asset, Ending, Outcome, Verdict
from contracts.ids import asset_id, new_generation_id

MEDIA_BASE = "https://darkroom.example"
_TYPES = {"image": ("image/png", "png"), "video": ("video/mp4", "mp4"), "speech": ("audio/mpeg", "mp3")}


@dataclass(frozen=True, slots=True)
class Tables:
    """A migrated database. Every test has users of its own."""

    admin_url: str
    admin: asyncpg.Connection
    """The administrator's, for rows that only services write."""
    storage: str = "storage"
    """The schema of the service of that name."""

    @asynccontextmanager
    async def reading(self, user_id: UUID | None, role: str = "authenticated") -> AsyncIterator[asyncpg.Connection]:
        """A transaction as PostgREST and the gateway open it: in a role, with a token's claims. It is rolled back."""
        connection = await asyncpg.connect(self.admin_url)
        transaction = connection.transaction()
        await transaction.start()
        try:
            claims = {"role": role} | ({"sub": str(user_id)} if user_id else {})
            await connection.execute(f"SET LOCAL ROLE {role}")
            await connection.execute("SELECT set_config('request.jwt.claims', $1, true)", json.dumps(claims))
            yield connection
        finally:
            await transaction.rollback()
            await connection.close()

    async def rows(self, user_id: UUID | None, query: str, *values: Any, role: str = "authenticated") -> list[Any]:
        """What a user reads."""
        async with self.reading(user_id, role) as connection:
            return [dict(row) for row in await connection.fetch(query, *values)]

    async def columns(self, view: str) -> dict[str, str]:
        """Column → type of `<dialect>.<view>`, in their order, as `pg_typeof` would name it."""
        rows = await self.admin.fetch(
            """SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute
            WHERE attrelid = $1::text::regclass AND attnum > 0 ORDER BY attnum""",
            view,
        )
        return {row["attname"]: row["type"] for row in rows}

    async def generation(
        self, user_id: UUID, dialect: str, kind: str = "image", status: str = "completed", **columns: Any
    ) -> UUID:
        """A generation as the gateway records it, with one stored asset where it completed and is no text.

        `columns` are those of `gateway.generations`, such as `prompt`, `size`, `particulars` (JSON), `created_at`.
        """
        generation_id = new_generation_id()
        stored = [await self.asset(user_id, generation_id, kind)] if status == "completed" and kind in _TYPES else []
        ended = status not in {"pending", "processing"}
        ending = Ending(generation_id=generation_id, verdict=Verdict(status), assets=tuple(stored)) if ended else None
        values: dict[str, Any] = {
            "id": generation_id,
            "user_id": user_id,
            "dialect": dialect,
            "kind": kind,
            "lane": "interactive",
            "model": "a-model",
            "prompt": "a lighthouse",
            "size": {"image": "640x480", "video": "1280x720"}.get(kind),
            "count": 1,
            "options": "{}",
            "quote_amount": 10_000,
            "unit_price": 10_000,
            "price_version": 1,
            "status": status,
            "published": True,
            "body_hash": b"",
            "deadline_at": datetime.now().astimezone(),
            "deadline_seconds": 60,
            "p99_seconds": 10,
            "next_drive_at": datetime.now().astimezone(),
            "completed_at": datetime.now().astimezone() if ended else None,
            "outcome": Outcome.of(ending, "test", None).encode().decode() if ending else None,
            **columns,
        }
        names, places = ", ".join(values), ", ".join(f"${number}" for number in range(1, len(values) + 1))
        await self.admin.execute(f"INSERT INTO gateway.generations ({names}) VALUES ({places})", *values.values())
        return generation_id

    async def many(self, user_id: UUID, dialect: str, number: int) -> None:
        """So many completed generations of one picture each, a second apart."""
        await self.admin.execute(
            """INSERT INTO gateway.generations (id, user_id, dialect, kind, lane, model, prompt, size, count, options,
                quote_amount, unit_price, price_version, status, published, body_hash, deadline_at, deadline_seconds,
                p99_seconds, next_drive_at, completed_at, outcome, created_at)
            SELECT gen_random_uuid(), $1, $2, 'image', 'interactive', 'a-model', 'a lighthouse', '640x480', 1, '{}',
                10000, 10000, 1, 'completed', true, '', now(), 60, 10, now(), now(), '{}',
                now() - n * interval '1 second'
            FROM generate_series(1, $3::integer) AS n""",
            user_id,
            dialect,
            number,
        )
        await self.admin.execute(
            f"""WITH made AS (SELECT id, user_id, created_at FROM gateway.generations WHERE user_id = $1),
                known AS (INSERT INTO {self.storage}.generations (generation_id) SELECT id FROM made
                    ON CONFLICT DO NOTHING)
            INSERT INTO {self.storage}.assets (id, generation_id, index, owner_id, token, state, mime_type, size_bytes,
                sha256, width, height, created_at)
            SELECT gen_random_uuid(), id, 0, user_id, md5(id::text), 'stored', 'image/png', 1234, md5(id::text),
                640, 480, created_at FROM made""",
            user_id,
        )
        # As Postgres does by itself a minute after so many rows.
        await self.admin.execute(f"ANALYZE gateway.generations; ANALYZE {self.storage}.assets")

    async def asset(self, user_id: UUID, generation_id: UUID | None, kind: str = "image", index: int = 0) -> Asset:
        """An asset as storage records it; one of no generation is an upload."""
        mime_type, extension = _TYPES[kind]
        asset = Asset(
            id=asset_id(generation_id, index) if generation_id else uuid4(),
            index=index,
            key=f"{uuid4().hex}/original.{extension}",
            mime_type=mime_type,
            size_bytes=1234,
            sha256=uuid4().hex * 2,
            width=None if kind == "speech" else 640,
            height=None if kind == "speech" else 480,
            seconds=None if kind == "image" else 5.04,
            source_url="https://provider.example/x",
        )
        if generation_id is not None:
            await self.admin.execute(
                f"INSERT INTO {self.storage}.generations (generation_id) VALUES ($1) ON CONFLICT DO NOTHING",
                generation_id,
            )
        await self.admin.execute(
            f"""INSERT INTO {self.storage}.assets (id, generation_id, index, owner_id, token, state, mime_type,
                size_bytes, sha256, width, height, seconds, source_url)
            VALUES ($1, $2, $3, $4, $5, 'stored', $6, $7, $8, $9, $10, $11, $12)""",
            asset.id,
            generation_id,
            index,
            user_id,
            asset.key.partition("/")[0],
            mime_type,
            asset.size_bytes,
            asset.sha256,
            asset.width,
            asset.height,
            asset.seconds,
            asset.source_url,
        )
        return asset
