"""P27: no secret leaves in a log line, wherever in it the secret stands; and every line stays JSON."""

import json
import subprocess
import sys

PROGRAM = """
import logging, structlog
from runtime import telemetry
from runtime.settings import ProcessSettings

telemetry.configure(ProcessSettings(), "canary")
log = structlog.get_logger()
log.info("plain", key="sk-CANARYCANARY1", url="postgresql://ledger:CANARY2@127.0.0.1/darkroom", after="kept")
log.info("nested", headers={"authorization": "Bearer CANARY3.x"}, ids=["whsec_CANARY4=="], after="kept")
log.info("signed", url="https://s3.example/a?X-Amz-Signature=CANARY5&b=1", token="eyJCANARY6.eyJhbGc.sig", after="kept")
try:
    raise ValueError("refused: Bearer CANARY7")
except ValueError:
    log.exception("raised", after="kept")
logging.getLogger("library").warning("connecting to nats://gateway:CANARY8@127.0.0.1:4222", extra={})
"""


def test_no_secret_stands_in_a_log_line() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [line["event"] for line in lines[:4]] == ["plain", "nested", "signed", "raised"]
    assert len(lines) == 5
    assert "CANARY" not in ran.stderr
    assert ran.stderr.count("[redacted]") == 8
    assert all(line["after"] == "kept" and line["service"] == "canary" for line in lines[:4])
    assert "127.0.0.1:4222" in lines[4]["event"]
