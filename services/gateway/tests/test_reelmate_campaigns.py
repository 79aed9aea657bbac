"""Campaigns, as the reelmate frontend plans, finds, changes and drops them."""

from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from gateway.dialects.reelmate import campaigns as records

from .client import Client
from .conftest import MakeClient

pytestmark = pytest.mark.connected

PATH = "/api/campaigns"
FORM = {
    "name": "Spring",
    "type": "ugc-video",
    "platforms": ["tiktok", "instagram"],
    "videoFormat": "9:16",
    "targetAudience": "students",
    "budget": "1500.50",
    "description": "Ten films in ten days",
    "hashtags": ["#spring"],
    "callToAction": "Come by",
    "startDate": "2026-03-01",
    "endDate": None,
}


async def planned(client: Client, **fields: Any) -> Any:
    answer = await client.post(PATH, json=FORM | fields)
    assert answer.status == 201, answer.text
    assert set(answer.json) == {"message", "campaign"}
    return answer.json["campaign"]


async def names(client: Client, query: str = "") -> list[str]:
    answer = await client.get(f"{PATH}{query}")
    assert answer.status == 200, answer.text
    return [campaign["name"] for campaign in answer.json["campaigns"]]


async def test_a_campaign_begins_as_a_draft_and_is_shown_by_both_kinds_of_names(client: Client) -> None:
    campaign = await planned(client)
    assert (campaign["status"], campaign["user_id"], campaign["budget"]) == ("draft", str(client.user_id), 1500.5)
    assert campaign["platforms"] == ["tiktok", "instagram"] and campaign["hashtags"] == ["#spring"]
    for camel, snake in [
        ("videoFormat", "video_format"),
        ("targetAudience", "target_audience"),
        ("callToAction", "call_to_action"),
        ("startDate", "start_date"),
        ("endDate", "end_date"),
        ("createdAt", "created_at"),
    ]:
        assert campaign[camel] == campaign[snake]
    assert campaign["startDate"].startswith("2026-03-01T00:00:00") and campaign["endDate"] is None
    assert (await client.get(f"{PATH}/{campaign['id']}")).json["campaign"] == campaign


async def test_what_a_form_leaves_empty_is_nothing(client: Client) -> None:
    campaign = await planned(
        client, budget="", startDate="", targetAudience="", hashtags="", description="", platforms=None
    )
    assert [campaign[name] for name in ("budget", "startDate", "targetAudience", "hashtags")] == [None] * 4
    assert campaign["platforms"] == []
    empty = "status=&type=&platform=&search=&dateRange=&page=&limit="
    assert await names(client, f"?{empty}") == [campaign["name"]]


async def test_they_are_found_by_status_type_platform_words_and_date(client: Client, postgres: asyncpg.Pool) -> None:
    await planned(client, name="One", description="100% wool")
    two = await planned(client, name="Two", type="branded-content", platforms=["youtube"])
    three = await planned(client, name="Three")
    await client.request("PUT", f"{PATH}/{two['id']}", json={"status": "active"})
    await postgres.execute(
        "UPDATE campaigns SET created_at = now() - interval '10 days' WHERE id = $1::text::uuid", three["id"]
    )
    assert await names(client) == ["Two", "One", "Three"]
    assert await names(client, "?status=active") == ["Two"]
    assert await names(client, "?type=branded-content") == ["Two"]
    assert await names(client, "?platform=tiktok") == ["One", "Three"]
    assert await names(client, "?search=TWO") == ["Two"]
    assert await names(client, "?search=100%25") == ["One"], "a percent sign stands for itself"
    assert await names(client, "?search=_") == []
    assert await names(client, "?search=%20two%20") == ["Two"], "as somebody types it who goes on"
    assert await names(client, "?search=%20") == ["Two", "One", "Three"]
    assert await names(client, "?dateRange=7d") == ["Two", "One"]
    assert await names(client, "?dateRange=30d&platform=tiktok&status=draft") == ["One", "Three"]
    assert await names(client, "?status=all&type=&dateRange=") == ["Two", "One", "Three"]
    await planned(client, name="Long " * 40)
    assert await names(client, "?search=" + "long%20" * 40) == ["Long " * 40]


async def test_pages_say_where_they_are(client: Client) -> None:
    for number in range(3):
        await planned(client, name=f"{number}")
    first = (await client.get(f"{PATH}?limit=2")).json
    assert first["pagination"] == {
        "total": 3, "page": 1, "limit": 2, "totalPages": 2, "hasNext": True, "hasPrev": False,
    }  # fmt: skip
    second = (await client.get(f"{PATH}?limit=2&page=2")).json
    assert [campaign["name"] for campaign in second["campaigns"]] == ["0"]
    assert (second["pagination"]["hasNext"], second["pagination"]["hasPrev"]) == (False, True)
    beyond = (await client.get(f"{PATH}?limit=2&page=9")).json
    assert (beyond["campaigns"], beyond["pagination"]["total"]) == ([], 3)


async def test_a_change_leaves_the_rest_as_it_is(client: Client) -> None:
    campaign = await planned(client)
    answer = await client.request("PUT", f"{PATH}/{campaign['id']}", json={"status": "active"})
    assert answer.status == 200 and answer.json["message"]
    changed = answer.json["campaign"]
    assert changed["status"] == "active" and changed["updatedAt"] > campaign["updatedAt"]
    same = {name for name in campaign if not name.startswith(("status", "updated"))}
    assert {name: changed[name] for name in same} == {name: campaign[name] for name in same}
    paused = await client.request("PUT", f"{PATH}/{campaign['id']}", json={"status": "paused", "platforms": []})
    assert (paused.json["campaign"]["status"], paused.json["campaign"]["platforms"]) == ("paused", [])


async def test_bulk_actions_touch_ones_own_and_name_the_others(client_of: MakeClient) -> None:
    one, other = client_of(), client_of()
    mine = [(await planned(one, name=f"{number}"))["id"] for number in range(2)]
    foreign = (await planned(other))["id"]
    answer = await one.post(f"{PATH}/bulk-actions", json={"action": "activate", "campaignIds": [*mine, foreign]})
    assert (answer.json["updated"], sorted(answer.json["campaignIds"])) == (2, sorted(mine))
    assert answer.json["notFound"] == [foreign]
    assert len(await names(one, "?status=active")) == 2 and await names(other, "?status=active") == []
    deleted = await one.post(f"{PATH}/bulk-actions", json={"action": "delete", "campaignIds": mine})
    assert deleted.json["updated"] == 2 and await names(one) == []
    assert await names(other) == ["Spring"]


async def test_a_deleted_campaign_is_gone(client: Client) -> None:
    campaign = await planned(client)
    answer = await client.request("DELETE", f"{PATH}/{campaign['id']}")
    assert answer.status == 200 and set(answer.json) == {"message"}
    again = await client.request("DELETE", f"{PATH}/{campaign['id']}")
    assert again.status == 404 and isinstance(again.json["error"], str) and isinstance(again.json["message"], str)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("foreign", [True, False])
async def test_somebody_elses_is_not_there(client_of: MakeClient, method: str, foreign: bool) -> None:
    one, other = client_of(), client_of()
    campaign_id = (await planned(one))["id"] if foreign else "nonsense"
    body: dict[str, Any] = {"json": {"name": "Theirs"}} if method == "PUT" else {}
    answer = await other.request(method, f"{PATH}/{campaign_id}", **body)
    assert answer.status == 404, answer.text
    assert foreign is False or await names(one) == ["Spring"]


async def test_the_playbook_is_no_campaigns_id(client: Client) -> None:
    answer = await client.get(f"{PATH}/playbook")
    assert answer.status == 200, answer.text
    types = {play["type"] for play in answer.json["playbook"]}
    assert types == {"ugc-video", "ai-generated", "user-submitted", "branded-content"}
    assert all(play["steps"] for play in answer.json["playbook"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": " "},
        {"name": "a\x00b"},
        {"type": "podcast"},
        {"budget": -1},
        {"budget": "much"},
        {"budget": 1e20},
        {"platforms": "tiktok"},
        {"platforms": ["x"] * 21},
        {"startDate": "soon"},
        {"startDate": 5},
        {"startDate": "5"},
        {"startDate": "9999-12-31T23:59:59-12:00"},
        {"hashtags": "x" * 200_000},
        {"targetAudience": {"deep": ["\x00"]}},
    ],
    ids=lambda wrong: repr(wrong)[:40],
)
async def test_what_is_no_campaign_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    answer = await client.post(PATH, json=FORM | wrong)
    assert answer.status == 422, answer.text
    assert await names(client) == []


async def test_a_number_that_is_none_is_refused(client: Client) -> None:
    body = b'{"name": "x", "type": "ugc-video", "targetAudience": [NaN]}'
    assert (await client.post(PATH, {"Content-Type": "application/json"}, data=body)).status == 422


@pytest.mark.parametrize("query", ["page=0", "limit=0", "limit=101", "status=none", "dateRange=1y", "search=%00"])
async def test_a_filter_that_means_nothing_is_refused(client: Client, query: str) -> None:
    assert (await client.get(f"{PATH}?{query}")).status == 422


async def test_nobody_plans_without_end(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_CAMPAIGNS", 1)
    await planned(client)
    assert (await client.post(PATH, json=FORM)).status == 403
    assert await names(client) == ["Spring"]


async def test_without_a_token_there_is_nothing(nobody: Client) -> None:
    for method, path in [("GET", PATH), ("POST", PATH), ("GET", f"{PATH}/playbook"), ("DELETE", f"{PATH}/{uuid4()}")]:
        body: dict[str, Any] = {"json": FORM} if method == "POST" else {}
        assert (await nobody.request(method, path, **body)).status == 401
