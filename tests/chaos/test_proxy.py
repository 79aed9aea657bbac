"""The proxy does what its faults are called; otherwise the chaos run proves nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from darkroom.embedded.ports import free_port
from tests.chaos.proxy import Fault, Link


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(100):
            writer.write(chunk)

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = Link("echo", free_port(), server.sockets[0].getsockname()[1], delay_seconds=0.2)
    await link.start()
    yield link
    await link.stop()
    server.close()


async def answer(link: Link, seconds: float = 5) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        writer.write(b"hello")
        return await asyncio.wait_for(reader.read(100), seconds)
    finally:
        writer.close()


@pytest.mark.parametrize("fault", list(Fault), ids=str)
async def test_a_fault_does_what_it_is_called(link: Link, fault: Fault) -> None:
    link.set(fault)
    began = asyncio.get_running_loop().time()
    match fault:
        case Fault.NONE:
            assert await answer(link) == b"hello"
        case Fault.SLOW:
            assert await answer(link) == b"hello"
            assert asyncio.get_running_loop().time() - began >= 0.4
        case Fault.RESET:
            with pytest.raises(ConnectionError):
                await answer(link)
        case Fault.BLACK_HOLE | Fault.HALF_OPEN:
            with pytest.raises(TimeoutError):
                await answer(link, 0.3)
    link.set(Fault.NONE)
    assert await answer(link) == b"hello"


async def test_a_reset_ends_what_is_open(link: Link) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"hello")
    assert await reader.read(100) == b"hello"
    link.set(Fault.RESET)
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(reader.read(100), 5)
