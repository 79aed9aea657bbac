"""What is said together: stored, all of it, or the batch is not done."""

from uuid import uuid4

import pytest
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError

from contracts.facts import CONTENT_TYPE, Funded
from contracts.topology import GENERATION, funded_subject
from ledger.announcements import announce
from runtime import health
from runtime.broker import last_on

from .samples import request

pytestmark = pytest.mark.connected


def funded(number: int) -> list[Funded]:
    return [Funded.of(request(uuid4()), "ledger", None) for _ in range(number)]


@pytest.mark.parametrize("number", [1, 2, 200])
async def test_what_a_batch_funded_is_in_the_stream_once_it_is_said(broker, streams, number):
    facts = funded(number)
    await announce(broker, facts)
    assert sorted(await streams.subjects(GENERATION)) == sorted(funded_subject(fact.data) for fact in facts)
    for fact in facts[:2]:
        assert Funded.decode(await last_on(broker, funded_subject(fact.data), stream=GENERATION.name)) == fact
        message = await broker.connection.jetstream().get_last_msg(GENERATION.name, funded_subject(fact.data))
        assert message.headers["content-type"] == CONTENT_TYPE


@pytest.mark.parametrize("number", [1, 3])
async def test_where_there_is_no_stream_nothing_is_taken_for_said(broker, streams, number):
    await streams.remove(GENERATION)
    with pytest.raises(NatsError) as told:
        await announce(broker, funded(number))
    assert health.is_transient(told.value)


@pytest.mark.parametrize("number", [1, 3])
async def test_what_another_stream_took_is_not_said(broker, streams, number):
    await streams.remove(GENERATION)
    other = GENERATION.model_copy(update={"name": "ELSEWHERE"})
    await streams.create(other)
    try:
        with pytest.raises(NatsError) as told:
            await announce(broker, funded(number))
        assert not isinstance(told.value, NatsTimeoutError)
        assert health.is_transient(told.value)
        assert await streams.subjects(other) == []
    finally:
        await streams.remove(other)


async def test_a_mute_stream_is_waited_for_no_longer_than_for_one_fact(broker, streams, monkeypatch):
    """One answer of three is missing."""
    facts = funded(3)
    monkeypatch.setattr("ledger.announcements.PUBLISH_TIMEOUT_SECONDS", 0.3)
    publish = broker.connection.publish

    async def lossy(subject, payload, **rest):
        if subject != funded_subject(facts[1].data):
            await publish(subject, payload, **rest)

    monkeypatch.setattr(broker.connection, "publish", lossy)
    with pytest.raises(TimeoutError):
        await announce(broker, facts)
