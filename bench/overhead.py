"""`python -m bench.overhead`: what the generator adds to the provider's own time.

A generator by itself, as in `bench.waiting`; the simulator takes a fixed time for every picture. The time from the
funded fact to the rendered one, less the provider's, one after the other and so many a second.
"""

import argparse
import asyncio
import json
import platform
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from nats.aio.msg import Msg
from rich.console import Console
from rich.table import Table

from bench import RESULTS
from bench.load import percentile
from bench.waiting import Waiting, started
from contracts.facts import Funded, Kind, Request
from contracts.ids import new_generation_id
from contracts.money import Quote
from contracts.topology import funded_subject, generation_of

MODEL = "seedream-3-0-t2i-250415"
PROVIDER_SECONDS = 0.1
RATE = 10
WAITED_SECONDS = 30
GOALS = {"one at a time, p99 ms": "≤ 50", f"{RATE} a second, p99 ms": "≤ 50", "paid calls per picture": "1.000"}


async def overheads(waiting: Waiting, pictures: int, *, rate: float | None = None) -> list[float]:
    """Seconds beyond the provider's, of each picture: so many begin a second, or one when the last has ended."""
    rendered: dict[UUID, asyncio.Future[float]] = {}

    async def heard(message: Msg) -> None:
        future = rendered.get(generation_of(message.subject))
        if future is not None and not future.done():
            future.set_result(time.perf_counter())

    subscription = await waiting.client.subscribe("generation.rendered.>", cb=heard)
    room = asyncio.Semaphore(1 if rate is None else pictures)
    stream = waiting.client.jetstream()

    async def one(index: int) -> float:
        await asyncio.sleep(0 if rate is None else index / rate)
        async with room:
            request = _request()
            future = rendered[request.generation_id] = asyncio.get_running_loop().create_future()
            began = time.perf_counter()
            await stream.publish(funded_subject(request), Funded.of(request, "ledger", None).encode())
            async with asyncio.timeout(WAITED_SECONDS):
                return await future - began - PROVIDER_SECONDS

    found = await asyncio.gather(*(one(index) for index in range(pictures)))
    await subscription.unsubscribe()
    return found


def _request() -> Request:
    return Request(
        generation_id=new_generation_id(),
        user_id=uuid4(),
        kind=Kind.IMAGE,
        model=MODEL,
        prompt=f"A quiet harbour at night, {uuid4()}",
        count=1,
        size="512x512",
        quote=Quote(amount=10_000, unit_price=10_000, price_version=1),
        deadline_at=datetime.now(UTC) + timedelta(minutes=5),
    )


async def run(folder: Path, pictures: int) -> dict[str, float]:
    async with started(folder) as waiting:
        await waiting.ask("PUT", "latency", {"seconds": PROVIDER_SECONDS})
        warm = max(20, pictures // 10)
        await overheads(waiting, warm, rate=RATE)
        single = await overheads(waiting, pictures // 2)
        many = await overheads(waiting, pictures, rate=RATE)
        paid = await waiting.connection.fetchval("SELECT count(*) FROM generator.attempts")
    return {
        "one at a time, p50 ms": percentile(single, 0.5),
        "one at a time, p99 ms": percentile(single, 0.99),
        f"{RATE} a second, p50 ms": percentile(many, 0.5),
        f"{RATE} a second, p99 ms": percentile(many, 0.99),
        "paid calls per picture": paid / (warm + pictures // 2 + pictures),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1000)
    pictures = parser.parse_args().pictures
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        rows = asyncio.run(run(Path(folder), pictures))
    table = Table("", "measured", "goal", title=f"Beyond the provider's own {PROVIDER_SECONDS} s, {pictures} pictures")
    for row, value in rows.items():
        table.add_row(row, f"{value:,.3f}" if value < 10 else f"{value:,.1f}", GOALS.get(row, ""))
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    found = {"rows": rows, "pictures": pictures, "machine": platform.platform(), "python": platform.python_version()}
    (RESULTS / time.strftime("overhead-%Y-%m-%dT%H%M%S.json")).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
