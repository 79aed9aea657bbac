"""The unmodified OpenAI SDK against everything of OpenAI that is not a new picture."""

from __future__ import annotations

import base64
import io

import av
import openai
import pytest
from PIL import Image

SAY = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Tell me about lighthouses and storms"}]}


def picture(colour: str, side: int = 128) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "PNG")
    return buffer.getvalue()


async def test_an_edit_starts_from_the_picture(simulator):
    averages = []
    for colour in ("red", "blue"):
        answer = await simulator.sdk("openai").images.edit(
            model="gpt-image-2",
            prompt="make it stormy",
            image=[("a.png", picture(colour)), ("b.png", picture("white"))],
            mask=("mask.png", picture("white")),
            size="512x512",
            n=2,
        )
        opened = Image.open(io.BytesIO(base64.b64decode(answer.data[0].b64_json)))
        assert (len(answer.data), opened.size) == (2, (512, 512))
        assert answer.usage.input_tokens_details.image_tokens > 0
        averages.append(opened.convert("RGB").resize((1, 1)).getpixel((0, 0)))
    assert averages[0][0] > averages[1][0]
    assert averages[0][2] < averages[1][2]
    assert [entry["billed"] for entry in await simulator.journal()] == [2, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"image": []},
        {"image": ("a.png", b"nonsense")},
        {"mask": ("m.png", picture("white", 64))},
        {"n": 11},
        {"size": "500x500"},
        {"extra_body": {"watermark": "false"}},
        {"model": "dall-e-3"},
    ],
)
async def test_edits_that_are_refused(simulator, change):
    asked = {"model": "gpt-image-2", "prompt": "x", "image": ("a.png", picture("red"))} | change
    with pytest.raises(openai.BadRequestError):
        await simulator.sdk("openai").images.edit(**asked)


FORMATS = {"mp3": "mp3", "opus": "opus", "aac": "aac", "flac": "flac", "wav": "pcm_s16le"}


@pytest.mark.parametrize("form", FORMATS)
async def test_speech_is_as_long_as_its_text(simulator, form):
    seconds = []
    for words in ("A short word.", "A rather longer sentence, which goes on for a while."):
        answer = await simulator.sdk("openai").audio.speech.create(
            model="gpt-4o-mini-tts", voice="coral", input=words, response_format=form, instructions="calmly"
        )
        with av.open(io.BytesIO(answer.content)) as sound:
            assert sound.streams.audio[0].codec.name.startswith(FORMATS[form])
            seconds.append(sum(frame.samples / frame.sample_rate for frame in sound.decode(audio=0)))
    assert 0.5 < seconds[0] < seconds[1] / 2


async def test_a_wav_says_nothing_of_its_length(simulator):
    """As OpenAI's: it is sent while it is spoken."""
    asked = {"model": "tts-1", "voice": "alloy", "input": "Good morning", "response_format": "wav"}
    said = (await simulator.sdk("openai").audio.speech.create(**asked)).content
    assert said[:8] == b"RIFF\xff\xff\xff\xff" and b"data\xff\xff\xff\xff" in said


async def test_speech_has_a_voice_a_speed_and_a_raw_form(simulator):
    async def said(**change):
        asked = {"model": "tts-1", "voice": "alloy", "input": "Good morning", "response_format": "pcm"} | change
        return (await simulator.sdk("openai").audio.speech.create(**asked)).content

    plain = await said()
    assert plain != await said(voice="onyx")
    assert len(await said(speed=2)) == pytest.approx(len(plain) / 2, rel=0.05)


@pytest.mark.parametrize(
    "change",
    [{"input": ""}, {"input": "x" * 4097}, {"voice": "nobody"}, {"speed": 5}, {"response_format": "mid"},
     {"model": "tts-1", "instructions": "calmly"}],
)  # fmt: skip
async def test_speech_that_is_refused(simulator, change):
    with pytest.raises(openai.BadRequestError):
        await simulator.sdk("openai").audio.speech.create(
            **({"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "x"} | change)
        )


async def test_chat_is_about_what_was_asked(simulator):
    answer = await simulator.sdk("openai").chat.completions.create(**SAY)
    [choice] = answer.choices
    assert choice.finish_reason == "stop"
    assert "lighthouses" in choice.message.content
    assert answer.usage.completion_tokens == len(choice.message.content.split())
    other = await simulator.sdk("openai").chat.completions.create(
        model="gpt-5-mini", messages=[{"role": "user", "content": "Tell me about bread"}]
    )
    assert "bread" in other.choices[0].message.content
    assert "lighthouses" not in other.choices[0].message.content


async def test_chat_remembers_the_conversation(simulator):
    messages = [
        {"role": "system", "content": "Speak like a sailor"},
        {"role": "user", "content": "My boat is the Arrow"},
        {"role": "assistant", "content": "Aye"},
        {"role": "user", "content": "What is my boat"},
    ]
    answer = await simulator.sdk("openai").chat.completions.create(model="gpt-5-mini", messages=messages)
    assert "speak like a sailor" in answer.choices[0].message.content
    assert "Aye" in answer.choices[0].message.content


async def test_streamed_chat_is_the_same_and_is_counted(simulator):
    whole = await simulator.sdk("openai").chat.completions.create(**SAY)
    stream = await simulator.sdk("openai").chat.completions.create(
        **SAY, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    stream = await simulator.sdk("openai").chat.completions.create(**SAY, stream=True, max_completion_tokens=3)
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason == "length"
    assert len(chunks) == 5


async def test_a_stream_can_say_that_it_failed(simulator):
    asked = SAY | {"messages": [{"role": "user", "content": "Storms [[sim:stream-error]]"}]}
    stream = await simulator.sdk("openai").chat.completions.create(**asked, stream=True)
    with pytest.raises(openai.APIError):
        _ = [chunk async for chunk in stream]
    [entry] = await simulator.journal()
    assert entry["billed"] == 1


@pytest.mark.parametrize(
    "change",
    [{"messages": []}, {"messages": [{"role": "robot", "content": "x"}]}, {"max_tokens": 5}, {"temperature": 3},
     {"messages": [{"role": "assistant", "content": "x"}]}, {"stream_options": {"include_usage": True}},
     {"extra_body": {"watermark": True}}],
)  # fmt: skip
async def test_chat_that_is_refused(simulator, change):
    with pytest.raises(openai.BadRequestError):
        await simulator.sdk("openai").chat.completions.create(**(SAY | change))


async def test_moderation_goes_by_words_and_costs_nothing(simulator):
    answer = await simulator.sdk("openai").moderations.create(input=["a quiet harbour", "a naked murder"])
    clean, flagged = answer.results
    assert (clean.flagged, flagged.flagged) == (False, True)
    assert flagged.categories.sexual and flagged.categories.violence
    assert not flagged.categories.hate
    assert await simulator.journal() == []
    assert not (await simulator.sdk("openai").moderations.create(input="x [[sim:429]]")).results[0].flagged
    with pytest.raises(openai.RateLimitError):
        await simulator.sdk("openai").moderations.create(input="x [[sim:unjudged=429]]")


@pytest.mark.parametrize(("colour", "flagged"), [("grey", False), ((255, 0, 255), True)])
async def test_moderation_looks_at_a_picture(simulator, colour, flagged):
    seen = base64.b64encode(picture(colour)).decode()
    parts = [
        {"type": "text", "text": "a boat"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{seen}"}},
    ]
    answer = await simulator.sdk("openai").moderations.create(input=parts, model="omni-moderation-latest")
    [result] = answer.results
    assert (result.flagged, result.categories.violence_graphic) == (flagged, flagged)
    assert result.category_applied_input_types.violence_graphic == ["text", "image"]


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["x", {"type": "text", "text": "x"}],
        [{"type": "text"}],
        [{"type": "text", "text": "x", "image_url": {"url": "y"}}],
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
        [{"type": "image_url", "image_url": "x"}],
        [{"type": "sound"}],
    ],
)
async def test_moderation_takes_only_what_the_vendor_documents(simulator, given):
    with pytest.raises(openai.BadRequestError):
        await simulator.sdk("openai").moderations.create(input=given)


async def test_a_retired_video_runs_and_is_downloaded_with_the_key(simulator):
    videos = simulator.sdk("openai").videos
    with pytest.warns(DeprecationWarning):
        made = await videos.create(
            prompt="waves [[sim:latency=100]]", seconds="4", size="1280x720", input_reference=("a.png", picture("red"))
        )
        seen = [made.status]
        for seconds in (30, 30):
            await simulator.admin("POST", "clock", {"seconds": seconds})
            video = await videos.retrieve(made.id)
            seen.append((video.status, video.progress))
        await simulator.admin("POST", "clock", {"seconds": 60})
        video = await videos.retrieve(made.id)
        content = (await videos.download_content(made.id)).content
        listed = (await videos.list(limit=1)).data
        gone = await videos.delete(made.id)
    assert seen == ["queued", ("in_progress", 12), ("in_progress", 50)]
    assert (video.status, video.progress, video.seconds) == ("completed", 100, "4")
    with av.open(io.BytesIO(content)) as film:
        assert film.duration == pytest.approx(4_000_000, rel=0.03)
        assert film.streams.video[0].width == 1280
        assert film.streams.audio
    assert listed[0].id == made.id
    assert gone.deleted
    async with simulator.http.get(f"{simulator.url}/openai/v1/videos/{made.id}/content") as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    "change", [{"seconds": "5"}, {"size": "512x512"}, {"model": "sora-9"}, {"input_reference": ("a.png", b"x")}]
)
async def test_videos_that_are_refused(simulator, change):
    with pytest.warns(DeprecationWarning), pytest.raises((openai.BadRequestError, openai.NotFoundError)):
        await simulator.sdk("openai").videos.create(**({"prompt": "x", "model": "sora-2"} | change))
