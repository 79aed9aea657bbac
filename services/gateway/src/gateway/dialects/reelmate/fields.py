"""What the bodies of this dialect are made of: bounded, and such as Postgres can keep."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from gateway.orders import unfit
from gateway.refusals import NotFound

MAX_JSON_CHARACTERS = 4000
FIRST_YEAR, LAST_YEAR = 1970, 2200
"""Of a campaign's dates: every time zone's are times that Postgres knows."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def _kept(value: Any) -> Any:
    problem = unfit(value)
    if problem is not None:
        raise ValueError(f"cannot be kept: {problem}")
    return value


def _short(value: Any) -> Any:
    if len(json.dumps(value, ensure_ascii=False, allow_nan=False)) > MAX_JSON_CHARACTERS:
        raise ValueError(f"at most {MAX_JSON_CHARACTERS} characters")
    return value


def _said(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _nothing(value: Any) -> Any:
    """A form's empty field says nothing."""
    return None if value == "" else value


def _all(value: Any) -> Any:
    """What a form's filter says where it narrows nothing."""
    return None if value in ("", "all") else value


def _date(value: Any) -> Any:
    """What a form has of a date: nothing, or a text that begins with a day. A number is no date."""
    if value == "" or value is None:
        return None
    if not isinstance(value, str) or _DAY.match(value) is None:
        raise ValueError("has to begin with a day, as in 2026-12-31")
    return value


def _in_utc(value: datetime) -> datetime:
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"a year from {FIRST_YEAR} to {LAST_YEAR}")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_kept), AfterValidator(_said)]
Words = Annotated[str, Field(max_length=4000), AfterValidator(_kept)]
Script = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_kept), AfterValidator(_said)]
Label = Annotated[str, Field(max_length=60), AfterValidator(_kept)]
Sought = Annotated[str, Field(max_length=200), AfterValidator(_kept)]
"""Words that a list is searched for: as long as a name."""
Labels = Annotated[list[Label], Field(max_length=20)]
Whatever = Annotated[JsonValue, BeforeValidator(_nothing), AfterValidator(_kept), AfterValidator(_short)]
"""A text, a list or an object, as the frontend's form has it."""
Money = Annotated[Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=2)] | None, BeforeValidator(_nothing)]
Moment = Annotated[
    Annotated[datetime, AfterValidator(_in_utc)] | None,
    BeforeValidator(_date, json_schema_input_type=datetime | Literal[""] | None),
]
_Of = TypeVar("_Of")
Filter = Annotated[_Of | None, BeforeValidator(_all)]
"""What a list is narrowed by; nothing and `all` are no filter."""


def known(text: str, what: str) -> UUID:
    """The id that a path or a body names. Raises NotFound for what is none: it names nothing."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound(f"There is no such {what}.") from error
