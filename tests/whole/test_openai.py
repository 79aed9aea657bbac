"""OpenAI's SDK, unmodified, against the whole stack: what it is given are real pictures, sounds, films and words."""

import base64
import io
from collections.abc import AsyncIterator

import av
import pytest
from openai import AsyncOpenAI, NotFoundError
from PIL import Image

from tests.whole.conftest import Darkroom, User

pytestmark = [pytest.mark.whole, pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")]


@pytest.fixture
async def sdk(darkroom: Darkroom, new_user) -> AsyncIterator[AsyncOpenAI]:  # type: ignore[no-untyped-def]
    """A program that has a key of ours, and nothing else."""
    user: User = new_user()
    status, key, _ = await user.call("POST", "/v1/api-keys", json={"name": "a program"})
    assert status == 201, key
    async with AsyncOpenAI(api_key=key["key"], base_url=f"{darkroom.url}/openai/v1", timeout=60) as sdk:
        yield sdk


def size_of(content: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(content)) as image:
        return image.size


async def test_pictures_from_words_and_from_each_other(sdk: AsyncOpenAI) -> None:
    made = await sdk.images.generate(
        model="seedream-3-0-t2i-250415", prompt="A lighthouse", size="512x512", response_format="b64_json"
    )
    [picture] = made.data or ()
    first = base64.b64decode(picture.b64_json or "")
    assert size_of(first) == (512, 512)
    stream = await sdk.images.edit(image=("first.png", first, "image/png"), prompt="At night", stream=True)
    [event] = [event async for event in stream]
    assert f"{'{}x{}'.format(*size_of(base64.b64decode(event.b64_json)))}" == event.size
    edited = await sdk.images.edit(
        model="gpt-image-1",  # retired, so that its successor has to know masks as well
        image=[("first.png", first, "image/png")] * 2,
        mask=("mask.png", first, "image/png"),
        prompt="With a moon",
    )
    assert size_of(base64.b64decode((edited.data or [])[0].b64_json or "")) == (1024, 1024)


async def test_what_is_said_is_heard_and_what_is_asked_is_answered(sdk: AsyncOpenAI) -> None:
    said = await sdk.audio.speech.create(model="gpt-4o-mini-tts", voice="coral", input="The light is red.")
    with av.open(io.BytesIO(said.content)) as opened:
        assert opened.streams.audio
    said = await sdk.audio.speech.create(
        model="eleven_flash_v2_5", voice="coral", input="The light is red.", response_format="wav"
    )
    with av.open(io.BytesIO(said.content)) as opened:
        assert (opened.format.name, opened.streams.audio[0].rate) == ("wav", 44_100)
    stream = await sdk.chat.completions.create(
        model="gpt-5.4-mini",
        messages=[{"role": "user", "content": "What is a darkroom?"}],
        max_tokens=200,
        stream=True,
        stream_options={"include_usage": True},
    )
    *written, counted = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in written)
    assert counted.usage and counted.usage.completion_tokens > 0


async def test_what_may_not_be_said_is_flagged(sdk: AsyncOpenAI) -> None:
    judged = await sdk.moderations.create(input=["a quiet harbour", "a torture chamber"])
    assert [(each.flagged, each.categories.violence) for each in judged.results] == [(False, False), (True, True)]


async def test_a_video_is_asked_for_polled_downloaded_and_deleted(sdk: AsyncOpenAI) -> None:
    made = await sdk.videos.create(prompt="A boat", model="seedance-1-0-lite-t2v", seconds="2", size="1280x720")  # type: ignore[arg-type]
    done = await sdk.videos.poll(made.id, poll_interval_ms=200)
    assert (done.status, done.seconds, done.size) == ("completed", "2", "1280x720")
    film = await sdk.videos.download_content(made.id)
    with av.open(io.BytesIO(film.content)) as opened:
        assert (opened.streams.video[0].width, opened.streams.video[0].height) == (1280, 720)
    still = await sdk.videos.download_content(made.id, variant="thumbnail")
    assert size_of(still.content)[0] > 0
    await sdk.videos.delete(made.id)
    with pytest.raises(NotFoundError):
        await sdk.videos.retrieve(made.id)
