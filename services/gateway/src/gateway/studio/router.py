"""The studio's files, and the token of whoever uses it on their own machine.

Each file has a route of its own, so that whatever else is asked for below `/studio/` is unknown like any other path.
"""

import hashlib
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from gateway.dialects.native import errors
from gateway.dialects.surface import Surface, route_class
from gateway.identity import DEVELOPMENT_USER, OPERATOR, is_of_this_machine
from gateway.refusals import Unauthenticated
from gateway.settings import AddressSettings
from gateway.tokens import Issuer

PAGE = "index.html"
REFERENCE = "reference/index.html"
"""The page that shows the API, with Swagger UI."""
PATHS = {PAGE: "/", REFERENCE: "/docs"}
FOLDERS = ("", "vendor", "reference", "reference/vendor")
"""`make vendor` writes those of libraries (ADR 35)."""
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
}


def make_router(surface: Surface) -> APIRouter:
    """The pages at `/` and `/docs`, their parts, and the session of a stack on one's own machine."""
    router = APIRouter(route_class=route_class(errors.render), include_in_schema=False)
    served = _files()
    headers = _headers(_policy(surface.addresses, served[PAGE][0]))
    of_reference = _headers(_REFERENCE_POLICY)
    for name, (content, media_type) in served.items():
        give = _giving(content, media_type, of_reference if name == REFERENCE else headers)
        router.add_api_route(PATHS.get(name, f"/studio/{name}"), give, methods=["GET"])

    @router.post("/studio/session")
    async def session(request: Request) -> Response:
        """A token of the development user, who operates their own stack: in local mode, for this page alone.

        Raises Unauthenticated.
        """
        if not surface.identity.local_mode or not _is_own_page(request):
            raise Unauthenticated("Sign in, or give a token.")
        claims = {"iss": f"{surface.addresses.public_url.rstrip('/')}/auth/v1"}
        token = surface.tokens.access(Issuer.GOTRUE, DEVELOPMENT_USER, claims | {"app_metadata": {"roles": [OPERATOR]}})
        return JSONResponse({"access_token": token}, headers={"Cache-Control": "no-store"})

    return router


def _files() -> dict[str, tuple[bytes, str]]:
    """Name → content and type, of what stands beside this module for browsers."""
    found = {name: each for folder in FOLDERS for name, each in _within(folder)}
    suffixes = {name: name[name.rfind(".") :] for name in found}
    return {
        name: (found[name].read_bytes(), _TYPES[suffix])
        for name, suffix in sorted(suffixes.items())
        if suffix in _TYPES
    }


def _within(folder: str) -> Iterator[tuple[str, Traversable]]:
    for each in files(__package__).joinpath(folder).iterdir():
        if each.is_file():
            yield f"{folder}/{each.name}".lstrip("/"), each


def _giving(content: bytes, media_type: str, headers: dict[str, str]) -> Callable[[Request], Awaitable[Response]]:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    async def give(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers | {"ETag": tag})
        return Response(content, headers=headers | {"ETag": tag}, media_type=media_type)

    return give


_SEALED = {
    "default-src": "'none'",
    "style-src": "'self'",
    "form-action": "'none'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
# Swagger UI has its icons within its style sheet, and sets what it has cleaned of HTML as text.
_REFERENCE_POLICY = _SEALED | {"script-src": "'self'", "connect-src": "'self'", "img-src": "'self' data:"}


def _policy(addresses: AddressSettings, page: bytes) -> dict[str, str]:
    """Nothing but the studio's files runs, and media come from where media are.

    The page's import map has to stand in the page; its hash says that it is this one.
    """
    media = " ".join(sorted({_origin(addresses.media_base), _origin(addresses.public_media_url)}))
    return _SEALED | {
        "script-src": f"'self' '{_hash_of_map(page)}'",
        "connect-src": f"'self' {media}",
        "img-src": f"'self' {media}",
        "media-src": f"'self' {media}",
        "require-trusted-types-for": "'script'",
    }


def _headers(policy: dict[str, str]) -> dict[str, str]:
    return {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in policy.items()),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }


def _hash_of_map(page: bytes) -> str:
    written = page.partition(b'<script type="importmap">')[2].partition(b"</script>")[0]
    return f"sha256-{b64encode(hashlib.sha256(written).digest()).decode()}"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_own_page(request: Request) -> bool:
    """Whether the browser says that a page of this very address asks, and the address is of this machine.

    Answers may be read by every origin, so another site has to be refused; a name that was rebound to this machine is
    the origin of its own requests, so it has to be refused by its name.
    """
    origin = request.headers.get("origin", "")
    return is_of_this_machine(origin) and urlsplit(origin).netloc == request.headers.get("host")
