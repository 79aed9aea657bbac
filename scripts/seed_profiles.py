"""`python -m scripts.seed_profiles`: demo creators for the instaveo frontend. Run again it changes nothing.

They go into the stack that runs on this machine (`.darkroom`), else into the database that `DATABASE_URL` names.
"""

import asyncio
import sys
from pathlib import Path
from uuid import UUID, uuid5

import asyncpg

from darkroom.commands.options import DEFAULT_DATA
from darkroom.stack import NoStackError, Stack

CREATORS = (
    "aurora-frames",
    "captain.cloud",
    "dune_walker",
    "film-noir",
    "lumen",
    "night.bus",
    "paper_tiger",
    "sea-glass",
)
_DEMO = UUID("0a8f7a34-6d0b-5b7a-9a2e-5f1f0e8f2d11")
# Whoever has the name already keeps it.
_SEED = """
    INSERT INTO gateway.instaveo_creators (id, username)
    SELECT * FROM unnest($1::uuid[], $2::text[]) ON CONFLICT DO NOTHING RETURNING username
"""


async def seed(database_url: str) -> list[str]:
    """The names of those who are new. Raises OSError, asyncpg.PostgresError."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(_SEED, [uuid5(_DEMO, name) for name in CREATORS], list(CREATORS))
    finally:
        await connection.close()
    return [row["username"] for row in rows]


def main(data: Path = DEFAULT_DATA) -> int:
    try:
        made = asyncio.run(seed(Stack.find(data).address("database_url")))
    except (NoStackError, OSError, asyncpg.PostgresError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{len(made)} creators made{': ' if made else ''}{', '.join(made)}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
