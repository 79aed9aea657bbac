"""What the ledger tells of one generation's hold, and how the books stand."""

from uuid import uuid4

import pytest

from contracts.watching import CourseOf, FiguresOf
from ledger.watching import course, figures

from .samples import CREDIT, completed, failed, request, requested

pytestmark = pytest.mark.connected


async def told(database, generation_id):
    found = await course(database, CourseOf(generation_id=generation_id))
    return [(moment.step, moment.state, moment.units) for moment in found.moments]


async def test_a_hold_is_told_from_its_beginning_to_its_end(operations, database):
    paid, lost, dear, still = (request(uuid4(), count=count) for count in (4, 2, 100, 1))
    await operations.hold([requested(each) for each in (paid, lost, dear, still)])
    await operations.settle([completed(paid.generation_id, 3), failed(lost.generation_id)])
    assert await told(database, paid.generation_id) == [
        ("held", "open", 4 * CREDIT),
        ("settled", "captured", 3 * CREDIT),
    ]
    assert await told(database, lost.generation_id) == [("held", "open", 2 * CREDIT), ("settled", "released", 0)]
    assert await told(database, dear.generation_id) == [("settled", "declined", 0)]
    assert await told(database, still.generation_id) == [("held", "open", CREDIT)]
    assert await told(database, uuid4()) == []


async def test_what_ended_before_it_was_asked_for_has_no_course(operations, database):
    early = request(uuid4())
    await operations.settle([failed(early.generation_id)])
    assert await told(database, early.generation_id) == []


async def test_the_books_say_what_is_open_and_what_was_paid(operations, database):
    before = await figures(database, FiguresOf(minutes=60))
    paid, still = (request(uuid4(), count=count) for count in (4, 2))
    await operations.hold([requested(each) for each in (paid, still)])
    await operations.settle([completed(paid.generation_id, 3)])
    now = await figures(database, FiguresOf(minutes=60))
    assert (now.open_holds - before.open_holds, now.open_units - before.open_units) == (1, 2 * CREDIT)
    assert (now.captures - before.captures, now.captured - before.captured) == (1, 3 * CREDIT)
    assert still.generation_id in {each.generation_id for each in now.oldest}
