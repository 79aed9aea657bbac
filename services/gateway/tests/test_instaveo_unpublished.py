"""The instaveo frontend where nothing is public until its owner says so (`AUTO_PUBLISH=false`), and its conformance."""

import pytest

from gateway.settings import Settings

from .client import Client
from .conformance import JSON, Conformance, Dialect
from .conftest import MakeClient
from .test_instaveo import completed, created, rank, with_instaveo

pytestmark = pytest.mark.connected


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return with_instaveo(settings, video_creation_cooldown_seconds=0, video_queue_maxsize=0, auto_publish=False)


class TestConformance(Conformance):
    surface = Dialect(
        submit=("POST", "/videos/create", {"prompt": "A lighthouse in a storm"}),
        accepted=201,
        held_open=False,
        show="/videos/{id}",
        states={"completed": "completed", "failed": "failed", "declined": "failed", "cancelled": "failed"},
    )


async def test_its_owner_makes_a_video_public(client_of: MakeClient, nobody: Client, settings: Settings) -> None:
    one, other = client_of(), client_of()
    video = await completed(one)
    assert video["isPublished"] is False
    assert (await other.get(f"/videos/{video['id']}")).status == 404
    assert (await other.post(f"/videos/{video['id']}/publish", JSON)).status == 404
    answer = await one.post(f"/videos/{video['id']}/publish", JSON)
    assert (answer.status, answer.json["isPublished"]) == (200, True)
    for somebody in (other, nobody):
        assert (await somebody.get(f"/videos/{video['id']}")).status == 200
    listed = await other.get(f"/users/{one.user_id}/videos")
    assert [each["id"] for each in listed.json] == [video["id"]]

    await rank(settings)
    assert video["id"] in [each["id"] for each in (await nobody.get("/videos/feed?limit=50")).json["videos"]]


async def test_what_is_not_public_is_in_no_list_of_others(client_of: MakeClient) -> None:
    one, other = client_of(), client_of()
    video = await completed(one)
    await created(one)
    assert (await other.get(f"/users/{one.user_id}/videos")).json == []
    assert len((await one.get(f"/users/{one.user_id}/videos")).json) == 2
    assert (await other.post(f"/videos/{video['id']}/like", JSON)).status == 404
