"""`darkroom token`."""

from typing import Annotated
from uuid import UUID

import typer

from darkroom.commands.options import DEFAULT_DATA, MISCONFIGURED, Data, fail


def token(
    user: Annotated[UUID, typer.Option(help="Whose token.")],
    hours: Annotated[float, typer.Option(min=0.001, max=24 * 366, help="How long it is good for.")] = 24,
    operator: Annotated[bool, typer.Option("--operator", help="Whether they may see and run the whole house.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Print a bearer token for a user, and nothing else.

    Signed with the local stack's secret, or with SUPABASE_JWT_SECRET.
    """
    from darkroom.stack import NoStackError, Stack
    from darkroom.tokens import make_token

    stack = Stack.find(data)
    try:
        secret = stack.address("jwt_secret")
    except NoStackError as error:
        fail(str(error), MISCONFIGURED)
    issuer = stack.optional("url") or "http://127.0.0.1"
    typer.echo(make_token(secret, user, hours, f"{issuer}/auth/v1", operator=operator))
