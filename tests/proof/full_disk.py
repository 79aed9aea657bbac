"""The disk is full: what was taken stays, what was not is refused, and there is room again (F9, F38)."""

import asyncio
from pathlib import Path

import asyncpg
import nats
import pytest

from contracts.topology import OUTCOMES, outcome_subject
from darkroom.embedded import NatsServer, PostgresServer
from darkroom.topology.apply import apply
from tests.proof.disks import grow, small

pytestmark = pytest.mark.timeout(300)


async def test_f9_a_full_broker_refuses_and_what_it_took_stays(tmp_path: Path) -> None:
    with small(tmp_path / "disk", 24) as place:
        server = NatsServer(place)
        server.start()
        try:
            client = await nats.connect(server.nats_url)
            await apply(client)
            jetstream = client.jetstream(timeout=3)
            taken: list[str] = []
            with pytest.raises((nats.errors.Error, nats.js.errors.Error, asyncio.TimeoutError)):
                for number in range(1000):
                    subject = outcome_subject(f"full-{number}")  # type: ignore[arg-type]
                    await jetstream.publish(subject, b"x" * 100_000, stream=OUTCOMES.name)
                    taken.append(subject)
            await client.close()
            assert taken
            grow(place, 200)
            server.stop()
            server.start()
            client = await nats.connect(server.nats_url)
            jetstream = client.jetstream()
            for subject in taken:
                assert len((await jetstream.get_last_msg(OUTCOMES.name, subject)).data) == 100_000
            await jetstream.publish(outcome_subject("after"), b"x", stream=OUTCOMES.name)  # type: ignore[arg-type]
            await client.close()
        finally:
            server.kill()


async def test_f38_a_full_database_refuses_and_what_it_committed_stays(tmp_path: Path) -> None:
    with small(tmp_path / "disk", 130) as place:
        place.chmod(0o755)
        server = PostgresServer(place)
        await asyncio.to_thread(server.start)
        try:
            connection = await asyncpg.connect(server.admin_url)
            await connection.execute("CREATE TABLE promises (id bigint PRIMARY KEY, words text)")
            committed = []
            with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
                for number in range(1000):
                    await connection.execute(
                        "INSERT INTO promises SELECT $1, string_agg(gen_random_uuid()::text, '') "
                        "FROM generate_series(1, 30000)",
                        number,
                    )
                    committed.append(number)
            assert committed
            connection.terminate()
            grow(place, 400)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            connection = await asyncpg.connect(server.admin_url)
            kept = [row["id"] for row in await connection.fetch("SELECT id FROM promises ORDER BY id")]
            assert kept[: len(committed)] == committed
            await connection.execute("INSERT INTO promises VALUES (-1, 'after')")
            await connection.close()
        finally:
            server.kill()
