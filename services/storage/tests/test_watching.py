"""What storage tells of one generation: its assets, and nobody else's."""

from uuid import uuid4

import pytest

from contracts.watching import CourseOf
from runtime.database import Database
from storage.ingest import Ingest
from storage.watching import course

from .samples import Provider, picture, rendered

pytestmark = pytest.mark.connected


async def test_each_asset_is_a_moment(ingest: Ingest, provider: Provider, database: Database) -> None:
    fact = rendered(provider.url("a", picture()), provider.url("b", picture()))
    await ingest.store(fact)
    found = await course(database, CourseOf(generation_id=fact.data.request.generation_id))
    told = [(moment.step, moment.state, moment.number) for moment in found.moments]
    assert told == [("stored", "stored", 0), ("stored", "stored", 1)]
    assert (await course(database, CourseOf(generation_id=uuid4()))).moments == ()
