"""Files without a name, so that a process that is killed leaves none behind: what plays may have gigabytes."""

import os
from tempfile import TemporaryFile
from typing import IO


def nameless() -> IO[bytes]:
    """An empty file, gone with whoever has it open. Raises OSError."""
    return TemporaryFile()


def path_of(content: IO[bytes]) -> str:
    """Where the workshop's processes open it, as long as it is open here (proc_pid_fd(5))."""
    return f"/proc/{os.getpid()}/fd/{content.fileno()}"
