"""Asks whether anything that requirements.lock names is known to be vulnerable: `python -m deploy.advisories`.

A part of `make check`, and the only one that asks somebody outside: pip-audit does, at the package index. Where nobody
answers within a minute it says so and lets the rest go on, since whether a machine may ask is not what is checked.
Whoever ships has to have seen an answer.
"""

import json
import subprocess
import sys
from dataclasses import dataclass

from deploy.supply import ROOT

SECONDS = 60
ONE_ANSWER_SECONDS = 10
ACCEPTED: dict[str, str] = {}
"""Advisory → why it does not concern us. It stays for as long as the lock has that version."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of the whole lock."""

    looked_at: int
    """Packages of which the service knows something."""
    skipped: int
    vulnerable: tuple[str, ...]
    """A line for each advisory that is not accepted."""


def ask(seconds: float = SECONDS) -> Answer | str:
    """What the service says, or in words why there is no answer."""
    lock = str(ROOT / "requirements.lock")
    words = ["--require-hashes", "--disable-pip", "--requirement", lock, "--format", "json"]
    words += ["--progress-spinner", "off", "--timeout", str(ONE_ANSWER_SECONDS)]
    try:
        asked = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "pip_audit", *words], capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {seconds:.0f} s"
    try:
        return judge(asked.stdout)
    except json.JSONDecodeError:
        return (asked.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1][:300]
    except ValueError as error:
        return str(error)


def judge(report: str) -> Answer:
    """Reads pip-audit's report. Raises ValueError where it says nothing."""
    packages = json.loads(report)["dependencies"]
    lines = [
        f"{package['name']} {package['version']}: {advisory['id']}, mended in "
        f"{', '.join(advisory['fix_versions']) or 'no version yet'}"
        for package in packages
        for advisory in package.get("vulns", ())
        if advisory["id"] not in ACCEPTED
    ]
    skipped = sum("skip_reason" in package for package in packages)
    if skipped == len(packages):
        raise ValueError("the service knows none of these packages")
    return Answer(len(packages) - skipped, skipped, tuple(lines))


def main() -> int:
    answer = ask()
    if isinstance(answer, str):
        line = "!" * 100
        sys.stderr.write(f"{line}\nNOT CHECKED for known vulnerabilities: {answer}\n{line}\n")
        return 0
    for vulnerable in answer.vulnerable:
        sys.stderr.write(f"{vulnerable}\n")
    of_all = f"{answer.looked_at} packages looked at, {answer.skipped} not known to the service"
    sys.stderr.write(f"{of_all}, {len(answer.vulnerable)} known vulnerabilities.\n")
    return 1 if answer.vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
