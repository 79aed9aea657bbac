"""Who asks: bearer tokens of every issuer, API keys, what a trusted proxy says, and the development user."""

import asyncio
import math
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import sha256
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import jwt
import structlog
from starlette.requests import Request
from yarl import URL

from contracts.ids import user_of
from gateway.api_keys.ring import ACCOUNT, Key, Ring, given_key
from gateway.linking import MAX_EMAIL_CHARACTERS, Links
from gateway.proxies import Proxies
from gateway.rates import Rates
from gateway.refusals import OperatorsOnly, Refusal, Unauthenticated, Unavailable
from gateway.settings import DoorSettings, TokenSettings
from gateway.tokens import Issuer, Tokens, signing_keys
from runtime.health import is_transient
from runtime.outbound import OutboundSettings, Refused, Unreachable, fetch, make_session

DEVELOPMENT_USER = UUID("00000000-0000-4000-8000-00000000d0d0")
AUDIENCE = "authenticated"
SERVICE_ROLE = "service_role"
OPERATOR = "operator"
"""What `app_metadata.roles` of an operator's token holds: only the issuer writes there, never its user."""
NOBODY = UUID(int=0)
"""Whom a service key names: it may act for others, and has no user of its own."""
LEEWAY_SECONDS = 10
MAX_TOKEN_CHARACTERS = 8192
BELIEVED_SECONDS = 60.0
"""How long a token that was verified is not verified again, should it live so long."""
MAX_TOKENS_BELIEVED = 10_000
JWKS_LIFETIME_SECONDS = 600
JWKS_PAUSE_SECONDS = 30
"""Between two fetches that an unknown key id may cause."""
JWKS_RETRY_SECONDS = 1
"""Between two attempts while no key is known at all."""
JWKS_MAX_BYTES = 1 << 18
JWKS_TIMEOUT_SECONDS = 5
_OURS = frozenset(issuer.value for issuer in Issuer)
"""Whom no other key speaks for."""
PUBLIC_KEY_ALGORITHMS = {"ES256": "EC", "RS256": "RSA", "EdDSA": "OKP"}

log = structlog.get_logger()


def jwks_url(settings: TokenSettings) -> str | None:
    """Where the operator says that the issuer's public keys are."""
    if settings.supabase_jwks_url or settings.supabase_url is None:
        return settings.supabase_jwks_url
    return f"{settings.supabase_url.rstrip('/')}/auth/v1/.well-known/jwks.json"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user, or NOBODY with the service role; `role` is the token's.

    `is_verified`: the token says that the user's e-mail address was verified (OpenID's `email_verified`).
    """

    user_id: UUID
    role: str = "authenticated"
    is_verified: bool = False
    key: Key | None = None
    """The API key that asks, where one does."""
    session_id: UUID | None = None
    """GoTrue's, where the token is of one."""
    is_operator: bool = False
    """Whether the token's issuer says so; no API key and no proxy does."""
    alias: UUID | None = None
    """Whom the token itself names, where a verified address says that this is `user_id`: the user's own other name."""

    def meant(self, user_id: UUID) -> UUID:
        """Whom this caller means by a user's id: themselves by their own other name, everybody by no other."""
        return self.user_id if user_id == self.alias else user_id

    @property
    def is_service(self) -> bool:
        return self.role == SERVICE_ROLE

    def may_manage(self) -> None:
        """Raises ScopeMissing where an API key asks that is not for keys, money and who may sign in: what it may do
        and spend is bounded, and ends when it is revoked."""
        if self.key is not None:
            self.key.need(ACCOUNT)


class Keys:
    """The public keys of the configured issuer: fetched from one fixed address, kept, never from a token's header."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = -math.inf
        self._tried_at = -math.inf
        self._fetching = asyncio.Lock()

    async def key(self, key_id: str) -> jwt.PyJWK | None:
        if self._url is None:
            return None
        # Whoever needs what is being fetched waits for it: without the keys every token looks forged.
        if self._wants(key_id) or (key_id not in self._keys and self._fetching.locked()):
            async with self._fetching:
                if self._wants(key_id):
                    await self._fetch(self._url)
        if not self._keys:
            raise Unavailable("The keys of the token's issuer cannot be fetched right now.")
        return self._keys.get(key_id)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _wants(self, key_id: str) -> bool:
        now = time.monotonic()
        if not self._keys:
            return now - self._tried_at > JWKS_RETRY_SECONDS
        is_missing = key_id not in self._keys or now - self._fetched_at > JWKS_LIFETIME_SECONDS
        return is_missing and now - self._tried_at > JWKS_PAUSE_SECONDS

    async def _fetch(self, url: str) -> None:
        self._tried_at = time.monotonic()
        if self._session is None:
            # The operator named this one address, wherever it is; nothing leads from it to another.
            self._session = make_session(OutboundSettings(outbound_allow=_host_and_port(url)))
        try:
            async with fetch(
                self._session, url, max_bytes=JWKS_MAX_BYTES, deadline_seconds=JWKS_TIMEOUT_SECONDS, redirects=0
            ) as download:
                document = b"".join([chunk async for chunk in download.chunks()])
            found = jwt.PyJWKSet.from_json(document.decode())
        except (Refused, Unreachable, jwt.PyJWTError, ValueError, AttributeError) as error:
            # What is no key set at all fails in PyJWT as it comes, hence the last two.
            log.warning("jwks.not_fetched", error=f"{type(error).__name__}: {error}"[:200])
            return
        self._keys = {key.key_id: key for key in found.keys if key.key_id}
        self._fetched_at = time.monotonic()


def _host_and_port(url: str) -> str:
    address = URL(url)
    return f"{address.host}:{address.port}"


class Identity:
    """Turns a request into a caller."""

    def __init__(
        self,
        settings: TokenSettings,
        keys: Keys,
        *,
        local_mode: bool,
        proxies: Proxies | None = None,
        links: Links | None = None,
        ring: Ring | None = None,
        rates: Rates | None = None,
        sessions: Tokens | None = None,
    ) -> None:
        self._secret = settings.supabase_jwt_secret
        self._issuer = f"{settings.supabase_url.rstrip('/')}/auth/v1" if settings.supabase_url else None
        self._own = signing_keys(settings)
        self._keys = keys
        self._believed: OrderedDict[bytes, tuple[float, Caller | None]] = OrderedDict()
        """What verified tokens say, by their hash, and until when."""
        self.local_mode = local_mode
        self.proxies = proxies or Proxies(DoorSettings())
        self._links = links
        self._ring = ring
        self._rates = rates
        self._sessions = sessions

    async def caller(self, request: Request) -> Caller | None:
        """The user of the token, the API key or the trusted proxy's header; NOBODY for a service's key; None where
        there is none of them, or an anonymous key.

        What surrounds the routes finds the user in the request's state.

        Raises:
            Unauthenticated: a token or a key that is not to be believed.
            ScopeMissing, TooManyRequests: the API key may not do this, or not so often.
            Unavailable: its issuer's keys cannot be had now.
        """
        caller = await self._key(request) or await self._bearer(request)
        if caller is None and (named := self.proxies.user(request)) is not None:
            caller = Caller(named)
        if caller is not None and caller.user_id != NOBODY:
            request.state.user_id = caller.user_id
        return caller

    def is_local(self, request: Request) -> bool:
        """Whether who brings no token is the development user: on a stack of one's own machine.

        Not where a page of somewhere else asks, nor by a name that was rebound to this machine: whoever looks at a page
        has their browser ask here for whatever it likes, and it may read the answers.
        """
        asked, origins = request.headers.getlist("host"), request.headers.getlist("origin")
        return self.local_mode and all(map(is_of_this_machine, [*(f"//{host}" for host in asked), *origins]))

    async def still(self, request: Request) -> None:
        """Asks again who it is whom a request was let in for: it is none more for a key's limit. Where nobody can say
        now, it is still the same.

        Raises:
            Unauthenticated: the token has ended, or the key was revoked.
        """
        try:
            await self.caller(request)
        except Unauthenticated:
            raise
        except Exception as error:
            if not (isinstance(error, Refusal) or is_transient(error)):
                log.error("identity.not_asked_again", exc_info=error)

    async def required(self, request: Request) -> Caller:
        """The token's user.

        Raises:
            Unauthenticated: no token, or one that is not to be believed.
        """
        caller = await self.caller(request)
        if caller is None or caller.user_id == NOBODY:
            raise Unauthenticated("A bearer token of a user is required.")
        return caller

    async def operator(self, request: Request) -> Caller:
        """The token's user, who runs this house.

        Raises:
            Unauthenticated: no token, or one that is not to be believed. OperatorsOnly: somebody else's.
        """
        caller = await self.required(request)
        if not caller.is_operator:
            raise OperatorsOnly("Only an operator's token may do this.")
        return caller

    async def _key(self, request: Request) -> Caller | None:
        given = given_key(request) if self._ring is not None else None
        if given is None or self._ring is None:
            return None
        key = await self._ring.key(given)
        key.check(request.method, request.url.path)
        limit, is_counted = key.limit, "limits" in request.scope.get("state", {})
        if limit is not None and self._rates is not None and not is_counted:
            request.state.user_id, request.state.limits = key.user_id, [limit]
            await self._rates.take(limit)  # once a request, however often a route asks who it is
        return Caller(key.user_id, key=key)

    async def _bearer(self, request: Request) -> Caller | None:
        headers = request.headers.getlist("authorization")
        if not headers:
            return None
        scheme, _, token = ", ".join(headers).partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or " " in token or len(token) > MAX_TOKEN_CHARACTERS:
            raise Unauthenticated("The Authorization header has to be 'Bearer <token>'.")
        digest = sha256(token.encode()).digest()
        until, caller = self._believed.get(digest, (0.0, None))
        if time.time() < until:
            return caller
        claims = await self._verify(token)
        caller = await self._linked(_caller_of(claims), claims)
        await self._check_session(caller, claims)
        self._believed[digest] = (min(time.time() + BELIEVED_SECONDS, int(claims["exp"])), caller)
        if len(self._believed) > MAX_TOKENS_BELIEVED:
            self._believed.popitem(last=False)
        return caller

    async def _verify(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            key: Any = None
            issuer = self._issuer if algorithm != "HS256" else None
            if not isinstance(algorithm, str) or "crit" in header:
                raise Unauthenticated("The token is not valid.")
            if algorithm == "HS256" and header.get("kid") in self._own:
                key, issuer = self._own[header["kid"]], header["kid"]
            elif algorithm == "HS256" and self._secret is not None:
                key = self._secret.get_secret_value()
            elif algorithm in PUBLIC_KEY_ALGORITHMS and isinstance(header.get("kid"), str):
                found = await self._keys.key(header["kid"])
                if found is not None and found.key_type == PUBLIC_KEY_ALGORITHMS[algorithm]:
                    key = found.key
            if key is None:
                raise Unauthenticated("The token is not signed by a known issuer.")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp"], "verify_aud": False},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("The token has expired.") from error
        except jwt.PyJWTError as error:
            raise Unauthenticated("The token is not valid.") from error
        if not _is_for_us(claims):
            raise Unauthenticated("The token is for somebody else.")
        if claims.get("iss") in _OURS and claims["iss"] != issuer:
            raise Unauthenticated("The token is not signed by the issuer that it names.")
        return claims

    async def _check_session(self, caller: Caller | None, claims: dict[str, Any]) -> None:
        """A device's token is good for a month, unless its session is ended: it is refused within BELIEVED_SECONDS."""
        if self._sessions is None or caller is None or caller.session_id is None or claims.get("iss") != Issuer.JAAZ:
            return
        if not await self._sessions.goes_on(caller.session_id):
            raise Unauthenticated("This device was signed out.")

    async def _linked(self, caller: Caller | None, claims: dict[str, Any]) -> Caller | None:
        """The user whom a verified e-mail address names, whoever signed the token; ours name him already."""
        email, issuer = claims.get("email"), str(claims.get("iss", ""))
        if self._links is None or caller is None or not caller.is_verified or issuer in self._own:
            return caller
        if not isinstance(email, str) or not 0 < len(email) <= MAX_EMAIL_CHARACTERS or "\0" in email:
            return caller
        user_id = await self._links.user(issuer, str(claims["sub"]), email, caller.user_id)
        return replace(caller, user_id=user_id, alias=caller.user_id)


def is_of_this_machine(address: str) -> bool:
    """Whether an address names the machine that it is asked on (RFC 6761, 6.3)."""
    host = ""
    try:
        host = urlsplit(address).hostname or ""
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _caller_of(claims: dict[str, Any]) -> Caller | None:
    subject, role = claims.get("sub"), str(claims.get("role", "authenticated"))
    if subject:
        user_id = user_of(str(claims.get("iss", "")), str(subject))
        session_id = claims.get("session_id")
        return Caller(
            user_id,
            role,
            is_verified=claims.get("email_verified") is True,
            session_id=UUID(session_id) if _is_uuid(session_id) else None,
            is_operator=_is_operator(claims.get("app_metadata")),
        )
    return Caller(NOBODY, role) if role == SERVICE_ROLE else None


def _is_operator(metadata: Any) -> bool:
    roles = metadata.get("roles") if isinstance(metadata, dict) else None
    return isinstance(roles, list) and OPERATOR in roles


def _is_for_us(claims: dict[str, Any]) -> bool:
    """A user's token names its audience. Supabase's anonymous and service keys name neither a user nor one."""
    audience = claims.get("aud")
    if audience is None:
        return claims.get("sub") is None
    return AUDIENCE in (audience if isinstance(audience, list) else [audience])


def _is_uuid(said: Any) -> bool:
    try:
        return isinstance(said, str) and bool(UUID(said))
    except ValueError:
        return False
