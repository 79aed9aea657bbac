"""What the doctor says of secrets, and that it never says one."""

from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from darkroom.doctor import Deployment, keeping
from darkroom.doctor.examination import deployment_of
from darkroom.main import app
from darkroom.stack import Stack


def test_secrets_that_can_be_guessed_or_are_shared_are_said_and_not_shown() -> None:
    good = f"n{uuid4().hex}"
    secrets = {"A": "hunter2", "B": "a" * 40, "C": good, "D": good, "E": f"n{uuid4().hex}", "F": ""}
    findings = keeping.look_at_secrets(Deployment(secrets=secrets)).findings
    assert {finding.about for finding in findings} == {"A", "B", "C and D"}
    assert not any(value in str(findings) for value in secrets.values() if value)


def test_every_secret_of_ours_is_known_and_one_that_has_two_names_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password, administrators = (f"n{uuid4().hex}" for _ in range(2))
    for name, value in {
        "NATS_USER": "operator",
        "NATS_PASSWORD": password,
        "OPERATOR_NATS_PASSWORD": password,
        "DATABASE_URL": f"postgresql://postgres:{administrators}@127.0.0.1/darkroom",
        "POSTGRES_PASSWORD": administrators,
        "GEMINI_API_KEY": "theirs",
        **dict.fromkeys(("WEBHOOK_SIGNING_KEY", "SESSION_SECRET", "GENERATOR_KEY_SECRETS", "JWT_SECRET"), "hunter2"),
        "LEDGER_NATS_PASSWORD": password,
    }.items():
        monkeypatch.setenv(name, value)
    found = keeping.look_at_secrets(deployment_of(Stack.find(tmp_path))).findings
    guessed = {finding.about for finding in found if "can be guessed" in finding.found}
    assert guessed == {"WEBHOOK_SIGNING_KEY", "SESSION_SECRET", "GENERATOR_KEY_SECRETS", "JWT_SECRET"}
    shared = {finding.about for finding in found if "NATS" in finding.about or "POSTGRES" in finding.about}
    assert shared == {"NATS_PASSWORD and LEDGER_NATS_PASSWORD"}


@pytest.mark.parametrize("command", ["doctor", "audit", "migrate"])
@pytest.mark.parametrize("password", ["hunter#2", "hunter/2", "2?hunter"])
def test_an_address_that_is_none_is_named_and_nothing_of_its_password_is_said(command: str, password: str) -> None:
    """`#`, `/` and `?` in it have to be encoded, or the address ends there, and what is before is taken for a port."""
    told = CliRunner(env={"DATABASE_URL": f"postgresql://postgres:{password}@127.0.0.1/darkroom"}).invoke(
        app, [command, "--data", "/nowhere"]
    )
    assert (told.exit_code, told.stderr.count("\n")) == (78, 1)
    assert "DATABASE_URL has to be postgresql://administrator:password@host:port/database" in told.stderr
    assert "hunter" not in told.output


@pytest.mark.parametrize(
    "address",
    [
        "postgres://postgres:a%23b c@db.example/darkroom",
        "postgresql://postgres:a:b@c@[2001:db8::1]:5432/darkroom?sslmode=require",
        "postgresql://postgres@db-1.example:5432,db-2.example:5432/darkroom",
        "postgresql:///darkroom?host=/var/run/postgresql",
    ],
)
def test_every_address_that_postgres_may_have_is_taken(address: str, tmp_path: Path) -> None:
    assert Stack(tmp_path, running=False, known={"database_url": address}).optional("database_url") == address
