"""One supervised child: started, watched, and started again with the same command when it dies."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from darkroom.embedded import Process, ProcessNotReadyError
from darkroom.embedded.ports import LOOPBACK, require_free
from darkroom.supervisor.scheduling import leave_cores_to_others

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0
WELL_AFTER_SECONDS = 10.0
"""A child that ran for so long is not to blame for its next death."""
END_SECONDS = 0.5
"""For whoever is just starting one."""
READY_SECONDS = 60.0
ASK_EVERY_SECONDS = 0.1
"""Each question takes some of the processor that the one who is asked needs to become ready."""
SERVICE_STOP_SECONDS = 10.0
_WORD_BYTES = 4096


class Server(Protocol):
    """What the embedded servers and our own programs have in common."""

    process: Process

    def start(self) -> None:
        """Returns when it can be used. Raises OSError or RuntimeError."""

    def stop(self) -> None: ...


class Program:
    """A Python module run as a process of its own."""

    def __init__(
        self,
        name: str,
        argv: list[str],
        *,
        data: Path,
        environment: Mapping[str, str],
        port: int | None = None,
        ready_path: str = "/ready",
    ) -> None:
        self.process = Process(name, argv, log_path=data / "logs" / f"{name}.log", env=environment)
        self._port = port
        self._ready_path = ready_path
        self._ask_at = 0.0
        self._last_word = ""

    def start(self) -> None:
        """Returns at once: a service that waits for another one is not ready, but not ill either."""
        if self._port is not None:
            require_free(self._port)
        self.process.start()
        leave_cores_to_others(self.process.pid)

    def stop(self) -> None:
        self.process.stop(timeout_seconds=SERVICE_STOP_SECONDS)

    def wait_ready(self) -> None:
        """Returns when it says that it is ready. Raises ProcessDiedError, ProcessNotReadyError."""
        if self._port is None:
            return
        try:
            self.process.wait_ready(self._is_ready, timeout_seconds=READY_SECONDS)
        except ProcessNotReadyError as error:
            raise ProcessNotReadyError(f"{self._last_word}\n{error}".strip()) from error

    def _is_ready(self) -> bool:
        if time.monotonic() < self._ask_at:
            return False
        self._ask_at = time.monotonic() + ASK_EVERY_SECONDS
        url = f"http://{LOOPBACK}:{self._port}{self._ready_path}"
        try:
            with _opener.open(url, timeout=3) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as refused:
            self._last_word = refused.read(_WORD_BYTES).decode(errors="replace")
            return False


# Asks loopback directly, whatever proxy the operator's environment names.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Child:
    """Keeps one server alive until the stack stops."""

    def __init__(
        self,
        name: str,
        server: Server,
        *,
        stopping: threading.Event,
        say: Callable[[str], None],
        restarted: Callable[[], None],
    ) -> None:
        self.name = name
        self.server = server
        self._stopping = stopping
        self._say = say
        self._restarted = restarted
        self._thread = threading.Thread(target=self._keep, name=f"keep {name}", daemon=True)

    def start(self) -> None:
        """Starts the server and, once that has worked, watches over it."""
        self.server.start()
        self._thread.start()

    def stop(self) -> None:
        self.server.stop()

    @property
    def pid(self) -> int:
        return self.server.process.pid

    def end(self) -> None:
        """After `stop`: whatever a watcher was just starting ends as well."""
        if self._thread.is_alive():
            self._thread.join(END_SECONDS)
        self.server.process.kill()

    def _keep(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        started_at = time.monotonic()
        while True:
            self.server.process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - started_at > WELL_AFTER_SECONDS:
                pause_seconds = FIRST_PAUSE_SECONDS
            self._say(f"{self.name} ended with status {self.server.process.returncode} and is started again")
            if self._stopping.wait(pause_seconds):
                return
            pause_seconds = min(LONGEST_PAUSE_SECONDS, pause_seconds * 2)
            started_at = time.monotonic()
            try:
                self.server.start()
            except (OSError, RuntimeError) as error:
                if not self._stopping.is_set():
                    self._say(f"{self.name} did not start: {error}")
                continue
            self._restarted()
