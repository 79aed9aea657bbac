"""Who stands before the gateway: proxies that name a user, and ports that mean a dialect."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest
from pydantic import ValidationError
from starlette.requests import Request

from contracts.ids import user_of
from darkroom.embedded import free_port
from gateway.listeners import Listeners, server_of, sockets_of
from gateway.proxies import ISSUER, Proxies
from gateway.settings import DoorSettings, Settings
from runtime.settings import ProcessSettings

from .client import Client
from .conftest import MakeClient, Server

pytestmark = pytest.mark.connected
NAME = "X-Forwarded-User"


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    doors = DoorSettings(proxy_networks="10.0.0.0/8, 127.0.0.1", proxy_user_header=NAME)
    return replace(settings, doors=doors)


def request_from(peer: str, *headers: tuple[str, str]) -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "client": (peer, 1), "headers": raw})


def named(name: str) -> UUID:
    return user_of(ISSUER, f"name {name}")


# -- a user whom a proxy names ------------------------------------------------------------------------------------


async def test_a_trusted_proxy_names_the_user_on_every_route(nobody: Client, postgres: asyncpg.Pool) -> None:
    ada, bob = {NAME: f"ada {uuid4()}"}, {NAME: f"bob {uuid4()}"}
    made = await nobody.post("/v1/generations", ada, json={"kind": "image", "prompt": "x"})
    assert made.status == 202
    owner = await postgres.fetchval("SELECT user_id FROM generations WHERE id = $1", UUID(made.json["id"]))
    assert owner == named(ada[NAME])
    place = f"/v1/generations/{made.json['id']}"
    assert (await nobody.get(place, ada)).status == 200
    assert (await nobody.get(place, bob)).status == 404
    assert (await nobody.get(place)).status == 401
    assert (await nobody.post("/api/images/generate", ada, json={"prompt": "x"})).status == 200
    foreign = await nobody.post("/api/images/generate", ada, json={"prompt": "x", "userId": str(uuid4())})
    assert foreign.status == 404


async def test_a_bearer_token_comes_before_the_header(client_of: MakeClient, client: Client) -> None:
    made = await client.accepted()
    assert (await client.get(f"/v1/generations/{made['id']}", {NAME: "ada"})).status == 200
    assert (await client_of(bearer="garbage").get("/v1/models", {NAME: "ada"})).status == 401


@pytest.mark.parametrize("peer", ["10.1.2.3", "127.0.0.1", "::ffff:10.1.2.3"])
def test_the_header_is_believed_from_the_named_networks(settings: Settings, peer: str) -> None:
    assert Proxies(settings.doors).user(request_from(peer, (NAME, "ada"))) == named("ada")


@pytest.mark.parametrize("peer", ["11.1.2.3", "127.0.0.2", "::1", "", "testclient", "10.1.2.3.4"])
def test_from_everywhere_else_it_is_nothing(settings: Settings, peer: str) -> None:
    assert Proxies(settings.doors).user(request_from(peer, (NAME, "ada"), ("X-Forwarded-For", "10.0.0.1"))) is None


@pytest.mark.parametrize("headers", [[], [""], ["  "], ["ada", "bob"], ["x" * 300]])
def test_no_name_or_two_is_nobody(settings: Settings, headers: list[str]) -> None:
    request = request_from("10.0.0.1", *((NAME, value) for value in headers))
    assert Proxies(settings.doors).user(request) is None


def test_a_name_that_looks_like_an_id_is_not_that_user(settings: Settings) -> None:
    victim = uuid4()
    assert Proxies(settings.doors).user(request_from("10.0.0.1", (NAME, str(victim)))) not in {victim, None}


def test_without_the_setting_no_header_names_anybody() -> None:
    assert Proxies(DoorSettings(proxy_networks="10.0.0.0/8")).user(request_from("10.0.0.1", (NAME, "ada"))) is None
    with pytest.raises(ValidationError, match="anybody could send"):
        DoorSettings(proxy_user_header=NAME)
    with pytest.raises(ValidationError):
        DoorSettings(proxy_networks="10.0.0.0/99")


@pytest.mark.parametrize(
    ("peer", "passed", "address"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "garbage, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff:1:2:3", "198.51.100.1", "2001:db8::/64"),
        ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
    ],
)
def test_an_address_is_the_last_that_no_proxy_of_ours_has(
    settings: Settings, peer: str, passed: str, address: str
) -> None:
    """What a client wrote into X-Forwarded-For itself stands before it, and counts for nothing."""
    assert Proxies(settings.doors).address(request_from(peer, ("X-Forwarded-For", passed))) == address


# -- ports --------------------------------------------------------------------------------------------------------

Get = Callable[[int], Awaitable[Any]]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the dialect that the listener set, and the peer."""
    if scope["type"] == "lifespan":
        for state in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{state}.complete"})
        return
    body = json.dumps([scope.get("state", {}).get("dialect"), scope["client"][0]]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def ports() -> AsyncIterator[dict[str, int]]:
    """A server of several sockets, as the gateway's process makes them: its own, and two of frontends."""
    ports = {name: free_port() for name in ("gateway", "modelark", "jaaz")}
    process = ProcessSettings(port=ports["gateway"])
    doors = DoorSettings(frontends=f"modelark={ports['modelark']}, jaaz={ports['jaaz']}")
    server = Server(server_of(Listeners(echo, doors.dialect_of_port), process).config)
    serving = asyncio.create_task(server.serve(sockets=sockets_of(process, doors)))
    while not server.started:
        await asyncio.wait([serving], timeout=0.01)
        assert not serving.done(), "the server ended at its start"
    yield ports
    server.should_exit = True
    await serving


async def test_the_port_means_a_dialect(ports: dict[str, int], http: aiohttp.ClientSession) -> None:
    for name, dialect in (("gateway", None), ("modelark", "modelark"), ("jaaz", "jaaz")):
        forged = {"X-Forwarded-For": "203.0.113.1"}
        async with http.get(f"http://127.0.0.1:{ports[name]}/", headers=forged) as answer:
            assert await answer.json(content_type=None) == [dialect, "127.0.0.1"], "and the peer is who it is"


def test_a_port_that_is_taken_is_named_and_nothing_stays_open() -> None:
    own = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port}, asked for as the port of jaaz"):
            sockets_of(ProcessSettings(port=own), DoorSettings(frontends=f"jaaz={port}"))
    socket.create_server(("127.0.0.1", own)).close()


@pytest.mark.parametrize("text", ["jaaz", "jaaz=", "=1", "jaaz=x", "jaaz=1;modelark=2", "postgresql://"])
def test_listeners_are_dialect_and_port(text: str) -> None:
    with pytest.raises(ValidationError):
        DoorSettings(frontends=text)
