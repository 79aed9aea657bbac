"""Prices as operators write them down: in credits and dollars, in a JSON or CSV file."""

import csv
import json
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from contracts.money import Price, to_units

FIELDS = ("model", "credits", "per", "input_credits", "size", "quality", "provider_dollars")
MAX_FILE_BYTES = 4 << 20
STDIN = Path("-")
_MICROS_PER_DOLLAR = 1_000_000


def read_prices(file: Path) -> list[Price]:
    """The prices of a file, or of standard input (`-`): a JSON list of objects, or CSV with a line of names.

    Raises ValueError, OSError.
    """
    with sys.stdin.buffer if file == STDIN else file.open("rb") as opened:
        written = opened.read(MAX_FILE_BYTES + 1)
    if len(written) > MAX_FILE_BYTES:
        raise ValueError(f"{file} is larger than {MAX_FILE_BYTES} bytes.")
    text = written.decode("utf-8-sig")
    if text.lstrip()[:1] in {"[", "{"}:
        # Numbers as they are written: no float touches an amount.
        rows = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    else:
        rows = list(csv.DictReader(text.splitlines()))
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{file} is not a list of prices.")
    return [price_of(row) for row in rows]


def price_of(row: Mapping[str, Any]) -> Price:
    """A price from what somebody wrote. Raises ValueError for what is missing, strange or no amount."""
    given = {name: value for name, value in row.items() if value not in (None, "")}
    if strange := sorted(str(name) for name in given.keys() - set(FIELDS)):
        raise ValueError(f"A price has no {strange[0]!r}, only {', '.join(FIELDS)}.")
    if missing := [name for name in ("model", "credits") if name not in given]:
        raise ValueError(f"A price needs {missing[0]!r}.")
    try:
        return Price(
            model=given["model"],
            amount=_units(given["credits"]),
            input_amount=_units(given.get("input_credits", "0")),
            size=given.get("size"),
            quality=given.get("quality"),
            per=given.get("per", "output"),
            provider_cost_micros=_micros(given.get("provider_dollars")),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{given['model']}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _units(amount: Any) -> int:
    if not isinstance(amount, (str, Decimal)):
        raise ValueError(f"not an amount of credits: {amount!r}")
    return to_units(amount)


def _micros(dollars: Any) -> int | None:
    if dollars is None:
        return None
    try:
        micros = Decimal(dollars) * _MICROS_PER_DOLLAR
        if isinstance(dollars, bool) or micros != micros.to_integral_value():
            raise ValueError(f"not an amount of dollars to the millionth: {dollars}")
    except (ArithmeticError, TypeError) as error:
        raise ValueError(f"not an amount of dollars: {dollars}") from error
    return int(micros)
