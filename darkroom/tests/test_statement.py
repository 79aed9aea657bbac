"""How an entry of a statement is said to people."""

from datetime import UTC, datetime

import pytest

from contracts.statement import StatementEntry
from darkroom.commands.statement import _words


@pytest.mark.parametrize(
    ("captured", "said"), [(20_000, "captured 2: consumed"), (0, "paid for a generation: consumed")]
)
def test_what_was_consumed_is_not_free_where_a_generation_took_it(captured: int, said: str) -> None:
    entry = StatementEntry(at=datetime.now(UTC), entry="consumed", captured=captured, why="consumed")
    assert _words(entry).splitlines()[1].strip() == said
