"""`darkroom migrate`."""

from darkroom.commands.options import DEFAULT_DATA, Data, fail


def migrate(data: Data = DEFAULT_DATA) -> None:
    """Make roles and schemas, and bring each service's schema to its newest revision.

    DATABASE_URL is the administrator's address; LEDGER_DATABASE_URL, GENERATOR_DATABASE_URL, STORAGE_DATABASE_URL and
    GATEWAY_DATABASE_URL name the roles to make and their passwords.
    """
    import asyncio

    import asyncpg

    from darkroom import migration
    from darkroom.stack import SERVICES, NoStackError, Stack

    stack = Stack.find(data)
    try:
        admin_url = stack.address("database_url")
        urls = {service: stack.address(f"{service}_database_url") for service in SERVICES}
        asyncio.run(migration.migrate(admin_url, urls))
    except NoStackError as error:
        fail(str(error))
    except (OSError, asyncpg.PostgresError) as error:
        fail(f"The database cannot be prepared: {error}")
