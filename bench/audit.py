"""`python -m bench.audit`: what an audit of a million generations takes, check by check.

The rows are written by SQL, as the services would leave them: users with a thousand generations each, nine of ten
completed. Without objects, and without the log, which is read in batches of a thousand.
"""

import argparse
import asyncio
import json
import platform
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import psutil

from darkroom import namespaces
from darkroom.audit.audit import CHECKS, WORK_MEMORY
from darkroom.audit.evidence import Bounds, Evidence
from darkroom.embedded import PostgresServer
from darkroom.migration import migrate, service_urls
from darkroom.stack import SERVICES

RESULTS = Path(__file__).parent / "results"
PER_USER = 1000
PRICE = 10_000
_FILL = f"""
    SET session_replication_role = replica;
    CREATE TEMP TABLE made AS
        SELECT n, gen_random_uuid() AS id, gen_random_uuid() AS asset, gen_random_uuid() AS attempt,
            gen_random_uuid() AS said, md5((n / {PER_USER})::text)::uuid AS user_id,
            CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'completed' END AS verdict,
            now() - interval '1 day' - n * interval '1 second' / 100 AS at
        FROM generate_series(1, $ROWS) AS n;
    ALTER TABLE made ADD outcome text;
    UPDATE made SET outcome = jsonb_build_object('id', said, 'time', at, 'source', 'storage', 'data',
        jsonb_build_object('generation_id', id, 'verdict', verdict, 'assets', CASE verdict WHEN 'completed' THEN
            jsonb_build_array(jsonb_build_object('id', asset, 'index', 0, 'sha256', md5(n::text) || md5(n::text),
                'key', n || '.png', 'mime_type', 'image/png', 'size_bytes', 1)) ELSE '[]'::jsonb END))::text;
    INSERT INTO gateway.generations (id, user_id, quote_amount, unit_price, price_version, dialect, kind, lane, model,
            prompt, count, options, published, body_hash, deadline_seconds, p99_seconds, next_drive_at, created_at,
            deadline_at, status, completed_at, outcome)
        SELECT id, user_id, {PRICE}, {PRICE}, 1, 'native', 'image', 'interactive', 'dall-e-2', 'a lighthouse', 1,
            '{{}}', true, '', 300, 60, at, at, at + interval '5 minutes', verdict, at, outcome::jsonb FROM made;
    INSERT INTO ledger.holds (generation_id, user_id, amount, unit_price, price_version, state, captured, closed_at,
            outcome_id, outcome)
        SELECT id, user_id, {PRICE}, {PRICE}, 1, CASE verdict WHEN 'completed' THEN 'captured' ELSE 'released' END,
            CASE verdict WHEN 'completed' THEN {PRICE} ELSE 0 END, at, said, outcome::json FROM made;
    INSERT INTO ledger.transactions (key, type, generation_id) SELECT 'hold:' || id, 'hold', id FROM made;
    INSERT INTO ledger.transactions (key, type, generation_id)
        SELECT 'settle:' || id, CASE verdict WHEN 'completed' THEN 'capture' ELSE 'release' END, id FROM made;
    INSERT INTO ledger.transactions (key, type)
        SELECT 'grant:' || user_id, 'grant' FROM made GROUP BY user_id;
    INSERT INTO ledger.postings (transaction_id, purse, user_id, amount)
        SELECT t.id, p.purse, made.user_id, p.amount FROM made JOIN ledger.transactions t ON t.key = 'hold:' || made.id,
            LATERAL (VALUES ('available', -{PRICE}), ('held', {PRICE})) AS p (purse, amount);
    INSERT INTO ledger.postings (transaction_id, purse, user_id, amount)
        SELECT t.id, p.purse, made.user_id, p.amount
        FROM made JOIN ledger.transactions t ON t.key = 'settle:' || made.id,
            LATERAL (VALUES ('held', -{PRICE}),
                (CASE made.verdict WHEN 'completed' THEN 'revenue' ELSE 'available' END, {PRICE})) AS p (purse, amount);
    INSERT INTO ledger.postings (transaction_id, purse, user_id, amount)
        SELECT t.id, p.purse, made.user_id, p.amount FROM (SELECT DISTINCT user_id FROM made) made
            JOIN ledger.transactions t ON t.key = 'grant:' || made.user_id,
            LATERAL (VALUES ('issuance', -{PRICE} * {PER_USER} * 2), ('available', {PRICE} * {PER_USER} * 2))
                AS p (purse, amount);
    INSERT INTO ledger.accounts (user_id, available, held, used)
        SELECT user_id, sum(amount) FILTER (WHERE purse = 'available'), 0,
            coalesce(sum(amount) FILTER (WHERE purse = 'revenue'), 0) FROM ledger.postings GROUP BY user_id;
    INSERT INTO generator.work (generation_id, state, request, deadline_at, fence, outcome)
        SELECT id, 'closed', jsonb_build_object('model', 'dall-e-2'), at, 1, outcome::jsonb FROM made;
    INSERT INTO generator.attempts (id, generation_id, item, number, first_index, count, state, provider, process,
            fence, created_at, ended_at)
        SELECT attempt, id, 0, 1, 0, 1, CASE verdict WHEN 'completed' THEN 'rendered' ELSE 'failed' END, 'openai',
            attempt, 1, at, at FROM made;
    INSERT INTO storage.generations (generation_id, outcome, opened_at, closed_at)
        SELECT id, outcome::jsonb, at, at FROM made;
    INSERT INTO storage.assets (id, generation_id, index, owner_id, token, state, mime_type, size_bytes, sha256)
        SELECT asset, id, 0, user_id, id::text, 'stored', 'image/png', 1, md5(n::text) || md5(n::text)
        FROM made WHERE verdict = 'completed';
    INSERT INTO gateway.slots SELECT DISTINCT user_id, 'interactive', 0, 0 FROM made
"""


def processor_seconds(server: PostgresServer) -> float:
    """Of the server's processes and of ours."""
    postmaster = psutil.Process(server.process.pid)
    total = sum(sum(process.cpu_times()[:4]) for process in [postmaster, *postmaster.children(recursive=True)])
    used = resource.getrusage(resource.RUSAGE_SELF)
    return total + used.ru_utime + used.ru_stime


def keep(rows: int, seconds: float, processor: float) -> None:
    kept = {
        "rows": {"audit, s": seconds, "audit, CPU-s": processor},
        "generations": rows,
        "machine": platform.platform(),
        "python": platform.python_version(),
    }
    RESULTS.joinpath(f"audit-{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json").write_text(json.dumps(kept, indent=1) + "\n")


async def measure(rows: int) -> None:
    with tempfile.TemporaryDirectory(prefix="darkroom-audit-") as folder:
        server = PostgresServer(Path(folder))
        server.start()
        try:
            url = server.admin_url
            await migrate(url, service_urls(url, dict.fromkeys(SERVICES, "secret")))
            connection = await asyncpg.connect(url)
            began = time.monotonic()
            for statement in _FILL.replace("$ROWS", str(rows)).split(";"):
                await connection.execute(statement)
            await connection.execute("ANALYZE")
            await connection.execute(f"SET work_mem = '{WORK_MEMORY}'; SET jit = off")
            print(f"{rows} generations written in {time.monotonic() - began:.0f} s")
            evidence = Evidence(connection, Bounds(), schemas=await namespaces.found(connection))
            whole_began, whole_used = time.monotonic(), processor_seconds(server)
            for check in CHECKS:
                began, used = time.monotonic(), processor_seconds(server)
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    result = await check(evidence)
                passed, spent = time.monotonic() - began, processor_seconds(server) - used
                wrong = [finding.words for finding in result.findings if finding.severity == "wrong"]
                words = f"{result.check:22} {result.looked_at:9} looked at, {passed:6.1f} s, {spent:6.1f} CPU-s"
                print(words, *wrong[:2])
            spent = processor_seconds(server) - whole_used
            passed = time.monotonic() - whole_began
            print(f"all: {passed:.1f} s, {spent:.1f} CPU-s for {rows}")
            keep(rows, passed, spent)
        finally:
            await connection.close()
            server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    asyncio.run(measure(parser.parse_args().rows))
