"""What a provider is told of an attempt: the call itself, and every question about its task."""

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import JsonValue

from generator.attempts import Attempt
from generator.course import Assignment
from generator.providers.darkroom import NAME as OUR_OWN
from generator.providers.interface import Submission

LOOK_TIMEOUT_SECONDS = 10.0
_DALL_E = "dall-e-"
_QUALITIES = MappingProxyType({"standard": "auto", "hd": "high"})
"""Those of the retired DALL·E models, in the words of whoever does their work."""
_FORMS = ("response_format", "output_format", "quality")


def about(assignment: Assignment, attempt: Attempt) -> Submission:
    """What the call is about, without the bytes that it starts from, and in the time that a question has."""
    request, model = assignment.request, assignment.model_of(attempt)
    return Submission(
        reference=attempt.id,
        kind=assignment.kind_of(attempt),
        model=model.provider_model,
        prompt=request.prompt,
        count=attempt.count,
        first_index=attempt.first_index,
        size=model.provider_size(request.size or model.offer.default_size),
        options=_options(assignment, attempt),
        timeout_seconds=LOOK_TIMEOUT_SECONDS,
        seconds=model.provider_length(request.seconds or model.offer.default_seconds),
        messages=request.messages,
        since=request.since,
        tools=request.tools,
        max_tokens=request.max_tokens,
    )


def _options(assignment: Assignment, attempt: Attempt) -> Mapping[str, JsonValue]:
    """What is wished of a step: in which form something is handed on to the next is not for users to say. What was
    spoken for a film is written into it unless nobody wants that; of a sound that was given nobody knows the words."""
    options = assignment.request.options
    if attempt.provider == OUR_OWN:
        return {"captions": bool(assignment.made), **options}
    if attempt.kind is None:
        return _succeeded(assignment, attempt)
    return {name: value for name, value in options.items() if name not in _FORMS}


def _succeeded(assignment: Assignment, attempt: Attempt) -> Mapping[str, JsonValue]:
    """What is wished of a retired model, as its successor understands it."""
    options, asked = assignment.request.options, assignment.request.model
    if "quality" not in options or not asked.startswith(_DALL_E) or assignment.model_of(attempt).id == asked:
        return options
    wished = options["quality"]
    return {**options, "quality": next((new for old, new in _QUALITIES.items() if old == wished), wished)}
