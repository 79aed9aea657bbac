"""What runs in containers is what the repository says: images, compose file, settings and secrets agree."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import astuple
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from pydantic import SecretStr

from darkroom.environment_example import SERVICES, Variable, environment_example, sections
from darkroom.stack import NATS_USERS
from darkroom.topology.authorization import CLUSTER_FILE, nats_documents
from runtime.settings import MISCONFIGURED, configured
from storage.settings import StoreSettings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: container for name, container in CONTAINERS.items() if "build" in container}
JOBS = {"migrate", "operator"}
"""They end; whether they did well is their exit status."""
PUBLISHED = {"gateway", "storage"}
SECRET = re.compile(r"PASSWORD|SECRET|_KEYS?\b|_KEYS?$|TOKEN|DATABASE_URL")
REFERENCE = re.compile(r"\$\{(\w+)(?::?([-?+])([^${}]*))?\}")
SHAPED = {
    "JWT_EXPIRES_IN": "8d",
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


def keys(node: yaml.Node) -> Iterator[tuple[str, ...]]:
    """The keys of each mapping in a document."""
    if isinstance(node, yaml.MappingNode):
        yield tuple(key.value for key, _ in node.value)
    for part in node.value if isinstance(node, yaml.CollectionNode) else ():
        for child in part if isinstance(part, tuple) else (part,):
            yield from keys(child)


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.cluster.yml"])
def test_a_compose_file_says_nothing_twice(name: str) -> None:
    """Compose refuses a file with a key that stands there twice; what reads it here would take the last."""
    document = yaml.compose((ROOT / name).read_text())
    assert [said for said in keys(document) if len(set(said)) < len(said)] == []


def targets() -> dict[str, str]:
    """Stage → its instructions."""
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    return {stage.split("\n", 1)[0].split(" AS ")[1]: stage for stage in stages}


def lineage(target: str) -> list[str]:
    """The instructions of a stage and of those that it is made from."""
    stage = targets()[target]
    parent = stage.split(" ", 1)[0]
    return [*(lineage(parent) if parent in targets() else []), stage]


def read_by(service: str) -> list[Variable]:
    return [variable for section in sections() if service in section.services for variable in section.variables]


def test_the_example_of_an_environment_is_true() -> None:
    assert (ROOT / ".env.example").read_text() == environment_example(), (
        "write it anew: python -m darkroom.environment_example > .env.example"
    )


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
        return "postgresql://somebody:else@127.0.0.1/f"


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
    if missing != "NATS_URL":  # which is waited for
        nonsense = {missing: "nonsense of a canary"}
        wrong, told = started("darkroom", *words.split(), "--data", str(tmp_path), **nonsense)
        assert (wrong, told.count("\n")) == (MISCONFIGURED, 1)
        assert f"{missing} has to be " in told
        assert "canary" not in told


def test_every_image_that_is_run_can_be_built() -> None:
    assert {container["build"]["target"] for container in OURS.values()} <= set(targets())
    assert set(SERVICES) <= set(OURS)
    for name, container in OURS.items():
        assert (ROOT / container["build"]["dockerfile"]).is_file()
        assert container["image"] == f"darkroom/{container['build']['target']}", name


@pytest.mark.parametrize("target", sorted({container["build"]["target"] for container in OURS.values()}))
def test_an_image_runs_as_nobody_and_holds_no_tools(target: str) -> None:
    instructions = "\n".join(lineage(target))
    users = re.findall(r"^USER (\d+)", instructions, re.MULTILINE)
    assert users, "no numeric user: Kubernetes cannot see that it is not root"
    assert int(users[-1]) > 10000
    assert not re.search(r"apt-get|\bgcc\b|build-essential|pip install|ADD |HEALTHCHECK", instructions)
    assert re.search(r'^ENTRYPOINT \["', instructions, re.MULTILINE)


def test_base_images_are_pinned_by_a_tag() -> None:
    outside = {stage.split(" ", 1)[0] for stage in targets().values()} - set(targets())
    images = outside | {container["image"] for container in CONTAINERS.values() if "build" not in container}
    assert all(re.search(r":[\w.-]*\d", image) for image in images), images


def test_a_build_installs_only_what_the_lock_has_hashes_for() -> None:
    assert "--require-hashes" in DOCKERFILE
    assert len(re.findall(r"pip (?:download|wheel|install|--python)", DOCKERFILE)) == 3
    for command in re.findall(r"pip (?:wheel|--python)[^\n]*", DOCKERFILE):
        assert "--no-index" in command


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_has_what_it_needs_and_nothing_else(name: str) -> None:
    container = CONTAINERS[name]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in container["security_opt"]
    assert re.fullmatch(r"\d+m", container["mem_limit"])
    assert container["pids_limit"] > 0
    assert "restart" in container
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc"} & set(container)
    assert container["networks"]
    if name not in JOBS:
        assert container["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


def test_a_cluster_has_three_nodes_that_differ_in_their_name_alone() -> None:
    # Compose's tag says how the files are put together, not what they say.
    overlay = yaml.safe_load((ROOT / "docker-compose.cluster.yml").read_text().replace("!override", ""))
    nodes = [f"nats-{number}" for number in (1, 2, 3)]
    for node in nodes:
        assert overlay["services"][node]["hostname"] == node
        assert overlay["services"][node]["volumes"][1] == f"{node}:/var/lib/nats"
        assert node in overlay["volumes"]
        assert f"nats://{node}:6222" in (ROOT / CLUSTER_FILE).read_text()
    everybody = ",".join(f"nats://{node}:4222" for node in nodes)
    clients = {name for name, each in overlay["services"].items() if "NATS_URL" in each.get("environment", {})}
    assert clients == set(NATS_USERS)
    assert {overlay["services"][name]["environment"]["NATS_URL"] for name in clients} == {everybody}
    assert overlay["services"]["topology"]["command"] == ["topology", "--watch", "--replicas", "3"]
    assert overlay["services"]["nats"]["profiles"], "the single node takes no part"


def test_nothing_but_the_two_front_doors_is_published_and_that_on_loopback() -> None:
    assert {name for name, container in CONTAINERS.items() if "ports" in container} == PUBLISHED
    for name in PUBLISHED:
        assert all(port.startswith("${PUBLISH_ADDRESS:-127.0.0.1}:") for port in CONTAINERS[name]["ports"])
    assert {name for name, network in COMPOSE["networks"].items() if not network.get("internal")} == {"outside"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_page_says_who_reaches_the_internet(name: str) -> None:
    [reaches] = re.findall(rf"^\| `{name}` \| [^|]+\|([^|]*)\|", (ROOT / "docs/operating.md").read_text(), re.MULTILINE)
    assert ("the internet" in reaches) == ("outside" in CONTAINERS[name]["networks"])
    assert ("`s3`" in reaches) == ("objects" in CONTAINERS[name]["networks"])


def test_what_keeps_data_keeps_it_in_a_named_volume() -> None:
    for name in ("nats", "postgres", "s3"):
        mounts = {mount.split(":")[0] for mount in CONTAINERS[name]["volumes"]}
        assert mounts & set(COMPOSE["volumes"]), name


def test_services_start_when_what_they_need_is_there() -> None:
    for service in SERVICES:
        needs = CONTAINERS[service]["depends_on"]
        assert needs["migrate"] == {"condition": "service_completed_successfully"}
    assert CONTAINERS["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    for container in CONTAINERS.values():
        assert set(container.get("depends_on", {})) <= set(CONTAINERS)


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_can_be_told_all_that_its_service_reads(service: str) -> None:
    """What .env.example names has to arrive, or an operator sets it in vain."""
    image = "\n".join(lineage(service))
    told = set(CONTAINERS[service]["environment"]) | set(re.findall(r"(\w+)=", image))
    # Files on a read-only root, and what is for loopback alone, are not for containers.
    missing = (
        {variable.name for variable in read_by(service)}
        - told
        - {"MEDIA_ROOT", "GATEWAY_LOCAL_MODE", "GATEWAY_FRONTENDS"}
    )
    assert missing == set()


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_is_told_nothing_that_its_service_does_not_read(service: str) -> None:
    """No key of a provider enters the gateway, and no service another one's password."""
    assert set(CONTAINERS[service]["environment"]) <= {variable.name for variable in read_by(service)}


def test_media_can_be_moved_to_each_backend_as_the_page_says() -> None:
    """Storage and the command have to be told the same of both, and by `.env`."""
    store = {name.upper() for name in StoreSettings.model_fields} - {"MEDIA_ROOT"}
    storage, operator = (CONTAINERS[name]["environment"] for name in ("storage", "operator"))
    assert store <= set(storage)
    assert {name: operator.get(name, "not handed on") for name in store} == {name: storage[name] for name in store}
    assert storage["MEDIA_STORAGE_BACKEND"] == CONTAINERS["gateway"]["environment"]["MEDIA_STORAGE_BACKEND"]
    assert storage["MEDIA_STORAGE_BACKEND"] == "${MEDIA_STORAGE_BACKEND:-s3}"
    assert set(CONTAINERS["storage"]["networks"]) == set(CONTAINERS["operator"]["networks"])


@pytest.mark.parametrize("path", nats_documents())
def test_the_users_of_nats_are_what_the_permissions_say(path: str) -> None:
    assert (ROOT / path).read_text() == nats_documents()[path], "run `make schemas`"


def test_everybody_logs_in_to_nats_as_themselves() -> None:
    given = {name: container.get("environment", {}) for name, container in CONTAINERS.items()}
    assert {name for name in given if "NATS_URL" in given[name]} == set(NATS_USERS)
    for user in NATS_USERS:
        variable = f"{user.upper()}_NATS_PASSWORD"
        assert given[user]["NATS_USER"] == user
        assert given[user]["NATS_PASSWORD"].startswith(f"${{{variable}:?")
        told = {name for name in given if variable in str(given[name])}
        assert told == {user, "nats"}, "nobody knows another one's password"


def test_no_secret_stands_in_the_compose_file() -> None:
    for name, container in CONTAINERS.items():
        for variable, value in container.get("environment", {}).items():
            if SECRET.search(variable) and value is not None:
                assert REFERENCE.search(value), f"{name}: {variable}"
                assert not re.search(r"://\w+:[^$@]", value), f"{name}: {variable}"
                assert all(mark == "?" for _, mark, _ in REFERENCE.findall(value)), f"{name}: {variable}"
    secrets = {v.name for service in SERVICES for v in read_by(service) if SecretStr in (v.annotation, *args(v))}
    assert all(SECRET.search(secret) for secret in secrets)


def args(variable: Variable) -> tuple[Any, ...]:
    return tuple(getattr(variable.annotation, "__args__", ()))


def test_the_generated_environment_has_all_that_compose_asks_for() -> None:
    script = ROOT / "deploy" / "environment.sh"
    first, second = (subprocess.run(["sh", script], capture_output=True, check=True, text=True) for _ in range(2))
    assert first.stdout != second.stdout
    given = dict(re.findall(r"^(\w+)=(.*)$", first.stdout, re.MULTILINE))
    asked = {name for name, mark, _ in REFERENCE.findall((ROOT / "docker-compose.yml").read_text()) if mark == "?"}
    assert asked <= set(given)
    for name in asked - {"AWS_ACCESS_KEY_ID"}:
        assert len(given[name]) >= 48, name
    assert len({given[name] for name in asked}) == len(asked)


def test_what_enters_a_build_is_named() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "**" in ignored
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert allowed == {"requirements.lock"} | {
        f"{package}/{part}"
        for package in ("contracts", "runtime", "simulator", "darkroom", *(f"services/{name}" for name in SERVICES))
        for part in ("pyproject.toml", "src")
    }
