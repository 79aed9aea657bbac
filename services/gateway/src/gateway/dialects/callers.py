"""Who asks, where a dialect's body or query may name a user as well."""

from uuid import UUID

from starlette.requests import Request

from gateway.identity import DEVELOPMENT_USER, NOBODY, Caller, Identity
from gateway.refusals import NotFound, Unauthenticated


async def caller(identity: Identity, request: Request, user_id: str | None = None) -> Caller:
    """The token's user. A body or a query may name that user only, by either name; a service may act for anybody.

    On a stack of one's own machine the named user, or the development user, asks without a token.

    Raises:
        Unauthenticated: no token, or one that is not to be believed. NotFound: another user is named.
    """
    known = await identity.caller(request)
    named = uuid_of(user_id)
    if known is None:
        if not identity.is_local(request):
            raise Unauthenticated("A bearer token is required.")
        return Caller(named or DEVELOPMENT_USER)
    if known.is_service and named is not None:
        return Caller(named, known.role)
    if known.user_id == NOBODY:
        raise Unauthenticated("A service has to name the user that it acts for.")
    if user_id is not None and (named is None or known.meant(named) != known.user_id):
        raise NotFound("There is no such user.")
    return known


def uuid_of(text: str | None) -> UUID | None:
    """None for what is no id: it names nothing."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
