"""The one consumer of NOTIFICATIONS of this process: every notification once, in the order of the log.

Its order is looked after here, as an ordered consumer's is: what comes out of turn, or no more, ends the consumer, and
another begins with what is new. nats-py's own answers the server's flow control four times a second, which holds back
what thousands of clients wait for; here the server sends what it has, and a process that reads too slowly is found out
by the gap.
"""

import asyncio
import contextlib
from collections.abc import Callable

import structlog
from faststream.nats import NatsBroker
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamInfo

from contracts.topology import NOTIFICATIONS

HEARTBEAT_SECONDS = 2.0
MAX_SILENT_SECONDS = 10.0
"""Without even a heartbeat: the consumer is gone."""
RESUBSCRIBE_SECONDS = 2.0
STOP_SECONDS = 2.0

Heard = Callable[[str, bytes], None]
"""Is told the id of each notification, `<stream created, base 36>-<sequence>`, and the fact."""
log = structlog.get_logger()


class Notifications:
    """Tells `heard` of each; and `begun` that from now on it does, so that whoever was told before has missed some."""

    def __init__(self, broker: NatsBroker, heard: Heard, begun: Callable[[], None]) -> None:
        self._broker = broker
        self._heard = heard
        self._begun = begun
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._is_alive = False
        self._epoch = ""
        self._number = 0

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="notifications")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            # Bounded: on Python 3.11 the wait_for of nats-py may lose the cancellation.
            await asyncio.wait([self._task], timeout=STOP_SECONDS)

    def lose(self) -> None:
        """Begins anew: something may have been missed."""
        self._lost.set()

    async def _run(self) -> None:
        while True:
            self._lost.clear()
            try:
                await self._consume()
            except Exception as error:
                log.warning("notifications.not_followed", error=f"{type(error).__name__}: {error}"[:200])
                await asyncio.sleep(RESUBSCRIBE_SECONDS)

    async def _consume(self) -> None:
        connection = self._broker.connection
        jetstream = connection.jetstream()
        self._epoch, self._number = epoch_of(await jetstream.stream_info(NOTIFICATIONS.name)), 0
        inbox = connection.new_inbox()
        subscription = await connection.subscribe(inbox, cb=self._arrived)
        try:
            await jetstream.add_consumer(NOTIFICATIONS.name, _configuration(inbox))
            # What was said before is heard by nobody here: readers of that time come back for it.
            self._begun()
            self._is_alive = True
            while self._is_alive and not self._lost.is_set():
                self._is_alive = False
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(MAX_SILENT_SECONDS):
                        await self._lost.wait()
        finally:
            with contextlib.suppress(NatsError, OSError):
                await subscription.unsubscribe()

    async def _arrived(self, message: Msg) -> None:
        self._is_alive = True
        if not message.reply.startswith("$JS.ACK."):
            return  # a heartbeat
        # …<stream sequence>.<consumer sequence>.<time>.<pending>, and a token more where the account is named.
        tokens = message.reply.split(".")
        place = 5 if len(tokens) == _SHORT_REPLY else 7
        number = int(tokens[place + 1])
        if number != self._number + 1:
            self._lost.set()
            return
        self._number = number
        self._heard(f"{self._epoch}-{tokens[place]}", message.data)


_SHORT_REPLY = 9
"""Tokens of an address for acknowledgements without domain and account."""


def _configuration(inbox: str) -> ConsumerConfig:
    return ConsumerConfig(
        deliver_subject=inbox,
        deliver_policy=DeliverPolicy.NEW,
        ack_policy=AckPolicy.NONE,
        max_deliver=1,
        idle_heartbeat=HEARTBEAT_SECONDS,
        num_replicas=1,
        mem_storage=True,
    )


def epoch_of(info: StreamInfo) -> str:
    """Tells this stream from one that was made anew under its name."""
    return _base36(int(info.created.timestamp() * 1000)) if info.created else "0"


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"
