"""How `make test` gives the tests to its workers."""

from xdist.scheduler import LoadScopeScheduling

ONE_STACK = "tests/whole"
OWN_STACK = {"test_restore.py", "test_traces.py"}
"""Of the folder above, those that start one for themselves."""
LONGEST = {
    ONE_STACK: 150,
    "tests/chaos/test_faults.py": 100,
    "tests/whole/test_restore.py": 70,
    "tests/chaos/test_poison.py": 58,
    "services/generator/tests/test_tasks.py": 50,
    "tests/chaos/test_links.py": 45,
    "services/generator/tests/test_crash.py": 40,
    "services/generator/tests/test_film_crash.py": 35,
    "services/ledger/tests/test_planted.py": 35,
    "services/ledger/tests/test_model.py": 28,
    "bench/test_ledger_run.py": 18,
    "services/generator/tests/test_service.py": 25,
}
"""About how many seconds: what is long and begins last is what everybody waits for."""


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
