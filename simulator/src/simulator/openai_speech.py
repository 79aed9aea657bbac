"""OpenAI speech: `POST /openai/v1/audio/speech` (providers.md §2). Real audio, if nobody's voice."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from aiohttp import web

from simulator.calls import Call, Calls, Job, Product
from simulator.faults import Plan
from simulator.fields import Fields
from simulator.latency import SPEECH
from simulator.openai_words import OpenAIWords
from simulator.pictures import Gallery
from simulator.tones import CONTENT_TYPES, Container, encode, speech

SPEECH_MODELS = frozenset({"tts-1", "tts-1-hd", "gpt-4o-mini-tts"})
CHARACTERS_MAX = 4096
VOICES = (
    "alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer", "verse", "marin", "cedar",
)  # fmt: skip
_KNOWN = frozenset({"model", "input", "voice", "response_format", "speed", "instructions", "stream_format"})


class OpenAISpeech(OpenAIWords):
    """`models` None takes any name."""

    def __init__(
        self,
        calls: Calls,
        gallery: Gallery,
        provider: str = "openai",
        models: Collection[str] | None = SPEECH_MODELS,
    ) -> None:
        super().__init__(provider)
        self._calls, self._gallery, self._models = calls, gallery, models

    async def speak(self, request: web.Request) -> web.StreamResponse:
        return await self._calls.serve(request, self, self._read)

    async def _read(self, call: Call) -> Job:
        fields = Fields(call.json(), _KNOWN)
        name = fields.required_text("model", 200)
        text = call.prompt = fields.required_text("input", CHARACTERS_MAX)
        if self._models is not None and name not in self._models:
            raise self.refusal("404", name)
        if not fields.has("voice"):
            raise fields.invalid("voice", "missing", "is required")
        voice = fields.choice("voice", VOICES, "")
        container = cast(Container, fields.choice("response_format", tuple(CONTENT_TYPES), "mp3"))
        speed = fields.number("speed", 0.25, 4, 1)
        fields.choice("stream_format", ("audio",), "audio")
        if fields.text("instructions", "", 4096) and name.startswith("tts-1"):
            raise fields.invalid("instructions", "unknown", "is not a parameter of this model")

        async def make(_: Call, plan: Plan) -> Product:
            body = await self._gallery.made(lambda: encode(speech(text, voice, speed), container))
            flaw = plan.asset.fault.name if plan.asset is not None else ""
            if flaw == "asset-empty":
                body = b""
            if flaw == "asset-html":
                return Product(b"<!doctype html><title>502</title>", content_type="text/html")
            return Product(body, content_type=CONTENT_TYPES[container])

        return Job(name, text, SPEECH, make, Product(b"", 0, CONTENT_TYPES[container]))
