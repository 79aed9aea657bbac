"""Which tables there are, as the database itself says it (`views.columns` and `views.relationships`)."""

import time
from collections import defaultdict
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.dialects.supabase.errors import RestError, unknown_relationship, unknown_schema, unknown_table
from runtime.database import Database

BELIEVED_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 2.0
"""Between two looks for what was not found: it may have been made a moment ago."""

_COLUMNS = text("SELECT schema, relation, name, type FROM views.columns ORDER BY schema, relation, position")
_RELATIONSHIPS = text("SELECT schema, relation, name, target, to_one FROM views.relationships")


@dataclass(frozen=True, slots=True)
class Relationship:
    """A function of that name in the schema, from a row to rows of `target`."""

    name: str
    target: str
    to_one: bool


@dataclass(slots=True)
class Relation:
    """A view: column → type."""

    schema: str
    name: str
    columns: dict[str, str] = field(default_factory=dict)
    relationships: dict[str, Relationship] = field(default_factory=dict)


class Catalog:
    """What is exported, kept for a minute."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._schemas: dict[str, dict[str, Relation]] = {}
        self._looked_at = -BELIEVED_SECONDS

    async def schema_of(self, name: str) -> str:
        """Raises RestError for a schema that is not exported."""
        if name not in await self._known() and name not in await self._known(LOOK_AGAIN_SECONDS):
            raise unknown_schema(name, sorted(self._schemas))
        return name

    async def relation(self, schema: str, name: str) -> Relation:
        """Raises RestError."""
        await self.schema_of(schema)
        if name not in self._schemas[schema]:
            await self._known(LOOK_AGAIN_SECONDS)
        found = self._schemas.get(schema, {}).get(name)
        if found is None:
            raise unknown_table(schema, name)
        return found

    async def related(self, relation: Relation, name: str) -> tuple[Relationship, Relation]:
        """Raises RestError."""
        found = relation.relationships.get(name)
        if found is None:
            raise unknown_relationship(relation.name, name)
        return found, await self.relation(relation.schema, found.target)

    async def _known(self, seconds: float = BELIEVED_SECONDS) -> dict[str, dict[str, Relation]]:
        if time.monotonic() - self._looked_at > seconds:
            self._schemas = await self._look()
            self._looked_at = time.monotonic()
        return self._schemas

    async def _look(self) -> dict[str, dict[str, Relation]]:
        schemas: dict[str, dict[str, Relation]] = defaultdict(dict)
        try:
            async with self._database.statement() as connection:
                columns = await connection.execute(_COLUMNS)
                relationships = await connection.execute(_RELATIONSHIPS)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in {"42P01", "3F000"}:
                raise
            raise RestError(503, "PGRST002", "There are no tables here yet: 'darkroom migrate' makes them.") from error
        for row in columns:
            relation = schemas[row.schema].setdefault(row.relation, Relation(row.schema, row.relation))
            relation.columns[row.name] = row.type
        for row in relationships:
            schemas[row.schema][row.relation].relationships[row.name] = Relationship(row.name, row.target, row.to_one)
        return dict(schemas)
