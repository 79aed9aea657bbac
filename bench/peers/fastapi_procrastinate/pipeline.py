"""procrastinate, whose queue is Postgres: `procrastinate --app=pipeline.queue worker`, the API is `pipeline:app`."""

import os

import procrastinate
from api import create_app
from job import Work

queue = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["PEER_DATABASE_URL"]))
work: Work | None = None


@queue.task(name="generate")
async def generate(job_id: str, prompt: str) -> None:
    global work  # noqa: PLW0603 - its worker has no event for a start
    if work is None:
        opening = Work()
        await opening.open()
        work = work or opening
    await work.generate(job_id, prompt)


app = create_app(
    lambda job_id, prompt: generate.defer_async(job_id=job_id, prompt=prompt), queue.open_async, queue.close_async
)
