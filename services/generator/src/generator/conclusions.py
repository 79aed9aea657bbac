"""What a generation has come to, from its rows alone."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from contracts.facts import Ending, Output, Rendering, Request, Verdict
from generator.attempts import UNHEARD, Attempt, Standing, State, standing


def conclusion(request: Request, attempts: Mapping[UUID, Attempt], now: Standing) -> Rendering | Ending:
    """What a generation that delivered is said to have come to: a text ends here, anything else goes to storage."""
    if now.written is not None:
        return Ending(
            generation_id=request.generation_id,
            verdict=Verdict.COMPLETED,
            text=now.written.text,
            calls=now.written.calls,
            usage=now.written.usage,
            cut_by=now.written.cut_by,
            provider=now.written.provider,
        )
    return Rendering(request=request, provider=_provider(attempts.values()), outputs=_each_once(now.outputs))


def _each_once(outputs: Iterable[Output]) -> tuple[Output, ...]:
    """In their order. What a renderer of the operator's own delivered stands beside the step that should have made it,
    and counts in its place."""
    by_index: dict[int, Output] = {}
    for output in sorted(outputs, key=lambda output: (output.index, output.failure is None)):
        by_index[output.index] = output
    return tuple(by_index.values())


def _provider(attempts: Iterable[Attempt]) -> str:
    """The one that delivered."""
    known = sorted(
        attempts,
        key=lambda attempt: (
            attempt.kind is not None,
            attempt.state is not State.RENDERED,
            attempt.item,
            attempt.number,
        ),
    )
    return known[0].provider


def said_again(request: Request, attempts: Iterable[Attempt]) -> Rendering | Ending:
    """What a rendered generation was said to have come to, from its rows. What is still a task there could not be
    stopped in time."""
    known = {
        attempt.id: attempt.ended(State.UNKNOWN, UNHEARD) if attempt.state is State.SUBMITTED else attempt
        for attempt in attempts
    }
    return conclusion(request, known, standing(known.values(), "fail", time_left=False))
