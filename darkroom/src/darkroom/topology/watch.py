"""The watcher: repairs what is missing, when it hears of it, and at the latest when it looks again. Survives a broker
that is away."""

import asyncio
import contextlib
import json
import sys
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from darkroom.jetstream import DELETIONS, connect
from darkroom.topology.apply import apply

EVERY_SECONDS = 5.0
"""At the latest: something may have gone while nobody listened."""
AT_MOST_EVERY_SECONDS = 0.5


async def watch(nats_url: str, replicas: int = 1) -> None:
    """Runs until it is cancelled."""
    gone = asyncio.Event()

    async def deleted(_: Msg) -> None:
        gone.set()

    async def reconnected() -> None:
        gone.set()  # its disk may be an empty one

    client = await connect(nats_url, "topology", patient=True, forbidden=_Forbidden(), reconnected=reconnected)
    try:
        for advisories in DELETIONS:
            await client.subscribe(advisories, cb=deleted)
        await _keep(client, replicas, gone)
    finally:
        await client.close()


async def _keep(client: Client, replicas: int, gone: asyncio.Event) -> None:
    said: object = None
    while True:
        gone.clear()
        try:
            changes = await apply(client, replicas)
        except (NatsError, OSError, ValueError) as error:
            state: object = type(error).__name__
            if state != said:
                _say("topology.waits", error=str(error) or type(error).__name__)
        else:
            state = [change for change in changes if change.done == "refused"]
            for change in changes:
                if change.done != "refused" or state != said:
                    _say(f"{change.noun}.{change.done}", name=change.name, reason=change.reason or None)
        said = state
        await asyncio.sleep(AT_MOST_EVERY_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVERY_SECONDS - AT_MOST_EVERY_SECONDS):
                await gone.wait()


class _Forbidden:
    """Says what the server forbids, each thing once: it is tried again and again."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, words: str) -> None:
        if words not in self._said:
            self._said.add(words)
            _say("broker.error", error=words)


def _say(event: str, **about: str | None) -> None:
    """One JSON line, as the services write them, without loading what they need for it."""
    line = {"service": "topology", "event": event, "timestamp": datetime.now(UTC).isoformat()}
    line |= {key: value for key, value in about.items() if value is not None}
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()
