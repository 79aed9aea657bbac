"""Disks that can fill up and disks whose power can be cut."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TOOLS = ("mount", "umount", "losetup", "mkfs.ext4", "cp")


def run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True, timeout=120)


def needs_root() -> None:
    """Skips in words where nothing may be mounted."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root and {', '.join(TOOLS)} (missing: {', '.join(missing) or 'root'})")


@contextmanager
def small(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own, in memory."""
    needs_root()
    folder.mkdir(parents=True)
    run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder)
    try:
        yield folder
    finally:
        run("umount", "-l", folder)


def grow(folder: Path, megabytes: int) -> None:
    run("mount", "-o", f"remount,size={megabytes}m", folder)


class Disk:
    """An ext4 file system in a file. `cut` is what a power cut leaves: what had reached the device, and nothing of
    what the kernel still had in memory."""

    def __init__(self, folder: Path, megabytes: int = 300) -> None:
        needs_root()
        self._folder = folder
        self._number = 0
        self._image = folder / "disk-0.img"
        self.place = folder / "disk"
        self.place.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(megabytes << 20)
        run("mkfs.ext4", "-q", "-F", self._image)
        self._mount()

    def _mount(self) -> None:
        run("mount", "-o", "loop", self._image, self.place)

    def freeze(self) -> Path:
        """A copy of the device as it is this moment."""
        self._number += 1
        copy = self._folder / f"disk-{self._number}.img"
        run("cp", "--sparse=always", self._image, copy)
        return copy

    def replace(self, copy: Path) -> None:
        """The machine comes back with that disk. Whoever used the former one must be dead."""
        run("umount", "-l", self.place)
        self._image.unlink()
        self._image = copy
        self._mount()

    def remove(self) -> None:
        run("umount", "-l", self.place)
        self._image.unlink()
