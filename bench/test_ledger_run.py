"""The long run of the ledger, for ten seconds."""

from pathlib import Path

import pytest

from bench.ledger_run import run

pytestmark = pytest.mark.connected
SECONDS = 10.0
AUDIT_SECONDS = 1.5


@pytest.mark.timeout(180)
async def test_p4_to_p8_nothing_is_wrong_at_any_moment_while_everything_happens_at_once(tmp_path: Path) -> None:
    found = await run(tmp_path, SECONDS, AUDIT_SECONDS)
    assert found["wrong"] == []
    assert found["audits"] >= 3
    happened = ("captured", "released", "insufficient_credits", "daily_cap_reached")
    assert all(found.get(f"holds {state}") for state in happened), found
