"""The whole examination, and where the parts of a deployment are found."""

import os
from collections.abc import Mapping
from typing import get_args
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from darkroom.doctor import broker, database, doors, keeping, webhooks
from darkroom.doctor.findings import Deployment, Examination
from darkroom.stack import NATS_USERS, SERVICES, Stack


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
    passwords = ("POSTGRES_PASSWORD", *(f"{user.upper()}_NATS_PASSWORD" for user in NATS_USERS))
    secrets = {name: environment.get(name, "") for name in (*_named(), *passwords)}
    secrets["SUPABASE_JWT_SECRET"] = stack.optional("jwt_secret") or ""
    for name in ("database_url", *(f"{service}_database_url" for service in SERVICES), "nats_url"):
        password = urlsplit(stack.optional(name) or "").password
        if password:
            secrets[f"the password in {name.upper()}"] = unquote(password)
    # Two names of one secret, on either side of the same login.
    ours = f"{environment.get('NATS_USER', '').upper()}_NATS_PASSWORD"
    for name, again in (("NATS_PASSWORD", ours), ("the password in DATABASE_URL", "POSTGRES_PASSWORD")):
        if secrets.get(name) and secrets.get(again) == secrets.get(name):
            del secrets[again]
    return secrets


def _named() -> set[str]:
    """The variables of secrets that are ours to make: not those that a provider gave, nor addresses."""
    from darkroom.environment_example import sections
    from generator.settings import ProviderSettings
    from ledger.settings import PaymentSettings

    theirs = {name.upper() for fragment in (ProviderSettings, PaymentSettings) for name in fragment.model_fields}
    variables = (variable for section in sections() for variable in section.variables)
    return {
        variable.name
        for variable in variables
        if SecretStr in (variable.annotation, *get_args(variable.annotation))
        and variable.name not in theirs
        and not variable.name.endswith("_URL")
    }
