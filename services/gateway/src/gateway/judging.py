"""Asking the generator, which has the rules and the key, whether something may be said."""

from collections.abc import Sequence

from faststream.nats import NatsBroker

from contracts.judging import MAX_JUDGED_CHARACTERS, MAX_JUDGED_TEXTS, Judgement, Moderate, Moderated
from contracts.questions import GENERATOR_MODERATE
from gateway.orders import unfit
from gateway.questions import ask
from gateway.refusals import Invalid, Unavailable

ANSWER_SECONDS = 10.0
"""It waits for OpenAI, and not long."""
NOBODY = "Nobody can judge this right now; try again."


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
    question = Moderate(texts=tuple(texts))
    moderated = await ask(broker, GENERATOR_MODERATE, question, Moderated, ANSWER_SECONDS, NOBODY)
    if len(moderated.judgements) != len(texts):
        raise Unavailable(NOBODY)
    return moderated.judgements


def _invalid(problem: str) -> Invalid:
    return Invalid(f"input: {problem}", details={"errors": [{"field": "input", "message": problem}]})
