"""OpenAI's speech: the sound itself is the answer."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from contracts.facts import Kind
from contracts.questions import CatalogModel
from gateway.dialects.endings import delivered
from gateway.dialects.openai import errors
from gateway.dialects.openai.answers import ERRORS, bytes_answer
from gateway.dialects.openai.heading import BASE
from gateway.dialects.openai.schemas import Speak
from gateway.dialects.openai.translate import DIALECT
from gateway.dialects.surface import Surface, route_class, traceparent_of
from gateway.lending import Lending
from gateway.orders import Order
from gateway.refusals import Invalid

MAX_BYTES = 64 << 20
VOICES = (
    "alloy", "ash", "ballad", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer", "verse", "marin", "cedar",
)  # fmt: skip
"""OpenAI's names, which programs say whoever speaks."""
FORMATS = ("mp3", "opus", "aac", "flac", "wav")
"""What can be stored: raw samples say nothing of what they are."""
_ELEVENLABS = {"mp3": "mp3_44100_128", "opus": "opus_48000_64", "wav": "wav_44100"}


def make_router(surface: Surface, lending: Lending) -> APIRouter:
    """Speech."""
    router = APIRouter(
        prefix=BASE, tags=["openai"], route_class=route_class(errors.renderer({"prompt": "input"})), responses=ERRORS
    )

    @router.post(
        "/audio/speech",
        summary="Have something said",
        response_class=StreamingResponse,
        response_model=None,
        responses={200: {"content": {"audio/*": {}}, "description": "The sound."}},
    )
    async def speak(body: Speak, request: Request) -> StreamingResponse:
        """Held open until it is stored, then streamed."""
        who, order = await surface.identity.required(request), _order(surface, body, request)
        made = await surface.commands.create_and_wait(surface.verdicts, who, order)
        [asset, *_] = delivered(made).assets
        return bytes_answer(await lending.borrow(made.user_id, asset.id, MAX_BYTES), asset.mime_type)

    return router


def _order(surface: Surface, body: Speak, request: Request) -> Order:
    """Raises Invalid."""
    if body.stream_format == "sse":
        raise _invalid("stream_format", "Only audio is offered here.")
    offered = [model for model, _ in surface.queries.models(Kind.SPEECH)]
    model = next((each for each in offered if body.model in {None, "", each.id}), None)
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=Kind.SPEECH,
        prompt=body.input,
        model=body.model or None,
        options=_options(body, model),
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


def _options(body: Speak, model: CatalogModel | None) -> dict[str, Any]:
    options: dict[str, Any] = body.model_dump(include={"speed", "instructions"}, exclude_none=True)
    voice = body.voice if isinstance(body.voice, str | None) else body.voice.id
    if voice:
        options["voice"] = _voice(voice, model.voices if model is not None else ())
    if body.response_format is not None:
        options |= _format(body.response_format, model)
    return options


def _voice(name: str, voices: tuple[str, ...]) -> str:
    """One of the model's own. A name of OpenAI's that it has not is always the same other voice of its."""
    if not voices or name in voices:
        return name
    if name not in VOICES:
        raise _invalid("voice", f"There is no voice {name[:40]!r}. Offered: {', '.join(voices)}.")
    return voices[VOICES.index(name) % len(voices)]


def _format(wanted: str, model: CatalogModel | None) -> dict[str, str]:
    is_elevenlabs = model is not None and model.provider == "elevenlabs"
    offered = tuple(_ELEVENLABS) if is_elevenlabs else FORMATS
    if wanted not in offered:
        raise _invalid("response_format", f"Offered: {', '.join(offered)}.")
    return {"output_format": _ELEVENLABS[wanted]} if is_elevenlabs else {"response_format": wanted}


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(message, details={"errors": [{"field": field, "message": message}]})
