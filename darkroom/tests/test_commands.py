"""Every command says in words what is wrong, ends with 1, and starts quickly."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from nats.aio.msg import Msg
from typer.testing import CliRunner

from contracts.facts import Kind
from contracts.questions import (
    GENERATOR_MODELS,
    LEDGER_SET_PRICES,
    CatalogModel,
    CreditsGranted,
    ListedModel,
    Models,
    PricesSet,
)
from darkroom.jetstream import connect
from darkroom.main import app
from darkroom.stack import STACK_FILE, Stack, write_private
from darkroom.tokens import make_token

USER = UUID("00000000-0000-4000-8000-00000000d0d0")
LISTED = ListedModel(
    model=CatalogModel(id="dall-e-3", kind=Kind.IMAGE, provider="openai"), provider_model="dall-e-3", has_key=True
)
SECRET = "a secret of at least thirty-two bytes"
runner = CliRunner(
    env=dict.fromkeys(("NATS_URL", "DATABASE_URL", "GATEWAY_URL", "SIMULATOR_URL", "SUPABASE_JWT_SECRET"), None)
)


def test_a_token_names_its_user_as_supabase_does() -> None:
    claims = jwt.decode(
        make_token(SECRET, USER, 2, "http://127.0.0.1/auth/v1"),
        SECRET,
        algorithms=["HS256"],
        audience="authenticated",
        issuer="http://127.0.0.1/auth/v1",
    )
    assert claims["sub"] == str(USER)
    assert claims["role"] == "authenticated"
    assert claims["exp"] - claims["iat"] == 2 * 3600
    assert abs(claims["iat"] - time.time()) < 5
    assert "email" not in claims


def test_a_token_of_another_secret_is_none() -> None:
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(make_token("x" * 32, USER, 1, "i"), SECRET, algorithms=["HS256"], audience="authenticated")


@pytest.mark.parametrize("operator", [False, True])
def test_only_an_operators_token_says_that_it_is_one(operator: bool) -> None:
    token = make_token(SECRET, USER, 1, "i", operator=operator)
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="authenticated")
    assert claims.get("app_metadata") == ({"roles": ["operator"]} if operator else None)


def test_the_command_prints_the_token_alone() -> None:
    command = [sys.executable, "-m", "darkroom", "token", "--user", str(USER), "--hours", "1", "--data", "/nowhere"]
    environment = {**os.environ, "SUPABASE_JWT_SECRET": SECRET}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.count("\n") == 1
    assert jwt.decode(run.stdout.strip(), SECRET, algorithms=["HS256"], audience="authenticated")["sub"] == str(USER)


def test_what_a_terminal_has_no_letter_for_is_said_in_another_way() -> None:
    command, environment = (
        [sys.executable, "-m", "darkroom", "up", "--help"],
        {**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert (run.returncode, run.stderr) == (0, "")
    assert r"\u2026" in run.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["token", "--user", str(USER)], "SUPABASE_JWT_SECRET is not set"),
        (["generate", "a lighthouse"], "GATEWAY_URL is not set"),
        (["grant", "--user", str(USER), "--credits", "1"], "NATS_URL is not set"),
        (["topology"], "NATS_URL is not set"),
        (["dead", "list"], "NATS_URL is not set"),
        (["migrate"], "DATABASE_URL is not set"),
        (["grant", "--user", str(USER), "--credits", "-1"], "not more than nothing"),
        (["grant", "--user", str(USER), "--credits", "0.00001"], "not an amount of credits"),
        (["grant", "--user", str(USER), "--credits", "many"], "not an amount of credits"),
        (["plan", "--user", str(USER), "--plan", "basic"], "NATS_URL is not set"),
        (["models"], "NATS_URL is not set"),
        (["models", "off", "dall-e-3"], "NATS_URL is not set"),
        (["prices"], "NATS_URL is not set"),
        (["prices", "set", "dall-e-2", "--credits", "1"], "NATS_URL is not set"),
        (["prices", "set"], "Say which price to set"),
        (["prices", "set", "dall-e-2"], "A price needs 'credits'"),
        (["prices", "set", "dall-e-2", "--credits", "-1"], "greater than or equal to 0"),
        (["prices", "set", "dall-e-2", "--credits", "0.00001"], "not an amount of credits"),
        (["prices", "set", "dall-e-2", "--credits", "1e18"], "not an amount of credits"),
        (["prices", "set", "dall-e-2", "--credits", "1", "--per", "picture"], "per: "),
        (["prices", "set", "dall-e-2", "--credits", "1", "--provider-dollars", "0.00000001"], "to the millionth"),
        (["prices", "set", "--file", "/nowhere.json"], "/nowhere.json"),
    ],
)
def test_what_is_missing_is_named(words: list[str], expected: str, tmp_path: Path) -> None:
    ended = runner.invoke(app, [*words, "--data", str(tmp_path)])
    assert ended.exit_code == (78 if "is not set" in expected else 1)
    assert expected in ended.output
    assert "Traceback" not in ended.output


@pytest.mark.parametrize("words", ["prices set dall-e-2 --credits 1", "models off dall-e-3", "models show dall-e-3"])
def test_the_stack_may_be_named_before_the_subcommand(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a price is written into another stack, the one of this folder."""
    monkeypatch.chdir(tmp_path)
    group, *rest = words.split()
    for folder, port in ("named", 1), (".darkroom", 2):
        (tmp_path / folder).mkdir()
        write_private(tmp_path / folder / STACK_FILE, {"nats_url": f"nats://127.0.0.1:{port}"})
    asked: list[str] = []
    monkeypatch.setattr(Stack, "address", lambda stack, name: asked.append(stack.known[name]) or stack.known[name])
    for before, after in (["--data", "named"], []), ([], ["--data", "named"]):
        assert runner.invoke(app, [group, *before, *rest, *after]).exit_code == 1
    assert set(asked) == {"nats://127.0.0.1:1"}


@pytest.mark.connected
async def test_a_price_of_a_model_that_nobody_knows_is_set_and_said(nats_server: Any) -> None:
    """It may be there tomorrow, or be a slip of the pen that leaves the model at its old price."""
    client = await connect(nats_server.nats_url, "test")

    async def answer(message: Msg) -> None:
        told = PricesSet(version=2) if message.subject == LEDGER_SET_PRICES else Models(version=1, models=(LISTED,))
        await message.respond(told.model_dump_json().encode())

    for subject in (LEDGER_SET_PRICES, GENERATOR_MODELS):
        await client.subscribe(subject, cb=answer)
    for _ in range(2):  # the first ping overtakes what nats-py has not written yet
        await client.flush()
    for model, said in (LISTED.model.id, False), ("dall-e-33", True):
        words = ["prices", "set", model, "--credits", "1", "--data", "/nowhere"]
        ended = await asyncio.to_thread(runner.invoke, app, words, env={"NATS_URL": nats_server.nats_url})
        assert (ended.exit_code, "version 2" in ended.output) == (0, True)
        assert ("No model has this name: dall-e-33" in ended.output) == said
    await client.close()


@pytest.mark.parametrize(("option", "value"), [("--days", "99999999999"), ("--bytes", str(10**23)), ("--days", "0")])
def test_what_cannot_be_kept_is_refused_before_anybody_is_asked(option: str, value: str, tmp_path: Path) -> None:
    words = ["media", "keep", "--user", str(USER), option, value, "--data", str(tmp_path)]
    refused = runner.invoke(app, words, env={"NATS_URL": "nats://127.0.0.1:1"})
    assert (refused.exit_code, "did not answer" in refused.output) == (2, False)


@pytest.mark.parametrize("option", ["--port", "--fal-port"])
def test_a_stack_listens_at_no_port_that_is_none(option: str, tmp_path: Path) -> None:
    assert runner.invoke(app, ["up", option, "99999", "--data", str(tmp_path)]).exit_code == 2


def test_an_audit_without_a_database_is_no_clean_audit(tmp_path: Path) -> None:
    assert runner.invoke(app, ["audit", "--data", str(tmp_path)]).exit_code == 78
    away = runner.invoke(
        app, ["audit", "--data", str(tmp_path)], env={"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    )
    assert away.exit_code == 2
    assert "could not be made" in away.output


def test_a_gateway_that_is_away_is_named(tmp_path: Path) -> None:
    away = runner.invoke(
        app, ["generate", "x", "--data", str(tmp_path), "-o", str(tmp_path)], env={"GATEWAY_URL": "http://127.0.0.1:1"}
    )
    assert away.exit_code == 1
    assert "http://127.0.0.1:1 does not answer" in away.output


WATCHES = """
import asyncio, signal, sys
from unittest.mock import AsyncMock
from uuid import UUID
from darkroom.client import ApiError, AsyncClient, Generation
from darkroom.main import app

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have had it ignored
made = Generation.model_construct(id=UUID(sys.argv.pop()), status="pending")
end = sys.argv.pop()

async def follow(*_):
    yield made
    if end == "away":
        raise ApiError("away")
    signal.raise_signal(signal.SIGINT)
    await asyncio.sleep(60)

AsyncClient.generate, AsyncClient.follow = AsyncMock(return_value=made), follow
app()
"""


@pytest.mark.parametrize(("end", "status"), [("Ctrl-C", 130), ("away", 1)])
def test_who_stops_watching_is_told_where_it_is(end: str, status: int, tmp_path: Path) -> None:
    """In a process of its own: whoever else ran in this one would be interrupted."""
    words = ["generate", "x", "--data", str(tmp_path), "-o", str(tmp_path), end, str(USER)]
    environment = os.environ | {"GATEWAY_URL": "http://here"}
    stopped = subprocess.run([sys.executable, "-c", WATCHES, *words], env=environment, capture_output=True, check=False)
    assert stopped.returncode == status
    assert f"http://here/v1/generations/{USER}" in stopped.stderr.decode()


def test_what_is_no_text_is_said_to_be_none(tmp_path: Path) -> None:
    environment = {"GATEWAY_URL": "http://127.0.0.1:1"}
    refused = runner.invoke(app, ["generate", "\udcff", "--data", str(tmp_path), "-o", str(tmp_path)], env=environment)
    assert refused.exit_code == 1
    assert refused.output.startswith("This cannot be sent: ")


@pytest.mark.parametrize(
    "words",
    ["models off \udcff", "prices set \udcff --credits 1", "prices set dall-e-2 --credits 1 --quality \udcff",
     f"grant --user {USER} --credits 1 --reason \udcff", f"plan --user {USER} --plan \udcff"],
)  # fmt: skip
def test_what_is_no_text_is_refused_before_anybody_is_asked(words: str, tmp_path: Path) -> None:
    refused = runner.invoke(app, [*words.split(), "--data", str(tmp_path)], env={"NATS_URL": "nats://127.0.0.1:1"})
    assert (refused.exit_code, "is no text in UTF-8" in refused.output) == (2, True)


def test_nobody_knows_whether_a_grant_without_an_answer_was_given(tmp_path: Path) -> None:
    """The same grant can be asked for again: it is given once."""
    grant = str(uuid4())
    words = ["grant", "--user", str(USER), "--credits", "1", "--grant-id", grant, "--data", str(tmp_path)]
    away = runner.invoke(app, words, env={"NATS_URL": "nats://127.0.0.1:1"})
    assert away.exit_code == 1
    assert f"--grant-id {grant}" in away.output


def test_a_grant_that_was_given_otherwise_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(*_: object) -> CreditsGranted:
        return CreditsGranted(available=150_000, held=0, used=0, problem="The grant x was given otherwise.")

    monkeypatch.setattr("darkroom.commands.grant._ask", answer)
    words = ["grant", "--user", str(USER), "--credits", "6", "--data", str(tmp_path)]
    refused = runner.invoke(app, words, env={"NATS_URL": "nats://127.0.0.1:1"})
    assert refused.exit_code == 1
    assert "The grant x was given otherwise. Nothing was given now." in refused.output
    assert f"{USER} has 15 credits available" in refused.output


HEAVY = {"aiohttp", "alembic", "asyncpg", "fastapi", "faststream", "nats", "sqlalchemy"}


@pytest.mark.parametrize("arguments", [["--help"], ["token", "--user", str(USER), "--data", "/nowhere"]])
def test_a_command_loads_only_what_it_needs(arguments: list[str]) -> None:
    code = f"""
import sys
sys.argv = ["darkroom", *{arguments!r}]
from contracts.questions import CreditsGranted
from darkroom.main import app
try:
    app()
finally:
    sys.stderr.write(",".join(sorted({{name.partition(".")[0] for name in sys.modules}} & {HEAVY!r})))
"""
    environment = {**os.environ, "SUPABASE_JWT_SECRET": SECRET}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize(
    ("named", "address"),
    [
        ({"DATABASE_URL": "postgresql://ours/d"}, "postgresql://ours/d"),
        ({"DATABASE_URL": "postgresql://ours/d", "SUPABASE_DB_URL": "postgresql://theirs/d"}, "postgresql://theirs/d"),
        ({"SUPABASE_DB_URL": "postgresql://theirs/d"}, "postgresql://theirs/d"),
    ],
)
def test_supabases_name_of_the_database_comes_before_ours(
    named: dict[str, str], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "SUPABASE_DB_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    assert Stack.find(tmp_path).address("database_url") == address
