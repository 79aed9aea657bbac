"""Says the ledger's facts, once what they say is committed."""

import asyncio
from collections.abc import Iterable

from faststream.nats import NatsBroker

from contracts.facts import CONTENT_TYPE, Funded, Granted, Outcome, PaymentReceived
from contracts.topology import CREDITS, GENERATION, OUTCOMES, funded_subject, outcome_subject
from runtime.broker import publish, publish_unique

Said = Funded | Outcome | Granted | PaymentReceived


async def announce(broker: NatsBroker, facts: Iterable[Said]) -> None:
    """Publishes all of them at the same time: a batch of requests is what bounds their number.

    Raises:
        nats.errors.Error, TimeoutError, OSError: some may not be stored; saying all of them again is harmless.
    """
    told = await asyncio.gather(*(_say(broker, fact) for fact in facts), return_exceptions=True)
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
