"""Bytes on their way to storage: objects in the claims bucket, which forgets them after a day."""

from faststream.nats import NatsBroker
from nats.js.object_store import ObjectStore

from contracts.topology import CLAIMS_BUCKET


class Claims:
    """The bucket; looked for when first needed, as somebody else makes it."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker
        self._bucket: ObjectStore | None = None

    async def put(self, name: str, content: bytes) -> None:
        """Stores the bytes under a name; the same name again replaces them.

        Raises:
            nats.errors.Error, TimeoutError: not known whether they are stored; putting them again is harmless.
        """
        if self._bucket is None:
            self._bucket = await self._broker.connection.jetstream().object_store(CLAIMS_BUCKET)
        await self._bucket.put(name, content)
