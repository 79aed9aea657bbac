"""SQL for a parsed query. Every name in it is one that the catalog gave; every value is a parameter."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from gateway.dialects.supabase.catalog import Relation, Relationship
from gateway.dialects.supabase.errors import RestError, not_parsed, unknown_column
from gateway.dialects.supabase.query import ALL, MAX_ROWS, Condition, Query

Related = tuple[Relationship, Relation]
_PARSERS: dict[str, Callable[[str], Any]] = {"uuid": UUID, "integer": int, "bigint": int}


class Builder:
    """One query over one relation, with its parameters."""

    def __init__(self, relation: Relation, query: Query, related: Related | None) -> None:
        self._relation = relation
        self._query = query
        self._related = related
        self._embedded = query.embedding
        self.values: dict[str, Any] = {}
        for condition in query.conditions:
            if condition.embedded is not None and (self._embedded is None or condition.embedded != self._embedded.name):
                raise not_parsed("filter", f"{condition.embedded}.{condition.column}")

    def read(self) -> TextClause:
        """One row: `body`, a JSON array, and `rows`, how many are in it."""
        self.values = {"row_limit": self._query.limit, "row_offset": self._query.offset}
        shown = [f"t.{_quoted(name)}" for name in _columns(self._relation, self._query.columns)]
        if self._embedded is not None:
            shown.append(f"e.shown AS {_quoted(self._embedded.name)}")
        order = f"ORDER BY {', '.join(self._order())}" if self._query.order else ""
        return text(
            f"""SELECT CAST(coalesce(json_agg(q), '[]') AS text) AS body, count(*) AS rows FROM (
            SELECT {", ".join(shown)} FROM {self._from()} {self._where()} {order}
            LIMIT CAST(:row_limit AS bigint) OFFSET CAST(:row_offset AS bigint)) AS q"""  # noqa: S608
        )

    def count(self) -> TextClause:
        """How many rows there are, whatever the limit."""
        self.values = {}
        return text(f"SELECT count(*) AS total FROM {self._from()} {self._where()}")  # noqa: S608

    def delete(self) -> TextClause:
        """As `read`, of the rows that it deletes."""
        self.values = {}
        shown = ", ".join(f"t.{_quoted(name)}" for name in _columns(self._relation, self._query.columns))
        return text(
            f"""WITH q AS (DELETE FROM {_table(self._relation)} AS t {self._where()} RETURNING {shown})
            SELECT CAST(coalesce(json_agg(q), '[]') AS text) AS body, count(*) AS rows FROM q"""  # noqa: S608
        )

    def _from(self) -> str:
        table = f"{_table(self._relation)} AS t"
        if self._embedded is None or self._related is None:
            return table
        relationship, target = self._related
        rows = f"{_quoted(target.schema)}.{_quoted(relationship.name)}(t) AS r"
        shown = ", ".join(f"r.{_quoted(name)}" for name in _columns(target, self._embedded.columns))
        matching = self._conditions(target, "r", self._embedded.name)
        where = f"WHERE {' AND '.join(matching)}" if matching else ""
        if relationship.to_one:
            inside = f"SELECT row_to_json(i) AS shown FROM (SELECT {shown} FROM {rows} {where} LIMIT 1) AS i"  # noqa: S608
        else:
            inside = f"""SELECT coalesce(json_agg(i), '[]') AS shown, count(*) AS found
                FROM (SELECT {shown} FROM {rows} {where} LIMIT {MAX_ROWS}) AS i"""  # noqa: S608
        join = "CROSS JOIN" if self._embedded.inner and relationship.to_one else "LEFT JOIN"
        return f"{table} {join} LATERAL ({inside}) AS e{'' if join == 'CROSS JOIN' else ' ON true'}"

    def _where(self) -> str:
        conditions = self._conditions(self._relation, "t", None)
        if self._embedded is not None and self._embedded.inner and self._related and not self._related[0].to_one:
            conditions.append("e.found > 0")
        return f"WHERE {' AND '.join(conditions)}" if conditions else ""

    def _conditions(self, relation: Relation, alias: str, embedded: str | None) -> list[str]:
        return [
            self._equals(relation, alias, condition)
            for condition in self._query.conditions
            if condition.embedded == embedded
        ]

    def _equals(self, relation: Relation, alias: str, condition: Condition) -> str:
        column_type = _type(relation, condition.column)
        _check(column_type, condition.value)
        parameter = f"value_{len(self.values)}"
        self.values[parameter] = condition.value
        return f"{alias}.{_quoted(condition.column)} = CAST(CAST(:{parameter} AS text) AS {column_type})"

    def _order(self) -> list[str]:
        terms = []
        for order in self._query.order:
            _type(self._relation, order.column)
            way, nulls = "DESC" if order.descending else "ASC", "FIRST" if order.nulls_first else "LAST"
            terms.append(f"t.{_quoted(order.column)} {way} NULLS {nulls}")
        return terms


def _columns(relation: Relation, asked: tuple[str, ...]) -> list[str]:
    """The columns that are asked for, each once. Raises RestError."""
    names: dict[str, None] = {}
    for name in asked:
        if name == ALL:
            names |= dict.fromkeys(relation.columns)
        else:
            _type(relation, name)
            names[name] = None
    return list(names)


def _type(relation: Relation, column: str) -> str:
    """Raises RestError: there is no such column."""
    if column not in relation.columns:
        raise unknown_column(relation.name, column)
    return relation.columns[column]


def _check(column_type: str, value: str) -> None:
    """Raises RestError for what is no such value: the database says so only where it comes to look at a row."""
    try:
        if column_type in _PARSERS:
            _PARSERS[column_type](value)
    except ValueError as error:
        message = f'invalid input syntax for type {column_type}: "{value[:80]}"'
        raise RestError(400, "22P02", message) from error


def _table(relation: Relation) -> str:
    return f"{_quoted(relation.schema)}.{_quoted(relation.name)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
