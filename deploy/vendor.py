"""The libraries of the studio's page, copied from the packages that deploy/studio/package-lock.json names.

`make vendor` after a change of the lock. Nobody edits what is copied: a test compares each byte with the packages,
whose hashes npm checks.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "studio"
"""What the page wants, by exact version, and the hashes."""
VENDOR = ROOT / "services/gateway/src/gateway/studio/vendor"
FILES = {
    "preact": ("dist/preact.mjs", "hooks/dist/hooks.mjs"),
    "htm": ("dist/htm.mjs",),
    "@preact/signals": ("dist/signals.mjs",),
    "@preact/signals-core": ("dist/signals-core.mjs",),
}
"""Package → what of it is served. The way to it in the package is not kept: their names differ."""
INSTALL_SECONDS = 100
NEEDED = "The libraries of the studio are copied by npm, which has to be here and to reach a package registry: "


@dataclass(frozen=True, slots=True)
class Library:
    """A package of the lock."""

    name: str
    version: str
    licence: str
    integrity: str
    """`sha512-…`, base64, of its archive."""


def libraries() -> list[Library]:
    """What the lock names."""
    packages = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
    return [
        Library(path.removeprefix("node_modules/"), about["version"], about["license"], about["integrity"])
        for path, about in packages.items()
        if path
    ]


def packed() -> dict[str, bytes]:
    """File name → content of all that belongs into the folder, each library's licence beside it.

    Raises:
        RuntimeError: the packages cannot be had; the message says what is needed.
    """
    npm = shutil.which("npm")
    if not npm:
        raise RuntimeError(f"{NEEDED}there is none.")
    with tempfile.TemporaryDirectory() as place:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(FOLDER / name, place)
        done = subprocess.run(  # noqa: S603
            [npm, "ci"], cwd=place, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{NEEDED}npm ci ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        found = {}
        for library in libraries():
            package = Path(place, "node_modules", library.name)
            found[licence_file(library)] = (package / "LICENSE").read_bytes()
            for file in FILES[library.name]:
                found[Path(file).name] = (package / file).read_bytes()
        return found


def licence_file(library: Library) -> str:
    """Says the version, too: minified files do not."""
    return f"{library.name.rpartition('/')[2]}-{library.version}.licence.txt"


def main() -> None:
    """The folder holds exactly that afterwards."""
    content = packed()
    shutil.rmtree(VENDOR, ignore_errors=True)
    VENDOR.mkdir()
    for name, each in content.items():
        (VENDOR / name).write_bytes(each)
    sys.stdout.write("".join(f"{library.name} {library.version}\n" for library in libraries()))


if __name__ == "__main__":
    main()
