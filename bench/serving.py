"""What it takes to serve one file: storage by itself, nginx by itself, and storage handing over to nginx.

The client is the same for all: a few threads that read into a buffer and look at nothing.
"""

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from darkroom.embedded.ports import free_port

CONNECTIONS = 8
BUFFER_BYTES = 1 << 20
START_SECONDS = 20.0
HANDED_OVER = "/kept"
"""MEDIA_ACCEL_PREFIX of a storage that stands behind nginx."""
_KEPT = Path(__file__).parent.parent / "deploy/nginx/kept.conf"
_NGINX = """
{user}daemon off; worker_processes 2; error_log {folder}/error.log; pid {folder}/pid; events {{ }}
http {{ access_log off; sendfile on; tcp_nopush on; client_body_temp_path {folder}/body;
proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
keepalive_requests 1000000;
upstream storage {{ server {storage}; keepalive 8; }}
server {{ listen 127.0.0.1:{port};
  location /plain/ {{ alias {media}/; }}
  {kept}
  location /media/ {{ proxy_pass http://storage; proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}
"""


@dataclass
class Served:
    """Answers of one server: how many a second in each round, and CPU-milliseconds of its processes for each."""

    per_second: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def ratio(self, other: "Served") -> float:
        """Of the rates, round by round."""
        return middle([ours / theirs for ours, theirs in zip(self.per_second, other.per_second, strict=True)])


def middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def fetch(url: str, number: int, size: int) -> float:
    """Answers per second, each whole."""
    address = urlsplit(url)
    turns = iter(range(number))

    def some() -> None:
        buffer = bytearray(BUFFER_BYTES)
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        for _ in turns:
            connection.request("GET", address.path)
            answer = connection.getresponse()
            received = 0
            while count := answer.readinto(buffer):
                received += count
            assert (answer.status, received) == (200, size), (answer.status, received)
        connection.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for each in [threads.submit(some) for _ in range(CONNECTIONS)]:
            each.result()
    return number / (time.perf_counter() - began)


def measured(servers: dict[str, tuple[str, list[psutil.Process]]], number: int, size: int) -> dict[str, Served]:
    """Three rounds, in each of which everybody has a turn; address and processes of each by name."""
    found = {name: Served() for name in servers}
    for url, _ in servers.values():
        fetch(url, CONNECTIONS * 2, size)
    for _ in range(3):
        for name, (url, processes) in servers.items():
            before = _cpu_seconds(processes)
            found[name].per_second.append(fetch(url, number, size))
            found[name].cpu_ms.append(1000 * (_cpu_seconds(processes) - before) / number)
    return found


def nginx_path() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")


@contextlib.contextmanager
def nginx(folder: Path, media: Path, storage_url: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server that has `media` below /plain/, and below /media/ what storage hands over; its address and process."""
    folder.mkdir()
    port = free_port()
    storage = storage_url.removeprefix("http://")
    configuration = folder / "nginx.conf"
    user = "user root; " if os.geteuid() == 0 else ""  # nginx's workers have to be who storage is, to read its files
    kept = _KEPT.read_text().replace("/var/lib/media/", f"{media}/")
    places = {"folder": folder, "media": media, "storage": storage, "kept": kept}
    configuration.write_text(_NGINX.format(port=port, user=user, **places))
    command = [nginx_path() or "nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(configuration)]
    with _running(command, port) as process:
        yield f"http://127.0.0.1:{port}", process


@contextlib.contextmanager
def aiohttp_files(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A server in Python that has the kernel send the files; its address and process."""
    port = free_port()
    script = f"from aiohttp import web; a = web.Application(); a.router.add_static('/', {str(folder)!r}); "
    script += f"web.run_app(a, host='127.0.0.1', port={port}, print=None, access_log=None)"
    with _running([sys.executable, "-c", script], port) as process:
        yield f"http://127.0.0.1:{port}", process


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[psutil.Process]:
    process = subprocess.Popen(command)
    try:
        _wait_for(port)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
            return
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.1)
        finally:
            connection.close()


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    used = [each.cpu_times() for one in processes for each in (one, *one.children())]
    return sum(each.user + each.system for each in used)
