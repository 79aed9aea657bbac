"""The events that the jaaz frontend sends by socket, and what its other sockets hear of them."""

from typing import Any

from gateway.dialects.jaaz import names, transcripts, translate
from gateway.dialects.jaaz.answers import Desk
from gateway.dialects.jaaz.canvases import MAX_ELEMENTS, Change
from gateway.dialects.jaaz.talk import Talk
from gateway.identity import Caller
from gateway.refusals import Invalid
from gateway.sockets.rooms import session_room, user_room

ROUTE = "chat_message"


def register(desk: Desk) -> None:
    """Puts the dialect's events on the sockets."""
    sockets = desk.surface.sockets

    async def join_session(caller: Caller, socket: str, body: dict[str, Any]) -> dict[str, Any]:
        """All that was said, so that whoever comes back misses nothing; then what is being written."""
        session_id = _name(body, "session_id")
        await sockets.enter(socket, session_room(caller.user_id, session_id))
        said = transcripts.messages_of(await desk.chats.turns(caller, session_id), desk.surface)
        told = {"session_id": session_id, "canvas_id": "", "type": "all_messages", "messages": said}
        await sockets.answer(socket, "session_update", told)
        return {"success": True, "session_id": session_id}

    async def leave_session(caller: Caller, socket: str, body: dict[str, Any]) -> dict[str, Any]:
        await sockets.leave(socket, session_room(caller.user_id, _name(body, "session_id")))
        return {"success": True}

    async def chat_message(caller: Caller, socket: str, body: dict[str, Any]) -> dict[str, Any]:
        """Whoever talks in a session hears it."""
        said, model, key = body.get("message"), body.get("model"), body.get("idempotency_key")
        if not isinstance(said, str) or not isinstance(model, str | None) or not isinstance(key, str | None):
            raise Invalid("message: a text; model: a text")
        canvas_id = _name(body, "canvas_id") if body.get("canvas_id") else None
        talk = Talk(_name(body, "session_id"), said, model or None, canvas_id)
        await sockets.enter(socket, session_room(caller.user_id, talk.session_id))
        generation_id = desk.talks.id_of(caller, ROUTE, key)
        generation = await desk.talks.say(caller, talk, generation_id, route=ROUTE)
        return {"success": True, "message_id": str(generation.id), "session_id": talk.session_id}

    async def canvas_update(caller: Caller, socket: str, body: dict[str, Any]) -> dict[str, Any]:
        """What is newer is kept and said to the user's other sockets; the answer has the version that it made."""
        change = _change(body)
        canvas = await desk.canvases.update(caller, _name(body, "canvas_id"), change)
        updated = translate.canvas_update(desk.surface, caller, canvas)
        await sockets.say("canvas_updated", updated, user_room(caller.user_id), but=socket)
        return {"success": True, "version": canvas.version}

    for event, method in (
        (join_session, "GET"),
        (leave_session, "GET"),
        (chat_message, "POST"),
        (canvas_update, "POST"),
    ):
        sockets.on(event.__name__, event, method)


def _change(body: dict[str, Any]) -> Change:
    elements, state, version = body.get("elements"), body.get("app_state"), body.get("version")
    if elements is not None and not (
        isinstance(elements, list)
        and len(elements) <= MAX_ELEMENTS
        and all(isinstance(element, dict) for element in elements)
    ):
        raise Invalid(f"elements: a list of at most {MAX_ELEMENTS} objects")
    if not isinstance(state, dict | None) or not isinstance(version, int | None):
        raise Invalid("app_state: an object; version: a number")
    return Change(elements=elements, app_state=state, version=version)


def _name(body: dict[str, Any], field: str) -> str:
    """The session or canvas that an event is about. Raises Invalid."""
    name = body.get(field)
    if not isinstance(name, str) or not name:
        raise Invalid(f"{field}: a text")
    return names.chosen(name, field)
