"""Postgres: does it keep what it promises, and does everybody have their own schema and no more."""

from datetime import UTC, datetime

import asyncpg

from darkroom import namespaces
from darkroom.doctor.findings import Deployment, Part
from darkroom.histories import migrations_of
from darkroom.migration import CONNECT_SECONDS
from darkroom.revisions import is_expected
from darkroom.stack import SERVICES

CLOCK_SECONDS = 5.0
"""By how much two clocks may differ: leases and deadlines are far longer."""
MOST_CONNECTIONS_USED = 0.8
_DURABLE = {"fsync": {"on"}, "full_page_writes": {"on"}, "synchronous_commit": {"on", "remote_apply", "remote_write"}}
_OVERRIDES = """
    SELECT rolname, setting FROM pg_db_role_setting
    JOIN pg_roles ON pg_roles.oid = setrole, unnest(setconfig) AS setting
"""
_ROLE = """
    SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication FROM pg_roles WHERE rolname = $1
"""
_OWNER = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = $1"


async def look(deployment: Deployment) -> Part:
    part = Part("Postgres")
    if deployment.database_url is None:
        part.skipped = "DATABASE_URL is not set"
        return part
    try:
        connection = await asyncpg.connect(deployment.database_url, timeout=CONNECT_SECONDS)
    except (OSError, asyncpg.PostgresError, asyncpg.ClientConfigurationError) as error:
        part.check(False, "Postgres", f"does not let us in: {error}", "Start it, or correct DATABASE_URL.")
        return part
    try:
        await _durability(part, connection)
        await _clock(part, connection)
        schemas = await namespaces.found(connection)
        for service in SERVICES:
            await _service(part, connection, service, schemas[service])
    finally:
        await connection.close()
    return part


async def _durability(part: Part, connection: asyncpg.Connection) -> None:
    for setting, durable in _DURABLE.items():
        value = await connection.fetchval("SELECT current_setting($1)", setting)
        found = f"is {value}: what was committed can be lost with the machine"
        part.check(value in durable, setting, found, f"Set {setting} = on and reload Postgres.")
    for role, setting in await connection.fetch(_OVERRIDES):
        name, _, value = setting.partition("=")
        part.check(
            name not in _DURABLE or value in _DURABLE[name],
            f"{name} of {role}",
            f"is {value} for this role: what it committed can be lost",
            f"ALTER ROLE {role} RESET {name};",
        )
    used = await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    most = int(await connection.fetchval("SELECT current_setting('max_connections')"))
    part.check(
        used < MOST_CONNECTIONS_USED * most,
        "max_connections",
        f"{used} of {most} are used",
        "Raise it, or lower …_DATABASE_POOL_SIZE: each process keeps so many.",
    )


async def _clock(part: Part, connection: asyncpg.Connection) -> None:
    before = datetime.now(UTC)
    theirs = await connection.fetchval("SELECT clock_timestamp()")
    away = clock_difference(before, theirs, datetime.now(UTC))
    part.check(away <= CLOCK_SECONDS, "clock of Postgres", f"is {away:.1f} s off ours", "Let NTP set both clocks.")


async def _service(part: Part, connection: asyncpg.Connection, service: str, schema: str) -> None:
    role = await connection.fetchrow(_ROLE, service)
    part.check(role is not None, f"role {service}", "does not exist", "Run `darkroom migrate`.")
    if role is None:
        return
    rights = [name.removeprefix("rol") for name, given in role.items() if given]
    part.check(
        not rights,
        f"role {service}",
        f"has rights that it does not need: {', '.join(rights)}",
        f"ALTER ROLE {service} NOSUPERUSER NOCREATEROLE NOCREATEDB NOBYPASSRLS NOREPLICATION;",
    )
    owner = await connection.fetchval(_OWNER, schema)
    part.check(owner == service, f"schema {schema}", f"belongs to {owner or 'nobody'}", "Run `darkroom migrate`.")
    if owner is None:
        return
    for other in SERVICES:
        if (
            other == service
            or await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", other) == 0
        ):
            continue
        may = await connection.fetchval("SELECT has_schema_privilege($1, $2, 'USAGE')", other, schema)
        part.check(
            not may,
            f"schema {schema}",
            f"can be read by {other}",
            f"REVOKE ALL ON SCHEMA {schema} FROM {other}, PUBLIC;",
        )
    await _revision(part, connection, service, schema)


async def _revision(part: Part, connection: asyncpg.Connection, service: str, schema: str) -> None:
    try:
        revision = await connection.fetchval(f'SELECT version_num FROM "{schema}".alembic_version')  # noqa: S608
    except asyncpg.UndefinedTableError:
        revision = None
    found = f"has revision {revision or 'none'}, which is older than this version"
    part.check(is_expected(revision, migrations_of(service)), f"schema {schema}", found, "Run `darkroom migrate`.")


def clock_difference(before: datetime, theirs: datetime, after: datetime) -> float:
    """Seconds by which a clock that was asked between two looks at ours is outside of them."""
    return max(0.0, (before - theirs).total_seconds(), (theirs - after).total_seconds())
