"""Whether a user may have more stored: storage is asked, unless it said a moment ago that there is room.

What is finished is stored in any case, since it was paid for (docs/adr/0017): so it has to be refused before.
"""

import time
from collections import OrderedDict
from uuid import UUID

from faststream.nats import NatsBroker

from contracts.keeping import Stored, StoredBy
from contracts.questions import STORAGE_USAGE
from gateway.questions import ask
from gateway.refusals import QuotaExceeded, Unavailable
from runtime.broker import connected

ANSWER_TIMEOUT_SECONDS = 0.25
ROOM_SECONDS = 60.0
"""How long it is believed that there is room."""
NO_QUOTA_SECONDS = 600.0
"""Who has no quota is not asked about as often: storage counts all that a user has."""
SILENT_SECONDS = 5.0
"""A storage that did not answer is asked about nobody for so long, and then about one."""
MAX_USERS_KNOWN = 100_000


class Room:
    """A courtesy to whoever has to delete something first."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker
        self._believed: OrderedDict[UUID, float] = OrderedDict()
        """Until when a user is believed to have room."""
        self._silent_until = 0.0
        """Until when nobody is asked about; 0 where storage answered last."""

    async def check(self, user_id: UUID) -> None:
        """Silence means: go on. Raises QuotaExceeded, with what is used and allowed, in bytes."""
        now = time.monotonic()
        if now < max(self._silent_until, self._believed.get(user_id, 0.0)) or not connected(self._broker):
            return
        if self._silent_until:
            self._silent_until = now + ANSWER_TIMEOUT_SECONDS  # who comes while it is asked again does not wait
        stored = await self._ask(user_id)
        self._silent_until = time.monotonic() + SILENT_SECONDS if stored is None else 0.0
        if stored is None:
            return
        if stored.quota_bytes is not None and stored.used_bytes >= stored.quota_bytes:
            raise QuotaExceeded(
                f"Your files take {stored.used_bytes} bytes and you may have {stored.quota_bytes}: delete some first.",
                details={"used_bytes": stored.used_bytes, "quota_bytes": stored.quota_bytes},
            )
        self._believed.pop(user_id, None)
        self._believed[user_id] = time.monotonic() + (NO_QUOTA_SECONDS if stored.quota_bytes is None else ROOM_SECONDS)
        if len(self._believed) > MAX_USERS_KNOWN:
            self._believed.popitem(last=False)

    async def _ask(self, user_id: UUID) -> Stored | None:
        question = StoredBy(user_id=user_id)
        try:
            return await ask(self._broker, STORAGE_USAGE, question, Stored, ANSWER_TIMEOUT_SECONDS, "no answer")
        except Unavailable:
            return None
