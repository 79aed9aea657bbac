"""Free ports on loopback."""

import random
import socket

LOOPBACK = "127.0.0.1"

# Below the range from which Linux takes the ports of outgoing connections (32768 and up): a server that is killed
# and started again must find its port free, and no client may have been given it meanwhile.
_LOWEST_PORT = 10_000
_HIGHEST_PORT = 32_767
_ATTEMPTS = 200

# Ports given out are not given out again by this process, although nothing may listen on them yet.
_given_out: set[int] = set()


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Servers set this too. Without it, a port would seem taken for a minute after its server was killed.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(*, companion_offset: int = 0) -> int:
    """A free port. With a `companion_offset`, the port that much higher is free as well and kept for the caller."""
    for _ in range(_ATTEMPTS):
        port = random.randint(_LOWEST_PORT, _HIGHEST_PORT - companion_offset)
        wanted = {port, port + companion_offset}
        if wanted.isdisjoint(_given_out) and all(is_free(each) for each in wanted):
            _given_out.update(wanted)
            return port
    raise OSError(f"no free port on {LOOPBACK} in {_ATTEMPTS} attempts")


def free_ports(count: int, *, companion_offset: int = 0) -> list[int]:
    """As many different free ports, none of them the companion of another."""
    return [free_port(companion_offset=companion_offset) for _ in range(count)]


def require_free(*ports: int) -> None:
    """Raises OSError when a port is taken, so that nobody mistakes another server there for the new one."""
    taken = [port for port in ports if not is_free(port)]
    if taken:
        raise OSError(f"already in use on {LOOPBACK}: port {', '.join(map(str, taken))}")
