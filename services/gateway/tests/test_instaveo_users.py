"""instaveo's users: profiles made on first sight, changed by their owners, and the lists of their videos."""

from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from gateway.dialects.instaveo.creators import USERNAME, names_for
from gateway.dialects.instaveo.who import Who
from gateway.settings import Settings

from .client import Client, token
from .conformance import JSON
from .conftest import MakeClient
from .test_instaveo import completed, created, rank, with_instaveo

pytestmark = pytest.mark.connected


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return with_instaveo(settings, video_creation_cooldown_seconds=0, video_queue_maxsize=0)


def named(client_of: MakeClient, **claims: Any) -> Client:
    user = uuid4()
    return client_of(user, token(user, **claims))


async def test_ones_own_profile_is_made_at_the_first_look(client_of: MakeClient) -> None:
    email = f"jane.{uuid4().hex[:8]}@example.com"
    client = named(client_of, email=email)
    answer = await client.get(f"/users/{client.user_id}")
    profile = answer.json
    assert answer.status == 200
    assert profile == {
        "id": str(client.user_id),
        "username": email.partition("@")[0],
        "email": email,
        "videosCreated": 0,
        "totalLikes": 0,
        "totalDislikes": 0,
        "creatorScore": 0.0,
        "lastActiveAt": profile["lastActiveAt"],
        "createdAt": profile["createdAt"],
        "enterprise": False,
    }
    assert (await client.get(f"/users/{client.user_id}")).json["createdAt"] == profile["createdAt"]


async def test_others_see_no_email(client_of: MakeClient) -> None:
    one, other = named(client_of, email="one@example.com"), client_of()
    await one.get(f"/users/{one.user_id}")
    assert (await other.get(f"/users/{one.user_id}")).json["email"] == ""
    assert (await other.get(f"/users/{uuid4()}")).status == 404


async def test_a_name_that_is_taken_gets_an_ending(client_of: MakeClient) -> None:
    clients = [named(client_of, user_metadata={"username": "Twin"}) for _ in range(3)]
    names = [(await client.get(f"/users/{client.user_id}")).json["username"] for client in clients]
    assert names == ["Twin", *(f"Twin-{client.user_id.hex[-6:]}" for client in clients[1:])]


@pytest.mark.parametrize("wish", ["", "é", "--", "a", "x" * 100, "Jane Doe", "../../x", "\u202eevil", "1' OR '1'='1"])
def test_whatever_somebody_is_called_they_get_a_name(wish: str) -> None:
    user = uuid4()
    assert all(USERNAME.fullmatch(name) for name in names_for(Who(user, name=wish))[:2])


async def test_enterprise_is_what_the_issuer_says(client_of: MakeClient) -> None:
    for claims, is_enterprise in [
        ({"app_metadata": {"enterprise": True}}, True),
        ({"user_metadata": {"enterprise": True}}, False),
        ({"app_metadata": "x", "user_metadata": ["y"], "email": 5}, False),
    ]:
        client = named(client_of, **claims)  # type: ignore[arg-type]
        assert (await client.get(f"/users/{client.user_id}")).json["enterprise"] is is_enterprise


async def test_a_profile_says_what_the_issuer_says_now(client_of: MakeClient) -> None:
    user = uuid4()
    known_by_id_alone = client_of(user, token(user))

    async def said(client: Client) -> tuple[str, bool]:
        profile = (await client.get(f"/users/{user}")).json
        return profile["email"], profile["enterprise"]

    assert await said(known_by_id_alone) == ("", False)
    for email, is_enterprise in [("one@example.com", False), ("two@example.com", True), ("two@example.com", False)]:
        claims = {"email": email, "app_metadata": {"enterprise": is_enterprise}}
        assert await said(client_of(user, token(user, **claims))) == (email, is_enterprise)
        assert await said(known_by_id_alone) == (email, is_enterprise)


async def test_a_profile_is_changed_by_its_owner(client_of: MakeClient) -> None:
    one, other = client_of(), client_of()
    name = f"n{uuid4().hex[:8]}"
    answer = await one.request(
        "PATCH",
        f"/users/{one.user_id}",
        json={"username": name, "avatarUrl": "https://a.example/b.png", "totalLikes": 9},
    )
    assert (answer.status, answer.json["username"], answer.json["totalLikes"]) == (200, name, 0)
    assert answer.json["avatarUrl"] == "https://a.example/b.png"
    taken = await other.request("PATCH", f"/users/{other.user_id}", json={"username": name.upper()})
    assert (taken.status, taken.json["statusCode"]) == (409, 409)
    assert (await other.request("PATCH", f"/users/{one.user_id}", json={"username": "mine"})).status == 404
    untouched = await one.request("PATCH", f"/users/{one.user_id}", json={})
    assert (untouched.json["username"], untouched.json["avatarUrl"]) == (name, "https://a.example/b.png")
    for nothing in (None, ""):
        await one.request("PATCH", f"/users/{one.user_id}", json={"avatarUrl": "https://a.example/b.png"})
        without = await one.request("PATCH", f"/users/{one.user_id}", json={"avatarUrl": nothing})
        assert without.status == 200 and "avatarUrl" not in without.json, without.text


async def test_who_chooses_an_unfit_name_is_told_in_words_what_one_may_have(client: Client) -> None:
    answer = await client.request("PATCH", f"/users/{client.user_id}", json={"username": "Jane Doe"})
    words = "a name has 3 to 30 letters, digits, dots, dashes and underscores, and begins with a letter or a digit"
    assert (answer.status, answer.json["detail"]) == (422, f"username: {words}")


@pytest.mark.parametrize(
    "body",
    [
        {"username": ""},
        {"username": "ab"},
        {"username": "x" * 31},
        {"username": "a b c"},
        {"username": "nul\0l"},
        {"username": "abc\n"},
        {"username": 5},
        {"avatarUrl": "javascript:alert(1)"},
        {"avatarUrl": "https://a.example/\0"},
        {"avatarUrl": "https://a.example/" + "x" * 2000},
    ],
    ids=str,
)
async def test_a_profile_takes_no_garbage(client: Client, body: dict[str, Any]) -> None:
    assert (await client.request("PATCH", f"/users/{client.user_id}", json=body)).status == 422


async def test_what_a_user_made_and_likes(client_of: MakeClient) -> None:
    one, other = client_of(), client_of()
    first = await completed(one, "first")
    second = await completed(one, "second")
    assert [each["prompt"] for each in (await other.get(f"/users/{one.user_id}/videos")).json] == ["second", "first"]
    for video in (second, first):
        await other.post(f"/videos/{video['id']}/like", JSON)
    assert [each["prompt"] for each in (await other.get(f"/users/{other.user_id}/liked")).json] == ["first", "second"]
    await other.post(f"/videos/{first['id']}/dislike", JSON)
    assert [each["prompt"] for each in (await other.get(f"/users/{other.user_id}/liked")).json] == ["second"]
    assert (await one.get(f"/users/{other.user_id}/liked")).status == 404


async def test_the_leaderboard_has_ranks(client_of: MakeClient, settings: Settings) -> None:
    one, other = client_of(), client_of()
    video = await completed(one)
    await other.post(f"/videos/{video['id']}/like", JSON)

    await rank(settings)
    assert (await other.get("/users/top?limit=")).status == 200
    answer = await other.get("/users/top?limit=100")
    assert answer.status == 200, answer.text
    ranks = [each["rank"] for each in answer.json]
    assert ranks == list(range(1, len(ranks) + 1))
    assert all(each["email"] == "" for each in answer.json)
    found = next(each for each in answer.json if each["id"] == str(one.user_id))
    assert (found["videosCreated"], found["totalLikes"], found["totalDislikes"]) == (1, 1, 0)
    for limit in ("0", "101", "-1", "x"):
        assert (await other.get(f"/users/top?limit={limit}")).status == 422


async def test_profiles_are_for_those_who_are_signed_in(nobody: Client) -> None:
    for path in ("/users/top", f"/users/{uuid4()}", f"/users/{uuid4()}/videos", f"/users/{uuid4()}/liked"):
        assert (await nobody.get(path)).status == 401
    assert (await nobody.request("PATCH", f"/users/{uuid4()}", json={})).status == 401


async def test_every_write_says_that_its_user_is_active(client_of: MakeClient, postgres: asyncpg.Pool) -> None:
    one, other = client_of(), client_of()
    video = await completed(one)
    await other.get(f"/users/{other.user_id}")

    async def active() -> Any:
        return await postgres.fetchval("SELECT last_active_at FROM instaveo_creators WHERE id = $1", other.user_id)

    before = await active()
    for path in ("like", "view", "dislike", "recreate"):
        assert (await other.post(f"/videos/{video['id']}/{path}", JSON)).status < 300
        now = await active()
        assert now > before
        before = now
    await created(other)
    now = await active()
    assert now > before
    await other.request("PATCH", f"/users/{other.user_id}", json={})
    assert await active() > now
