"""The version before this one: its sources and the schemas of its contracts, which `make former` keeps at a release.

Version N has to live beside version N-1 for as long as an upgrade takes, or a way back (docs/operating.md). Kept here
and not taken from the history of the repository, since not everybody who runs the tests has that.
"""

import json
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

KEPT = Path(__file__).parent / "version.tar.xz"


def schemas() -> dict[str, dict[str, Any]]:
    """Name → JSON Schema, as in contracts/schemas."""
    with tarfile.open(KEPT) as version:
        found = {}
        for member in version:
            path = PurePosixPath(member.name)
            if path.parent == PurePosixPath("contracts/schemas") and path.suffix == ".json":
                content = version.extractfile(member)
                assert content is not None
                found[path.stem] = json.loads(content.read())
        return found


def sources(folder: Path) -> list[Path]:
    """Puts its packages below a folder; returns what `PYTHONPATH` has to name for them to be found."""
    with tarfile.open(KEPT) as version:
        version.extractall(folder, filter="data")
    return sorted(folder.glob("**/src"))
