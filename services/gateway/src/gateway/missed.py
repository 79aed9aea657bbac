"""What a user's client missed while it was away, read from NOTIFICATIONS: for event streams and for sockets."""

import re
from uuid import UUID

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.facts import Notice, Notified
from contracts.topology import NOTIFICATIONS, notification_subject
from gateway.notifications import epoch_of
from gateway.recalling import MAX_MESSAGES, kept
from gateway.refusals import Unavailable
from runtime.broker import connected

ANSWER_SECONDS = 2.0
MAX_MISSED = 200
_PLACE = re.compile(r"([0-9a-z]{1,13})-([1-9][0-9]{0,17})")

Missed = tuple[str, Notice]
"""The id of an event, `<epoch>-<number>`, and what was said."""


async def missed(broker: NatsBroker, user_id: UUID, after: object) -> list[Missed] | None:
    """What came after an event of this user's own. None where that cannot be told: after anybody else's, or one that
    the log keeps no more, or of another log, or where it is too much.

    Raises:
        Unavailable: the log does not answer.
    """
    place = _PLACE.fullmatch(after) if isinstance(after, str) else None
    if place is None:
        return None
    epoch, number = place[1], int(place[2])
    if epoch != await epoch_now(broker):
        return None
    subject = notification_subject(user_id, "*")
    found = await kept(broker, NOTIFICATIONS.name, subject, seq=number)
    if not found or found[0].sequence != number:
        return None
    part = found
    while len(part) == MAX_MESSAGES and len(found) <= MAX_MISSED:
        part = await kept(broker, NOTIFICATIONS.name, subject, seq=found[-1].sequence + 1)
        found += part
    if len(found) > MAX_MISSED:
        return None
    try:
        return [(f"{epoch}-{each.sequence}", Notified.decode(each.data).data) for each in found[1:]]
    except ValidationError:
        return None


async def epoch_now(broker: NatsBroker) -> str:
    """Of the log that there is. Raises Unavailable: it does not answer."""
    if not connected(broker):
        raise Unavailable("The log cannot be read right now.")
    try:
        jetstream = broker.connection.jetstream(timeout=ANSWER_SECONDS)
        return epoch_of(await jetstream.stream_info(NOTIFICATIONS.name))
    except (NatsError, TimeoutError, OSError) as error:
        raise Unavailable("The log cannot be read right now.") from error
