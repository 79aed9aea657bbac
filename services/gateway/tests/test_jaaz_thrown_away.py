"""A model that draws for a session that is deleted, or for a canvas that is thrown away: what was paid for is found."""

import asyncio

import asyncpg
import pytest

from contracts.facts import Kind
from gateway.commands import Commands

from .client import Client, until
from .players import Players
from .sockets import Open, Socket
from .test_jaaz_agents import FOX, SESSION, Artist, asked, drawn_on, is_done, is_drawing, said_to, saying, with_canvas

pytestmark = pytest.mark.connected


async def drawing_for(client: Client, players: Players, open_socket: Open) -> tuple[str, Socket, Artist]:
    """A canvas for which something is being drawn, until it may end."""
    canvas_id, socket, artist = await with_canvas(client), await open_socket(client.user_id), Artist(players, [FOX])
    artist.may_draw.clear()
    players.scripts[client.user_id] = artist
    await socket.ask("join_session", {"session_id": SESSION})
    await socket.client.emit("chat_message", saying(canvas_id))
    await until(lambda: is_drawing(players, client), 10)
    return canvas_id, socket, artist


@pytest.mark.parametrize("is_too_late", [False, True])
async def test_a_session_that_is_deleted_draws_no_more_and_what_was_drawn_lands(
    client: Client,
    players: Players,
    postgres: asyncpg.Pool,
    open_socket: Open,
    monkeypatch: pytest.MonkeyPatch,
    is_too_late: bool,
) -> None:
    canvas_id, socket, artist = await drawing_for(client, players, open_socket)
    [drawing] = [request for request in asked(players, client) if request.kind is Kind.IMAGE]
    if is_too_late:
        monkeypatch.setattr(Commands, "cancel", lambda self, caller, generation_id: asyncio.sleep(0))
    assert (await client.request("DELETE", f"/api/v1/chat/sessions/{SESSION}")).status == 200
    artist.may_draw.set()
    ended = await client.ended(str(drawing.generation_id))
    assert ended["status"] == ("completed" if is_too_late else "cancelled")
    await is_done(socket)
    assert len(await drawn_on(client, canvas_id)) == is_too_late
    assert [request.kind for request in asked(players, client)].count(Kind.TEXT) == 1
    assert (await client.get("/api/v1/chat/sessions")).json["sessions"] == []
    assert (await client.request("DELETE", f"/api/v1/chat/sessions/{SESSION}")).status == 404
    await said_to(client, canvas_id)
    first, second, *_ = (request.generation_id for request in asked(players, client) if request.kind is Kind.TEXT)

    async def is_over() -> bool:
        """A moment after its answer."""
        state = await postgres.fetchval("SELECT state FROM agent_turns WHERE generation_id = $1", second)
        return bool(state == "done")

    await until(is_over)
    assert (await client.request("DELETE", f"/api/v1/chat/sessions/{SESSION}")).status == 200
    rows = await postgres.fetch("SELECT generation_id FROM agent_turns WHERE user_id = $1", client.user_id)
    kept = {row["generation_id"] for row in rows}
    assert kept <= {first}, "what was over when its session was deleted"
    assert kept or not is_too_late, "the one that outlived its session"


async def test_what_is_drawn_for_a_canvas_that_was_thrown_away_is_said_to_be_among_the_files(
    client: Client, players: Players, open_socket: Open
) -> None:
    canvas_id, socket, artist = await drawing_for(client, players, open_socket)
    assert (await client.request("DELETE", f"/api/v1/canvases/{canvas_id}")).status == 200
    artist.may_draw.set()
    await is_done(socket)
    [told] = [said for said in asked(players, client)[-1].since if said.role == "tool"]
    shown = (await client.get(f"/api/chat_session/{SESSION}")).json
    [result] = [update for update in socket.heard["session_update"] if update["type"] == "tool_call_result"]
    for said in (told.content, shown[2]["content"], result["message"]["content"]):
        assert "kept among the user's files" in said and "put on the canvas" not in said
    assert len((await client.get("/api/v1/files")).json["files"]) == 1
