"""The connection to NATS, and the two ways to publish a fact."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import structlog
from faststream.nats import NatsBroker
from faststream.security import SASLPlaintext
from nats.errors import Error as NatsError
from nats.js.errors import APIError, NotFoundError

from runtime.settings import BrokerSettings

PUBLISH_TIMEOUT_SECONDS = 2.0
UNIQUE_DEADLINE_SECONDS = 20.0
"""Longer than a cluster takes to elect another leader (4.5–7 s measured)."""

log = structlog.get_logger()


def make_broker(
    settings: BrokerSettings, service: str, reconnected: Callable[[], Awaitable[None]] | None = None
) -> NatsBroker:
    """A broker that never gives up reconnecting, notices a half-open link in 20 s and has its own inbox prefix."""

    async def on_disconnected() -> None:
        log.warning("broker.disconnected")

    async def on_error(error: Exception) -> None:
        log.warning("broker.error", error=f"{type(error).__name__}: {error}")

    security = None
    if settings.nats_user is not None and settings.nats_password is not None:
        security = SASLPlaintext(settings.nats_user, settings.nats_password.get_secret_value(), use_ssl=False)
    broker = NatsBroker(
        settings.nats_url.split(","),
        name=service,
        inbox_prefix=f"_INBOX_{service}",
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        ping_interval=10,
        max_outstanding_pings=2,
        connect_timeout=2,
        disconnected_cb=on_disconnected,
        reconnected_cb=reconnected,
        logger=None,
        security=security,
    )
    # Not as an argument: FastStream's wrapper raises where the server refuses a login, and then never connects again.
    # A password that changed on one side first is waited for, like everything else.
    broker._connection_kwargs["error_cb"] = on_error
    return broker


def connected(broker: NatsBroker) -> bool:
    """Whether the link is up now; publishing while it is down only waits for a time-out."""
    try:
        return bool(broker.connection.is_connected)
    except Exception:  # the broker has not been started yet
        return False


async def publish(
    broker: NatsBroker,
    subject: str,
    payload: bytes,
    *,
    stream: str,
    content_type: str,
    message_id: str | None = None,
    timeout_seconds: float = PUBLISH_TIMEOUT_SECONDS,
) -> None:
    """Publishes to a stream and waits until it is stored.

    Raises:
        nats.errors.Error, TimeoutError: unknown whether it is stored; publishing again is harmless.
    """
    headers = {"content-type": content_type, "Nats-Expected-Stream": stream}
    headers |= {} if message_id is None else {"Nats-Msg-Id": message_id}
    # Past FastStream's publish and nats-py's own for streams, which cost more for what nobody here asks for (ADR 3).
    answer = await broker.connection.request(subject, payload, timeout_seconds, headers=headers)
    if b'"error"' in answer.data and (error := json.loads(answer.data).get("error")):
        APIError.from_error(error)


async def publish_unique(broker: NatsBroker, subject: str, payload: bytes, *, stream: str, content_type: str) -> bytes:
    """Publishes to a stream that keeps one message per subject and returns the message that it keeps.

    A refusal or a time-out says nothing (a refusal has other causes, a timed-out message may be stored): the
    subject's last message decides. It is ours, or somebody else's, or there is none and we try again.

    Raises:
        nats.errors.Error, TimeoutError: the log could not be asked within 20 s.
    """
    give_up_at = time.monotonic() + UNIQUE_DEADLINE_SECONDS
    pause_seconds = 0.05
    while True:
        try:
            await publish(broker, subject, payload, stream=stream, content_type=content_type)
        except (NatsError, TimeoutError, OSError) as error:
            if (kept := await last_on(broker, subject, stream=stream)) is not None:
                return kept
            if time.monotonic() > give_up_at:
                raise error
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2.0, pause_seconds * 2)
        else:
            return payload


async def last_on(broker: NatsBroker, subject: str, *, stream: str) -> bytes | None:
    """The last message that a stream keeps on a subject; None where there is none or the log cannot be asked now."""
    try:
        log_of_facts = broker.connection.jetstream(timeout=PUBLISH_TIMEOUT_SECONDS)
        return (await log_of_facts.get_last_msg(stream, subject, direct=True)).data
    except (NotFoundError, APIError, NatsError, TimeoutError, OSError):
        return None
