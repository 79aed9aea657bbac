"""GET /v1/credits/statement: the ledger's entries in credits, as JSON and as a spreadsheet reads them."""

import csv
import io
from datetime import UTC, datetime
from uuid import UUID

import pytest

from contracts.statement import Statement, StatementEntry

from .client import Client
from .players import Players

pytestmark = pytest.mark.connected

MADE = UUID("01a213bf-d632-7b6a-b72f-9ae9d50468f4")
AT = datetime(2026, 11, 25, 17, 30, 0, 123456, tzinfo=UTC)
PART = StatementEntry(
    at=AT,
    entry="generation",
    generation_id=MADE,
    state="captured",
    quote=40_000,
    captured=30_001,
    released=9_999,
    why="Completed: 3 delivered.",
)
GIFT = StatementEntry(at=AT, entry="grant", granted=100_000, why='=HYPERLINK("https://evil.example", "a, \n b")')


@pytest.fixture
def known(client: Client, players: Players) -> Client:
    players.statements[client.user_id, None, 100] = Statement(entries=(PART, GIFT), cursor="next+page")
    players.statements[client.user_id, "next+page", 2] = Statement(entries=(GIFT,), cursor=None)
    return client


async def test_amounts_are_credits_and_the_next_page_is_named(known: Client) -> None:
    answer = await known.get("/v1/credits/statement")
    assert answer.status == 200
    assert answer.json["next_cursor"] == "next+page"
    assert answer.json["items"][0] == {
        "at": "2026-11-25T17:30:00.123456Z",
        "entry": "generation",
        "generation_id": str(MADE),
        "state": "captured",
        "quote": 4,
        "captured": 3.0001,
        "released": 0.9999,
        "refunded": 0,
        "granted": 0,
        "why": "Completed: 3 delivered.",
    }
    following = await known.get("/v1/credits/statement?limit=2&cursor=next%2Bpage")
    assert [item["granted"] for item in following.json["items"]] == [10]
    assert following.json["next_cursor"] is None


async def test_as_csv_it_is_a_table_and_no_cell_is_a_formula(known: Client) -> None:
    answer = await known.get("/v1/credits/statement?format=csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="statement.csv"'
    assert answer.headers["Link"] == ('</v1/credits/statement?format=csv&limit=100&cursor=next%2Bpage>; rel="next"')
    made, given = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert (made["generation_id"], made["captured"], made["released"]) == (str(MADE), "3.0001", "0.9999")
    assert (given["generation_id"], given["granted"]) == ("", "10")
    assert given["why"] == "'" + GIFT.why
    assert "Link" not in (await known.get("/v1/credits/statement?format=csv&limit=2&cursor=next%2Bpage")).headers


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "format=xml", "cursor=" + "x" * 201, "cursor=foreign"]
)
async def test_what_cannot_be_asked_is_told_so(known: Client, query: str) -> None:
    answer = await known.get(f"/v1/credits/statement?{query}")
    assert (answer.status, answer.headers["Content-Type"]) == (422, "application/problem+json")


async def test_it_needs_a_token_and_shows_the_tokens_user(known: Client, nobody: Client, players: Players) -> None:
    assert (await nobody.get("/v1/credits/statement")).status == 401


async def test_while_the_ledger_is_silent_it_is_503(client: Client, players: Players) -> None:
    players.silent.add(client.user_id)
    answer = await client.get("/v1/credits/statement")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
