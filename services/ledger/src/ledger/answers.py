"""What is said of requests once it is decided: funded, or how they ended."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from contracts.facts import Ending, Failure, Funded, Outcome, Request, Requested, Verdict
from ledger.domain.holds import DAILY_CAP, INSUFFICIENT_CREDITS, Openings, State
from ledger.holds import Said

SOURCE = "ledger"
DECLINED = {
    INSUFFICIENT_CREDITS: "There are not enough credits for this generation.",
    DAILY_CAP: "The plan's daily limit leaves less than this generation costs. It begins anew at 0:00 UTC.",
}


def answers(facts: Sequence[Requested], openings: Openings, known: Mapping[UUID, Said]) -> list[Funded | Outcome]:
    """What is to be said of each id. What ended is said again as it was recorded: the log may have been wiped."""
    contexts = {fact.data.generation_id: fact.traceparent for fact in facts}
    funded = [
        Funded.of(request, SOURCE, contexts[request.generation_id])
        for request in (*openings.opened, *openings.repeated)
    ]
    declined = [
        *(_declined(request, INSUFFICIENT_CREDITS, contexts[request.generation_id]) for request in openings.declined),
        *(_declined(request, DAILY_CAP, contexts[request.generation_id]) for request in openings.capped),
    ]
    for request in openings.ended:
        said = known[request.generation_id]
        if said.outcome is not None:
            declined.append(Outcome.decode(said.outcome.encode()))
        elif said.state is State.DECLINED:
            reason = said.declined_for or INSUFFICIENT_CREDITS
            declined.append(_declined(request, reason, contexts[request.generation_id]))
    return [*funded, *declined]


def _declined(request: Request, reason: str, traceparent: str | None) -> Outcome:
    failure = Failure(code=reason, message=DECLINED[reason])
    ending = Ending(generation_id=request.generation_id, verdict=Verdict.DECLINED, failure=failure)
    return Outcome.of(ending, SOURCE, traceparent)
