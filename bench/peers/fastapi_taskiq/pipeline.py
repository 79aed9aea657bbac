"""taskiq on Redis streams, one worker process: `taskiq worker pipeline:broker`, the API is `pipeline:app`."""

import os

from api import create_app
from job import AT_ONCE, Work
from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(os.environ["PEER_REDIS_URL"], xread_count=AT_ONCE)
work = Work()


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def opened(_: TaskiqState) -> None:
    await work.open()


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def closed(_: TaskiqState) -> None:
    await work.close()


@broker.task
async def generate(job_id: str, prompt: str) -> None:
    await work.generate(job_id, prompt)


app = create_app(generate.kiq, broker.startup, broker.shutdown)
