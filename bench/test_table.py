"""The table and the page that is made of it."""

import json

import pytest

from bench import page
from bench.peers import FOLDER
from bench.rows import ROWS
from bench.table import OURS, Goal, medians

ROUNDS = [{OURS: {"CPU": 6.0, "p99 ms": 30.0}, "a peer": {"CPU": 4.0, "p99 ms": 10.0}}] * 3


def test_the_page_is_what_its_result_makes() -> None:
    written = page.PAGE.read_text()
    assert page.page(page.results_of(written)) == written, "python -m bench.page <results>"


def test_a_figure_is_the_median_of_its_rounds() -> None:
    rounds = [{OURS: {"CPU": value}} for value in (9.0, 1.0, 2.0)]
    assert medians(rounds) == {OURS: {"CPU": 2.0}}


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (Goal("CPU", at_most=2.0, of="a peer"), 1.5, True),
        (Goal("CPU", at_most=1.0, of="a peer"), 1.5, False),
        (Goal("CPU", at_least=1.0, of="a peer"), 1.5, True),
        (Goal("p99 ms", at_most=29), 30.0, False),
        (Goal("p99 ms", at_most=29, of="nobody"), None, None),
        (Goal("no such figure", at_most=29), None, None),
    ],
)
def test_a_goal_is_a_bound_or_a_share_of_anothers_figure(goal: Goal, value: float | None, met: bool | None) -> None:
    found = goal.value(medians(ROUNDS))
    assert found == value
    assert (None if found is None else goal.is_met(found)) == met


def test_who_is_left_out_is_said_aloud() -> None:
    row = ROWS[0]
    missing = {"FastAPI + Celery + Redis": "no"}
    found = {"name": row.name, "rounds": [{OURS: dict.fromkeys(row.figures, 1.0)}], "missing": missing}
    machine = {"system": "s", "cores": 2, "memory_gigabytes": 1, "python": "3", "load_before": 0.0}
    document = {"machine": machine, "short": True, "fsync": page.FSYNC, "load_after": 0.0, "rows": [found]}
    lines = page.lines_of(row, found)
    assert lines[0] == ["", OURS, "FastAPI + Celery + Redis", "goal"]
    assert lines[1][2] == "–"
    assert "not measured" in lines[1][3]
    assert "**Left out:** FastAPI + Celery + Redis: no" in page.text_of({"bench/results/of-no-run.json": document})


def test_rows_have_names_of_their_own_and_show_what_their_goals_are_about() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert {goal.figure for goal in row.goals} <= set(row.figures), row.name


def test_whatever_a_peer_installs_is_pinned_by_hash() -> None:
    for requirements in FOLDER.glob("*/requirements.txt"):
        wanted = [line for line in requirements.read_text().splitlines() if "==" in line]
        assert wanted
        assert requirements.read_text().count("--hash=sha256:") >= len(wanted), requirements
        assert "://" not in requirements.read_text(), "no host of a registry"


def test_every_kept_result_of_the_table_can_be_shown() -> None:
    for kept in page.ROOT.glob("bench/results/table-*.json"):
        document = json.loads(kept.read_text())
        assert page.text_of({str(kept.relative_to(page.ROOT)): document})
