"""The service as it runs: facts in, outcomes out, HTTP beside it."""

import asyncio
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from nats.aio.client import Client
from sqlalchemy.ext.asyncio import create_async_engine

from contracts.facts import CONTENT_TYPE, Ending, Kind, Outcome, Verdict
from contracts.ids import new_generation_id
from contracts.topology import outcome_subject, verdict_subject
from darkroom.jetstream import ask
from runtime.consumption import Consumers
from runtime.database import Database
from storage.objects import name_of
from storage.objects.local import LocalObjects
from storage.tables import metadata

from .recorded import video
from .samples import Provider, names, outcome_of, picture, publish_rendered, rendered, rows

pytestmark = pytest.mark.connected
FILM = video(160, 90, 1)


async def closed(database: Database, generation_id: object) -> dict[str, Any]:
    """The outcome that is recorded, once one is."""
    async with asyncio.timeout(5):
        while True:
            query = "SELECT CAST(outcome AS text) AS outcome FROM generations WHERE generation_id = :id"
            found = await rows(database, query, id=generation_id)
            if found and found[0]["outcome"] is not None:
                return dict(json.loads(found[0]["outcome"]))
            await asyncio.sleep(0.02)


async def test_rendered_in_completed_out(
    consuming: Consumers, bus: Client, provider: Provider, database: Database
) -> None:
    """Design §2.4: the outcome is in the log, on `verdict.<id>`, and recorded here."""
    fact = rendered(provider.url("a", picture()))
    generation_id = fact.data.request.generation_id
    verdict = await bus.subscribe(verdict_subject(generation_id))
    await publish_rendered(bus, fact)
    outcome = await outcome_of(bus, generation_id)
    assert (outcome.data.verdict, outcome.source) == ("completed", "storage")
    assert Outcome.decode((await verdict.next_msg(2)).data) == outcome
    await verdict.unsubscribe()
    recorded = await closed(database, generation_id)
    assert recorded == outcome.model_dump(mode="json", exclude_none=True)


async def test_slow_videos_keep_no_picture_waiting(consuming: Consumers, bus: Client, provider: Provider) -> None:
    """Minutes of film have places of their own: a picture is done while all of these still wait."""
    ended = asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        await ended.wait()
        return web.Response(status=404)

    films = [rendered(provider.url(f"film-{number}", slow), kind=Kind.VIDEO) for number in range(40)]
    for film in films:
        await publish_rendered(bus, film)
    await provider.is_asked("film-0")
    fact = rendered(provider.url("a", picture()))
    await publish_rendered(bus, fact)
    try:
        assert (await outcome_of(bus, fact.data.request.generation_id)).data.verdict == "completed"
    finally:
        ended.set()
    for film in films:
        assert (await outcome_of(bus, film.data.request.generation_id, seconds=60)).data.verdict == "failed"


async def test_rendered_twice_is_one_outcome(
    consuming: Consumers, bus: Client, provider: Provider, database: Database, objects: LocalObjects
) -> None:
    """Design §3.2, §3.4: also after the first was closed."""
    fact = rendered(provider.url("a", picture()))
    for _ in range(3):
        await publish_rendered(bus, fact)
    outcome = await outcome_of(bus, fact.data.request.generation_id)
    await closed(database, fact.data.request.generation_id)
    await publish_rendered(bus, fact)
    await settled(bus, "GENERATION", "storage-store-rendered-interactive")
    assert await outcome_of(bus, fact.data.request.generation_id) == outcome
    assert len(await names(objects)) == 1


async def test_a_lost_race(consuming: Consumers, bus: Client, provider: Provider, database: Database) -> None:
    """Design §3.4: `cancelled` is in the log before we have heard it: whoever loses cleans up and records it."""
    generation_id = new_generation_id()
    theirs = Outcome.of(Ending(generation_id=generation_id, verdict=Verdict.CANCELLED), "gateway", None)

    async def cancel_first(_: web.Request) -> web.StreamResponse:
        await bus.jetstream().publish(
            outcome_subject(generation_id), theirs.encode(), headers={"content-type": CONTENT_TYPE}
        )
        return web.Response(body=picture())

    async with deaf_to_outcomes(bus):
        await publish_rendered(bus, rendered(provider.url("a", cancel_first), generation_id=generation_id))
        assert (await closed(database, generation_id))["data"]["verdict"] == "cancelled"
        await settled(bus, "GENERATION", "storage-store-rendered-interactive")
        assert await outcome_of(bus, generation_id) == theirs
        assert await rows(database, "SELECT * FROM assets WHERE generation_id = :id", id=generation_id) == []


@asynccontextmanager
async def deaf_to_outcomes(bus: Client) -> AsyncIterator[None]:
    """Outcomes reach storage only through what the log answers to its own."""
    pause = "CONSUMER.PAUSE.OUTCOMES.storage-close-outcomes"
    await ask(bus, pause, {"pause_until": "2100-01-01T00:00:00Z"})
    try:
        yield
    finally:
        await ask(bus, pause, {})


async def test_after_a_wipe_of_the_log_the_recorded_outcome_is_said_again(
    consuming: Consumers, bus: Client, provider: Provider, database: Database
) -> None:
    """Design §3.1, §3.5: the rows remember; the redelivered fact brings the same outcome back."""
    fact = rendered(provider.url("a", picture()))
    await publish_rendered(bus, fact)
    outcome = await outcome_of(bus, fact.data.request.generation_id)
    await closed(database, fact.data.request.generation_id)
    await ask(bus, "STREAM.PURGE.OUTCOMES")
    await publish_rendered(bus, fact)
    assert await outcome_of(bus, fact.data.request.generation_id) == outcome
    assert provider.asked["a"] == 1


async def test_outcomes_of_others_are_recorded(consuming: Consumers, bus: Client, database: Database) -> None:
    """Design §3.3: also where nothing was open, in batches, and nothing starts after."""
    outcomes = [
        Outcome.of(Ending(generation_id=new_generation_id(), verdict=Verdict.DECLINED), "ledger", None)
        for _ in range(200)
    ]
    for outcome in outcomes:
        await bus.jetstream().publish(outcome_subject(outcome.data.generation_id), outcome.encode())
    for outcome in outcomes:
        assert (await closed(database, outcome.data.generation_id))["id"] == str(outcome.id)


async def test_a_fact_that_cannot_be_read_fails_the_generation(consuming: Consumers, bus: Client) -> None:
    """Design §4: the id comes from the subject; nobody waits for the deadline."""
    generation_id = new_generation_id()
    await bus.jetstream().publish(f"generation.rendered.image.interactive.{generation_id}", b'{"not": "a fact"}')
    outcome = await outcome_of(bus, generation_id)
    assert (outcome.data.verdict, outcome.source) == ("failed", "storage")


async def settled(bus: Client, stream: str, durable: str) -> None:
    """All that was published is acknowledged."""
    async with asyncio.timeout(10):
        while True:
            found = await ask(bus, f"CONSUMER.INFO.{stream}.{durable}")
            if not found["num_pending"] + found["num_ack_pending"]:
                return
            await asyncio.sleep(0.05)


# -- the process ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def process(database_url: str, nats_url: str, root: Path, **environment: str) -> AsyncIterator[tuple[str, Any]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = subprocess.Popen(
        [sys.executable, "-m", "storage"],
        env={
            "PATH": os.environ["PATH"],
            "STORAGE_DATABASE_URL": database_url,
            "STORAGE_PORT": str(port),
            "NATS_URL": nats_url,
            "MEDIA_ROOT": str(root),
            **environment,
        },
    )
    try:
        yield f"http://127.0.0.1:{port}", started
    finally:
        started.kill()
        started.wait()


async def ready(base: str, http: aiohttp.ClientSession) -> None:
    found = ""
    for _ in range(800):
        try:
            async with http.get(f"{base}/ready") as answer:
                found = await answer.text()
                if answer.status == 200:
                    return
        except aiohttp.ClientError as error:
            found = str(error)
        await asyncio.sleep(0.05)
    raise AssertionError(found)


async def test_the_process_lives_serves_and_hands_over(
    database_url: str, bus: Client, nats_server: Any, provider: Provider, tmp_path: Path
) -> None:
    """Ready means database, bus, consumers and store; kill -9 in mid-job loses nothing; SIGTERM lets it finish."""
    allowed = {"OUTBOUND_ALLOW": f"127.0.0.1:{provider.port}"}
    await wait_less_for_the_dead(bus)

    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(1)
        return web.Response(body=picture(300, 300))

    async with aiohttp.ClientSession() as http:
        async with process(database_url, nats_server.nats_url, tmp_path / "media", **allowed) as (base, started):
            await ready(base, http)
            fact = rendered(provider.url("a", picture(300, 300)))
            await publish_rendered(bus, fact)
            [asset] = (await outcome_of(bus, fact.data.request.generation_id)).data.assets
            for key in (asset.key, *asset.variants.values()):
                async with http.get(f"{base}/media/{key}") as answer:
                    assert answer.status == 200
            for path, words in (("/live", '"live": true'), ("/metrics", "facts_handled_total")):
                async with http.get(base + path) as answer:
                    assert words in await answer.text()
            async with http.get(f"{base}/elsewhere") as answer:
                assert (answer.status, (await answer.json())["statusCode"]) == (404, 404)
            killed = rendered(provider.url("killed", slow))
            await publish_rendered(bus, killed)
            await provider.is_asked("killed")
            started.kill()
        async with process(database_url, nats_server.nats_url, tmp_path / "media", **allowed) as (base, started):
            ended = rendered(provider.url("ended", slow))
            await publish_rendered(bus, ended)
            await provider.is_asked("ended")
            assert (await outcome_of(bus, killed.data.request.generation_id)).data.verdict == "completed"
            last = rendered(provider.url("last", slow))
            await publish_rendered(bus, last)
            await provider.is_asked("last")
            started.send_signal(signal.SIGTERM)
            await asyncio.to_thread(started.wait, 10)
            assert (await outcome_of(bus, last.data.request.generation_id)).data.verdict == "completed"


async def test_p17_killed_again_and_again_what_is_stored_has_its_bytes(
    database_url: str, database: Database, bus: Client, nats_server: Any, provider: Provider, tmp_path: Path
) -> None:
    """kill -9 wherever it happens to be, with pictures and a film under way; then every hash is looked at."""
    await wait_less_for_the_dead(bus)

    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(random.uniform(0, 0.2))
        film = request.path.endswith("film")
        return web.Response(body=FILM if film else picture(40, 30, seed=int(request.path[1:])))

    facts = [rendered(provider.url(str(number), slow)) for number in range(40)]
    facts.append(rendered(provider.url("film", slow), kind=Kind.VIDEO, size="64x64"))
    for fact in facts:
        await publish_rendered(bus, fact)
    root, allowed = tmp_path / "media", {"OUTBOUND_ALLOW": f"127.0.0.1:{provider.port}"}
    async with aiohttp.ClientSession() as http:
        for _ in range(2):  # a fact that was held by five dead processes is taken for what kills them
            async with process(database_url, nats_server.nats_url, root, **allowed) as (base, started):
                await ready(base, http)
                await asyncio.sleep(random.uniform(0, 0.3))
                started.kill()
        async with process(database_url, nats_server.nats_url, root, **allowed):
            for fact in facts:
                outcome = await outcome_of(bus, fact.data.request.generation_id, seconds=60)
                assert outcome.data.verdict == "completed"
    objects = LocalObjects(root)
    ids = [fact.data.request.generation_id for fact in facts]
    stored = await rows(database, "SELECT * FROM assets WHERE generation_id = ANY(:ids)", ids=ids)
    assert [row["state"] for row in stored] == ["stored"] * len(facts)
    for row in stored:
        content = b"".join([chunk async for chunk in objects.open(name_of(row["owner_id"], row["sha256"]))])
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (row["sha256"], row["size_bytes"])
    await objects.close()


async def wait_less_for_the_dead(bus: Client) -> None:
    """The broker gives what a dead process held to another after 3 s instead of 30."""
    for name in ("storage-store-rendered-interactive", "storage-store-recordings-interactive"):
        config = (await ask(bus, f"CONSUMER.INFO.GENERATION.{name}"))["config"] | {"ack_wait": 3_000_000_000}
        question = {"stream_name": "GENERATION", "config": config, "action": "update"}
        await ask(bus, f"CONSUMER.CREATE.GENERATION.{name}", question)


async def test_a_store_that_cannot_be_written_to_is_not_ready(
    database_url: str, bus: Client, nats_server: Any, tmp_path: Path
) -> None:
    (tmp_path / "media").write_bytes(b"a file where the folder should be")
    async with (
        process(database_url, nats_server.nats_url, tmp_path / "media") as (base, _),
        aiohttp.ClientSession() as http,
    ):
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            try:
                async with http.get(f"{base}/ready") as answer:
                    problems = (await answer.json())["problems"]
                    if answer.status == 503 and [each for each in problems if each.startswith("check_store")]:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
        raise AssertionError("never said so")


# -- tables ---------------------------------------------------------------------------------------------------


async def test_the_tables_are_what_the_migrations_make(database_url: str) -> None:
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        differences = await connection.run_sync(
            lambda real: compare_metadata(MigrationContext.configure(real), metadata)
        )
    await engine.dispose()
    assert [each for each in differences if each[1] is None or getattr(each[1], "name", "") != "alembic_version"] == []
