"""A generation is closed once, whenever that is: before, while or after its bytes are stored (design.md §3.2, §3.3)."""

import asyncio

import pytest
from aiohttp import web
from sqlalchemy import text

from contracts.facts import Ending, Outcome, Rendered, Verdict
from runtime.database import Database
from storage import assets
from storage.ingest import Ingest, Overtaken
from storage.objects.local import LocalObjects

from .samples import Provider, assets_of, cancelled, names, picture, rendered, rows

pytestmark = pytest.mark.connected


async def test_a_closed_generation_starts_nothing(
    ingest: Ingest, provider: Provider, objects: LocalObjects, database: Database
) -> None:
    """Design §3.3: closed before `rendered` came; its recorded outcome is said again, verbatim."""
    fact = rendered(provider.url("a", picture()))
    closing = cancelled(fact)
    await assets.close(database, [closing])
    assert await ingest.store(fact) == closing
    assert provider.asked == {}
    assert await assets_of(database, fact) == []
    assert await names(objects) == set()


async def test_closed_while_it_was_fetched(
    ingest: Ingest, provider: Provider, objects: LocalObjects, database: Database
) -> None:
    """Design §3.3: opening and closing lock the same row; no row and no byte comes after the close."""
    fact = rendered(provider.url("a", 404))

    async def close_first(_: web.Request) -> web.StreamResponse:
        await assets.close(database, [cancelled(fact)])
        return web.Response(body=picture())

    provider.url("a", close_first)
    with pytest.raises(Overtaken):
        await ingest.store(fact)
    assert (await ingest.store(fact)).data.verdict == "cancelled"
    assert await assets_of(database, fact) == []
    assert await names(objects) == set()


async def test_opening_and_closing_at_once_leave_no_row(ingest: Ingest, provider: Provider, database: Database) -> None:
    """Design §3.3: whichever comes first, no row of a cancelled generation is left."""
    facts = [rendered(provider.url(f"race-{number}", picture())) for number in range(30)]

    async def store(fact: Rendered) -> None:
        while True:
            try:
                outcome = await ingest.store(fact)
            except Overtaken:
                continue
            if outcome.data.verdict == Verdict.COMPLETED:
                await ingest.yield_to(cancelled(fact))
            return

    async def close(fact: Rendered, number: int) -> None:
        await asyncio.sleep(number / 1000)
        await assets.close(database, [cancelled(fact)])

    await asyncio.gather(*(store(fact) for fact in facts), *(close(fact, n) for n, fact in enumerate(facts)))
    ids = [fact.data.request.generation_id for fact in facts]
    assert await rows(database, "SELECT * FROM assets WHERE generation_id = ANY(:ids)", ids=ids) == []


async def test_closed_after_it_was_stored(
    ingest: Ingest, provider: Provider, objects: LocalObjects, database: Database
) -> None:
    """Design §3.8: a cancel that came last drops the rows; a completion, however often it is heard, drops none."""
    told, cancel = (rendered(provider.url("a", picture()), provider.url("b", picture())) for _ in range(2))
    completed, _ = await ingest.store(told), await ingest.store(cancel)
    for _ in range(2):
        await assets.close(database, [completed, cancelled(cancel)])
    assert len(await assets_of(database, told)) == 2
    assert await assets_of(database, cancel) == []
    assert len(await names(objects)) == 4


async def test_a_lost_race_drops_rows_and_never_objects(
    ingest: Ingest, provider: Provider, objects: LocalObjects, database: Database
) -> None:
    """Design §3.4 and §3.8: somebody else's outcome is in the log; it is recorded."""
    fact = rendered(provider.url("a", picture()), provider.url("b", picture()))
    await ingest.store(fact)
    await ingest.yield_to(cancelled(fact))
    assert await assets_of(database, fact) == []
    assert len(await names(objects)) == 2
    assert (await ingest.store(fact)).data.verdict == "cancelled"


async def test_a_lost_race_against_oneself_keeps_what_the_log_names(
    ingest: Ingest, provider: Provider, database: Database
) -> None:
    """The log keeps an earlier outcome of ours with fewer assets: what it names stays, the rest goes."""
    fact = rendered(provider.url("a", picture()), provider.url("b", picture()))
    outcome = await ingest.store(fact)
    fewer = outcome.data.model_copy(update={"assets": outcome.data.assets[:1]})
    earlier = outcome.model_copy(update={"data": fewer})
    await assets.close(database, [earlier])
    assert await ingest.store(fact) == earlier
    assert [row["index"] for row in await assets_of(database, fact)] == [0]


async def test_yielding_to_an_outcome_of_ours_drops_what_it_does_not_name(
    ingest: Ingest, provider: Provider, database: Database
) -> None:
    """Completed, so that closing alone drops nothing; and `rendered` does not come again."""
    fact = rendered(provider.url("a", picture()), provider.url("b", picture()))
    outcome = await ingest.store(fact)
    fewer = outcome.data.model_copy(update={"assets": outcome.data.assets[:1]})
    await ingest.yield_to(outcome.model_copy(update={"data": fewer}))
    assert [row["index"] for row in await assets_of(database, fact)] == [0]


async def test_two_closers_lock_what_they_share_in_one_order(database: Database) -> None:
    """Each would wait for the other for ever: whoever waits for the first row holds no later one."""
    facts = [rendered("http://nowhere.invalid/") for _ in range(2)]
    first, last = sorted((cancelled(fact) for fact in facts), key=lambda outcome: outcome.data.generation_id)
    ids = [outcome.data.generation_id for outcome in (first, last)]
    opened = "INSERT INTO generations (generation_id) SELECT unnest(CAST(:ids AS uuid[])) RETURNING 1"
    await rows(database, opened, ids=ids[::-1])
    lock = text("SELECT 1 FROM generations WHERE generation_id = :id FOR UPDATE NOWAIT")
    async with database.transaction() as other:
        await other.execute(lock, {"id": ids[0]})
        closing = asyncio.create_task(assets.close(database, [last, first]))
        await asyncio.sleep(0.3)
        assert not closing.done()
        await other.execute(lock, {"id": ids[1]})
    await closing


async def test_the_first_close_is_kept(database: Database) -> None:
    """Design §3.3: a closed id ignores any later outcome, also in one batch, also where nothing was open."""
    fact = rendered("http://nowhere.invalid/")
    generation_id = fact.data.request.generation_id
    first = cancelled(fact)
    later = Outcome.of(Ending(generation_id=generation_id, verdict=Verdict.FAILED), "gateway", None)
    others = [cancelled(rendered("http://nowhere.invalid/")) for _ in range(62)]
    await assets.close(database, [first, *others])
    await assets.close(database, [later])
    [row] = await rows(
        database,
        "SELECT CAST(outcome AS text) AS outcome, closed_at FROM generations WHERE generation_id = :id",
        id=generation_id,
    )
    assert Outcome.decode(row["outcome"]) == first
    assert row["closed_at"] is not None
