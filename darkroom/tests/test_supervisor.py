"""What `darkroom up` decides, keeps alive and leaves behind. That it runs the whole stack is shown in tests/whole."""

import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from darkroom.embedded import Process, free_port
from darkroom.embedded.process import minimal_environment
from darkroom.stack import LOCK_FILE, NATS_USERS, SERVICES, STACK_FILE, NoStackError, Stack, write_private
from darkroom.supervisor.children import Child, Program
from darkroom.supervisor.environments import (
    Plan,
    S3Access,
    helper_environment,
    needs_simulator,
    service_environment,
)
from darkroom.supervisor.frontends import asked_ports, blocks
from darkroom.supervisor.leftovers import end_leftovers
from darkroom.supervisor.ports import choose_ports
from darkroom.supervisor.scheduling import leave_cores_to_others
from darkroom.supervisor.secrets_file import keep_secrets
from darkroom.supervisor.supervisor import DEVELOPMENT_USER, Supervisor, Wishes

SECRETS = {
    "ARK_API_KEY": "ark-secret",
    "OPENAI_API_KEY": "openai-secret",
    "AWS_SECRET_ACCESS_KEY": "aws-secret",
    "MEDIA_SIGNING_KEY": "media-secret",
    "SUPABASE_JWT_SECRET": "jwt-secret",
    "STRIPE_SECRET_KEY": "stripe-secret",
    "GENERATOR_KEY": "generator-secret",
    "DATABASE_URL": "admin-secret",
}
MAY_KNOW = {
    "gateway": {"MEDIA_SIGNING_KEY", "SUPABASE_JWT_SECRET"},
    "generator": {"ARK_API_KEY", "OPENAI_API_KEY", "GENERATOR_KEY"},
    "storage": {"AWS_SECRET_ACCESS_KEY", "MEDIA_SIGNING_KEY"},
    "ledger": {"STRIPE_SECRET_KEY"},
}
PLAN = Plan(
    data=Path("/data"),
    ports={"gateway": 1, "generator": 2, "storage": 3, "ledger": 4, "simulator": 5, "nats": 6},
    nats_passwords={user: f"password of {user}" for user in NATS_USERS},
    database_urls={service: f"postgresql://{service}@127.0.0.1:7/darkroom" for service in SERVICES},
    jwt_secret="made",
    webhook_signing_key="made too",
    media_signing_key="made as well",
    simulator=True,
)


# -- environments -------------------------------------------------------------------------------------------------


def test_payments_are_simulated_only_without_a_key_of_stripes() -> None:
    """A real key never goes to the simulator, and where there is none the simulator's is for the ledger alone."""
    simulated = service_environment("ledger", PLAN, {})
    assert simulated["STRIPE_BASE_URL"] == "http://127.0.0.1:5/stripe"
    assert simulated["STRIPE_SECRET_KEY"].startswith("sk_test_")
    real = service_environment("ledger", PLAN, {"STRIPE_SECRET_KEY": "sk_live_real"})
    assert (real["STRIPE_SECRET_KEY"], "STRIPE_BASE_URL" in real) == ("sk_live_real", False)
    none = service_environment("ledger", replace(PLAN, simulator=False), {})
    assert not [name for name in none if name.startswith("STRIPE_")]
    others = [service_environment(service, PLAN, {}) for service in SERVICES if service != "ledger"]
    assert not [name for environment in others for name in environment if name.startswith("STRIPE_")]


@pytest.mark.parametrize("service", SERVICES)
def test_a_secret_reaches_only_the_service_that_uses_it(service: str) -> None:
    """design.md §3.11; the administrator's database is nobody's."""
    environment = service_environment(service, replace(PLAN, simulator=False), SECRETS)
    assert {name for name in SECRETS if environment.get(name) == SECRETS[name]} == MAY_KNOW[service]
    others = [url for other, url in PLAN.database_urls.items() if other != service]
    others += [password for user, password in PLAN.nats_passwords.items() if user != service]
    assert not set(others) & set(environment.values())
    helper = helper_environment({"NATS_USER": "them", "NATS_PASSWORD": "theirs", **SECRETS})
    assert not helper, "the simulator and the migration need none of them"


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_told_where_things_are(service: str) -> None:
    environment = service_environment(service, PLAN, {"PATH": "/bin", "PYTHONDONTWRITEBYTECODE": "1"})
    assert environment["NATS_URL"] == "nats://127.0.0.1:6"
    assert (environment["NATS_USER"], environment["NATS_PASSWORD"]) == (service, f"password of {service}")
    assert environment[f"{service.upper()}_DATABASE_URL"] == PLAN.database_urls[service]
    assert environment[f"{service.upper()}_PORT"] == str(PLAN.ports[service])
    assert environment[f"{service.upper()}_HOST"] == "127.0.0.1"
    assert environment["PATH"] == "/bin"
    assert "PYTHONDONTWRITEBYTECODE" not in environment, "the second start would compile everything again"


def test_the_operator_decides_except_where_the_supervisors_own_servers_are() -> None:
    operator = {
        "SUPABASE_JWT_SECRET": "theirs",
        "PUBLIC_URL": "https://darkroom.example",
        "GATEWAY_SWEEP_EVERY_SECONDS": "1",
        "NATS_URL": "nats://elsewhere",
        "NATS_USER": "them",
        "NATS_PASSWORD": "theirs",
        "GATEWAY_DATABASE_URL": "postgresql://elsewhere",
        "AWS_ACCESS_KEY_ID": "of another project",
    }
    gateway = service_environment("gateway", PLAN, operator)
    assert gateway["SUPABASE_JWT_SECRET"] == "theirs"
    assert gateway["PUBLIC_URL"] == "https://darkroom.example"
    assert gateway["GATEWAY_SWEEP_EVERY_SECONDS"] == "1"
    assert gateway["NATS_URL"] == "nats://127.0.0.1:6"
    assert (gateway["NATS_USER"], gateway["NATS_PASSWORD"]) == ("gateway", "password of gateway")
    assert gateway["GATEWAY_DATABASE_URL"] == PLAN.database_urls["gateway"]
    assert "GATEWAY_SWEEP_EVERY_SECONDS" not in service_environment("ledger", PLAN, operator)
    s3 = replace(PLAN, s3=S3Access("http://127.0.0.1:8", "media", "ours", "secret"))
    assert service_environment("storage", s3, operator)["AWS_ACCESS_KEY_ID"] == "ours"
    assert service_environment("storage", s3, operator)["MEDIA_STORAGE_BACKEND"] == "s3"
    assert service_environment("storage", PLAN, operator)["MEDIA_STORAGE_BACKEND"] == "local"


def test_the_simulator_plays_the_providers_only_where_there_is_no_key() -> None:
    assert needs_simulator({})
    assert needs_simulator({"ARK_API_KEY": ""})
    assert not needs_simulator({"OPENAI_API_KEY": "sk-real"})
    told = service_environment("generator", PLAN, {"ARK_API_KEY": "", "OUTBOUND_ALLOW": "10.0.0.1:80"})
    assert told["ARK_API_KEY"] == told["OPENAI_API_KEY"] == "sk-sim"
    assert told["ARK_BASE_URL"] == "http://127.0.0.1:5/ark/api/v3"
    assert told["OPENAI_BASE_URL"] == "http://127.0.0.1:5/openai/v1"
    assert told["OUTBOUND_ALLOW"] == "10.0.0.1:80,127.0.0.1:5"
    assert "OUTBOUND_ALLOW" not in service_environment("gateway", PLAN, {})
    real = service_environment("generator", replace(PLAN, simulator=False), {"ARK_API_KEY": "real"})
    assert real["ARK_API_KEY"] == "real"
    assert "OPENAI_API_KEY" not in real
    assert (told["MODERATION_BY_PROVIDER"], real.get("MODERATION_BY_PROVIDER")) == ("off", None)
    wished = service_environment("generator", PLAN, {"MODERATION_BY_PROVIDER": "all"})
    assert wished["MODERATION_BY_PROVIDER"] == "all"
    assert "OUTBOUND_ALLOW" not in real


def test_frontends_find_the_gateway_where_they_look_for_it() -> None:
    """dialects' ruling of fixed addresses: 3001, 5001 or PORT, 8000, 57988; every one can be another."""
    assert asked_ports({}) == {"modelark": 3001, "reelmate": 5001, "instaveo": 8000, "jaaz": 57988}
    said = {"PORT": "5002", "MODELARK_PORT": "3101", "INSTAVEO_PORT": "", "JAAZ_PORT": "57989"}
    assert asked_ports(said) == {"modelark": 3101, "reelmate": 5002, "instaveo": 8000, "jaaz": 57989}
    assert asked_ports(said | {"REELMATE_PORT": "5003"})["reelmate"] == 5003
    plan = replace(PLAN, ports=PLAN.ports | asked_ports({}), frontends=("modelark", "jaaz"))
    assert service_environment("gateway", plan, {})["GATEWAY_FRONTENDS"] == "modelark=3001,jaaz=57988"
    assert "GATEWAY_FRONTENDS" not in service_environment("storage", plan, {})
    assert "GATEWAY_FRONTENDS" not in service_environment("gateway", PLAN, {})


def test_a_frontends_block_is_what_it_has_to_be_told() -> None:
    told = blocks({"modelark": 3101, "instaveo": 8000}, "the-key")
    assert told["modelark"]["REACT_APP_API_BASE_URL"] == "http://127.0.0.1:3101"
    assert told["instaveo"] == {
        "NEXT_PUBLIC_API_URL": "http://127.0.0.1:8000",
        "NEXT_PUBLIC_SUPABASE_URL": "http://127.0.0.1:8000",
        "NEXT_PUBLIC_SUPABASE_ANON_KEY": "the-key",
    }


def test_fals_clients_have_a_port_of_their_own(tmp_path: Path) -> None:
    port = free_port()
    wishes = Wishes(tmp_path, fal_port=port)
    plan = Supervisor(wishes, say=print)._plan({})
    assert service_environment("gateway", plan, {})["GATEWAY_FRONTENDS"] == f"fal={port}"
    assert blocks({"fal": port}, "the-key") == {}


def test_a_port_of_two_is_refused() -> None:
    port = free_port()
    with pytest.raises(OSError, match=f"port {port} is asked for as the port of gateway and of modelark"):
        choose_ports(["gateway", "modelark"], {"gateway": port, "modelark": port}, {})


def test_people_sign_up_on_this_machine_alone_and_each_issuer_has_its_own_key(tmp_path: Path) -> None:
    plan = replace(PLAN, own_jwt_secret="another")
    local = service_environment("gateway", plan, {})
    assert (local["GATEWAY_LOCAL_USERS"], local["JWT_SECRET"]) == ("true", "another")
    assert service_environment("gateway", plan, {"GATEWAY_HOST": "0.0.0.0"})["GATEWAY_LOCAL_USERS"] == "false"
    assert service_environment("gateway", plan, {"JWT_SECRET": "theirs"})["JWT_SECRET"] == "theirs"
    assert "JWT_SECRET" not in service_environment("ledger", plan, {"JWT_SECRET": "theirs"})
    secrets = keep_secrets(tmp_path)
    assert secrets["own_jwt_secret"] != secrets["jwt_secret"]


def test_nobody_but_this_machine_acts_without_a_token() -> None:
    assert service_environment("gateway", PLAN, {})["GATEWAY_LOCAL_MODE"] == "true"
    assert service_environment("gateway", PLAN, {"GATEWAY_HOST": "0.0.0.0"})["GATEWAY_LOCAL_MODE"] == "false"


def test_the_development_user_is_the_gateways() -> None:
    from gateway.identity import DEVELOPMENT_USER as THEIRS

    assert DEVELOPMENT_USER == THEIRS


# -- ports, secrets, files ----------------------------------------------------------------------------------------


def test_ports_survive_a_restart_where_they_are_free() -> None:
    former = {"gateway": free_port(), "ledger": free_port()}
    with socket.create_server(("127.0.0.1", former["ledger"])):
        chosen = choose_ports(["gateway", "ledger", "s3"], {}, former)
        assert chosen["gateway"] == former["gateway"]
        assert chosen["ledger"] != former["ledger"]
        assert len(set(chosen.values())) == 3
        asked = choose_ports(["gateway"], {"gateway": chosen["s3"]}, former)
        assert asked == {"gateway": chosen["s3"]}
        with pytest.raises(OSError, match=f"port {former['ledger']}.*ledger"):
            choose_ports(["ledger"], {"ledger": former["ledger"]}, {})


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    secrets = keep_secrets(tmp_path)
    assert keep_secrets(tmp_path) == secrets
    assert len(set(secrets.values())) == len(secrets)
    assert min(map(len, secrets.values())) >= 40
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_a_folder_of_an_older_version_keeps_its_secrets_and_gets_the_new_ones(tmp_path: Path) -> None:
    older = {"jwt_secret": "7", **{f"{service}_password": f"{service}'s" for service in SERVICES}}
    write_private(tmp_path / "secrets.json", older)
    secrets = keep_secrets(tmp_path)
    assert older.items() <= secrets.items()
    made = {user: secrets[f"{user}_nats_password"] for user in NATS_USERS}
    assert all(password[0].isalpha() for password in made.values()), "NATS would take some digits for a number"
    assert keep_secrets(tmp_path) == secrets


def test_a_running_stack_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else `darkroom migrate` could reach whatever database the shell happens to name."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody-elses")
    monkeypatch.delenv("NATS_URL", raising=False)
    write_private(tmp_path / STACK_FILE, {"database_url": "postgresql://ours", "nats_url": "nats://ours"})
    assert stat.S_IMODE((tmp_path / STACK_FILE).stat().st_mode) == 0o600
    with (tmp_path / LOCK_FILE).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stack = Stack.find(tmp_path)
        assert stack.running
        assert stack.address("database_url") == "postgresql://ours"
    stopped = Stack.find(tmp_path)
    assert not stopped.running
    assert stopped.address("database_url") == "postgresql://somebody-elses"
    assert "ours" not in repr(stopped)
    assert stopped.optional("nats_url") is None, "of two stacks none is made: what the shell names is looked at whole"
    monkeypatch.delenv("DATABASE_URL")
    assert Stack.find(tmp_path).address("nats_url") == "nats://ours", "the last one, where nothing is named"
    with pytest.raises(NoStackError, match="GATEWAY_URL is not set"):
        Stack.find(tmp_path / "nothing").address("url")


# -- processes ----------------------------------------------------------------------------------------------------


def python(data: Path, code: str, name: str = "child") -> Program:
    return Program(name, [sys.executable, "-c", code], data=data, environment=minimal_environment())


@pytest.fixture
def stopping() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def test_a_child_that_dies_is_started_again_until_the_stack_stops(tmp_path: Path, stopping: threading.Event) -> None:
    said: list[str] = []
    restarted: list[float] = []
    child = Child(
        "child",
        python(tmp_path, "import time; time.sleep(60)"),
        stopping=stopping,
        say=said.append,
        restarted=lambda: restarted.append(time.monotonic()),
    )
    child.start()
    first = child.pid
    killed_at = time.monotonic()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(restarted) == 1)
    assert 0.5 <= restarted[0] - killed_at < 2
    assert child.pid != first
    assert said == ["child ended with status -9 and is started again"]

    stopping.set()
    child.stop()
    time.sleep(1)
    child.end()
    assert not child.server.process.running
    assert len(restarted) == 1, "what is stopped stays stopped"


def test_a_child_that_keeps_dying_is_started_less_and_less_often(tmp_path: Path, stopping: threading.Event) -> None:
    restarted: list[float] = []
    child = Child(
        "child",
        python(tmp_path, "raise SystemExit(3)"),
        stopping=stopping,
        say=lambda _: None,
        restarted=lambda: restarted.append(time.monotonic()),
    )
    child.start()
    wait_until(lambda: len(restarted) == 3)
    pauses = [later - earlier for earlier, later in pairwise(restarted)]
    assert pauses[0] >= 1.0
    assert pauses[1] >= 2.0
    child.end()


def test_what_a_killed_supervisor_left_is_ended_and_strangers_are_not(tmp_path: Path) -> None:
    orphan = Process("orphan", ["sleep", "60"], log_path=tmp_path / "a.log", env=minimal_environment())
    orphan.start()
    time.sleep(0.05)
    written = tmp_path / STACK_FILE
    written.write_text(json.dumps({}))
    os.utime(written, (time.time() - 5, time.time() - 5))
    former = {"pids": {"orphan": orphan.pid, "gone": 2**22 - 1}}
    end_leftovers(former, written)
    assert psutil.pid_exists(orphan.pid), "younger than the file: it only has the same number"

    os.utime(written)
    reaper = threading.Thread(target=lambda: wait_until(lambda: not orphan.running, 20))
    reaper.start()
    began = time.monotonic()
    end_leftovers(former, written, end_seconds=1)
    reaper.join()
    assert not orphan.running
    assert 1 <= time.monotonic() - began < 5, "given time to end by itself, then ended"


@pytest.mark.skipif(sys.platform != "linux", reason="the policy is Linux's")
@pytest.mark.parametrize("chosen", ["SCHED_OTHER", "SCHED_IDLE"])
def test_whom_a_message_wakes_waits_its_turn(chosen: str) -> None:
    """Unless the operator chose otherwise; and so does all that it starts."""
    child = "import os; print(os.sched_getscheduler(0), flush=True)"
    lines = [
        "import os, subprocess, sys",
        f"os.sched_setscheduler(0, os.{chosen}, os.sched_param(0))",
        "print('begun', flush=True)",
        "input()",
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True)",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        leave_cores_to_others(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        found = int(process.stdout.readline())
    assert found == (os.SCHED_BATCH if chosen == "SCHED_OTHER" else os.SCHED_IDLE)
