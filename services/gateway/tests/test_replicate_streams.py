"""Replicate's streams of texts: the official package reads them while they are written."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode
from uuid import UUID, uuid4

import aiohttp
import pytest
from nats.aio.client import Client as NatsClient
from nats.errors import NoRespondersError
from pydantic import SecretStr
from replicate.client import Client as Replicate

from contracts.facts import Failure, Request, Verdict
from contracts.topology import progress_subject
from darkroom.embedded import free_port
from gateway import streaming, words
from gateway.dialects.replicate import reading
from gateway.settings import Settings

from .client import Client, token, until
from .conftest import MakeClient, Service, serving, with_limits
from .jaaz import answer_to, write, write_anew
from .players import SEEDREAM, WRITER, Players

pytestmark = pytest.mark.connected

PREDICTIONS = "/replicate/v1/predictions"
INPUT = {"prompt": "A lighthouse in a storm"}
KEY = "a key of media"


@pytest.fixture(scope="module")
def port() -> int:
    """A free one, since addresses in answers are built from what the operator says."""
    return free_port()


@pytest.fixture(scope="module")
async def settings(settings: Settings, port: int) -> Settings:
    settings = with_limits(settings, sync_wait_seconds=3)
    addresses = settings.addresses.model_copy(
        update={"public_url": f"http://127.0.0.1:{port}", "media_signing_key": SecretStr(KEY)}
    )
    return replace(settings, addresses=addresses)


@pytest.fixture(scope="module")
async def service(settings: Settings, bus: NatsClient, players: Players, port: int) -> AsyncIterator[Service]:
    async with serving(settings, bus, port=port) as gateway:
        yield gateway


@pytest.fixture
def official(client: Client) -> Replicate:
    """The official client, told nothing but a token and where we are."""
    return Replicate(api_token=token(client.user_id), base_url=f"{client.url}/replicate")


async def listened_to(bus: NatsClient, generation_id: str) -> None:
    """Waits until somebody hears the progress of a generation."""

    async def heard() -> bool:
        try:
            await bus.request(progress_subject(UUID(generation_id)), b"", timeout=0.2)
        except NoRespondersError:
            return False
        except TimeoutError:
            return True
        return True

    await until(heard)


async def test_a_text_is_read_while_it_is_written(
    official: Replicate, client: Client, players: Players, bus: NatsClient
) -> None:
    """Whoever reads it later is told the whole at once; a text of several lines stays one."""
    begin = asyncio.Event()

    async def play(request: Request) -> None:
        await begin.wait()
        await write(bus, players, request)

    players.scripts[client.user_id] = play
    prompt = "A lighthouse\nin a storm"
    made = await official.predictions.async_create(version=WRITER, input={"prompt": prompt}, stream=True)
    assert made.urls and made.urls["stream"].startswith(f"{client.url}{PREDICTIONS}/{made.id}/stream?")
    events = made.async_stream(use_file_output=False)
    reading = asyncio.create_task(anext(events))
    await listened_to(bus, made.id)
    begin.set()
    seen = [await reading, *[event async for event in events]]
    *said, done = seen
    assert [event.event.value for event in said] == ["output"] * len(said) and len(said) > 1
    assert "".join(event.data for event in said) == answer_to(prompt)
    assert (done.event.value, done.data) == ("done", "{}")
    later = [event async for event in made.async_stream(use_file_output=False)]
    assert [(event.event.value, event.data) for event in later] == [("output", answer_to(prompt)), ("done", "{}")]


@pytest.mark.parametrize(
    "end", ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"], ids=repr
)
async def test_whatever_ends_a_line_nothing_of_the_text_is_lost(official: Replicate, client: Client, end: str) -> None:
    """It is read as a line feed; the prediction has the text as it is."""
    prompt = f"{end}one{end}{end}two{end}"
    made = await official.predictions.async_create(version=WRITER, input={"prompt": prompt}, stream=True)
    await client.ended(made.id)
    seen = [event.data async for event in made.async_stream(use_file_output=False)]
    assert seen == [answer_to("\none\n\ntwo\n"), "{}"]
    assert (await official.predictions.async_get(made.id)).output == answer_to(prompt)


async def test_a_line_that_ends_between_two_pieces_ends_once(
    official: Replicate, client: Client, players: Players, bus: NatsClient
) -> None:
    begin = asyncio.Event()

    async def play(request: Request) -> None:
        await begin.wait()
        for number, piece in enumerate(("one\r", "\ntwo"), 1):
            await players.progress(request.generation_id, number, 50, text=piece)
        await players.write(request, "one\r\ntwo")

    players.scripts[client.user_id] = play
    made = await official.predictions.async_create(version=WRITER, input=INPUT, stream=True)
    events = made.async_stream(use_file_output=False)
    reading = asyncio.create_task(anext(events))
    await listened_to(bus, made.id)
    begin.set()
    *said, _ = [(await reading).data, *[event.data async for event in events]]
    assert (len(said), "".join(said)) == (2, "one\ntwo")


async def test_a_stream_says_that_it_lives_while_nothing_is_written(
    official: Replicate,
    client: Client,
    players: Players,
    bus: NatsClient,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = asyncio.Event()

    async def play(request: Request) -> None:
        await begin.wait()
        await players.complete(request)

    monkeypatch.setattr(words, "PING_SECONDS", 0.1)
    monkeypatch.setattr(words, "LOOK_AGAIN_SECONDS", 0.05)
    players.scripts[client.user_id] = play
    made = await official.predictions.async_create(version=WRITER, input=INPUT)
    read = asyncio.create_task(anext(made.async_stream(use_file_output=False)))
    await listened_to(bus, made.id)
    headers = {"Authorization": f"Bearer {token(client.user_id)}"}
    async with http.get(f"{client.url}{PREDICTIONS}/{made.id}/stream", headers=headers) as answer:
        begun = b": accepted\n\n: ping\n\n"
        assert await asyncio.wait_for(answer.content.readexactly(len(begun)), 10) == begun
        begin.set()
        assert answer_to(INPUT["prompt"]) in await answer.text()
    assert (await read).data == answer_to(INPUT["prompt"])


async def test_a_text_that_fails_says_so_in_its_stream(official: Replicate, client: Client, players: Players) -> None:
    async def play(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="provider_unavailable", message="It is away."))

    players.scripts[client.user_id] = play
    made = await official.predictions.async_create(version=WRITER, input=INPUT, stream=True)
    with pytest.raises(RuntimeError, match=r"It is away\."):
        [event async for event in made.async_stream(use_file_output=False)]


async def test_a_text_that_was_written_anew_says_so_in_its_stream(
    official: Replicate, client: Client, players: Players, bus: NatsClient
) -> None:
    begin = asyncio.Event()

    async def play(request: Request) -> None:
        await begin.wait()
        await write_anew(players, request, "Paris is the capital.")

    players.scripts[client.user_id] = play
    made = await official.predictions.async_create(version=WRITER, input=INPUT, stream=True)
    events = made.async_stream(use_file_output=False)
    reading = asyncio.create_task(anext(events))
    await listened_to(bus, made.id)
    begin.set()
    heard = [await reading]
    with pytest.raises(RuntimeError, match="written anew"):
        async for event in events:
            heard.append(event)  # noqa: PERF401 - an error follows
    assert [event.event.value for event in heard] == ["output"] * 3
    assert (await official.predictions.async_get(made.id)).output == "Paris is the capital."


async def test_a_stream_is_its_owners_and_of_texts_alone(
    official: Replicate, client: Client, client_of: MakeClient
) -> None:
    text = await official.predictions.async_create(version=WRITER, input=INPUT)
    picture = await official.predictions.async_create(version=SEEDREAM, input=INPUT)
    assert picture.urls and "stream" not in picture.urls
    assert (await client.get(f"{PREDICTIONS}/{picture.id}/stream")).status == 404
    assert (await client_of().get(f"{PREDICTIONS}/{text.id}/stream")).status == 404


async def test_the_address_of_a_stream_is_enough_for_that_prediction_alone(
    official: Replicate, client: Client, nobody: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither Replicate's client for Node nor a browser's EventSource sends a token."""
    made, other = [await official.predictions.async_create(version=WRITER, input=INPUT) for _ in range(2)]
    await client.ended(made.id)
    assert made.urls and other.urls
    path, _, permission = made.urls["stream"].removeprefix(client.url).partition("?")
    answer = await nobody.get(f"{path}?{permission}")
    assert answer.status == 200 and answer_to(INPUT["prompt"]) in answer.text
    fields = dict(parse_qsl(permission))
    for address in (
        path,
        f"{PREDICTIONS}/{other.id}/stream?{permission}",
        f"{path}?{urlencode(fields | {'reader': str(uuid4())})}",
        f"{path}?{urlencode(fields | {'expires': str(int(fields['expires']) + 1)})}",
        f"{path}?{urlencode(fields | {'expires': 'soon'})}",
        f"{path}?{urlencode(fields | {'signature': 'é'})}",
        f"{PREDICTIONS}/{made.id}?{permission}",
        f"{PREDICTIONS}/{made.id}/cancel?{permission}",
    ):
        method = "POST" if "/cancel" in address else "GET"
        assert (await nobody.request(method, address)).status == 401, address
    monkeypatch.setattr(reading, "STREAM_SECONDS", -1)
    late = (await official.predictions.async_get(made.id)).urls
    assert late and (await nobody.get(late["stream"].removeprefix(client.url))).status == 401


async def test_a_stream_ends_with_the_address_that_opened_it(
    official: Replicate, nobody: Client, players: Players, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "STREAM_SECONDS", 3)  # and up to one less, as an address is dated by the second
    monkeypatch.setattr(streaming, "ASK_AGAIN_SECONDS", 0.2)
    players.scripts[client.user_id] = players.hold
    made = await official.predictions.async_create(version=WRITER, input=INPUT)
    assert made.urls
    async with asyncio.timeout(10):
        answer = await nobody.get(made.urls["stream"].removeprefix(client.url))
    assert (answer.status, answer.text) == (200, ": accepted\n\n")
