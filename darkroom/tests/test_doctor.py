"""Each thing that can be set up wrongly is found and said in words, against real servers; what is right is let be."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import uvicorn
from aiohttp import web
from nats.aio.client import Client
from typer.testing import CliRunner

from contracts.topology import CONSUMERS, DEAD, GENERATION, LEDGER_SETTLE_OUTCOMES
from darkroom.doctor import Deployment, Finding, broker, database, doors, examine, keeping, webhooks
from darkroom.embedded import NatsServer, free_port
from darkroom.embedded.postgres import execute
from darkroom.jetstream import ask, connect
from darkroom.main import app
from darkroom.migration import migrate, service_urls
from darkroom.stack import NATS_USERS, SERVICES
from darkroom.topology import AUTHORIZATION
from darkroom.topology.apply import apply, stream_configs
from runtime.health import LoopLag, routes

pytestmark = pytest.mark.connected

PASSWORDS = {service: f"n{uuid4().hex}" for service in SERVICES}
NATS_PASSWORDS = {user: f"n{uuid4().hex}" for user in NATS_USERS}
OF_DATABASE = "ALTER DATABASE %I"
TOPOLOGY = {f"stream {GENERATION.name}", "consumer ledger-hold-requested"}


def about(findings: list[Finding], words: str) -> list[str]:
    return [f"{finding.about} {finding.found}" for finding in findings if words in f"{finding.about} {finding.found}"]


# -- Postgres ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def durable(postgres_server: Any) -> Iterator[None]:
    """A server as an operator's should be: that of the tests waits for no disk."""
    execute(postgres_server.admin_url, "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()")
    yield
    execute(postgres_server.admin_url, "ALTER SYSTEM RESET fsync; SELECT pg_reload_conf()")


@pytest.fixture
async def database_url(make_database: Callable[[str], str]) -> str:
    url = make_database("doctor")
    await migrate(url, service_urls(url, PASSWORDS))
    return url


async def findings_after(database_url: str, *provocations: str) -> list[Finding]:
    connection = await asyncpg.connect(database_url)
    for provocation in provocations:
        await connection.execute(provocation)
    await connection.close()
    part = await database.look(Deployment(database_url=database_url))
    assert part.looked_at > 20
    return part.findings


async def test_a_migrated_database_is_fine(database_url: str) -> None:
    assert await findings_after(database_url) == []


@pytest.mark.parametrize(
    ("provocation", "undo", "said"),
    [
        (
            "ALTER SYSTEM SET full_page_writes = off",
            "ALTER SYSTEM RESET full_page_writes",
            "full_page_writes is off",
        ),
        (
            f"DO $$ BEGIN EXECUTE format('{OF_DATABASE} SET synchronous_commit = off', current_database()); END $$",
            f"DO $$ BEGIN EXECUTE format('{OF_DATABASE} RESET synchronous_commit', current_database()); END $$",
            "synchronous_commit is off",
        ),
        (
            "ALTER ROLE ledger SET synchronous_commit = off",
            "ALTER ROLE ledger RESET synchronous_commit",
            "synchronous_commit of ledger is off",
        ),
        ("ALTER ROLE storage CREATEROLE", "ALTER ROLE storage NOCREATEROLE", "role storage has rights"),
        (
            "GRANT USAGE ON SCHEMA ledger TO generator",
            "REVOKE USAGE ON SCHEMA ledger FROM generator",
            "schema ledger can be read by generator",
        ),
        ("ALTER SCHEMA gateway OWNER TO postgres", "ALTER SCHEMA gateway OWNER TO gateway", "belongs to postgres"),
        (
            "UPDATE ledger.alembic_version SET version_num = '0001'",
            "SELECT 1",
            "schema ledger has revision 0001, which is older",
        ),
        ("DROP TABLE storage.alembic_version", "SELECT 1", "schema storage has revision none"),
    ],
)
async def test_what_is_wrong_with_a_database_is_said(database_url: str, provocation: str, undo: str, said: str) -> None:
    reload = "SELECT pg_reload_conf(), pg_sleep(0.2)"
    try:
        found = await findings_after(database_url, provocation, reload)
    finally:
        await findings_after(database_url, undo, reload)
    assert about(found, said)
    assert all(finding.do for finding in found)
    assert not about(await findings_after(database_url), said) or undo == "SELECT 1"


async def test_an_empty_database_and_one_that_is_away(make_database: Callable[[str], str]) -> None:
    empty = await database.look(Deployment(database_url=make_database("empty")))
    assert about(empty.findings, "schema gateway belongs to nobody")
    away = await database.look(Deployment(database_url=f"postgresql://a:b@127.0.0.1:{free_port()}/c"))
    assert about(away.findings, "Postgres does not let us in")


# -- NATS --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    variables = {f"{user.upper()}_NATS_PASSWORD": password for user, password in NATS_PASSWORDS.items()}
    server = NatsServer(
        tmp_path_factory.mktemp("guarded"), authorization=AUTHORIZATION.read_text(), variables=variables
    )
    server.start()
    yield server
    server.stop()


def deployment(server: NatsServer, user: str | None = "operator") -> Deployment:
    login = f"{user}:{NATS_PASSWORDS[user]}@" if user else ""
    return Deployment(
        nats_url=server.nats_url.replace("nats://", f"nats://{login}"), nats_monitoring_url=server.monitoring_url
    )


@asynccontextmanager
async def operator(server: NatsServer) -> AsyncIterator[Client]:
    client = await connect(str(deployment(server).nats_url), "operator")
    try:
        yield client
    finally:
        await client.close()


async def test_a_broker_without_its_topology_and_with_it(guarded: NatsServer) -> None:
    before = (await broker.look(deployment(guarded))).findings
    assert {finding.about for finding in before} >= TOPOLOGY
    assert all("topology" in finding.do for finding in before)
    async with operator(guarded) as client:
        await apply(client)
    after = (await broker.look(deployment(guarded))).findings
    assert {finding.found for finding in after} == {"is asked by nobody"}, "no service runs here"
    assert len(after) == len(CONSUMERS)


async def test_what_differs_from_the_contracts_is_said(guarded: NatsServer) -> None:
    async with operator(guarded) as client:
        await apply(client)
        await ask(client, f"CONSUMER.DELETE.GENERATION.{CONSUMERS[0].durable}")
        await ask(client, f"STREAM.UPDATE.{GENERATION.name}", GENERATION.config() | {"max_age": 3600 * 10**9})
        paused = f"OUTCOMES.{LEDGER_SETTLE_OUTCOMES.durable}"
        await ask(client, f"CONSUMER.PAUSE.{paused}", {"pause_until": "2126-11-21T00:00:00Z"})
        await client.jetstream().publish("dead.ledger-hold-requested", b"{}", stream=DEAD.name)
        found = (await broker.look(deployment(guarded))).findings
        assert about(found, f"consumer {CONSUMERS[0].durable} is missing")
        assert about(found, "stream GENERATION is set otherwise")
        assert about(found, f"consumer {LEDGER_SETTLE_OUTCOMES.durable} is paused")
        assert about(found, "stream DEAD has 1 messages")
        await apply(client)
        await ask(client, f"STREAM.PURGE.{DEAD.name}")


async def test_streams_of_a_version_that_made_them_otherwise_are_fine(tmp_path: Path) -> None:
    """How a stream keeps what it took is fixed when it is made: `darkroom topology` leaves it so as well."""
    server = NatsServer(tmp_path)
    server.start()
    client = await connect(server.nats_url, "test")
    try:
        for config in stream_configs():
            former = {key: value for key, value in config.items() if key != "persist_mode"}
            await ask(client, f"STREAM.CREATE.{config['name']}", former)
        assert {change.noun for change in await apply(client)} == {"consumer"}
        found = (await broker.look(deployment(server, user=None))).findings
    finally:
        await client.close()
        server.stop()
    assert about(found, "stream") == []


async def test_a_broker_that_lets_everybody_in_and_syncs_late(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, durable=False)
    server.start()
    try:
        found = (await broker.look(deployment(server, user=None))).findings
    finally:
        server.stop()
    assert about(found, "NATS lets in whoever comes")
    assert about(found, "sync_interval is 120 s")
    away = (await broker.look(deployment(server, user=None))).findings
    assert about(away, "NATS does not let us in")


async def test_a_wrong_password_and_a_wrong_address_of_the_figures(guarded: NatsServer) -> None:
    wrong = Deployment(nats_url=guarded.nats_url.replace("nats://", "nats://operator:wrong@"))
    assert about((await broker.look(wrong)).findings, "NATS does not let us in")
    right = deployment(guarded)
    elsewhere = Deployment(nats_url=right.nats_url, nats_monitoring_url=f"http://127.0.0.1:{free_port()}")
    assert about((await broker.look(elsewhere)).findings, "NATS's monitoring does not answer")


# -- doors, clocks -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def door(problems: list[str]) -> AsyncIterator[str]:
    """The readiness that every service has, with a check of ours behind it."""

    async def check() -> list[str]:
        return problems

    known: dict[str, Any] = dict(routes(LoopLag(), [check]))

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await known[scope["path"] if scope["path"] in known else "/live"](scope, receive, send)

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(asgi, host="127.0.0.1", port=port, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


async def test_a_door_that_is_not_ready_open_to_all_or_not_there() -> None:
    async with door(["broker: not connected"]) as url:
        found = (await doors.look(Deployment(gateway_url=url, media_url=url))).findings
        assert about(found, "gateway is not ready: broker: not connected")
        assert about(found, "storage is not ready: broker: not connected")
        assert about(found, "gateway answers without a token")
    async with door([]) as url:
        assert (await doors.look(Deployment(gateway_url=url, loopback_only=True))).findings == []
    assert about((await doors.look(Deployment(media_url=url))).findings, "storage does not answer")


async def test_a_clock_that_is_off_is_said(
    database_url: str, guarded: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may set a server's clock here: so even a right one is too far off."""
    for module in (database, broker, doors):
        monkeypatch.setattr(module, "CLOCK_SECONDS", -1.0)
    async with operator(guarded) as client:
        await apply(client)
    async with door([]) as url:
        parts = [
            await database.look(Deployment(database_url=database_url)),
            await broker.look(deployment(guarded)),
            await doors.look(Deployment(media_url=url)),
        ]
    for part, name in zip(parts, ("Postgres", "NATS", "storage"), strict=True):
        assert about(part.findings, f"clock of {name}"), name


# -- objects and secrets -----------------------------------------------------------------------------------------


async def test_a_store_that_cannot_be_written_to_is_said(tmp_path: Path, s3_server: Any) -> None:
    fine = {"MEDIA_STORAGE_BACKEND": "local", "MEDIA_ROOT": str(tmp_path / "media")}
    found = (await keeping.look_at_objects(Deployment(storage_environment=fine))).findings
    assert about(found, "store cannot be written to: there is no folder"), "one that is misspelt is not made"
    assert not (tmp_path / "media").exists()
    (tmp_path / "media").mkdir()
    assert (await keeping.look_at_objects(Deployment(storage_environment=fine))).findings == []
    (tmp_path / "file").touch()
    below = {"MEDIA_STORAGE_BACKEND": "local", "MEDIA_ROOT": str(tmp_path / "file" / "media")}
    found = (await keeping.look_at_objects(Deployment(storage_environment=below))).findings
    assert about(found, "store cannot be written to")
    incomplete = {"MEDIA_STORAGE_BACKEND": "s3", "AWS_SECRET_ACCESS_KEY": "canary-of-a-secret"}
    found = (await keeping.look_at_objects(Deployment(storage_environment=incomplete))).findings
    assert about(found, "s3 needs AWS_S3_BUCKET")
    assert not about(found, "canary")
    bucket = {
        "MEDIA_STORAGE_BACKEND": "s3",
        "S3_ENDPOINT": s3_server.endpoint,
        "AWS_S3_BUCKET": s3_server.bucket,
        "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
    }
    assert (await keeping.look_at_objects(Deployment(storage_environment=bucket))).findings == []
    wrong = bucket | {"AWS_SECRET_ACCESS_KEY": "x" * 40}
    found = (await keeping.look_at_objects(Deployment(storage_environment=wrong))).findings
    assert about(found, "store cannot be written to")


# -- webhooks ----------------------------------------------------------------------------------------------------


async def test_webhooks_that_nobody_sends_or_takes_are_said(database_url: str) -> None:
    url = database_url
    assert (await webhooks.look(Deployment(database_url=url))).findings == []
    connection = await asyncpg.connect(url)
    await connection.execute("""
        INSERT INTO gateway.webhooks (id, user_id, url, events, failing_since)
        VALUES (gen_random_uuid(), gen_random_uuid(), 'https://r.example', '{}', now() - interval '2 hours');
        INSERT INTO gateway.deliveries (id, webhook_id, event, next_at)
        SELECT gen_random_uuid(), id, 'generation.completed', now() - interval '10 minutes' FROM gateway.webhooks
    """)
    found = (await webhooks.look(Deployment(database_url=url))).findings
    assert about(found, "deliveries 1 are due for more than five minutes")
    assert about(found, "receivers 1 have taken nothing for an hour")
    await connection.execute("UPDATE gateway.webhooks SET state = 'disabled'")
    await connection.close()
    assert (await webhooks.look(Deployment(database_url=url))).findings == [], "its owner knows why"


@pytest.mark.parametrize(("status", "said"), [(403, ""), (200, "without a signature is taken"), (404, "answers 404")])
async def test_a_gateway_that_stripe_does_not_reach_is_said(status: int, said: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/webhooks/stripe", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        found = (await webhooks.look(Deployment(gateway_url=url))).findings
    finally:
        await runner.cleanup()
    assert [bool(said and said in finding.found) for finding in found] == ([True] if said else [])


# -- the command -------------------------------------------------------------------------------------------------


async def test_nothing_is_looked_at_where_nothing_is_named() -> None:
    examination = await examine(Deployment())
    assert examination.findings == []
    assert all(part.skipped for part in examination.parts)
    runner = CliRunner(env=dict.fromkeys(os.environ.keys() - {"PATH"}))
    told = await asyncio.to_thread(runner.invoke, app, ["doctor", "--data", "/nowhere"])
    assert told.exit_code == 78, "which is not to be taken for a healthy deployment"
    assert "Nothing was looked at" in told.output
    assert "as it should be" not in told.output


async def test_the_command_says_what_to_do_and_ends_with_1(database_url: str) -> None:
    environment = {"DATABASE_URL": database_url.replace("/doctor_", "/nothing_"), "SUPABASE_JWT_SECRET": "short"}
    runner = CliRunner(
        env=dict.fromkeys(("NATS_URL", "GATEWAY_URL", "AWS_S3_BUCKET", "MEDIA_ROOT"), None) | environment
    )
    words = ["doctor", "--data", "/nowhere"]
    told = await asyncio.to_thread(runner.invoke, app, words)
    assert told.exit_code == 1
    assert "Postgres does not let us in" in told.output
    assert "SUPABASE_JWT_SECRET can be guessed: 5 characters" in told.output
    assert "→ Make a random one" in told.output
    as_json = json.loads((await asyncio.to_thread(runner.invoke, app, [*words, "--json"])).output)
    assert as_json["healthy"] is False
