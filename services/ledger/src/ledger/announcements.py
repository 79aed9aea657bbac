"""Says the ledger's facts, once what they say is committed."""

import asyncio
import contextlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

from faststream.nats import NatsBroker
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import Header

from contracts.facts import CONTENT_TYPE, Change, Changed, Funded, Granted, Outcome, PaymentReceived
from contracts.topology import CREDITS, GENERATION, OUTCOMES, changed_subject, funded_subject, outcome_subject
from runtime.broker import PUBLISH_TIMEOUT_SECONDS, connected, publish, publish_unique

PAUSE_SECONDS = 1.0
"""Nobody waits for a change: a user's are told together."""

Said = Funded | Outcome | Granted | PaymentReceived


async def announce(broker: NatsBroker, facts: Iterable[Said]) -> None:
    """Publishes all of them at the same time: a batch of requests is what bounds their number.

    Raises:
        nats.errors.Error, TimeoutError, OSError: some may not be stored; saying all of them again is harmless.
    """
    said = list(facts)
    funded = [fact for fact in said if isinstance(fact, Funded)]
    if len(funded) > 1:
        others = [_say(broker, fact) for fact in said if not isinstance(fact, Funded)]
        told = await asyncio.gather(_say_funded(broker, funded), *others, return_exceptions=True)
    else:
        told = await asyncio.gather(*(_say(broker, fact) for fact in said), return_exceptions=True)
    for failure in told:
        if isinstance(failure, BaseException):
            raise failure


async def decide_outcome(broker: NatsBroker, outcome: Outcome) -> Outcome:
    """Proposes an outcome to the log and returns the one that the log keeps.

    Raises:
        nats.errors.Error, TimeoutError, OSError: the log could not be asked.
        pydantic.ValidationError: what it keeps cannot be read.
    """
    subject = outcome_subject(outcome.data.generation_id)
    kept = await publish_unique(broker, subject, outcome.encode(), stream=OUTCOMES.name, content_type=CONTENT_TYPE)
    return Outcome.decode(kept)


async def _say_funded(broker: NatsBroker, facts: Sequence[Funded]) -> None:
    """Publishes many as `publish` does one, with one inbox and one wait for what the stream answers to all of them.

    A request for each costs a third of all that the ledger does for a hold.
    """
    inbox = broker.connection.new_inbox()
    missing = {f"{inbox}.{number}": fact for number, fact in enumerate(facts)}
    stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def answered(message: Msg) -> None:
        # No JSON object: nobody listens to the subject, so the stream is not there.
        if not message.data.startswith(b"{") or "error" in json.loads(message.data):
            if not stored.done():
                stored.set_exception(NatsError(f"not stored: {message.data.decode(errors='replace')[:200]}"))
            return
        missing.pop(message.subject, None)
        if not missing and not stored.done():
            stored.set_result(None)

    subscription = await broker.connection.subscribe(f"{inbox}.*", cb=answered)
    try:
        headers = {"content-type": CONTENT_TYPE, Header.EXPECTED_STREAM: GENERATION.name}
        for reply, fact in list(missing.items()):
            await broker.connection.publish(funded_subject(fact.data), fact.encode(), reply=reply, headers=headers)
        async with asyncio.timeout(PUBLISH_TIMEOUT_SECONDS):
            await stored
    finally:
        with contextlib.suppress(NatsError, OSError):
            await subscription.unsubscribe()


async def _say(broker: NatsBroker, fact: Said) -> None:
    if isinstance(fact, Outcome):
        # Whose outcome the log keeps does not matter here: it comes back through the consumer of outcomes.
        subject = outcome_subject(fact.data.generation_id)
        await publish_unique(broker, subject, fact.encode(), stream=OUTCOMES.name, content_type=CONTENT_TYPE)
    elif isinstance(fact, Funded):
        subject = funded_subject(fact.data)
        await publish(broker, subject, fact.encode(), stream=GENERATION.name, content_type=CONTENT_TYPE)
    else:
        what = "granted" if isinstance(fact, Granted) else "payment_received"
        await publish(
            broker,
            f"credits.{what}.{fact.data.user_id}",
            fact.encode(),
            stream=CREDITS.name,
            content_type=CONTENT_TYPE,
            message_id=str(fact.id),
        )


class Changes:
    """Tells balances that changed, each user's at most every PAUSE_SECONDS: the newest, and all that it changed by.

    Nobody waits for the log to take one: where it is lost, the next carries the balance as well.
    """

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker
        self._waiting: dict[UUID, tuple[Change, int]] = {}
        self._task: asyncio.Task[None] | None = None

    def __call__(self, changes: Iterable[Change]) -> None:
        for change in changes:
            _, before = self._waiting.get(change.user_id, (None, 0))
            self._waiting[change.user_id] = change, before + change.change
        if self._waiting and self._task is None:
            self._task = asyncio.create_task(self._tell_later(), name="changes")

    async def stop(self) -> None:
        """Tells what waits."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=PAUSE_SECONDS)
        await self._tell()

    async def _tell_later(self) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        self._task = None
        await self._tell()

    async def _tell(self) -> None:
        waiting, self._waiting = self._waiting, {}
        if not connected(self._broker):
            return
        connection, headers = self._broker.connection, {"Content-Type": CONTENT_TYPE}
        for user_id, (change, moved) in waiting.items():
            with contextlib.suppress(NatsError, OSError, TimeoutError):
                payload = _changed(change, moved).encode()
                await connection.publish(changed_subject(user_id), payload, headers=headers)


def _changed(change: Change, moved: int) -> Changed:
    told = change if change.change == moved else change.model_copy(update={"change": moved})
    return Changed(id=uuid4(), source="ledger", subject=str(change.user_id), time=datetime.now(UTC), data=told)
