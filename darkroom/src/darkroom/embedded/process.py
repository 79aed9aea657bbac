"""One child process: started, watched until ready, stopped, and gone when its parent is gone."""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

READY_SECONDS = 30.0
STOP_SECONDS = 15.0
_KILL_SECONDS = 10.0  # the kernel may be waiting for a disk
_POLL_SECONDS = 0.02
_TAIL_LINES = 20
_TAIL_BYTES = 16_384
_LOG_LIMIT_BYTES = 16 * 1024 * 1024
_PR_SET_PDEATHSIG = 1

# Looked up before any fork: the child between fork and exec must not load libraries.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

# Linux sends the death signal when the *thread* that forked ends, not the process. A short-lived worker thread that
# starts a server would take it along, so every child is forked by this one thread, which lives as long as we do.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawn")


class ProcessDiedError(RuntimeError):
    """The child ended before it was ready. The message holds the last lines of its log."""


class ProcessNotReadyError(TimeoutError):
    """The child lives but was not ready in time. The message holds the last lines of its log."""


class Process:
    """A child in a session of its own: Ctrl-C in the terminal reaches only the parent, which then decides."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log_path: Path,
        env: Mapping[str, str],
        cwd: Path | None = None,
        user: int | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals | None = signal.SIGKILL,
    ) -> None:
        """`env` is the child's whole environment. `user` is the uid and gid to become, None to stay.

        `death_signal` is what the child gets when the parent dies; None when `argv` arranges that itself.
        """
        self.name = name
        self.log_path = log_path
        self._argv = [str(part) for part in argv]
        self._env = dict(env)
        self._cwd = cwd
        self._user = user
        self._stop_signal = stop_signal
        self._death_signal = death_signal
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """The child's process id, which is also its process group. RuntimeError before the first start."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit status once the child has ended, negative for a signal; None before."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        """Starts the child and returns at once. FileNotFoundError when the program is missing."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already, as process {self.pid}")
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        if self.log_path.exists() and self.log_path.stat().st_size > _LOG_LIMIT_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".old.log"))
        self._child = _spawner.submit(self._spawn).result()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            return subprocess.Popen(  # noqa: S603 - commands of our own, without a shell
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
                start_new_session=True,
                # Called after the change of user, which would clear the signal. Safe beside other threads: one
                # system call, looked up before.
                preexec_fn=_die_with_parent(self._death_signal),  # noqa: PLW1509
            )

    def wait_ready(self, is_ready: Callable[[], bool], *, timeout_seconds: float = READY_SECONDS) -> None:
        """Polls `is_ready` until it holds. OSError from it counts as "not yet".

        Raises ProcessDiedError or ProcessNotReadyError; a child that is not ready in time is killed.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            if not self.running:
                raise ProcessDiedError(f"{self.name} ended with status {self.returncode}:\n{self.log_tail()}")
            try:
                # Asked again at the end: a server that answers may be another one, while ours fails to bind.
                if is_ready() and self.running:
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                self.kill()
                raise ProcessNotReadyError(f"{self.name} not ready in {timeout_seconds:g} s:\n{self.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def wait(self) -> None:
        """Returns when the child has ended, however long that takes."""
        if self._child is not None:
            self._child.wait()

    def stop(self, *, timeout_seconds: float = STOP_SECONDS) -> None:
        """Asks the child to end, waits, then kills it. Does nothing when it is not running."""
        if self._child is None or not self.running:
            return
        self._signal_group(self._stop_signal)
        try:
            self._child.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the child's whole group: the crash of the fault tests. Does nothing when it is not running."""
        if self._child is not None and self.running:
            self._signal_group(signal.SIGKILL)
            self._child.wait(_KILL_SECONDS)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # it may end by itself in this moment
            os.killpg(self.pid, number)

    def log_tail(self) -> str:
        """The last lines this run of the child wrote."""
        with self.log_path.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, end - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:]) or "(nothing in its log)"


def minimal_environment(**extra: str) -> dict[str, str]:
    """PATH and `extra`. The servers read dozens of variables (PGPORT, AWS_REGION, …) that are not meant for them."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **extra}


def installed_program(name: str) -> Path:
    """A program that a Python package put into this environment, or else one on the PATH."""
    own = Path(sysconfig.get_path("scripts")) / name
    if own.is_file():
        return own
    elsewhere = shutil.which(name)
    if elsewhere is None:
        raise FileNotFoundError(f"{name} is neither in {own.parent} nor on the PATH")
    return Path(elsewhere)


def _die_with_parent(number: signal.Signals | None) -> Callable[[], None] | None:
    if _libc is None or number is None:
        return None
    prctl, parent, value = _libc.prctl, os.getpid(), int(number)

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, value, 0, 0, 0)
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    return before_exec
