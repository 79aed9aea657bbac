"""How processes that share few cores take turns."""

import contextlib
import os
import sys


def leave_cores_to_each_other() -> None:
    """Whom a message wakes does not put off who said it: of all that this thread starts from now on, and of itself.

    Ten processes that wake each other all the time otherwise push each other's work out of the caches. A policy that
    the operator chose stays; a kernel that knows none of this, or forbids it, goes without (docs/adr/0048).
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
