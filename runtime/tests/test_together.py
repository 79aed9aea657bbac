"""Calls that share a statement: many for one round trip, and each still stands for itself."""

import asyncio
from collections.abc import Sequence

import pytest

from runtime.database import MOST_TOGETHER, Together


class Statement:
    """Doubles numbers, slowly; knows what it was called with."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        await asyncio.sleep(0.01)
        if 13 in numbers:
            raise ValueError("unlucky")
        if 503 in numbers:
            raise ConnectionError("away")
        return [2 * number for number in numbers]


async def test_a_call_alone_runs_at_once() -> None:
    statement = Statement()
    assert await Together(statement)(1) == 2
    assert statement.calls == [[1]]


async def test_calls_made_while_one_is_under_way_share_the_next() -> None:
    statement = Statement()
    together = Together(statement)
    first = asyncio.create_task(together(1))
    await asyncio.sleep(0.005)
    assert await asyncio.gather(together(2), together(3), together(4)) == [4, 6, 8]
    assert await first == 2
    assert statement.calls == [[1], [2, 3, 4]]


async def test_only_the_guilty_one_fails() -> None:
    statement = Statement()
    together = Together(statement)
    results = await asyncio.gather(*map(together, (7, 13, 8)), return_exceptions=True)
    assert results[0] == 14
    assert isinstance(results[1], ValueError)
    assert results[2] == 16
    assert await together(1) == 2


async def test_where_the_database_is_away_nobody_is_tried_singly() -> None:
    statement = Statement()
    results = await asyncio.gather(*map(Together(statement), (1, 503, 2)), return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionError] * 3
    assert statement.calls == [[1, 503, 2]]


async def test_who_went_away_is_left_out() -> None:
    statement = Statement()
    together = Together(statement)
    first, gone, last = (asyncio.create_task(together(number)) for number in (1, 2, 3))
    await asyncio.sleep(0)
    await asyncio.sleep(0.005)
    late, later = asyncio.create_task(together(4)), asyncio.create_task(together(5))
    await asyncio.sleep(0)
    late.cancel()
    assert await asyncio.gather(first, gone, last, later) == [2, 4, 6, 10]
    assert statement.calls == [[1, 2, 3], [5]]


async def test_a_statement_is_shared_by_so_many_and_no_more() -> None:
    statement = Statement()
    together = Together(statement)
    await asyncio.gather(*map(together, range(100, 101 + MOST_TOGETHER)))
    assert [len(call) for call in statement.calls] == [MOST_TOGETHER, 1]


async def test_an_answer_of_the_wrong_length_is_nobodys() -> None:
    async def short(numbers: Sequence[int]) -> list[int]:
        return []

    with pytest.raises(ValueError, match="zip"):
        await Together(short)(1)
