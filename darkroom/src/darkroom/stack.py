"""Where the parts of a stack are: the one that runs on this machine, or the one that the environment names."""

import fcntl
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

SERVICES = ("gateway", "generator", "storage", "ledger")
"""Also their database schemas, roles and prefixes of their variables."""
NATS_USERS = (*SERVICES, "topology", "operator")
"""Who logs in to NATS: the services, the one that makes streams and consumers, and the command line."""
STACK_FILE = "stack.json"
LOCK_FILE = "lock"


class NoStackError(Exception):
    """Nothing tells where a part of the stack is; the message says what would."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Addresses, and the secrets that go with them; empty where nobody named them."""

    data: Path
    running: bool
    """Whether `darkroom up` runs on this data directory now."""
    known: dict[str, Any] = field(repr=False, default_factory=dict)

    @classmethod
    def find(cls, data: Path) -> Self:
        """The running local stack; where none runs, what the environment says, or else the one that ran last.

        A local stack that runs comes first: somebody else's DATABASE_URL in the shell must not be taken for it. Nothing
        is made up of two: the passwords of a stopped one are not those of the database that the environment names.
        """
        running = is_running(data)
        named = {} if running else _environment()
        return cls(data, running, named or read_stack_file(data))

    def address(self, name: str) -> str:
        """`url`, `nats_url`, `database_url` (the administrator's), `simulator_url`, `media_url`, `user_id` or a secret.

        Raises:
            NoStackError: nobody named it, or it is an address of something else.
        """
        value = self.known.get(name)
        if not value:
            variable = _VARIABLES.get(name, name.upper())
            raise NoStackError(
                f"No stack runs in {self.data}, and {variable} is not set. "
                f"Start one with 'darkroom up', name its folder with --data, or set {variable}: {_meaning(name)}."
            )
        if not _is_one(name, str(value)):
            raise NoStackError(f"{_VARIABLES[name]} has to be {_meaning(name)}.")
        return str(value)

    def optional(self, name: str) -> str | None:
        """The same, or None where nobody named it. Raises NoStackError where it is an address of something else."""
        return self.address(name) if self.known.get(name) else None

    def storage_environment(self) -> dict[str, str] | None:
        """What tells storage where its objects are; None where neither a local stack nor the environment says it."""
        if self.running:
            return dict(self.known["storage_environment"])
        return dict(os.environ) if any(os.environ.get(name) for name in _STORES) else None


_SERVER = r"(\[[^\s\]]+\]|[^\s/?#@:,\[\]]*)(:\d{1,5})?"
_DATABASE = rf"postgres(ql)?://([^/?#]*@)?{_SERVER}(,{_SERVER})*([/?][^\s@]*)?"
"""What is none is refused by name here: who reads it further on says which part of a password is no port."""
_STORES = ("MEDIA_STORAGE_BACKEND", "MEDIA_ROOT", "AWS_S3_BUCKET", "STORAGE_BUCKET_NAME")
_VARIABLES = {
    "url": "GATEWAY_URL",
    "nats_url": "NATS_URL",
    "nats_monitoring_url": "NATS_MONITORING_URL",
    "database_url": "DATABASE_URL",
    "simulator_url": "SIMULATOR_URL",
    "media_url": "PUBLIC_MEDIA_URL",
    "jwt_secret": "SUPABASE_JWT_SECRET",
    "token": "DARKROOM_TOKEN",
    **{f"{service}_database_url": f"{service.upper()}_DATABASE_URL" for service in SERVICES},
}
_MEANINGS = {
    "url": "the gateway's address",
    "nats_url": "nats://host:port of NATS",
    "database_url": "postgresql://administrator:password@host:port/database",
    "jwt_secret": "the key of users' tokens",
}


def _is_one(name: str, value: str) -> bool:
    if name == "nats_url":
        from runtime.settings import SERVERS

        return re.fullmatch(SERVERS, value) is not None
    return not name.endswith("database_url") or re.fullmatch(_DATABASE, value) is not None


def _meaning(name: str) -> str:
    if name.endswith("_database_url"):
        return f"{name.removesuffix('_database_url')}'s own postgresql://role:password@host:port/database"
    return _MEANINGS.get(name, "where it is")


def is_running(data: Path) -> bool:
    """Whether a supervisor holds the lock of this data directory."""
    try:
        with (data / LOCK_FILE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def read_stack_file(data: Path) -> dict[str, Any]:
    """What the last `darkroom up` wrote; empty where there is nothing readable."""
    try:
        known = json.loads((data / STACK_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def write_private(path: Path, document: dict[str, Any]) -> None:
    """Replaces a file that only its owner may read, in one step."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(document, indent=2) + "\n")
    draft.replace(path)


def _environment() -> dict[str, str]:
    """Supabase's own name for the administrator's address comes before ours."""
    named = {name: value for name, variable in _VARIABLES.items() if (value := os.environ.get(variable))}
    supabase = os.environ.get("SUPABASE_DB_URL")
    return {**named, "database_url": supabase} if supabase else named
