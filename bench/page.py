"""`python -m bench.page RESULT…`: docs/performance.md, made from kept results and nothing else."""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.rows import ROWS
from bench.table import OURS, Figures, Goal, Row, medians

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
FSYNC = {
    "NATS": "sync_interval: always (each stored message)",
    "Postgres": "fsync and synchronous_commit on (each commit), of ours and of the peers",
    "media": "each file of ours; not those of the peers",
    "Valkey": "appendfsync everysec (of the peers)",
}
_HEAD = """# What it costs, beside others

Made by `make bench` (or `python -m bench.page RESULT…`) from what it kept, and from nothing else. Every figure is the
median of its rounds. In each round everybody is measured once, one after the other, so that a moment of other work on
the machine meets all alike; a ratio is of two figures of one run. `make bench ARGS="--only NAME"` measures one row.

| | |
| --- | --- |
| machine | {system}, {cores} cores{processor}, {memory} GB; Python {python}{data} |
{fsync}

The load generator, the provider that everybody calls, and whoever is measured share these cores: rates and latencies
are those of such a machine, and scatter. CPU seconds are what to compare, and only within a run: what else runs on the
host changes them from one hour to the next, and that weighs more on ours, which needs both cores, than on a relay of
one process. A whole run two hours before the one below, by the version before it, found 8.0 s for a thousand
generations (2.38 times Celery's), 10.5 ms for each of OpenAI's images (2.09 times LiteLLM's) and 0.79 of the bare
events (`T204134`); in turns within the same minutes the two versions are 3 % apart.

**The kind of the machine changes the ratios as well.** On the one that earlier results are of (before `T202638`; they
do not say which) a thousand generations took 12.6 to 21.7 s, two to two and a half times Celery's, but one of OpenAI's
images 1.2 to 1.3 times LiteLLM's: with a newer processor and more cache the relay's one process takes a third of what
it took there, eight processes of ours half. There `darkroom up` gave its services `SCHED_BATCH` among others ([ADR
48](adr/0048-no-service-puts-another-off-its-core.md)). The interpreter was built without profile-guided optimisation,
on both; by one built with it (Debian's 3.11.2, with the same packages) a generation took 8.7 to 10.2 ms there, where
this one took 11.1 to 12.4 minutes later.

**The settings that keep promises are those of every other test**: the audit and the kills run on what is measured here.
"""
_RUN = (
    "[`{result}`](../{result}): {rounds}, at a load of {before:.1f} at the start of the run and {after:.1f} at its end."
)
_SHORT = (
    " **The short form, which shows that a row works and nothing about speed**: a load above the number of cores is "
    "other work's."
)


def page(results: Sequence[Path]) -> str:
    """The whole page, from kept results; of a row that several have, the last one's is shown."""
    return text_of({str(each.resolve().relative_to(ROOT)): json.loads(each.read_text()) for each in results})


def text_of(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """`documents` by the names of their files below the repository."""
    *_, last = documents.values()
    machine = last["machine"]
    head = _HEAD.format(
        system=machine["system"],
        cores=machine["cores"],
        processor=f" of {machine['processor']}" if "processor" in machine else "",
        memory=machine["memory_gigabytes"],
        python=machine["python"],
        data=f"; data on {machine['data_on']}" if "data_on" in machine else "",
        fsync="\n".join(f"| synced by {name} | {what} |" for name, what in last["fsync"].items()),
    )
    shown = {
        found["name"]: (result, document, found) for result, document in documents.items() for found in document["rows"]
    }
    return head + "".join(_section(row, *shown[row.name]) for row in ROWS if row.name in shown)


def _section(row: Row, result: str, document: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    head, *body = lines_of(row, found)
    number = len(found["rounds"])
    run = _RUN.format(
        result=result,
        rounds="one round" if number == 1 else f"{number} rounds",
        before=document["machine"]["load_before"],
        after=document["load_after"],
    )
    run += _SHORT if document["short"] else ""
    lines = [f"\n## {row.title}\n", row.method.strip(), "", _line(head), _line(["---"] * len(head)), *map(_line, body)]
    lines += [f"\n**Left out:** {name}: {why}" for name, why in found["missing"].items()]
    parts = _parts(row, medians(found["rounds"]).get(OURS, {}))
    return "\n".join([*lines, *parts, "", run]) + "\n"


def _parts(row: Row, ours: Figures) -> list[str]:
    """What a figure of ours consists of, where it was measured in parts."""
    parts = {name: value for name, value in ours.items() if row.figures and name.partition(": ")[0] in row.figures}
    named = [f"{name.partition(': ')[2]} {_number(value)}" for name, value in parts.items() if ": " in name]
    return [f"\nOurs in parts: {', '.join(named)}."] if named else []


def lines_of(row: Row, found: Mapping[str, Any]) -> list[list[str]]:
    """A row as a table: a line for each figure, a column for each contestant, and each goal with what became of it."""
    middle = medians(found["rounds"])
    others = [name for name in [*middle, *found["missing"]] if name != OURS]
    lines = [["", OURS, *others, "goal"]]
    figures = row.figures or list(middle.get(OURS, {}))
    for figure in figures:
        values = [_number(middle.get(name, {}).get(figure)) for name in (OURS, *others)]
        goals = [_judged(goal, middle) for goal in row.goals if goal.figure == figure]
        lines.append([figure, *values, "; ".join(goals)])
    return lines


def _judged(goal: Goal, middle: Mapping[str, Figures]) -> str:
    value = goal.value(middle)
    if value is None:
        return f"{goal.text()}: not measured"
    said = f"{value:.2f}, " if goal.of else ""
    return f"{goal.text()}: {said}{'met' if goal.is_met(value) else 'NOT MET'}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def results_of(text: str) -> list[Path]:
    """Which results a page says that it is made from."""
    return sorted({ROOT / named for named in re.findall(r"\(\.\./(bench/results/[^)]+)\)", text)})


def write(results: Sequence[Path], to: Path) -> None:
    to.write_text(page(results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path, nargs="+")
    write(sorted(parser.parse_args().result), PAGE)


if __name__ == "__main__":
    main()
