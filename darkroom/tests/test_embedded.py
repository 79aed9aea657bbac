"""The embedded servers keep what they acknowledged through kill -9, and never outlive their parent."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import nats
import nats.errors
import psutil
import pytest
from minio import Minio

from darkroom.embedded import (
    NatsServer,
    PostgresServer,
    Process,
    ProcessDiedError,
    ProcessNotReadyError,
    S3Server,
    free_port,
    free_ports,
)
from darkroom.embedded.ports import is_free
from darkroom.embedded.postgres import execute
from darkroom.embedded.process import minimal_environment

pytestmark = pytest.mark.connected

PARENT = """
import sys, time
from pathlib import Path
from darkroom.embedded import {kind}
server = {kind}(Path(sys.argv[1]), port=int(sys.argv[2]))
server.start()
print(server.process.pid, flush=True)
time.sleep(60)
"""


@contextmanager
def started(server: Any) -> Iterator[Any]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def is_gone(pid: int) -> bool:
    """A zombie counts: who reaps an orphan is up to the machine."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


async def eventually(ask: Callable[[], Awaitable[Any]]) -> Any:
    """The answer once the client has come back: it may not even have noticed yet that its server was gone."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await ask()
            except (nats.errors.Error, OSError):
                await asyncio.sleep(0.05)


def python(tmp_path: Path, code: str, name: str = "child", **options: Any) -> Process:
    argv = [sys.executable, "-c", code]
    return Process(name, argv, log_path=tmp_path / "logs" / f"{name}.log", env=minimal_environment(), **options)


async def test_nats_keeps_acknowledged_messages_through_a_crash_and_clients_come_back(tmp_path: Path) -> None:
    async def ignore(_: Exception) -> None: ...

    with started(NatsServer(tmp_path, server_name="node-1")) as server:
        client = await nats.connect(
            server.nats_url, error_cb=ignore, max_reconnect_attempts=-1, reconnect_time_wait=0.1, ping_interval=10
        )
        try:
            assert client.connected_server_version.major >= 2
            assert client.max_payload == 8 * 1024 * 1024
            stream = client.jetstream(timeout=0.5)
            await stream.add_stream(name="FACTS", subjects=["facts.>"])
            await stream.publish("facts.one", b"kept")

            pid = server.process.pid
            server.kill()
            assert is_gone(pid)
            server.start()

            assert (await eventually(lambda: stream.get_msg("FACTS", 1))).data == b"kept"

            server.wipe()
            assert await eventually(stream.streams_info) == []
        finally:
            await client.close()
    assert server.process.returncode == 0, "stops in order"


def test_nats_does_not_mistake_another_server_on_its_port_for_itself(tmp_path: Path) -> None:
    with started(NatsServer(tmp_path / "first")) as first:
        second = NatsServer(tmp_path / "second", port=first.port)
        with pytest.raises(OSError, match=str(first.port)):
            second.start()


async def test_postgres_keeps_committed_rows_through_a_crash(tmp_path: Path) -> None:
    # As under /root: only its owner may enter.
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with started(PostgresServer(closed)) as server:
        connection = await asyncpg.connect(server.admin_url)
        await connection.execute("CREATE TABLE kept (id uuid DEFAULT uuidv7(), word text)")
        await connection.execute("INSERT INTO kept (word) VALUES ('still here')")
        settings = "fsync", "synchronous_commit", "shared_buffers", "max_connections", "unix_socket_directories"
        found = [await connection.fetchval("SELECT current_setting($1)", setting) for setting in settings]
        assert found == ["on", "on", "64MB", "200", ""]

        server.kill()
        connection.terminate()
        assert (closed / "postgres/data/postmaster.pid").exists(), "a crash leaves the lock behind"
        server.start()
        assert execute(server.admin_url, "SELECT word FROM kept") == "still here"

        # After a reboot, the process id in the lock may belong to anything else of the same user.
        server.kill()
        user = 65534 if os.geteuid() == 0 else None
        other = Process("other", ["sleep", "60"], log_path=tmp_path / "other.log", env=minimal_environment(), user=user)
        other.start()
        try:
            lock = closed / "postgres/data/postmaster.pid"
            lock.write_text("\n".join([str(other.pid), *lock.read_text().splitlines()[1:], ""]))
            server.start()
        finally:
            other.kill()
        assert execute(server.admin_url, "SELECT word FROM kept") == "still here"

        same_data = PostgresServer(closed)
        with pytest.raises(RuntimeError, match="already"):
            same_data.start()
    assert server.process.returncode == 0, "stops in order"

    with started(PostgresServer(closed)) as elsewhere:
        assert elsewhere.port != server.port
        assert execute(elsewhere.admin_url, "SELECT word FROM kept") == "still here"


async def test_postgres_asks_for_its_password(postgres_server: Any) -> None:
    address = urlsplit(postgres_server.admin_url)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(address._replace(netloc=f"postgres:guess@{address.hostname}:{address.port}").geturl())
    with pytest.raises(RuntimeError, match="syntax error"):
        execute(postgres_server.admin_url, "SELEC 1")


def test_s3_keeps_objects_through_a_crash_and_on_other_ports(tmp_path: Path) -> None:
    def client(server: S3Server) -> Minio:
        host = server.endpoint.removeprefix("http://")
        return Minio(host, server.access_key, server.secret_key, secure=False)

    content = os.urandom(300_000)
    with started(S3Server(tmp_path)) as server:
        client(server).put_object(server.bucket, "one.png", io.BytesIO(content), len(content))
        server.kill()
        server.start()
        assert client(server).get_object(server.bucket, "one.png").read() == content
        assert (tmp_path / "s3/ids.json").stat().st_mode & 0o777 == 0o600
        server.kill()
    with started(S3Server(tmp_path)) as elsewhere:
        assert elsewhere.port != server.port
        assert client(elsewhere).get_object(elsewhere.bucket, "one.png").read() == content
        elsewhere.kill()
    sockets = [path.name for path in Path("/tmp").glob("seaweedfs-*.sock")]
    assert not [name for name in sockets if str(server.port) in name or str(elsewhere.port) in name]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
@pytest.mark.parametrize("kind", ["NatsServer", "PostgresServer"])
def test_a_server_dies_with_its_parent(tmp_path: Path, kind: str) -> None:
    port = free_port()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(kind=kind), tmp_path, str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        assert not is_gone(server)
    finally:
        parent.kill()
        parent.communicate()
    wait_until(lambda: is_gone(server) and is_free(port))


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    child = python(tmp_path, "import time; time.sleep(60)")
    thread = threading.Thread(target=child.start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    try:
        assert child.running
        assert os.getsid(child.pid) == child.pid, "Ctrl-C in the terminal does not reach it"
    finally:
        child.kill()
    assert child.returncode == -signal.SIGKILL


def test_an_early_death_tells_the_end_of_the_log_of_this_run_only(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "child.log").write_text("from an earlier run\n")
    child = python(tmp_path, "import sys; sys.exit('no space left')")
    child.start()
    with pytest.raises(ProcessDiedError, match=r"status 1(?s:.)*no space left") as raised:
        child.wait_ready(lambda: False)
    assert "earlier" not in str(raised.value)
    assert "earlier" in (tmp_path / "logs" / "child.log").read_text()


def test_a_child_that_is_never_ready_is_not_left_behind(tmp_path: Path) -> None:
    child = python(tmp_path, "import time; print('waiting for a lock', flush=True); time.sleep(60)")
    child.start()
    with pytest.raises(ProcessNotReadyError, match="waiting for a lock"):
        child.wait_ready(lambda: False, timeout_seconds=0.5)
    assert not child.running


def test_stopping_is_bounded_and_reaches_the_whole_group(tmp_path: Path) -> None:
    stubborn = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)\n"
        "time.sleep(60)"
    )
    child = python(tmp_path, stubborn)
    child.start()
    child.wait_ready(lambda: child.log_tail().isdigit())
    grandchild = int(child.log_tail())
    child.stop(timeout_seconds=0.2)
    assert child.returncode == -signal.SIGKILL
    wait_until(lambda: is_gone(grandchild))


def test_ports_are_free_different_and_leave_room_for_their_companions() -> None:
    ports = free_ports(10, companion_offset=10_000)
    assert len({*ports, *(port + 10_000 for port in ports)}) == 20
    assert all(is_free(port) and is_free(port + 10_000) for port in ports)
    assert max(ports) + 10_000 < 32_768, "below the ports of outgoing connections"


async def test_every_module_gets_databases_of_its_own(make_database: Callable[[str], str]) -> None:
    first, second = make_database("ledger"), make_database("ledger")
    assert first != second
    for url in (first, second):
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE empty ()")
        await connection.close()


async def test_the_shared_servers_answer(nats_server: Any, s3_server: Any) -> None:
    client = await nats.connect(nats_server.nats_url)
    assert client.max_payload == 8 * 1024 * 1024
    await client.close()
    objects = Minio(
        s3_server.endpoint.removeprefix("http://"), s3_server.access_key, s3_server.secret_key, secure=False
    )
    assert objects.bucket_exists(s3_server.bucket)
