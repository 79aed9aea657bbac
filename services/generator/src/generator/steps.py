"""Films that are made in two steps: what is said in them is spoken first, then the film is made of it.

Each step is an attempt of the generation, so that each is paid once and the second never pays for the first again.
"""

from collections.abc import Iterable
from uuid import UUID

from contracts.facts import Input, Kind, Request
from generator.attempts import Attempt, State, attempt_id
from generator.catalog import Model

_ROLES = {Kind.SPEECH: "audio"}
"""As what the next step starts from it."""


def voice_of(request: Request, model: Model) -> Model | None:
    """Who speaks what is said in a film; None where nothing has to be spoken."""
    if not model.voices or any(given.role == "audio" for given in request.inputs):
        return None
    asked, speaker = request.options.get("voice"), request.options.get("voice_provider")
    if speaker is not None:  # a voice of the user's own, which stands in no catalog
        return next((voice for voice in model.voices if voice.provider == speaker), model.voices[0])
    return next((voice for voice in model.voices if asked in voice.offer.voices), model.voices[0])


def spoken(request: Request, voice: Model, process: UUID) -> Attempt:
    """The first step."""
    return _step(request, 0, voice, process, Kind.SPEECH)


def next_step(request: Request, model: Model, attempts: Iterable[Attempt], process: UUID) -> Attempt | None:
    """The step after what was made so far; None where all were begun, or the one before it has made nothing yet."""
    known = list(attempts)
    if any(attempt.kind is None for attempt in known):
        return None
    if not any(attempt.state is State.RENDERED for attempt in known):
        return None
    return _step(request, 1, model, process, None)


def made(attempts: Iterable[Attempt]) -> tuple[Input, ...]:
    """What earlier steps made for the one after them."""
    return tuple(
        Input(role=_ROLES[attempt.kind], url=output.url, claim=output.claim, mime_type=output.mime_type)
        for attempt in attempts
        if attempt.kind is not None and attempt.state is State.RENDERED
        for output in attempt.outputs
        if output.failure is None
    )


def _step(request: Request, item: int, worker: Model, process: UUID, kind: Kind | None) -> Attempt:
    return Attempt(
        id=attempt_id(request.generation_id, item, 1),
        item=item,
        number=1,
        first_index=0,
        count=1,
        provider=worker.provider,
        process=process,
        model=worker.id,
        kind=kind,
    )
