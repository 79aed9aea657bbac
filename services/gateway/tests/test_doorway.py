"""Who leaves, or is kept out by an error, while the database is asked whose key it is, and who is sent away: nothing of
them stays."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator

import aiohttp
import asyncpg
import pytest
from socketio.exceptions import ConnectionError as Refused

from .client import Client, token, until
from .conftest import Service
from .sockets import Open

pytestmark = pytest.mark.connected
_WAITING = """
    SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
        AND query LIKE '%api_keys%'
"""


@pytest.fixture
async def key(client: Client) -> str:
    """A key that nobody has asked about."""
    made: str = (await client.post("/v1/api-keys", json={"name": "a program"})).json["key"]
    return made


@contextlib.asynccontextmanager
async def keys_locked(postgres: asyncpg.Pool) -> AsyncIterator[None]:
    """Whoever asks about a key waits for the end of the block."""
    async with postgres.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
        yield


async def somebody_waits(postgres: asyncpg.Pool) -> int:
    """The process of the database that does."""

    async def waiting() -> int | None:
        found: int | None = await postgres.fetchval(_WAITING)
        return found

    pid: int = await until(waiting, 10)
    return pid


async def test_who_is_shown_out_while_being_let_in_is_not_counted(
    open_socket: Open,
    client: Client,
    key: str,
    postgres: asyncpg.Pool,
    service: Service,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.sockets.doorway.JOIN_SECONDS", 1.0)
    monkeypatch.setattr("gateway.sockets.server.MAX_SOCKETS_OF_USER", 1)
    async with http.ws_connect(f"{service.url}/socket.io/?EIO=4&transport=websocket") as socket:
        assert (await socket.receive_str()).startswith("0{")
        async with keys_locked(postgres):
            await socket.send_str(f'40{{"token":"{key}"}}')
            await somebody_waits(postgres)
            while (await asyncio.wait_for(socket.receive(), 5)).type is not aiohttp.WSMsgType.CLOSE:
                pass
        await lets_in(open_socket, client)


async def test_who_leaves_while_being_let_in_is_not_counted(
    open_socket: Open,
    client: Client,
    key: str,
    postgres: asyncpg.Pool,
    service: Service,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By polling, where another request says that it goes."""
    monkeypatch.setattr("gateway.sockets.server.MAX_SOCKETS_OF_USER", 1)
    address = f"{service.url}/socket.io/?EIO=4&transport=polling"
    opened = json.loads((await (await http.get(address)).text())[1:])
    address += f"&sid={opened['sid']}"
    async with keys_locked(postgres):
        joining = asyncio.create_task(http.post(address, data=f'40{{"token":"{key}"}}'))
        await somebody_waits(postgres)
        assert (await http.post(address, data="1")).status == 200
    await joining
    await lets_in(open_socket, client)


async def lets_in(open_socket: Open, client: Client) -> None:
    """The one socket that the user may have."""

    async def is_let_in() -> bool:
        with contextlib.suppress(Refused):
            return bool(await open_socket(client.user_id))
        return False

    await until(is_let_in, 10)


async def test_whom_an_error_kept_out_may_ask_again(
    client: Client, key: str, postgres: asyncpg.Pool, service: Service, http: aiohttp.ClientSession
) -> None:
    """On the same connection, which is another's no more than before."""
    async with http.ws_connect(f"{service.url}/socket.io/?EIO=4&transport=websocket") as socket:
        assert (await socket.receive_str()).startswith("0{")
        async with keys_locked(postgres):
            await socket.send_str(f'40{{"token":"{key}"}}')
            await postgres.execute("SELECT pg_terminate_backend($1)", await somebody_waits(postgres))
            await asyncio.sleep(0.2)
        await socket.send_str(f'40{{"token":"{key}"}}')
        assert (await asyncio.wait_for(socket.receive_str(), 5)).startswith('40{"sid":')


async def test_who_asks_twice_at_once_is_let_in_once(
    open_socket: Open,
    client: Client,
    key: str,
    postgres: asyncpg.Pool,
    service: Service,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By polling, which sends beside itself: the second neither ends the first nor keeps the door open for it."""
    monkeypatch.setattr("gateway.sockets.doorway.JOIN_SECONDS", 1.0)
    address = f"{service.url}/socket.io/?EIO=4&transport=polling"
    opened = json.loads((await (await http.get(address)).text())[1:])
    address += f"&sid={opened['sid']}"
    async with keys_locked(postgres):
        joining = asyncio.create_task(http.post(address, data=f'40{{"token":"{key}"}}'))
        await somebody_waits(postgres)
        await http.post(address, data=f'40{{"token":"{key}"}}')
    await joining
    said = await (await http.get(address)).text()
    assert "44" in said and '40{"sid":' in said
    await asyncio.sleep(1.5)
    assert (await http.post(address, data='42["ping",{}]')).status == 200
    while "pong" not in said:
        said = await (await asyncio.wait_for(http.get(address), 5)).text()


async def test_who_is_sent_away_is_shown_out(
    client: Client, service: Service, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever does not go by himself is no more welcome than who never joined."""
    monkeypatch.setattr("gateway.sockets.doorway.JOIN_SECONDS", 0.5)
    async with http.ws_connect(f"{service.url}/socket.io/?EIO=4&transport=websocket") as socket:
        assert (await socket.receive_str()).startswith("0{")
        await socket.send_str(f'40{{"token":"{token(client.user_id, exp=int(time.time()) + 1)}"}}')
        heard = []
        while (said := await asyncio.wait_for(socket.receive(), 5)).type is not aiohttp.WSMsgType.CLOSE:
            heard.append(said.data)
    assert heard[0].startswith('40{"sid":') and "41" in heard
