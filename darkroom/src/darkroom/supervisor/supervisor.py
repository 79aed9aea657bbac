"""The whole stack: what it consists of, in which order it starts and stops, and what is written down about it."""

import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from darkroom.embedded import NatsServer, PostgresServer, Process, S3Server
from darkroom.embedded.ports import LOOPBACK
from darkroom.stack import LOCK_FILE, NATS_USERS, SERVICES, STACK_FILE, read_stack_file, write_private
from darkroom.supervisor.children import Child, Program, Server
from darkroom.supervisor.environments import (
    Plan,
    S3Access,
    helper_environment,
    nats_environment,
    needs_simulator,
    service_environment,
)
from darkroom.supervisor.frontends import FAL, FRONTENDS, asked_ports, blocks
from darkroom.supervisor.leftovers import end_leftovers
from darkroom.supervisor.migrated import is_migrated, remember
from darkroom.supervisor.ports import choose_ports
from darkroom.supervisor.secrets_file import keep_secrets
from darkroom.tokens import make_key, make_token
from darkroom.topology import AUTHORIZATION

DEVELOPMENT_USER = UUID("00000000-0000-4000-8000-00000000d0d0")
"""Whom the gateway takes a request without a token for, in its local mode."""
DATABASE = "darkroom"
TOKEN_HOURS = 30 * 24.0
MIGRATION_SECONDS = 3600.0
"""Against one that hangs alone: its work takes as long as the data asks for."""
LOCK_PATIENCE_SECONDS = 1.0
STOP_ORDER = (SERVICES, ("topology",), ("simulator", "s3"), ("nats",), ("postgres",))
_STORAGE_VARIABLES = ("MEDIA_", "S3_", "AWS_")


class StackError(Exception):
    """The stack cannot start; the message says why."""


class StoppedError(StackError):
    """It was asked to stop before it was ready."""

    def __init__(self) -> None:
        super().__init__("stopped before it was ready")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What `darkroom up` was asked for."""

    data: Path
    port: int | None = None
    s3: bool = False
    ready_file: Path | None = None
    frontends: bool = False
    """Whether the gateway also listens where old frontends look for it."""
    fal_port: int | None = None
    """Where clients of fal's queue find it."""


class Supervisor:
    """One stack on one data directory."""

    def __init__(self, wishes: Wishes, say: Callable[[str], None]) -> None:
        self._wishes = wishes
        self._data = wishes.data.resolve()
        self._say = say
        self._operator = dict(os.environ)
        self._children: dict[str, Child] = {}
        self._writing = threading.Lock()
        self._facts: dict[str, Any] = {}
        self.stopping = threading.Event()

    @contextmanager
    def owning(self) -> Iterator[None]:
        """Keeps every other supervisor off this data directory."""
        self._data.mkdir(parents=True, exist_ok=True)
        self._data.chmod(0o700)
        with (self._data / LOCK_FILE).open("a") as lock:
            give_up_at = time.monotonic() + LOCK_PATIENCE_SECONDS
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > give_up_at:
                        url = read_stack_file(self._data).get("url", "an unknown address")
                        raise StackError(f"a stack runs in {self._data} already, at {url}") from None
                    time.sleep(0.1)
            yield

    def start(self) -> dict[str, Any]:
        """Starts everything; returns what the ready file says once all is ready.

        Raises:
            StackError: something did not start, or `stopping` was set meanwhile. What runs is left to `stop`.
        """
        if self._wishes.ready_file is not None:
            self._wishes.ready_file.unlink(missing_ok=True)
        former = read_stack_file(self._data)
        end_leftovers(former, self._data / STACK_FILE)
        try:
            plan = self._plan(former.get("ports", {}))
            access = self._start_servers(plan)
            plan = replace(plan, s3=access)
            self._start_services(plan)
        except (OSError, RuntimeError) as error:
            raise StackError(str(error)) from error
        self._facts = self._describe(plan)
        return self._write()

    def stop(self) -> None:
        """Ends everything, those who use something before what they use."""
        self.stopping.set()
        if self._wishes.ready_file is not None:
            self._wishes.ready_file.unlink(missing_ok=True)
        with ThreadPoolExecutor(len(SERVICES)) as pool:
            for group in STOP_ORDER:
                children = [self._children[name] for name in group if name in self._children]
                wait([pool.submit(child.stop) for child in children])
        for child in list(self._children.values()):
            child.end()

    # -- deciding ---------------------------------------------------------------------------------------------

    def _plan(self, former: Mapping[str, int]) -> Plan:
        simulator = needs_simulator(self._operator)
        names = ["nats", "nats_monitoring", "postgres", *SERVICES]
        names += ["simulator"] if simulator else []
        names += ["s3"] if self._wishes.s3 else []
        listeners = (*(FRONTENDS if self._wishes.frontends else ()), *([FAL] if self._wishes.fal_port else ()))
        names += listeners
        ports = choose_ports(names, self._asked_ports(), former)
        secrets = keep_secrets(self._data)
        return Plan(
            data=self._data,
            ports=ports,
            nats_passwords={user: secrets[f"{user}_nats_password"] for user in NATS_USERS},
            database_urls={
                service: f"postgresql://{service}:{secrets[f'{service}_password']}@{LOOPBACK}:{ports['postgres']}/{DATABASE}"
                for service in SERVICES
            },
            jwt_secret=secrets["jwt_secret"],
            webhook_signing_key=secrets["webhook_signing_key"],
            media_signing_key=secrets["media_signing_key"],
            simulator=simulator,
            own_jwt_secret=secrets["own_jwt_secret"],
            session_secret=secrets["session_secret"],
            frontends=listeners,
        )

    def _asked_ports(self) -> dict[str, int]:
        asked = {name: int(port) for name in SERVICES if (port := self._operator.get(f"{name.upper()}_PORT"))}
        if self._wishes.port is not None:
            asked["gateway"] = self._wishes.port
        if self._wishes.fal_port is not None:
            asked[FAL] = self._wishes.fal_port
        return {name: port for name, port in asked.items() if port} | asked_ports(self._operator)

    # -- starting ---------------------------------------------------------------------------------------------

    def _start_servers(self, plan: Plan) -> S3Access | None:
        """Everything that the services need, all at once."""

        def bus() -> None:
            self._start_child("nats", self._nats(plan))
            self._start_child("topology", self._topology(plan))

        def database() -> None:
            server = PostgresServer(self._data, port=plan.ports["postgres"])
            self._start_child("postgres", server)
            note = self._data / "postgres" / "migrated.json"
            if not is_migrated(admin_url(server), plan.database_urls, note):
                self._migrate(plan, admin_url(server))
                remember(admin_url(server), plan.database_urls, note)

        def simulator() -> None:
            if plan.simulator:
                self._start_child("simulator", self._simulator(plan))

        def objects() -> S3Access | None:
            if not self._wishes.s3:
                return None
            server = S3Server(self._data, port=plan.ports["s3"])
            self._start_child("s3", server)
            return S3Access(server.endpoint, server.bucket, server.access_key, server.secret_key)

        access: S3Access | None = self._together(objects, bus, database, simulator)[0]
        return access

    def _start_services(self, plan: Plan) -> None:
        def service(name: str) -> Callable[[], None]:
            def start() -> None:
                self._start_child(name, self._service(name, plan))

            return start

        self._together(*map(service, SERVICES))
        programs = [child.server for child in self._children.values() if isinstance(child.server, Program)]
        self._together(*(program.wait_ready for program in programs))

    def _together(self, *parts: Callable[[], Any]) -> list[Any]:
        """Runs all parts at once; gives up when one fails or the stack is to stop."""
        pool = ThreadPoolExecutor(len(parts), thread_name_prefix="start")
        futures: list[Future[Any]] = [pool.submit(part) for part in parts]
        try:
            pending = set(futures)
            while pending:
                done, pending = wait(pending, timeout=0.1, return_when=FIRST_EXCEPTION)
                if self.stopping.is_set():
                    raise StoppedError
                for future in done:
                    future.result()
        finally:
            pool.shutdown(wait=False)
        return [future.result() for future in futures]

    def _start_child(self, name: str, server: Server) -> None:
        child = Child(name, server, stopping=self.stopping, say=self._say, restarted=self._write_again)
        self._children[name] = child
        if self.stopping.is_set():
            raise StoppedError
        child.start()

    def _migrate(self, plan: Plan, url: str) -> None:
        """In a process of its own, which gives its memory back."""
        urls = {f"{service.upper()}_DATABASE_URL": address for service, address in plan.database_urls.items()}
        environment = helper_environment(self._operator, DATABASE_URL=url, **urls)
        process = Process(
            "migrate",
            [sys.executable, "-m", "darkroom.migration"],
            log_path=self._data / "logs" / "migrate.log",
            env=environment,
        )
        process.start()
        give_up_at = time.monotonic() + MIGRATION_SECONDS
        while process.running:
            if time.monotonic() > give_up_at or self.stopping.is_set():
                process.kill()
            time.sleep(0.02)
        if process.returncode:
            raise RuntimeError(f"the migration ended with status {process.returncode}:\n{process.log_tail()}")

    def _nats(self, plan: Plan) -> NatsServer:
        return NatsServer(
            self._data,
            port=plan.ports["nats"],
            monitoring_port=plan.ports["nats_monitoring"],
            authorization=AUTHORIZATION.read_text(),
            variables={f"{user.upper()}_NATS_PASSWORD": password for user, password in plan.nats_passwords.items()},
        )

    def _topology(self, plan: Plan) -> Program:
        environment = helper_environment(self._operator, **nats_environment("topology", plan))
        return Program(
            "topology", [sys.executable, "-m", "darkroom.topology"], data=self._data, environment=environment
        )

    def _simulator(self, plan: Plan) -> Program:
        port = plan.ports["simulator"]
        journal = self._data / "simulator" / "journal.jsonl"
        return Program(
            "simulator",
            [sys.executable, "-m", "simulator", "--port", str(port), "--journal", str(journal)],
            data=self._data,
            environment=helper_environment(self._operator),
            port=port,
            ready_path="/__sim/health",
        )

    def _service(self, name: str, plan: Plan) -> Program:
        environment = service_environment(name, plan, self._operator)
        argv = [sys.executable, "-m", name]
        return Program(name, argv, data=self._data, environment=environment, port=plan.ports[name])

    # -- writing down -----------------------------------------------------------------------------------------

    def _describe(self, plan: Plan) -> dict[str, Any]:
        """What is written into the stack's file; the ready file is the public part of it."""
        postgres = self._children["postgres"].server
        nats = self._children["nats"].server
        assert isinstance(postgres, PostgresServer) and isinstance(nats, NatsServer)  # noqa: S101
        environment = service_environment("storage", plan, self._operator)
        jwt_secret = service_environment("gateway", plan, self._operator)["SUPABASE_JWT_SECRET"]
        return {
            "url": plan.url("gateway"),
            "token": make_token(jwt_secret, DEVELOPMENT_USER, TOKEN_HOURS, f"{plan.url('gateway')}/auth/v1"),
            "user_id": str(DEVELOPMENT_USER),
            "nats_url": plan.operator_nats_url,
            "nats_monitoring_url": nats.monitoring_url,
            "database_url": admin_url(postgres),
            "simulator_url": plan.url("simulator") if plan.simulator else None,
            "media_url": plan.url("storage"),
            "data": str(self._data),
            "ports": dict(plan.ports),
            "jwt_secret": jwt_secret,
            "anon_key": (anon_key := make_key(jwt_secret, "anon")),
            "frontends": blocks({dialect: plan.ports[dialect] for dialect in plan.frontends}, anon_key),
            **{f"{service}_database_url": url for service, url in plan.database_urls.items()},
            "storage_environment": {
                name: value for name, value in environment.items() if name.startswith(_STORAGE_VARIABLES)
            },
        }

    def _write_again(self) -> None:
        if self._facts and not self.stopping.is_set():
            self._write()

    def _write(self) -> dict[str, Any]:
        with self._writing:
            pids = {name: child.pid for name, child in self._children.items()}
            everything = {**self._facts, "pids": pids | {"supervisor": os.getpid()}}
            ready = {name: everything[name] for name in READY_NAMES}
            ready["ports"] = {service: everything["ports"][service] for service in SERVICES}
            write_private(self._data / STACK_FILE, everything)
            if self._wishes.ready_file is not None:
                write_private(self._wishes.ready_file, ready)
            return ready


READY_NAMES = (
    "url",
    "token",
    "user_id",
    "nats_url",
    "database_url",
    "simulator_url",
    "media_url",
    "anon_key",
    "frontends",
    "data",
    "pids",
)


def admin_url(postgres: PostgresServer) -> str:
    """The superuser's address of the stack's own database."""
    return f"{postgres.admin_url.rpartition('/')[0]}/{DATABASE}"
