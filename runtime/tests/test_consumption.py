"""The pull loop against a real broker: what style.md calls the connected tier."""

import asyncio
import itertools
import json
import sys
from typing import Any

import pytest
from prometheus_client import REGISTRY

from contracts.topology import DEAD
from runtime.broker import make_broker, publish
from runtime.consumption import Consumers
from runtime.settings import BrokerSettings
from runtime.tests.stage import Note, Stage, consuming, settled, until

pytestmark = pytest.mark.connected


async def test_every_fact_is_handled_once_and_acknowledged(stage: Stage) -> None:
    seen: list[int] = []
    consumers = Consumers(stage.broker)

    @consumers.each(stage.consumer, Note, slots=8)
    async def handle(note: Note) -> None:
        seen.append(note.number)

    await stage.send(*range(50))
    async with consuming(consumers):
        await until(lambda: len(seen) == 50)
        await until(lambda: settled(stage))
    assert sorted(seen) == list(range(50))
    failed = {"consumer": stage.consumer.durable, "result": "failed"}
    assert REGISTRY.get_sample_value("facts_handled_total", failed) == 0, "there before the first one"


async def test_no_more_facts_are_taken_than_there_are_slots(stage: Stage) -> None:
    """A prefetched fact would wait here while another process is idle, and be delivered twice (reliability §0.4)."""
    running, most = 0, 0
    consumers = Consumers(stage.broker)

    async def all_taken_run() -> bool:
        """Of one that is done the broker may hear a moment after it gave another."""
        info = await stage.jetstream.consumer_info(stage.name, stage.consumer.durable)
        return (info.num_ack_pending or 0) <= 3

    @consumers.each(stage.consumer, Note, slots=3)
    async def handle(note: Note) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await until(all_taken_run)
        await asyncio.sleep(0.02)
        running -= 1

    await stage.send(*range(12))
    async with consuming(consumers):
        await until(lambda: settled(stage))
    assert most == 3


async def test_an_unreadable_fact_goes_to_dead_at_once_and_blocks_nobody(stage: Stage) -> None:
    """F12: a body that is JSON but no fact, and one that is not even JSON."""
    seen: list[int] = []
    told: list[str] = []
    consumers = Consumers(stage.broker)

    async def unreadable(subject: str, payload: bytes) -> None:
        told.append(subject)

    @consumers.each(stage.consumer, Note, slots=4, unreadable=unreadable)
    async def handle(note: Note) -> None:
        seen.append(note.number)

    for body in (b"123", b"\xff\x00 not json"):
        await publish(stage.broker, f"{stage.name}.x", body, stream=stage.name, content_type="application/json")
    await stage.send(1)
    async with consuming(consumers):
        await until(lambda: settled(stage))
    assert seen == [1]
    assert told == [f"{stage.name}.x"] * 2
    letter = (await stage.dead())[0]
    assert letter["reason"].startswith("unreadable")
    assert letter["subject"] == f"{stage.name}.x"


async def test_a_defect_is_tried_again_later_and_then_buried(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.consumption.NAK_DELAYS_SECONDS", (0.05,))
    calls: list[float] = []
    consumers = Consumers(stage.broker)

    @consumers.each(stage.consumer, Note, slots=1)
    async def handle(note: Note) -> None:
        calls.append(asyncio.get_running_loop().time())
        raise ValueError("always")

    await stage.send(7)
    async with consuming(consumers):
        await until(lambda: settled(stage))
    assert len(calls) == 5
    assert all(later - earlier >= 0.04 for earlier, later in itertools.pairwise(calls))
    letter = (await stage.dead())[0]
    assert letter["reason"] == "ValueError: always"
    assert json.loads(letter["payload"])["number"] == 7


async def test_what_dead_does_not_take_is_not_lost(stage: Stage) -> None:
    """Its disk may be full: the fact comes again until there is a letter of it."""
    tried = 0
    consumers = Consumers(stage.broker)

    async def unreadable(subject: str, payload: bytes) -> None:
        nonlocal tried
        tried += 1

    @consumers.each(stage.consumer, Note, slots=1, unreadable=unreadable)
    async def handle(note: Note) -> None: ...

    async def let_dead_take(config: dict[str, Any]) -> None:
        await stage.broker.connection.request("$JS.API.STREAM.UPDATE.DEAD", json.dumps(config).encode())

    await publish(stage.broker, f"{stage.name}.x", b"123", stream=stage.name, content_type="application/json")
    await let_dead_take(DEAD.config() | {"max_msg_size": 1})
    try:
        async with consuming(consumers):
            await until(lambda: tried == 2)
            assert await stage.dead() == []
            await let_dead_take(DEAD.config())
            await until(lambda: settled(stage))
    finally:
        await let_dead_take(DEAD.config())
    assert [letter["subject"] for letter in await stage.dead()] == [f"{stage.name}.x"]


async def test_a_dependency_that_is_away_makes_the_fact_wait_in_place(stage: Stage) -> None:
    """An outage of a minute must not use up the deliveries: the same delivery goes on when the dependency is back."""
    calls = 0
    consumers = Consumers(stage.broker)

    @consumers.each(stage.consumer, Note, slots=1)
    async def handle(note: Note) -> None:
        nonlocal calls
        calls += 1
        if calls < 4:
            raise ConnectionRefusedError("database is away")

    await stage.send(1)
    async with consuming(consumers):
        await until(lambda: settled(stage))
    info = await stage.jetstream.consumer_info(stage.name, stage.consumer.durable)
    assert calls == 4
    assert info.delivered is not None
    assert info.delivered.consumer_seq == 1


async def test_a_long_job_is_not_delivered_twice(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats hold a fact for as long as its handler runs, also while it waits for its batch."""
    monkeypatch.setattr("runtime.consumption.IN_PROGRESS_EVERY_SECONDS", 0.2)
    await stage.jetstream.delete_consumer(stage.name, stage.consumer.durable)
    await stage.make_consumer(ack_wait_seconds=1)
    calls = 0
    consumers = Consumers(stage.broker)

    @consumers.each(stage.consumer, Note, slots=1)
    async def handle(note: Note) -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(2.5)

    await stage.send(1)
    async with consuming(consumers):
        await until(lambda: settled(stage))
    assert calls == 1


async def test_at_shutdown_what_is_begun_finishes_and_the_rest_is_handed_back_at_once(stage: Stage) -> None:
    begun = asyncio.Event()
    finished: list[int] = []
    first, second = Consumers(stage.broker), Consumers(stage.broker)

    @first.batch(stage.consumer, Note, size=2)
    async def slow(notes: Any) -> None:
        begun.set()
        await asyncio.sleep(0.5)
        finished.extend(note.number for note in notes)

    @second.each(stage.consumer, Note, slots=4)
    async def fast(note: Note) -> None:
        finished.append(note.number)

    await stage.send(*range(4))
    await first.start()
    await asyncio.wait_for(begun.wait(), 5)
    await first.stop()
    assert len(finished) in {1, 2}
    async with consuming(second):
        await until(lambda: settled(stage), seconds=3)
    assert sorted(finished) == [0, 1, 2, 3]


async def test_a_consumer_that_disappears_is_reported_and_taken_up_again(stage: Stage) -> None:
    """F8: a deleted durable is silent for FastStream; here it is not ready, and goes on once it is back."""
    seen: list[int] = []
    consumers = Consumers(stage.broker)

    @consumers.each(stage.consumer, Note, slots=4)
    async def handle(note: Note) -> None:
        seen.append(note.number)

    async with consuming(consumers):
        await stage.send(1)
        await until(lambda: seen == [1])
        assert consumers.problems() == []
        await stage.jetstream.delete_consumer(stage.name, stage.consumer.durable)
        await until(lambda: consumers.problems() != [])
        await stage.make_consumer()
        await stage.send(2)
        await until(lambda: 2 in seen)
        await until(lambda: consumers.problems() == [])


async def test_consumption_goes_on_after_the_broker_was_killed(tmp_path: Any) -> None:
    """F5: what was published before and after arrives, within seconds."""
    from darkroom.embedded import NatsServer

    server = NatsServer(tmp_path)
    server.start()
    try:
        late: list[Consumers] = []

        async def reconnected() -> None:
            await late[0].reconnected()

        broker = make_broker(BrokerSettings(nats_url=server.nats_url), "runtime-test", reconnected)
        await broker.start()
        stage = Stage(broker)
        await stage.make()
        seen: list[int] = []
        consumers = Consumers(broker)
        late.append(consumers)

        @consumers.each(stage.consumer, Note, slots=4)
        async def handle(note: Note) -> None:
            seen.append(note.number)

        async with consuming(consumers):
            await stage.send(1)
            await until(lambda: seen == [1])
            server.kill()
            await asyncio.sleep(0.5)
            server.start()
            await until(lambda: broker.connection.is_connected)
            await stage.send(2)
            await until(lambda: 2 in seen, seconds=10)
        await broker.stop()
    finally:
        server.stop()


async def test_a_fact_that_kills_its_process_is_buried_after_five_deliveries(
    stage: Stage, nats_server: Any, tmp_path: Any
) -> None:
    """The count survives the processes: whoever comes sixth does not touch the fact."""
    program = tmp_path / "dies.py"
    program.write_text(
        "import asyncio, os, sys\n"
        "from runtime.broker import make_broker\n"
        "from runtime.consumption import Consumers\n"
        "from runtime.settings import BrokerSettings\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from note import Note, Durable\n"
        "async def main():\n"
        "    broker = make_broker(BrokerSettings(nats_url=sys.argv[1]), 'dies')\n"
        "    await broker.start()\n"
        "    consumers = Consumers(broker)\n"
        "    async def handle(note):\n"
        "        os._exit(9)\n"
        "    consumers.each(Durable(stream=sys.argv[2], durable=sys.argv[3]), Note, slots=4)(handle)\n"
        "    await consumers.start()\n"
        "    await asyncio.sleep(20)\n"
        "asyncio.run(main())\n"
    )
    (tmp_path / "note.py").write_text(
        "from pydantic import BaseModel\n"
        "class Note(BaseModel):\n"
        "    subject: str\n"
        "    traceparent: str | None = None\n"
        "    number: int\n"
        "    decode = classmethod(lambda cls, payload: cls.model_validate_json(payload))\n"
        "class Durable(BaseModel):\n"
        "    stream: str\n"
        "    durable: str\n"
    )
    await stage.jetstream.delete_consumer(stage.name, stage.consumer.durable)
    await stage.make_consumer(ack_wait_seconds=0.5)
    await stage.send(1)
    deaths = 0
    for _ in range(5):
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), nats_server.nats_url, stage.name, stage.consumer.durable
        )
        deaths += await asyncio.wait_for(process.wait(), 15) == 9
    assert deaths == 5
    handled: list[int] = []
    consumers = Consumers(stage.broker)

    @consumers.each(stage.consumer, Note, slots=4)
    async def handle(note: Note) -> None:
        handled.append(note.number)

    async with consuming(consumers):
        await until(lambda: settled(stage))
    assert handled == []
    assert (await stage.dead())[0]["reason"] == "delivered too often"


async def test_who_stops_consuming_makes_nobody_deaf(stage: Stage) -> None:
    """nats-py stops reading at a pong for somebody who is gone: no subscription is left while it drains."""
    for number in range(20):
        begun, go_on = asyncio.Event(), asyncio.Event()
        consumers = Consumers(stage.broker)

        @consumers.each(stage.consumer, Note, slots=4)
        async def handle(note: Any, begun: asyncio.Event = begun, go_on: asyncio.Event = go_on) -> None:
            begun.set()
            await go_on.wait()
            for _ in range(note.number):
                await asyncio.sleep(0)

        async with consuming(consumers):
            await stage.send(number)
            await begun.wait()
            go_on.set()
        async with asyncio.timeout(2):
            await stage.unsettled()
