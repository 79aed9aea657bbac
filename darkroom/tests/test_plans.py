"""What is run for every generation finds its rows by their keys, however many others there are (docs/adr/0047)."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import TextClause

import generator.statements
import ledger.accounts
import ledger.holds
import ledger.operations
import storage.assets
from gateway import records, turns
from runtime.database import _compiled, _server_settings

pytestmark = pytest.mark.connected

HOT = {
    "gateway": {
        **{name: getattr(records, name) for name in ("_INSERT", "_GET", "_FOLLOW", "_FINISH", "_ENDED", "_RECORDED")},
        **{name: getattr(turns, name) for name in ("_COUNT", "_ADMIT", "_CLAIM_DUE")},
    },
    "generator": {
        name: getattr(generator.statements, name) for name in ("CLAIM", "SAVE", "RENEW", "CLOSE", "GIVE_UP", "TAKE_DUE")
    },
    "ledger": {
        **{name: getattr(ledger.holds, name) for name in ("_OPEN_USUAL", "_CLAIM", "_LOOK", "_LOCK", "_CLOSE_OPEN")},
        **{name: getattr(ledger.accounts, name) for name in ("_BALANCES", "_POST")},
        "_BALANCE": ledger.operations._BALANCE,
    },
    "storage": {name: getattr(storage.assets, name) for name in ("_KNOWN", "_OPEN", "_FINISH", "_CLOSE", "_SEEK")},
}
SCANS = {"Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Index Scan"}


@pytest.fixture
async def connection(migrated_url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(migrated_url, server_settings=_server_settings("plans"))
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("schema", "statement"),
    [
        pytest.param(schema, each, id=f"{schema}.{name}")
        for schema, found in HOT.items()
        for name, each in found.items()
    ],
)
async def test_it_reads_no_table_and_no_index_whole(
    connection: asyncpg.Connection, schema: str, statement: TextClause
) -> None:
    """Planned while the tables are empty, as it is at a service's first start; the plan is kept while they grow."""
    await connection.execute(f"SET search_path = {schema}")
    query, names, _ = _compiled(statement)
    await connection.execute(f"PREPARE hot AS {query}")
    found = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE hot ({', '.join(['NULL'] * len(names))})")
    scans = [node for node in _nodes(json.loads(found)[0]["Plan"]) if node["Node Type"] in SCANS]
    whole = [node for node in scans if "Index Cond" not in node]
    assert [node.get("Index Name", node.get("Relation Name")) for node in whole] == []


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)
