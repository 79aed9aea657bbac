"""docs/reliability.md, made from the register and from how its tests ended."""

from collections.abc import Iterable, Sequence

from tests.reliability.entry import Entry
from tests.reliability.faults import FAULTS
from tests.reliability.figures import FIGURES
from tests.reliability.inputs import INPUTS
from tests.reliability.longer import LONGER
from tests.reliability.planted import PLANTED
from tests.reliability.results import ROOT, Results

PAGE = ROOT / "docs" / "reliability.md"
_BEGINNING = """# What was done to it, and what came of it

Made by `python -m tests.reliability` from [the register](../tests/reliability) and from how its tests ended when they
last ran ({day}); a test compares this page with both. What was not run on that day stands here as not run. Promises by
their number are in [promises.md](promises.md); why it is proved like this, in
[ADR 41](adr/0041-promises-are-proved-by-seeds-faults-and-planted-bugs.md).

`make proof` runs all of it, `make chaos` ten minutes of faults on every link (that to a real S3 among them, at odd
seeds), `make fuzz` half an hour of whatever the OpenAPI document allows and does not, by seeds, `make soak` two hours
under load.
"""


def page(results: Results) -> str:
    return "\n".join(
        [
            _BEGINNING.format(day=results.day),
            *_table("Faults", "what happens", FAULTS, results),
            *_table("Bad input", "what comes", INPUTS, results),
            *_table("Longer", "what happens", LONGER, results),
            *_planted(results),
            FIGURES,
        ]
    )


def _table(title: str, what: str, entries: Iterable[Entry], results: Results) -> list[str]:
    lines = [f"## {title}", "", f"| | {what} | expected | last run | shown by |", "| --- | --- | --- | --- | --- |"]
    for entry in entries:
        expected = f"{entry.expected} ({entry.but})" if entry.but else entry.expected
        shown = ", ".join(f"`{test}`" for test in entry.tests)
        lines.append(f"| {entry.number} | {entry.what} | {expected} | {_ended(entry.tests, results)} | {shown} |")
    return [*lines, ""]


def _planted(results: Results) -> list[str]:
    lines = ["## Planted bugs", "", "| | what is wrong | noticed | by |", "| --- | --- | --- | --- |"]
    for entry in PLANTED:
        ended = "yes" if _ended(entry.tests, results).startswith("passed") else _ended(entry.tests, results)
        lines.append(f"| {entry.number} | {entry.what} | {ended} | {', '.join(f'`{test}`' for test in entry.tests)} |")
    more = "Thirty more of the ledger's kind are in `services/ledger/tests/test_planted.py`; each is noticed there."
    return [*lines, "", more, ""]


def _ended(tests: Sequence[str], results: Results) -> str:
    """The worst of them first, so that nothing is hidden behind what passed."""
    counts = [results.of(test) for test in tests]
    total = {name: sum(count.get(name, 0) for count in counts) for name in ("failed", "skipped", "passed")}
    missing = sum(not count for count in counts)
    words = [f"**{name} {total[name]}**" for name in ("failed", "skipped") if total[name]]
    words += [f"**not run {missing}**"] if missing else []
    return ", ".join([*words, *([f"passed {total['passed']}"] if total["passed"] else [])])
