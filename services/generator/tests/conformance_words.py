"""What every adapter must do that writes or speaks."""

import asyncio
import io
import json
import time
from typing import Any, ClassVar

import av
import pytest

from contracts.facts import Kind
from contracts.talking import Message, Tool
from generator.providers.interface import (
    Delivered,
    ProviderRefusal,
    Rejected,
    Unavailable,
    Unknown,
)

from .conformance import HOSTILE_OPTIONS, ProviderConformance
from .stage import until
from .vendor import answering, content_of


class TextConformance(ProviderConformance):
    """An adapter that writes."""

    kind = Kind.TEXT
    endpoint = "/chat/completions"
    size = None
    ends = ("stop", "length")
    ended_calling = "tool_calls"
    meanings: ClassVar[dict[str, type[ProviderRefusal]]] = {"empty-200": Unknown}
    malformed = (
        b"",
        b"<html>busy</html>",
        b"[1, 2]",
        b"data: nonsense\n\n",
        b'data: {"choices": 5}\n\n',
        b'data: {"choices": [{"delta": {"content": 5}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "half a sen"}}]}\n\n',
        b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n',
    )

    def stream(self, words, ended):
        """What the provider sends for a text of nine tokens, in UTF-8 as far as JSON allows that."""
        chunks = (
            {"choices": [{"index": 0, "delta": {"content": words}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": ended}]},
            {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 9}},
        )
        return "".join(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"

    async def check(self, item):
        assert isinstance(item, Delivered) and item.url is None and item.content is None
        assert len(item.text) > 20
        assert item.usage.input_tokens > 0 and item.usage.output_tokens > 0

    async def heard(self, provider, words="", **others):
        """The item, or what it raised, and what was said meanwhile."""
        said = []

        async def say(delta):
            said.append(delta)

        try:
            [result] = await provider.submit(self.submission(words, say=say, **others))
        except ProviderRefusal as refused:
            result = refused
        return result, said

    async def test_it_says_what_it_writes(self, provider):
        item, said = await self.heard(provider, "Tell me about lighthouses")
        assert "".join(said) == item.text and len(said) > 5
        assert "lighthouses" in item.text

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    async def test_what_ends_a_line_elsewhere_may_stand_in_a_text(self, session, end):
        """In JSON it need not be escaped, and no reader of events takes it for an end."""
        words = "one\u2028two\u2029three\x85four"
        body = self.stream(words, self.ends[0]).replace("\n", end).encode()
        async with answering(200, body) as url:
            [item] = await self.make(session, url).submit(self.submission())
        assert item.text == words

    async def test_a_text_that_ended_without_a_word_is_an_answer(self, session):
        """It was thought about, and paid; the next would cost as much."""
        for ended in self.ends:
            async with answering(200, self.stream("", ended).encode()) as url:
                [item] = await self.make(session, url).submit(self.submission())
            assert item.text == "" and not item.calls
            assert (item.usage.input_tokens, item.usage.output_tokens) == (5, 9)

    async def test_without_the_calls_that_it_ended_with_it_is_none(self, session):
        async with answering(200, self.stream("", self.ended_calling).encode()) as url:
            with pytest.raises(Unknown):
                await self.make(session, url).submit(self.submission())

    async def test_a_conversation_goes_on(self, provider):
        messages = (
            Message(role="system", content="Speak like a sailor"),
            Message(role="user", content="My boat is the Arrow"),
            Message(role="assistant", content="Aye"),
        )
        item, _ = await self.heard(provider, "What is my boat", messages=messages)
        alone, _ = await self.heard(provider, "What is my boat")
        assert "speak like a sailor" in item.text and "Aye" in item.text
        assert item.usage.input_tokens > alone.usage.input_tokens

    async def test_a_model_calls_for_tools_and_is_told_what_came_of_it(self, provider):
        """Only what it was offered, in whatever pieces it says so; then it goes on."""
        schema = {"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]}
        tools = tuple(
            Tool(name=f"generate_{kind}", description=f"Makes a {kind}.", parameters=schema)
            for kind in ("image", "video", "speech")
        )
        said = "An image and a video of a fox"
        item, _ = await self.heard(provider, said, tools=tools)
        assert [call.name for call in item.calls] == ["generate_image", "generate_video"]
        assert all(said in json.loads(call.arguments)["prompt"] for call in item.calls)
        assert len({call.id for call in item.calls}) == 2 and item.usage.output_tokens >= 0
        answers = [Message(role="tool", content=f"made {n}", call_id=call.id) for n, call in enumerate(item.calls)]
        since = (Message(role="assistant", content=item.text, calls=item.calls), *answers)
        more, pieces = await self.heard(provider, said, tools=tools, since=since)
        assert not more.calls and "".join(pieces) == more.text and "made 0" in more.text and "made 1" in more.text
        plain, _ = await self.heard(provider, said)
        assert not plain.calls

    async def test_it_writes_no_more_than_may_be_paid(self, provider):
        item, said = await self.heard(provider, max_tokens=4)
        assert item.usage.output_tokens == len(said) == 4

    @pytest.mark.parametrize("fault", ["reset", "stream-cut", "stream-error"])
    async def test_a_text_that_broke_off_is_not_delivered(self, provider, simulator, fault):
        """What was heard of it costs nothing; whether the provider takes something is not known."""
        refused, said = await self.heard(provider, f"[[sim:{fault}]]")
        assert isinstance(refused, Unknown) and said
        [call] = self.journal(simulator)
        assert call["billed"] == 1

    async def test_a_model_that_refuses_is_a_refusal(self, provider):
        refused, _ = await self.heard(provider, "[[sim:declined]]")
        assert isinstance(refused, Rejected)

    async def test_a_stream_without_an_end_ends_with_the_time(self, provider):
        began_at = time.monotonic()
        refused, said = await self.heard(provider, "[[sim:stream-endless]]", timeout_seconds=0.7)
        assert isinstance(refused, Unknown) and said
        assert time.monotonic() - began_at < 2

    async def test_a_stream_without_an_end_ends_with_the_bytes(self, session, simulator):
        provider = self.make(session, simulator.url + self.path, max_answer_bytes=20_000)
        refused, said = await self.heard(provider, "[[sim:stream-endless]]")
        assert isinstance(refused, Unknown) and said

    async def test_it_can_be_stopped_while_it_writes(self, provider, session):
        said = []

        async def say(delta):
            said.append(delta)

        call = asyncio.create_task(provider.submit(self.submission("[[sim:stream-slow=0.05]]", say=say)))
        await until(lambda: len(said) > 2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not session.connector._acquired

    async def test_somebody_who_cannot_listen_stops_it(self, provider, session):
        async def say(_):
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await provider.submit(self.submission(say=say))
        assert not session.connector._acquired


class SpeechConformance(ProviderConformance):
    """An adapter that speaks."""

    kind = Kind.SPEECH
    endpoint = "/audio/speech"
    size = None
    malformed = (b"[1, 2]", b'{"audio": "none"}')
    hostile: ClassVar[dict[str, Any]] = {
        name: value for name, value in HOSTILE_OPTIONS.items() if name != "response_format"
    }

    async def check(self, item):
        assert isinstance(item, Delivered) and item.mime_type == "audio/mpeg"
        assert await self.seconds(item) > 0.5

    async def seconds(self, item):
        with av.open(io.BytesIO(await content_of(item))) as sound:
            return sum(frame.samples / frame.sample_rate for frame in sound.decode(audio=0))

    async def test_a_longer_text_takes_longer(self, provider):
        [short] = await provider.submit(self.submission("A word."))
        [long] = await provider.submit(self.submission("A sentence that goes on and on and on until it ends. " * 3))
        assert await self.seconds(long) > 2 * await self.seconds(short)

    @pytest.mark.parametrize(("fault", "refusal"), [("asset-empty", Unavailable), ("asset-html", Unknown)])
    async def test_what_is_no_sound_is_not_delivered(self, provider, fault, refusal):
        with pytest.raises(refusal):
            await provider.submit(self.submission(f"[[sim:{fault}]]"))
