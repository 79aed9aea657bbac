"""The watcher: looks every two seconds and repairs what is missing. Survives a broker that is away."""

import asyncio
import json
import sys
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.errors import Error as NatsError

from darkroom.jetstream import connect
from darkroom.topology.apply import apply

EVERY_SECONDS = 2.0


async def watch(nats_url: str, replicas: int = 1) -> None:
    """Runs until it is cancelled."""
    client = await connect(nats_url, "topology", patient=True, forbidden=_Forbidden())
    try:
        await _keep(client, replicas)
    finally:
        await client.close()


async def _keep(client: Client, replicas: int) -> None:
    said: object = None
    while True:
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
        await asyncio.sleep(EVERY_SECONDS)


class _Forbidden:
    """Says what the server forbids, each thing once: it is tried again every two seconds."""

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
