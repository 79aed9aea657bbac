"""Objects as files below one folder.

Their paths are strings: pathlib keeps each part of each name in the interpreter's table of strings while it is used,
and that table grows by them; it also takes several times as long.
"""

import asyncio
import mmap
import os
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, BinaryIO, TypeVar

from storage.objects import CHUNK_BYTES, NAME, Absent, Buffer, checked

THREADS = 16
NAMES_PER_LIST = 1000
ABANDONED_SECONDS = 3600
"""A file that was begun so long ago belongs to a process that died."""
PIECE_BYTES = 1 << 20
"""Mapped at once; it takes none of our memory, and the disk is waited for in a thread."""
READ_BYTES = 64 << 10
"""What is not longer is read faster than mapped."""
_SHARED = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
"""All of it is in memory before anybody waits for it; Linux alone can say so."""

T = TypeVar("T")
Part = TypeVar("Part", bytes, Buffer)


class LocalObjects:
    """Content-addressed files. A file appears under its name only when its bytes are on the disk."""

    backend = "local"

    def __init__(self, root: Path) -> None:
        self._root = str(root.resolve())
        self._begun = f"{self._root}/.begun"
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="objects")

    async def check(self) -> None:
        await self._run(self._probe)

    async def put(self, name: str, data: IO[bytes], size: int) -> None:
        await self._run(self._put, self._path(name), data, size)

    async def size(self, name: str) -> int | None:
        return await self._run(_size, self._path(name))

    async def put_at(self, name: str) -> datetime | None:
        try:
            return datetime.fromtimestamp(await self._run(os.path.getmtime, self._path(name)), UTC)
        except FileNotFoundError:
            return None

    def open(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        return self._parts(name, offset, length, _read)

    def pieces(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[Buffer, None]:
        return self._parts(name, offset, length, _map)

    async def delete(self, name: str) -> None:
        await self._run(_unlink, self._path(name))

    async def names(self) -> AsyncIterator[list[str]]:
        found = self._walk()
        while names := await self._run(lambda: list(islice(found, NAMES_PER_LIST))):
            yield names

    async def clear(self) -> None:
        await self._run(self._remove_abandoned)

    async def close(self) -> None:
        self._threads.shutdown(wait=False)

    async def _parts(
        self, name: str, offset: int, length: int | None, take: Callable[[BinaryIO, int, int], Part]
    ) -> AsyncGenerator[Part, None]:
        """One hop for a small object: it is opened and its first part taken at once."""
        file, part, remaining = await self._run(_begin, self._path(name), offset, length, take)
        try:
            yield part
            while remaining:
                offset += len(part)
                part = await self._run(take, file, offset, remaining)
                remaining -= len(part)
                yield part
        finally:
            file.close()

    def _path(self, name: str) -> str:
        return f"{self._root}/{checked(name)}"

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _put(self, path: str, data: IO[bytes], size: int) -> None:
        if _size(path) == size:
            _sync_folder(os.path.dirname(path))  # whoever put it may not have come to that yet
            return
        data.seek(0)
        begun, file = self._begin_file()
        try:
            with file:
                shutil.copyfileobj(data, file, CHUNK_BYTES)
                if file.tell() != size:
                    raise OSError(f"{file.tell()} bytes came instead of {size}")
                os.fsync(file.fileno())
            _in_folder(os.path.dirname(path), lambda: os.replace(begun, path))
        except BaseException:
            _unlink(begun)
            raise
        _sync_folder(os.path.dirname(path))

    def _begin_file(self) -> tuple[str, BinaryIO]:
        """A new file that only we know of, for nobody else to read."""
        path = f"{self._begun}/{secrets.token_hex(16)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        return path, open(_in_folder(self._begun, lambda: os.open(path, flags, 0o600)), "wb", buffering=0)

    def _probe(self) -> None:
        begun, file = self._begin_file()
        try:
            with file:
                file.write(b"?")
        finally:
            os.unlink(begun)

    def _walk(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self._root):
            folders.sort()
            for file in files:
                name = f"{folder}/{file}".removeprefix(f"{self._root}/")
                if NAME.fullmatch(name):
                    yield name

    def _remove_abandoned(self) -> None:
        with suppress(FileNotFoundError), os.scandir(self._begun) as files:
            for file in files:
                if file.stat().st_mtime < time.time() - ABANDONED_SECONDS:
                    _unlink(file.path)


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _begin(
    path: str, offset: int, length: int | None, take: Callable[[BinaryIO, int, int], Part]
) -> tuple[BinaryIO, Part, int]:
    """The open file, its first part and how many bytes are still to come."""
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - whoever asked closes it
    except FileNotFoundError:
        raise Absent(os.path.basename(path)) from None
    try:
        size = os.fstat(file.fileno()).st_size
        wanted = max(0, size - offset if length is None else min(length, size - offset))
        part = take(file, offset, wanted)
    except BaseException:
        file.close()
        raise
    return file, part, wanted - len(part)


def _read(file: BinaryIO, offset: int, wanted: int) -> bytes:
    """At most a chunk. Raises OSError where there is nothing any more."""
    file.seek(offset)
    chunk = file.read(min(wanted, CHUNK_BYTES))
    if wanted and not chunk:
        raise OSError(f"the file became shorter: {file.name}")
    return chunk


def _map(file: BinaryIO, offset: int, wanted: int) -> Buffer:
    """At most a piece, as a view of the file itself: the kernel copies from its cache to the socket, which takes half
    the CPU of passing the bytes through our memory. Whoever looked into it would die with a disk that fails, where
    `_read` raises OSError, and so does the kernel for the socket."""
    if wanted <= READ_BYTES:
        return _read(file, offset, wanted)
    before = offset % mmap.ALLOCATIONGRANULARITY
    size = min(wanted, PIECE_BYTES)
    mapped = mmap.mmap(file.fileno(), before + size, _SHARED, mmap.PROT_READ, offset=offset - before)
    return memoryview(mapped)[before:]


def _in_folder(folder: str, act: Callable[[], T]) -> T:
    """Does what needs a folder, which is there nearly always."""
    try:
        return act()
    except FileNotFoundError:
        _make_folder(folder)
        return act()


def _make_folder(folder: str) -> None:
    """A new folder is as durable as its entry in the one above."""
    if not os.path.isdir(folder):
        above = os.path.dirname(folder)
        _make_folder(above)
        with suppress(FileExistsError):
            os.mkdir(folder)
        _sync_folder(above)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
