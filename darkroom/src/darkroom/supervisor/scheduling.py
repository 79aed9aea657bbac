"""How processes that share few cores take turns."""

import contextlib
import os
import sys


def leave_cores_to_others(pid: int) -> None:
    """Whoever is woken by a message waits until whoever runs has had its slice: of a process that has just begun, and
    of all that it starts.

    Services that wake each other all the time otherwise push each other's work out of the caches. A policy that the
    operator chose stays; a kernel that knows none of this, or forbids it, goes without (docs/adr/0048).
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            if os.sched_getscheduler(pid) == os.SCHED_OTHER:
                os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))
