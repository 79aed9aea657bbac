"""What runs in containers is what the repository says: images, compose file, settings and secrets agree."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from darkroom.environment_example import SERVICES, Variable, environment_example
from darkroom.stack import NATS_USERS
from darkroom.topology.authorization import CLUSTER_FILE, nats_documents
from storage.settings import StoreSettings
from tests.architecture.test_settings import read_by

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


def test_the_example_of_an_environment_is_true() -> None:
    assert (ROOT / ".env.example").read_text() == environment_example(), (
        "write it anew: python -m darkroom.environment_example > .env.example"
    )


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


@pytest.mark.parametrize(
    "name",
    ["docs/operating.md", "docs/kubernetes.md", "docker-compose.yml", "deploy/environment.sh", "deploy/k8s/secrets.sh"],
)
def test_the_command_that_makes_the_secrets_makes_them_once(name: str, tmp_path: Path) -> None:
    """Repeated, by whoever follows this page again or the next one, it leaves those that the volumes know."""
    [command] = re.findall(r"^(?:\$|#) +(\(.*environment\.sh > .env\))$", (ROOT / name).read_text(), re.MULTILINE)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    made = (tmp_path / ".env").read_text()
    again = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert again.returncode != 0
    assert (tmp_path / ".env").read_text() == made
