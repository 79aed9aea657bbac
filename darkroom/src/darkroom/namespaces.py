"""Which schema of the database a service has: the one of its name, unless that is somebody else's.

A hosted Supabase keeps the records of its own files in a schema `storage`. There ours is `darkroom_storage`. Services
never notice, since each role finds its schema by its search path; whoever looks at all of them asks here.
"""

import re
from collections.abc import Mapping

import asyncpg

from darkroom.stack import SERVICES

_OWNER = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = $1"


def other_name(service: str) -> str:
    """The schema of a service whose own name is taken."""
    return f"darkroom_{service}"


async def name_for(connection: asyncpg.Connection, service: str, role: str) -> str:
    """The schema that a service's role has, or should be given."""
    owner = await connection.fetchval(_OWNER, service)
    return service if owner in {None, role} else other_name(service)


async def found(connection: asyncpg.Connection) -> dict[str, str]:
    """Service → its schema, in a database that was prepared."""
    rows = await connection.fetch(
        "SELECT nspname FROM pg_namespace WHERE nspname = ANY ($1::text[])", list(map(other_name, SERVICES))
    )
    others = {row["nspname"] for row in rows}
    return {service: other_name(service) if other_name(service) in others else service for service in SERVICES}


def placed(sql: str, schemas: Mapping[str, str]) -> str:
    """A statement with the services' tables where they are."""
    for service, schema in schemas.items():
        if schema != service:
            sql = re.sub(rf"\b{service}\.(?=[a-z])", f"{schema}.", sql)
    return sql
