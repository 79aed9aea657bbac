"""instaveo's feed and leaderboard: ranked in sets, and stable for whoever scrolls while the scores change."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from gateway.dialects.instaveo import ranking as rounds
from gateway.dialects.instaveo.creators import Creators
from gateway.dialects.instaveo.feed import Cursor, Feed
from gateway.dialects.instaveo.interactions import Interactions
from gateway.dialects.instaveo.ranking import KEPT_EPOCHS, KEPT_VIEW_DAYS, Ranking
from gateway.dialects.instaveo.who import Who
from gateway.refusals import Invalid
from gateway.settings import Settings
from runtime.database import Database

from .client import Client
from .test_instaveo import rank

pytestmark = pytest.mark.connected


@pytest.fixture(scope="module")
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.database, "gateway")
    yield database
    await database.close()


@pytest.fixture
async def ranking(database: Database, postgres: asyncpg.Pool) -> Ranking:
    """Nothing but what the test makes, and a round whenever it is asked for."""
    await postgres.execute("TRUNCATE instaveo_scores, instaveo_reactions, instaveo_views, instaveo_videos")
    await postgres.execute("TRUNCATE instaveo_creators")
    return Ranking(database, every_seconds=0)


async def video(postgres: asyncpg.Pool, *, likes: int = 0, age: str = "0 s", user: UUID | None = None) -> UUID:
    """A completed, public one."""
    video_id, user = uuid4(), user or uuid4()
    await postgres.execute(
        """INSERT INTO generations (id, user_id, dialect, kind, lane, model, prompt, count, options, quote_amount,
             unit_price, price_version, status, published, body_hash, deadline_at, deadline_seconds, p99_seconds,
             next_drive_at, outcome)
           VALUES ($1, $2, 'instaveo', 'video', 'interactive', 'm', 'x', 1, '{}', 1, 1, 1, 'completed', true, '',
             now(), 1, 1, now(), $3)""",
        video_id,
        user,
        OUTCOME % video_id,
    )
    await postgres.execute(
        """INSERT INTO instaveo_videos (id, user_id, is_published, likes, created_at)
           VALUES ($1, $2, true, $3, now() - CAST($4::text AS interval))""",
        video_id,
        user,
        likes,
        age,
    )
    return video_id


OUTCOME = """{"id": "6f3c1c3e-5d0a-4c52-9d1f-5a2c8e3c7b11", "source": "storage", "type": "darkroom.generation.outcome",
    "subject": "x", "time": "2026-01-01T00:00:00Z", "data": {"generation_id": "%s", "verdict": "completed"}}"""


async def read(feed: Feed, limit: int = 50, cursor: str | None = None) -> tuple[list[UUID], str | None]:
    page = await feed.page(limit, cursor)
    return [each.id for each in page.videos], page.cursor


async def test_points_and_youth_decide(ranking: Ranking, postgres: asyncpg.Pool, database: Database) -> None:
    old = await video(postgres, likes=10, age="13 hours")
    disliked = await video(postgres, likes=0, age="1 s")
    loved = await video(postgres, likes=10)
    new = await video(postgres)
    await postgres.execute("UPDATE instaveo_videos SET dislikes = 100 WHERE id = $1", disliked)
    await ranking.round()
    # Twelve and a half hours weigh as much as ten times the points.
    assert await read(Feed(database)) == ([loved, new, old, disliked], None)


async def test_who_scrolls_misses_nothing_and_sees_nothing_twice(
    ranking: Ranking, postgres: asyncpg.Pool, database: Database
) -> None:
    feed, interactions = Feed(database), Interactions(database)
    videos = [await video(postgres, likes=number * 3, age=f"{number} s") for number in range(30)]
    await ranking.round()
    whole, _ = await read(feed)
    seen, cursor = await read(feed, 7)
    while cursor is not None:
        # The last ones become the first, and new ones come, between any two pages.
        for late in whole[-3:]:
            await asyncio.gather(*(interactions.react(late, uuid4(), "like") for _ in range(40)))
        for early in whole[:5]:
            await asyncio.gather(*(interactions.react(early, uuid4(), "dislike") for _ in range(40)))
        await video(postgres, likes=1000)
        await ranking.round()
        page, cursor = await read(feed, 7, cursor)
        seen += page
    assert seen == whole
    assert set(seen) == set(videos)
    anew, _ = await read(feed)
    assert anew != whole
    assert len(anew) > len(whole)


async def test_what_is_gone_is_left_out_at_once(ranking: Ranking, postgres: asyncpg.Pool, database: Database) -> None:
    kept, deleted = await video(postgres), await video(postgres, likes=5)
    await ranking.round()
    await postgres.execute("UPDATE generations SET deleted_at = now() WHERE id = $1", deleted)
    assert (await read(Feed(database)))[0] == [kept]
    await ranking.round()
    assert await postgres.fetchval("SELECT count(*) FROM instaveo_scores WHERE until_epoch > 1000000000") == 1


async def test_only_so_much_of_the_past_is_kept_and_an_old_cursor_goes_on(
    ranking: Ranking, postgres: asyncpg.Pool, database: Database
) -> None:
    first, second = await video(postgres, likes=50), await video(postgres, likes=5)
    await ranking.round()
    _, cursor = await read(Feed(database), 1)
    for likes in range(20):
        await postgres.execute(
            "UPDATE instaveo_videos SET likes = $2, is_stale = true WHERE id = $1", first, 60 + likes
        )
        await ranking.round()
    assert await postgres.fetchval("SELECT count(*) FROM instaveo_scores") == 22
    await postgres.execute("UPDATE instaveo_ranking SET epoch = epoch + $1", KEPT_EPOCHS)
    await Ranking(database, every_seconds=0).round()  # a process that has not looked for what is old yet
    assert await postgres.fetchval("SELECT count(*) FROM instaveo_scores") == 2
    assert (await read(Feed(database), 1, cursor))[0] == [second]


async def test_a_round_is_one_replicas(ranking: Ranking, postgres: asyncpg.Pool, database: Database) -> None:
    await video(postgres)
    async with postgres.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM instaveo_ranking FOR UPDATE")
        await ranking.round()
        assert await postgres.fetchval("SELECT count(*) FROM instaveo_scores") == 0
    await ranking.round()
    assert await postgres.fetchval("SELECT count(*) FROM instaveo_scores") == 1


async def test_a_round_in_which_nothing_changed_writes_nothing(ranking: Ranking, postgres: asyncpg.Pool) -> None:
    await video(postgres)
    await ranking.round()
    written = await postgres.fetchval("SELECT xmin FROM instaveo_ranking")
    await ranking.round()
    assert await postgres.fetchval("SELECT xmin FROM instaveo_ranking") == written


async def test_creators_are_summed_up_and_ranked(ranking: Ranking, postgres: asyncpg.Pool, database: Database) -> None:
    creators, interactions = Creators(database), Interactions(database)
    one, other, idle = (Who(uuid4(), name=name) for name in ("one", "other", "idle"))
    for who in (one, other, idle):
        await creators.meet(who)
    liked = await video(postgres, user=other.user_id)
    await video(postgres, user=one.user_id)
    for reaction in ("dislike", "like"):
        await interactions.react(liked, one.user_id, reaction)  # type: ignore[arg-type]
    await interactions.react(liked, idle.user_id, "dislike")
    await ranking.round()
    top = await creators.top(10)
    assert [each.id for each in top] == [other.user_id, one.user_id]
    assert (top[0].videos_created, top[0].total_likes, top[0].total_dislikes) == (1, 1, 1)
    # Three weeks of silence cost more than a like brings.
    await postgres.execute(
        "UPDATE instaveo_creators SET last_active_at = now() - interval '21 days', is_stale = true WHERE id = $1",
        other.user_id,
    )
    await ranking.round()
    assert [each.id for each in await creators.top(10)] == [one.user_id, other.user_id]
    await postgres.execute("UPDATE generations SET deleted_at = now() WHERE id = $1", liked)
    await ranking.round()
    assert [each.id for each in await creators.top(10)] == [one.user_id]


async def test_many_reactions_of_many_processes_at_once_lose_none(
    ranking: Ranking, postgres: asyncpg.Pool, settings: Settings
) -> None:
    hot, users = await video(postgres), [uuid4() for _ in range(200)]
    databases = [Database(settings.database, "gateway") for _ in range(3)]
    processes = [Interactions(database) for database in databases]

    async def react(number: int, user: UUID) -> None:
        said = [("like", "dislike")[(number + turn) % 2] for turn in range(3)]
        for turn, reaction in enumerate(said):
            await processes[(number + turn) % 3].react(hot, user, reaction)  # type: ignore[arg-type]

    async def rank() -> None:
        for _ in range(20):
            await ranking.round()

    await asyncio.gather(rank(), *(react(number, user) for number, user in enumerate(users)))
    row = await postgres.fetchrow("SELECT likes, dislikes FROM instaveo_videos WHERE id = $1", hot)
    assert tuple(row) == (100, 100)
    for database in databases:
        await database.close()


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "%00",
        "a" * 121,
        "MS4y",
        "Li4u",
        Cursor(1, float("inf"), UUID(int=1)).encode(),
        Cursor(1, float("nan"), UUID(int=1)).encode(),
        Cursor(-1, 1.0, UUID(int=1)).encode(),
        Cursor(1, 1.0, UUID(int=1)).encode() + "A",
    ],
)
def test_a_cursor_that_was_not_handed_out_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid):
        Cursor.decode(cursor)


@pytest.mark.parametrize("score", [0.0, -3.5, 1e-300, 1234.000000001])
def test_a_cursor_comes_back_as_it_was(score: float) -> None:
    cursor = Cursor(7, score, uuid4())
    assert Cursor.decode(cursor.encode()) == cursor


class TestOverHttp:
    """What the client sees of it."""

    async def test_pages_follow_each_other_until_there_is_no_more(
        self, postgres: asyncpg.Pool, nobody: Client, settings: Settings
    ) -> None:
        await postgres.execute("UPDATE instaveo_videos SET is_published = false, is_stale = true")
        videos = {str(await video(postgres)) for _ in range(5)}
        await rank(settings)
        seen: list[str] = []
        query = "limit=2"
        for more in (True, True, False):
            answer = await nobody.get(f"/videos/feed?{query}")
            assert (answer.status, answer.json["hasMore"]) == (200, more)
            assert ("nextCursor" in answer.json) is more
            seen += [each["id"] for each in answer.json["videos"]]
            query = f"limit=2&cursor={answer.json.get('nextCursor')}"
        assert (len(seen), set(seen)) == (5, videos)
        assert len((await nobody.get("/videos/feed?cursor=&limit=")).json["videos"]) == 5

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=51", "limit=-1", "limit=1000000000", "limit=x", "cursor=x", "cursor=%00"]
    )
    async def test_a_page_that_cannot_be_is_refused(self, nobody: Client, query: str) -> None:
        answer = await nobody.get(f"/videos/feed?{query}")
        assert (answer.status, answer.json["statusCode"]) == (422, 422)


async def test_old_views_are_forgotten_a_few_at_a_time_and_still_counted(
    ranking: Ranking, postgres: asyncpg.Pool, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "PRUNED_ROWS", 2)
    monkeypatch.setattr(rounds, "PRUNE_SECONDS", 0)
    seen = await video(postgres)
    for _ in range(4):
        await Interactions(database).view(seen, uuid4(), "")
    [youngest] = await postgres.fetch(
        """UPDATE instaveo_views SET hour = hour - make_interval(days => $1) WHERE viewer IN (
             SELECT viewer FROM instaveo_views ORDER BY viewer DESC LIMIT 1) RETURNING viewer""",
        KEPT_VIEW_DAYS,
    )
    await postgres.execute(
        "UPDATE instaveo_views SET hour = hour - make_interval(days => $1, hours => 1) WHERE viewer <> $2",
        KEPT_VIEW_DAYS,
        youngest["viewer"],
    )
    left = []
    for _ in range(3):
        await ranking.round()
        left.append(await postgres.fetchval("SELECT count(*) FROM instaveo_views"))
    assert left == [2, 1, 1], "what is exactly so old stays"
    assert await postgres.fetchval("SELECT viewer FROM instaveo_views") == youngest["viewer"]
    assert await postgres.fetchval("SELECT views FROM instaveo_videos") == 4
