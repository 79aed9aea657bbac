"""What a process had on the disk when it was killed is gone with it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from storage.nameless import nameless, path_of

_KILLED = """
import asyncio, os, signal
from contracts.facts import Kind
from storage.downloads import Arriving

async def chunks():
    yield bytes(4 << 20)
    assert arriving._content.tell() == 4 << 20, "nothing is on the disk yet"
    os.kill(os.getpid(), signal.SIGKILL)

arriving = Arriving(Kind.VIDEO, 1 << 30)
asyncio.run(arriving.take(chunks()))
"""


def test_a_killed_process_leaves_no_recording_behind(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _KILLED], env={**os.environ, "TMPDIR": str(tmp_path)}, timeout=60, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_another_process_reads_and_writes_what_has_no_name() -> None:
    with nameless() as file:
        file.write(b"before")
        file.flush()
        told = "import sys; path = sys.argv[1]; print(open(path).read()); open(path, 'w').write('after, and longer')"
        read = subprocess.run(
            [sys.executable, "-c", told, path_of(file)], timeout=60, check=True, capture_output=True, text=True
        )
        file.seek(0)
        assert (read.stdout, file.read()) == ("before\n", b"after, and longer")
