"""Facts that are handled many at a time: what a batch is, how long it lingers, and whose fault it is."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from runtime.consumption import Consumers
from runtime.tests.stage import Note, Stage, consuming, settled, until

pytestmark = pytest.mark.connected


async def test_a_batch_is_what_has_arrived_in_stream_order(stage: Stage) -> None:
    batches: list[list[int]] = []
    consumers = Consumers(stage.broker)

    @consumers.batch(stage.consumer, Note, size=16)
    async def handle(notes: Any) -> None:
        batches.append([note.number for note in notes])
        await asyncio.sleep(0.05)

    await stage.send(*range(40))
    async with consuming(consumers):
        await until(lambda: settled(stage))
    assert [number for batch in batches for number in batch] == list(range(40))
    assert max(map(len, batches)) > 1
    assert max(map(len, batches)) <= 16


async def test_a_batch_that_is_full_lingers_no_longer(stage: Stage) -> None:
    batches: list[list[int]] = []
    consumers = Consumers(stage.broker)

    @consumers.batch(stage.consumer, Note, size=4, linger_seconds=60)
    async def handle(notes: Any) -> None:
        batches.append([note.number for note in notes])

    async with consuming(consumers):
        await stage.send(0)
        await asyncio.sleep(0.05)  # it begins to linger with one, and then with what was left of ten
        await stage.send(*range(1, 10))
        await until(lambda: len(batches) == 2)
        await stage.send(10, 11)
        await until(lambda: settled(stage))
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


async def test_what_fills_no_batch_lingers_for_its_time(stage: Stage) -> None:
    batches: list[list[int]] = []
    consumers = Consumers(stage.broker)

    @consumers.batch(stage.consumer, Note, size=4, linger_seconds=0.5)
    async def handle(notes: Any) -> None:
        batches.append([note.number for note in notes])

    await stage.send(0, 1, 2)
    async with consuming(consumers):
        await until(lambda: settled(stage))
    assert batches == [[0, 1, 2]]


async def test_a_batch_is_decided_while_the_rest_of_the_one_before_is_done(stage: Stage) -> None:
    """As many facts as three full batches have, however many they came in."""
    decided: list[int] = []
    may_rest = asyncio.Event()
    consumers = Consumers(stage.broker)

    async def rest() -> None:
        await may_rest.wait()

    @consumers.batch(stage.consumer, Note, size=4)
    async def handle(notes: Any) -> Awaitable[None]:
        decided.extend(note.number for note in notes)
        return rest()

    await stage.send(*range(20))
    async with consuming(consumers):
        await until(lambda: len(decided) == 12)
        await asyncio.sleep(0.2)  # one more would come now
        assert len(decided) == 12
        assert await stage.unsettled() == 20  # nothing is acknowledged before the rest of it is done
        may_rest.set()
        await until(lambda: settled(stage))
    assert decided == list(range(20))


async def test_what_is_left_of_a_batch_is_done_again_with_the_batch_when_it_fails(stage: Stage) -> None:
    decided: list[int] = []
    done: list[int] = []
    consumers = Consumers(stage.broker)

    async def rest(numbers: list[int]) -> None:
        if len(decided) < 3:
            raise ConnectionResetError
        done.extend(numbers)

    @consumers.batch(stage.consumer, Note, size=4)
    async def handle(notes: Any) -> Awaitable[None]:
        decided.append(len(notes))
        return rest([note.number for note in notes])

    await stage.send(1, 2)
    async with consuming(consumers):
        await until(lambda: settled(stage))
    assert sorted(done) == [1, 2]
    assert len(decided) >= 3


async def test_one_guilty_fact_in_a_batch_delays_only_itself(stage: Stage) -> None:
    done: list[int] = []
    consumers = Consumers(stage.broker)

    @consumers.batch(stage.consumer, Note, size=8)
    async def handle(notes: Any) -> None:
        if any(note.number == 3 for note in notes):
            raise RuntimeError("three is a defect")
        done.extend(note.number for note in notes)

    await stage.send(*range(6))
    async with consuming(consumers):
        await until(lambda: sorted(done) == [0, 1, 2, 4, 5])
        assert await stage.unsettled() == 1
