"""Streams and consumers are what the contracts say, whatever happened to them (design.md §4, F7, F8)."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats
import psutil
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import APIError
from typer.testing import CliRunner

from contracts.topology import CONSUMERS, GENERATION, LEDGER_HOLD_REQUESTED, OUTCOMES, STREAMS
from darkroom.embedded import NatsServer
from darkroom.jetstream import RefusedError, ask, connect
from darkroom.main import app
from darkroom.topology.apply import Change, apply, differs, stream_configs

pytestmark = pytest.mark.connected

REPAIR_SECONDS = 10
HEARD_SECONDS = 4
"""Sooner than the watcher looks by itself."""
WATCHER_MEGABYTES = 40


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A broker of its own for every test: they take it apart."""
    server = NatsServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def client(server: NatsServer) -> AsyncIterator[Client]:
    client = await connect(server.nats_url, "test", patient=True)
    yield client
    await client.close()


@contextmanager
def watching(server: NatsServer) -> Iterator[psutil.Process]:
    process = subprocess.Popen(
        [sys.executable, "-m", "darkroom", "topology", "--watch", "--data", "/nowhere"],
        env={**os.environ, "NATS_URL": server.nats_url},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(5)


async def eventually(ask_again: Callable[[], Awaitable[Any]], seconds: float = REPAIR_SECONDS) -> Any:
    give_up_at = time.monotonic() + seconds
    while True:
        try:
            return await ask_again()
        except (RefusedError, NatsError, OSError):
            if time.monotonic() > give_up_at:
                raise
            await asyncio.sleep(0.05)


async def everything(client: Client) -> None:
    """Raises where something is missing or differs."""
    for wanted in stream_configs():
        found = (await ask(client, f"STREAM.INFO.{wanted['name']}"))["config"]
        if differs(wanted, found):
            raise RefusedError(400, 0, f"{wanted['name']} differs")
    for consumer in CONSUMERS:
        await ask(client, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}")


async def test_applied_twice_it_changes_nothing(client: Client) -> None:
    made = await apply(client)
    assert {change.name for change in made if change.noun == "stream"} == {
        "OBJ_claims",
        *(stream.name for stream in STREAMS),
    }
    assert {change.name for change in made if change.noun == "consumer"} == {each.durable for each in CONSUMERS}
    assert {change.done for change in made} == {"created"}
    await everything(client)
    assert await apply(client) == []


async def test_a_new_consumer_starts_where_the_sweeper_does_not_reach(client: Client) -> None:
    """design.md §4: of GENERATION ten minutes back, of OUTCOMES at the beginning."""
    await apply(client)
    for consumer in CONSUMERS:
        config = (await ask(client, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}"))["config"]
        if consumer.stream == OUTCOMES.name:
            assert config["deliver_policy"] == "all"
        else:
            back = datetime.now(UTC) - datetime.fromisoformat(config["opt_start_time"])
            assert timedelta(minutes=9, seconds=50) < back < timedelta(minutes=10, seconds=30)


async def test_the_log_keeps_one_outcome_and_repeats_only_that(client: Client) -> None:
    """design.md §3.4, on the broker itself."""
    await apply(client)
    heard = await client.subscribe("verdict.*")
    await client.flush()
    log = client.jetstream()
    await log.publish("generation.outcome.1", b"first")
    with pytest.raises(APIError):
        await log.publish("generation.outcome.1", b"second")
    assert (await heard.next_msg(2)).data == b"first"
    with pytest.raises(nats.errors.TimeoutError):
        await heard.next_msg(0.3)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("OUTCOMES", {"discard_new_per_subject": False}),
        ("OUTCOMES", {"max_msgs_per_subject": 5}),
        ("OUTCOMES", {"republish": None}),
        ("GENERATION", {"max_age": 3600 * 10**9}),
        ("GENERATION", {"republish": {"src": "generation.funded.*.*.*", "dest": "elsewhere"}}),
        ("GENERATION", {"max_msg_size": 100}),
        ("GENERATION", {"subject_transform": {"src": "generation.funded.*.*.*", "dest": "generation.funded.x"}}),
        ("DEAD", {"sources": [{"name": "CREDITS"}]}),
        ("OBJ_claims", {"max_age": 0}),
    ],
)
async def test_a_wrong_setting_is_corrected_and_nothing_is_lost(
    client: Client, name: str, wrong: dict[str, Any]
) -> None:
    await apply(client)
    subjects = {
        "OUTCOMES": "generation.outcome.1",
        "GENERATION": "generation.funded.a.b.c",
        "DEAD": "dead.x",
        "OBJ_claims": "$O.claims.C.1",
    }
    await client.jetstream().publish(subjects[name], b"kept")
    config = (await ask(client, f"STREAM.INFO.{name}"))["config"]
    await ask(client, f"STREAM.UPDATE.{name}", {**config, **wrong})
    assert await apply(client) == [Change("stream", name, "updated")]
    await everything(client)
    assert (await ask(client, f"STREAM.INFO.{name}"))["state"]["messages"] == 1
    assert await apply(client) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_ack_pending": 1, "ack_wait": 10**9},
        {"headers_only": True},
        {"inactive_threshold": 3600 * 10**9},
        {"max_batch": 1},
        {"max_expires": 10**9},
        {"max_bytes": 1},
        {"backoff": [30 * 10**9, 3600 * 10**9]},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_a_wrong_consumer_is_corrected_and_keeps_its_place(client: Client, wrong: dict[str, Any]) -> None:
    await apply(client)
    consumer = LEDGER_HOLD_REQUESTED
    address = f"{consumer.stream}.{consumer.durable}"
    before = (await ask(client, f"CONSUMER.INFO.{address}"))["config"]
    question = {"stream_name": consumer.stream, "config": {**before, **wrong}, "action": "update"}
    await ask(client, f"CONSUMER.CREATE.{address}", question)
    assert await apply(client) == [Change("consumer", consumer.durable, "updated")]
    after = (await ask(client, f"CONSUMER.INFO.{address}"))["config"]
    assert after == before
    assert after["opt_start_time"] == before["opt_start_time"], "not made anew"
    assert await apply(client) == []


async def test_a_consumer_that_was_paused_goes_on(client: Client) -> None:
    await apply(client)
    consumer = LEDGER_HOLD_REQUESTED
    address = f"{consumer.stream}.{consumer.durable}"
    await ask(client, f"CONSUMER.PAUSE.{address}", {"pause_until": "2126-11-21T00:00:00Z"})
    assert await apply(client) == [Change("consumer", consumer.durable, "updated")]
    assert "paused" not in await ask(client, f"CONSUMER.INFO.{address}")
    assert await apply(client) == []


async def test_what_the_server_refuses_is_said_and_holds_up_nothing_else(client: Client) -> None:
    await ask(client, "STREAM.CREATE.SQUATTER", {"name": "SQUATTER", "subjects": ["generation.outcome.*"]})
    changes = await apply(client)
    refused = {change.name for change in changes if change.done == "refused"}
    assert refused == {OUTCOMES.name, *(each.durable for each in CONSUMERS if each.stream == OUTCOMES.name)}
    assert "overlap" in next(change.reason for change in changes if change.name == OUTCOMES.name)
    assert await ask(client, f"STREAM.INFO.{GENERATION.name}")


async def test_the_watcher_repairs_within_ten_seconds_and_stays_small(server: NatsServer, client: Client) -> None:
    """F7, F8: a consumer deleted, a stream deleted, the broker killed, its disk wiped."""
    with watching(server) as watcher:
        await eventually(lambda: everything(client))
        consumer = LEDGER_HOLD_REQUESTED
        await ask(client, f"CONSUMER.DELETE.{consumer.stream}.{consumer.durable}")
        await eventually(lambda: everything(client), HEARD_SECONDS)
        await ask(client, f"STREAM.DELETE.{OUTCOMES.name}")
        await eventually(lambda: everything(client), HEARD_SECONDS)

        server.kill()
        await asyncio.sleep(2)
        assert watcher.is_running(), "survives a broker that is away"
        server.start()
        await asyncio.to_thread(server.wipe)
        await eventually(lambda: everything(client))
        assert watcher.memory_info().rss / 2**20 < WATCHER_MEGABYTES


async def test_the_watcher_waits_for_a_broker_that_is_not_there_yet(server: NatsServer) -> None:
    server.stop()
    with watching(server) as watcher:
        await asyncio.sleep(2)
        assert watcher.is_running()
        server.start()
        client = await connect(server.nats_url, "test")
        await eventually(lambda: everything(client))
        await client.close()


async def test_the_command_shows_who_says_what_to_whom(server: NatsServer, client: Client) -> None:
    run = CliRunner(env={"NATS_URL": server.nats_url, "COLUMNS": "200"})
    shown = await asyncio.to_thread(run.invoke, app, ["topology", "--data", "/nowhere"])
    assert shown.exit_code == 0, shown.output
    for consumer in CONSUMERS:
        assert consumer.durable in shown.output
    for stream in STREAMS:
        assert stream.name in shown.output
    assert "missing" not in shown.output
    await everything(client)

    server.stop()
    away = await asyncio.to_thread(run.invoke, app, ["topology", "--data", "/nowhere"])
    assert away.exit_code == 1
    assert "does not answer" in away.output
