"""Publishing to a log that keeps one message per subject, against a real broker."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from faststream.nats import NatsBroker
from nats.js.api import DiscardPolicy, RePublish, StreamConfig
from pydantic import SecretStr

from runtime.broker import connected, last_on, make_broker, publish, publish_unique
from runtime.settings import BrokerSettings

pytestmark = pytest.mark.connected

TEXT = "text/plain"


@pytest.fixture
async def broker(nats_server: Any) -> AsyncIterator[NatsBroker]:
    made = make_broker(BrokerSettings(nats_url=nats_server.nats_url), "runtime-test")
    await made.start()
    yield made
    await made.stop()


async def unique_stream(broker: NatsBroker) -> str:
    """As the stream of outcomes: one message per subject, a second is refused, what is kept is repeated."""
    name = f"U{secrets.token_hex(4)}"
    await broker.connection.jetstream().add_stream(
        StreamConfig(
            name=name,
            subjects=[f"{name}.*"],
            max_msgs_per_subject=1,
            discard=DiscardPolicy.NEW,
            discard_new_per_subject=True,
            allow_direct=True,
            republish=RePublish(src=f"{name}.*", dest=f"kept.{name}.{{{{wildcard(1)}}}}"),
        )
    )
    return name


async def test_two_outcomes_raced_a_thousand_times_leave_one(broker: NatsBroker) -> None:
    """Design §3.4: every racer learns which one the log keeps, and only that one is repeated."""
    stream = await unique_stream(broker)
    repeated: dict[str, list[bytes]] = {}

    async def heard(message: Any) -> None:
        repeated.setdefault(message.subject.rsplit(".", 1)[-1], []).append(message.data)

    await broker.connection.subscribe(f"kept.{stream}.*", cb=heard)

    async def race(number: int) -> None:
        subject = f"{stream}.{number}"
        racers = [b"completed", b"cancelled"]
        verdicts = await asyncio.gather(
            *(publish_unique(broker, subject, racer, stream=stream, content_type=TEXT) for racer in racers)
        )
        assert verdicts[0] == verdicts[1]
        assert verdicts[0] in racers

    for start in range(0, 1000, 50):
        await asyncio.gather(*map(race, range(start, start + 50)))
    info = await broker.connection.jetstream().stream_info(stream)
    assert info.state.messages == 1000
    await broker.connection.flush()
    assert len(repeated) == 1000
    assert all(len(messages) == 1 for messages in repeated.values())


async def test_an_outcome_refused_because_it_is_our_own_has_won(broker: NatsBroker) -> None:
    stream = await unique_stream(broker)
    for _ in range(2):
        kept = await publish_unique(broker, f"{stream}.1", b"ours", stream=stream, content_type=TEXT)
        assert kept == b"ours"


async def test_a_time_out_says_nothing(tmp_path: Any) -> None:
    """M5: a publish that timed out may be stored all the same, or have lost; the log is asked which."""
    from darkroom.embedded import NatsServer

    server = NatsServer(tmp_path)
    server.start()
    try:
        broker = make_broker(BrokerSettings(nats_url=server.nats_url), "runtime-test")
        await broker.start()
        stream = await unique_stream(broker)
        pid = server.process.pid
        assert pid is not None
        await publish(broker, f"{stream}.taken", b"theirs", stream=stream, content_type=TEXT)
        os.kill(pid, signal.SIGSTOP)
        publishing = asyncio.gather(
            *(
                publish_unique(broker, f"{stream}.{place}", b"ours", stream=stream, content_type=TEXT)
                for place in ("taken", "free")
            )
        )
        await asyncio.sleep(3)
        os.kill(pid, signal.SIGCONT)
        assert await asyncio.wait_for(publishing, 15) == [b"theirs", b"ours"]
        kept = await publish_unique(broker, f"{stream}.free", b"theirs", stream=stream, content_type=TEXT)
        assert kept == b"ours"
        info = await broker.connection.jetstream().stream_info(stream)
        assert info.state.messages == 2
        await broker.stop()
    finally:
        server.stop()


async def test_a_refusal_for_another_reason_is_tried_again(broker: NatsBroker) -> None:
    """No such stream yet: not a verdict; once it is there the word is kept."""
    name = f"U{secrets.token_hex(4)}"
    publishing = asyncio.create_task(publish_unique(broker, f"{name}.1", b"ours", stream=name, content_type=TEXT))
    await asyncio.sleep(0.3)
    assert not publishing.done()
    await broker.connection.jetstream().add_stream(
        StreamConfig(name=name, subjects=[f"{name}.*"], max_msgs_per_subject=1, allow_direct=True)
    )
    assert await asyncio.wait_for(publishing, 15) == b"ours"


async def test_the_last_word_on_a_subject_can_be_read(broker: NatsBroker) -> None:
    stream = await unique_stream(broker)
    assert await last_on(broker, f"{stream}.1", stream=stream) is None
    await publish(broker, f"{stream}.1", b"word", stream=stream, content_type=TEXT)
    assert await last_on(broker, f"{stream}.1", stream=stream) == b"word"


async def test_a_broker_that_was_not_started_is_not_connected() -> None:
    assert not connected(make_broker(BrokerSettings(nats_url="nats://127.0.0.1:1"), "runtime-test"))


async def test_a_refused_login_is_tried_again(tmp_path: Any) -> None:
    """Where a password changes on one side first: at the start, and on a link that was up."""
    from darkroom.embedded import NatsServer
    from darkroom.embedded.ports import free_port

    port = free_port()

    def server(password: str) -> NatsServer:
        users = f"authorization: {{users: [{{user: runtime-test, password: {password}}}]}}"
        return NatsServer(tmp_path, port=port, authorization=users)

    async def refused(broker: NatsBroker) -> None:
        await asyncio.sleep(2.5)
        assert not connected(broker)

    async def accepted(broker: NatsBroker) -> None:
        async with asyncio.timeout(10):
            while not connected(broker):
                await asyncio.sleep(0.05)

    settings = BrokerSettings(
        nats_url=f"nats://127.0.0.1:{port}", nats_user="runtime-test", nats_password=SecretStr("ours")
    )
    broker = make_broker(settings, "runtime-test")
    starting = asyncio.create_task(broker.start())
    running = None
    try:
        for password, then in (("theirs", refused), ("ours", accepted), ("theirs", refused), ("ours", accepted)):
            if running is not None:
                running.stop()
            running = server(password)
            running.start()
            await then(broker)
        await starting
        await broker.stop()
    finally:
        starting.cancel()
        if running is not None:
            running.stop()
