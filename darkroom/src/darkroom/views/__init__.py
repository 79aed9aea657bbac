"""The frontends' tables: views over the services' tables, one schema for each dialect, read through Supabase's roles.

`core.sql` says who may see which row of a service's table; `<dialect>.sql` makes the views of one dialect. They own no
data: all of them are dropped and made again each time (docs/adr/0024).
"""

import asyncio
from pathlib import Path

import asyncpg

from darkroom import namespaces
from storage.addresses import EXTENSIONS

LOCK_SECONDS = 5
"""How long the views wait for a table; a service that asks for it meanwhile waits behind them."""
ATTEMPTS = 5
PAUSE_SECONDS = 1.0
DEFAULT_MEDIA_BASE = "http://127.0.0.1:3001"
DOCUMENTS = "docs/supabase"
_FOLDER = Path(__file__).parent
_CORE = "core"
_SCHEMA = "views"
"""What the dialects' files call is in a schema of its own."""
_LOCK = 0x76696577
_BUSY = (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)
_MARK = "Made anew by darkroom migrate: keep nothing of your own here."


def dialects() -> list[str]:
    """The dialects that have tables."""
    return sorted(path.stem for path in _FOLDER.glob("*.sql") if path.stem != _CORE)


async def make(connection: asyncpg.Connection, gateway_role: str, media_base: str) -> None:
    """Drops the views and makes them, all in one transaction. Harmless when repeated, and when another does the same.

    Raises:
        asyncpg.PostgresError: the database refuses, or a table was busy for long.
    """
    schemas = await namespaces.found(connection)
    statements = [
        namespaces.placed(sql, schemas) for sql in (core(gateway_role, media_base), *map(dialect, dialects()))
    ]
    for attempt in range(ATTEMPTS):
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
                await _drop(connection)
                for statement in statements:
                    await connection.execute(statement)
                return
        except _BUSY:
            if attempt == ATTEMPTS - 1:
                raise
            await asyncio.sleep(PAUSE_SECONDS)


async def drop(connection: asyncpg.Connection) -> None:
    """Takes the views away, so that the tables below them may change."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await _drop(connection)


async def _drop(connection: asyncpg.Connection) -> None:
    for name in (*dialects(), _SCHEMA):
        await connection.execute(_dropping(name))


def core(gateway_role: str, media_base: str) -> str:
    """What every dialect's views stand on, as SQL; it takes the views of all dialects away."""
    extensions = " ".join(f"WHEN {_text(mime_type)} THEN {_text(name)}" for mime_type, name in EXTENSIONS.items())
    text = (_FOLDER / f"{_CORE}.sql").read_text()
    values = {
        ":'gateway'": _text(gateway_role),
        ":'media_base'": _text(media_base),
        ":'mark'": _text(_MARK),
        ":extensions": extensions,
    }
    for name, value in values.items():
        text = text.replace(name, value)
    return f"{_dropping(_SCHEMA)}\n{text}\nCOMMENT ON SCHEMA {_SCHEMA} IS {_text(_MARK)};\n"


def dialect(name: str) -> str:
    """The schema of one dialect with its views and who may use them, as SQL to be run after `core`."""
    roles = "anon, authenticated, service_role"
    return f"""{_dropping(name)}
CREATE SCHEMA {name};
COMMENT ON SCHEMA {name} IS {_text(_MARK)};
SET LOCAL search_path = {name};

{(_FOLDER / f"{name}.sql").read_text()}
SET LOCAL search_path TO DEFAULT;
GRANT USAGE ON SCHEMA {name} TO {roles};
GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {roles};
GRANT DELETE ON ALL TABLES IN SCHEMA {name} TO authenticated, service_role;
NOTIFY pgrst, 'reload schema';
"""


def documents() -> dict[str, str]:
    """Path in the repository → what an administrator may run by hand on a hosted Supabase: `core` first."""
    about = "-- Exported by `darkroom schemas` from darkroom/views; `darkroom migrate` runs the same by itself.\n"
    texts = {_CORE: core("gateway", DEFAULT_MEDIA_BASE)} | {name: dialect(name) for name in dialects()}
    # There `storage` is Supabase's own.
    schemas = {"storage": namespaces.other_name("storage")}
    return {
        f"{DOCUMENTS}/{name}.sql": f"{about}\nBEGIN;\n\n{namespaces.placed(text, schemas)}\nCOMMIT;\n"
        for name, text in texts.items()
    }


def _dropping(name: str) -> str:
    """A schema of that name which we did not make stays, and is an error."""
    return f"""DO $drop$
BEGIN
    IF obj_description(to_regnamespace('{name}'), 'pg_namespace') = {_text(_MARK)} THEN
        DROP SCHEMA {name} CASCADE;
    END IF;
END $drop$;
"""


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
