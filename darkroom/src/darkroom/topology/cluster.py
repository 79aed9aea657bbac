"""What a Kubernetes cluster is told of the conversation: NATS its users, KEDA whose lag makes more processes.

Both follow from the same tables as everything else, so they are exported by `darkroom schemas` and never edited.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from contracts.topology import CONSUMERS
from darkroom.schemas.yaml_text import to_yaml
from darkroom.stack import NATS_USERS, SERVICES
from darkroom.topology.authorization import ANSWER_SECONDS, LOGIN_SECONDS
from darkroom.topology.permissions import PERMISSIONS, Permissions

NATS_VALUES_FILE = "deploy/k8s/platform/nats/values.yaml"
SCALERS_FILE = "deploy/k8s/autoscaling/scalers.yaml"
MONITORING = "nats-headless.nats.svc.cluster.local:8222"
ACCOUNT = "$G"
"""The users of NATS have no account of their own, so they are in the global one."""
LEAST_PROCESSES, MOST_PROCESSES = 2, 10
POLL_SECONDS = 10
CALM_SECONDS = 300
"""How long it has to be quiet before there are fewer processes again: each that goes hands its work to others."""
MANY_FACTS = 200
"""Of those that a process handles by the batch, hundreds in a second: more waiting means that one is not enough."""
FEW_FACTS = {"generator": 32, "storage": 16}
"""Of those that take a place each: half of what a generator submits at a time, all that storage fetches at a time."""


def cluster_documents() -> dict[str, str]:
    """Path → text of what is exported for a cluster."""
    scalers = "---\n".join(to_yaml(scaler) for scaler in map(_scaler, SERVICES))
    return {
        NATS_VALUES_FILE: _VALUES_INTRODUCTION + to_yaml(_nats_values()),
        SCALERS_FILE: _SCALERS_INTRODUCTION + scalers,
    }


def _scaler(service: str) -> dict[str, Any]:
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": service, "labels": {"app.kubernetes.io/name": service}},
        "spec": {
            "scaleTargetRef": {"name": service},
            "minReplicaCount": LEAST_PROCESSES,
            "maxReplicaCount": MOST_PROCESSES,
            "pollingInterval": POLL_SECONDS,
            "cooldownPeriod": CALM_SECONDS,
            # Where NATS does not answer, there are as many as there were.
            "fallback": {
                "failureThreshold": 3,
                "replicas": LEAST_PROCESSES,
                "behavior": "currentReplicasIfHigher",
            },
            "advanced": {
                "horizontalPodAutoscalerConfig": {
                    "behavior": {"scaleDown": {"stabilizationWindowSeconds": CALM_SECONDS}},
                },
            },
            "triggers": list(_triggers(service)),
        },
    }


def _triggers(service: str) -> Iterator[dict[str, Any]]:
    for consumer in CONSUMERS:
        if consumer.service != service:
            continue
        one_by_one = consumer.stream == "GENERATION" and service in FEW_FACTS
        yield {
            "type": "nats-jetstream",
            "name": consumer.durable,
            "metadata": {
                "natsServerMonitoringEndpoint": MONITORING,
                "account": ACCOUNT,
                "stream": consumer.stream,
                "consumer": consumer.durable,
                "lagThreshold": str(FEW_FACTS[service] if one_by_one else MANY_FACTS),
            },
        }
    if service == "gateway":
        # Requests and event streams are no lag.
        yield {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}}


def _nats_values() -> dict[str, Any]:
    return {
        "config": {
            "cluster": {"enabled": True, "replicas": 3},
            "jetstream": {
                "enabled": True,
                "fileStore": {"enabled": True, "dir": "/data", "pvc": {"enabled": True, "size": "50Gi"}},
                "merge": {"sync_interval": "<< always >>"},
            },
            "monitor": {"enabled": True, "port": 8222},
            "merge": {
                "max_payload": "<< 8MB >>",
                "authorization": {
                    "timeout": LOGIN_SECONDS,
                    "users": [_user(user, permissions) for user, permissions in PERMISSIONS.items()],
                },
            },
        },
        "container": {
            "env": {
                "GOMEMLIMIT": "5GiB",
                **{_password(user): _from_secret(_password(user)) for user in NATS_USERS},
            },
            "merge": {
                "resources": {
                    "requests": {"cpu": "500m", "memory": "4Gi"},
                    "limits": {"cpu": "2", "memory": "6Gi"},
                },
            },
        },
        "podTemplate": {
            "topologySpreadConstraints": {
                "kubernetes.io/hostname": {"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"},
                "topology.kubernetes.io/zone": {"maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway"},
            },
        },
        "promExporter": {"enabled": True},
        "natsBox": {"enabled": False},
    }


def _user(user: str, permissions: Permissions) -> dict[str, Any]:
    allowed: dict[str, Any] = {
        "publish": {"allow": list(permissions.publish)},
        "subscribe": {"allow": list(permissions.subscribe)},
    }
    if permissions.answers:
        allowed["allow_responses"] = {"max": 1, "expires": f"{ANSWER_SECONDS}s"}
    return {"user": user, "password": f"<< ${_password(user)} >>", "permissions": allowed}


def _password(user: str) -> str:
    return f"{user.upper()}_NATS_PASSWORD"


def _from_secret(key: str) -> Mapping[str, Any]:
    return {"valueFrom": {"secretKeyRef": {"name": "nats-passwords", "key": key}}}


_VALUES_INTRODUCTION = """\
# NATS on three nodes, for its own chart (nats, 1.x). Exported by `darkroom schemas`.
#
#     helm upgrade --install nats nats --repo https://nats-io.github.io/k8s/helm/charts \\
#       --namespace nats --values deploy/k8s/platform/nats/values.yaml
#
# Every stream has three copies (`--replicas 3` in overlays/production). Each node writes to its disk before it
# acknowledges, so that even a power cut of all three loses nothing that was accepted; that is what the rates in
# docs/operating.md were measured with. The sizes are for ten generations a second. `<< >>` is the chart's way of
# writing what is not a string.
"""
_SCALERS_INTRODUCTION = """\
# How many processes of each service: as many as the lag of its consumers asks for, one trigger for each kind and lane.
# Exported by `darkroom schemas`. KEDA counts what waits and what is held but not yet acknowledged.
"""
