"""`darkroom migrate`."""

from typing import TYPE_CHECKING, Annotated

import typer

from darkroom.commands.options import DEFAULT_DATA, MISCONFIGURED, Data, fail
from darkroom.stack import SERVICES

if TYPE_CHECKING:
    from darkroom.stack import Stack


def migrate(
    wait_for: Annotated[
        str | None,
        typer.Option(
            "--wait-for", metavar="SERVICE", help="Change nothing: wait until this service's schema is there."
        ),
    ] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Make roles and schemas, bring each service's schema to its newest revision, and make the frontends' views.

    SUPABASE_DB_URL, or else DATABASE_URL, is the administrator's address; LEDGER_DATABASE_URL,
    GENERATOR_DATABASE_URL, STORAGE_DATABASE_URL and GATEWAY_DATABASE_URL name the roles to make and their passwords;
    PUBLIC_URL is what addresses in the views begin with, for whoever reads them past the gateway. To wait
    for a service takes its own address alone.
    """
    import asyncpg
    from sqlalchemy.exc import DBAPIError

    from darkroom.stack import NoStackError, Stack

    if wait_for is not None and wait_for not in SERVICES:
        fail(f"There is no service {wait_for}. There are {', '.join(SERVICES)}.", 2)
    try:
        stack = Stack.find(data)
        if wait_for is None:
            _migrate(stack)
        else:
            _wait(stack, wait_for)
    except (NoStackError, ValueError) as error:
        fail(str(error), MISCONFIGURED)
    except (OSError, asyncpg.PostgresError) as error:
        fail(f"The database cannot be prepared: {error}")
    except DBAPIError as error:
        fail(f"The database cannot be migrated: {getattr(error.orig, '__cause__', None) or error.orig}")


def _migrate(stack: "Stack") -> None:
    import asyncio

    from darkroom import migration

    admin_url = stack.address("database_url")
    urls = {service: stack.address(f"{service}_database_url") for service in SERVICES}
    asyncio.run(migration.migrate(admin_url, urls, migration.media_base()))


def _wait(stack: "Stack", service: str) -> None:
    import asyncio

    from darkroom import revisions
    from darkroom.histories import migrations_of

    url = stack.address(f"{service}_database_url")
    if not asyncio.run(revisions.wait_until_migrated(url, migrations_of(service))):
        fail(f"The schema of {service} is not there after {revisions.WAIT_SECONDS} s. Does 'darkroom migrate' run?")
