"""Whether the database is as the last migration left it.

Migrating when there is nothing to migrate takes two seconds, all of them spent on loading what migrates. So what was
migrated is written down beside the database, and compared with the histories and with the database itself.
"""

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path

from darkroom.embedded.postgres import execute
from darkroom.histories import migrations_of
from darkroom.stack import SERVICES, write_private

_VERSIONS = " UNION ALL ".join(
    f"SELECT '{service}', version_num FROM {service}.alembic_version"  # noqa: S608
    for service in SERVICES
)


def is_migrated(admin_url: str, urls: Mapping[str, str], note: Path) -> bool:
    """Whether nothing has changed since `remember`: not the code, not the passwords, not the database."""
    try:
        known = json.loads(note.read_text())
        return bool(known == _state(admin_url, urls))
    except (OSError, ValueError, RuntimeError):
        return False


def remember(admin_url: str, urls: Mapping[str, str], note: Path) -> None:
    """Writes down what a migration came to."""
    write_private(note, _state(admin_url, urls))


def _state(admin_url: str, urls: Mapping[str, str]) -> dict[str, str]:
    """Raises RuntimeError where the tables are missing."""
    digest = hashlib.sha256(json.dumps(dict(urls)).encode())
    for path in _sources():
        digest.update(path.name.encode() + path.read_bytes())
    return {"sources": digest.hexdigest(), "versions": execute(admin_url, f"{_VERSIONS} ORDER BY 1, 2")}


def _sources() -> list[Path]:
    own = importlib.util.find_spec("darkroom.migration")
    paths = [Path(own.origin)] if own is not None and own.origin is not None else []
    for service in SERVICES:
        paths += sorted(migrations_of(service).glob("**/*.py"))
    views = importlib.util.find_spec("darkroom.views")
    if views is not None and views.origin is not None:
        paths += sorted(Path(views.origin).parent.glob("*.*"))
    return paths
