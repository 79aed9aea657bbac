"""Who reads: a token in either of the headers that Supabase's clients send."""

from dataclasses import replace
from uuid import UUID

from starlette.requests import Request

from gateway.dialects.callers import uuid_of
from gateway.dialects.supabase.query import Query
from gateway.dialects.supabase.tables import ANONYMOUS, Reader
from gateway.identity import DEVELOPMENT_USER, NOBODY, SERVICE_ROLE, Caller, Identity

AUTHENTICATED = "authenticated"
_PUBLISHABLE = "sb_publishable_"
"""What Supabase's newer keys for browsers begin with. They are no tokens, and name nobody."""


async def reader(identity: Identity, request: Request, query: Query) -> tuple[Reader, Query]:
    """The token's user, a service, or nobody; and what they ask, in which they are named as the rows name them.

    `apikey` counts where there is no bearer.

    On a stack of one's own machine, who has no token reads as the user whom the query names, else as the development
    user: the routes that make things take their word just so.

    Raises:
        Unauthenticated: a token that is not to be believed.
    """
    known = await identity.caller(_with_bearer(request))
    if known is None:
        if identity.is_local(request):
            return Reader(AUTHENTICATED, _named(query) or DEVELOPMENT_USER), query
        return Reader(ANONYMOUS), query
    if known.is_service:
        return Reader(SERVICE_ROLE, None if known.user_id == NOBODY else known.user_id), query
    return Reader(AUTHENTICATED, known.user_id), _meant(known, query)


def _with_bearer(request: Request) -> Request:
    """The request with the one token that counts where tokens stand, or with none."""
    bearer = request.headers.get("authorization")
    if bearer is None and request.headers.get("apikey"):
        bearer = f"Bearer {request.headers['apikey']}"
    headers = [pair for pair in request.scope["headers"] if pair[0] != b"authorization"]
    if bearer is not None and not bearer.partition(" ")[2].strip().startswith(_PUBLISHABLE):
        headers.append((b"authorization", bearer.encode("latin-1", "replace")))
    return Request({**request.scope, "headers": headers})


def _meant(known: Caller, query: Query) -> Query:
    if known.alias is None:
        return query
    conditions = tuple(
        replace(each, value=str(known.user_id)) if uuid_of(each.value) == known.alias else each
        for each in query.conditions
    )
    return replace(query, conditions=conditions)


def _named(query: Query) -> UUID | None:
    named = [uuid_of(condition.value) for condition in query.conditions if condition.column == "user_id"]
    return next(iter(named), None)
