"""OpenAI's chat completions: a text, whole or while it is written."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from contracts.facts import Ending, Kind
from contracts.questions import CatalogModel
from contracts.talking import Message
from gateway.dialects.endings import delivered
from gateway.dialects.openai import errors
from gateway.dialects.openai.answers import DONE, ERRORS, event, json_answer, streamed
from gateway.dialects.openai.heading import BASE
from gateway.dialects.openai.schemas import (
    Chat,
    ChatChoice,
    ChatMessage,
    ChatUsage,
    CreateChat,
    Written,
)
from gateway.dialects.openai.translate import DIALECT, remarks_of
from gateway.dialects.surface import Surface, route_class, traceparent_of
from gateway.identity import Caller
from gateway.live import PING
from gateway.orders import Order, generation_id_of
from gateway.records import Generation
from gateway.refusals import Invalid, NotFound, Refusal, TextChanged
from gateway.words import Anew, Words

_OPTIONS = (
    "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop", "reasoning_effort",
)  # fmt: skip
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def make_router(surface: Surface) -> APIRouter:
    """Chat completions."""
    router = APIRouter(
        prefix=BASE, tags=["openai"], route_class=route_class(errors.renderer({"prompt": "messages"})), responses=ERRORS
    )
    words = Words(surface.hub, surface.broker, surface.database)

    @router.post("/chat/completions", summary="Ask a language model", response_model=Chat)
    async def complete(body: CreateChat, request: Request) -> Response:
        """Held open until it is written; with `stream` the pieces come as they are."""
        who, order = await surface.identity.required(request), _order(surface, body, request)
        if body.stream:
            return await streamed(_events(surface, words, who, order, body))
        return json_answer(_chat(await surface.commands.create_and_wait(surface.verdicts, who, order)))

    return router


def _order(surface: Surface, body: CreateChat, request: Request) -> Order:
    """Raises Invalid."""
    _check_offered(body)
    *before, last = [_said(index, message) for index, message in enumerate(body.messages)]
    if last.role == "assistant":
        raise _invalid("messages", "The last message is the one to be answered: it is the user's.")
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=Kind.TEXT,
        prompt=last.content,
        model=body.model or None,
        messages=tuple(message for message in before if message.content.strip()),  # providers refuse an empty one
        max_tokens=body.max_completion_tokens or body.max_tokens,
        options=_options(surface, body),
        remarks=remarks_of(body.user),
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


def _check_offered(body: CreateChat) -> None:
    """What would change the answer's meaning is refused rather than passed over."""
    if body.tools or body.functions:
        raise _invalid("tools", "Tools are not offered here.")
    if (body.response_format or {}).get("type", "text") != "text":
        raise _invalid("response_format", "Only text is offered here.")
    if set(body.modalities or ()) - {"text"}:
        raise _invalid("modalities", "Only text is offered here.")
    for name in ("logprobs", "top_logprobs"):
        if getattr(body, name):
            raise _invalid(name, "Log probabilities are not offered here.")
    if body.web_search_options is not None:
        raise _invalid("web_search_options", "Searching the web is not offered here.")
    if body.moderation is not None:
        raise _invalid("moderation", "Judging as a part of an answer is not offered here: ask /moderations.")


def _said(index: int, message: ChatMessage) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        raise _invalid(f"messages.{index}.role", "Tools are not offered here.")
    if message.content is None:
        raise _invalid(f"messages.{index}.content", "A message needs a content.")
    if isinstance(message.content, str):
        return Message.model_validate({"role": role, "content": message.content})
    if any(part.type != "text" or part.text is None for part in message.content):
        raise _invalid(f"messages.{index}.content", "Only parts of type text are offered here.")
    return Message.model_validate({"role": role, "content": "\n".join(part.text or "" for part in message.content)})


def _options(surface: Surface, body: CreateChat) -> dict[str, Any]:
    asked = body.model_dump(include=set(_OPTIONS), exclude_none=True)
    offered = [model for model, _ in surface.queries.models(Kind.TEXT)]
    if "stop" in asked and _provider(offered, body.model) == "anthropic":
        stop = asked.pop("stop")
        asked["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    return asked


def _provider(offered: list[CatalogModel], name: str | None) -> str | None:
    return next((model.provider for model in offered if name in {None, "", model.id}), None)


def _chat(generation: Generation) -> Chat:
    """The finished text.

    Raises:
        Refusal: the generation ended otherwise, or has not ended yet.
    """
    ending = delivered(generation)
    return Chat(
        id=f"chatcmpl-{generation.id}",
        created=int(generation.created_at.timestamp()),
        model=generation.model,
        choices=[ChatChoice(message=Written(content=ending.text or ""), finish_reason=_reason(generation, ending))],
        usage=_usage(ending),
    )


def _reason(generation: Generation, ending: Ending) -> Any:
    """Where the outcome does not say that it was cut off, it was if it took all the tokens that it might."""
    if ending.cut_by is not None:
        return "length"
    most = generation.particulars.get("max_tokens")
    return "length" if most and ending.usage and ending.usage.output_tokens >= most else "stop"


def _usage(ending: Ending) -> ChatUsage | None:
    if ending.usage is None:
        return None
    read, written = ending.usage.input_tokens, ending.usage.output_tokens
    return ChatUsage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


async def _events(
    surface: Surface, words: Words, caller: Caller, order: Order, body: CreateChat
) -> AsyncIterator[bytes]:
    """The chunks. Before the first, refusals are raised; after it, they are an event."""
    counts = body.stream_options is not None and bool(body.stream_options.include_usage)
    generation_id = generation_id_of(caller, order)
    async with surface.hub.place(caller.user_id), words.listening(generation_id) as heard:
        joins = order.idempotency_key is not None and await _is_known(surface, caller, generation_id)
        generation = await surface.commands.create(caller, order, generation_id)
        yield _chunk(generation, {"role": "assistant", "content": ""}, counts=counts)
        is_anew = False
        try:
            async for piece in words.pieces(caller, generation, heard):
                if isinstance(piece, Generation):
                    generation = piece
                elif isinstance(piece, Anew):
                    is_anew = not joins
                elif piece is None:
                    yield PING
                elif not joins:  # whoever comes later has not heard how it began, and is told the whole at its end
                    yield _chunk(generation, {"content": piece}, counts=counts)
            ending = delivered(generation)
            if is_anew:
                raise TextChanged(generation.id)
        except Refusal as refusal:
            yield event({"error": errors.error_of(refusal)})
            return
    if joins:
        yield _chunk(generation, {"content": ending.text or ""}, counts=counts)
    yield _chunk(generation, {}, _reason(generation, ending), counts=counts)
    if counts:
        usage = _usage(ending)
        yield event({**_head(generation), "choices": [], "usage": usage.model_dump() if usage else None})
    yield DONE


async def _is_known(surface: Surface, caller: Caller, generation_id: UUID) -> bool:
    try:
        await surface.queries.generation(caller, generation_id)
    except NotFound:
        return False
    return True


def _chunk(generation: Generation, delta: dict[str, str], reason: str | None = None, *, counts: bool) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return event({**_head(generation), "choices": [choice], **({"usage": None} if counts else {})})


def _head(generation: Generation) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{generation.id}",
        "object": "chat.completion.chunk",
        "created": int(generation.created_at.timestamp()),
        "model": generation.model,
    }


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(message, details={"errors": [{"field": field, "message": message}]})
