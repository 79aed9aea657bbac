"""The one place where tests get their servers: containers where a Docker engine answers, the embedded ones elsewhere.

The same tests run on both and none is skipped for want of Docker. A server starts when the first test asks for it, so a
run of pure tests starts none. The fixtures import what they need themselves, for the same reason.
"""

import gc
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

    from tests.tables import Tables

NATS_IMAGE = "nats:2.15-alpine"
POSTGRES_IMAGE = "postgres:18-alpine"
S3_IMAGE = "chrislusf/seaweedfs:4.48"

ENGINE_SECONDS = 2
PULL_SECONDS = 60  # without a byte of progress
READY_SECONDS = 60


class Server(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


class Nats(Server, Protocol):
    @property
    def nats_url(self) -> str: ...


class Postgres(Server, Protocol):
    @property
    def admin_url(self) -> str: ...


class S3(Server, Protocol):
    bucket: str

    @property
    def endpoint(self) -> str: ...
    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    """`nats_url`. One test's streams are there for the next: name them apart or remove them.

    Nobody here cuts the power, so neither this server nor the database waits for a disk.
    """
    from darkroom.embedded import NatsServer

    server: Nats = (
        ContainerNats() if can_run(NATS_IMAGE) else NatsServer(tmp_path_factory.mktemp("nats"), durable=False)
    )
    with running(server):
        yield server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """`admin_url`, a superuser's. Tests take a database of their own from `make_database`."""
    from darkroom.embedded import PostgresServer

    server: Postgres = (
        ContainerPostgres()
        if can_run(POSTGRES_IMAGE)
        else PostgresServer(tmp_path_factory.mktemp("postgres"), durable=False)
    )
    with running(server):
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """`endpoint` (with its scheme), `access_key`, `secret_key`, `bucket`."""
    from darkroom.embedded import S3Server

    server: S3 = ContainerS3() if can_run(S3_IMAGE) else S3Server(tmp_path_factory.mktemp("s3"))
    with running(server):
        yield server


@pytest.fixture(scope="module")
def make_database(postgres_server: Postgres) -> Iterator[Callable[..., str]]:
    """Call it with a name for the URL of a fresh database, dropped when the module's tests are done.

    It is empty, or a copy of the one at the URL `like`.
    """
    from darkroom.embedded.postgres import execute

    admin_url = postgres_server.admin_url
    created: list[str] = []

    def make(name: str, *, like: str = "/template1") -> str:
        created.append(create_database(admin_url, name, like))
        return created[-1]

    yield make
    for url in created:
        # A connection that a failed test left open must not keep its database.
        execute(admin_url, f'DROP DATABASE "{urlsplit(url).path[1:]}" WITH (FORCE)')


@pytest.fixture(scope="session")
def make_template(postgres_server: Postgres) -> Callable[[str], Awaitable[str]]:
    """Call it with a service's name for the URL of a database with its tables: copying it takes a third of migrating.

    Whoever changes what is in it, or stays connected, is in the way of the next copy.
    """
    made: dict[str, str] = {}

    async def make(service: str) -> str:
        from darkroom.migration import migrations_of, upgrade

        if service not in made:
            url = create_database(postgres_server.admin_url, f"template_{service}", "/template1")
            await upgrade(url, migrations_of(service))
            made[service] = url
        return made[service]

    return make


@pytest.fixture(scope="module")
async def tables(make_database: Callable[[str], str]) -> "AsyncIterator[Tables]":
    """A database with the tables of all four services and the frontends' views over them."""
    import asyncpg

    from darkroom.migration import migrate, service_urls
    from darkroom.stack import SERVICES
    from tests.tables import MEDIA_BASE, Tables

    url = make_database("tables")
    await migrate(url, service_urls(url, dict.fromkeys(SERVICES, "secret")), MEDIA_BASE)
    connection = await asyncpg.connect(url)
    yield Tables(url, connection)
    await connection.close()


def create_database(admin_url: str, name: str, like: str) -> str:
    from darkroom.embedded.postgres import execute

    database = f"{name}_{secrets.token_hex(4)}"
    execute(admin_url, f'CREATE DATABASE "{database}" TEMPLATE "{urlsplit(like).path[1:]}"')
    return urlsplit(admin_url)._replace(path=f"/{database}").geturl()


def pytest_configure() -> None:
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        from tests.distribution import keep_to_one_core

        keep_to_one_core(worker)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    from tests.distribution import workers

    return workers()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Thousands of tests and modules are there to stay: nobody looks through them for garbage again and again."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.enable()
    return found


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.distribution import ByFile

    return ByFile(config, log)


@contextmanager
def running(server: Server) -> Iterator[None]:
    try:
        server.start()
        yield
    finally:
        server.stop()


@cache
def engine_answers() -> bool:
    # Its reaper is one more image to pull; the fixtures stop what they start.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    import docker
    from docker.errors import DockerException

    try:
        return bool(docker.from_env(timeout=ENGINE_SECONDS).ping())
    except (DockerException, OSError):
        return False


@cache
def can_run(image: str) -> bool:
    """Whether an engine answers and has the image or can pull it. An engine cut off from any registry is no use."""
    if not engine_answers():
        return False
    import docker
    from docker.errors import DockerException, ImageNotFound

    client = docker.from_env(timeout=PULL_SECONDS)
    try:
        client.images.get(image)
    except ImageNotFound:
        try:
            client.images.pull(image)
        except (DockerException, OSError):
            return False
    return True


class ContainerNats:
    def __init__(self) -> None:
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import HttpWaitStrategy

        # In a file as the embedded server has it: there is no option for the size of a message.
        config = b"http: 8222\nmax_payload: 8MB\njetstream {\n  store_dir: /tmp/store\n}\n"
        self._container = (
            DockerContainer(NATS_IMAGE)
            .with_copy_into_container(config, "/darkroom.conf")
            .with_command(["-js", "-c", "/darkroom.conf"])
            .with_exposed_ports(4222, 8222)
            .waiting_for(HttpWaitStrategy(8222, "/healthz").with_startup_timeout(READY_SECONDS))
        )

    @property
    def nats_url(self) -> str:
        return f"nats://{address(self._container, 4222)}"

    def start(self) -> None:
        self._container.start()

    def stop(self) -> None:
        self._container.stop()


class ContainerPostgres:
    def __init__(self) -> None:
        from testcontainers.core.container import DockerContainer

        self._password = secrets.token_urlsafe(24)
        self._container = (
            DockerContainer(POSTGRES_IMAGE)
            .with_env("POSTGRES_PASSWORD", self._password)
            .with_env(
                "POSTGRES_INITDB_ARGS",
                "--encoding=UTF8 --locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C --set=fsync=off",
            )
            .with_command(["-c", "max_connections=200"])
            .with_exposed_ports(5432)
        )

    @property
    def admin_url(self) -> str:
        return f"postgresql://postgres:{self._password}@{address(self._container, 5432)}/postgres"

    def start(self) -> None:
        from darkroom.embedded.postgres import execute

        self._container.start()
        # The image starts a first server to set itself up, so its log and its port both promise too early.
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                execute(self.admin_url, "SELECT 1")
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        self._container.stop()


class ContainerS3:
    bucket = "media"

    def __init__(self) -> None:
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import CompositeWaitStrategy, HttpWaitStrategy

        self.access_key, self.secret_key = secrets.token_hex(10), secrets.token_urlsafe(30)
        identity = {
            "name": "darkroom",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        options = f"-dir=/data -ip.bind=0.0.0.0 -s3.config=/ids.json -bucket={self.bucket} -admin.ui=false"
        self._container = (
            DockerContainer(S3_IMAGE)
            .with_copy_into_container(json.dumps({"identities": [identity]}).encode(), "/ids.json")
            .with_command(["mini", *options.split(), "-webdav=false", "-master.telemetry=false"])
            .with_exposed_ports(8333, 8888, 9333)
            # As of the embedded server: it answers, the bucket is there, and an object could be placed in it.
            .waiting_for(
                CompositeWaitStrategy(
                    HttpWaitStrategy(8333, "/healthz"),
                    HttpWaitStrategy(8888, f"/buckets/{self.bucket}/?limit=1"),
                    HttpWaitStrategy(9333, f"/dir/assign?collection={self.bucket}"),
                ).with_startup_timeout(READY_SECONDS)
            )
        )

    @property
    def endpoint(self) -> str:
        return f"http://{address(self._container, 8333)}"

    def start(self) -> None:
        self._container.start()

    def stop(self) -> None:
        self._container.stop()


def address(container: "DockerContainer", port: int) -> str:
    return f"{container.get_container_host_ip()}:{container.get_exposed_port(port)}"
