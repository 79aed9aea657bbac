"""The auditor finds nothing where all is well, and says what is as designed without calling it wrong (design.md §3)."""

import asyncio
import json
import os
import time
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from contracts.topology import OUTCOMES, outcome_subject
from darkroom.audit import audit
from darkroom.audit.audit import _snapshot
from darkroom.jetstream import ask
from darkroom.main import app
from darkroom.topology.apply import apply

pytestmark = pytest.mark.connected


async def test_nothing_is_found_where_all_is_well(world: Any) -> None:
    assert world.trio.completed.cost == 10_000, "one of two was delivered, and charged"
    assert await world.audit() == []
    assert await world.audit(deep=True) == []
    report = await world.report()
    looked_at = {result.check: result.looked_at for result in report.results}
    assert looked_at.pop("corrected") == 0
    assert all(looked_at.values()), "an audit that looks at nothing is always clean"


async def test_a_webhook_that_is_told_again_later_is_no_defect(world: Any) -> None:
    """Whoever was away for days asks for all that was parked."""
    await world.plant("""
        UPDATE gateway.deliveries SET state = 'pending', attempts = 0, next_at = now(), ended_at = NULL,
            created_at = now() - interval '9 days'
    """)
    assert await world.audit() == []


async def test_a_webhook_is_not_owed_what_ended_before_it_was_switched_on(world: Any) -> None:
    await world.plant("DELETE FROM gateway.deliveries")
    assert await world.audit() == []
    await world.plant("UPDATE gateway.webhooks SET owed_since = now() - interval '2 hours', state = 'disabled'")
    assert await world.audit() == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE generator.models SET unknown_policy = 'fail', policy_since = now()",
        "DELETE FROM generator.models",
    ],
)
async def test_an_attempt_that_was_repeated_by_a_former_policy_is_noted_and_not_wrong(world: Any, change: str) -> None:
    """design.md §3.7."""
    await world.plant("""
        INSERT INTO generator.attempts (id, generation_id, item, number, first_index, count, state, provider, process,
            fence, ended_at) SELECT gen_random_uuid(), generation_id, item, 2, first_index, count, 'unknown', provider,
            process, fence, now() FROM generator.attempts WHERE id = '{completed_attempt}'
    """)
    await world.plant(change)
    noted = [finding for finding in await world.audit() if finding.check == "paid twice"]
    assert {finding.severity for finding in noted} == {"note"}
    assert any("perhaps another then" in finding.words for finding in noted)


async def test_bytes_that_changed_on_the_disk_are_found(world: Any) -> None:
    """design.md §3.8."""
    path = world.object_path(world.trio)
    path.write_bytes(path.read_bytes().swapcase())
    for deep in (False, True):
        (finding,) = await world.audit(deep=deep)
        assert finding.check == "object differs"
        assert "hash" in finding.words


async def test_objects_that_are_gone_and_those_that_nothing_names_are_found_by_the_listing(world: Any) -> None:
    """design.md §3.8: of objects older than the newest that are read, the listing knows."""
    await world.plant("""
        INSERT INTO storage.assets (id, generation_id, index, owner_id, token, state, mime_type, size_bytes, sha256)
        SELECT gen_random_uuid(), NULL, 0, '{user}', 'token-' || n, 'deleted', 'image/png', 1, lpad(n::text, 64, '0')
        FROM generate_series(1, 2500) AS n
    """)
    for number in range(1, 2501):
        world.object_path(world.trio).with_name(f"{number:064}").write_bytes(b"1")
    assert await world.audit() == []
    for number in (1, 700, 2500):
        world.object_path(world.trio).with_name(f"{number:064}").unlink()
    found = await world.audit()
    assert {finding.check for finding in found} == {"objects listed"}
    assert len(found) == 3 and all("is gone" in finding.words for finding in found)


async def test_an_object_that_nothing_names_is_found_when_it_is_old(world: Any) -> None:
    name = f"{world.trio.user}/{'a' * 64}"
    path = world.media_root / name
    begun = world.media_root / ".begun/half"
    begun.parent.mkdir()
    for file, days in ((path, 0.5), (begun, 30)):
        file.write_bytes(b"nobody's")
        os.utime(file, (time.time() - days * 86_400,) * 2)
    assert await world.audit() == []
    os.utime(path, (time.time() - 30 * 86_400,) * 2)
    (finding,) = await world.audit()
    assert (finding.check, finding.about) == ("objects listed", name)
    assert begun.exists(), "an audit changes nothing"
    await world.plant(f"""
        INSERT INTO storage.assets (id, generation_id, index, owner_id, token, state, mime_type, size_bytes, sha256)
        VALUES (gen_random_uuid(), NULL, 0, '{{user}}', 'purged', 'purged', 'image/png', 8, '{"a" * 64}')
    """)
    assert await world.audit() == [], "it was purged just now, and the collector will see it"


async def test_calls_without_an_attempt_and_second_calls_are_found(world: Any) -> None:
    """design.md §3.7: one paid call per attempt."""
    await world.call_provider(None)
    await world.call_provider(str(world.trio.completed.attempt))
    found = await world.audit()
    assert {finding.check for finding in found} == {"calls"}
    assert any("1 calls without an attempt" in finding.words for finding in found)
    assert any(finding.about == str(world.trio.completed.attempt) and "2 calls" in finding.words for finding in found)


async def test_what_was_applied_before_the_log_was_made_is_noted_and_not_wrong(world: Any) -> None:
    """design.md §3.5: the log decides, the rows remember."""
    await ask(world.log, f"STREAM.DELETE.{OUTCOMES.name}")
    await apply(world.log)
    other = world.trio.failed.outcome.model_copy(update={"source": "gateway"})
    await world.log.jetstream().publish(outcome_subject(world.trio.completed.id), other.encode())
    long_ago = """jsonb_set(outcome::jsonb, '{time}', '"2026-01-01T00:00:00Z"')"""
    for table in ("gateway.generations", "generator.work", "storage.generations", "ledger.holds"):
        kind = "json" if table == "ledger.holds" else "jsonb"
        await world.plant(f"UPDATE {table} SET outcome = {long_ago}::{kind} WHERE outcome IS NOT NULL")
    found = await world.audit()
    assert [(finding.check, finding.severity) for finding in found] == [("outcome differs", "note")] * 4


async def test_what_another_version_does_not_say_is_no_difference(world: Any) -> None:
    """While versions change, one keeps in its words what the other said, who knows no `calls` yet."""
    await world.plant("""
        UPDATE gateway.generations SET outcome = jsonb_set(outcome, '{data,calls}', '[]') WHERE outcome IS NOT NULL;
        UPDATE generator.work SET outcome = outcome #- '{data,calls}' WHERE outcome IS NOT NULL;
    """)
    assert await world.audit() == []


async def test_a_lag_within_the_time_to_settle_is_no_defect(world: Any) -> None:
    await world.plant("""
        UPDATE gateway.generations SET completed_at = now() - interval '10 seconds' WHERE id = '{failed}';
        UPDATE ledger.holds SET state = 'open', closed_at = NULL, outcome = NULL, outcome_id = NULL
        WHERE generation_id = '{failed}';
        DELETE FROM ledger.postings USING ledger.transactions t
        WHERE t.id = transaction_id AND t.key = 'settle:{failed}';
        DELETE FROM ledger.transactions WHERE key = 'settle:{failed}';
        UPDATE ledger.accounts SET available = available - 2 * {price}, held = held + 2 * {price}
    """)
    assert await world.audit() == []
    (finding,) = await world.audit(settle_seconds=5)
    assert finding.check == "hold not ended"
    assert finding.about == str(world.trio.failed.id)


async def test_a_client_that_still_waits_though_the_log_knows_the_end_is_found(world: Any) -> None:
    """design.md §3.4: the ledger heard what its client never does."""
    await world.plant("""
        UPDATE gateway.generations SET status = 'processing', outcome = NULL, completed_at = NULL
        WHERE id = '{failed}';
        UPDATE gateway.slots SET taken = 2
    """)
    assert await world.audit() == [], "it may just have ended"
    (finding,) = await world.audit(settle_seconds=0)
    assert (finding.check, finding.about) == ("outcome differs", str(world.trio.failed.id))
    assert "still processing" in finding.words


@pytest.mark.parametrize("state", ["open", "rendered"])
async def test_work_that_is_not_closed_is_found_where_its_end_was_heard_by_others(world: Any, state: str) -> None:
    """design.md §3.3. What ended before the log was made may never be heard, and goes on until its deadline."""
    await world.plant(f"""
        UPDATE generator.work SET state = '{state}', outcome = NULL, deadline_at = now() + interval '1 hour'
        WHERE generation_id = '{{failed}}'
    """)
    assert await world.audit(grace_seconds=0) == [], "the log is newer"
    await world.plant("UPDATE gateway.generations SET completed_at = now() WHERE id = '{failed}'")
    assert await world.audit() == [], "it may just have ended"
    (finding,) = await world.audit(grace_seconds=0)
    assert (finding.check, finding.about) == ("still worked on", str(world.trio.failed.id))


async def test_who_waits_while_something_of_theirs_is_at_work_is_no_defect(world: Any) -> None:
    """design.md §2.7."""
    await world.plant("""
        UPDATE gateway.generations SET status = 'pending', published = false, created_at = now() - interval '10 days'
        WHERE id = '{unfinished}';
        UPDATE gateway.generations SET completed_at = now() WHERE id = '{completed}';
        UPDATE gateway.slots SET taken = 0, waiting = 1
    """)
    assert await world.audit() == [], "the slot is only just free"
    await world.plant(
        "UPDATE gateway.generations SET completed_at = now() - interval '1 hour' WHERE id = '{completed}'"
    )
    assert {finding.check for finding in await world.audit()} == {"unfinished"}


async def test_nobody_needs_to_hear_of_what_never_cost_anything(world: Any) -> None:
    """Without a hold nothing was set aside: where the log was lost since, the ledger will not hear of it."""
    await world.plant("DELETE FROM ledger.holds WHERE generation_id = '{failed}'; DELETE FROM ledger.accounts")
    assert "hold not ended" not in {finding.check for finding in await world.audit()}, "the log is newer"
    await world.plant("UPDATE gateway.generations SET completed_at = now() WHERE id = '{failed}'")
    found = await world.audit(settle_seconds=0)
    assert ("hold not ended", str(world.trio.failed.id)) in {(finding.check, finding.about) for finding in found}


async def test_a_correction_is_listed_and_makes_good_what_it_corrects(world: Any) -> None:
    """design.md §3.5: captured, then refunded because the client had been told that it failed."""
    captured = """
        UPDATE ledger.holds SET captured = {price}, state = 'captured', outcome_id = gen_random_uuid(),
               outcome = '{"time": "2026-01-01T00:00:00Z", "data": {"verdict": "completed"}}'
        WHERE generation_id = '{failed}';
        UPDATE ledger.postings SET amount = {price} FROM ledger.transactions t
        WHERE t.id = transaction_id AND t.key = 'settle:{failed}' AND purse = 'available';
        INSERT INTO ledger.postings SELECT id, 'revenue', '{user}', {price}
        FROM ledger.transactions WHERE key = 'settle:{failed}';
        UPDATE ledger.accounts SET available = available - {price}, used = used + {price}
    """
    refunded = """
        INSERT INTO ledger.transactions (key, type) VALUES ('refund:{failed}', 'refund');
        INSERT INTO ledger.postings SELECT max(id), 'revenue', '{user}', -{price} FROM ledger.transactions;
        INSERT INTO ledger.postings SELECT max(id), 'available', '{user}', {price} FROM ledger.transactions;
        INSERT INTO ledger.corrections (generation_id, user_id, type, amount, applied, told)
        SELECT h.generation_id, h.user_id, 'refund', {price}, h.outcome, g.outcome::json
        FROM ledger.holds h JOIN gateway.generations g ON g.id = h.generation_id WHERE h.generation_id = '{failed}';
        UPDATE ledger.accounts SET available = available + {price}, used = used - {price}
    """
    await world.plant(captured)
    assert {finding.check for finding in await world.audit() if finding.severity == "wrong"} == {"charged wrongly"}
    await world.plant(refunded)
    found = await world.audit()
    assert [finding for finding in found if finding.severity == "wrong"] == []
    (listed,) = [finding for finding in found if finding.check == "corrected"]
    assert listed.about == str(world.trio.failed.id)
    assert "refund of 1 credits" in listed.words
    assert "told failed, applied was completed" in listed.words


async def test_what_an_operators_account_pays_for_is_looked_up_there(world: Any) -> None:
    """It is held and captured on the account that the gateway named, and the user's own stays as it was."""
    payer = "00000000-0000-4000-8000-00000000000a"
    await world.plant(f"""
        UPDATE gateway.generations SET payer_id = '{payer}' WHERE id = '{{completed}}';
        INSERT INTO ledger.accounts (user_id, available, held, used) VALUES ('{payer}', 0, 0, 0)
    """)
    (finding,) = [each for each in await world.audit() if each.severity == "wrong"]
    assert (finding.check, finding.about) == ("charged wrongly", str(world.trio.completed.id))
    await world.plant(f"""
        UPDATE ledger.holds SET user_id = '{payer}' WHERE generation_id = '{{completed}}';
        UPDATE ledger.postings SET user_id = '{payer}' FROM ledger.transactions t
        WHERE t.id = transaction_id AND t.key IN ('hold:{{completed}}', 'settle:{{completed}}');
        INSERT INTO ledger.transactions (key, type) VALUES ('grant:{payer}', 'grant');
        INSERT INTO ledger.postings SELECT max(id), 'issuance', '{payer}', -50000 FROM ledger.transactions;
        INSERT INTO ledger.postings SELECT max(id), 'available', '{payer}', 50000 FROM ledger.transactions;
        UPDATE ledger.accounts SET available = 50000 - {{price}}, used = {{price}} WHERE user_id = '{payer}';
        UPDATE ledger.accounts SET available = available + {{price}}, used = used - {{price}} WHERE user_id = '{{user}}'
    """)
    assert await world.audit() == []


async def test_what_is_not_named_is_skipped_and_said(world: Any) -> None:
    from darkroom.audit import examine

    report = await examine(world.database_url)
    assert report.clean
    assert {result.check for result in report.results if result.skipped} == {
        "outcome differs",
        "calls",
        "object differs",
        "objects listed",
    }
    assert await audit(world.database_url) == []


async def test_the_audit_can_change_nothing(world: Any) -> None:
    async with AsyncExitStack() as stack:
        connection = await _snapshot(world.database_url, stack)
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("DELETE FROM ledger.holds")


async def test_the_command_ends_with_one_and_says_what_is_wrong(world: Any) -> None:
    environment = {
        "DATABASE_URL": world.database_url,
        "NATS_URL": world.nats_url,
        "SIMULATOR_URL": world.simulator_url,
        "COLUMNS": "200",
        **world.storage_environment,
    }
    runner = CliRunner(env=environment)

    async def run(*words: str) -> Any:
        return await asyncio.to_thread(runner.invoke, app, ["audit", "--data", "/nowhere", *words])

    clean = await run("--deep")
    assert clean.exit_code == 0, clean.output
    assert "Nothing is wrong" in clean.output
    await world.plant("UPDATE ledger.holds SET captured = 2 * {price} WHERE generation_id = '{completed}'")
    wrong = await run()
    assert wrong.exit_code == 1
    assert f"{world.trio.completed.id} completed with 1 delivered costs 10000 units, 20000 were charged" in wrong.output
    report = json.loads((await run("--json")).output)
    assert report["clean"] is False
    assert {check["check"] for check in report["checks"] if check["findings"]} == {"charged wrongly", "revenue differs"}
