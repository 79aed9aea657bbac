"""Which port each part listens on: as asked, else as last time, else a free one.

Addresses of pictures stand in frontends' tables, so they should survive a restart.
"""

from collections.abc import Mapping

from darkroom.embedded import free_port
from darkroom.embedded.ports import is_free

S3_COMPANION_OFFSET = 10_000


def choose_ports(names: list[str], asked: Mapping[str, int], former: Mapping[str, int]) -> dict[str, int]:
    """A port for each name.

    Raises:
        OSError: a port that was asked for is taken, or asked for twice.
    """
    chosen = {name: port for name, port in asked.items() if name in names}
    for name, port in chosen.items():
        if others := [other for other in chosen if chosen[other] == port and other != name]:
            raise OSError(f"port {port} is asked for as the port of {name} and of {others[0]}")
        if not _usable(name, port):
            raise OSError(f"port {port}, asked for as the port of {name}, is in use already")
    for name in names:
        last = former.get(name)
        if name not in chosen and last and last not in chosen.values() and _usable(name, last):
            chosen[name] = last
    for name in names:
        if name not in chosen:
            chosen[name] = _another(name, set(chosen.values()) | set(former.values()))
    return chosen


def _usable(name: str, port: int) -> bool:
    return is_free(port) and (name != "s3" or is_free(port + S3_COMPANION_OFFSET))


def _another(name: str, taken: set[int]) -> int:
    while True:
        port = free_port(companion_offset=S3_COMPANION_OFFSET) if name == "s3" else free_port()
        if port not in taken:
            return port
