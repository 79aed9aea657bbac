"""What a seed does to a running stack, one thing after another, and how it takes it all back."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Awaitable, Callable

import nats
import psutil
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from contracts.topology import CONSUMERS, STREAMS
from tests.chaos.conftest import Broken
from tests.chaos.proxy import Fault, Link

PARTS = ("gateway", "ledger", "generator", "storage", "nats", "postgres", "topology")
"""Not the simulator: its journal is the invoice that the auditor compares with."""
SHORT_SECONDS = (0.5, 3.0)
Act = Callable[[], Awaitable[str]]


class Nemesis:
    """Its dice decide what comes next; `done` says what it did."""

    def __init__(self, darkroom: Broken, links: list[Link], seed: int) -> None:
        self._darkroom = darkroom
        self._links = links
        self._dice = random.Random(seed)
        self._stopped: set[int] = set()
        self._left = list(PARTS)
        self._dice.shuffle(self._left)
        self.done: list[str] = []

    async def rage(self, seconds: float) -> None:
        """Something every few seconds; each part is killed at least once where there is time for that."""
        give_up_at = asyncio.get_running_loop().time() + seconds
        acts: list[Act] = [self._kill, self._kill, self._kill, self._pause, self._pause, self._link, self._link]
        acts += [self._link, self._wipe, self._delete_consumer, self._delete_stream]
        while asyncio.get_running_loop().time() < give_up_at:
            try:
                self.done.append(await self._dice.choice(acts)())
            except (OSError, NatsError, JetStreamError, TimeoutError, KeyError, psutil.NoSuchProcess) as error:
                self.done.append(f"nothing: {type(error).__name__}")
            await asyncio.sleep(self._dice.uniform(0.3, 1.5))

    async def heal(self) -> None:
        for link in self._links:
            link.set(Fault.NONE)
        for pid in list(self._stopped):
            self._go_on(pid)

    async def _kill(self) -> str:
        part = self._left.pop() if self._left else self._dice.choice(PARTS)
        self._darkroom.kill(part)
        return f"kill {part}"

    async def _pause(self) -> str:
        part = self._dice.choice(PARTS)
        seconds = self._dice.uniform(*SHORT_SECONDS) * (3 if self._dice.random() < 0.2 else 1)
        pid = self._darkroom.pid(part)
        os.kill(pid, signal.SIGSTOP)
        self._stopped.add(pid)
        await asyncio.sleep(seconds)
        self._go_on(pid)
        return f"pause {part} {seconds:.1f} s"

    def _go_on(self, pid: int) -> None:
        self._stopped.discard(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    async def _link(self) -> str:
        link = self._dice.choice(self._links)
        fault = self._dice.choice([fault for fault in Fault if fault is not Fault.NONE])
        seconds = self._dice.uniform(*SHORT_SECONDS)
        link.set(fault)
        await asyncio.sleep(seconds)
        link.set(Fault.NONE)
        return f"{fault} on the link to {link.name} {seconds:.1f} s"

    async def _wipe(self) -> str:
        await asyncio.to_thread(self._darkroom.wipe_broker)
        return "wipe the broker"

    async def _delete_consumer(self) -> str:
        consumer = self._dice.choice(CONSUMERS)
        async with self._operator() as jetstream:
            await jetstream.delete_consumer(consumer.stream, consumer.durable)
        return f"delete the consumer {consumer.durable}"

    async def _delete_stream(self) -> str:
        stream = self._dice.choice(STREAMS)
        async with self._operator() as jetstream:
            await jetstream.delete_stream(stream.name)
        return f"delete the stream {stream.name}"

    @contextlib.asynccontextmanager
    async def _operator(self):
        client = await nats.connect(self._darkroom.known["nats_url"], allow_reconnect=False, connect_timeout=2)
        try:
            yield client.jetstream(timeout=2)
        finally:
            await client.close()
