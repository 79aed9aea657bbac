"""Whether a service's schema is what its code expects: what a process waits for before it begins."""

import asyncio
import time
from pathlib import Path

import asyncpg

from darkroom.migration import CONNECT_SECONDS

WAIT_SECONDS = 600
LOOK_AGAIN_SECONDS = 2.0
_AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


async def wait_until_migrated(database_url: str, migrations: Path) -> bool:
    """Whether the schema got there in 10 minutes. A database that is away, or knows no such role yet, is waited for."""
    give_up_at = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            if is_expected(await revision_of(database_url), migrations):
                return True
        except _AWAY:
            pass
        if time.monotonic() > give_up_at:
            return False
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def revision_of(database_url: str) -> str | None:
    """The revision that a service's schema has, asked as the service itself; None where nothing was migrated.

    Raises:
        OSError, asyncpg.PostgresError, asyncpg.InterfaceError: the database is away, or refuses the role.
    """
    connection = await asyncpg.connect(database_url, timeout=CONNECT_SECONDS)
    try:
        revision = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close()
    return None if revision is None else str(revision)


def is_expected(revision: str | None, migrations: Path) -> bool:
    """The newest one that this code has, or a newer one that it has never heard of: migrations only add."""
    known, newest = history(migrations)
    return revision is not None and (revision == newest or revision not in known)


def history(migrations: Path) -> tuple[set[str], str | None]:
    """Every revision that this code has, and the newest."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(migrations))
    scripts = ScriptDirectory.from_config(config)
    return {script.revision for script in scripts.walk_revisions()}, scripts.get_current_head()
