"""The native API: from 202 to the stored, paid-for picture, and every way to look at it."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from contracts.facts import Failure, Request, Verdict
from gateway import queries

from .client import Client, token
from .conftest import PUBLIC_URL, MakeClient
from .players import SEEDANCE, SEEDREAM, WRITER, Players

pytestmark = pytest.mark.connected


async def test_a_request_becomes_a_stored_paid_for_picture(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    answer = await client.create(prompt="A beautiful sunset", size="512x512", count=2)
    assert answer.status == 202
    accepted = answer.json
    assert answer.headers["Location"] == f"/v1/generations/{accepted['id']}"
    assert UUID(accepted["id"]).version == 7
    assert datetime.fromisoformat(accepted.pop("created_at")).utcoffset() is not None
    assert accepted == {
        "id": accepted["id"],
        "status": "pending",
        "kind": "image",
        "model": SEEDREAM,
        "prompt": "A beautiful sunset",
        "count": 2,
        "size": "512x512",
        "seconds": None,
        "quote": 2,
        "cost": 0,
        "visibility": "public",
        "assets": [],
        "text": None,
        "usage": None,
        "cached": False,
        "error": None,
        "completed_at": None,
    }
    request = await players.heard(accepted["id"])
    assert (request.quote.amount, request.quote.unit_price, request.quote.price_version) == (20_000, 10_000, 7)

    await players.fund(request)
    while (shown := await client.show(accepted["id"]))["status"] == "pending":
        await asyncio.sleep(0.01)
    assert shown["status"] == "processing"

    assert await players.complete(request)
    done = await client.ended(accepted["id"])
    assert (done["status"], done["cost"], done["error"]) == ("completed", 2, None)
    assert datetime.fromisoformat(done["completed_at"]) >= datetime.fromisoformat(done["created_at"])
    key = f"{request.generation_id.hex}0"
    first = done["assets"][0]
    assert first.pop("id")
    assert first == {
        "url": f"{PUBLIC_URL}/media/{key}/original.png",
        "mime_type": "image/png",
        "width": 512,
        "height": 512,
        "seconds": None,
        "sha256": "ab" * 32,
        "variants": {
            "medium": f"{PUBLIC_URL}/media/{key}/medium.webp",
            "thumbnail": f"{PUBLIC_URL}/media/{key}/thumbnail.webp",
        },
    }
    assert len(done["assets"]) == 2


async def test_three_pictures_of_four_cost_three(client: Client, players: Players) -> None:
    async def three(request: Request) -> None:
        await players.complete(request, delivered=3)

    players.scripts[client.user_id] = three
    done = await client.ended((await client.accepted(count=4))["id"])
    assert (done["status"], done["quote"], done["cost"], len(done["assets"])) == ("completed", 4, 3, 3)


@pytest.mark.parametrize(
    ("verdict", "failure", "error"),
    [
        (
            Verdict.FAILED,
            Failure(code="content_policy", message="The provider refused the prompt.", stage="prompt"),
            {"code": "content_policy", "message": "The provider refused the prompt.", "stage": "prompt"},
        ),
        (
            Verdict.DECLINED,
            Failure(code="insufficient_credits", message="This costs 1 credit."),
            {"code": "insufficient_credits", "message": "This costs 1 credit.", "stage": None},
        ),
        (
            Verdict.CANCELLED,
            None,
            {"code": "cancelled", "message": "The generation was cancelled. Nothing was charged.", "stage": None},
        ),
    ],
)
async def test_what_is_not_completed_says_why_and_costs_nothing(
    client: Client, players: Players, verdict: Verdict, failure: Failure | None, error: dict[str, str | None]
) -> None:
    async def play(request: Request) -> None:
        await players.fund(request)
        await players.end(request, verdict, failure)

    players.scripts[client.user_id] = play
    done = await client.ended((await client.accepted())["id"])
    assert (done["status"], done["cost"], done["assets"], done["error"]) == (verdict, 0, [], error)


async def test_the_fact_says_what_was_accepted_under_the_clients_trace(client: Client, players: Players) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = await client.post(
        "/v1/generations",
        {"traceparent": trace},
        json={"kind": "image", "prompt": "x", "options": {"seed": 7}, "lane": "batch"},
    )
    request = await players.heard(answer.json["id"])
    fact = next(fact for fact in players.requested if fact.data == request)
    assert fact.traceparent == trace
    assert (request.user_id, request.lane, request.options) == (client.user_id, "batch", {"seed": 7})
    assert request.size == "1024x1024"
    assert (request.deadline_at - datetime.fromisoformat(answer.json["created_at"])).total_seconds() == 60


@pytest.mark.parametrize(
    "trace", ["", "garbage", "00-" + "z" * 32 + "-" + "0" * 16 + "-01", "00-" + "0" * 32 + "-" + "1" * 16 + "-01"]
)
async def test_an_unusable_trace_is_replaced(client: Client, players: Players, trace: str) -> None:
    answer = await client.post("/v1/generations", {"traceparent": trace}, json={"kind": "image", "prompt": "x"})
    request = await players.heard(answer.json["id"])
    fact = next(fact for fact in players.requested if fact.data == request)
    assert fact.traceparent not in {None, trace}


async def test_text_of_every_script_comes_back_as_it_was(client: Client, postgres: asyncpg.Pool) -> None:
    """B7, B8: kept byte-exact, and stored as text."""
    prompt = "עברית \u200b é 🏔️ '; DROP TABLE generations; -- {{7*7}} ${jndi:ldap://x} \r\n%s"
    accepted = await client.accepted(prompt=prompt)
    assert (await client.show(accepted["id"]))["prompt"] == prompt
    assert await postgres.fetchval("SELECT prompt FROM generations WHERE id = $1", UUID(accepted["id"])) == prompt


async def test_pages_neither_overlap_nor_miss_while_rows_are_added(client: Client) -> None:
    made = [(await client.accepted(prompt=str(number)))["id"] for number in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await client.get(f"/v1/generations?limit=2{cursor}")).json
        seen += [item["id"] for item in page["items"]]
        await client.accepted(prompt="added meanwhile")
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == made[::-1]


async def test_rows_of_one_moment_are_paged_by_their_id(client: Client, postgres: asyncpg.Pool) -> None:
    made = [(await client.accepted())["id"] for _ in range(5)]
    for each in made:  # whoever still writes to them locks them in another order
        await client.ended(each)
    await postgres.execute("UPDATE generations SET created_at = now() WHERE user_id = $1", client.user_id)
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = (await client.get(f"/v1/generations?limit=1{cursor}")).json
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
    assert sorted(seen) == sorted(made)


async def test_the_list_is_filtered_by_status_and_kind(client: Client, players: Players) -> None:
    done = (await client.accepted())["id"]
    await client.ended(done)
    players.scripts[client.user_id] = players.hold
    open_one = (await client.accepted(kind="speech"))["id"]

    async def ids(query: str) -> list[str]:
        return [item["id"] for item in (await client.get(f"/v1/generations?{query}")).json["items"]]

    assert await ids("status=completed") == [done]
    assert await ids("status=pending") == [open_one]
    assert await ids("kind=speech") == [open_one]
    assert await ids("kind=speech&status=completed") == []
    assert await ids("") == [open_one, done]


async def test_a_list_holds_ones_own_alone(client_of: MakeClient) -> None:
    one, other = client_of(), client_of()
    mine = await one.accepted()
    await other.accepted()
    assert [item["id"] for item in (await one.get("/v1/generations")).json["items"]] == [mine["id"]]


async def test_models_are_what_is_on_and_has_a_price(client: Client) -> None:
    items = (await client.get("/v1/models")).json["items"]
    assert {item["id"]: (item["price"], item["state"]) for item in items} == {
        SEEDREAM: (1, "active"),
        "old-image": (0.25, "legacy"),
        "a-voice": (0.5, "active"),
        SEEDANCE: (1, "active"),
        WRITER: (10, "active"),
    }
    assert items[0] == {
        "id": SEEDREAM,
        "kind": "image",
        "provider": "modelark",
        "state": "active",
        "sizes": ["1024x1024", "512x512", "1536x1024", "1024x1536"],
        "default_size": "1024x1024",
        "successor": None,
        "seconds": [],
        "default_seconds": None,
        "ratios": [],
        "inputs": [],
        "needs": [],
        "voices": [],
        "max_tokens": None,
        "max_count": 4,
        "max_prompt_characters": 4000,
        "price": 1,
        "prices": [
            {"price": 1, "per": "output", "input_price": None, "size": None, "quality": None},
            {"price": 1.5, "per": "output", "input_price": None, "size": "1536x1024", "quality": None},
            {"price": 3, "per": "output", "input_price": None, "size": "1536x1024", "quality": "hd"},
        ],
    }
    assert [item["id"] for item in (await client.get("/v1/models?kind=speech")).json["items"]] == ["a-voice"]


@pytest.mark.parametrize(
    ("wishes", "quote"),
    [
        ({"size": "512x512", "options": {"quality": "hd"}}, 2),
        ({"size": "1536x1024"}, 3),
        ({"size": "1536x1024", "options": {"quality": "hd"}}, 6),
        ({"size": "1536x1024", "options": {"quality": ["hd"]}}, 3),
    ],
)
async def test_the_quote_follows_size_and_quality(client: Client, wishes: dict[str, Any], quote: float) -> None:
    accepted = await client.accepted(count=2, **wishes)
    assert accepted["quote"] == quote
    assert (await client.ended(accepted["id"]))["cost"] == quote


async def test_credits_are_exact(client: Client, players: Players) -> None:
    players.available[client.user_id] = 99_999
    assert (await client.get("/v1/credits")).json == {
        "available": 9.9999,
        "held": 1.25,
        "used": 4.0001,
        "owed": 0,
        "balance": 0.9999,
        "currency": "USD",
        "last_updated": None,
    }


async def test_a_silent_ledger_makes_the_balance_unavailable(
    client: Client, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "LEDGER_TIMEOUT_SECONDS", 0.1)
    players.silent.add(client.user_id)
    answer = await client.get("/v1/credits")
    assert (answer.status, answer.json["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0


async def test_media_is_served_elsewhere(nobody: Client) -> None:
    answer = await nobody.get("/media/abc/original.png?expires=1&signature=2")
    assert answer.status == 307
    assert answer.headers["Location"] == "https://media.example/media/abc/original.png?expires=1&signature=2"


@pytest.mark.parametrize("path", ["/live", "/ready", "/metrics"])
async def test_probes_answer_at_once_and_not_by_a_redirect(nobody: Client, path: str) -> None:
    assert (await nobody.get(path)).status == 200


async def test_subjects_that_are_no_uuid_name_a_user_too(client_of: MakeClient) -> None:
    name = f"auth0|{uuid4()}"
    first, second = client_of(bearer=token(name)), client_of(bearer=token(name))
    made = await first.accepted()
    assert (await second.show(made["id"]))["id"] == made["id"]
    stranger = client_of(bearer=token(name, iss="https://elsewhere.example"))
    assert (await stranger.get(f"/v1/generations/{made['id']}")).status == 404
