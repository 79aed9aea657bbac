"""Five hundred seeds through drop, duplicate, reorder, delay, wipe and crash between any two effects; `make proof` runs
ten thousand. Every planted bug is found by one of the first seeds."""

import pytest

from tests.simulation.bugs import BUGS, Bug
from tests.simulation.seeds import found_by, kept_seeds

SEEDS = 500
AT_ONCE = 50
MOST_SEEDS_TO_FIND_A_BUG = 600


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_p1_to_p9_p11_p16_p17_hold_for_every_seed(first: int) -> None:
    contradicted = {seed: found for seed in range(first, first + AT_ONCE) if (found := found_by(seed))}
    assert contradicted == {}, "python -m tests.simulation keeps such seeds"


def test_seeds_that_once_found_something_find_nothing_any_more() -> None:
    assert {seed: found for seed in kept_seeds() if (found := found_by(seed))} == {}


def test_a_seed_finds_the_same_twice() -> None:
    bug = "no_fence_is_compared"
    assert [found_by(seed, bug) for seed in range(20)] == [found_by(seed, bug) for seed in range(20)]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    if bug.patch is not None:
        bug.patch(monkeypatch)
    for seed in (bug.seed, *range(MOST_SEEDS_TO_FIND_A_BUG)):
        if any(words.startswith(bug.promise) for words in found_by(seed, bug.name)):
            return
    pytest.fail(f"{MOST_SEEDS_TO_FIND_A_BUG} seeds did not notice")
