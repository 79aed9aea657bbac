"""What the functions ask for, as orders: each is paid first by what its user has consumed a moment ago."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Request

from contracts.facts import Input, Kind
from contracts.questions import CatalogModel
from contracts.talking import Message
from gateway.dialects.callers import uuid_of
from gateway.dialects.jaaz.client import messages_of
from gateway.dialects.jaaz.function_schemas import (
    ChatWithGpt,
    GeneratePokemonImages,
    ProcessElevenLabsVideo,
    ProcessImagePipeline,
)
from gateway.dialects.jaaz.talk import DIALECT
from gateway.dialects.surface import traceparent_of
from gateway.orders import Order
from gateway.refusals import Invalid, NotFound

FILM_MODEL = "darkroom-avatar"
SOUND_MODEL = "darkroom-sound"
MAX_CONTEXT_CHARACTERS = 20_000
_SETTINGS = {"seed", "guidance_scale", "num_inference_steps", "negative_prompt", "quality", "style", "strength"}
_POKEMON = "A new Pokémon of {kind} type, whole figure, in the style of the games' official art, on a plain background"


def _order(request: Request, kind: Kind, prompt: str, **more: Any) -> Order:
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=kind,
        prompt=prompt,
        prepaid=True,
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
        **more,
    )


def pipeline(body: ProcessImagePipeline, request: Request, offered: Sequence[CatalogModel]) -> Order:
    """Where no model is named a picture goes to the first that takes one. Raises Invalid."""
    settings = body.settings
    size = settings.get("size")
    width, height = settings.get("width"), settings.get("height")
    if size is None and (width is not None or height is not None):
        if not isinstance(width, int) or not isinstance(height, int):
            raise Invalid("settings.width and settings.height: whole numbers, both or neither")
        size = f"{width}x{height}"
    if not isinstance(size, str | None):
        raise Invalid("settings.size: a text such as 1024x1024")
    source = (Input(role="image", url=body.sourceImageUrl),) if body.sourceImageUrl else ()
    return _order(
        request,
        Kind.IMAGE,
        body.prompt or "",
        model=body.model or body.modelId or (_able(offered) if source else None),
        size=size or None,
        inputs=source,
        options={name: value for name, value in settings.items() if name in _SETTINGS},
    )


def _able(offered: Sequence[CatalogModel]) -> str | None:
    return next((model.id for model in offered if model.state == "active" and "image" in model.inputs), None)


def pokemon(body: GeneratePokemonImages, request: Request) -> Order:
    """Raises Invalid."""
    said = [body.prompt, body.customPrompt, body.pokemonType and _POKEMON.format(kind=body.pokemonType)]
    prompt = ". ".join(filter(None, said))
    if not prompt:
        raise Invalid("prompt: a text, or pokemonType")
    return _order(request, Kind.IMAGE, prompt, model=body.modelId or None, count=body.count)


def film(body: ProcessElevenLabsVideo, request: Request) -> Order:
    """Raises Invalid."""
    if not body.audio_url or not body.image_url:
        raise Invalid("audio_url and image_url: addresses of a sound and of a picture")
    inputs = (Input(role="image", url=body.image_url), Input(role="audio", url=body.audio_url))
    return _order(
        request,
        Kind.VIDEO,
        "A film of a picture and a sound.",
        model=FILM_MODEL,
        inputs=inputs,
        seconds=body.seconds,
        options={"captions": False},
    )


def sound(url: str, request: Request) -> Order:
    """The sound of the video at an address."""
    inputs = (Input(role="video", url=url),)
    return _order(request, Kind.SPEECH, "The sound of a film.", model=SOUND_MODEL, inputs=inputs)


def chat(body: ChatWithGpt, request: Request) -> Order:
    """Raises Invalid."""
    said = messages_of(body.messages or [])
    if body.message:
        said.append(Message(role="user", content=body.message))
    if not said or said[-1].role != "user":
        raise Invalid("messages: the last one the user's, or a message")
    before = said[:-1]
    if body.context:
        context = body.context if isinstance(body.context, str) else json.dumps(body.context)
        if len(context) > MAX_CONTEXT_CHARACTERS:
            raise Invalid(f"context: at most {MAX_CONTEXT_CHARACTERS} characters")
        before.insert(0, Message(role="system", content=context))
    return _order(request, Kind.TEXT, said[-1].content, model=body.model or None, messages=tuple(before))


def id_in(address: str | None) -> UUID:
    """The request that an address of ours names; whatever else it says is not believed, and never asked.

    Raises:
        NotFound: it names none.
    """
    parts = urlsplit(address or "").path.split("/")
    found = uuid_of(parts[parts.index("requests") + 1]) if "requests" in parts[:-1] else None
    if found is None:
        raise NotFound("There is no such request.")
    return found
