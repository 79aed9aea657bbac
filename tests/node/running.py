"""Installs the Node packages of the lock file beside this, once, and runs the tests that use them."""

import asyncio
import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent
MARK = FOLDER / "node_modules" / ".installed-from"
"""Says which lock file the packages are from: the last thing that an installation writes."""
INSTALL_SECONDS = 100
RUN_SECONDS = 60

NEEDED = """The tests of the official Node SDKs need Node 20 or later, npm, and a package registry that npm reaches:
they install what tests/node/package-lock.json names, with its hashes. Without them: make test ARGS="-m 'not node'"
"""


async def passes(file: str, **environment: str) -> None:
    """Runs the tests of a file of this folder; fails with what node's runner says.

    `environment`: all that the tests know, beside PATH.
    """
    said = await _node("--test", "--test-reporter=tap", file, **environment)
    assert int(said.rpartition("\n# pass ")[2].split()[0]) > 0, "no test ran"


async def says(program: str, **environment: str) -> list[str]:
    """Runs a module with the packages at hand: the lines that it printed."""
    return (await _node("--input-type=module", "--eval", program, **environment)).splitlines()


async def _node(*words: str, **environment: str) -> str:
    await asyncio.to_thread(install)
    process = await asyncio.create_subprocess_exec(
        "node",
        *words,
        cwd=FOLDER,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(RUN_SECONDS):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said.decode()
    return said.decode()


def install() -> None:
    """What the lock file names is there afterwards. Another process that installs at the same time is waited for.

    Raises:
        RuntimeError: it cannot be had; the message says what is needed.
    """
    wanted = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    with (FOLDER / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if MARK.exists() and MARK.read_text() == wanted:
            return
        if not shutil.which("node") or not shutil.which("npm"):
            raise RuntimeError(f"{NEEDED}There is no {'npm' if shutil.which('node') else 'node'} here.")
        done = subprocess.run(
            ["npm", "ci"], cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{NEEDED}npm ci ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        MARK.write_text(wanted)
