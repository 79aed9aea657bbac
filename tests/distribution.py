"""How `make test` gives the tests to its workers."""

import os
import shutil
import tempfile

from xdist.scheduler import LoadScopeScheduling

ONE_STACK = "tests/whole"
OWN_STACK = {"test_restore.py", "test_traces.py"}
"""Of the folder above, those that start one for themselves."""
LONGEST = {
    ONE_STACK: 230,
    "tests/chaos/test_faults.py": 140,
    "tests/whole/test_restore.py": 70,
    "tests/chaos/test_poison.py": 56,
    "services/generator/tests/test_tasks.py": 52,
    "tests/chaos/test_links.py": 44,
    "services/generator/tests/test_film_crash.py": 38,
    "services/generator/tests/test_crash.py": 31,
    "services/generator/tests/test_composition.py": 29,
    "darkroom/tests/test_doctor.py": 28,
    "services/gateway/tests/test_webhooks.py": 27,
    "services/generator/tests/test_service.py": 27,
    "services/ledger/tests/test_planted.py": 27,
    "services/storage/tests/test_service.py": 26,
    "services/ledger/tests/test_model.py": 21,
    "services/generator/tests/test_spoken_films.py": 21,
    "darkroom/tests/test_topology.py": 20,
    "tests/whole/test_traces.py": 18,
    "services/ledger/tests/test_payment_pull.py": 18,
    "bench/test_ledger_run.py": 18,
    "runtime/tests/test_consumption.py": 17,
    "services/gateway/tests/test_database_down.py": 14,
    "darkroom/tests/test_event_consumer.py": 10,
    "services/generator/tests/test_every_model.py": 9,
    "services/gateway/tests/test_device_page.py": 9,
}
"""About how many seconds: what is long and begins last is what everybody waits for."""

MEMORY = "/dev/shm"
ROOM_BYTES = 8 << 30
MOST_WORKERS = 4


def workers() -> int:
    """As many as there are cores. Where memory has room for what a run writes, it is written there, and there are two
    for each core: long tests mostly wait, and nobody waits for a disk any more. What a test keeps through a kill is
    kept there, too."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM_BYTES:
        return min(MOST_WORKERS, cores)
    os.environ["TMPDIR"] = tempfile.tempdir = MEMORY
    return min(MOST_WORKERS, 2 * cores)


def keep_to_one_core(worker: str) -> None:
    """A worker (`gw0`, `gw1`, …) and all that it starts share a core: what talks to each other wakes nobody on another
    core. Linux alone has it."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


class ByFile(LoadScopeScheduling):
    """A file stays with one worker, which makes its fixtures once; the longest come first, then those of most tests.

    The files that share a stack stay together too, so that it starts once.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        folder, _, name = file.rpartition("/")
        return ONE_STACK if folder == ONE_STACK and name not in OWN_STACK else file

    def _assign_work_unit(self, node) -> None:  # type: ignore[no-untyped-def]
        longest = max(self.workqueue, key=lambda scope: LONGEST.get(scope, 0))
        self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)
