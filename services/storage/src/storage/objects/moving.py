"""Two stores while media moves from one to the other: written to the new, read from wherever it is."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import IO

from storage.objects import Absent, Buffer, Objects


class MovingObjects:
    """The new store in front of the former one, which is only read, and deleted from."""

    def __init__(self, current: Objects, former: Objects) -> None:
        self.current = current
        self.former = former

    @property
    def backend(self) -> str:
        return self.current.backend

    async def check(self) -> None:
        await self.current.check()

    async def put(self, name: str, data: IO[bytes], size: int) -> None:
        await self.current.put(name, data, size)

    async def size(self, name: str) -> int | None:
        found = await self.current.size(name)
        return found if found is not None else await self.former.size(name)

    async def put_at(self, name: str) -> datetime | None:
        return await self.current.put_at(name) or await self.former.put_at(name)

    async def open(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self.current.open(name, offset, length)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        except Absent:
            pass  # said before the first byte, or not at all: an object is there whole
        async with aclosing(self.former.open(name, offset, length)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def pieces(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[Buffer, None]:
        try:
            async with aclosing(self.current.pieces(name, offset, length)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        except Absent:
            pass  # as above
        async with aclosing(self.former.pieces(name, offset, length)) as pieces:
            async for piece in pieces:
                yield piece

    async def delete(self, name: str) -> None:
        await self.current.delete(name)
        await self.former.delete(name)

    async def names(self) -> AsyncIterator[list[str]]:
        async for names in self.current.names():
            yield names
        async for names in self.former.names():
            yield names

    async def clear(self) -> None:
        await self.current.clear()
        await self.former.clear()

    async def close(self) -> None:
        await self.current.close()
        await self.former.close()
