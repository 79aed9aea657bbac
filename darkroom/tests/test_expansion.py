"""Two versions run side by side: no migration takes away what the code of the version before it reads or writes.

Every history is walked on a real database, one revision at a time. A revision that does take something away, because no
supported version uses it any more, says so: `contracts = ("table.column", …)` beside its `revision`.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from darkroom.histories import migrations_of
from darkroom.stack import SERVICES

pytestmark = pytest.mark.connected

_COLUMNS = text("""
    SELECT table_name || '.' || column_name AS name, data_type AS type, is_nullable = 'YES' AS nullable,
        column_default IS NOT NULL OR is_identity = 'YES' OR is_generated = 'ALWAYS' AS filled
    FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
    WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' AND table_name <> 'alembic_version'
""")


@dataclass(frozen=True)
class Column:
    type: str
    nullable: bool
    filled: bool
    """Whether a row may leave it out."""


Schema = dict[str, Column]


def broken(before: Schema, after: Schema, contracts: tuple[str, ...]) -> list[str]:
    """What code of the version before would stumble over."""
    known_tables = {name.partition(".")[0] for name in before}
    found = []
    for name, column in before.items():
        if name in contracts:
            continue
        now = after.get(name)
        if now is None:
            found.append(f"{name} is gone")
        elif now.type != column.type:
            found.append(f"{name} was {column.type}, is {now.type}")
        elif column.nullable and not now.nullable and not now.filled:
            found.append(f"{name} has to be given")
    for name, column in after.items():
        is_new = name not in before and name.partition(".")[0] in known_tables
        if is_new and not column.nullable and not column.filled and name not in contracts:
            found.append(f"{name} is new and has to be given")
    return found


async def walk(database_url: str, migrations: Path) -> dict[str, list[str]]:
    """Revision → what it breaks."""
    engine = create_async_engine(make_url(database_url).set(drivername="postgresql+asyncpg"))
    config = Config()
    config.set_main_option("script_location", str(migrations))
    revisions = list(ScriptDirectory.from_config(config).walk_revisions())[::-1]
    found = {}
    before: Schema = {}
    try:
        for script in revisions:
            async with engine.begin() as connection:
                after = await connection.run_sync(_step, config, script.revision)
            found[script.revision] = broken(before, after, getattr(script.module, "contracts", ()))
            before = after
    finally:
        await engine.dispose()
    return found


def _step(connection: Connection, config: Config, revision: str) -> Schema:
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    rows = connection.execute(_COLUMNS)
    return {row.name: Column(row.type, row.nullable, row.filled) for row in rows}


@pytest.mark.parametrize("service", SERVICES)
async def test_no_migration_takes_away_what_the_version_before_it_uses(
    service: str, make_database: Callable[[str], str]
) -> None:
    found = await walk(make_database(f"expansion_{service}"), migrations_of(service))
    assert len(found) >= 1
    assert {revision: broken for revision, broken in found.items() if broken} == {}


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER TABLE prices DROP COLUMN per", ["prices.per is gone"]),
        (
            "ALTER TABLE holds RENAME amount TO quoted",
            ["holds.amount is gone", "holds.quoted is new and has to be given"],
        ),
        ("ALTER TABLE prices ALTER version TYPE bigint", ["prices.version was integer, is bigint"]),
        ("ALTER TABLE holds ALTER closed_at SET NOT NULL", ["holds.closed_at has to be given"]),
        ("ALTER TABLE holds ADD COLUMN note text NOT NULL", ["holds.note is new and has to be given"]),
        ("ALTER TABLE holds ADD COLUMN note text", []),
        ("ALTER TABLE holds ADD COLUMN note text NOT NULL DEFAULT ''", []),
        ("CREATE TABLE notes (words text NOT NULL)", []),
        ("DROP TABLE epochs", ["epochs.created is gone", "epochs.seen_at is gone", "epochs.stream is gone"]),
    ],
)
@pytest.mark.parametrize("marked", [False, True])
async def test_a_migration_that_takes_away_is_seen_unless_it_says_so(
    statement: str, said: list[str], marked: bool, make_database: Callable[[str], str], tmp_path: Path
) -> None:
    migrations = tmp_path / "migrations"
    shutil.copytree(migrations_of("ledger"), migrations, ignore=shutil.ignore_patterns("__pycache__"))
    config = Config()
    config.set_main_option("script_location", str(migrations))
    newest = ScriptDirectory.from_config(config).get_current_head()
    contracts = tuple(words.partition(" ")[0] for words in said) if marked else ()
    (migrations / "versions" / "9999_planted.py").write_text(
        f'from alembic import op\n\nrevision = "9999"\ndown_revision = "{newest}"\ncontracts = {contracts!r}\n\n\n'
        f"def upgrade() -> None:\n    op.execute({statement!r})\n"
    )
    found = await walk(make_database("planted"), migrations)
    assert sorted(found["9999"]) == ([] if marked else sorted(said))
