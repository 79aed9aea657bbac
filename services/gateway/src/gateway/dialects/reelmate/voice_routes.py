"""The routes of /api/ai-studio/voices: who is heard in the films, ours and one's own."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from contracts.facts import Visibility
from gateway.dialects.callers import caller
from gateway.dialects.reelmate import errors, translate
from gateway.dialects.reelmate.fields import Label, Name, Words, known
from gateway.dialects.reelmate.schemas import VoiceView, Wrapped
from gateway.dialects.reelmate.voices import ROUTE, Voices, check_sample
from gateway.dialects.surface import Surface, route_class
from gateway.dialects.unsaid import Form
from gateway.forms import FieldsAndFile
from gateway.identity import Caller
from gateway.refusals import Invalid, UnsupportedMedia
from runtime.database import Row

FILES = ("file", "sample", "audio", "voice")
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["name", "consent", "file"],
                    "properties": {
                        "name": {"type": "string", "maxLength": 200},
                        "description": {"type": "string"},
                        "gender": {"type": "string"},
                        "language": {"type": "string", "default": "en"},
                        "consent": {"type": "string", "enum": ["true"], "description": "whoever speaks agrees"},
                        "file": {"type": "string", "format": "binary", "description": "3 s to 5 minutes of speech"},
                    },
                }
            }
        },
    }
}


class VoiceFields(Form):
    name: Name
    description: Words | None = None
    gender: Label | None = None
    language: Label = "en"
    consent: Literal["true"]


def make_router(surface: Surface, voices: Voices, documented: dict[int | str, dict[str, Any]]) -> APIRouter:
    """Voices."""
    router = APIRouter(prefix=ROUTE, tags=["reelmate"], route_class=route_class(errors.render), responses=documented)

    @router.get("", summary="Who is heard in the films")
    async def listing(request: Request) -> Wrapped[list[VoiceView]]:
        """Ours, then your own."""
        found = await voices.all(await caller(surface.identity, request))
        return Wrapped(data=[translate.voice(surface, row) for row in found], message=f"{len(found)} voices.")

    @router.post("", summary="Have a voice of your own made", status_code=201, openapi_extra=_FORM)
    async def make(request: Request) -> Wrapped[VoiceView]:
        """Of a sample of speech, whose speaker has to consent. It is free; films with it cost what films cost."""
        made = await _made(surface, voices, await caller(surface.identity, request), request)
        return Wrapped(data=translate.voice(surface, made), message="The voice was made.")

    @router.delete("/{voice_id}", summary="Delete a voice of your own")
    async def forget(voice_id: str, request: Request) -> Wrapped[None]:
        """At its provider as well. Films in which it was heard stay."""
        await voices.delete(await caller(surface.identity, request), known(voice_id, "voice"))
        return Wrapped(data=None, message="The voice was deleted.")

    return router


async def _made(surface: Surface, voices: Voices, who: Caller, request: Request) -> Row:
    """Raises Refusal: nothing is kept then, unless it may be gone on with."""
    await voices.check_room(who)
    form = FieldsAndFile(request, surface.uploads.max_form_bytes, FILES)
    key = request.headers.get("idempotency-key")
    async with surface.uploads.bringing(who, form.file()) as brought:
        if not brought.is_there:
            raise Invalid(f"The form has to have one file, in a part of one of these names: {', '.join(FILES)}.")
        try:
            about = VoiceFields.model_validate(form.fields)
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error
        sample = await brought.keep(key, ROUTE, Visibility.OWNER)
        if not sample.mime_type.startswith("audio/"):
            raise UnsupportedMedia(f"A sample is a sound, not {sample.mime_type}.")
        check_sample(sample)
        return await voices.make(who, sample, about.model_dump(exclude={"consent"}))
