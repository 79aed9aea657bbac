"""What is kept: the objects, and the secrets."""

import asyncio
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

from darkroom.doctor.findings import Deployment, Part

LEAST_CHARACTERS = 24
"""Of a secret: 16 random bytes take as many in base64."""
LEAST_DISK = 0.1


async def look_at_objects(deployment: Deployment) -> Part:
    part = Part("objects")
    if deployment.storage_environment is None:
        part.skipped = "nothing says where they are (AWS_S3_BUCKET, or MEDIA_ROOT)"
        return part
    from darkroom.audit.audit import objects_of
    from storage.settings import StoreSettings

    try:
        objects = objects_of(deployment.storage_environment)
    except ValueError as error:
        part.check(False, "settings of storage", _words(error), "Set what is missing (.env.example).")
        return part
    root = Path(deployment.storage_environment.get("MEDIA_ROOT") or StoreSettings.model_fields["media_root"].default)
    try:
        await _try(objects, root)
    except OSError as error:
        found = f"cannot be written to: {error}"
        part.check(False, "store", found, "Make the bucket or the folder, and let storage's keys write to it.")
    else:
        part.check(True, "store", "", "")
    finally:
        await objects.close()
    if objects.backend == "local":
        _look_at_disk(part, root)
    return part


async def _try(objects: Any, root: Path) -> None:
    """Raises OSError. A folder that is not there would be made by the attempt, also where its name is misspelt."""
    if objects.backend == "local" and not await asyncio.to_thread(root.is_dir):
        raise FileNotFoundError(f"there is no folder {root}")
    await objects.check()


def _look_at_disk(part: Part, root: Path) -> None:
    if root.is_dir():
        disk = shutil.disk_usage(root)
        found = f"{disk.free / 2**30:.1f} GB of its disk are left"
        part.check(disk.free >= LEAST_DISK * disk.total, "folder of media", found, "Make room before it is full.")


def look_at_secrets(deployment: Deployment) -> Part:
    part = Part("secrets")
    known = {name: value for name, value in deployment.secrets.items() if value}
    if not known:
        part.skipped = "none is known here"
    for name, value in known.items():
        part.check(
            len(value) >= LEAST_CHARACTERS and len(set(value)) > LEAST_CHARACTERS // 4,
            name,
            f"can be guessed: {len(value)} characters, {len(set(value))} different ones",
            "Make a random one (`openssl rand -hex 24`), and change it on both sides.",
        )
    for (first, one), (second, other) in combinations(known.items(), 2):
        part.check(one != other, f"{first} and {second}", "are the same", "Give each its own.")
    return part


def _words(error: ValueError) -> str:
    """Without the values that were given."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    return "; ".join(str(each["msg"]) for each in errors(include_input=False, include_url=False))
