"""The whole examination, and where the parts of a deployment are found."""

import os
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from darkroom.doctor import broker, database, doors, keeping, webhooks
from darkroom.doctor.findings import Deployment, Examination
from darkroom.stack import NATS_USERS, SERVICES, Stack

_SECRETS = ("SUPABASE_JWT_SECRET", "MEDIA_SIGNING_KEY", "AWS_SECRET_ACCESS_KEY", "NATS_PASSWORD", "POSTGRES_PASSWORD")


async def examine(deployment: Deployment) -> Examination:
    """Looks at every part that is named. A part that does not answer is a finding, no error."""
    return Examination(
        [
            await database.look(deployment),
            await broker.look(deployment),
            await doors.look(deployment),
            await webhooks.look(deployment),
            await keeping.look_at_objects(deployment),
            keeping.look_at_secrets(deployment),
        ]
    )


def deployment_of(stack: Stack) -> Deployment:
    """What a running local stack, or else the environment, says of itself."""
    return Deployment(
        database_url=stack.optional("database_url"),
        nats_url=stack.optional("nats_url"),
        nats_monitoring_url=stack.optional("nats_monitoring_url"),
        gateway_url=stack.optional("url"),
        media_url=stack.optional("media_url"),
        storage_environment=stack.storage_environment(),
        secrets=_secrets(stack, {} if stack.running else os.environ),
        loopback_only=stack.running,
    )


def _secrets(stack: Stack, environment: Mapping[str, str]) -> dict[str, str]:
    """Those that are known here, by the names of their variables."""
    names = (*_SECRETS, *(f"{user.upper()}_NATS_PASSWORD" for user in NATS_USERS))
    secrets = {name: environment.get(name, "") for name in names}
    secrets["SUPABASE_JWT_SECRET"] = stack.optional("jwt_secret") or ""
    for name in ("database_url", *(f"{service}_database_url" for service in SERVICES), "nats_url"):
        password = urlsplit(stack.optional(name) or "").password
        if password:
            secrets[f"the password in {name.upper()}"] = unquote(password)
    return secrets
