"""The one way out: HTTP to addresses that others named, without reaching what is ours.

A session from `make_session` refuses, on every request and every redirect, what is not https on port 443 to a public
address. Names are resolved once, every answer must be public, and the connection goes to the address that was checked,
with the name kept for Host and TLS. The operator's allow-list is the only exception. `fetch` adds limits on bytes,
seconds and redirects.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from socket import AddressFamily
from typing import Annotated

import aiohttp
from aiohttp.abc import ResolveResult
from pydantic import AfterValidator, Field
from yarl import URL

from runtime.settings import Fragment

MAX_REDIRECTS = 3
CONNECT_TIMEOUT_SECONDS = 5.0
SILENCE_TIMEOUT_SECONDS = 60.0
CONNECTIONS = 256

# The registries of special addresses (RFC 6890 and after), and what clouds keep for themselves.
_NOT_PUBLIC_V4 = (
    IPv4Network("0.0.0.0/8"),  # this host
    IPv4Network("10.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # carriers' and clouds' inside
    IPv4Network("127.0.0.0/8"),
    IPv4Network("168.63.129.16/32"),  # Azure's host
    IPv4Network("169.254.0.0/16"),  # link-local: metadata services
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.0.2.0/24"),  # documentation, as 198.51.100 and 203.0.113
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("192.168.0.0/16"),
    IPv4Network("198.18.0.0/15"),  # benchmarks
    IPv4Network("198.51.100.0/24"),
    IPv4Network("203.0.113.0/24"),
    IPv4Network("224.0.0.0/3"),  # multicast, reserved, broadcast
)
# Only 2000::/3 is given out. Inside it: protocol assignments with Teredo, documentation, and 6to4 with a v4 inside.
_PUBLIC_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_WRITTEN_IN_FULL = re.compile(r"[!-~]+")


class Refused(Exception):
    """This address, or what it answers, will never be acceptable: trying again is useless."""


class Gone(Refused):
    """The server answered that it does not give this (any more): 401, 403, 404 or 410."""


class Unreachable(Exception):
    """No usable answer this time. No OSError: a stranger's server being away is no reason for a fact to wait."""


class OutboundSettings(Fragment):
    """What the operator lets the services reach besides the public internet."""

    outbound_allow: Annotated[str, AfterValidator(lambda text: Allowed.parse(text) and text)] = Field(
        default="",
        description="comma-separated host:port or networks (CIDR) that may be reached, on any port and without TLS",
    )


@dataclass(frozen=True, slots=True)
class Allowed:
    """The operator's exceptions."""

    hosts: frozenset[tuple[str, int]] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Allowed":
        """Raises ValueError for an entry that is neither host:port nor an address or network."""
        hosts: set[tuple[str, int]] = set()
        networks: list[IPv4Network | IPv6Network] = []
        for entry in filter(None, map(str.strip, text.split(","))):
            try:
                networks.append(ip_network(entry, strict=False))
            except ValueError:
                host, _, port = entry.rpartition(":")
                if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
                    raise ValueError("an entry is neither host:port nor a network") from None
                hosts.add((host.strip("[]").lower(), int(port)))
        return cls(frozenset(hosts), tuple(networks))

    def has(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self.networks if network.version == address.version)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address belongs to somebody on the internet. Python's `is_global` lets several others pass."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _PUBLIC_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def check_url(url: URL, allowed: Allowed) -> None:
    """Raises Refused for what can be refused before a name is resolved."""
    host, port = url.raw_host, url.port
    if url.scheme not in {"http", "https"} or not host or port is None:
        raise Refused("the address is not one of http or https")
    if url.user is not None or url.password is not None:
        raise Refused("the address carries a user name or password")
    if (host, port) in allowed.hosts:
        return
    address = _literal(host)
    if (allowed.networks and port != 443) if address is None else allowed.has(address):
        return  # of a name the resolver decides, once it knows whether that leads into one of them
    if url.scheme != "https" or port != 443:
        raise Refused("only https on port 443 is allowed")
    if address is not None and not is_public(address):
        raise Refused("the address is not public")


def make_session(settings: OutboundSettings, headers: Mapping[str, str] | None = None) -> aiohttp.ClientSession:
    """A guarded session, to be made once per process inside the event loop and closed by the caller.

    Raises:
        ValueError: the allow-list is malformed.
    """
    allowed = Allowed.parse(settings.outbound_allow)

    async def guard(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        check_url(request.url, allowed)
        return await handler(request)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=_Resolver(allowed), limit=CONNECTIONS),
        middlewares=(guard,),
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_SECONDS, sock_read=SILENCE_TIMEOUT_SECONDS
        ),
        trust_env=False,
    )


@dataclass(frozen=True, slots=True)
class Download:
    """An answer whose body has not been read yet."""

    response: aiohttp.ClientResponse
    max_bytes: int

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, as it arrives.

        Raises:
            Refused: it is longer than allowed, whatever its headers say.
            Unreachable: it ended too early.
        """
        received = 0
        try:
            async for chunk in self.response.content.iter_any():
                received += len(chunk)
                if received > self.max_bytes:
                    raise Refused(f"the answer is larger than {self.max_bytes} bytes")
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"the answer broke off after {received} bytes ({type(error).__name__})") from error


@asynccontextmanager
async def fetch(
    session: aiohttp.ClientSession,
    url: str,
    *,
    max_bytes: int,
    deadline_seconds: float,
    redirects: int = MAX_REDIRECTS,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[Download]:
    """Gets an address that somebody else named; the deadline includes reading the body inside the block.

    Whoever asks for a part by `headers` has to look whether the answer is one (status 206).

    Raises:
        Refused: the address, a redirect, the status (4xx; Gone where it says so) or the length is not acceptable.
        Unreachable: connection, time, or the server (408, 425, 429, 5xx) failed.
    """
    target = _parsed(url)
    try:
        async with asyncio.timeout(deadline_seconds) as timer:
            for _ in range(redirects + 1):
                async with await _get(session, target, headers or {}) as response:
                    location = response.headers.get("Location")
                    if location is None or response.status not in {301, 302, 303, 307, 308}:
                        _check_answer(response, max_bytes)
                        yield Download(response, max_bytes)
                        return
                    target = target.join(_parsed(location))
            raise Refused(f"more than {redirects} redirects")
    except TimeoutError:
        if not timer.expired():
            raise
        raise Unreachable(f"no whole answer within {deadline_seconds:.0f} s") from None


async def _get(session: aiohttp.ClientSession, target: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
    try:
        # Nothing is decompressed: a few bytes could become gigabytes, and media does not compress.
        return await session.get(
            target, allow_redirects=False, auto_decompress=False, headers={"Accept-Encoding": "identity", **headers}
        )
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, UnicodeError) as error:
        raise Refused("the address is not one of http or https") from error  # or its name is none: a..b, 64 letters
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"no connection ({type(error).__name__})") from error


def _check_answer(response: aiohttp.ClientResponse, max_bytes: int) -> None:
    if response.status in {408, 425, 429} or response.status >= 500:
        raise Unreachable(f"the server answered {response.status}")
    if response.status not in {200, 206}:
        raise (Gone if response.status in {401, 403, 404, 410} else Refused)(f"the server answered {response.status}")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused("the answer is compressed although that was not asked for")
    if response.content_length is not None and response.content_length > max_bytes:
        raise Refused(f"the answer is larger than {max_bytes} bytes")


def _parsed(text: str) -> URL:
    # An address written in full is sent as it is: re-quoting would break the signature in many a query.
    try:
        url = URL(text, encoded=_WRITTEN_IN_FULL.fullmatch(text) is not None)
        if url.user is not None or url.password is not None:
            raise Refused("the address carries a user name or password")  # aiohttp would make a header of them
    except ValueError as error:
        raise Refused("the address is malformed") from error
    return url


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, None for a name. 127.1, 0177.0.0.1 and 2130706433 are refused, not interpreted."""
    if ":" not in host and not host.replace(".", "").isdigit():
        return None
    try:
        return ip_address(host)
    except ValueError:
        raise Refused("the address is written in an unusual way") from None


class _Resolver(aiohttp.ThreadedResolver):
    """Resolves a name, and refuses it when a single one of its addresses is not public."""

    def __init__(self, allowed: Allowed) -> None:
        super().__init__()
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        named = (host, port) in self._allowed.hosts
        for each in found:
            address = ip_address(each["host"])
            if not (named or self._allowed.has(address) or (port == 443 and is_public(address))):
                raise Refused("the name leads to an address that is not allowed")
        return found
