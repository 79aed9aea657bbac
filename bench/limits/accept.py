"""A bare accept: FastAPI checks the same body with pydantic, Postgres commits one row, 202. `uvicorn` runs it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from uuid import UUID, uuid4

import asyncpg
from fastapi import FastAPI
from pydantic import BaseModel, Field

DATABASE_URL = os.environ["LIMIT_DATABASE_URL"]
TABLE = "CREATE TABLE IF NOT EXISTS accepted (id uuid PRIMARY KEY, kind text, prompt text, size text, quoted bigint)"


class Wanted(BaseModel):
    kind: Literal["image", "video", "speech", "text"]
    model: str = Field(max_length=200)
    prompt: str = Field(min_length=1, max_length=4000)
    size: str = "512x512"


class Accepted(BaseModel):
    id: UUID
    kind: str
    status: str = "pending"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.pool = await asyncpg.create_pool(DATABASE_URL, min_size=10, max_size=10)
    await app.state.pool.execute(TABLE)
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


@app.get("/ready")
async def ready() -> dict[str, bool]:
    return {"ready": True}


@app.post("/v1/generations", status_code=202)
async def accept(wanted: Wanted) -> Accepted:
    accepted = Accepted(id=uuid4(), kind=wanted.kind)
    insert = "INSERT INTO accepted VALUES ($1, $2, $3, $4, $5)"
    await app.state.pool.execute(insert, accepted.id, wanted.kind, wanted.prompt, wanted.size, 10_000)
    return accepted
