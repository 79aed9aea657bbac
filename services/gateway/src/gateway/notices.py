"""What clients are told: a notification for every generation whose record becomes final."""

from faststream.nats import NatsBroker

from contracts.facts import CONTENT_TYPE, Notice, Notified, Verdict
from contracts.topology import notification_subject
from gateway.records import Ended
from runtime.broker import publish

SOURCE = "gateway"
MAX_SHOWN_CHARACTERS = 16_000
"""What is longer, as a long text is, has to be read by whoever listens."""


async def notify(broker: NatsBroker, ended: Ended, shown: str | None = None) -> None:
    """Tells the clients, with the generation as its owner sees it where that is known and may lie in a log; said twice
    within two minutes it is kept once, and what is old is not said again.

    Raises:
        nats.errors.Error, TimeoutError: unknown whether it was said; saying it again is harmless.
    """
    if ended.is_old:
        return
    if shown is not None and len(shown) > MAX_SHOWN_CHARACTERS:
        shown = None
    notice = Notice(
        generation_id=ended.id,
        user_id=ended.user_id,
        status=Verdict(ended.status),
        dialect=ended.dialect,
        shown=shown,
    )
    await publish(
        broker,
        notification_subject(ended.user_id, ended.status),
        Notified.of(notice, SOURCE, None).encode(),
        stream="NOTIFICATIONS",
        content_type=CONTENT_TYPE,
        message_id=f"{ended.id}.{ended.status}",
    )
