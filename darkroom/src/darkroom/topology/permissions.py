"""What each user of NATS may say and hear, from the conversation itself: exactly what its code does, nothing wider.

A subject that is missing here is refused by the server, which says so in its own log and in that of whoever tried.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from contracts.topology import (
    CLAIMS_BUCKET,
    CONSUMERS,
    DEAD,
    GENERATION,
    HINTS,
    NOTIFICATIONS,
    OUTCOMES,
    STREAMS,
    dead_subject,
)
from darkroom.jetstream import DELETIONS
from darkroom.stack import SERVICES
from darkroom.topology.parties import (
    ASKERS,
    HEAR_PROGRESS,
    HEAR_VERDICTS,
    PUBLISHERS,
    TELL_PROGRESS,
    answers,
    as_pattern,
    covers,
)

PROGRESS = "progress.*"
VERDICTS = "verdict.*"
LIVE = "live.*"
"""What one gateway says to a user's sockets, for the others that have some."""
BALANCES = "credits.changed.*"
"""Heard as they are said, beside the stream that keeps them."""
_API = "$JS.API"
_CLAIMS = f"OBJ_{CLAIMS_BUCKET}"
_OWN: dict[str, tuple[str, ...]] = {
    "gateway": (
        # How far the consumers are behind, which the sweeper looks at; the version before this one asks for each.
        *(f"{_API}.CONSUMER.LIST.{stream}" for stream in sorted({consumer.stream for consumer in CONSUMERS})),
        *(f"{_API}.CONSUMER.INFO.{consumer.stream}.{consumer.durable}" for consumer in CONSUMERS),
        # How many messages nobody could handle, for its figures.
        f"{_API}.STREAM.INFO.{DEAD.name}",
        # Its clients' live feed is a consumer that each process makes for itself. Nobody else makes any, and on this
        # subject the server makes none that is durable. Flow control is answered by the version before this one.
        f"{_API}.STREAM.INFO.{NOTIFICATIONS.name}",
        f"{_API}.CONSUMER.CREATE.{NOTIFICATIONS.name}",
        f"$JS.FC.{NOTIFICATIONS.name}.*.*",
        # What a client missed while it was away.
        f"{_API}.DIRECT.GET.{NOTIFICATIONS.name}",
        # The facts of one generation, for whoever looks at its timeline.
        f"{_API}.DIRECT.GET.{GENERATION.name}",
        # The dead letters, which an operator looks at in the studio, and forgets one by one.
        f"{_API}.DIRECT.GET.{DEAD.name}",
        f"{_API}.STREAM.MSG.DELETE.{DEAD.name}",
        LIVE,
        # What a user uploads, as it arrives: under a name that is new each time, so that nothing is looked for.
        f"$O.{CLAIMS_BUCKET}.C.*",
        f"$O.{CLAIMS_BUCKET}.M.*",
        # What storage lends it, for the answers that hold the bytes themselves.
        f"{_API}.DIRECT.GET.{_CLAIMS}",
        f"{_API}.DIRECT.GET.{_CLAIMS}.$O.{CLAIMS_BUCKET}.M.*",
    ),
    "generator": (
        # Putting a claim: the bucket is looked for, the name as well, and a former claim of that name is removed.
        f"{_API}.STREAM.INFO.{_CLAIMS}",
        f"{_API}.STREAM.MSG.GET.{_CLAIMS}",
        f"{_API}.STREAM.PURGE.{_CLAIMS}",
        f"$O.{CLAIMS_BUCKET}.C.*",
        f"$O.{CLAIMS_BUCKET}.M.*",
        # Reading one: what a generation starts from.
        f"{_API}.DIRECT.GET.{_CLAIMS}",
        f"{_API}.DIRECT.GET.{_CLAIMS}.$O.{CLAIMS_BUCKET}.M.*",
        # One that a provider called tells the others.
        HINTS,
    ),
    "storage": (
        f"{_API}.DIRECT.GET.{_CLAIMS}",
        f"{_API}.DIRECT.GET.{_CLAIMS}.$O.{CLAIMS_BUCKET}.M.*",
        # What it lends: under a name that is looked for first, and never written twice on purpose.
        f"$O.{CLAIMS_BUCKET}.C.*",
        f"$O.{CLAIMS_BUCKET}.M.*",
    ),
    # Whether the log is the one that it knew.
    "ledger": (f"{_API}.STREAM.INFO.{OUTCOMES.name}",),
}
"""What follows from no table of the contracts: calls of the JetStream API for one service's own purposes."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Patterns of subjects. `answers`: whoever sends it a message may be answered, once."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: bool = False


def _of_service(service: str) -> Permissions:
    answered = [question for question in ASKERS if answers(question) == service]
    return Permissions(
        publish=(*_said(service), *_consumed(service), *_OWN[service]),
        subscribe=(
            f"_INBOX_{service}.>",
            *answered,
            *([VERDICTS] if service in HEAR_VERDICTS else []),
            *([PROGRESS] if service in HEAR_PROGRESS else []),
            *([HINTS] if service == "generator" else []),
            *([LIVE, BALANCES] if service == "gateway" else []),
        ),
        answers=bool(answered),
    )


def _said(service: str) -> Iterator[str]:
    for channel, speakers in PUBLISHERS.items():
        if service in speakers:
            yield as_pattern(channel)
    for stream in STREAMS:
        for channel, speakers in PUBLISHERS.items():
            # Who publishes where only one message is kept reads afterwards which one it is.
            if stream.unique_per_subject and service in speakers and covers(stream.subjects[0], channel):
                yield f"{_API}.DIRECT.GET.{stream.name}.{as_pattern(channel)}"
    for question, askers in ASKERS.items():
        if service in askers:
            yield question
    if service in TELL_PROGRESS:
        yield PROGRESS


def _consumed(service: str) -> Iterator[str]:
    for consumer in CONSUMERS:
        if consumer.service == service:
            yield f"{_API}.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.durable}"
            yield f"$JS.ACK.{consumer.stream}.{consumer.durable}.>"
            yield dead_subject(consumer.durable)


def _of_topology() -> Permissions:
    """To look at, make and correct what the contracts name, and to hear what is gone; to delete and to read nothing,
    and to say nothing."""
    streams = [_CLAIMS, *(stream.name for stream in STREAMS)]
    durables = [f"{consumer.stream}.{consumer.durable}" for consumer in CONSUMERS]
    return Permissions(
        publish=(
            *(f"{_API}.STREAM.{verb}.{stream}" for stream in streams for verb in ("INFO", "CREATE", "UPDATE")),
            *(f"{_API}.CONSUMER.LIST.{stream}" for stream in dict.fromkeys(consumer.stream for consumer in CONSUMERS)),
            # INFO is asked by the watcher of the version before, while this one is rolled out. PAUSE also ends a pause.
            *(f"{_API}.CONSUMER.{verb}.{durable}" for durable in durables for verb in ("INFO", "CREATE", "PAUSE")),
        ),
        subscribe=("_INBOX_topology.>", *DELETIONS),
    )


PERMISSIONS: dict[str, Permissions] = {
    **{service: _of_service(service) for service in SERVICES},
    "topology": _of_topology(),
    "operator": Permissions(publish=(">",), subscribe=(">",)),
}
"""By user: all of NATS_USERS."""
