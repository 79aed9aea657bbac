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
log.info("keys", of=["sk_live_CANARY9", "rk_test_CANARY9", "dk_" + "CANARY9" * 6 + "C", "r8_" + "CANARY9" * 4])
log.info("addresses", of=["/a?expires=1&signature=CANARY9", "https://g.example/v1?key=CANARY9"], task="task_identifier")
try:
    raise ValueError("refused: Bearer CANARY7")
except ValueError:
    log.exception("raised", after="kept")
logging.getLogger("library").warning("connecting to nats://gateway:CANARY8@127.0.0.1:4222", extra={})
"""


def test_no_secret_stands_in_a_log_line() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [line["event"] for line in lines[:6]] == ["plain", "nested", "signed", "keys", "addresses", "raised"]
    assert len(lines) == 7
    assert "CANARY" not in ran.stderr
    assert ran.stderr.count("[redacted]") == 14
    assert all(line["after"] == "kept" and line["service"] == "canary" for line in [*lines[:3], lines[5]])
    assert lines[4]["task"] == "task_identifier"
    assert "127.0.0.1:4222" in lines[6]["event"]
