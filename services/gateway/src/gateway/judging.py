"""Asking the generator, which has the rules and the key, whether something may be said."""

from collections.abc import Sequence

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.judging import MAX_JUDGED_CHARACTERS, MAX_JUDGED_TEXTS, Judgement, Moderate, Moderated
from contracts.questions import GENERATOR_MODERATE
from gateway.orders import unfit
from gateway.refusals import Invalid, Unavailable
from runtime.broker import connected

ANSWER_SECONDS = 10.0
"""It waits for OpenAI, and not long."""


async def judge(broker: NatsBroker, texts: Sequence[str]) -> tuple[Judgement, ...]:
    """One for each text, in their order.

    Raises:
        Invalid: no text, too many or too long. Unavailable: nobody can judge right now.
    """
    if not 1 <= len(texts) <= MAX_JUDGED_TEXTS:
        raise _invalid(f"1 to {MAX_JUDGED_TEXTS} texts")
    if sum(map(len, texts)) > MAX_JUDGED_CHARACTERS:
        raise _invalid(f"at most {MAX_JUDGED_CHARACTERS} characters")
    if (problem := unfit(list(texts))) is not None:
        raise _invalid(problem)
    try:
        if not connected(broker):
            raise OSError("the bus is away")
        payload = Moderate(texts=tuple(texts)).model_dump_json().encode()
        answer = await broker.connection.request(GENERATOR_MODERATE, payload, timeout=ANSWER_SECONDS)
        judgements = Moderated.model_validate_json(answer.data).judgements
    except (NatsError, OSError, ValidationError) as error:
        raise Unavailable("Nobody can judge this right now; try again.") from error
    if len(judgements) != len(texts):
        raise Unavailable("Nobody can judge this right now; try again.")
    return judgements


def _invalid(problem: str) -> Invalid:
    return Invalid(f"input: {problem}", details={"errors": [{"field": "input", "message": problem}]})
