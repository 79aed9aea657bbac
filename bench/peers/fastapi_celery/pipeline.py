"""Celery on Redis, prefork, acknowledged late: `celery --app pipeline:queue worker`, the API is `pipeline:app`.

Its tasks are not asynchronous, so its HTTP client is urllib3 and its database client psycopg.
"""

import json
import os
from pathlib import Path

import urllib3
from api import create_app
from celery import Celery
from celery.signals import worker_process_init
from psycopg_pool import ConnectionPool

UPSTREAM_URL = os.environ["PEER_UPSTREAM_URL"]
MEDIA = Path(os.environ["PEER_MEDIA"])
INSERT = "INSERT INTO jobs (id, prompt, path, size_bytes) VALUES (%s, %s, %s, %s)"

queue = Celery("pipeline", broker=os.environ["PEER_REDIS_URL"])
queue.conf.update(task_acks_late=True, task_ignore_result=True, worker_prefetch_multiplier=4)
kept: dict[str, object] = {}


@worker_process_init.connect
def opened(**_: object) -> None:
    kept["http"] = urllib3.PoolManager()
    kept["pool"] = ConnectionPool(os.environ["PEER_DATABASE_URL"], min_size=1, max_size=1, open=True)


@queue.task(name="generate")
def generate(job_id: str, prompt: str) -> None:
    http, pool = kept["http"], kept["pool"]
    body = {"model": "dall-e-2", "prompt": prompt, "size": "512x512", "n": 1}
    answer = http.request("POST", f"{UPSTREAM_URL}/v1/images/generations", json=body)
    content = http.request("GET", json.loads(answer.data)["data"][0]["url"]).data
    path = MEDIA / f"{job_id}.png"
    path.write_bytes(content)
    with pool.connection() as connection:
        connection.execute(INSERT, (job_id, prompt, str(path), len(content)))


async def enqueue(job_id: str, prompt: str) -> None:
    generate.delay(job_id, prompt)


async def nothing() -> None:
    """Celery opens its connections itself."""


app = create_app(enqueue, nothing, nothing)
