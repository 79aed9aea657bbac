"""Roles, schemas and migrations: what a database needs before a service may use it.

As the administrator: one role and one schema for each service, named like it. As that role: its Alembic history. As the
administrator again: the frontends' views over all of them.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from darkroom import namespaces, views
from darkroom.histories import migrations_of
from darkroom.stack import SERVICES

CONNECT_SECONDS = 10
LOCK_SECONDS = 10
"""How long a migration waits for a lock: a service that asks for the table meanwhile waits behind it. Its work takes as
long as the data asks for: cut off, it would begin anew each time and never end."""
_LOCK = 0x726F6C65
_UPGRADE_LOCK = 0x6461726B
_NO_SUCH_DATABASE = asyncpg.exceptions.InvalidCatalogNameError
_VIEWS_IN_THE_WAY = {asyncpg.DependentObjectsStillExistError.sqlstate, asyncpg.FeatureNotSupportedError.sqlstate}
"""What Postgres says to who drops, or changes the type of, something that a view shows."""


def service_urls(admin_url: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """Each service's own address in the administrator's database."""
    address = urlsplit(admin_url)
    host = address.netloc.rpartition("@")[2]
    return {
        service: urlunsplit(address._replace(netloc=f"{service}:{passwords[service]}@{host}")) for service in SERVICES
    }


async def migrate(admin_url: str, urls: Mapping[str, str], media_base: str = views.DEFAULT_MEDIA_BASE) -> None:
    """Makes every service's role and schema, brings the schema to its newest revision, then makes the frontends' views.

    `media_base` is what addresses of media begin with in the views. Harmless when repeated.

    Raises:
        OSError, asyncpg.PostgresError: the database is away or refuses.
        ValueError: a service's address is none.
        sqlalchemy.exc.DBAPIError: it refuses a migration; those before it stay.
    """
    await prepare(admin_url, urls)
    connection = await _connect(admin_url)
    try:
        for service, url in urls.items():
            try:
                await upgrade(url, migrations_of(service))
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _VIEWS_IN_THE_WAY:
                    raise
                await views.drop(connection)
                await upgrade(url, migrations_of(service))
        await views.make(connection, unquote(urlsplit(urls["gateway"]).username or "gateway"), media_base)
    finally:
        await connection.close()


async def upgrade(database_url: str, migrations: Path) -> None:
    """Brings one service's schema to its newest revision, under a lock, as the service's own role.

    Raises:
        sqlalchemy.exc.DBAPIError: the database refuses, or a lock was held for long. The revisions before that one
            stay, nothing of it does, and the next call goes on there.
    """
    settings = {"application_name": "migrate", "lock_timeout": f"{LOCK_SECONDS}s"}
    engine = create_async_engine(
        make_url(database_url).set(drivername="postgresql+asyncpg"),
        connect_args={"timeout": CONNECT_SECONDS, "server_settings": settings},
    )
    try:
        async with engine.connect() as connection:
            # The session's: each revision is a transaction of its own, and keeps a table from nobody for the others.
            await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _UPGRADE_LOCK})
            await connection.commit()
            await connection.run_sync(_upgrade, migrations)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, migrations: Path) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def prepare(admin_url: str, urls: Mapping[str, str]) -> None:
    """The database where it is missing, and in it the roles and schemas that the addresses name.

    Raises:
        OSError, asyncpg.PostgresError: the database is away or refuses; no role is changed.
        ValueError: a service's address is none.
    """
    connection = await _connect(admin_url)
    try:
        for service, url in urls.items():
            await _find(service, url)
        async with connection.transaction():
            # Two at once would both find a role missing.
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            for service, url in urls.items():
                await _prepare_service(connection, service, url)
    finally:
        await connection.close()


async def _connect(admin_url: str) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(admin_url, timeout=CONNECT_SECONDS)
    except _NO_SUCH_DATABASE:
        address = urlsplit(admin_url)
        connection = await asyncpg.connect(urlunsplit(address._replace(path="/postgres")), timeout=CONNECT_SECONDS)
        try:
            await connection.execute(f"CREATE DATABASE {_name(address.path.lstrip('/'))}")
        finally:
            await connection.close()
        return await asyncpg.connect(admin_url, timeout=CONNECT_SECONDS)


async def _find(service: str, url: str) -> None:
    """A service's address leads to a server: passwords are not changed for one that nobody can reach afterwards."""
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
    except asyncpg.PostgresError:
        return  # It answers: the role is not there yet, or has another password until now.
    except (asyncpg.InterfaceError, ValueError):
        raise ValueError(f"{service}'s address has to be postgresql://role:password@host:port/database.") from None
    await connection.close()


async def _prepare_service(connection: asyncpg.Connection, service: str, url: str) -> None:
    address = urlsplit(url)
    user = unquote(address.username or service)
    namespace = await namespaces.name_for(connection, service, user)
    role, schema = _name(user), _name(namespace)
    if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", user):
        await connection.execute(f"CREATE ROLE {role} LOGIN")
    # No statement with a parameter: these are commands, which take none.
    await connection.execute(f"ALTER ROLE {role} PASSWORD {_text(unquote(address.password or ''))}")
    # Roles are the whole server's, and another of its databases may have room for the schema's own name.
    here = (
        "" if namespace == service else f"IN DATABASE {_name(await connection.fetchval('SELECT current_database()'))} "
    )
    await connection.execute(f"ALTER ROLE {role} {here}SET search_path = {schema}")
    # An administrator who is no superuser may give a schema only to a role that he belongs to.
    await connection.execute(f"GRANT {role} TO CURRENT_USER")
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {role}")


def media_base() -> str:
    """What the environment says that addresses of media begin with, as the gateway reads it."""
    from gateway.settings import AddressSettings
    from runtime.settings import configured

    return configured("migrate", AddressSettings).media_base


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def main() -> None:
    """`python -m darkroom.migration`: every address from the environment."""
    urls = {service: os.environ[f"{service.upper()}_DATABASE_URL"] for service in SERVICES}
    admin_url = os.environ.get("SUPABASE_DB_URL") or os.environ["DATABASE_URL"]
    asyncio.run(migrate(admin_url, urls, media_base()))


if __name__ == "__main__":
    main()
