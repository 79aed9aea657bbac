"""OpenAI's SDK, unmodified: speech and videos."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
from nats.aio.client import Client as NatsClient
from openai.types import Video

from contracts.facts import Failure, Input, Kind, Outcome, Request, Verdict
from contracts.ids import asset_id
from contracts.questions import CatalogModel
from gateway.dialects.openai.schemas import Speak
from gateway.dialects.openai.speech import _options
from gateway.settings import Settings

from .client import Client, until
from .conformance import Conformance, Dialect
from .conftest import MakeClient, with_limits
from .lenders import Lender
from .openai import BASE, sdk_of
from .outcomes import outcome_of
from .players import SEEDANCE, Players
from .takers import Storage, taking

pytestmark = [pytest.mark.connected, pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")]


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return with_limits(settings, sync_wait_seconds=5)


@pytest.fixture(scope="module")
async def storage(bus: NatsClient) -> AsyncIterator[Storage]:
    async with taking(bus) as storage:
        yield storage


# -- speech ---------------------------------------------------------------------------------------------------------


async def test_speech_is_the_sound_itself(client: Client, players: Players, lender: Lender) -> None:
    lender.sizes[client.user_id] = 400_000
    async with sdk_of(client) as sdk:
        said = await sdk.audio.speech.create(
            model="a-voice", voice="alloy", input="The light is red.", response_format="mp3", speed=1.5
        )
    [lent] = [each for each in lender.asked if each.user_id == client.user_id]
    assert said.content == lender.content(lent)
    headers = said.response.headers
    assert (headers["content-type"], headers["content-length"]) == ("audio/mpeg", "400000")
    [request] = await players.published(client.user_id)
    assert (request.kind, request.prompt, request.model) == (Kind.SPEECH, "The light is red.", "a-voice")
    assert request.options == {"voice": "alloy", "speed": 1.5, "output_format": "mp3_44100_128"}


async def test_speech_is_streamed(client: Client, lender: Lender) -> None:
    lender.sizes[client.user_id] = 700_000
    async with (
        sdk_of(client) as sdk,
        sdk.audio.speech.with_streaming_response.create(model="a-voice", voice="nova", input="x") as answer,
    ):
        sizes = [len(chunk) async for chunk in answer.iter_bytes(100_000)]
    assert sum(sizes) == 700_000
    assert len(sizes) > 1


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": "x" * 101}, "input"),
        ({"input": "x", "response_format": "pcm"}, "response_format"),
        ({"input": "x", "response_format": "flac"}, "response_format"),
        ({"input": "x", "speed": 9.0}, "speed"),
        ({"input": "x", "stream_format": "sse"}, "stream_format"),
    ],
    ids=str,
)
async def test_what_cannot_be_said_is_refused(client: Client, players: Players, asked: Any, param: str) -> None:
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.audio.speech.create(model="a-voice", voice="alloy", **asked)
    assert refused.value.param == param
    assert not players.of(client.user_id)


async def test_a_sound_that_cannot_be_read_is_not_made_again(client: Client, players: Players, lender: Lender) -> None:
    lender.failures[client.user_id] = "unavailable"
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.InternalServerError):
            await sdk.audio.speech.create(model="a-voice", voice="alloy", input="x")
    assert len(await players.published(client.user_id)) == 1


def speaker(provider: str, *voices: str) -> CatalogModel:
    return CatalogModel(id="a", kind=Kind.SPEECH, provider=provider, voices=voices)


@pytest.mark.parametrize(
    ("asked", "model", "options"),
    [
        ({"voice": "ash"}, speaker("openai", "alloy", "ash"), {"voice": "ash"}),
        ({"voice": "alloy"}, speaker("elevenlabs", "one", "two"), {"voice": "one"}),
        ({"voice": "ash"}, speaker("elevenlabs", "one", "two"), {"voice": "two"}),
        ({"voice": {"id": "two"}}, speaker("elevenlabs", "one", "two"), {"voice": "two"}),
        ({"response_format": "wav"}, speaker("openai"), {"response_format": "wav"}),
        ({"response_format": "opus"}, speaker("elevenlabs"), {"output_format": "opus_48000_64"}),
        ({"instructions": "Whisper."}, speaker("openai"), {"instructions": "Whisper."}),
        ({"voice": "anybody"}, None, {"voice": "anybody"}),
    ],
)
def test_voices_and_formats_are_the_models_own(
    asked: dict[str, Any], model: CatalogModel | None, options: dict[str, str]
) -> None:
    assert _options(Speak(input="x", **asked), model) == options


# -- videos ---------------------------------------------------------------------------------------------------------


async def finished(client: Client, **asked: Any) -> Video:
    async with sdk_of(client) as sdk:
        made = await sdk.videos.create(prompt="A lighthouse", **asked)

        async def ended() -> Video | None:
            video = await sdk.videos.retrieve(made.id)
            return video if video.status in {"completed", "failed"} else None

        found: Video = await until(ended)
        return found


async def test_a_video_is_queued_made_and_downloaded(client: Client, players: Players, lender: Lender) -> None:
    players.scripts[client.user_id] = players.hold
    async with sdk_of(client) as sdk:
        made = await sdk.videos.create(prompt="A lighthouse", model=SEEDANCE, seconds="4", size="720x1280")  # type: ignore[arg-type]
        assert (made.status, made.progress, made.object, made.seconds, made.size) == (
            "queued",
            0,
            "video",
            "4",
            "720x1280",
        )
        with pytest.raises(openai.ConflictError, match="not ready"):
            await sdk.videos.download_content(made.id)
        [request] = [await players.heard(made.id.removeprefix("video_"))]
        assert (request.kind, request.seconds, request.size) == (Kind.VIDEO, 4, "720x1280")
        await players.fund(request)

        async def began() -> bool:
            return (await sdk.videos.retrieve(made.id)).status == "in_progress"

        await until(began)
        await players.complete(request)
        done = await sdk.videos.poll(made.id, poll_interval_ms=20)
        assert (done.status, done.progress, done.error) == ("completed", 100, None)
        assert done.completed_at and done.completed_at >= done.created_at
        film, still = (
            await sdk.videos.download_content(made.id),
            await sdk.videos.download_content(made.id, variant="thumbnail"),
        )
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.videos.download_content(made.id, variant="spritesheet")
        assert str(refused.value.param).endswith("variant")
    assert film.content == f"{asset_id(request.generation_id, 0)} original ".encode()
    assert still.content == f"{asset_id(request.generation_id, 0)} thumbnail ".encode()
    types = [answer.response.headers["content-type"] for answer in (film, still)]
    assert types == ["video/mp4", "image/webp"]


async def test_a_large_video_is_read_where_it_is_served(client: Client, players: Players) -> None:
    async def play(request: Request) -> None:
        outcome = outcome_of(request, Verdict.COMPLETED)
        [asset] = outcome.data.assets
        large = outcome.data.model_copy(update={"assets": (asset.model_copy(update={"size_bytes": 1 << 30}),)})
        await players.say(Outcome.of(large, "storage", None))

    players.scripts[client.user_id] = play
    video = await finished(client)
    answer = await client.get(f"{BASE}/videos/{video.id}/content")
    token = f"{video.id.removeprefix('video_').replace('-', '')}0"
    assert answer.status == 307
    assert answer.headers["Location"].endswith(f"/media/{token}/original.mp4")


async def test_what_failed_says_why(client: Client, players: Players) -> None:
    async def play(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="content_policy", message="Not this."))

    players.scripts[client.user_id] = play
    video = await finished(client)
    assert (video.status, video.progress) == ("failed", 0)
    assert video.error and (video.error.code, video.error.message) == ("content_policy_violation", "Not this.")
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.BadRequestError, match=r"Not this\."):
            await sdk.videos.download_content(video.id)


async def test_videos_are_listed_a_page_at_a_time_whoever_asked_for_them(client: Client) -> None:
    asked = {"kind": "video", "prompt": "x"}
    made = [f"video_{(await client.accepted(**asked))['id']}" for _ in range(5)]
    await client.accepted()  # a picture is none
    async with sdk_of(client) as sdk:
        page = await sdk.videos.list(limit=2)
        assert [video.id for video in page.data] == made[:2:-1]
        assert [video.id async for video in sdk.videos.list(limit=2)] == made[::-1]
        with pytest.raises(openai.NotFoundError):
            await sdk.videos.list(after="video_nonsense")
        with pytest.raises(openai.BadRequestError):
            await sdk.videos.list(order="asc")


async def test_what_is_deleted_while_it_is_listed_leads_on(client: Client, client_of: MakeClient) -> None:
    made = [(await finished(client)).id for _ in range(5)]
    async with sdk_of(client) as sdk, sdk_of(client_of()) as stranger:
        gone = [(await sdk.videos.delete(video.id)).id async for video in sdk.videos.list(limit=2)]
        assert gone == made[::-1]
        with pytest.raises(openai.NotFoundError):
            await stranger.videos.list(after=made[0])


async def test_a_deleted_video_is_gone(client: Client) -> None:
    video = await finished(client)
    async with sdk_of(client) as sdk:
        gone = await sdk.videos.delete(video.id)
        assert (gone.id, gone.deleted, gone.object) == (video.id, True, "video.deleted")
        with pytest.raises(openai.NotFoundError):
            await sdk.videos.retrieve(video.id)


async def test_somebody_elses_is_neither_read_nor_deleted(
    client: Client, client_of: MakeClient, lender: Lender
) -> None:
    video, other = await finished(client), client_of()
    async with sdk_of(other) as sdk:
        for asked in (sdk.videos.download_content, sdk.videos.delete):
            with pytest.raises(openai.NotFoundError):
                await asked(video.id)
        with pytest.raises(openai.NotFoundError):
            await sdk.videos.list(after=video.id)
        assert (await sdk.videos.list()).data == []
    assert not [each for each in lender.asked if each.user_id in {client.user_id, other.user_id}]


async def test_what_is_at_work_is_not_deleted(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    async with sdk_of(client) as sdk:
        made = await sdk.videos.create(prompt="x")
        with pytest.raises(openai.ConflictError):
            await sdk.videos.delete(made.id)


async def test_a_picture_to_start_from_is_an_upload(client: Client, players: Players, storage: Storage) -> None:
    async with sdk_of(client) as sdk:
        await sdk.videos.create(prompt="x", input_reference=("start.png", b"a picture", "image/png"))
    [request] = await asyncio.wait_for(_heard(players, client), 5)
    [given] = request.inputs
    assert given.role == "first_frame"
    assert given.asset_id and storage.brought[given.asset_id] == (client.user_id, b"a picture")


async def test_another_picture_under_the_same_key_is_refused_and_not_kept(
    client: Client, players: Players, storage: Storage
) -> None:
    asked: Any = {"prompt": "x", "extra_headers": {"Idempotency-Key": "once"}}
    async with sdk_of(client) as sdk:
        first, again = [
            await sdk.videos.create(input_reference=("a.png", b"a cat", "image/png"), **asked) for _ in range(2)
        ]
        with pytest.raises(openai.UnprocessableEntityError):
            await sdk.videos.create(input_reference=("a.png", b"a dog", "image/png"), **asked)
        for wrong in ({"seconds": "no"}, {"model": "nonsense"}):
            with pytest.raises(openai.APIStatusError):
                await sdk.videos.create(prompt="x", input_reference=("a.png", b"a dog", "image/png"), extra_body=wrong)
    assert first.id == again.id
    assert [content for whose, content in storage.brought.values() if whose == client.user_id] == [b"a cat"]


async def test_an_address_to_start_from_comes_in_a_form_as_well(client: Client, players: Players) -> None:
    """As the SDK for Node writes an object into a form."""
    url = "https://pictures.example/start.png"
    form = _form({"prompt": "x", "input_reference[image_url]": url})
    answer = await client.post(f"{BASE}/videos", data=form)
    assert answer.status == 200, answer.text
    [request] = await players.published(client.user_id)
    assert request.inputs == (Input(role="first_frame", url=url),)


async def test_a_file_of_openais_is_refused_wherever_it_is_named(client: Client, players: Players) -> None:
    form = _form({"prompt": "x", "input_reference[file_id]": "file-1"})
    for said in ({"data": form}, {"json": {"prompt": "x", "input_reference": {"file_id": "file-1"}}}):
        answer = await client.post(f"{BASE}/videos", **said)
        assert (answer.status, answer.json["error"]["param"]) == (400, "input_reference.file_id"), answer.text
    assert not players.of(client.user_id)


def _form(fields: dict[str, str]) -> aiohttp.MultipartWriter:
    writer = aiohttp.MultipartWriter("form-data")
    for name, value in fields.items():
        writer.append(value).set_content_disposition("form-data", name=name)
    return writer


async def test_json_is_taken_as_well_with_an_address_to_start_from(client: Client, players: Players) -> None:
    url = "https://pictures.example/start.png"
    answer = await client.post(f"{BASE}/videos", json={"prompt": "x", "input_reference": {"image_url": url}})
    assert answer.status == 200, answer.text
    [request] = await asyncio.wait_for(_heard(players, client), 5)
    assert request.inputs == (Input(role="first_frame", url=url),)


@pytest.mark.parametrize("sent", ["json", "data"])
async def test_a_picture_to_start_from_may_stand_in_the_request(
    client: Client, players: Players, storage: Storage, sent: str
) -> None:
    """As a `data:` address; the SDK for Node writes it into its form."""
    picture = "data:image/png;base64,aGVsbG8="

    async def ask(url: str, **others: str) -> Any:
        field = {"input_reference": {"image_url": url}} if sent == "json" else {"input_reference[image_url]": url}
        body: Any = {"prompt": "x", **field, **others}
        if sent == "data":
            body = aiohttp.FormData(body, default_to_multipart=True)
        return await client.post(f"{BASE}/videos", **{sent: body})

    answer = await ask(picture)
    assert answer.status == 200, answer.text
    [request] = await asyncio.wait_for(_heard(players, client), 5)
    [given] = request.inputs
    assert given.role == "first_frame" and given.asset_id
    assert storage.brought[given.asset_id] == (client.user_id, b"hello")
    refused = await ask("data:image/png;base64,?")
    assert (refused.status, refused.json["error"]["param"]) == (400, "input_reference")
    kept = dict(storage.brought)
    assert (await ask(picture, size="1x1")).status == 400
    assert storage.brought == kept, "of what is refused no picture is kept"


async def test_json_is_no_larger_where_files_are_sent(client: Client) -> None:
    large = b'{"prompt": "' + b"x" * (1 << 20) + b'"}'
    answer = await client.post(f"{BASE}/videos", {"Content-Type": "application/json"}, data=large)
    assert (answer.status, answer.json["error"]["code"]) == (413, "body_too_large")


async def _heard(players: Players, client: Client) -> list[Request]:
    while not (found := players.of(client.user_id)):
        await asyncio.sleep(0.01)
    return found


async def test_a_picture_is_no_video(client: Client) -> None:
    made = await client.accepted()
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.NotFoundError):
            await sdk.videos.retrieve(f"video_{made['id']}")


class TestVideos(Conformance):
    surface = Dialect(
        submit=("POST", f"{BASE}/videos", {"prompt": "A beautiful sunset"}),
        accepted=200,
        held_open=False,
        show=f"{BASE}/videos/{{id}}",
        id_in_answer=lambda answer: answer.json["id"],
        states={"completed": "completed", "failed": "failed", "declined": "failed", "cancelled": "failed"},
        statuses={"insufficient_credits": 429},
        message_of=lambda body: [body["error"]["message"], body["error"]["type"]],
    )
