"""Rows of others, so that tables are as long as in a Darkroom that has been used."""

from collections.abc import Mapping, Sequence

import asyncpg

COLUMNS = """SELECT attname FROM pg_attribute
    WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity <> 'a'
    ORDER BY attnum"""


async def copied(
    connection: asyncpg.Connection, table: str, where: str, number: int, changes: Mapping[str, str]
) -> None:
    """Copies the rows of a table that are `where` so many times; no trigger looks at them.

    `changes` are columns and what stands there instead, in SQL, where `n` is the copy's number.
    """
    columns: Sequence[str] = [each["attname"] for each in await connection.fetch(COLUMNS, table)]
    values = ", ".join(changes.get(column, f't."{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    copies = f"SELECT {values} FROM {table} t, generate_series(1, $1::int) n WHERE {where}"
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("SET LOCAL synchronous_commit = off")
        await connection.execute(f"INSERT INTO {table} ({names}) {copies}", number)
