"""The instaveo frontend's calls, one after another as its pages make them, with all that it sends along.

Sign up → profile → feed → watch and like → create → poll until completed → publish → leaderboard → sign out.
"""

import json
import time
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from gateway.settings import Settings

from .client import Answer, Client, token, until
from .conftest import MakeClient
from .players import Players
from .test_instaveo import rank, with_instaveo
from .test_instaveo_signing import SECRET, browser, proxy

pytestmark = pytest.mark.connected

ORIGIN = {"Origin": "http://localhost:3000", "Accept": "application/json, text/plain, */*"}


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    """The seed's own environment: signed, with its pause and its queue."""
    return with_instaveo(settings, request_signature_secret=SecretStr(SECRET))


class Frontend:
    """Its Axios client, behind its proxy or in the browser itself."""

    def __init__(self, client: Client, sign: Any) -> None:
        self._client = client
        self._sign = sign
        self.user_id = str(client.user_id)

    async def get(self, path: str) -> Any:
        return self._read(await self._client.get(path, ORIGIN | {"Accept-Encoding": "gzip, deflate, br"}), 200)

    async def send(self, path: str, body: Any = None, method: str = "POST", status: int = 200) -> Any:
        """What changes something is signed, and says that it is JSON also where there is none."""
        content = b"" if body is None else json.dumps(body).encode()
        timestamp, signature = self._sign(method, path, content, time.time())
        headers = {
            "Content-Type": "application/json",
            "X-InstaVeo-Timestamp": timestamp,
            "X-InstaVeo-Signature": signature,
        }
        return self._read(await self._client.request(method, path, ORIGIN | headers, data=content), status)

    def _read(self, answer: Answer, status: int) -> Any:
        assert answer.status == status, answer.text
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Content-Encoding" not in answer.headers, "its proxy would keep the header and decode the body"
        return answer.json


@pytest.mark.parametrize("sign", [proxy, browser])
async def test_a_visit(client_of: MakeClient, nobody: Client, settings: Settings, players: Players, sign: Any) -> None:
    somebody = uuid4()
    artist = Frontend(client_of(somebody, token(somebody, email=f"{somebody.hex[:10]}@example.com")), sign)
    viewer = Frontend(client_of(), sign)
    visitor = Frontend(nobody, sign)

    preflight = await nobody.request(
        "OPTIONS",
        "/videos/create",
        ORIGIN
        | {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-instaveo-signature,x-instaveo-timestamp",
        },
    )
    assert preflight.status == 200, preflight.text

    # /profile, the first time
    profile = await artist.get(f"/users/{artist.user_id}")
    assert (profile["username"], profile["videosCreated"]) == (somebody.hex[:10], 0)
    assert await artist.get(f"/users/{artist.user_id}/videos") == []
    assert await artist.get(f"/users/{artist.user_id}/liked") == []

    # /create: submitted, then polled every five seconds until it is completed
    players.scripts[somebody] = players.hold
    video = await artist.send("/videos/create", {"prompt": "A lighthouse in a storm"}, status=201)
    assert (video["status"], video["videoUrl"]) == ("pending", "")

    async def done() -> bool:
        state = await artist.send(f"/videos/{video['id']}/sync-status", {})
        assert state["status"] in {"pending", "processing", "completed"}
        return bool(state["status"] == "completed")

    await players.complete(await players.heard(video["id"]))
    await until(done, 20)
    video = await artist.get(f"/videos/{video['id']}")
    assert video["videoUrl"] == video["assets"][0]["publicUrl"]
    too_soon = await artist.send("/videos/create", {"prompt": "Another"}, status=429)
    assert isinstance(too_soon["detail"], str)
    assert (await artist._client.post(f"/videos/{video['id']}/publish", ORIGIN)).status == 200

    # /feed, read by anybody, watched and liked
    await rank(settings)
    feed = await visitor.get("/videos/feed?limit=20")
    assert video["id"] in [each["id"] for each in feed["videos"]]
    assert await visitor.send(f"/videos/{video['id']}/view") == {"success": True}
    assert await viewer.send(f"/videos/{video['id']}/view") == {"success": True}
    assert await viewer.send(f"/videos/{video['id']}/like") == {"success": True}
    shared = await visitor.get(f"/videos/{video['id']}")
    assert (shared["views"], shared["likes"], shared["dislikes"]) == (2, 1, 0)
    assert (await viewer.get(f"/users/{viewer.user_id}/liked"))[0]["id"] == video["id"]

    # "Recreate", from the feed
    again = await viewer.send(f"/videos/{video['id']}/recreate", status=201)
    assert (again["prompt"], again["sourceVideoId"]) == (video["prompt"], video["id"])

    # /leaderboard, and the profile's stats
    await rank(settings)
    top = await viewer.get("/users/top?limit=10")
    assert [each["totalLikes"] for each in top if each["id"] == artist.user_id] == [1]
    renamed = await artist.send(f"/users/{artist.user_id}", {"username": f"a-{somebody.hex[:8]}"}, "PATCH")
    assert (renamed["username"], renamed["videosCreated"]) == (f"a-{somebody.hex[:8]}", 1)
