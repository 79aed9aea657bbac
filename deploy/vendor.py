"""The libraries of the pages, copied from the packages that deploy/studio/package-lock.json names.

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
"""What the pages want, by exact version, and the hashes."""
PAGE = ROOT / "services/gateway/src/gateway/studio"
VENDOR, REFERENCE = "vendor", "reference/vendor"
"""The folders of the libraries of the studio, and of the page that shows the API."""
FILES = {
    "preact": (VENDOR, "dist/preact.mjs", "hooks/dist/hooks.mjs"),
    "htm": (VENDOR, "dist/htm.mjs"),
    "@preact/signals": (VENDOR, "dist/signals.mjs"),
    "@preact/signals-core": (VENDOR, "dist/signals-core.mjs"),
    "swagger-ui-dist": (
        REFERENCE,
        "swagger-ui-bundle.js",
        "swagger-ui.css",
        "swagger-ui-bundle.js.LICENSE.txt",
        "NOTICE",
    ),
}
"""Package → the folder, and what of it is served. The way to it in the package is not kept: their names differ."""
INSTALL_SECONDS = 100
NEEDED = "The libraries of the pages are copied by npm, which has to be here and to reach a package registry: "


@dataclass(frozen=True, slots=True)
class Library:
    """A package of the lock."""

    name: str
    version: str
    licence: str
    integrity: str
    """`sha512-…`, base64, of its archive."""


def libraries() -> list[Library]:
    """What the lock names and a page has: what only counts who installs a package is not served."""
    packages = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
    return [
        Library(name, packages[path]["version"], packages[path]["license"], packages[path]["integrity"])
        for path in packages
        if (name := path.removeprefix("node_modules/")) in FILES
    ]


def packed() -> dict[str, bytes]:
    """Path below the page → content of all that belongs into the folders, each library's licence beside it.

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
            folder, *served = FILES[library.name]
            found[f"{folder}/{licence_file(library)}"] = (package / "LICENSE").read_bytes()
            for file in served:
                found[f"{folder}/{Path(file).name}"] = (package / file).read_bytes()
        return found


def licence_file(library: Library) -> str:
    """Says the version, too: minified files do not."""
    return f"{library.name.rpartition('/')[2]}-{library.version}.licence.txt"


def main() -> None:
    """The folders hold exactly that afterwards."""
    content = packed()
    for folder in (VENDOR, REFERENCE):
        shutil.rmtree(PAGE / folder, ignore_errors=True)
        (PAGE / folder).mkdir(parents=True)
    for path, each in content.items():
        (PAGE / path).write_bytes(each)
    sys.stdout.write("".join(f"{library.name} {library.version}\n" for library in libraries()))


if __name__ == "__main__":
    main()
