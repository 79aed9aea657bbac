"""Anthropic's own."""

import json
from typing import ClassVar

import pytest

from contracts.facts import Kind
from generator.providers.anthropic import Anthropic
from generator.providers.interface import Invalid, Throttled, Unknown
from generator.providers.transport import MAX_ANSWER_BYTES

from .conformance import KEY
from .conformance_words import TextConformance
from .vendor import answering

START = (
    b'event: message_start\ndata: {"type": "message_start", "message": {"usage": {"input_tokens": 3}}}\n\n'
    b'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 0, "delta": '
)


STOP = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'


class TestAnthropic(TextConformance):
    model = "claude-sonnet-5-5"
    path = "/anthropic"
    endpoint = "/v1/messages"
    ends = ("end_turn", "max_tokens")
    ended_calling = "tool_use"
    meanings: ClassVar = {"error-200": Unknown, "empty-200": Unknown}
    malformed = (
        b"",
        b"<html>busy</html>",
        b"[1, 2]",
        b"event: message_start\ndata: nonsense\n\n",
        b'event: message_start\ndata: {"type": "message_start", "message": null}\n\n',
        b'event: message_start\ndata: {"type": "message_start", "message": {"usage": 5}}\n\n',
        START + b'{"type": "text_delta", "text": 5}}\n\n',
        START
        + b'{"type": "text_delta", "text": "half a sen"}}\n\nevent: message_stop\ndata: {"type": "message_stop"}\n\n',
        b'event: message_delta\ndata: {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}\n\n',
    )

    def stream(self, words, ended):
        events = [
            {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": words}},
            {"type": "message_delta", "delta": {"stop_reason": ended}, "usage": {"output_tokens": 9}},
            {"type": "message_stop"},
        ]
        if not words:
            del events[1]
        return "".join(f"event: {each['type']}\ndata: {json.dumps(each, ensure_ascii=False)}\n\n" for each in events)

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return Anthropic(session, KEY, base_url, max_answer_bytes)

    async def test_an_overloaded_provider_is_busy(self, provider):
        with pytest.raises(Throttled):
            await provider.submit(self.submission("[[sim:503]]"))

    async def test_an_error_before_the_first_word_is_what_it_says(self, session):
        event = (
            b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n'
        )
        async with answering(200, event, {"Content-Type": "text/event-stream"}) as url:
            with pytest.raises(Throttled):
                await self.make(session, url).submit(self.submission())

    async def test_only_texts_are_offered(self, provider):
        for others in ({"kind": Kind.IMAGE}, {"count": 2}):
            with pytest.raises(Invalid):
                await provider.submit(self.submission(**others))
