"""The power is cut, again and again, under NATS and under Postgres: what was acknowledged is there (P3).

A kill -9 cannot show it: the kernel keeps what was written. Here the disk comes back as the device had it.
"""

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import nats
import psutil
import pytest

from contracts.topology import OUTCOMES, outcome_subject
from darkroom.embedded import NatsServer, PostgresServer
from darkroom.topology.apply import apply
from tests.proof.disks import Disk

CUTS = int(os.environ.get("PROOF_CUTS", "20"))
WRITERS = 8
pytestmark = pytest.mark.timeout(60 + 30 * CUTS)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    yield disk
    disk.remove()


async def publish_until_cut(server: NatsServer, known: list[str], seconds: float) -> None:
    """Outcomes under names of their own; `known` gets each that was acknowledged."""
    client = await nats.connect(server.nats_url, allow_reconnect=False, max_outstanding_pings=1)
    jetstream = client.jetstream(timeout=1)
    run = random.getrandbits(64)

    async def write(writer: int) -> None:
        for number in range(10_000):
            subject = outcome_subject(f"{run:x}-{writer}-{number}")  # type: ignore[arg-type]
            try:
                await jetstream.publish(subject, b"x" * 500, stream=OUTCOMES.name)
            except Exception:
                return
            known.append(subject)

    writing = [asyncio.create_task(write(writer)) for writer in range(WRITERS)]
    await asyncio.sleep(seconds)
    os.kill(server.process.pid, signal.SIGSTOP)
    for task in writing:
        task.cancel()
    await asyncio.gather(*writing, return_exceptions=True)


async def lost_by(server: NatsServer, known: list[str]) -> list[str]:
    client = await nats.connect(server.nats_url)
    try:
        jetstream = client.jetstream()
        kept: set[str] = set()
        info = await jetstream.stream_info(OUTCOMES.name, subjects_filter=">")
        kept.update(info.state.subjects or {})
        return [subject for subject in known if subject not in kept]
    except nats.js.errors.NotFoundError:
        return list(known)
    finally:
        await client.close()


async def cut_nats(disk: Disk, cuts: int) -> tuple[int, int]:
    """How many outcomes were acknowledged, and how many of those were lost."""
    server = NatsServer(disk.place)
    known: list[str] = []
    lost = 0
    server.start()
    client = await nats.connect(server.nats_url)
    await apply(client)
    await client.close()
    os.sync()  # the streams themselves are older than what is about to happen
    try:
        for _ in range(cuts):
            await publish_until_cut(server, known, random.uniform(0.2, 0.6))
            copy = disk.freeze()
            server.kill()
            disk.replace(copy)
            server.start()
            missing = await lost_by(server, known)
            lost += len(missing)
            gone = set(missing)
            known = [subject for subject in known if subject not in gone]
    finally:
        server.kill()
    return len(known) + lost, lost


async def test_p3_no_outcome_that_nats_acknowledged_is_lost(disk: Disk) -> None:
    acknowledged, lost = await cut_nats(disk, CUTS)
    print(f"NATS: {CUTS} cuts, {acknowledged} acknowledged, {lost} lost")
    assert acknowledged > CUTS
    assert lost == 0


async def test_planted_a_log_that_is_synced_every_two_minutes_loses(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without this the test above proves nothing."""
    config = NatsServer._config
    monkeypatch.setattr(NatsServer, "_config", lambda self: config(self).replace("  sync_interval: always\n", ""))
    acknowledged, lost = await cut_nats(disk, 2)
    print(f"NATS with its default: 2 cuts, {acknowledged} acknowledged, {lost} lost")
    assert lost > 0


async def test_p3_no_row_that_postgres_committed_is_lost(disk: Disk) -> None:
    server = PostgresServer(disk.place)
    await asyncio.to_thread(server.start)
    connection = await asyncpg.connect(server.admin_url)
    await connection.execute("CREATE TABLE promises (id bigint PRIMARY KEY)")
    await connection.close()
    known: list[int] = []

    async def write(own: asyncpg.Connection, writer: int, cut: int) -> None:
        try:
            for number in range(100_000):
                id_ = (cut * WRITERS + writer) * 1_000_000 + number
                await own.execute("INSERT INTO promises VALUES ($1)", id_)
                known.append(id_)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncio.CancelledError):
            return

    try:
        for cut in range(CUTS):
            before = len(known)
            writers = [await asyncpg.connect(server.admin_url) for _ in range(WRITERS)]
            writing = [asyncio.create_task(write(own, writer, cut)) for writer, own in enumerate(writers)]
            await asyncio.sleep(random.uniform(0.3, 0.8))
            while len(known) == before:
                await asyncio.sleep(0.01)
            # Every one of them at once, or one would write on while the disk is copied.
            postmaster = psutil.Process(server.process.pid)
            stopped = [postmaster, *postmaster.children(recursive=True)]
            for process in stopped:
                process.suspend()
            copy = disk.freeze()
            for process in stopped:
                process.kill()
            server.kill()
            for task in writing:
                task.cancel()
            for own in writers:
                own.terminate()
            disk.replace(copy)
            await asyncio.to_thread(server.start)
            connection = await asyncpg.connect(server.admin_url)
            kept = {row["id"] for row in await connection.fetch("SELECT id FROM promises")}
            await connection.close()
            assert set(known) <= kept, f"cut {cut}: {len(set(known) - kept)} of {len(known)} are lost"
        print(f"Postgres: {CUTS} cuts, {len(known)} committed, 0 lost")
        assert len(known) > CUTS
    finally:
        server.kill()
