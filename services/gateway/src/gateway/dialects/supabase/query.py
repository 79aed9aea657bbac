"""A query string as PostgREST's clients write it, taken apart. Whether its names exist is the catalog's matter."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.dialects.supabase.errors import RestError, not_parsed

MAX_ROWS = 1000
"""In one answer, as Supabase has it."""
MAX_TERMS = 64
"""Of one query: columns, conditions and orders together."""
ALL = "*"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_EMBEDDED = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]{0,62})(?P<how>!inner|!left)?\((?P<columns>[^()]*)\)")
_TOP = re.compile(r"(?:[^,()]|\([^()]*\))+")
_ORDER = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]{0,62})(?P<down>\.asc|\.desc)?(?P<nulls>\.nullsfirst|\.nullslast)?")


@dataclass(frozen=True, slots=True)
class Condition:
    """A column that has to equal a value, of the table itself or of the embedded one."""

    embedded: str | None
    column: str
    value: str


@dataclass(frozen=True, slots=True)
class Order:
    column: str
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Embedding:
    name: str
    inner: bool
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Query:
    columns: tuple[str, ...]
    embedding: Embedding | None
    conditions: tuple[Condition, ...]
    order: tuple[Order, ...]
    limit: int
    offset: int


def parse(parameters: Iterable[tuple[str, str]]) -> Query:
    """Raises RestError for what is not served."""
    columns: tuple[str, ...] = (ALL,)
    embedding: Embedding | None = None
    conditions: list[Condition] = []
    order: tuple[Order, ...] = ()
    numbers = {"limit": MAX_ROWS, "offset": 0}
    for name, value in parameters:
        if name == "select":
            columns, embedding = _select(value)
        elif name == "order":
            order = _order(value)
        elif name in numbers:
            numbers[name] = _number(name, value)
        else:
            conditions.append(_condition(name, value))
    if len(columns) + len(conditions) + len(order) > MAX_TERMS:
        raise RestError(400, "PGRST100", f"A query may have {MAX_TERMS} terms at most.")
    return Query(columns, embedding, tuple(conditions), order, min(numbers["limit"], MAX_ROWS), numbers["offset"])


def _select(text: str) -> tuple[tuple[str, ...], Embedding | None]:
    columns: list[str] = []
    embedding: Embedding | None = None
    for part in _parts(text):
        embedded = _EMBEDDED.fullmatch(part)
        if embedded is None:
            columns.append(_column(part, text))
            continue
        if embedding is not None:
            raise not_parsed("select parameter", text)
        inside = tuple(dict.fromkeys(_column(each, text) for each in _parts(embedded["columns"])))
        embedding = Embedding(embedded["name"], embedded["how"] == "!inner", inside)
    return tuple(dict.fromkeys(columns)), embedding


def _parts(text: str) -> list[str]:
    text = text.replace(" ", "").replace("\n", "")
    parts = _TOP.findall(text)
    if ",".join(parts) != text or not parts:
        raise not_parsed("select parameter", text)
    return parts


def _column(part: str, text: str) -> str:
    if part != ALL and not _NAME.fullmatch(part):
        raise not_parsed("select parameter", text)
    return part


def _order(text: str) -> tuple[Order, ...]:
    found = [_ORDER.fullmatch(part) for part in text.split(",")]
    if not all(found):
        raise not_parsed("order", text)
    return tuple(
        Order(each["name"], each["down"] == ".desc", _nulls_first(each["down"], each["nulls"]))
        for each in found
        if each
    )


def _nulls_first(down: str | None, nulls: str | None) -> bool:
    """Where nothing is said they are larger than everything, as in Postgres."""
    return nulls == ".nullsfirst" if nulls else down == ".desc"


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise not_parsed(name, text)
    return int(text)


def _condition(name: str, value: str) -> Condition:
    embedded, _, column = name.rpartition(".")
    if not _NAME.fullmatch(column) or (embedded and not _NAME.fullmatch(embedded)):
        raise not_parsed("filter", name)
    operator, dot, wanted = value.partition(".")
    if operator != "eq" or not dot:
        raise not_parsed("filter", value)
    return Condition(embedded or None, column, wanted)
