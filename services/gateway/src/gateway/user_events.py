"""Everything that a user is told, in one stream: first what there is, then every end as it comes.

An event's id is its place in NOTIFICATIONS. Whoever comes back with the last one gets what came after it, from the log
and on any replica; where that cannot be told there is a `reset`, and again first what there is. A stream that may have
missed something ends, so that its reader comes back: nothing is left out in silence.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError

from contracts.topology import NOTIFICATIONS, notification_subject
from gateway.identity import Caller
from gateway.live import Hub, Told, event
from gateway.notifications import epoch_of
from gateway.sockets.replay import Missed, missed
from runtime.broker import connected
from runtime.health import is_transient

PING_SECONDS = 15.0
ANSWER_SECONDS = 2.0
_DIRECT_GET = f"$JS.API.DIRECT.GET.{NOTIFICATIONS.name}"

Snapshot = Callable[[], Awaitable[str]]
Show = Callable[[UUID], Awaitable[str | None]]
"""A generation as its owner sees it; None for one that is not shown any more."""


async def follow_user(
    hub: Hub, broker: NatsBroker, caller: Caller, last_event_id: str | None, snapshot: Snapshot, show: Show
) -> AsyncIterator[bytes]:
    """`snapshot`, then `generation` for each that ends; `reset` before another snapshot. It ends where a reader is too
    slow, the bus was away, or the database is."""
    try:
        async for said in _told(hub, broker, caller, last_event_id, snapshot, show):
            yield said
    except Exception as error:
        if not is_transient(error):
            raise


async def _told(
    hub: Hub, broker: NatsBroker, caller: Caller, last_event_id: str | None, snapshot: Snapshot, show: Show
) -> AsyncIterator[bytes]:
    with hub.following_user(caller.user_id) as heard:
        known = last_event_id
        found = Missed(reset=True)
        if last_event_id is not None:
            async with hub.catching_up:
                found = await _missed(broker, caller.user_id, last_event_id)
            if found.reset:
                yield event("reset", "{}")
        if found.reset:
            async with hub.catching_up:
                known = await _last(broker, caller.user_id)  # before the rows are read: what comes later is said again
            yield event("snapshot", await snapshot(), known)
        for event_id, notice in found.notices:
            known = event_id
            if (shown := await show(notice.generation_id)) is not None:
                yield event("generation", shown, event_id)
        while not heard.is_lost:
            told = await heard.heard(PING_SECONDS)
            if told is None:
                if not heard.is_lost:
                    yield b": ping\n\n"
            elif _is_after(told.event_id, known):
                known = None  # what comes after it is later
                said = told.event("generation") or await _shown(told, show)
                if said is not None:
                    yield said


async def _shown(told: Told, show: Show) -> bytes | None:
    shown = await show(told.notice.generation_id)
    return None if shown is None else event("generation", shown, told.event_id)


async def _missed(broker: NatsBroker, user_id: UUID, after: str) -> Missed:
    """What came after an event of this user's own; a reset after anybody else's, and as `missed` says."""
    _, _, number = after.partition("-")
    if not number.isascii() or not number.isdecimal() or len(number) > 18 or not connected(broker):
        return Missed(reset=True)
    place = await _get(broker, {"seq": int(number)})
    of_user = notification_subject(user_id, "")
    if place is None or not place[0].startswith(of_user):
        return Missed(reset=True)
    return await missed(broker, user_id, after)


async def _last(broker: NatsBroker, user_id: UUID) -> str | None:
    """The id of the last that a user was told; None where there is none, or nobody can say."""
    if not connected(broker):
        return None
    try:
        info = await broker.connection.jetstream(timeout=ANSWER_SECONDS).stream_info(NOTIFICATIONS.name)
    except (NatsError, TimeoutError, OSError):
        return None
    found = await _get(broker, {"last_by_subj": notification_subject(user_id, "*")})
    return None if found is None else f"{epoch_of(info)}-{found[1]}"


async def _get(broker: NatsBroker, wanted: dict[str, object]) -> tuple[str, int] | None:
    """Subject and sequence of a message of the log."""
    try:
        answer = await broker.connection.request(_DIRECT_GET, json.dumps(wanted).encode(), timeout=ANSWER_SECONDS)
    except (NatsError, TimeoutError, OSError):
        return None
    headers = answer.headers or {}
    if "Nats-Sequence" not in headers:
        return None
    return headers["Nats-Subject"], int(headers["Nats-Sequence"])


def _is_after(event_id: str, known: str | None) -> bool:
    if known is None:
        return True
    epoch, _, number = event_id.partition("-")
    known_epoch, _, known_number = known.partition("-")
    return epoch != known_epoch or int(number) > int(known_number)
