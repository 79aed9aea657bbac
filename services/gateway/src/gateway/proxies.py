"""What proxies before the gateway say of a client: believed only from the networks that the operator named."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from uuid import UUID

from starlette.requests import HTTPConnection

from contracts.ids import user_of
from gateway.settings import DoorSettings

MAX_NAME_CHARACTERS = 255
ISSUER = "darkroom/proxy"
NETWORK_BITS = 64
"""What one line or one machine is given of IPv6."""


class Proxies:
    """The trusted ones."""

    def __init__(self, settings: DoorSettings) -> None:
        named = filter(None, map(str.strip, settings.proxy_networks.split(",")))
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(network) for network in named]
        self._header = settings.proxy_user_header

    def user(self, connection: HTTPConnection) -> UUID | None:
        """Whom a trusted proxy names; None from everybody else, whatever they send.

        Always derived from the name: somebody may be called like another user's id.
        """
        if self._header is None or not self._is_trusted(_peer(connection)):
            return None
        names = [name.strip() for name in connection.headers.getlist(self._header)]
        if len(names) != 1 or not names[0] or len(names[0]) > MAX_NAME_CHARACTERS:
            return None
        return user_of(ISSUER, f"name {names[0]}")

    def address(self, connection: HTTPConnection) -> str:
        """Where a request comes from: the last address that no trusted proxy has, and of IPv6 its network (/64), of
        which whoever has one address has all: by single ones nobody could be bounded."""
        address = _peer(connection)
        passed = ",".join(connection.headers.getlist("x-forwarded-for")).split(",")
        while passed and self._is_trusted(address):
            before = passed.pop().strip()
            if not _is_address(before):
                break
            address = before
        return _place(address)

    def _is_trusted(self, address: str) -> bool:
        if not _is_address(address):
            return False
        known = _known(address)
        return any(known in network for network in self._networks)


def _peer(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""


def _known(address: str) -> IPv4Address | IPv6Address:
    known = ip_address(address)
    return getattr(known, "ipv4_mapped", None) or known  # as a socket of both families names its peers


def _place(address: str) -> str:
    if not _is_address(address):
        return address
    known = _known(address)
    return str(known if known.version == 4 else ip_network((int(known), NETWORK_BITS), strict=False))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
