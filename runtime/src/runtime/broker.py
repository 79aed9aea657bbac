"""The connection to NATS, and the two ways to publish a fact."""

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from weakref import WeakKeyDictionary

import structlog
from faststream.nats import NatsBroker
from faststream.security import SASLPlaintext
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import Header
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

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


class _Answers:
    """What streams answer to all that is published over one connection, heard by one subscription."""

    def __init__(self, inbox: str) -> None:
        self.inbox = inbox
        self._numbers = itertools.count()
        self._awaited: dict[str, asyncio.Future[bytes | None]] = {}

    async def heard(self, message: Msg) -> None:
        if (answer := self._awaited.get(message.subject)) is not None and not answer.done():
            answer.set_result(message.data)

    async def to(
        self, connection: Client, said: Sequence[tuple[str, bytes]], headers: dict[str, str], timeout_seconds: float
    ) -> list[bytes | None]:
        """Publishes subjects and payloads in their order; an answer to each, None where it did not come in time."""
        loop = asyncio.get_running_loop()
        awaited = {f"{self.inbox}.{next(self._numbers)}": loop.create_future() for _ in said}
        self._awaited |= awaited
        alarm = loop.call_later(timeout_seconds, _give_up, awaited.values())
        try:
            for reply, (subject, payload) in zip(awaited, said, strict=True):
                await connection.publish(subject, payload, reply=reply, headers=headers)
            return [await answer for answer in awaited.values()]
        finally:
            alarm.cancel()
            for reply in awaited:
                del self._awaited[reply]


_ANSWERS: WeakKeyDictionary[Client, _Answers] = WeakKeyDictionary()


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
    headers = {"content-type": content_type, Header.EXPECTED_STREAM: stream}
    if message_id is not None:
        headers[Header.MSG_ID] = message_id
    await _publish(broker, [(subject, payload)], headers, timeout_seconds)


async def publish_all(broker: NatsBroker, said: Sequence[tuple[str, bytes]], *, stream: str, content_type: str) -> None:
    """The same for many subjects and payloads, with one wait for all of them.

    Raises:
        nats.errors.Error, TimeoutError: of each unknown whether it is stored; publishing all again is harmless.
    """
    headers = {"content-type": content_type, Header.EXPECTED_STREAM: stream}
    await _publish(broker, said, headers, PUBLISH_TIMEOUT_SECONDS)


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
            kept = await last_on(broker, subject, stream=stream)
            if kept is not None:
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


async def _publish(
    broker: NatsBroker, said: Sequence[tuple[str, bytes]], headers: dict[str, str], timeout_seconds: float
) -> None:
    # Past nats-py's own request, half of whose CPU is a name drawn for each and a wait that may forget a cancellation,
    # as that is past FastStream's, which is made for what has yet to be encoded (docs/adr/0003).
    connection = broker.connection
    answers = _ANSWERS.get(connection)
    if answers is None:
        answers = _Answers(connection.new_inbox())
        await connection.subscribe(f"{answers.inbox}.*", cb=answers.heard)
        _ANSWERS[connection] = answers
    for answer in await answers.to(connection, said, headers, timeout_seconds):
        if answer is None:
            raise NatsTimeoutError
        if not answer.startswith(b"{"):
            raise NoStreamResponseError  # nobody listens to the subject
        if b'"error"' in answer and (error := json.loads(answer).get("error")):
            APIError.from_error(error)


def _give_up(awaited: Iterable[asyncio.Future[bytes | None]]) -> None:
    for answer in awaited:
        if not answer.done():
            answer.set_result(None)
