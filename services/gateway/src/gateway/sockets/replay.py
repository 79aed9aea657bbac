"""What a client missed while it was away: the notifications after the last that it knows."""

import re
from dataclasses import dataclass
from uuid import UUID

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from pydantic import ValidationError

from contracts.facts import Notice, Notified
from contracts.topology import NOTIFICATIONS, notification_subject
from gateway.notifications import epoch_of
from runtime.broker import connected

MAX_MISSED = 200
ANSWER_SECONDS = 2.0
_SEQUENCE = re.compile(r"([0-9a-z]{1,13})-([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Missed:
    """`reset`: what was missed cannot be told, and everything has to be read again."""

    notices: tuple[tuple[str, Notice], ...] = ()
    reset: bool = False


async def missed(broker: NatsBroker, user_id: UUID, after: object) -> Missed:
    """A user's notices after a sequence, as `<epoch>-<number>`. Another epoch, a gap or garbage is a reset."""
    known = _SEQUENCE.fullmatch(after) if isinstance(after, str) else None
    if known is None or not connected(broker):
        return Missed(reset=True)
    try:
        jetstream = broker.connection.jetstream(timeout=ANSWER_SECONDS)
        info = await jetstream.stream_info(NOTIFICATIONS.name)
        epoch, number = epoch_of(info), int(known[2])
        if known[1] != epoch or not info.state.first_seq - 1 <= number <= info.state.last_seq:
            return Missed(reset=True)
        found: list[tuple[str, Notice]] = []
        while len(found) < MAX_MISSED:
            message = await jetstream.get_msg(
                NOTIFICATIONS.name, seq=number + 1, subject=notification_subject(user_id, "*"), direct=True, next=True
            )
            number = message.seq or number + 1
            found.append((f"{epoch}-{number}", Notified.decode(message.data or b"").data))
        return Missed(reset=True)
    except NotFoundError:
        return Missed(tuple(found))
    except (NatsError, TimeoutError, OSError, ValidationError):
        return Missed(reset=True)
