"""The manifests of Kubernetes, read as the cluster would: pods, what they are told, and who may reach whom."""

import base64
import hashlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "k8s"
OVERLAYS = ("dev", "production")
SOURCES = ("autoscaling", "base", "overlays", "simulator")
Document = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """The pod that a Deployment, Job or CronJob makes."""

    kind: str
    name: str
    labels: dict[str, str]
    spec: Document

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def containers(self) -> list[Document]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def stays(self) -> bool:
        return self.kind == "Deployment"


def digest_of_sources() -> str:
    files = sorted(
        (
            path.relative_to(FOLDER).as_posix()
            for folder in SOURCES
            for path in (FOLDER / folder).rglob("*")
            if path.is_file()
        ),
    )
    return hashlib.sha256(b"".join((FOLDER / name).read_bytes() for name in files)).hexdigest()


@cache
def rendered(overlay: str) -> tuple[Document, ...]:
    text = (FOLDER / "rendered" / f"{overlay}.yaml").read_text()
    return tuple(yaml.safe_load_all(text))


def of_kind(overlay: str, kind: str) -> dict[str, Document]:
    return {doc["metadata"]["name"]: doc for doc in rendered(overlay) if doc["kind"] == kind}


def pods(overlay: str) -> list[Pod]:
    found = []
    for document in rendered(overlay):
        spec = document.get("spec", {})
        match document["kind"]:
            case "Deployment" | "Job":
                template = spec["template"]
            case "CronJob":
                template = spec["jobTemplate"]["spec"]["template"]
            case _:
                continue
        name = document["metadata"]["name"]
        found.append(Pod(document["kind"], name, template["metadata"]["labels"], template["spec"]))
    return found


def selects(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a label selector takes a pod; of its expressions, those that stand in the manifests."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def links(overlay: str, pod: Pod, direction: str) -> set[tuple[str, int]]:
    """With whom a pod may speak, and on which port: namespaces, names of its own namespace's pods, or `internet`."""
    peers = "to" if direction == "Egress" else "from"
    found = set()
    for policy in of_kind(overlay, "NetworkPolicy").values():
        spec = policy["spec"]
        if direction not in spec["policyTypes"] or not selects(spec["podSelector"], pod.labels):
            continue
        for rule in spec.get(direction.lower(), []):
            for peer in rule[peers]:
                found |= {(_name(overlay, peer), port["port"]) for port in rule["ports"]}
    return found


def _name(overlay: str, peer: Document) -> str:
    if "ipBlock" in peer:
        return "internet"
    if "namespaceSelector" in peer:
        return str(peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"])
    names = {pod.name for pod in pods(overlay) if selects(peer["podSelector"], pod.labels)}
    return " ".join(sorted(names))


@cache
def fresh_environment() -> str:
    """What deploy/environment.sh prints, once."""
    return subprocess.run(["sh", ROOT / "deploy/environment.sh"], capture_output=True, check=True, text=True).stdout


@cache
def secrets(more: str = "") -> dict[tuple[str, str], dict[str, str]]:
    """(namespace, name) → what deploy/k8s/secrets.sh makes of a fresh environment with `more` lines."""
    script = 'set -eu; cat > "$1/environment"; sh "$0" "$1/environment"; rm "$1/environment"'
    folder = subprocess.run(["mktemp", "-d"], capture_output=True, check=True, text=True).stdout.strip()
    made = subprocess.run(
        ["sh", "-c", script, FOLDER / "secrets.sh", folder],
        input=fresh_environment() + more,
        capture_output=True,
        check=True,
        text=True,
    )
    Path(folder).rmdir()
    documents = [document for document in yaml.safe_load_all(made.stdout) if document]
    return {
        (doc["metadata"]["namespace"], doc["metadata"]["name"]): {
            key: base64.b64decode(value).decode() for key, value in doc["data"].items()
        }
        for doc in documents
    }


def told(overlay: str, container: Document) -> dict[str, str]:
    """The environment of a container, with the secrets of a fresh deployment."""
    environment: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            environment |= of_kind(overlay, "ConfigMap")[source["configMapRef"]["name"]]["data"]
        else:
            environment |= secrets()["darkroom", source["secretRef"]["name"]]
    for variable in container.get("env", []):
        if "value" in variable:
            environment[variable["name"]] = variable["value"]
        elif "configMapKeyRef" in variable["valueFrom"]:
            reference = variable["valueFrom"]["configMapKeyRef"]
            environment[variable["name"]] = of_kind(overlay, "ConfigMap")[reference["name"]]["data"][reference["key"]]
        else:
            reference = variable["valueFrom"]["secretKeyRef"]
            environment[variable["name"]] = secrets()["darkroom", reference["name"]][reference["key"]]
    return environment


def references(document: Any) -> Iterator[tuple[str, str | None]]:
    """(name, key) of every Secret that a document asks for; no key: all of it."""
    if isinstance(document, dict):
        if "secretRef" in document:
            yield document["secretRef"]["name"], None
        if "secretKeyRef" in document:
            yield document["secretKeyRef"]["name"], document["secretKeyRef"]["key"]
        for value in document.values():
            yield from references(value)
    elif isinstance(document, list):
        for item in document:
            yield from references(item)


def image_tag(container: Document) -> str:
    found = re.fullmatch(r"[\w./-]+:([\w.-]+)", container["image"])
    assert found, container["image"]
    return found.group(1)
