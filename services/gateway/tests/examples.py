"""Examples of whatever a description allows and does not: the same ones in every run of the suite, others with every
seed of `make fuzz` (`FUZZ_SEED`, which hypothesis is told as well)."""

import os

from hypothesis import HealthCheck, Phase, settings

FUZZED = "FUZZ_SEED" in os.environ
TIMES_AS_MANY = 5
"""Under a seed: most of a run's time goes into starting what is asked."""


def bounded(max_examples: int) -> settings:
    """No failure is shrunk: the first one is shown as it was sent."""
    return settings(
        max_examples=max_examples * TIMES_AS_MANY if FUZZED else max_examples,
        deadline=None,
        database=None,
        derandomize=not FUZZED,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
