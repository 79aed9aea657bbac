"""Who we are compared with. Each has a folder with its pinned requirements and is installed into an environment of its
own below `.darkroom/peers/`, by `installed`. What peers run is plain code as their documentation shows it; they import
nothing of ours."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
ENVIRONMENTS = FOLDER.parents[1] / ".darkroom" / "peers"
INSTALL_SECONDS = 600


class NotInstalledError(Exception):
    """A peer cannot be had here; the message is pip's last word."""


def installed(name: str) -> Path:
    """The Python of a peer's environment; installs it where it is missing or its requirements have changed.

    Raises:
        NotInstalledError: pip could not.
    """
    requirements = FOLDER / name / "requirements.txt"
    environment = ENVIRONMENTS / name
    python, stamp = environment / "bin" / "python", environment / "installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(environment, ignore_errors=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    for command in ([sys.executable, "-m", "venv", environment], [*pip, "--requirement", requirements]):
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise NotInstalledError(f"{name}: not installed after {INSTALL_SECONDS} s") from error
        if ran.returncode:
            said = [line for line in ran.stderr.splitlines() if line.startswith("ERROR")] or ["it cannot be installed"]
            raise NotInstalledError(f"{name}: {said[-1]}"[:200])
    stamp.write_text(wanted)
    return python
