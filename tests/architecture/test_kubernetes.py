"""What a cluster is told is valid, restricted, complete, and opens exactly the links that are used."""

import json
import re
import shutil
import subprocess
from typing import Any
from urllib.parse import unquote, urlsplit

import kubernetes_validate
import pytest
import yaml

from contracts.topology import CONSUMERS
from darkroom.environment_example import SERVICES
from darkroom.stack import NATS_USERS
from darkroom.topology.cluster import cluster_documents
from runtime.health import LoopLag, routes
from tests.architecture.cluster import (
    FOLDER,
    OVERLAYS,
    ROOT,
    Pod,
    digest_of_sources,
    fresh_environment,
    image_tag,
    links,
    of_kind,
    pods,
    references,
    rendered,
    secrets,
    selects,
    told,
)
from tests.architecture.test_deployment import CONTAINERS, SECRET, lineage
from tests.architecture.test_settings import read_by

VERSIONS = ("1.32", "1.37")
"""The oldest that the manifests are for (`preStop.sleep`), and the newest that is known."""
OPERATORS = {"keda.sh/v1alpha1", "postgresql.cnpg.io/v1"}
"""Kinds that an operator brings, whose schemas are not the cluster's."""
EVERYBODY = [(overlay, pod) for overlay in OVERLAYS for pod in pods(overlay)]
OUTSIDE = "outside/postgres.yaml"
PEERS = {
    "NATS": ("nats", 4222),
    "Postgres": ("postgres", 5432),
    "S3": ("s3", 8333),
    "the internet's 443": ("internet", 443),
    "the ingress controller": ("ingress-nginx", 8080),
    "Prometheus": ("monitoring", 8080),
}
"""As docs/kubernetes.md names them."""
every_pod = pytest.mark.parametrize(("overlay", "pod"), EVERYBODY, ids=str)
every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@every_overlay
def test_what_is_rendered_is_what_the_sources_say(overlay: str) -> None:
    path = FOLDER / "rendered" / f"{overlay}.yaml"
    assert path.read_text().splitlines()[0].endswith(digest_of_sources()), "run `make manifests`"
    kubectl = shutil.which("kubectl")
    if kubectl:
        built = subprocess.run([kubectl, "kustomize", FOLDER / "overlays" / overlay], capture_output=True, check=True)
        assert list(yaml.safe_load_all(built.stdout)) == list(rendered(overlay)), "run `make manifests`"


@every_overlay
@pytest.mark.parametrize("version", VERSIONS)
def test_every_document_is_valid(overlay: str, version: str) -> None:
    documents = [document for document in rendered(overlay) if document["apiVersion"] not in OPERATORS]
    assert len(documents) > 25
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("path", ["platform/nats/network.yaml", "platform/postgres/cluster.yaml", OUTSIDE])
def test_what_the_platform_adds_is_valid(path: str) -> None:
    for document in yaml.safe_load_all((FOLDER / path).read_text()):
        if document["apiVersion"] not in OPERATORS:
            kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("path", cluster_documents())
def test_what_is_exported_is_what_the_contracts_say(path: str) -> None:
    assert (ROOT / path).read_text() == cluster_documents()[path], "run `make schemas`"


# -- restricted --------------------------------------------------------------------------------------------------


@every_pod
def test_a_pod_has_no_right_that_it_does_not_need(overlay: str, pod: Pod) -> None:
    assert pod.spec["securityContext"]["runAsNonRoot"] is True
    assert pod.spec["securityContext"]["runAsUser"] > 10000
    assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod.spec["automountServiceAccountToken"] is False
    assert pod.spec["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & set(pod.spec)
    assert all("emptyDir" in volume and volume["emptyDir"]["sizeLimit"] for volume in pod.spec.get("volumes", []))
    for container in pod.containers:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, container["name"]


@every_pod
def test_a_container_has_bounds_and_a_version(overlay: str, pod: Pod) -> None:
    for container in pod.containers:
        for bound in ("requests", "limits"):
            assert set(container["resources"][bound]) == {"cpu", "memory"}, container["name"]
        assert image_tag(container) != "latest"


@every_pod
def test_starting_being_ready_and_being_alive_are_asked_apart(overlay: str, pod: Pod) -> None:
    probes = [container.get(f"{what}Probe") for container in pod.spec["containers"] for what in PROBES]
    if not pod.stays:
        assert probes == [None] * 3
        return
    assert all(probes)
    if pod.name in SERVICES:
        known = {path for path, _ in routes(LoopLag(), [])}
        startup, ready, live = (probe["httpGet"]["path"] for probe in probes if probe)
        assert (startup, ready, live) == ("/live", "/ready", "/live")
        assert {startup, ready, live} <= known


PROBES = ("startup", "readiness", "liveness")


@every_overlay
def test_the_namespace_refuses_whatever_is_not_restricted(overlay: str) -> None:
    [namespace] = of_kind(overlay, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {document["metadata"].get("namespace", "darkroom") for document in rendered(overlay)} == {"darkroom"}


# -- told what they need -----------------------------------------------------------------------------------------


@every_overlay
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_with_what_it_is_told(overlay: str, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [pod] = [pod for pod in pods(overlay) if pod.name == service]
    environment = told(overlay, pod.spec["containers"][0])
    assert set(environment) <= {variable.name for variable in read_by(service)}, "nobody is told what is not theirs"
    for other in SERVICES:
        for variable in read_by(other):
            monkeypatch.delenv(variable.name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = SERVICES[service].from_environment()
    assert settings.broker.nats_user == service
    assert settings.broker.nats_password.get_secret_value() == secrets()["nats", "nats-passwords"][_password(service)]
    assert f"{service.upper()}_PORT=8080" in "\n".join(lineage(service)), "the probes' port"


@every_overlay
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_told_what_the_environment_says(overlay: str, service: str) -> None:
    """As in compose; of the simulator its own overlay tells."""
    [pod] = [pod for pod in pods(overlay) if pod.name == service]
    said = dict(re.findall(r"^(\w+)=(.*)$", fresh_environment(), re.MULTILINE))
    read = {variable.name for variable in read_by(service)}
    expected = {name: value for name, value in said.items() if name in read and "simulat" not in value}
    assert expected.items() <= told(overlay, pod.spec["containers"][0]).items()


@pytest.mark.parametrize("service", SERVICES)
def test_no_secret_that_a_service_reads_is_dropped(service: str) -> None:
    named = {variable.name for variable in read_by(service)}
    secret = {name for name in named if SECRET.search(name) or name.endswith("_KEY_ID")}
    made = secrets("COMPOSE_PROFILES=\n" + "".join(f"{name}=given-{name}\n" for name in sorted(secret)))
    assert set(made["darkroom", service]) == secret
    own = {name: value for name, value in made["darkroom", service].items() if value == f"given-{name}"}
    assert set(own) == secret - {"NATS_PASSWORD", f"{service.upper()}_DATABASE_URL"}


def test_a_secret_arrives_as_it_is_written() -> None:
    """Whatever characters it has: in YAML, in the identities of S3 and in the addresses of Postgres."""
    odd = 'a"b\\n:@/#?% $c'
    names = "FAL_KEY", "AWS_SECRET_ACCESS_KEY", "LEDGER_DATABASE_PASSWORD", "POSTGRES_PASSWORD"
    made = secrets("".join(f"{name}='{odd}'\n" for name in names))
    assert made["darkroom", "generator"]["FAL_KEY"] == odd
    assert made["postgres", "darkroom-superuser"]["password"] == odd
    assert made["darkroom", "storage"]["AWS_SECRET_ACCESS_KEY"] == odd
    [identity] = json.loads(made["s3", "s3-identities"]["seaweedfs_s3_config"])["identities"]
    assert identity["credentials"] == [{"accessKey": "darkroom", "secretKey": odd}]
    for name, variable in ("ledger", "LEDGER_DATABASE_URL"), ("migrate", "DATABASE_URL"):
        address = urlsplit(made["darkroom", name][variable])
        assert (unquote(address.password or ""), address.path, address.port) == (odd, "/darkroom", 5432)


def _password(user: str) -> str:
    return f"{user.upper()}_NATS_PASSWORD"


@every_pod
def test_a_secret_is_named_and_never_written(overlay: str, pod: Pod) -> None:
    for name, key in references(pod.spec):
        known = secrets()["darkroom", name]
        assert key is None or key in known, (name, key)
    for container in pod.containers:
        for variable in container.get("env", []):
            assert "value" not in variable or not SECRET.search(variable["name"]), variable["name"]
            assert not re.search(r"://[^/@]+@", variable.get("value", "")), variable["name"]


@every_overlay
def test_no_secret_stands_in_a_config_map(overlay: str) -> None:
    for name, config in of_kind(overlay, "ConfigMap").items():
        written = {key: value for key, value in config["data"].items() if SECRET.search(key)}
        assert set(written.values()) <= {"simulated"}, name
        assert not re.search(r"://\w+:[^@/]+@", str(config["data"])), name
    assert of_kind(overlay, "Secret") == {}


def test_everybody_has_a_password_of_their_own() -> None:
    values = yaml.safe_load((FOLDER / "platform/nats/values.yaml").read_text())
    users = {user["user"]: user["password"] for user in values["config"]["merge"]["authorization"]["users"]}
    assert users == {user: f"<< ${_password(user)} >>" for user in NATS_USERS}
    given = values["container"]["env"]
    for user in NATS_USERS:
        reference = given[_password(user)]["valueFrom"]["secretKeyRef"]
        assert reference["key"] in secrets()["nats", reference["name"]]
    for user in (*SERVICES, "topology", "operator"):
        assert secrets()["darkroom", user]["NATS_PASSWORD"] == secrets()["nats", "nats-passwords"][_password(user)]


# -- in order, and as many as needed -----------------------------------------------------------------------------


@every_overlay
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_waits_for_its_own_schema_first(overlay: str, service: str) -> None:
    [pod] = [pod for pod in pods(overlay) if pod.name == service]
    [first] = pod.spec["initContainers"]
    assert first["args"] == ["migrate", "--wait-for", service]
    assert set(told(overlay, first)) == {f"{service.upper()}_DATABASE_URL"}
    assert pod.spec["terminationGracePeriodSeconds"] >= 35


@every_overlay
def test_migrations_and_topology_are_jobs_that_may_be_run_again(overlay: str) -> None:
    jobs = of_kind(overlay, "Job")
    waves = {name: int(job["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) for name, job in jobs.items()}
    assert waves["migrate"] < waves["topology"] < 0
    for name, job in jobs.items():
        assert job["spec"]["ttlSecondsAfterFinished"] > 0, name
        assert job["spec"]["backoffLimit"] > 3, name
    copies = [pod.spec["containers"][0]["args"] for pod in pods(overlay) if pod.name == "topology"]
    assert all(("--replicas" in arguments) == (overlay == "production") for arguments in copies)


@every_overlay
@pytest.mark.parametrize("service", SERVICES)
def test_a_node_can_be_emptied_and_lost(overlay: str, service: str) -> None:
    budget = of_kind(overlay, "PodDisruptionBudget")[service]["spec"]
    [pod] = [pod for pod in pods(overlay) if pod.name == service]
    assert selects(budget["selector"], pod.labels)
    assert budget["maxUnavailable"] == 1
    spread = {constraint["topologyKey"]: constraint for constraint in pod.spec["topologySpreadConstraints"]}
    assert set(spread) == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert all(selects(constraint["labelSelector"], pod.labels) for constraint in spread.values())


def test_every_consumer_makes_more_processes_of_its_service() -> None:
    scalers = of_kind("production", "ScaledObject")
    deployments = of_kind("production", "Deployment")
    assert set(scalers) == {consumer.service for consumer in CONSUMERS}
    for name, scaler in scalers.items():
        spec = scaler["spec"]
        assert spec["scaleTargetRef"]["name"] in deployments
        assert "replicas" not in deployments[name]["spec"], "each apply would undo what was scaled"
        assert 2 <= spec["minReplicaCount"] < spec["maxReplicaCount"]
        followed = {
            (trigger["metadata"]["stream"], trigger["metadata"]["consumer"])
            for trigger in spec["triggers"]
            if trigger["type"] == "nats-jetstream"
        }
        assert followed == {(each.stream, each.durable) for each in CONSUMERS if each.service == name}
        for trigger in spec["triggers"]:
            assert all(isinstance(value, str) for value in trigger["metadata"].values()), "KEDA takes strings alone"
    assert of_kind("dev", "ScaledObject") == {}


# -- who talks to whom -------------------------------------------------------------------------------------------


@every_overlay
def test_whatever_is_not_allowed_is_denied(overlay: str) -> None:
    deny = of_kind(overlay, "NetworkPolicy")["default-deny"]["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@every_pod
def test_a_pod_reaches_what_it_is_told_of_and_nothing_else(overlay: str, pod: Pod) -> None:
    environment: dict[str, str] = {}
    for container in pod.containers:
        environment |= told(overlay, container)
    expected = {("kube-system", 53)}
    if "NATS_URL" in environment:
        expected.add(("nats", 4222))
    if any(name.endswith("DATABASE_URL") for name in environment):
        expected.add(("postgres", 5432))
    if "S3_ENDPOINT" in environment:
        expected.add(("s3", 8333))
    if "outside" in CONTAINERS.get(pod.name, {}).get("networks", []) or "S3_ENDPOINT" in environment:
        expected.add(("internet", 443))
    if "OUTBOUND_ALLOW" in environment and pod.stays:
        expected.add(("simulator", 8080))
    assert links(overlay, pod, "Egress") == expected


@every_pod
def test_the_page_says_who_talks_to_whom(overlay: str, pod: Pod) -> None:
    page = (ROOT / "docs/kubernetes.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+ \| .+) \|$", page.partition("## Who talks to whom")[2], re.MULTILINE))
    if pod.name == "simulator":
        assert pod.name not in rows, "it is in no overlay that others rely on"
        return
    of_the_simulator = {("simulator", 8080)}
    for direction, said in zip(("Egress", "Ingress"), rows[pod.name].split(" | "), strict=True):
        named = {PEERS[peer] for peer in re.sub(r" \([^)]*\)", "", said).split(", ") if peer != "nobody"}
        assert named == links(overlay, pod, direction) - {("kube-system", 53)} - of_the_simulator, direction


def test_a_postgres_outside_is_reached_by_whoever_reaches_one_inside() -> None:
    outside = yaml.safe_load((FOLDER / OUTSIDE).read_text())
    inside = of_kind("production", "NetworkPolicy")["to-postgres"]
    assert outside["metadata"]["name"] != inside["metadata"]["name"]
    assert outside["spec"]["podSelector"] == inside["spec"]["podSelector"]
    [rule] = outside["spec"]["egress"]
    assert rule["ports"] == inside["spec"]["egress"][0]["ports"]
    assert "ipBlock" in rule["to"][0]


@every_pod
def test_a_pod_is_reached_by_its_clients_alone(overlay: str, pod: Pod) -> None:
    expected: set[tuple[str, int]] = set()
    if pod.name in SERVICES:
        expected.add(("monitoring", 8080))
    if "ports" in CONTAINERS.get(pod.name, {}):
        expected.add(("ingress-nginx", 8080))
    if pod.name == "simulator":
        expected.add(("generator storage", 8080))
    assert links(overlay, pod, "Ingress") == expected


@every_overlay
def test_an_event_stream_passes_the_front_door_and_what_is_internal_does_not(overlay: str) -> None:
    doors = of_kind(overlay, "Ingress")
    said: dict[str, Any] = {
        key.rpartition("/")[2]: value for key, value in doors["gateway"]["metadata"]["annotations"].items()
    }
    assert (said["proxy-buffering"], said["proxy-http-version"], said["proxy-next-upstream"]) == ("off", "1.1", "off")
    assert int(said["proxy-read-timeout"]) >= 3600
    for rule in doors["gateway"]["spec"]["rules"]:
        behind = {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
        assert behind == {"/live": "nowhere", "/ready": "nowhere", "/metrics": "nowhere", "/": "gateway"}
    for rule in doors["media"]["spec"]["rules"]:
        assert [path["path"] for path in rule["http"]["paths"]] == ["/media"]
    services = of_kind(overlay, "Service")
    assert "selector" not in services["nowhere"]["spec"]
    for name in ("gateway", "storage"):
        [pod] = [pod for pod in pods(overlay) if pod.name == name]
        assert selects({"matchLabels": services[name]["spec"]["selector"]}, pod.labels)
    if overlay == "production":
        for door in doors.values():
            hosts = {rule["host"] for rule in door["spec"]["rules"]}
            assert hosts == {host for tls in door["spec"]["tls"] for host in tls["hosts"]}
