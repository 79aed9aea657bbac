"""A film that Darkroom speaks and makes itself: its generator is killed at each arrow twenty times, with the journal
counted. The suite crosses each of them twice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TIMES = 20
SECONDS = 3600

pytestmark = pytest.mark.timeout(SECONDS + 60)


def test_f13_f14_p11_each_arrow_of_a_film_is_crossed_twenty_times() -> None:
    """`sent`, `accepted`, `begun`, `composing`, `made` and `rendered`: no speech is silently paid twice."""
    command = [sys.executable, "-m", "pytest", "-q", "services/generator/tests/test_film_crash.py"]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"FILM_CRASH_TIMES": str(TIMES)},
        check=False,
        timeout=SECONDS,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout[-5000:]
