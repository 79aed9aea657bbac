"""How a held-open request answers: with what was made, or with why it was not."""

from contracts.facts import Ending, Failure, Verdict
from contracts.money import in_credits
from gateway.records import Generation
from gateway.refusals import InsufficientCredits, Refusal, TimedOut

_STATUS_OF_FAILURE = {
    "content_policy": 400,
    "invalid_request": 400,
    "provider_throttled": 429,
    "deadline": 504,
}


def delivered(generation: Generation) -> Ending:
    """What was delivered.

    Raises:
        TimedOut: it is still being made; `Location` says where to look. InsufficientCredits: it was declined.
        Refusal: it failed, or was cancelled.
    """
    if generation.outcome is None:
        what = generation.kind.value
        raise TimedOut(f"The {what} is still being made.", headers={"Location": f"/v1/generations/{generation.id}"})
    ending = generation.outcome.data
    if ending.verdict is Verdict.DECLINED:
        raise InsufficientCredits(
            ending.failure.message if ending.failure else "Not enough credits.",
            details={"required": in_credits(generation.quote.amount)},
        )
    if ending.verdict is not Verdict.COMPLETED:
        raise _refusal(generation, ending.verdict, ending.failure)
    return ending


def _refusal(generation: Generation, verdict: Verdict, failure: Failure | None) -> Refusal:
    if failure is None:
        refusal = Refusal(f"The {generation.kind} was {verdict}.")
        refusal.status, refusal.code = 409, verdict.value
    else:
        refusal = Refusal(failure.message)
        refusal.status, refusal.code = _STATUS_OF_FAILURE.get(failure.code, 502), failure.code
    return refusal
