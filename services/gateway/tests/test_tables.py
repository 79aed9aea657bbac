"""The frontends' tables through /rest/v1, as PostgREST would answer (docs/adr/0024)."""

from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from pydantic import SecretStr
from starlette.requests import Request

from contracts.ids import user_of
from contracts.keeping import ChangedAssets, Delete
from contracts.money import Balance
from contracts.questions import LEDGER_BALANCE, STORAGE_DELETE, BalanceOf
from darkroom.migration import service_urls
from darkroom.stack import SERVICES
from gateway.dialects.supabase.query import parse
from gateway.dialects.supabase.readers import reader
from gateway.dialects.supabase.tables import Reader
from gateway.identity import DEVELOPMENT_USER, Identity, Keys
from gateway.settings import Settings, TokenSettings
from tests.tables import Tables

from .client import SECRET, Client, token, until
from .conftest import PUBLIC_URL, MakeClient, migrated, settings_of
from .players import Players

pytestmark = pytest.mark.connected

OBJECT = {"Accept": "application/vnd.pgrst.object+json"}
RECORDED = "/rest/v1/images?select=*,prompts!inner(user_id)&prompts.user_id=eq.{user}&order=created_at.desc"


@pytest.fixture(scope="module")
async def settings(nats_server: Any, tables: Tables) -> Settings:
    url = service_urls(tables.admin_url, dict.fromkeys(SERVICES, "secret"))["gateway"]
    return settings_of(nats_server.nats_url, await migrated(url))


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status == status, answer.text
    body: dict[str, Any] = answer.json
    assert list(body) == ["code", "message", "details", "hint"]
    assert body["code"] == code
    assert body["message"]
    return body


async def test_the_query_of_the_frontend_gives_its_users_images(client: Client, tables: Tables) -> None:
    first = await tables.generation(client.user_id, "modelark")
    second = await tables.generation(client.user_id, "modelark")
    await tables.generation(uuid4(), "modelark")
    await tables.generation(client.user_id, "social")
    answer = await client.get(RECORDED.format(user=client.user_id))
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Content-Range"] == "0-1/*"
    assert [row["prompt_id"] for row in answer.json] == [str(second), str(first)]
    [row, _] = answer.json
    assert set(row) == {"id", "prompt_id", "url", "size", "file_size", "mime_type", "created_at", "prompts"}
    assert row["prompts"] == {"user_id": str(client.user_id)}
    assert row["url"].startswith(f"{PUBLIC_URL}/media/")
    assert (row["size"], row["file_size"], row["mime_type"]) == ("640x480", 1234, "image/png")


async def test_another_users_rows_are_not_there_whatever_is_asked(client: Client, tables: Tables) -> None:
    other = uuid4()
    await tables.generation(other, "modelark")
    assert (await client.get(RECORDED.format(user=other))).json == []
    assert (await client.get("/rest/v1/prompts")).json == []
    deleted = await client.request("DELETE", f"/rest/v1/prompts?user_id=eq.{other}")
    assert deleted.status == 204
    assert len(await tables.rows(other, "SELECT * FROM modelark.prompts")) == 1


async def test_whoever_is_linked_finds_their_rows_by_the_id_in_their_token(
    client: Client, client_of: MakeClient, tables: Tables
) -> None:
    email, subject, stranger = f"{uuid4()}@example.com", uuid4(), client_of()
    await client_of(bearer=token(client.user_id, email=email, email_verified=True)).get("/rest/v1/images")
    linked = client_of(bearer=token(subject, email=email, email_verified=True, iss="https://other.example/auth/v1"))
    generation_id = await tables.generation(client.user_id, "modelark")
    for user_id in (subject, client.user_id):
        [row] = (await linked.get(RECORDED.format(user=user_id))).json
        assert row["prompt_id"] == str(generation_id)
    assert (await linked.get(RECORDED.format(user=stranger.user_id))).json == []
    assert (await stranger.get(RECORDED.format(user=subject))).json == []
    assert (await linked.request("DELETE", f"/rest/v1/prompts?user_id=eq.{subject}")).status == 204
    assert (await client.get("/rest/v1/prompts")).json == []


@pytest.mark.parametrize(
    ("dialect", "table", "column"),
    [("jaaz", "user_credits", "credits"), ("social", "user_ai_credits", "total_credits")],
)
async def test_a_new_user_finds_the_starting_credits(
    client: Client, tables: Tables, bus: NatsClient, players: Players, dialect: str, table: str, column: str
) -> None:
    """The ledger opens an account when it is asked about; where it does not answer the table is what it was."""
    players.silent.add(client.user_id)
    path = f"/rest/v1/{table}?select={column}&user_id=eq.{client.user_id}"
    headers = OBJECT | {"Accept-Profile": dialect}
    refused(await client.get(path, headers), 406, "PGRST116")

    async def open_account(message: Msg) -> None:
        if BalanceOf.model_validate_json(message.data).user_id == client.user_id:
            await tables.admin.execute(
                "INSERT INTO ledger.accounts (user_id, available) VALUES ($1, 100000) ON CONFLICT DO NOTHING",
                client.user_id,
            )
            await message.respond(Balance(available=100_000, held=0, used=0).model_dump_json().encode())

    opening = await bus.subscribe(LEDGER_BALANCE, cb=open_account)
    await bus.flush()
    answer = await client.get(path, headers)
    await opening.unsubscribe()
    assert (answer.status, answer.json) == (200, {column: 10}), answer.text


async def test_rows_are_chosen_ordered_and_bounded(client: Client, tables: Tables) -> None:
    for prompt in ("b", "a", "c"):
        await tables.generation(client.user_id, "modelark", prompt=prompt)
    assert (await client.get("/rest/v1/prompts?select=prompt&order=prompt.asc")).json == [
        {"prompt": "a"},
        {"prompt": "b"},
        {"prompt": "c"},
    ]
    page = await client.get("/rest/v1/prompts?select=prompt,type&order=prompt.desc&limit=1&offset=1")
    assert (page.json, page.headers["Content-Range"]) == ([{"prompt": "b", "type": "image"}], "1-1/*")
    assert (await client.get("/rest/v1/prompts?prompt=eq.a&select=prompt")).json == [{"prompt": "a"}]
    assert (await client.get("/rest/v1/prompts?limit=0")).json == []


async def test_counts_are_told_when_they_are_asked_for(client: Client, tables: Tables) -> None:
    for _ in range(3):
        await tables.generation(client.user_id, "modelark")
    counting = {"Prefer": "count=exact"}
    whole = await client.get("/rest/v1/images?select=id", counting)
    assert (whole.status, whole.headers["Content-Range"]) == (200, "0-2/3")
    part = await client.get("/rest/v1/images?select=id&limit=2", counting)
    assert (part.status, part.headers["Content-Range"], len(part.json)) == (206, "0-1/3", 2)
    head = await client.request("HEAD", "/rest/v1/images?select=*&prompt_id=eq." + str(uuid4()), counting)
    assert (head.status, head.headers["Content-Range"], head.text) == (200, "*/0", "")


async def test_one_object_where_there_is_one(client: Client, tables: Tables) -> None:
    generation_id = await tables.generation(client.user_id, "modelark")
    one = await client.get(f"/rest/v1/prompts?id=eq.{generation_id}&select=id", OBJECT)
    assert (one.status, one.json) == (200, {"id": str(generation_id)})
    assert one.headers["Content-Type"].startswith("application/vnd.pgrst.object+json")
    body = refused(await client.get(f"/rest/v1/prompts?id=eq.{uuid4()}", OBJECT), 406, "PGRST116")
    assert body["details"] == "The result contains 0 rows"
    await tables.generation(client.user_id, "modelark")
    refused(await client.get("/rest/v1/prompts", OBJECT), 406, "PGRST116")


async def test_tables_are_embedded_either_way(client: Client, tables: Tables) -> None:
    image = await tables.generation(client.user_id, "modelark")
    video = await tables.generation(client.user_id, "modelark", "video")
    [down] = (await client.get(f"/rest/v1/videos?select=id,prompts(type)&prompt_id=eq.{video}")).json
    assert down["prompts"] == {"type": "video"}
    both = (await client.get("/rest/v1/prompts?select=id,images(prompt_id)&order=created_at.asc")).json
    assert [row["images"] for row in both] == [[{"prompt_id": str(image)}], []]
    inner = (await client.get("/rest/v1/prompts?select=id,images!inner(id)")).json
    assert [row["id"] for row in inner] == [str(image)]
    left = (await client.get("/rest/v1/images?select=id,prompts(user_id)&prompts.type=eq.video")).json
    assert [row["prompts"] for row in left] == [None]


async def test_who_is_nobody_sees_nothing_and_a_service_everything(
    client_of: MakeClient, nobody: Client, tables: Tables
) -> None:
    generation_id = await tables.generation(uuid4(), "modelark")
    path = f"/rest/v1/images?select=prompt_id&prompt_id=eq.{generation_id}"
    anonymous = token(None, role="anon", aud=None)
    for headers in (
        {},
        {"apikey": anonymous},
        {"apikey": "sb_publishable_x", "Authorization": "Bearer sb_publishable_x"},
    ):
        answer = await nobody.get(path, headers)
        assert (answer.status, answer.json) == (200, []), answer.text
    service = token(None, role="service_role", aud=None)
    assert len((await nobody.get(path, {"apikey": service})).json) == 1
    assert len((await client_of(bearer=service).get(path, {"apikey": anonymous})).json) == 1
    refused(await nobody.get(path, {"apikey": "nonsense"}), 401, "PGRST301")
    refused(await nobody.get(path, {"Authorization": f"Bearer {token(uuid4(), exp=1)}"}), 401, "PGRST301")
    refused(await nobody.request("DELETE", path.replace("select=prompt_id&", "")), 401, "42501")


async def test_a_user_whose_token_has_another_subject_than_a_uuid_sees_their_rows(
    client_of: MakeClient, tables: Tables
) -> None:
    user = user_of("https://project.supabase.example/auth/v1", "alice")
    await tables.generation(user, "modelark")
    assert len((await client_of(bearer=token("alice")).get("/rest/v1/images")).json) == 1


async def test_a_row_is_deleted_once_and_storage_is_told(client: Client, tables: Tables, bus: NatsClient) -> None:
    first = await tables.generation(client.user_id, "modelark")
    second = await tables.generation(client.user_id, "modelark")
    [image] = (await client.get(f"/rest/v1/images?prompt_id=eq.{first}&select=id")).json
    shown = await client.request(
        "DELETE", f"/rest/v1/images?id=eq.{image['id']}&select=id", {"Prefer": "return=representation"}
    )
    assert (shown.status, shown.json) == (200, [image])
    again = await client.request("DELETE", f"/rest/v1/images?id=eq.{image['id']}")
    assert (again.status, again.text) == (204, "")
    assert [row["prompt_id"] for row in (await client.get("/rest/v1/images")).json] == [str(second)]
    assert [row["id"] for row in (await client.get("/rest/v1/prompts")).json] == [str(second)]
    assert (await client.get(f"/v1/generations/{first}")).status == 404, "as the gateway's own deletion"
    told: list[Delete] = []

    async def storage(message: Msg) -> None:
        told.append(Delete.model_validate_json(message.data))
        await message.respond(ChangedAssets(assets=1).model_dump_json().encode())

    async def is_told() -> bool:
        return any(question.generation_id == first for question in told)

    subscription = await bus.subscribe(STORAGE_DELETE, cb=storage)
    await until(is_told, 20)
    await subscription.unsubscribe()
    assert {question.user_id for question in told if question.generation_id == first} == {client.user_id}


async def test_what_is_at_work_is_not_deleted(client: Client, tables: Tables) -> None:
    generation_id = await tables.generation(client.user_id, "modelark", status="processing")
    refused(await client.request("DELETE", f"/rest/v1/prompts?id=eq.{generation_id}"), 409, "PT409")
    assert len((await client.get("/rest/v1/prompts")).json) == 1


async def test_one_object_is_deleted_or_none(client: Client, tables: Tables) -> None:
    for _ in range(2):
        await tables.generation(client.user_id, "modelark")
    refused(await client.request("DELETE", "/rest/v1/prompts?type=eq.image", OBJECT), 406, "PGRST116")
    assert len((await client.get("/rest/v1/prompts")).json) == 2
    refused(await client.request("DELETE", "/rest/v1/prompts"), 400, "21000")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("nothing", 404, "PGRST205"),
        ("generations", 404, "PGRST205"),
        ("images%22;drop", 404, "PGRST205"),
        ("images?select=nothing", 400, "42703"),
        ("images?nothing=eq.1", 400, "42703"),
        ("images?order=nothing", 400, "42703"),
        ("images?id=eq.no-uuid", 400, "22P02"),
        ("images?size=eq.%00", 400, "22021"),
        ("images?id=gt.1", 400, "PGRST100"),
        ("images?id=1", 400, "PGRST100"),
        ("images?select=", 400, "PGRST100"),
        ("images?select=id,,url", 400, "PGRST100"),
        ("images?select=id::text", 400, "PGRST100"),
        ("images?select=a(b(c))", 400, "PGRST100"),
        ("images?select=prompts(id),videos(id)", 400, "PGRST100"),
        ("images?select=videos(id)", 400, "PGRST200"),
        ("images?select=id,prompts(nothing)", 400, "42703"),
        ("images?videos.id=eq.1", 400, "PGRST100"),
        ("images?order=id.desc;--", 400, "PGRST100"),
        ("images?limit=x", 400, "PGRST100"),
        ("images?limit=-1", 400, "PGRST100"),
        ("images?offset=99999999999999999999", 400, "PGRST100"),
        ("images?or=(id.eq.1)", 400, "PGRST100"),
        ("images?select=" + ",".join(f"c{n}" for n in range(65)), 400, "PGRST100"),
    ],
)
async def test_what_is_no_query_of_ours_is_refused_in_postgrests_shape(
    client: Client, path: str, status: int, code: str
) -> None:
    refused(await client.get(f"/rest/v1/{path}"), status, code)


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_nothing_is_written_this_way(client: Client, method: str) -> None:
    refused(await client.request(method, "/rest/v1/images", json={}), 405, "PGRST117")


async def test_the_schema_is_the_one_that_is_named(client: Client, tables: Tables) -> None:
    await tables.generation(client.user_id, "modelark")
    for profile in ("modelark", "public"):
        assert len((await client.get("/rest/v1/images", {"Accept-Profile": profile})).json) == 1
    for profile in ("gateway", "views", "pg_catalog", 'modelark"'):
        body = refused(await client.get("/rest/v1/images", {"Accept-Profile": profile}), 406, "PGRST106")
        assert "modelark" in body["hint"]
    refused(await client.request("DELETE", "/rest/v1/images?id=eq.1", {"Content-Profile": "x"}), 406, "PGRST106")


async def test_a_browser_may_ask_and_read_the_range(nobody: Client) -> None:
    origin = {"Origin": "https://app.example"}
    wanted = "apikey,authorization,accept-profile,content-profile,prefer,x-client-info"
    asked = origin | {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": wanted}
    assert (await nobody.request("OPTIONS", "/rest/v1/images", asked)).status == 200
    answer = await nobody.get("/rest/v1/images", origin)
    assert "Content-Range" in answer.headers["Access-Control-Expose-Headers"]


async def test_a_statement_that_takes_too_long_is_ended(client: Client, tables: Tables) -> None:
    """A lock stands for it: the table is somebody else's for longer than a reader waits."""
    blocker = await asyncpg.connect(tables.admin_url)
    transaction = blocker.transaction()
    await transaction.start()
    try:
        await blocker.execute("LOCK TABLE gateway.generations IN ACCESS EXCLUSIVE MODE")
        refused(await client.get("/rest/v1/prompts"), 504, "57014")
    finally:
        await transaction.rollback()
        await blocker.close()


@pytest.mark.parametrize("named", ["video_jobs?id", "video_assets?video_id"])
async def test_what_nothing_can_be_deleted_from_says_so(client: Client, named: str) -> None:
    answer = await client.request("DELETE", f"/rest/v1/{named}=eq.{uuid4()}", {"Content-Profile": "instaveo"})
    assert answer.status == 405, answer.text


async def test_public_objects_are_our_media(nobody: Client) -> None:
    key = "ab" * 16
    for path in (f"images/{key}.png", f"any/{key}/original.png", f"any/media/{key}/original.png"):
        answer = await nobody.get(f"/storage/v1/object/public/{path}")
        assert (answer.status, answer.headers["Location"]) == (307, f"{PUBLIC_URL}/media/{key}/original.png")
    for path in ("images/x.png", "images/..%2f..%2fetc", f"images/{key}.png/x"):
        answer = await nobody.get(f"/storage/v1/object/public/{path}")
        assert answer.status == 404, path
        assert answer.json == {"statusCode": "404", "error": "not_found", "message": "Object not found"}


async def test_on_ones_own_machine_nobody_reads_as_whom_the_query_names() -> None:
    """As the routes there take a body's word; a token is believed before it."""
    user = uuid4()
    identity = Identity(TokenSettings(supabase_jwt_secret=SecretStr(SECRET)), Keys(None), local_mode=True)

    async def read_as(query: str, **headers: str) -> Reader:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        request = Request({"type": "http", "headers": raw, "query_string": query.encode(), "state": {}})
        found, _ = await reader(identity, request, parse(request.query_params.multi_items()))
        return found

    embedded = f"select=*,prompts!inner(user_id)&prompts.user_id=eq.{user}"
    assert await read_as(embedded) == Reader("authenticated", user)
    assert await read_as(f"user_id=eq.{user}", apikey=token(None, role="anon", aud=None)) == Reader(
        "authenticated", user
    )
    assert await read_as("select=*") == Reader("authenticated", DEVELOPMENT_USER)
    assert await read_as("user_id=eq.nonsense") == Reader("authenticated", DEVELOPMENT_USER)
    other = uuid4()
    assert await read_as(embedded, authorization=f"Bearer {token(other)}") == Reader("authenticated", other)


async def test_who_has_made_ten_thousand_pictures_reads_the_newest_in_time(client: Client, tables: Tables) -> None:
    """Each picture finds its prompt, and is not compared with all of them."""
    await tables.many(client.user_id, "modelark", 10_000)
    answer = await client.get(RECORDED.format(user=client.user_id))
    assert answer.status == 200, answer.text
    assert len(answer.json) == 1000, "as many as one answer has"
    page = await client.get(RECORDED.format(user=client.user_id) + "&limit=20", {"Prefer": "count=exact"})
    assert (page.status, page.headers["Content-Range"]) == (206, "0-19/10000")
