"""Lists as Stripe gives them: newest first, a page at a time, by time, and by what they are about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from simulator.stripe.account import Account, Record
from simulator.stripe.forms import Form
from simulator.stripe.refusals import INVALID, StripeRefusal

MOST_ON_A_PAGE = 100
_ENDS: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda created, than: created > than,
    "gte": lambda created, than: created >= than,
    "lt": lambda created, than: created < than,
    "lte": lambda created, than: created <= than,
}
LISTED = frozenset({"created", "limit", "starting_after", "ending_before", "payment_intent", "charge"})
_TIME_MAX = 10**12


def listing(name: str, records: str = "") -> Callable[[Account, Form, str], Record]:
    """The route that lists one kind of record, by its name in the API, and in the account where that differs."""

    def perform(account: Account, form: Form, _: str) -> Record:
        kept: dict[str, Record] = getattr(account, records or name)
        limit = form.whole("limit", 1, MOST_ON_A_PAGE, 10)
        newest_first = [record for record in reversed(kept.values()) if _is_wanted(record, form)]
        page, has_more = _page(newest_first, form, limit)
        return {"object": "list", "url": f"/v1/{name}", "has_more": has_more, "data": page}

    return perform


def _is_wanted(record: Record, form: Form) -> bool:
    for name in ("payment_intent", "charge", "type"):
        if form.has(name) and record.get(name) != form.text(name, ""):
            return False
    if form.has("types") and record.get("type") not in form.texts("types"):
        return False
    if isinstance(form.get("created"), str):
        return bool(record["created"] == form.whole("created", 0, _TIME_MAX, 0))
    between = form.form("created", set(_ENDS))
    return all(
        fits(record["created"], between.whole(name, 0, _TIME_MAX, 0))
        for name, fits in _ENDS.items()
        if between.has(name)
    )


def _page(records: list[Record], form: Form, limit: int) -> tuple[list[Record], bool]:
    if form.has("starting_after"):
        records = records[_place(records, form.text("starting_after", "")) + 1 :]
    elif form.has("ending_before"):
        newer = records[: _place(records, form.text("ending_before", ""))]
        return newer[-limit:], len(newer) > limit
    return records[:limit], len(records) > limit


def _place(records: Iterable[dict[str, Any]], identifier: str) -> int:
    for place, record in enumerate(records):
        if record["id"] == identifier:
            return place
    raise StripeRefusal(400, INVALID, "resource_missing", f"No such object: '{identifier}'", "starting_after")
