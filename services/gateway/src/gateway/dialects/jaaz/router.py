"""The routes of the seed about canvases, chats and what is made: /api/v1."""

import json
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse

from contracts.facts import Kind
from gateway.dialects.jaaz import errors, names, translate
from gateway.dialects.jaaz.answers import ERRORS, Desk
from gateway.dialects.jaaz.canvases import Change
from gateway.dialects.jaaz.schemas import (
    CanvasChange,
    CanvasChanged,
    CanvasList,
    CanvasMade,
    CanvasSummary,
    CanvasView,
    ChatAnswer,
    ChatMessage,
    Done,
    GeneratedImage,
    GeneratedText,
    GenerateImage,
    GenerateText,
    ModelNames,
    NewCanvas,
    SessionList,
    SessionView,
)
from gateway.dialects.jaaz.talk import Talk
from gateway.dialects.surface import route_class, traceparent_of
from gateway.identity import Caller
from gateway.live import PING
from gateway.orders import generation_id_of
from gateway.records import Generation
from gateway.refusals import Refusal

PREFIX = "/api/v1"
Key = Annotated[str | None, Header(alias="Idempotency-Key")]


def make_router(desk: Desk) -> APIRouter:
    """Canvases, chats, pictures and texts."""
    router = APIRouter(prefix=PREFIX, tags=["jaaz"], route_class=route_class(errors.render), responses=ERRORS)
    surface, canvases, chats = desk.surface, desk.canvases, desk.chats

    @router.get("/models", summary="The models")
    async def models(request: Request) -> ModelNames:
        await desk.who(request)
        offered = [model for model, _ in surface.queries.models()]
        return ModelNames(
            text_models=[model.id for model in offered if model.kind is Kind.TEXT],
            image_models=[model.id for model in offered if model.kind is Kind.IMAGE],
            available_providers=sorted({model.provider for model in offered}),
        )

    @router.post("/models/generate/image", summary="Make an image and wait for it", response_model=GeneratedImage)
    async def generate_image(body: GenerateImage, request: Request, idempotency_key: Key = None) -> GeneratedImage:
        """Held open until the image is stored; the seed is ours where the model takes one."""
        who = await desk.who(request, body.user_id)
        return translate.image(surface, await _image(desk, who, body, request))

    @router.post("/models/generate/text", summary="Write a text and wait for it", response_model=GeneratedText)
    async def generate_text(body: GenerateText, request: Request, idempotency_key: Key = None) -> GeneratedText:
        who, order = await desk.who(request, body.user_id), translate.text_order(body, request)
        return translate.words(await surface.commands.create_and_wait(surface.verdicts, who, order))

    @router.post(
        "/chat/message",
        summary="Say something in a session",
        response_model=ChatAnswer,
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    async def say(body: ChatMessage, request: Request, idempotency_key: Key = None) -> Response:
        """Its words go to the session's sockets as they are written, whoever waits here."""
        who = await desk.who(request, body.user_id)
        if body.stream and "text/event-stream" in request.headers.get("accept", ""):
            return await _streamed(_frames(desk, who, body, request, idempotency_key))
        answer = await _said(desk, who, body, request, idempotency_key)
        return Response(answer.model_dump_json(), media_type="application/json")

    @router.get("/chat/sessions", summary="Your chat sessions")
    async def sessions(request: Request) -> SessionList:
        found = await chats.sessions(await desk.who(request))
        return SessionList(sessions=[SessionView.model_validate(dict(row)) for row in found])

    @router.delete("/chat/sessions/{session_id}", summary="Delete a chat session")
    async def delete_session(session_id: str, request: Request) -> Done:
        """What is under way in it is stopped, what was made stays; it is not shown as a session any more."""
        await desk.talks.delete(await desk.who(request), names.known(session_id, "session"))
        return Done()

    @router.get("/canvases", summary="Your canvases")
    async def listing(request: Request) -> CanvasList:
        found = await canvases.all(await desk.who(request))
        return CanvasList(
            canvases=[
                CanvasSummary.model_validate(
                    {**dict(row), "title": row.name, "thumbnail": translate.addressed(surface, row.thumbnail)}
                )
                for row in found
            ]
        )

    @router.post("/canvases", summary="Save a new canvas")
    async def create(body: NewCanvas, request: Request) -> CanvasMade:
        """An id may be given, and is the caller's alone. Files that are embedded become files of the caller's."""
        who, name = await desk.who(request), names.chosen(body.id, "id")
        change = Change(body.title, body.thumbnail, body.elements, body.app_state, body.files)
        made = await canvases.create(who, name, change)
        return CanvasMade(canvas_id=made.id, version=made.version)

    @router.get("/canvases/{canvas_id}", summary="Load a canvas", response_model=CanvasView)
    async def load(canvas_id: str, request: Request) -> CanvasView:
        found = await canvases.get(await desk.who(request), names.known(canvas_id, "canvas"))
        return translate.canvas(surface, found)

    @router.put("/canvases/{canvas_id}", summary="Change a canvas")
    async def update(canvas_id: str, body: CanvasChange, request: Request) -> CanvasChanged:
        """409 where its `version` is not the newest; without one it is merged, element by element."""
        change = Change(body.title, body.thumbnail, body.elements, body.app_state, body.files, body.version)
        changed = await canvases.update(await desk.who(request), names.known(canvas_id, "canvas"), change)
        return CanvasChanged(version=changed.version)

    @router.delete("/canvases/{canvas_id}", summary="Delete a canvas")
    async def delete(canvas_id: str, request: Request) -> Done:
        await canvases.delete(await desk.who(request), names.known(canvas_id, "canvas"))
        return Done()

    return router


async def _image(desk: Desk, who: Caller, body: GenerateImage, request: Request) -> Generation:
    surface = desk.surface
    first = translate.image_order(body, UUID(int=0), request)
    generation_id = generation_id_of(who, first)
    order = translate.image_order(body, generation_id, request)
    with surface.verdicts.place(who.user_id):
        async with surface.verdicts.listening(generation_id) as heard:
            generation = await surface.commands.create(who, order, generation_id)
            return await surface.verdicts.wait(who, generation, heard)


def _talk(body: ChatMessage) -> Talk:
    return Talk(names.chosen(body.session_id, "session_id"), body.message, body.model, body.canvas_id)


async def _said(desk: Desk, who: Caller, body: ChatMessage, request: Request, key: str | None) -> ChatAnswer:
    talk, route = _talk(body), request.url.path
    generation_id = desk.talks.id_of(who, route, key)
    traceparent = traceparent_of(request)
    with desk.surface.verdicts.place(who.user_id):
        said = await desk.talks.say(who, talk, generation_id, route=route, traceparent=traceparent)
        spoken = await desk.talks.whole(who, said)
    return ChatAnswer(
        response=spoken.text,
        message_id=str(said.id),
        session_id=talk.session_id,
        usage=translate.tokens(spoken.usage),
    )


async def _frames(
    desk: Desk, who: Caller, body: ChatMessage, request: Request, key: str | None
) -> AsyncIterator[bytes]:
    """First nothing, once the message is accepted; then the words; then the whole, or why there is none."""
    talk, route = _talk(body), request.url.path
    generation_id = desk.talks.id_of(who, route, key)
    async with desk.surface.hub.place(who.user_id), desk.talks.words.listening(generation_id) as heard:
        generation = await desk.talks.say(who, talk, generation_id, route=route, traceparent=traceparent_of(request))
        yield b""
        frame = {"message_id": str(generation.id), "session_id": talk.session_id}
        try:
            async for piece in desk.talks.pieces(who, generation, heard):
                if isinstance(piece, str):
                    yield _event("message", json.dumps({**frame, "message": piece, "is_complete": False}))
                    continue
                if piece is None:
                    yield PING
                    continue
                usage = translate.tokens(piece.usage).model_dump()
                end = {**frame, "message": "", "is_complete": True, "response": piece.text, "usage": usage}
                yield _event("message", json.dumps(end))
        except Refusal as refusal:
            yield _event("error", errors.frame(refusal))


async def _streamed(frames: AsyncIterator[bytes]) -> Response:
    """What is refused is refused before the stream begins."""
    await anext(frames)
    return StreamingResponse(frames, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()
