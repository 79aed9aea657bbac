"""The routes that the real client calls about canvases and chats: /api/canvas, /api/chat and their kin."""

import json
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from fastapi import APIRouter, Request

from contracts.facts import Verdict
from contracts.talking import Message
from gateway.dialects.jaaz import elements as things
from gateway.dialects.jaaz import errors, names, transcripts, translate
from gateway.dialects.jaaz.answers import Desk
from gateway.dialects.jaaz.canvases import Canvas, Change
from gateway.dialects.jaaz.client_schemas import (
    CanvasData,
    CanvasId,
    CanvasName,
    ClientCanvas,
    ClientChat,
    ClientError,
    Confirmation,
    Status,
)
from gateway.dialects.jaaz.schemas import Document
from gateway.dialects.jaaz.talk import Talk
from gateway.dialects.surface import route_class, traceparent_of
from gateway.identity import Caller
from gateway.orders import MAX_MESSAGES
from gateway.records import Generation
from gateway.refusals import Invalid, NotFound, Refusal

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ClientError} for status in (400, 401, 402, 404, 409, 413, 415, 422, 429, 501, 502, 503, 504)
}


def make_router(desk: Desk) -> APIRouter:
    """Canvases and chats, as the client asks for them."""
    router = APIRouter(prefix="/api", tags=["jaaz"], route_class=route_class(errors.render_client), responses=ERRORS)
    canvases, chats = desk.canvases, desk.chats

    @router.post("/chat", summary="Say something, with all that was said before")
    async def chat(body: ClientChat, request: Request) -> Status:
        """Answers when the run is over, or was stopped; what was written arrived by socket."""
        who = await desk.who(request)
        with desk.surface.verdicts.place(who.user_id):
            said = await _say(desk, who, _talk(body), request, request.headers.get("idempotency-key"))
            try:
                await desk.talks.whole(who, said)
            except Refusal as refusal:
                if refusal.code != Verdict.CANCELLED:
                    raise
        return Status(status="done")

    @router.get("/chat_session/{session_id}", summary="The messages of a session")
    async def session(session_id: str, request: Request) -> list[Document]:
        """Empty for a session in which nothing was said."""
        said = await chats.turns(await desk.who(request), names.known(session_id, "session"))
        return transcripts.messages_of(said, desk.surface)

    @router.get("/list_chat_sessions", summary="Your chat sessions, as a list")
    async def sessions(request: Request) -> list[Document]:
        return _sessions(await chats.sessions(await desk.who(request)))

    @router.post("/cancel/{session_id}", summary="Stop what is being written in a session")
    async def cancel(session_id: str, request: Request) -> Status:
        stopped = await desk.talks.cancel(await desk.who(request), names.known(session_id, "session"))
        return Status(status="done" if stopped else "not_found_or_done")

    @router.post("/tool_confirmation", summary="Allow or refuse what a model wants to do")
    async def confirm(body: Confirmation, request: Request) -> Status:
        await desk.who(request)
        raise NotFound("There is no such tool call: it waits for nobody.")

    @router.get("/canvas/list", summary="Your canvases, as a list")
    async def listing(request: Request) -> list[Document]:
        found = await canvases.all(await desk.who(request))
        return [
            {
                "id": row.id,
                "name": row.name,
                "description": row.description,
                "thumbnail": translate.addressed(desk.surface, row.thumbnail) or "",
                "created_at": row.created_at,
                "updated_at": row.updated_at,
            }
            for row in found
        ]

    @router.post("/canvas/create", summary="Make a canvas, and begin to talk about it")
    async def create(body: ClientCanvas, request: Request) -> CanvasId:
        """The ids are the client's; the same again changes nothing: what it says about its canvas is said once. Where
        that is refused the canvas is there all the same, and the refusal has its id."""
        who, name = await desk.who(request), names.chosen(body.canvas_id, "canvas_id")
        talk = replace(_talk(body), canvas_id=name) if body.messages else None
        made = await canvases.create(who, name, Change(body.name))
        if talk is not None:
            try:
                await _say(desk, who, talk, request, request.headers.get("idempotency-key") or _key_of(body, name))
            except Refusal as refusal:
                # The client does not look at the status, and goes on to the canvas that the answer names.
                refusal.details["id"] = made.id
                raise
        return CanvasId(id=made.id)

    @router.get("/canvas/{canvas_id}", summary="Open a canvas")
    async def load(canvas_id: str, request: Request) -> Document:
        who = await desk.who(request)
        found = await canvases.get(who, names.known(canvas_id, "canvas"))
        return _opened(desk, found, await chats.sessions(who, found.id))

    @router.post("/canvas/{canvas_id}/save", summary="Save a canvas")
    async def save(canvas_id: str, body: CanvasData, request: Request) -> CanvasId:
        """Merged in, element by element, unless it says which version it knew."""
        change = _change(body)
        changed = await canvases.update(await desk.who(request), names.known(canvas_id, "canvas"), change)
        return CanvasId(id=changed.id)

    @router.post("/canvas/{canvas_id}/rename", summary="Rename a canvas")
    async def rename(canvas_id: str, body: CanvasName, request: Request) -> CanvasId:
        change = Change(name=body.name)
        changed = await canvases.update(await desk.who(request), names.known(canvas_id, "canvas"), change)
        return CanvasId(id=changed.id)

    @router.delete("/canvas/{canvas_id}/delete", summary="Throw a canvas away")
    async def delete(canvas_id: str, request: Request) -> CanvasId:
        await canvases.delete(await desk.who(request), names.known(canvas_id, "canvas"))
        return CanvasId(id=canvas_id)

    return router


async def _say(desk: Desk, who: Caller, talk: Talk, request: Request, key: str | None) -> Generation:
    route = request.url.path
    generation_id = desk.talks.id_of(who, route, key)
    return await desk.talks.say(who, talk, generation_id, route=route, traceparent=traceparent_of(request))


def _key_of(body: ClientChat, canvas_id: str) -> str:
    """The client sends no key, and the same body again where it heard no answer: its ids and words are the key."""
    return sha256(json.dumps([canvas_id, body.session_id, body.messages[-1]]).encode()).hexdigest()


def _talk(body: ClientChat) -> Talk:
    """The newest message is what is said; the others, and the system prompt, are what was said before."""
    said = messages_of(body.messages)
    if not said or said[-1].role != "user":
        raise Invalid("The last of the messages has to be the user's.")
    before = said[:-1][-(MAX_MESSAGES - 1) :]
    if body.system_prompt:
        before.insert(0, Message(role="system", content=body.system_prompt))
    model = body.text_model.get("model") if isinstance(body.text_model, dict) else body.text_model
    return Talk(
        names.chosen(body.session_id, "session_id"),
        said[-1].content,
        model if isinstance(model, str) else None,
        body.canvas_id,
        tuple(before),
        tools=_tools(body.tool_list),
    )


def _tools(chosen: list[Any] | None) -> frozenset[str] | None:
    """The models that the user lets draw; None where the client does not say."""
    if chosen is None:
        return None
    return frozenset(each["id"] for each in chosen if isinstance(each, dict) and isinstance(each.get("id"), str))


def messages_of(said: Iterable[Document]) -> list[Message]:
    """As models are told of them: words alone, what the assistant said at one time as one message. What came of a call
    of a tool is among these, as the call itself was another message's."""
    told: list[Message] = []
    for message in filter(None, map(_message_of, said)):
        if told and told[-1].role == message.role == "assistant":
            told[-1] = Message(role="assistant", content=f"{told[-1].content}\n\n{message.content}")
        else:
            told.append(message)
    return told


def _message_of(message: Document) -> Message | None:
    """None for what is not said in words: a call of a tool, a picture alone."""
    role, content = message.get("role"), message.get("content")
    if isinstance(content, list):
        content = "\n".join(_texts(content))
    if role not in {"system", "user", "assistant", "tool"} or not isinstance(content, str) or not content:
        return None
    return Message(role="assistant" if role == "tool" else role, content=content)


def _texts(parts: Iterable[Any]) -> Iterable[str]:
    for part in parts:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]


def _change(body: CanvasData) -> Change:
    """The client's `data` in our words. Raises Invalid."""
    elements, state, files = (body.data.get(name) for name in ("elements", "appState", "files"))
    if not isinstance(elements or [], list) or not all(isinstance(element, dict) for element in elements or []):
        raise Invalid("data.elements: a list of objects")
    if not isinstance(state or {}, dict) or not isinstance(files or {}, dict):
        raise Invalid("data.appState and data.files: objects")
    return Change(None, body.thumbnail, elements, state, files, body.version)


def _opened(desk: Desk, canvas: Canvas, sessions: Iterable[Any]) -> Document:
    surface = desk.surface
    return {
        "data": {
            "elements": translate.addressed(surface, things.visible(canvas.elements)),
            "appState": canvas.app_state,
            "files": translate.addressed(surface, canvas.files),
        },
        "name": canvas.name,
        "version": canvas.version,
        "sessions": _sessions(sessions),
    }


def _sessions(rows: Iterable[Any]) -> list[Document]:
    return [
        {
            "id": row.id,
            "title": row.title,
            "canvas_id": row.canvas_id or "",
            "model": row.model or "",
            "provider": row.provider or "",
            "created_at": row.created_at,
            "updated_at": row.updated_at,
        }
        for row in rows
    ]
