"""Waiting for a generation, looking at it again, finding it, trying it again and deleting it."""

import asyncio
import time
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from multidict import CIMultiDict

from contracts.facts import Failure, Request, Verdict
from contracts.questions import Plan

from .client import IMAGE, Client
from .conftest import MakeClient
from .players import SEEDREAM, Players

pytestmark = pytest.mark.connected


async def test_who_prefers_to_wait_gets_the_picture_at_once(client: Client) -> None:
    answer = await client.post("/v1/generations", {"Prefer": "respond-async, wait=20"}, json=IMAGE)
    assert (answer.status, answer.json["status"]) == (200, "completed")
    assert answer.headers["Preference-Applied"] == "wait=5", "as long as anybody may"
    assert answer.headers["Location"] == f"/v1/generations/{answer.json['id']}"


async def test_a_preference_of_spaces_holds_nobody_up(client: Client) -> None:
    begun_at = time.monotonic()
    answer = await client.get(f"/v1/generations/{uuid4()}", {"Prefer": "a=" + " " * 8000 + '"x'})
    assert answer.status == 404
    assert time.monotonic() - begun_at < 1


async def test_a_wait_that_is_over_is_an_acceptance(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    answer = await client.post("/v1/generations", {"Prefer": "wait=0"}, json=IMAGE)
    assert (answer.status, answer.json["status"]) == (202, "pending")
    shown = await client.get(answer.headers["Location"], {"Prefer": "wait=1"})
    assert (shown.status, shown.json["status"], shown.headers["Preference-Applied"]) == (200, "pending", "wait=1")


async def test_who_waits_for_too_many_is_answered_at_once(
    client: Client, client_of: MakeClient, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    """API4: each costs a subscription and looks at its row every second. A preference may be passed over."""
    monkeypatch.setattr("gateway.waiting.MAX_WAITS_OF_USER", 1)
    other = client_of()
    players.scripts[client.user_id] = players.scripts[other.user_id] = players.hold
    made = await client.accepted()
    path = f"/v1/generations/{made['id']}"
    waiting = asyncio.create_task(client.get(path, {"Prefer": "wait=20"}))
    await asyncio.sleep(0.3)
    begun_at = time.monotonic()
    looked = await client.get(path, {"Prefer": "wait=20"})
    further = await client.post("/v1/generations", {"Prefer": "wait=20"}, json=IMAGE)
    assert time.monotonic() - begun_at < 3
    assert [(each.status, each.headers.get("Preference-Applied")) for each in (looked, further)] == [
        (200, None),
        (202, None),
    ]
    theirs = await other.post("/v1/generations", {"Prefer": "wait=0"}, json=IMAGE)
    assert theirs.headers["Preference-Applied"] == "wait=0"
    await players.complete(await players.heard(made["id"]))
    assert (await waiting).json["status"] == "completed"
    again = await client.get(further.headers["Location"], {"Prefer": "wait=0"})
    assert again.headers["Preference-Applied"] == "wait=0", "who has waited makes room"


@pytest.mark.parametrize("asks", ["looks", "makes"])
async def test_who_hangs_up_waits_no_more(
    client: Client, players: Players, monkeypatch: pytest.MonkeyPatch, asks: str
) -> None:
    """Clients give up and ask anew: what they have left would count for as long as anybody may wait."""
    monkeypatch.setattr("gateway.waiting.MAX_WAITS_OF_USER", 1)
    players.scripts[client.user_id] = players.hold
    made = await client.accepted()
    path, prefer = f"/v1/generations/{made['id']}", {"Prefer": "wait=20"}
    waiting = client.get(path, prefer) if asks == "looks" else client.post("/v1/generations", prefer, json=IMAGE)
    asking = asyncio.create_task(waiting)
    await asyncio.sleep(0.5)
    assert "Preference-Applied" not in (await client.get(path, {"Prefer": "wait=0"})).headers
    asking.cancel()
    await asyncio.wait([asking])
    await asyncio.sleep(0.5)
    assert (await client.get(path, {"Prefer": "wait=0"})).headers["Preference-Applied"] == "wait=0"


async def test_looking_with_a_wait_hears_the_outcome(client: Client, players: Players) -> None:
    started: list[Request] = []

    async def later(request: Request) -> None:
        started.append(request)
        await players.fund(request)
        await players.complete(request)

    players.scripts[client.user_id] = later
    made = await client.accepted()
    shown = await client.get(f"/v1/generations/{made['id']}", {"Prefer": "wait=20"})
    assert shown.json["status"] == "completed"


@pytest.mark.parametrize(
    "prefer",
    [
        ['wait="2"'],
        ["wait=2;x=1"],
        ["Wait = 2 ; x"],
        ["respond-async", "wait=2"],
        ['handling="a, wait=9", wait=2, wait=7'],
    ],
)
async def test_a_preference_is_read_in_every_form_of_the_rfc(
    client: Client, players: Players, prefer: list[str]
) -> None:
    players.scripts[client.user_id] = players.hold
    headers = CIMultiDict([("Prefer", line) for line in prefer])
    answer = await client.post("/v1/generations", headers, json=IMAGE)
    assert (answer.status, answer.headers.get("Preference-Applied")) == (202, "wait=2")


@pytest.mark.parametrize("prefer", ["", "wait", "wait=", "wait=-1", "wait=soon", "wait=99999999", "wait=٣"])
async def test_a_preference_that_says_nothing_is_ignored(client: Client, players: Players, prefer: str) -> None:
    players.scripts[client.user_id] = players.hold
    answer = await client.post("/v1/generations", {"Prefer": prefer.encode().decode("latin-1")}, json=IMAGE)
    assert answer.status == 202
    assert "Preference-Applied" not in answer.headers


async def test_what_is_known_is_not_sent_again(client: Client) -> None:
    made = await client.accepted()
    await client.ended(made["id"])
    path = f"/v1/generations/{made['id']}"
    first = await client.get(path)
    tag = first.headers["ETag"]
    again = await client.get(path, {"If-None-Match": f'"other", {tag}'})
    assert (again.status, again.text, again.headers["ETag"]) == (304, "", tag)
    assert (await client.get(path, {"If-None-Match": '"other"'})).status == 200


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=LIGHT", {"lighthouse"}),
        ("q=100%25", {"100% wool"}),
        ("q=_", {"snake_case"}),
        ("q=%5C", {"back\\slash"}),
        ("q=nothing", set()),
        (f"model={SEEDREAM}", {"lighthouse", "100% wool", "snake_case", "back\\slash"}),
        ("model=old-image", set()),
        ("lane=batch", set()),
        ("since=2100-01-01T00:00:00Z", set()),
        ("until=2100-01-01T00:00:00Z", {"lighthouse", "100% wool", "snake_case", "back\\slash"}),
    ],
)
async def test_the_list_is_searched(client: Client, query: str, found: set[str]) -> None:
    for prompt in ("lighthouse", "100% wool", "snake_case", "back\\slash"):
        await client.accepted(prompt=prompt)
    items = (await client.get(f"/v1/generations?{query}")).json["items"]
    assert {item["prompt"] for item in items} == found


@pytest.mark.parametrize("query", ["since=yesterday", "until=2100-01-01T00:00:00", "lane=fast", "batch=one"])
async def test_a_filter_that_means_nothing_is_refused(client: Client, query: str) -> None:
    assert (await client.get(f"/v1/generations?{query}")).status == 422


async def test_a_quote_costs_nothing_and_says_what_would(client: Client, players: Players) -> None:
    players.available[client.user_id] = 50_000
    answer = await client.post("/v1/quotes", json=IMAGE | {"count": 4, "size": "1536x1024"})
    assert answer.json == {
        "kind": "image",
        "model": SEEDREAM,
        "count": 4,
        "size": "1536x1024",
        "seconds": None,
        "max_tokens": None,
        "quote": 6,
        "unit_price": 1.5,
        "price_version": 7,
        "available": 5,
        "affordable": False,
    }
    assert (await client.get("/v1/generations")).json["items"] == []
    assert (await client.post("/v1/quotes", json=IMAGE | {"model": "unpriced"})).status == 422


async def test_a_quote_says_of_what_can_be_paid_what_is_said_to_the_order(client: Client, players: Players) -> None:
    """What the plan leaves today bounds it too, and what was consumed pays first where the order says so."""
    players.available[client.user_id], players.left_today[client.user_id] = 50_000, 10_000
    wish = IMAGE | {"count": 2, "prepaid": True}
    quoted, made = await client.post("/v1/quotes", json=wish), await client.post("/v1/generations", json=wish)
    assert (quoted.json["available"], quoted.json["affordable"]) == (5, False)
    assert (made.status, made.json["code"]) == (429, "daily_cap_reached")
    asked = [question for question in players.asked if question.user_id == client.user_id and question.amount]
    assert [(question.amount, question.prepaid) for question in asked] == [(20_000, True)] * 2


async def test_a_quote_is_refused_as_the_order_is(client: Client, players: Players) -> None:
    players.plans[client.user_id] = Plan(max_count=2)
    for path in ("quotes", "generations"):
        answer = await client.post(f"/v1/{path}", json=IMAGE | {"count": 3})
        assert (answer.status, answer.json.get("errors")) == (422, [{"field": "count", "message": "at most 2"}]), path
    assert (await client.post("/v1/quotes", json=IMAGE | {"count": 2})).status == 200


async def _failed(client: Client, players: Players) -> Any:
    async def fail(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="provider_unavailable", message="Away."))

    players.scripts[client.user_id] = fail
    made = await client.accepted(prompt="again", count=2)
    ended = await client.ended(made["id"])
    del players.scripts[client.user_id]
    return ended


async def test_what_failed_is_tried_again_as_another_generation(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    failed = await _failed(client, players)
    path = f"/v1/generations/{failed['id']}/retry"
    answer = await client.post(path, {"Idempotency-Key": "k"})
    assert answer.status == 202
    assert answer.json["id"] != failed["id"]
    assert (answer.json["prompt"], answer.json["count"]) == ("again", 2)
    assert (await client.post(path, {"Idempotency-Key": "k"})).json["id"] == answer.json["id"]
    await postgres.execute(
        """UPDATE generations SET particulars = '{"visibility": "owner"}' WHERE id = $1""", UUID(failed["id"])
    )
    assert (await client.post(path, {"Idempotency-Key": "k"})).json["id"] == answer.json["id"], "whoever may look at it"
    assert (await client.request("DELETE", f"/v1/generations/{failed['id']}")).status == 204
    assert (await client.post(path, {"Idempotency-Key": "k"})).json["id"] == answer.json["id"], "it lives on"
    for headers in ({"Idempotency-Key": "another"}, {}):
        assert (await client.post(path, headers)).status == 404
    done = await client.ended(answer.json["id"])
    assert done["status"] == "completed"
    refused = await client.post(f"/v1/generations/{done['id']}/retry")
    assert (refused.status, refused.json["code"]) == (409, "already_finished")
    assert (await client.request("DELETE", f"/v1/generations/{done['id']}")).status == 204
    assert (await client.post(f"/v1/generations/{done['id']}/retry", {"Idempotency-Key": "k"})).status == 404


async def test_nobody_tries_again_what_is_not_theirs(client: Client, client_of: MakeClient, players: Players) -> None:
    stranger = client_of()
    failed = await _failed(client, players)
    assert (await stranger.post(f"/v1/generations/{failed['id']}/retry")).status == 404
    assert (await stranger.request("DELETE", f"/v1/generations/{failed['id']}")).status == 404


async def test_a_deleted_generation_is_gone_and_keeps_its_key(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    made = (await client.create(key="one")).json
    await client.ended(made["id"])
    path = f"/v1/generations/{made['id']}"
    assert (await client.request("DELETE", path)).status == 204
    assert (await client.get(path)).status == 404
    assert (await client.request("DELETE", path)).status == 404
    assert (await client.get("/v1/generations")).json["items"] == []
    again = await client.create(key="one")
    assert (again.status, again.json["code"]) == (410, "deleted")
    assert await postgres.fetchval(
        "SELECT deleted_at FROM generations WHERE id = $1", made["id"]
    ) > datetime.fromisoformat(made["created_at"])


async def test_what_is_at_work_cannot_be_deleted(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    made = await client.accepted()
    answer = await client.request("DELETE", f"/v1/generations/{made['id']}")
    assert (answer.status, answer.json["code"]) == (409, "not_finished")


@pytest.mark.parametrize("name", ["q", "model"])
async def test_what_is_no_text_is_refused(client: Client, name: str) -> None:
    """B7: no text has a NUL, so that nobody can look for one."""
    answer = await client.get(f"/v1/generations?{name}=a%00b")
    assert (answer.status, answer.json["code"]) == (422, "invalid_request"), answer.text
