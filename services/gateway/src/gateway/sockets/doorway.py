"""Who has opened a connection and joined nothing: how many may, and for how long.

A connection is counted for its user once it has joined, with a token. Before that it belongs to nobody, and after it
has left as well.
"""

import asyncio
import contextlib
from functools import partial
from typing import Any

import socketio
from engineio.async_socket import AsyncSocket
from engineio.exceptions import QueueEmpty
from engineio.packet import Packet

NAMESPACE = "/"
MAX_STANDING = 1000
"""Connections of one process that have not joined."""
JOIN_SECONDS = 10.0


class Doorway(socketio.AsyncServer):  # type: ignore[misc]
    """Socket.IO's server, with a door that does not stay blocked."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._standing: dict[str, asyncio.TimerHandle] = {}
        """Those who have not joined, and when their time is over."""
        self._closing: set[asyncio.Task[None]] = set()

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> bool | None:
        if len(self._standing) >= MAX_STANDING:
            return False
        await super()._handle_eio_connect(eio_sid, environ)
        connection = self.eio.sockets[eio_sid]
        connection.poll = partial(_poll, connection)
        self._stand(eio_sid)
        return None

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        is_asked_again = self.manager.sid_from_eio_sid(eio_sid, NAMESPACE) is not None
        try:
            await super()._handle_connect(eio_sid, namespace, data)
        finally:
            if not is_asked_again:
                await self._joined(eio_sid)

    async def _joined(self, eio_sid: str) -> None:
        """Socket.IO says no goodbye to whoever left while he was being let in, nor to whom an error kept out."""
        socket, connection = self.manager.sid_from_eio_sid(eio_sid, NAMESPACE), self.eio.sockets.get(eio_sid)
        if socket is None:
            return
        if self.manager.is_connected(socket, NAMESPACE) and connection is not None and not connection.closed:
            self._go(eio_sid)
            return
        await self._trigger_event("disconnect", NAMESPACE, socket, self.reason.TRANSPORT_CLOSE)
        await self.manager.disconnect(socket, NAMESPACE, ignore_queue=True)

    async def _handle_disconnect(self, eio_sid: str, namespace: str | None, reason: Any = None) -> None:
        await super()._handle_disconnect(eio_sid, namespace, reason)
        if eio_sid in self.eio.sockets and eio_sid not in self._standing:
            self._stand(eio_sid)

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Whoever is sent away stands in the door again, and not beside it."""
        eio_sid = self.manager.eio_sid_from_sid(sid, NAMESPACE)
        await super().disconnect(sid, namespace, ignore_queue)
        if eio_sid in self.eio.sockets and eio_sid not in self._standing:
            self._stand(eio_sid)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: Any) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        self._go(eio_sid)
        if reason == self.reason.CLIENT_DISCONNECT and (connection := self.eio.sockets.get(eio_sid)) is not None:
            # Ends the poll that it still waits in: Engine.IO would leave it open for as long as a client may be silent.
            connection.queue.put_nowait(None)

    def _stand(self, eio_sid: str) -> None:
        self._standing[eio_sid] = asyncio.get_running_loop().call_later(JOIN_SECONDS, self._show_out, eio_sid)

    def _go(self, eio_sid: str) -> None:
        if (timer := self._standing.pop(eio_sid, None)) is not None:
            timer.cancel()

    def _show_out(self, eio_sid: str) -> None:
        async def close() -> None:
            connection = self.eio.sockets.get(eio_sid)
            if connection is not None:
                with contextlib.suppress(Exception):
                    await connection.close(wait=False)
                    connection.queue.put_nowait(None)  # which ends its writer, and so the connection
                self.eio.sockets.pop(eio_sid, None)
            self._go(eio_sid)

        task = asyncio.get_running_loop().create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _poll(connection: AsyncSocket) -> list[Packet]:
    """What there is to be sent, as Engine.IO's own `poll` gives it, at a quarter of the work: that one makes a task and
    a timer for each wait. A websocket needs neither, since whoever reads from it notices silence. Nothing means that
    the connection is over.

    Raises:
        QueueEmpty: there was nothing for longer than a client may be silent.
    """
    queue, server = connection.queue, connection.server
    silence_seconds = None if connection.upgraded else server.ping_interval + server.ping_timeout
    try:
        async with asyncio.timeout(silence_seconds):
            packets = [await queue.get()]
    except (TimeoutError, asyncio.CancelledError) as error:
        raise QueueEmpty from error
    queue.task_done()
    if packets == [None]:
        return []
    while not queue.empty():
        packet = queue.get_nowait()
        queue.task_done()
        if packet is None:
            queue.put_nowait(None)
            break
        packets.append(packet)
    return packets
