"""What the doctor says of secrets, and that it never says one."""

from pathlib import Path
from uuid import uuid4

import pytest

from darkroom.doctor import Deployment, keeping
from darkroom.doctor.examination import deployment_of
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
