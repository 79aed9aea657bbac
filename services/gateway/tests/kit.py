"""A gateway in parts, for tests that call the sweeper themselves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from contracts.facts import Kind, Lane
from gateway.commands import Commands
from gateway.identity import Caller
from gateway.orders import Order
from gateway.records import Generation
from gateway.sweeper import Sweeper
from runtime.database import Database


@dataclass
class Kit:
    """A gateway without its HTTP and without its consumers: it does nothing but what a test calls."""

    database: Database
    commands: Commands
    sweeper: Sweeper
    postgres: asyncpg.Pool
    connected: Callable[[], bool]
    user: UUID

    async def create(self, count: int = 1, lane: Lane = Lane.INTERACTIVE) -> list[Generation]:
        order = Order("native", "/v1/generations", Kind.IMAGE, "x", lane=lane)
        return [await self.commands.create(Caller(self.user), order) for _ in range(count)]

    async def set(self, assignment: str, generation: Generation | None = None) -> None:
        where = "id = $1" if generation else "$1::uuid IS NULL"
        await self.postgres.execute(
            f"UPDATE generations SET {assignment} WHERE {where}", generation.id if generation else None
        )

    async def due(self, generation: Generation | None = None) -> None:
        await self.set("next_drive_at = now() - interval '1 second'", generation)

    async def value(self, column: str, generation: Generation) -> Any:
        return await self.postgres.fetchval(f"SELECT {column} FROM generations WHERE id = $1", generation.id)

    async def seconds_to_next(self) -> list[float]:
        rows = await self.postgres.fetch(
            "SELECT extract(epoch FROM next_drive_at - now())::float FROM generations ORDER BY id"
        )
        return [row[0] for row in rows]
