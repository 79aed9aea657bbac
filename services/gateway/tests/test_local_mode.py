"""A stack on one's own machine: a request of a dialect that carries no token is the development user's."""

from uuid import UUID, uuid4

import asyncpg
import pytest

from gateway.identity import DEVELOPMENT_USER
from gateway.settings import Settings

from .client import Client, token
from .conftest import MakeClient, with_limits

pytestmark = pytest.mark.connected


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return with_limits(settings, local_mode=True)


async def owner_of(answer_id: str, postgres: asyncpg.Pool) -> UUID:
    owner = await postgres.fetchval("SELECT user_id FROM generations WHERE id = $1", UUID(answer_id))
    assert isinstance(owner, UUID)
    return owner


@pytest.mark.parametrize("named", [None, "not an id", ""])
async def test_without_a_token_it_is_the_development_user(
    nobody: Client, postgres: asyncpg.Pool, named: str | None
) -> None:
    answer = await nobody.post("/api/images/generate", json={"prompt": "x", "userId": named})
    assert answer.status == 200
    assert await owner_of(answer.json["promptId"], postgres) == DEVELOPMENT_USER


async def test_without_a_token_the_body_names_the_user(nobody: Client, postgres: asyncpg.Pool) -> None:
    user = uuid4()
    answer = await nobody.post("/api/images/generate", json={"prompt": "x", "userId": str(user)})
    assert await owner_of(answer.json["promptId"], postgres) == user


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://localhost.evil.example"},
        {"Host": "evil.example"},
        {"Host": "evil.example", "Origin": "http://localhost:3000"},
    ],
    ids=str,
)
async def test_a_page_of_somewhere_else_is_nobody(
    nobody: Client, postgres: asyncpg.Pool, headers: dict[str, str]
) -> None:
    """Whoever looks at one has their browser ask here for whatever it likes; a name may be rebound to this machine."""
    count = "SELECT count(*) FROM generations WHERE user_id = $1"
    before = await postgres.fetchval(count, DEVELOPMENT_USER)
    answers = [
        await nobody.post("/api/images/generate", headers, json={"prompt": "x"}),
        await nobody.get("/api/v1/canvases", headers),
        await nobody.get("/rest/v1/user_credits", headers | {"Accept-Profile": "jaaz"}),
    ]
    assert [answer.status for answer in answers[:2]] == [401, 401]
    assert answers[2].status != 200
    assert await postgres.fetchval(count, DEVELOPMENT_USER) == before


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1:5173", "[::1]:3000", "shop.localhost"])
async def test_a_frontend_on_this_machine_needs_no_token(nobody: Client, host: str) -> None:
    assert (await nobody.get("/api/v1/canvases", {"Origin": f"http://{host}"})).status == 200


async def test_an_anonymous_key_counts_as_no_token(client_of: MakeClient, postgres: asyncpg.Pool) -> None:
    """As Supabase issues it: neither sub nor aud."""
    anonymous = client_of(bearer=token(None, role="anon", aud=None, iss="supabase"))
    answer = await anonymous.post("/api/images/generate", json={"prompt": "x"})
    assert answer.status == 200
    assert await owner_of(answer.json["promptId"], postgres) == DEVELOPMENT_USER


async def test_the_native_api_wants_a_token_all_the_same(nobody: Client) -> None:
    assert (await nobody.create()).status == 401
    assert (await nobody.get("/v1/models")).status == 401


async def test_a_token_that_is_not_believed_is_not_ignored(client_of: MakeClient) -> None:
    forged = client_of(bearer=token(uuid4(), secret="a secret that somebody made up for himself"))
    assert (await forged.post("/api/images/generate", json={"prompt": "x"})).status == 401


async def test_a_token_names_its_user_here_too(client: Client) -> None:
    assert (await client.post("/api/images/generate", json={"prompt": "x", "userId": str(uuid4())})).status == 404
