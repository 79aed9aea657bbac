"""OpenAI's own: edits, speech, texts, the retired videos, moderation; and servers that speak its dialect."""

import base64
import io
import json
from typing import ClassVar

import av
import pytest

from contracts.facts import Kind
from generator.providers.compatible import Compatible
from generator.providers.interface import (
    Given,
    Invalid,
    Rejected,
    Task,
    Throttled,
    Unavailable,
    Unknown,
    Unreadable,
)
from generator.providers.openai import OpenAI
from generator.providers.transport import MAX_ANSWER_BYTES
from runtime.outbound import OutboundSettings, make_session

from .conformance import KEY, ProviderConformance
from .conformance_tasks import TaskConformance
from .conformance_words import SpeechConformance, TextConformance
from .vendor import answering, average_colour, content_of, picture, steer


class OfOpenAI:
    path = "/openai/v1"

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return OpenAI(session, KEY, base_url, max_answer_bytes)


class TestEdits(OfOpenAI, ProviderConformance):
    model = "gpt-image-2"
    endpoint = "/images/edits"
    asked: ClassVar = {"given": (Given(role="image", content=picture("red"), mime_type="image/png"),)}

    async def test_it_starts_from_the_picture_inside_the_mask(self, provider, simulator):
        averages = []
        for colour in ("red", "blue"):
            given = (Given(role="image", content=picture(colour)), Given(role="mask", content=picture("white")))
            items = await provider.submit(self.submission(count=2, given=given, options={"input_fidelity": "high"}))
            averages.append(average_colour(await content_of(items[0])))
        assert averages[0][0] > averages[1][0] and averages[0][2] < averages[1][2]
        assert [call["billed"] for call in self.journal(simulator)] == [2, 2]

    @pytest.mark.parametrize("given", [asked["given"], ()])
    async def test_it_is_shown_as_far_as_it_has_come(self, provider, simulator, given):
        shown = []

        async def show(index, sketch):
            shown.append((index, base64.b64decode(sketch)[:4]))

        [item] = await provider.submit(self.submission(given=given, options={"partial_images": 2}, show=show))
        assert shown == [(0, b"\x89PNG"), (1, b"\x89PNG")]
        await self.check(item)
        assert [call["billed"] for call in self.journal(simulator)] == [1]

    @pytest.mark.parametrize(
        ("fault", "refusal"), [("stream-error", Unknown), ("stream-cut", Unknown), ("moderated", Rejected)]
    )
    async def test_one_that_is_shown_and_not_finished_is_none(self, provider, fault, refusal):
        async def show(*_):
            pass

        words = f"A storm [[sim:{fault}]]"
        with pytest.raises(refusal):
            await provider.submit(self.submission(words, options={"partial_images": 1}, show=show))

    async def test_an_address_is_read_by_us(self, provider):
        async with answering(200, picture("blue"), {"Content-Type": "image/png"}) as url:
            [item] = await provider.submit(self.submission(given=(Given(role="image", url=f"{url}/a.png"),)))
        await self.check(item)

    @pytest.mark.parametrize(
        ("url", "refusal"),
        [
            ("http://127.0.0.1:9/a.png", Unreadable),
            ("http://169.254.169.254/latest", Invalid),
            ("file:///etc/passwd", Invalid),
        ],
    )
    async def test_an_address_that_cannot_be_read_costs_nothing(self, provider, simulator, url, refusal):
        with pytest.raises(refusal):
            await provider.submit(self.submission(given=(Given(role="image", url=url),)))
        assert self.journal(simulator) == []


class TestSpeech(OfOpenAI, SpeechConformance):
    model = "gpt-4o-mini-tts"

    @pytest.mark.parametrize(
        ("form", "mime_type"),
        [("wav", "audio/wav"), ("opus", "audio/ogg"), ("flac", "audio/flac"), ("aac", "audio/aac")],
    )
    async def test_its_forms(self, provider, form, mime_type):
        [item] = await provider.submit(self.submission("Good morning", options={"response_format": form}))
        assert item.mime_type == mime_type
        assert await self.seconds(item) > 0.5

    async def test_raw_samples_are_not_paid_for(self, provider, simulator):
        """They do not say what they are, so nobody could keep them."""
        with pytest.raises(Invalid):
            await provider.submit(self.submission(options={"response_format": "pcm"}))
        assert self.journal(simulator) == []

    async def test_a_voice_that_is_not_offered(self, provider):
        with pytest.raises(Invalid) as refused:
            await provider.submit(self.submission(options={"voice": "nobody"}))
        assert "voice" in str(refused.value)


class TestText(OfOpenAI, TextConformance):
    model = "gpt-5-mini"

    @pytest.mark.parametrize(("answer", "tokens"), [("A short answer.", 4), ("短い答えです。", 6)])
    async def test_what_was_not_counted_is_estimated(self, session, answer, tokens):
        """A script of few characters is no cheaper."""
        events = (
            f'data: {{"choices": [{{"delta": {{"content": "{answer}"}}}}]}}\n\n'
            'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
        ).encode()
        async with answering(200, events) as url:
            [item] = await self.make(session, url).submit(self.submission())
        assert item.text == answer and item.usage.output_tokens == tokens and item.usage.input_tokens > 1

    @pytest.mark.parametrize(
        "event",
        [
            b'{"choices": [{"delta": {"content": "No"}, "finish_reason": "content_filter"}]}',
            b'{"choices": [{"delta": {"refusal": "I cannot help with that."}}]}',
        ],
    )
    async def test_a_text_that_was_filtered_is_refused(self, session, event):
        async with answering(200, b"data: " + event + b"\n\ndata: [DONE]\n\n") as url:
            with pytest.raises(Rejected):
                await self.make(session, url).submit(self.submission())

    async def test_what_cannot_be_stored_is_not_said(self, session):
        """A server may cut an emoji in two, and nobody can store NUL."""
        events = (
            b'data: {"choices": [{"delta": {"content": "a\\ud83d"}}]}\n\n'
            b'data: {"choices": [{"delta": {"content": "b\\u0000c"}, "finish_reason": "stop"}]}\n\n'
        )
        async with answering(200, events) as url:
            item, said = await self.heard(self.make(session, url))
        assert item.text == "a?bc" == "".join(said)

    @pytest.mark.parametrize(
        "usage", ['{"prompt_tokens": -5, "completion_tokens": 3}', '{"prompt_tokens": "5"}', "7", "[]"]
    )
    async def test_a_senseless_count_is_not_believed(self, session, usage):
        events = (
            f'data: {{"choices": [{{"delta": {{"content": "words"}}, "finish_reason": "stop"}}], "usage": {usage}}}\n\n'
        )
        async with answering(200, events.encode()) as url:
            [item] = await self.make(session, url).submit(self.submission())
        assert item.text == "words" and item.usage.output_tokens == 2


class TestRetiredVideos(OfOpenAI, TaskConformance):
    model = "sora-2"
    endpoint = "/videos"
    size = "1280x720"
    asked: ClassVar = {"seconds": 3}
    malformed_looks = (b"", b"<html>busy</html>", b"[1, 2]", b'{"id": "x", "status": 5}')
    finds = False
    stops_what_waits = False

    def check_film(self, seconds, width, height):
        assert (width, height) == (1280, 720) and seconds == pytest.approx(4, rel=0.03)

    async def test_it_starts_from_a_picture(self, provider):
        given = (Given(role="first_frame", content=picture("red"), mime_type="image/png"),)
        [item] = await self.delivered(provider, self.submission(given=given))
        with av.open(io.BytesIO(await content_of(item))) as film:
            red, _, blue = next(film.decode(video=0)).to_image().resize((1, 1)).getpixel((0, 0))
        assert red > blue
        with pytest.raises(Invalid):
            await provider.submit(self.submission(given=given * 2))

    async def test_progress_is_what_the_provider_says(self, provider, simulator):
        submission = self.submission("[[sim:latency=100]]")
        task = await provider.submit(submission)
        steer(simulator, "POST", "clock", {"seconds": 60})
        found = await provider.look(submission, task)
        assert (found.stage, found.percent) == ("rendering", 50)

    async def test_an_error_where_the_film_should_be_is_no_film(self, provider, session):
        """With the status of success; the film is there, and is had by looking again."""
        submission = self.submission()
        said = b'{"id": "video_1", "status": "completed", "error": null, "progress": 100}'
        async with answering(200, said) as url:
            with pytest.raises(Unavailable):
                await self.make(session, url).look(submission, Task("video_1"))


class TestModeration:
    @pytest.fixture
    async def session(self, simulator):
        async with make_session(OutboundSettings(outbound_allow="127.0.0.0/8")) as session:
            yield session

    async def test_words_are_judged(self, session, simulator):
        provider = OpenAI(session, KEY, f"{simulator.url}/openai/v1")
        assert await provider.flags("a quiet harbour") == frozenset()
        assert await provider.flags("a naked murder") == {"sexual", "violence"}

    @pytest.mark.parametrize(("fault", "refusal"), [("429", Throttled), ("500", Unavailable), ("401", Unavailable)])
    async def test_no_judgement_is_none_of_innocence(self, session, simulator, fault, refusal):
        with pytest.raises(refusal):
            await OpenAI(session, KEY, f"{simulator.url}/openai/v1").flags(f"x [[sim:unjudged={fault}]]")

    @pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"results": []}', b'{"results": [{"flagged": "no"}]}'])
    async def test_an_answer_that_makes_no_sense(self, session, body):
        async with answering(200, body) as url:
            with pytest.raises(Unavailable):
                await OpenAI(session, KEY, url).flags("x")


class OfCompatible:
    path = "/compatible/v1"

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return Compatible(session, KEY, base_url, max_answer_bytes, name="attic")


class TestCompatiblePictures(OfCompatible, ProviderConformance):
    model = "flux.1-dev"

    async def test_it_has_the_operator_s_name_and_delivers_bytes(self, provider):
        assert provider.name == "attic"
        [item] = await provider.submit(self.submission())
        assert item.content is not None

    @pytest.mark.parametrize(("url", "before"), [("", ""), (None, "data:image/png;base64,"), ("", "\n")])
    async def test_what_a_bridge_puts_around_the_bytes_is_no_part_of_them(self, session, url, before):
        """Some leave no field out and say an address that is empty, others put the bytes as an address of their own."""
        data = [{"url": url, "b64_json": before + base64.b64encode(picture("red")).decode()}]
        async with answering(200, json.dumps({"created": 1, "data": data}).encode()) as address:
            [item] = await self.make(session, address).submit(self.submission())
        assert item.content == picture("red")


class TestCompatibleText(OfCompatible, TextConformance):
    model = "qwen3:8b"

    async def test_no_key_is_needed(self, session, simulator):
        [item] = await Compatible(session, "", simulator.url + self.path).submit(self.submission())
        await self.check(item)

    async def test_calls_that_bear_no_number_are_told_apart_by_their_names(self, session):
        """Some servers send each as a whole."""
        whole = [{"id": f"call_{n}", "function": {"name": "look", "arguments": f'{{"n":{n}'}} for n in (1, 2)]
        pieces = [*whole, {"function": {"arguments": "}"}}]
        chunks = [{"choices": [{"delta": {"tool_calls": [piece]}}]} for piece in pieces]
        chunks += [{"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}]
        events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        async with answering(200, events.encode()) as url:
            [item] = await self.make(session, url).submit(self.submission())
        assert [(call.id, call.arguments) for call in item.calls] == [("call_1", '{"n":1'), ("call_2", '{"n":2}')]

    async def test_videos_are_not_offered(self, provider):
        with pytest.raises(Invalid):
            await provider.submit(self.submission(kind=Kind.VIDEO))


class TestCompatibleSpeech(OfCompatible, SpeechConformance):
    model = "piper"
