"""The permissions as the NATS server reads them, exported by `darkroom schemas`: for containers and for `darkroom up`.

`darkroom up` takes its users from the exported text, since it stays and would have to load the contracts for them.
"""

from collections.abc import Iterator, Sequence

from darkroom.topology import AUTHORIZATION
from darkroom.topology.permissions import PERMISSIONS, Permissions

LOGIN_SECONDS = 10
ANSWER_SECONDS = 10
"""Longer than anybody waits for an answer."""
AUTHORIZATION_FILE = f"darkroom/src/darkroom/topology/{AUTHORIZATION.name}"
NATS_FILE = "deploy/nats/nats.conf"
CLUSTER_FILE = "deploy/nats/cluster.conf"
_NATS = """\
# One node of NATS for docker-compose.yml. Exported by `darkroom schemas`.

server_name: darkroom
listen: 0.0.0.0:4222

# Health and figures, without a password: for this container's own health check alone.
http: 127.0.0.1:8222

max_payload: 8MB

jetstream {
  store_dir: /var/lib/nats
  # A single node has no replica to ask after a power cut: it writes to the disk before it acknowledges.
  sync_interval: always
}

"""


_CLUSTER = """\
# One of three nodes of NATS, for docker-compose.cluster.yml. Exported by `darkroom schemas`.

server_name: $HOSTNAME
listen: 0.0.0.0:4222

# Health and figures, without a password: for this container's own health check alone.
http: 127.0.0.1:8222

max_payload: 8MB

# The nodes reach each other on the network `inside`, which nobody enters from outside.
cluster {
  name: darkroom
  listen: 0.0.0.0:6222
  routes: [nats://nats-1:6222, nats://nats-2:6222, nats://nats-3:6222]
}

jetstream {
  store_dir: /var/lib/nats
  # Three nodes of one machine fail together: each writes to the disk before it acknowledges.
  sync_interval: always
}

"""


def nats_documents() -> dict[str, str]:
    """Path → text of what the servers are told."""
    users = "\n".join(_authorization()) + "\n"
    return {
        AUTHORIZATION_FILE: "# The users of NATS for `darkroom up`. Exported by `darkroom schemas`.\n\n" + users,
        NATS_FILE: _NATS + users,
        CLUSTER_FILE: _CLUSTER + users,
    }


def _authorization() -> Iterator[str]:
    yield "# Who may say and hear what (darkroom/src/darkroom/topology/permissions.py). Passwords come from the"
    yield "# environment and begin with a letter: the server would take some digits for a number."
    yield "authorization {"
    yield "  # A process that has just begun is busy."
    yield f"  timeout: {LOGIN_SECONDS}"
    yield "  users: ["
    for user, permissions in PERMISSIONS.items():
        yield from _user(user, permissions)
    yield "  ]"
    yield "}"


def _user(user: str, permissions: Permissions) -> Iterator[str]:
    yield "    {"
    yield f"      user: {user}"
    yield f"      password: ${user.upper()}_NATS_PASSWORD"
    yield "      permissions: {"
    yield from _allow("publish", permissions.publish)
    yield from _allow("subscribe", permissions.subscribe)
    if permissions.answers:
        yield f'        allow_responses: {{max: 1, expires: "{ANSWER_SECONDS}s"}}'
    yield "      }"
    yield "    }"


def _allow(verb: str, subjects: Sequence[str]) -> Iterator[str]:
    yield f"        {verb}: {{"
    yield "          allow: ["
    for subject in subjects:
        yield f'            "{subject}"'
    yield "          ]"
    yield "        }"
