"""What a process is told by its environment: it arrives, or the process says what is missing or wrong, and ends."""

import os
import subprocess
import sys
from dataclasses import astuple
from itertools import chain
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

from darkroom.environment_example import SERVICES, Variable, sections
from runtime.settings import MISCONFIGURED, BrokerSettings, configured

SHAPED = {
    "NATS_URL": "nats://somebody:else@127.0.0.1",
    "JWT_EXPIRES_IN": "8d",
    "CLAMD_ADDRESS": "clamd:3310",
    "MAX_IMAGES_PER_GENERATION": "3",
    "OPENAI_COMPATIBLE_SERVERS": "ours=http://10.0.0.5:8000/v1",
    "OPENAI_COMPATIBLE_KEYS": "ours=a-key",
    "OUTBOUND_ALLOW": "10.0.0.5:8000",
    "GATEWAY_PROXY_NETWORKS": "10.0.0.0/8",
    "GATEWAY_FRONTENDS": "jaaz=57988",
    "VERIFY_ABOVE_CREDITS": "1",
    "GATEWAY_FUNDED_DIALECTS": "modelark",
    "GATEWAY_FUNDING_ACCOUNT": "00000000-0000-4000-8000-00000000000b",
}
"""What is no text of any kind."""
BASELINE = {
    **{f"{service.upper()}_DATABASE_URL": "postgresql://a:b@127.0.0.1/c" for service in SERVICES},
    "GATEWAY_PROXY_NETWORKS": "127.0.0.1/32",
    "SUPABASE_JWT_SECRET": "the key of the tokens",
    "MEDIA_SIGNING_KEY": "the key of the addresses",
    "GATEWAY_FUNDING_ACCOUNT": "00000000-0000-4000-8000-00000000000a",
    **dict.fromkeys(("AWS_S3_BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "given"),
}


def read_by(service: str) -> list[Variable]:
    return [variable for section in sections() if service in section.services for variable in section.variables]


@pytest.mark.parametrize(
    ("service", "variable"),
    [(service, variable) for service in SERVICES for variable in read_by(service)],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_variable_reaches_the_setting_that_it_is_named_after(
    service: str, variable: Variable, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in chain.from_iterable(read_by(each) for each in SERVICES):
        monkeypatch.delenv(other.name, raising=False)
    for name, value in BASELINE.items():
        monkeypatch.setenv(name, value)
    before = SERVICES[service].from_environment()
    monkeypatch.setenv(variable.name, another_value(variable))
    after = SERVICES[service].from_environment()
    assert astuple(before) != astuple(after)


def another_value(variable: Variable) -> str:
    if variable.default in {"true", "false"}:
        return "false" if variable.default == "true" else "true"
    if get_origin(variable.annotation) is Literal:
        return str(next(word for word in get_args(variable.annotation) if word != variable.default))
    if variable.name in {"MEDIA_STORAGE_BACKEND", "MEDIA_FORMER_BACKEND"}:
        return "local"
    if variable.name in SHAPED:
        return SHAPED[variable.name]
    try:
        return str(int(float(variable.default or "")) + 1)
    except ValueError:
        scheme = "postgresql" if variable.name.endswith("DATABASE_URL") else "https"
        return f"{scheme}://somebody:else@127.0.0.1/f"


def started(*words: str, **environment: str) -> tuple[int, str]:
    """Exit status, and what a process says on stderr that knows nothing but this environment."""
    given = {"PATH": os.environ["PATH"], **environment}
    ended = subprocess.run(
        [sys.executable, "-m", *words], env=given, capture_output=True, text=True, timeout=100, check=False
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_is_told_too_little_says_what_is_missing_and_no_secret(service: str) -> None:
    own = service.upper()
    status, said = started(service, **{f"{own}_DATABASE_POOL_SIZE": "canary"})
    assert status == MISCONFIGURED
    assert said.splitlines() == [
        f"{service} cannot start: {own}_DATABASE_URL is not set: where its role and schema in Postgres are: "
        "postgresql://role:password@host:port/database",
        f"{service} cannot start: {own}_DATABASE_POOL_SIZE: Input should be a valid integer, unable to parse string "
        "as an integer",
    ]


@pytest.mark.parametrize(
    ("service", "given", "named"),
    [
        ("ledger", {"LEDGER_DATABASE_URL": "mysql://a:canary@host/c"}, "LEDGER_DATABASE_URL: it has to be postgresql"),
        ("ledger", {"LEDGER_RECONCILE_SECONDS": "canary"}, "LEDGER_RECONCILE_SECONDS: Input should be a valid number"),
        ("gateway", {"JWT_SECRET": "canary"}, "JWT_SECRET: Value should have at least 16 items"),
        ("gateway", {}, "SUPABASE_JWT_SECRET or SUPABASE_URL has to be set: whose tokens are believed"),
        ("gateway", {"GATEWAY_LOCAL_USERS": "true"}, "GATEWAY_LOCAL_USERS needs SUPABASE_JWT_SECRET"),
        (
            # What is wrong with the store is found by looking at all of its settings, one of which is a secret.
            "storage",
            {"AWS_SECRET_ACCESS_KEY": "canary", "MEDIA_STORAGE_BACKEND": "s3"},
            "s3 needs AWS_S3_BUCKET, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
        ),
        ("generator", {"MODERATION_WHEN_SILENT": "canary"}, "MODERATION_WHEN_SILENT: Input should be 'pass' or"),
        *(
            (service, {name: value}, f"{name}: ")
            for service, name, value in (
                ("ledger", "LEDGER_DATABASE_POOL_SIZE", "2"),
                ("ledger", "LEDGER_RECONCILE_SECONDS", "inf"),
                ("ledger", "STRIPE_PULL_SECONDS", "inf"),
                ("ledger", "STRIPE_BASE_URL", "canary"),
                ("ledger", "NATS_URL", "canary"),
                ("ledger", "NATS_URL", "nats://a:canary@:4222"),
                ("ledger", "NATS_URL", "nats://canary:port"),
                ("ledger", "NATS_URL", "nats://nats:4222,canary"),
                ("ledger", "NATS_URL", "nats://nats:4222,"),
                ("generator", "GENERATOR_LEASE_SECONDS", "inf"),
                ("storage", "STORAGE_COLLECT_SECONDS", "inf"),
                ("storage", "MEDIA_TRASH_DAYS", "inf"),
                ("storage", "MEDIA_SIGNING_KEY", "canary"),
                ("gateway", "GATEWAY_SWEEP_EVERY_SECONDS", "inf"),
                ("gateway", "MEDIA_SIGNING_KEY", "canary"),
                ("gateway", "SUPABASE_JWT_SECRET", "canary"),
                ("gateway", "GATEWAY_LOG_LEVEL", "canary"),
                ("gateway", "GATEWAY_LOG_LEVEL", "debug"),
                ("gateway", "GATEWAY_PORT", "99999"),
                ("gateway", "GATEWAY_FRONTENDS", "modelark=99999"),
                ("gateway", "OUTBOUND_ALLOW", "what is a canary"),
                ("gateway", "OUTBOUND_ALLOW", "canary:99999"),
                ("gateway", "GATEWAY_MAX_BODY_BYTES", "-1"),
                ("gateway", "GATEWAY_SYNC_WAIT_SECONDS", "nan"),
                ("gateway", "GATEWAY_SYNC_WAIT_SECONDS", "-1"),
                ("gateway", "DEFAULT_DIALECT", "canary"),
                ("gateway", "MEDIA_LIFETIME_SECONDS", "-5"),
                ("gateway", "PUBLIC_URL", "canary.example"),
                ("gateway", "PUBLIC_MEDIA_URL", "http://canary.example/ "),
                ("gateway", "SUPABASE_URL", "canary"),
                ("gateway", "MAX_IMAGES_PER_GENERATION", "9"),
                ("storage", "S3_ENDPOINT", "canary"),
                ("storage", "CLAMD_ADDRESS", "canary"),
                ("storage", "CLAMD_ADDRESS", "canary:port"),
                ("generator", "OPENAI_COMPATIBLE_KEYS", "canary"),
                ("generator", "OPENAI_COMPATIBLE_SERVERS", "ours=canary"),
                ("generator", "ARK_API_KEY", "canary\nof two lines"),
                ("generator", "ARK_BASE_URL", "canary"),
                ("generator", "PUBLIC_CALLBACK_URL", "canary"),
            )
        ),
    ],
)
def test_a_service_that_is_told_something_wrong_names_it_and_not_its_value(
    service: str,
    given: dict[str, str],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for variable in read_by(service):
        monkeypatch.delenv(variable.name, raising=False)
    for name, value in {f"{service.upper()}_DATABASE_URL": "postgresql://a:canary@127.0.0.1/c", **given}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        configured(service, SERVICES[service].from_environment)
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (MISCONFIGURED, 1)
    assert said.startswith(f"{service} cannot start: {named}")
    assert "canary" not in said


@pytest.mark.parametrize(
    "servers",
    [
        "nats://nats",
        "tls://a:b%40c@nats.example:4222/",
        "nats://a:b@c@nats-1:4222,nats://nats-2:4222,nats://nats-3:4222",
        "nats://token@[2001:db8::1]:4222,nats://[::1]:4223",
        "wss://nats.example:443",
        "nats:4222",
        "nats-1:4222, nats-2:4222,nats://nats-3",
    ],
)
def test_every_address_that_nats_may_have_is_taken(servers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", servers)
    assert BrokerSettings().nats_url == servers


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("migrate", "DATABASE_URL"),
        ("migrate --wait-for storage", "STORAGE_DATABASE_URL"),
        ("topology", "NATS_URL"),
        ("topology --watch", "NATS_URL"),
        ("audit", "DATABASE_URL"),
    ],
)
def test_a_job_that_is_told_too_little_says_what_is_missing(words: str, missing: str, tmp_path: Path) -> None:
    status, said = started("darkroom", *words.split(), "--data", str(tmp_path))
    assert (status, said.count("\n")) == (MISCONFIGURED, 1)
    assert f"{missing} is not set" in said
    assert f"or set {missing}: " in said, "and what it is for"
    for nonsense in "nats://canary:port", "postgresql://a:canary#b@127.0.0.1/c":
        wrong, told = started("darkroom", *words.split(), "--data", str(tmp_path), **{missing: nonsense})
        assert (wrong, told.count("\n")) == (MISCONFIGURED, 1)
        assert f"{missing} has to be " in told
        assert "canary" not in told
