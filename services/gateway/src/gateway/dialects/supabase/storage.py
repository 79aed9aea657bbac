"""Public objects, as Supabase's storage addresses them: our media, whatever the bucket is called."""

import re

from fastapi.responses import JSONResponse

from gateway.refusals import NotFound, Refusal

_OBJECT = re.compile(r"(?:media/)?(?P<token>[0-9a-f]{32})(?:/(?P<variant>[a-z]+))?\.(?P<extension>[a-z0-9]{1,5})")


def media_key(path: str) -> str:
    """The key below /media/ of `<token>/<variant>.<extension>` or `<token>.<extension>`. Raises NotFound."""
    found = _OBJECT.fullmatch(path)
    if found is None:
        raise NotFound("Object not found")
    return f"{found['token']}/{found['variant'] or 'original'}.{found['extension']}"


def render(refusal: Refusal) -> JSONResponse:
    """The shape of Supabase's storage: the status is a string."""
    body = {"statusCode": str(refusal.status), "error": refusal.code, "message": refusal.message}
    return JSONResponse(body, refusal.status, refusal.headers)
