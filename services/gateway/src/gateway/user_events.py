"""Everything that a user is told, in one stream: first what there is, then every end as it comes.

An event's id is its place in NOTIFICATIONS. Whoever comes back with the last one gets what came after it, from the log
and on any replica; where that is not there any more there is a `reset`, and again first what there is. A log that does
not answer is asked again: that is no reason to begin anew. A stream that may have missed something ends, so that its
reader comes back: nothing is left out in silence.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from uuid import UUID

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError

from contracts.topology import NOTIFICATIONS, notification_subject
from gateway.dialects.callers import uuid_of
from gateway.identity import Caller
from gateway.live import PING, Hub, Reader, Told, event
from gateway.missed import ANSWER_SECONDS, Missed, epoch_now, missed
from gateway.refusals import Unavailable
from gateway.streaming import Write
from runtime.health import is_transient

PING_SECONDS = 15.0
ASK_AGAIN_SECONDS = 1.0
_DIRECT_GET = f"$JS.API.DIRECT.GET.{NOTIFICATIONS.name}"

Snapshot = Callable[[], Awaitable[str]]
Show = Callable[[UUID], Awaitable[str | None]]
"""A generation as its owner sees it; None for one that is not shown any more."""


async def follow_user(
    hub: Hub,
    broker: NatsBroker,
    caller: Caller,
    last_event_id: str | None,
    snapshot: Snapshot,
    show: Show,
    write: Write,
) -> AsyncGenerator[bytes, None]:
    """`snapshot`, then `generation` for each that ends; `reset` before another snapshot. It ends where a reader is too
    slow, the bus was away, or the database is. What it need not give is written by `write`, in its turn."""
    with hub.following_user(caller.user_id, write) as heard:
        try:
            async for said in _first(hub, broker, caller, heard, last_event_id, snapshot, show):
                yield said
            while not heard.is_lost:
                if said := await _next(heard, show):
                    yield said
        except Exception as error:
            if not is_transient(error):
                raise


async def _first(
    hub: Hub,
    broker: NatsBroker,
    caller: Caller,
    heard: Reader,
    last_event_id: str | None,
    snapshot: Snapshot,
    show: Show,
) -> AsyncGenerator[bytes, None]:
    """What was missed, or else what there is."""
    found: list[Missed] | None = None
    is_read = last_event_id is None
    while last_event_id is not None and not is_read and not heard.is_lost:
        try:
            async with hub.catching_up:
                found = await missed(broker, caller.user_id, last_event_id)
            is_read = True
        except Unavailable:
            yield PING
            await asyncio.sleep(ASK_AGAIN_SECONDS)
    if not is_read:
        return
    if found is None:
        if last_event_id is not None:
            yield event("reset", "{}")
        async with hub.catching_up:
            heard.known = await _last(broker, caller.user_id)  # before the rows are read: what comes later is told
        yield event("snapshot", await snapshot(), heard.known)
        return
    heard.known = last_event_id
    for event_id, notice in found:
        heard.known = event_id
        if (shown := await show(notice.generation_id)) is not None:
            yield event("generation", shown, event_id)


async def _next(heard: Reader, show: Show) -> bytes:
    """All that was told since, or a ping; nothing where that is all known already, or the reader is lost."""
    told = await heard.heard(PING_SECONDS)
    if not told:
        return b"" if heard.is_lost else PING
    if heard.known is not None:
        told = [each for each in told if _is_after(each.event_id, heard.known)]
        heard.known = None if told else heard.known  # what comes after it is later
    said = [each.event("generation") or await _shown(each, show) for each in told]
    return said[0] if len(said) == 1 else b"".join(said)


async def _shown(told: Told, show: Show) -> bytes:
    generation_id = uuid_of(told.notice["generation_id"])
    shown = await show(generation_id) if generation_id else None
    return b"" if shown is None else event("generation", shown, told.event_id)


async def _last(broker: NatsBroker, user_id: UUID) -> str | None:
    """The id of the last that a user was told; None where there is none, or nobody can say."""
    wanted = json.dumps({"last_by_subj": notification_subject(user_id, "*")}).encode()
    with contextlib.suppress(Unavailable, NatsError, TimeoutError, OSError):
        epoch = await epoch_now(broker)
        answer = await broker.connection.request(_DIRECT_GET, wanted, timeout=ANSWER_SECONDS)
        if number := (answer.headers or {}).get("Nats-Sequence"):
            return f"{epoch}-{number}"
    return None


def _is_after(event_id: str, known: str) -> bool:
    epoch, _, number = event_id.partition("-")
    known_epoch, _, known_number = known.partition("-")
    return epoch != known_epoch or int(number) > int(known_number)
