"""`python -m bench.feed`: instaveo's feed, its reactions and its leaderboard, on a real Postgres, with their plans.

A million videos and a hundred thousand creators are put into a gateway's own tables; then pages of 20 are read from all
over the feed, one hot video gets a thousand reactions a second from several processes' connections, none of which may
be lost, and the leaderboard is read. The same objects answer as over HTTP; what HTTP costs is measured elsewhere.

Between two pages the same connections ask for nothing at all: what that takes is the machine's share of each figure.
Where its p99 is near the goal already, the machine is too busy to measure anything. The million takes some minutes,
most of them to fill; `--videos 100000 --creators 10000 --pages 500 --users 1000` takes less than one.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import psutil
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from bench import RESULTS
from bench.load import percentile
from darkroom.embedded import PostgresServer
from darkroom.migration import migrate, service_urls
from darkroom.stack import SERVICES
from gateway.dialects.instaveo import creators, feed
from gateway.dialects.instaveo.creators import Creators
from gateway.dialects.instaveo.feed import Cursor, Feed
from gateway.dialects.instaveo.interactions import Interactions
from gateway.dialects.instaveo.ranking import Ranking
from runtime.database import Database
from runtime.settings import DatabaseSettings

PAGE = 20
WARM = 50
"""Of each kind, before the clock runs."""
PROCESSES = 2
"""Replicas of the gateway, each with connections of its own."""
AT_ONCE = 64
GOALS = {"feed page of 20, p99 ms": 20, "leaderboard of 10, p99 ms": 20}
LEAST_REACTIONS = 1000

_OUTCOME = json.dumps(
    {
        "id": str(UUID(int=1)),
        "source": "storage",
        "type": "darkroom.generation.outcome",
        "subject": "x",
        "time": "2026-01-01T00:00:00Z",
        "data": {"generation_id": str(UUID(int=1)), "verdict": "completed"},
    }
)
_FILL = (
    """INSERT INTO instaveo_creators (id, username, videos_created, total_likes, creator_score, is_stale)
       SELECT gen_random_uuid(), 'creator' || n, 10, n, random() * 100, false FROM generate_series(1, $1::int) AS n""",
    """INSERT INTO generations (id, user_id, dialect, kind, lane, model, prompt, count, options, quote_amount,
         unit_price, price_version, status, published, body_hash, deadline_at, deadline_seconds, p99_seconds,
         next_drive_at, completed_at, outcome, created_at)
       SELECT gen_random_uuid(), c.id, 'instaveo', 'video', 'interactive', 'm', 'A lighthouse in a storm', 1, '{}', 1,
         1, 1, 'completed', true, '', now(), 1, 1, now(), now(), $2::jsonb, now() - random() * interval '90 days'
       FROM (SELECT id, row_number() OVER () AS n FROM instaveo_creators) c
       JOIN generate_series(1, $1::int) AS v ON c.n = 1 + v % (SELECT count(*) FROM instaveo_creators)""",
    """INSERT INTO instaveo_videos (id, user_id, is_published, likes, dislikes, views, created_at, is_live, is_stale,
         ranking_score)
       SELECT id, user_id, true, random() * 1000, random() * 50, random() * 5000, created_at, true, false,
         extract(epoch FROM created_at) / 45000 + random() * 3 FROM generations""",
    "INSERT INTO instaveo_scores (video_id, score, from_epoch) SELECT id, ranking_score, 0 FROM instaveo_videos",
)


async def fill(connection: asyncpg.Connection, videos: int, makers: int) -> None:
    await connection.execute(_FILL[0], makers)
    await connection.execute(_FILL[1], videos, _OUTCOME)
    for statement in _FILL[2:]:
        await connection.execute(statement)
    for table in ("instaveo_creators", "generations", "instaveo_videos", "instaveo_scores"):
        await connection.execute(f"VACUUM ANALYZE {table}")


def cpu_seconds(server: PostgresServer) -> float:
    """What this process and the whole server have used so far."""
    postgres = psutil.Process(server.process.pid)
    used = [each.cpu_times() for each in (psutil.Process(), postgres, *postgres.children(recursive=True))]
    return sum(each.user + each.system for each in used)


async def settle(admin_url: str) -> None:
    """Writes down what the filling has left behind, so that no page waits for a disk that is busy with it."""
    connection = await asyncpg.connect(admin_url)
    await connection.execute("CHECKPOINT")
    await connection.close()


async def timed(number: int, *each: Callable[[], Awaitable[Any]]) -> list[list[float]]:
    """Seconds of each of several, which take turns, one after another; the first few fill caches."""
    found: list[list[float]] = [[] for _ in each]
    for turn in range(number + WARM):
        for once, seconds in zip(each, found, strict=True):
            began = time.perf_counter()
            await once()
            if turn >= WARM:
                seconds.append(time.perf_counter() - began)
    return found


async def read_feed(connection: asyncpg.Connection, database: Database, number: int) -> list[list[float]]:
    """Pages from all over the feed, where a long scroll may be; and nothing, between any two."""
    places = await connection.fetch("SELECT score, video_id FROM instaveo_scores ORDER BY random() LIMIT 500")
    cursors = [None, *(Cursor(0, row["score"], row["video_id"]).encode() for row in places)]
    videos, dice = Feed(database), random.Random(1)

    async def page() -> None:
        found = await videos.page(PAGE, dice.choice(cursors))
        assert found.videos

    return await timed(number, page, database.check)


async def react(connection: asyncpg.Connection, databases: list[Database], users: int) -> tuple[float, bool]:
    """Reactions a second on one video while the ranking goes on; whether each was counted."""
    hot = await connection.fetchval("SELECT id FROM instaveo_videos LIMIT 1")
    await connection.execute("UPDATE instaveo_videos SET likes = 0, dislikes = 0 WHERE id = $1", hot)
    processes, places = [Interactions(database) for database in databases], asyncio.Semaphore(AT_ONCE * PROCESSES)

    async def one(number: int, user: UUID) -> None:
        async with places:
            first, second = ("like", "dislike") if number % 3 else ("dislike", "like")
            await processes[number % PROCESSES].react(hot, user, first)  # type: ignore[arg-type]
            await processes[(number + 1) % PROCESSES].react(hot, user, second)  # type: ignore[arg-type]

    async def rank() -> None:
        ranking = Ranking(databases[0], every_seconds=0.5)
        while True:
            await ranking.round()
            await asyncio.sleep(0.5)

    ranked = asyncio.create_task(rank())
    began = time.perf_counter()
    await asyncio.gather(*(one(number, uuid4()) for number in range(users)))
    seconds = time.perf_counter() - began
    ranked.cancel()
    await asyncio.gather(ranked, return_exceptions=True)
    counted = await connection.fetchrow("SELECT likes, dislikes FROM instaveo_videos WHERE id = $1", hot)
    said = dict(
        await connection.fetch(
            "SELECT reaction, count(*) FROM instaveo_reactions WHERE video_id = $1 GROUP BY reaction", hot
        )
    )
    liked = sum(number % 3 == 0 for number in range(users))
    is_exact = tuple(counted) == (liked, users - liked) == (said["like"], said["dislike"])
    return 2 * users / seconds, is_exact


async def plans(database: Database) -> dict[str, str]:
    """As the gateway's own connections plan them."""
    values = {"epoch": None, "score": float("inf"), "video_id": UUID(int=(1 << 128) - 1), "limit": PAGE + 1}
    found = {}
    for name, statement, given in [
        ("feed page of 20", feed.PAGE, values),
        ("leaderboard of 10", creators.TOP, {"limit": 10}),
    ]:
        explained = text(f"EXPLAIN (ANALYZE, BUFFERS) {statement.text}")
        async with database.statement() as connection:
            found[name] = "\n".join((await connection.execute(explained, given)).scalars())
    return found


async def measure(videos: int, makers: int, pages: int, users: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="darkroom-feed-") as folder:
        server = PostgresServer(Path(folder) / "postgres")
        server.start()
        try:
            admin_url = urlsplit(server.admin_url)._replace(path="/darkroom").geturl()
            urls = service_urls(admin_url, dict.fromkeys(SERVICES, "bench"))
            await migrate(admin_url, urls)
            url = urls["gateway"]
            connection = await asyncpg.connect(url)
            await fill(connection, videos, makers)
            await settle(admin_url)
            databases = [Database(DatabaseSettings(database_url=SecretStr(url)), "gateway") for _ in range(PROCESSES)]
            board = Creators(databases[0])
            before = cpu_seconds(server)
            read, nothing = await read_feed(connection, databases[0], pages)
            cpu = 1000 * (cpu_seconds(server) - before) / (pages + WARM)
            [top] = await timed(pages, lambda: board.top(10))
            explained = await plans(databases[0])
            rate, is_exact = await react(connection, databases, users)
            for database in databases:
                await database.close()
            await connection.close()
        finally:
            server.stop()
    rows = {
        "feed page of 20, p50 ms": percentile(read, 0.5),
        "feed page of 20, p99 ms": percentile(read, 0.99),
        "SELECT 1 between two pages, p50 ms": percentile(nothing, 0.5),
        "SELECT 1 between two pages, p99 ms": percentile(nothing, 0.99),
        "feed page of 20 with it, CPU ms": cpu,
        "leaderboard of 10, p50 ms": percentile(top, 0.5),
        "leaderboard of 10, p99 ms": percentile(top, 0.99),
        "reactions/s on one video": rate,
    }
    return {
        "rows": rows,
        "videos": videos,
        "creators": makers,
        "reactions": 2 * users,
        "no reaction lost": is_exact,
        "feed is index-only": "Index Only Scan Backward using ix_instaveo_scores_feed" in explained["feed page of 20"],
        "plans": explained,
    }


def show(measured: dict[str, Any]) -> None:
    table = Table("", "measured", "goal", title=f"{measured['videos']} videos, {measured['creators']} creators")
    for row, value in measured["rows"].items():
        goal = f"≤ {GOALS[row]}" if row in GOALS else f"≥ {LEAST_REACTIONS}" if row.startswith("reactions") else ""
        table.add_row(row, f"{value:.2f}", goal)
    load = os.getloadavg()[0]
    table.caption = f"load of the machine: {load:.1f} on {os.cpu_count()} processors"
    for fact in ("no reaction lost", "feed is index-only"):
        table.add_row(fact, str(measured[fact]), "True")
    console = Console()
    console.print(table)
    for name, plan in measured["plans"].items():
        console.print(f"\n{name}\n{plan}", highlight=False, markup=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--creators", type=int, default=100_000)
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--users", type=int, default=10_000, help="each reacts twice")
    given = parser.parse_args()
    measured = asyncio.run(measure(given.videos, given.creators, given.pages, given.users))
    show(measured)
    RESULTS.mkdir(exist_ok=True)
    measured |= {"machine": platform.platform(), "python": platform.python_version()}
    (RESULTS / time.strftime("feed-%Y-%m-%dT%H%M%S.json")).write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
