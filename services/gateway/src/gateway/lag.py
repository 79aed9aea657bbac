"""How far the consumers of the topology are behind."""

import asyncio

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo

from contracts.topology import CONSUMERS

PAGE = 256
"""As many as the server tells at once."""
_STREAMS = sorted({consumer.stream for consumer in CONSUMERS})


async def consumers(broker: NatsBroker, timeout_seconds: float) -> dict[str, ConsumerInfo]:
    """By its name, each that is there: asked for by stream, since to ask for each costs ten times as much."""
    jetstream = broker.connection.jetstream(timeout=timeout_seconds)
    of_streams = await asyncio.gather(*(_consumers(jetstream, stream) for stream in _STREAMS))
    found = {info.name: info for infos in of_streams for info in infos}
    return {consumer.durable: found[consumer.durable] for consumer in CONSUMERS if consumer.durable in found}


async def _consumers(jetstream: JetStreamContext, stream: str) -> list[ConsumerInfo]:
    found: list[ConsumerInfo] = []
    try:
        while page := await jetstream.consumers_info(stream, offset=len(found)):
            found += page
            if len(page) < PAGE:
                break
    except (NatsError, OSError, TimeoutError):  # the bus is away, or the stream is missing
        return []
    return found
