"""`python -m scripts.seed_profiles`, as an operator runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.seed_profiles import CREATORS
from tests.tables import Tables

pytestmark = pytest.mark.connected

ROOT = Path(__file__).parents[2]


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a folder where no stack runs."""
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "scripts.seed_profiles"]
    return subprocess.run(
        command, cwd=folder, env=kept | environment, capture_output=True, text=True, timeout=60, check=False
    )


async def test_it_makes_creators_once(tables: Tables, tmp_path: Path) -> None:
    await tables.admin.execute(
        "INSERT INTO gateway.instaveo_creators (id, username) VALUES (gen_random_uuid(), $1)", CREATORS[0].upper()
    )
    first, second = run(tmp_path, DATABASE_URL=tables.admin_url), run(tmp_path, DATABASE_URL=tables.admin_url)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout.startswith(f"{len(CREATORS) - 1} creators made: ")
    assert second.stdout == "0 creators made.\n"
    names = await tables.admin.fetch("SELECT username FROM instaveo.profiles WHERE username = ANY ($1)", list(CREATORS))
    assert {row["username"] for row in names} == {*CREATORS[1:]}


def test_without_a_database_it_says_what_is_missing(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    assert "DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr
