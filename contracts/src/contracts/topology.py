"""Subjects, streams and consumers, as data. `darkroom topology` applies it; services only use it."""

from typing import Any, Literal
from uuid import UUID

from contracts.facts import (
    Changed,
    Funded,
    Granted,
    Kind,
    Lane,
    Notified,
    Outcome,
    PaymentReceived,
    Rendered,
    Request,
    Requested,
)
from contracts.model import Frozen

_HOUR = 3600
_DAY = 24 * _HOUR
_NANOSECONDS = 1_000_000_000

CLAIMS_BUCKET = "claims"
CLAIMS_MAX_AGE_SECONDS = _DAY
HINTS = "hint.*"
"""Where generators tell each other that a provider called, without a stream: lossy on purpose."""
RECENT_SECONDS = 600
"""How far back a new consumer of GENERATION starts; the sweeper covers the rest."""


class Stream(Frozen):
    """A JetStream stream. Ages in seconds."""

    name: str
    subjects: tuple[str, ...]
    max_age_seconds: int
    max_bytes: int = -1
    unique_per_subject: bool = False
    republish_to: str | None = None
    is_log: bool = True
    """Whether what it took must outlive a crash of its only node. What a row or the books say again need not."""

    def config(self, replicas: int = 1) -> dict[str, Any]:
        """The body of the JetStream API's stream create and update calls."""
        config: dict[str, Any] = {
            "name": self.name,
            "subjects": list(self.subjects),
            "retention": "limits",
            "storage": "file",
            "num_replicas": replicas,
            "max_age": self.max_age_seconds * _NANOSECONDS,
            "max_bytes": self.max_bytes,
            "max_msgs": -1,
            "max_msgs_per_subject": -1,
            "discard": "old",
            "duplicate_window": 120 * _NANOSECONDS,
            "allow_direct": True,
        }
        if not self.is_log and replicas == 1:
            # Acknowledged before it is synced, which halves what a message costs; with replicas the others have it.
            config["persist_mode"] = "async"
        if self.unique_per_subject:
            config |= {"max_msgs_per_subject": 1, "discard": "new", "discard_new_per_subject": True}
        if self.republish_to:
            config["republish"] = {"src": self.subjects[0], "dest": self.republish_to}
        return config


class Consumer(Frozen):
    """A durable pull consumer of one service."""

    durable: str
    service: str
    stream: str
    filter_subjects: tuple[str, ...]
    replay: Literal["recent", "all"]
    ack_wait_seconds: int = 30
    max_ack_pending: int = 1000
    max_deliver: int = 12
    """The broker's own bound, above the one that the service keeps; running out of it is advised to DEAD."""

    def config(self, replicas: int = 1) -> dict[str, Any]:
        """The body of the JetStream API's consumer create call, without the start time of `recent`."""
        return {
            "durable_name": self.durable,
            "name": self.durable,
            "filter_subjects": list(self.filter_subjects),
            "ack_policy": "explicit",
            "ack_wait": self.ack_wait_seconds * _NANOSECONDS,
            "max_ack_pending": self.max_ack_pending,
            "max_deliver": self.max_deliver,
            "max_waiting": 512,
            "deliver_policy": "all",
            "replay_policy": "instant",
            "num_replicas": replicas,
        }


GENERATION = Stream(
    name="GENERATION",
    subjects=("generation.requested.*.*.*", "generation.funded.*.*.*", "generation.rendered.*.*.*"),
    max_age_seconds=72 * _HOUR,
    is_log=False,
)
OUTCOMES = Stream(
    name="OUTCOMES",
    subjects=("generation.outcome.*",),
    max_age_seconds=7 * _DAY,
    unique_per_subject=True,
    republish_to="verdict.{{wildcard(1)}}",
)
CREDITS = Stream(name="CREDITS", subjects=("credits.>",), max_age_seconds=30 * _DAY, is_log=False)
NOTIFICATIONS = Stream(name="NOTIFICATIONS", subjects=("notification.*.*",), max_age_seconds=_DAY, is_log=False)
DEAD = Stream(
    name="DEAD",
    subjects=("dead.*", "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.*.*"),
    max_age_seconds=30 * _DAY,
    max_bytes=1 << 30,
)
STREAMS = (GENERATION, OUTCOMES, CREDITS, NOTIFICATIONS, DEAD)

LEDGER_HOLD_REQUESTED = Consumer(
    durable="ledger-hold-requested",
    service="ledger",
    stream="GENERATION",
    filter_subjects=("generation.requested.>",),
    replay="recent",
)
LEDGER_SETTLE_OUTCOMES = Consumer(
    durable="ledger-settle-outcomes",
    service="ledger",
    stream="OUTCOMES",
    filter_subjects=("generation.outcome.*",),
    replay="all",
)


def _render(kind: Kind, lane: Lane) -> Consumer:
    return Consumer(
        durable=f"generator-render-{kind}-{lane}",
        service="generator",
        stream="GENERATION",
        filter_subjects=(f"generation.funded.{kind}.{lane}.*",),
        replay="recent",
        max_ack_pending=2000,
    )


def _store(what: str, lane: Lane, *kinds: Kind) -> Consumer:
    return Consumer(
        durable=f"storage-store-{what}-{lane}",
        service="storage",
        stream="GENERATION",
        filter_subjects=tuple(f"generation.rendered.{kind}.{lane}.*" for kind in kinds),
        replay="recent",
    )


GENERATOR_RENDER = {(kind, lane): _render(kind, lane) for kind in Kind for lane in Lane}
GENERATOR_CLOSE_OUTCOMES = Consumer(
    durable="generator-close-outcomes",
    service="generator",
    stream="OUTCOMES",
    filter_subjects=("generation.outcome.*",),
    replay="all",
)
STORAGE_STORE = {lane: _store("rendered", lane, Kind.IMAGE) for lane in Lane}
STORAGE_STORE_RECORDINGS = {lane: _store("recordings", lane, Kind.VIDEO, Kind.SPEECH) for lane in Lane}
"""Minutes of video must not keep a picture waiting."""
STORAGE_CLOSE_OUTCOMES = Consumer(
    durable="storage-close-outcomes",
    service="storage",
    stream="OUTCOMES",
    filter_subjects=("generation.outcome.*",),
    replay="all",
)
GATEWAY_FOLLOW_GENERATION = Consumer(
    durable="gateway-follow-generation",
    service="gateway",
    stream="GENERATION",
    filter_subjects=("generation.funded.>", "generation.rendered.>"),
    replay="recent",
)
GATEWAY_RECORD_OUTCOMES = Consumer(
    durable="gateway-record-outcomes",
    service="gateway",
    stream="OUTCOMES",
    filter_subjects=("generation.outcome.*",),
    replay="all",
)
CONSUMERS = (
    LEDGER_HOLD_REQUESTED,
    LEDGER_SETTLE_OUTCOMES,
    *GENERATOR_RENDER.values(),
    GENERATOR_CLOSE_OUTCOMES,
    *STORAGE_STORE.values(),
    *STORAGE_STORE_RECORDINGS.values(),
    STORAGE_CLOSE_OUTCOMES,
    GATEWAY_FOLLOW_GENERATION,
    GATEWAY_RECORD_OUTCOMES,
)


def requested_subject(request: Request) -> str:
    return f"generation.requested.{request.kind}.{request.lane}.{request.generation_id}"


def funded_subject(request: Request) -> str:
    return f"generation.funded.{request.kind}.{request.lane}.{request.generation_id}"


def rendered_subject(request: Request) -> str:
    return f"generation.rendered.{request.kind}.{request.lane}.{request.generation_id}"


def outcome_subject(generation_id: UUID) -> str:
    """Nothing that can vary stands in it: the log keeps one message per subject."""
    return f"generation.outcome.{generation_id}"


def verdict_subject(generation_id: UUID) -> str:
    """Where the log repeats the outcome that it accepted."""
    return f"verdict.{generation_id}"


def notification_subject(user_id: UUID, status: str) -> str:
    return f"notification.{user_id}.{status}"


def changed_subject(user_id: UUID) -> str:
    return f"credits.changed.{user_id}"


def progress_subject(generation_id: UUID) -> str:
    return f"progress.{generation_id}"


def hint_subject(attempt_id: UUID) -> str:
    return f"hint.{attempt_id}"


def dead_subject(durable: str) -> str:
    return f"dead.{durable}"


def generation_of(subject: str) -> UUID:
    """The generation that a subject is about, also where its message cannot be read.

    Raises:
        ValueError: the subject's last token is no id.
    """
    return UUID(subject.rsplit(".", 1)[-1])


CHANNELS: dict[str, type[Requested | Funded | Rendered | Outcome | Granted | PaymentReceived | Changed | Notified]] = {
    "generation.requested.{kind}.{lane}.{generation_id}": Requested,
    "generation.funded.{kind}.{lane}.{generation_id}": Funded,
    "generation.rendered.{kind}.{lane}.{generation_id}": Rendered,
    "generation.outcome.{generation_id}": Outcome,
    "credits.granted.{user_id}": Granted,
    "credits.payment_received.{user_id}": PaymentReceived,
    "credits.changed.{user_id}": Changed,
    "notification.{user_id}.{status}": Notified,
}
