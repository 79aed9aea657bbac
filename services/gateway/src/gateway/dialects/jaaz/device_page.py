"""The page on which a user allows a device: signed in by a cookie of its own, every form with a token against forgery.

It needs no script, and looks like the studio by the studio's own stylesheet.
"""

import hashlib
import hmac
import re
import time
from html import escape
from urllib.parse import parse_qsl
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import SecretStr

from gateway.dialects.jaaz.device_routes import MAX_CODE_CHARACTERS, PAGE, profile_of
from gateway.dialects.jaaz.devices import Devices
from gateway.dialects.surface import Surface, route_class
from gateway.identity import DEVELOPMENT_USER, Caller
from gateway.refusals import Invalid, NotConfigured, Refusal, Unauthenticated

COOKIE = "darkroom_device"
_COOKIE = re.compile(rf"(?:^|; ?){COOKIE}=([^;]*)")
SESSION_SECONDS = 900
MAX_FIELDS = 8
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


def make_router(surface: Surface, devices: Devices, secret: SecretStr | None) -> APIRouter:
    """The page and its two forms."""
    router = APIRouter(route_class=route_class(_render), include_in_schema=False)
    seal = _Seal(secret)

    @router.get(PAGE)
    async def show(request: Request, code: str = "") -> Response:
        code = code[:MAX_CODE_CHARACTERS]
        user_id = seal.user_of(request, local=surface.identity.is_local(request))
        if user_id is None:
            return _page("Sign in", _sign_in_form(code))
        if not code:
            return _page("Sign in on a device", _code_form())
        profile = await profile_of(surface, Caller(user_id), request)
        return _page("Sign in on a device", _decision_form(code, profile["username"], seal.token(user_id, code)))

    @router.post(f"{PAGE}/sign-in")
    async def sign_in(request: Request) -> Response:
        """The cookie is for this page alone, and no other site can bring it."""
        form = await _form(request)
        address = surface.identity.proxies.address(request)
        user = await surface.users.sign_in(form.get("email", ""), SecretStr(form.get("password", "")), address)
        answer = RedirectResponse(f"{PAGE}?code={form.get('code', '')}", 303, _HEADERS)
        secure = surface.addresses.public_url.startswith("https:")
        answer.set_cookie(
            COOKIE,
            seal.session(user.id),
            max_age=SESSION_SECONDS,
            path=PAGE,
            secure=secure,
            httponly=True,
            samesite="strict",
        )
        return answer

    @router.post(PAGE)
    async def decide(request: Request) -> Response:
        """For the user of the cookie, whatever the form says."""
        form = await _form(request)
        user_id, code = seal.user_of(request, local=surface.identity.is_local(request)), form.get("code", "")
        if user_id is None or not hmac.compare_digest(
            seal.token(user_id, code).encode(), form.get("token", "").encode(errors="surrogatepass")
        ):
            raise Unauthenticated("The form is not of this page, or too old: open it again.")
        allow = form.get("decision") == "allow"
        profile = await profile_of(surface, Caller(user_id), request)
        await devices.decide(user_id, code, profile, allow=allow)
        return _page("Done", f"<p>The device was {'allowed' if allow else 'refused'}. You may close this page.</p>")

    return router


class _Seal:
    """Signs what the browser brings back: who is signed in, and which form was shown to whom."""

    def __init__(self, secret: SecretStr | None) -> None:
        self._secret = secret

    def session(self, user_id: UUID) -> str:
        said = f"{user_id}.{int(time.time()) + SESSION_SECONDS}"
        return f"{said}.{self._sign('session', said)}"

    def user_of(self, request: Request, *, local: bool) -> UUID | None:
        """Who is signed in; on a stack of one's own machine the development user."""
        found = _COOKIE.search(getattr(request.state, "cookies", b"").decode("latin-1"))
        said, _, signature = (found[1] if found else "").rpartition(".")
        user_id, _, until = said.partition(".")
        if said and hmac.compare_digest(self._sign("session", said).encode(), signature.encode()):
            return UUID(user_id) if int(until) > time.time() else None
        return DEVELOPMENT_USER if local else None

    def token(self, user_id: UUID, code: str) -> str:
        return self._sign("form", f"{user_id}.{code}")

    def _sign(self, purpose: str, said: str) -> str:
        if self._secret is None:
            raise NotConfigured("Nobody signs in here: the operator has to set SESSION_SECRET.")
        key = self._secret.get_secret_value().encode()
        return hmac.new(key, f"{purpose}\n{said}".encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


async def _form(request: Request) -> dict[str, str]:
    """Raises Invalid. Only this page's own forms come with its origin."""
    origin = request.headers.get("origin")
    if origin is not None and origin != "null" and origin.partition("://")[2] != request.headers.get("host"):
        raise Unauthenticated("The form is not of this page.")
    # Read here: the framework's reader takes the encoding that a form names, and some take a minute for a megabyte.
    is_form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    try:
        fields = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Invalid("The body is not a form of this page.") from error
    if not is_form:
        raise Invalid("The body is not a form of this page.")
    return dict(fields)


def _sign_in_form(code: str) -> str:
    return f"""
      <form method="post" action="{PAGE}/sign-in">
        <input type="hidden" name="code" value="{escape(code)}">
        <label for="email">E-mail</label>
        <input id="email" name="email" type="email" autocomplete="username" required>
        <label for="password">Password</label>
        <input id="password" name="password" type="password" autocomplete="current-password" required>
        <div class="row"><button>Sign in</button></div>
      </form>"""


def _code_form() -> str:
    """What the device shows, typed; the decision is asked for on the next page."""
    return f"""
      <form method="get" action="{PAGE}">
        <label for="code">Code</label>
        <input id="code" name="code" autocomplete="off" required>
        <div class="row"><button>Continue</button></div>
      </form>"""


def _decision_form(code: str, name: str, token: str) -> str:
    return f"""
      <p>You are signed in as <strong>{escape(name)}</strong>. A device asks to be signed in as you: to see what you
      made, to make things, and to spend your credits, until its token ends. Allow it only if it is yours and shows
      this code.</p>
      <form method="post" action="{PAGE}">
        <input type="hidden" name="token" value="{token}">
        <label for="code">Code</label>
        <input id="code" name="code" value="{escape(code)}" {"readonly" if code else "required"}>
        <div class="row">
          <button name="decision" value="allow">Allow</button>
          <button name="decision" value="refuse" class="quiet">Refuse</button>
        </div>
      </form>"""


def _render(refusal: Refusal) -> Response:
    return _page(refusal.title, f"<p>{escape(refusal.message)}</p>", refusal.status)


def _page(title: str, content: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(
        f"""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>{escape(title)} · Darkroom</title>
    <meta name="color-scheme" content="light dark">
    <link rel="icon" href="/studio/icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="/studio/studio.css">
  </head>
  <body>
    <main>
      <section class="narrow">
        <h1>{escape(title)}</h1>{content}
      </section>
    </main>
  </body>
</html>""",
        status,
        _HEADERS,
    )
