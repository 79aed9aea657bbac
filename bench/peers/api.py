"""The HTTP side of every pipeline that we are compared with: accept, hand to the queue, tell what became of it."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

DATABASE_URL = os.environ["PEER_DATABASE_URL"]

Enqueue = Callable[[str, str], Awaitable[object]]
"""Hands the id and the prompt of a job to the queue, durably."""


class Wanted(BaseModel):
    prompt: str = Field(min_length=1, max_length=4000)
    size: str = "512x512"


def create_app(
    enqueue: Enqueue, opening: Callable[[], Awaitable[object]], closing: Callable[[], Awaitable[object]]
) -> FastAPI:
    """`POST /generate` answers 202 with an id, `GET /jobs/{id}` what was stored."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.pool = await asyncpg.create_pool(DATABASE_URL, min_size=2, max_size=10)
        await opening()
        yield
        await closing()
        await app.state.pool.close()

    app = FastAPI(lifespan=lifespan)

    @app.get("/ready")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/generate", status_code=202)
    async def generate(wanted: Wanted) -> dict[str, str]:
        job_id = str(uuid4())
        await enqueue(job_id, wanted.prompt)
        return {"id": job_id}

    @app.get("/jobs/{job_id}")
    async def job(job_id: UUID) -> dict[str, object]:
        row = await app.state.pool.fetchrow("SELECT path, size_bytes FROM jobs WHERE id = $1", job_id)
        if row is None:
            raise HTTPException(404)
        return {"id": str(job_id), "path": row["path"], "size_bytes": row["size_bytes"]}

    return app
