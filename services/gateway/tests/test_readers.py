"""Readers of what users are told: written past their streams, in order, and never more than the server takes."""

import asyncio
import socket
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from faststream.nats import NatsBroker
from nats.aio.client import Client as NatsClient

from contracts.facts import Notice, Notified, Verdict
from contracts.topology import notification_subject
from gateway.live import MAX_QUEUED_EVENTS, Hub, Reader, Told
from gateway.notices import MAX_SHOWN_CHARACTERS

from .client import Client, token

SILENT_SECONDS = 60.0


def told(number: int, shown: str | None = "{}") -> Told:
    ids = {"generation_id": str(uuid4()), "user_id": str(uuid4())}
    return Told(f"a-{number}", {**ids, "status": "completed", "dialect": "native", "shown": shown})


class Server:
    """What it was given, and whether it takes more."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_paused = False

    def write(self, said: bytes) -> bool:
        if not self.is_paused:
            self.written.append(said)
        return not self.is_paused


async def waiting(reader: Reader) -> asyncio.Task[list[Told]]:
    stream = asyncio.create_task(reader.heard(SILENT_SECONDS))
    await asyncio.sleep(0)
    return stream


def tell(reader: Reader, *all_told: Told) -> None:
    for each in all_told:
        reader.offer(each)
    reader.tell()


async def test_what_comes_while_a_stream_waits_is_written_past_it_and_together() -> None:
    server = Server()
    reader = Reader(server.write)
    stream = await waiting(reader)
    first, second, third = told(1), told(2), told(3)
    tell(reader, first)
    tell(reader, second, third)
    reader.tell()  # it was offered twice in one turn
    assert [each.count(b"\n\n") for each in server.written] == [1, 2]
    assert b"".join(server.written) == b"".join(each.event("generation") or b"" for each in (first, second, third))
    await asyncio.sleep(0)
    assert not stream.done()
    stream.cancel()


@pytest.mark.parametrize("why", ["paused", "not shown", "known", "not waiting"])
async def test_what_cannot_be_written_now_is_the_streams_with_all_that_follows(why: str) -> None:
    server = Server()
    reader = Reader(server.write)
    stream = await waiting(reader) if why != "not waiting" else None
    server.is_paused = why == "paused"
    reader.known = "a-0" if why == "known" else None
    first, second = told(1, None if why == "not shown" else "{}"), told(2)
    tell(reader, first)
    server.is_paused = False
    tell(reader, second)
    assert server.written == []
    assert await (stream or reader.heard(SILENT_SECONDS)) == [first, second]


async def test_no_id_is_kept_once_it_was_read() -> None:
    """An id is never seen twice, and pydantic would keep the last 16,384 of them: an hour's growth under load."""
    hub, heard = Hub(NatsBroker()), list[Told]()
    hub.told.append(heard.append)
    notice = Notice(generation_id=uuid4(), user_id=uuid4(), status=Verdict.COMPLETED, dialect="native")
    for _ in range(2):
        hub._heard("a-1", Notified.of(notice, "gateway", None).encode())
    first, second = (each.notice["generation_id"] for each in heard)
    assert first == second and first is not second


async def test_a_reader_that_is_lost_is_told_nothing_more() -> None:
    server = Server()
    server.is_paused = True
    reader = Reader(server.write)
    stream = await waiting(reader)
    tell(reader, *(told(number) for number in range(MAX_QUEUED_EVENTS + 1)))
    server.is_paused = False
    tell(reader, told(MAX_QUEUED_EVENTS + 1))
    assert reader.is_lost and await stream == [] and server.written == []


@pytest.mark.connected
async def test_a_client_that_does_not_read_is_sent_away_without_a_gap(client: Client, bus: NatsClient) -> None:
    """What the server would have had to keep for it, it reads from the log when it comes back."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        loop, address = asyncio.get_running_loop(), urlsplit(client.url)
        await loop.sock_connect(connection, (address.hostname, address.port))
        head = f"GET /v1/events HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token(client.user_id)}\r\n"
        await loop.sock_sendall(connection, f"{head}\r\n".encode())
        heard = b""
        async with asyncio.timeout(30):
            while b"event: snapshot" not in heard:
                heard += await loop.sock_recv(connection, 4096)
            said = await _said_much(bus, client.user_id)
            while not heard.endswith(b"\r\n0\r\n\r\n"):
                heard += await loop.sock_recv(connection, 1 << 20)
    numbers = [int(line.rpartition(b"-")[2]) for line in heard.splitlines() if line.startswith(b"id: ")]
    assert 0 < len(numbers) < len(said)
    assert numbers == said[: len(numbers)]


async def _said_much(bus: NatsClient, user_id: UUID) -> list[int]:
    """More than the kernel holds for one connection; their numbers in the log."""
    jetstream, said = bus.jetstream(), []
    for _ in range(800):
        notice = Notice(
            generation_id=uuid4(),
            user_id=user_id,
            status=Verdict.COMPLETED,
            dialect="native",
            shown="x" * MAX_SHOWN_CHARACTERS,
        )
        fact = Notified.of(notice, "gateway", None).encode()
        said.append((await jetstream.publish(notification_subject(user_id, "completed"), fact)).seq)
    return said
