"""`python -m bench.storage`: what storage takes for keeping and serving, beside the least that could be, in one run.

A storage process by itself, on a real NATS, a real Postgres and local files. 1 MB pictures are said to be rendered, and
the time is taken until each is stored; beside it, two processes decode the same picture with Pillow, encode it as WebP
and write it to the disk. A 1 MB file is then fetched from storage, from aiohttp, which has the kernel send it, and,
where nginx is installed, from nginx with sendfile and from a storage that hands over to it by X-Accel-Redirect. At last
many small pictures are stored, and storage's memory is looked at.
"""

import argparse
import asyncio
import contextlib
import io
import json
import multiprocessing
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import aiohttp
import nats
import psutil
from aiohttp import web
from nats.aio.client import Client
from PIL import Image
from rich.console import Console
from rich.table import Table

from bench import RESULTS, serving
from contracts.facts import Asset, Kind, Outcome, Output, Rendered, Rendering, Request
from contracts.ids import new_generation_id
from contracts.money import Quote
from contracts.topology import rendered_subject
from darkroom.embedded import NatsServer, PostgresServer
from darkroom.embedded.ports import free_port
from darkroom.migration import migrate, service_urls
from darkroom.topology.apply import apply

IN_FLIGHT = 32
RAW_PROCESSES = 2
WAIT_SECONDS = 600
MOST_GROWTH_MB = 16.0
"""Of memory, while the last four fifths of all objects come."""


class Bench:
    """One storage process and a provider for it."""

    def __init__(
        self,
        client: Client,
        process: psutil.Process,
        url: str,
        provider: "Provider",
        begin_another: Callable[..., contextlib.AbstractAsyncContextManager[tuple[str, psutil.Process]]],
    ) -> None:
        self._client = client
        self._stream = client.jetstream(timeout=30, publish_async_max_pending=IN_FLIGHT)
        self.process = process
        self.url = url
        self.provider = provider
        self.begin_another = begin_another
        """One more process of storage, with other settings; its address and itself."""

    async def store(self, content: Callable[[int], bytes], number: int) -> tuple[float, Outcome]:
        """Has so many pictures stored, IN_FLIGHT at a time; seconds, and the last outcome."""
        places = asyncio.Semaphore(IN_FLIGHT)
        waiting: dict[UUID, asyncio.Future[Outcome]] = {}
        last: Outcome | None = None

        async def ended(message: Any) -> None:
            waiting.pop(UUID(message.subject.rsplit(".", 1)[-1])).set_result(Outcome.decode(message.data))

        async def one(index: int) -> None:
            nonlocal last
            async with places:
                generation_id = new_generation_id()
                self.provider.contents[str(generation_id)] = content(index)
                waiting[generation_id] = asyncio.get_running_loop().create_future()
                future = waiting[generation_id]
                fact = _rendered(generation_id, f"{self.provider.url}/{generation_id}")
                await self._stream.publish(rendered_subject(fact.data.request), fact.encode())
                async with asyncio.timeout(WAIT_SECONDS):
                    last = await future
                assert last.data.assets, last.data.failure
                del self.provider.contents[str(generation_id)]

        subscription = await self._client.subscribe("verdict.*", cb=ended)
        began = time.perf_counter()
        await asyncio.gather(*(one(index) for index in range(number)))
        seconds = time.perf_counter() - began
        await subscription.unsubscribe()
        assert last is not None
        return seconds, last


class Provider:
    """Gives each picture once, from memory."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        return web.Response(body=self.contents[request.path[1:]], content_type="image/png")


@contextlib.asynccontextmanager
async def listening(handler: Any) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@contextlib.asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Bench]:
    bus, database = NatsServer(folder), PostgresServer(folder)
    bus.start()
    database.start()
    provider = Provider()
    try:
        admin_url = urlsplit(database.admin_url)._replace(path="/darkroom").geturl()
        urls = service_urls(admin_url, dict.fromkeys(("gateway", "generator", "storage", "ledger"), "bench"))
        await migrate(admin_url, urls)
        async with await nats.connect(bus.nats_url) as client, listening(provider.answer) as provider.url:
            await apply(client)
            settings = {
                "NATS_URL": bus.nats_url,
                "STORAGE_DATABASE_URL": urls["storage"],
                "MEDIA_STORAGE_BACKEND": "local",
                "MEDIA_ROOT": str(folder / "media"),
                "OUTBOUND_ALLOW": provider.url.removeprefix("http://"),
                "STORAGE_LOG_LEVEL": "WARNING",
            }

            begin = partial(_storage, settings)
            async with begin() as (url, process):
                yield Bench(client, process, url, provider, begin)
    finally:
        database.stop()
        bus.stop()


@contextlib.asynccontextmanager
async def _storage(settings: dict[str, str], **more: str) -> AsyncIterator[tuple[str, psutil.Process]]:
    """A process of storage, ready; its address and itself."""
    port = str(free_port())
    process = _begin([sys.executable, "-m", "storage"], **settings, **more, STORAGE_PORT=port)
    try:
        await _ready(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _begin(command: list[str], **settings: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env={**os.environ, **settings})


async def _ready(url: str) -> None:
    async with aiohttp.ClientSession() as http:
        for _ in range(300):
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(f"{url}/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
    raise TimeoutError("storage is not ready")


def _rendered(generation_id: UUID, url: str) -> Rendered:
    request = Request(
        generation_id=generation_id,
        user_id=uuid4(),
        kind=Kind.IMAGE,
        model="dall-e-2",
        prompt="A quiet harbour at night",
        count=1,
        quote=Quote(amount=1, unit_price=1, price_version=1),
        deadline_at=datetime.now(UTC) + timedelta(hours=1),
    )
    return Rendered.of(Rendering(request=request, provider="bench", outputs=(Output(index=0, url=url),)), "bench", None)


def picture(side: int, noise: int) -> bytes:
    """A PNG: as many grey levels of noise as make it as large as wanted."""
    output = io.BytesIO()
    Image.effect_noise((side, side), noise).convert("RGB").save(output, "PNG")
    return output.getvalue()


def _raw(content: bytes, folder: str, number: int) -> None:
    for index in range(number):
        with Image.open(io.BytesIO(content)) as image:
            output = io.BytesIO()
            image.convert("RGB").save(output, "WEBP", quality=82)
        with Path(folder, f"{os.getpid()}-{index}").open("wb") as file:
            file.write(output.getvalue())
            os.fsync(file.fileno())


def raw(content: bytes, folder: Path, number: int) -> float:
    """Pictures per second on both cores, with nothing around the work itself."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(RAW_PROCESSES) as pool:
        pool.starmap(_raw, [(content, str(folder), 1)] * RAW_PROCESSES)
        began = time.perf_counter()
        pool.starmap(_raw, [(content, str(folder), number // RAW_PROCESSES)] * RAW_PROCESSES, chunksize=1)
        return number / (time.perf_counter() - began)


async def serve(bench: Bench, folder: Path, asset: Asset, number: int) -> dict[str, float]:
    """The rows about serving one file that is stored."""
    media = folder / "media"
    name, key, size = next(media.rglob(asset.sha256)).relative_to(media), asset.key, asset.size_bytes
    with contextlib.ExitStack() as running:
        address, process = running.enter_context(serving.aiohttp_files(media))
        servers = {
            "storage": (f"{bench.url}/media/{key}", [bench.process]),
            "aiohttp with sendfile": (f"{address}/{name}", [process]),
        }
        if serving.nginx_path() is None:
            console = Console(stderr=True)
            console.print("nginx is not installed: what depends on it is not measured.", style="bold red")
            found = await asyncio.to_thread(serving.measured, servers, number, size)
        else:
            async with bench.begin_another(MEDIA_ACCEL_PREFIX=serving.HANDED_OVER) as (behind, handing):
                front, nginx = running.enter_context(serving.nginx(folder / "nginx", media, behind))
                servers["nginx"] = (f"{front}/plain/{name}", [nginx])
                servers["storage by X-Accel-Redirect"] = (f"{front}/media/{key}", [handing, nginx])
                found = await asyncio.to_thread(serving.measured, servers, number, size)
    rows = {}
    for who, each in found.items():
        rows[f"{size / 1e6:.2f} MB from {who}, per second"] = serving.middle(each.per_second)
        rows[f"CPU-ms of {who} for it"] = serving.middle(each.cpu_ms)
    if "nginx" in found:
        rows[RATIO_OF_SERVING] = found["storage"].ratio(found["nginx"])
        rows[RATIO_OF_HANDING_OVER] = found["storage by X-Accel-Redirect"].ratio(found["nginx"])
    return rows


async def measure(bench: Bench, folder: Path, pictures: int, objects: int) -> dict[str, float]:
    large = [picture(620, noise) for noise in range(60, 68)]
    await bench.store(lambda index: large[index % 8], 16)  # statements planned, connections made
    ours, theirs, cpu = [], [], []
    (folder / "raw").mkdir()
    for _ in range(3):
        before = sum(bench.process.cpu_times()[:2])
        seconds, last = await bench.store(lambda index: large[index % 8], pictures)
        cpu.append(1000 * (sum(bench.process.cpu_times()[:2]) - before) / pictures)
        ours.append(pictures / seconds)
        theirs.append(await asyncio.to_thread(raw, large[0], folder / "raw", pictures))
    [asset] = last.data.assets
    rows = await serve(bench, folder, asset, 400)
    small = [picture(64, noise) for noise in range(10, 110)]
    await bench.store(lambda index: random.choice(small), max(1, objects // 5))
    early = bench.process.memory_info().rss
    seconds, _ = await bench.store(lambda index: random.choice(small), objects - objects // 5)
    late = bench.process.memory_info().rss
    return {
        f"ingest of {len(large[0]) / 1e6:.2f} MB pictures, per second": serving.middle(ours),
        "Pillow decode + WebP encode + fsync on both cores, per second": serving.middle(theirs),
        "ratio of ingest": serving.middle([a / b for a, b in zip(ours, theirs, strict=True)]),
        "CPU-ms of storage per 1 MB picture": serving.middle(cpu),
        **rows,
        "small pictures, per second": (objects - objects // 5) / seconds,
        f"memory after {objects // 5:,} objects, MB": early / 1e6,
        f"memory after {objects:,} objects, MB": late / 1e6,
        GROWTH: (late - early) / 1e6,
    }


async def run(folder: Path, pictures: int, objects: int) -> dict[str, float]:
    async with started(folder) as bench:
        return await measure(bench, folder, pictures, objects)


RATIO_OF_SERVING = "ratio of serving to nginx"
RATIO_OF_HANDING_OVER = "ratio of handing over to nginx"
GROWTH = "growth meanwhile, MB"
GOALS = {
    "ratio of ingest": "≥ 0.6",
    RATIO_OF_SERVING: "≥ 0.5",
    GROWTH: f"≤ {MOST_GROWTH_MB:.0f}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--objects", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        rows = asyncio.run(run(Path(folder), asked.pictures, asked.objects))
    table = Table("", "measured", "goal", title=f"Storage, {asked.pictures} pictures, {asked.objects} objects")
    for row, value in rows.items():
        table.add_row(row, f"{value:,.2f}", GOALS.get(row, ""))
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    found = {"rows": rows, "machine": platform.platform(), "python": platform.python_version()}
    (RESULTS / time.strftime("storage-%Y-%m-%dT%H%M%S.json")).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
