"""ElevenLabs under `/elevenlabs`: speech as bytes, with timestamps, and the voices."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from aiohttp import web

from simulator.calls import Answer, Call, Job, Product
from simulator.desk import Desk, header_key, plain
from simulator.faults import Plan
from simulator.fields import Fields, InvalidFieldError
from simulator.forms import read_form
from simulator.latency import SPEECH
from simulator.refusals import Refusal
from simulator.tones import RATE, Container, encode, heard, seconds_of, speech

SEED_MAX = 2**32 - 1
MODELS: Mapping[str, int] = MappingProxyType(
    {
        "eleven_multilingual_v2": 10_000,
        "eleven_flash_v2": 30_000,
        "eleven_turbo_v2": 30_000,
        "eleven_flash_v2_5": 40_000,
        "eleven_turbo_v2_5": 40_000,
    }
)
"""And the characters that each speaks at a time."""
DEFAULT_MODEL = "eleven_multilingual_v2"
VOICES: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "JBFqnCBsd6RMkjVDRZzb": ("George", "male", "british"),
        "21m00Tcm4TlvDq8ikWAM": ("Rachel", "female", "american"),
        "EXAVITQu4vr4xnSDxMaL": ("Sarah", "female", "american"),
        "onwK4e9ZLuTAKqWW03F9": ("Daniel", "male", "british"),
    }
)
FORMATS: Mapping[str, tuple[Container, str]] = MappingProxyType(
    {
        **{f"mp3_{form}": ("mp3", "audio/mpeg") for form in ("22050_32", "44100_32", "44100_64", "44100_96")},
        **{f"mp3_{form}": ("mp3", "audio/mpeg") for form in ("44100_128", "44100_192")},
        **{f"opus_48000_{rate}": ("opus", "audio/ogg") for rate in (32, 64, 96, 128, 192)},
        f"pcm_{RATE}": ("pcm", "audio/pcm"),
        **{f"wav_{rate}": ("wav", "audio/wav") for rate in (8000, 16000, 22050, RATE, 32000, 44100, 48000)},
    }
)
PAGE_MAX = 100
SAMPLES_MAX = 25
SAMPLE_BYTES_MAX = 10 * 1024 * 1024
VOICES_MAX = 30
_ADDED = frozenset({"name", "remove_background_noise", "description", "labels"})
_KNOWN = frozenset(
    {
        "text", "model_id", "language_code", "voice_settings", "pronunciation_dictionary_locators", "seed",
        "previous_text", "next_text", "previous_request_ids", "next_request_ids", "apply_text_normalization",
        "apply_language_text_normalization", "use_pvc_as_ivc",
    }
)  # fmt: skip
_QUERY = frozenset({"output_format", "enable_logging", "optimize_streaming_latency"})
_SETTINGS = frozenset({"stability", "similarity_boost", "style", "use_speaker_boost", "speed"})
_REFUSALS: dict[str, tuple[int, str, str]] = {
    "401": (401, "invalid_api_key", "Invalid API key"),
    "403": (403, "missing_permissions", "The API key may not do this."),
    "404": (404, "voice_not_found", "A voice of this id was not found."),
    "413": (413, "payload_too_large", "The request body is too large."),
    "422": (422, "unprocessable", "The request cannot be processed."),
    "moderated": (403, "content_against_policy", "The text is against our terms of use."),
    "moderated-output": (403, "content_against_policy", "The text is against our terms of use."),
    "429": (429, "too_many_concurrent_requests", "Too many concurrent requests."),
    "quota": (401, "quota_exceeded", "This request exceeds your quota."),
    "500": (500, "internal_server_error", "An internal error occurred."),
    "502": (502, "bad_gateway", "Bad gateway."),
    "503": (503, "system_busy", "The system is busy."),
    "504": (504, "timeout", "The service did not answer in time."),
}
_key = header_key("xi-api-key")


class ElevenLabs:
    provider = "elevenlabs"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._made: dict[str, str] = {}
        """The names of voices that were made of samples."""

    def routes(self) -> list[web.RouteDef]:
        root = "/elevenlabs/v1/text-to-speech/{voice}"
        return [
            web.post(root, self.speak),
            web.post(root + "/stream", self.speak),
            web.post(root + "/with-timestamps", self.speak),
            web.get("/elevenlabs/v1/voices", self.voices),
            web.get("/elevenlabs/v2/voices", self.page),
            web.post("/elevenlabs/v1/voices/add", self.add),
            web.delete("/elevenlabs/v1/voices/{voice}", self.delete),
        ]

    async def speak(self, request: web.Request) -> web.StreamResponse:
        return await self._desk.calls.serve(request, self, self._read, _key)

    async def voices(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            return web.json_response({"voices": [self._voice(name) for name in (*VOICES, *self._made)]})

        return await self._desk.calls.free(request, self, answer, _key)

    async def page(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            query = request.query
            size, start = query.get("page_size", "10"), query.get("next_page_token", "0")
            if not size.isdigit() or not 1 <= int(size) <= PAGE_MAX:
                raise InvalidFieldError("page_size", "value", f"must lie between 1 and {PAGE_MAX}")
            if not start.isdigit():
                raise InvalidFieldError("next_page_token", "value", "is not one of ours")
            wanted = query.get("search", "").lower()
            names = {name: called for name, (called, *_) in VOICES.items()} | self._made
            found = [name for name, called in names.items() if wanted in called.lower()]
            end = int(start) + int(size)
            body = {
                "voices": [self._voice(name) for name in found[int(start) : end]],
                "has_more": end < len(found),
                "total_count": len(found),
                "next_page_token": str(end) if end < len(found) else None,
            }
            return web.json_response(body)

        return await self._desk.calls.free(request, self, answer, _key)

    async def add(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            form = await read_form(request, call.raw)
            samples = form.pop("files", "files[]")
            fields = Fields(form.values(flags=("remove_background_noise",)), _ADDED)
            name = fields.required_text("name", 100)
            fields.flag("remove_background_noise", default=False)
            fields.text("description", "", 500)
            fields.text("labels", "", 1000)
            if not 1 <= len(samples) <= SAMPLES_MAX:
                raise InvalidFieldError("files", "value", f"has to be 1 to {SAMPLES_MAX} samples")
            if any(len(sample) > SAMPLE_BYTES_MAX or not heard(sample) for sample in samples):
                raise Refusal(400, "invalid_content", "A sample is no sound, or too large.")
            if len(self._made) >= VOICES_MAX:
                raise Refusal(400, "voice_limit_reached", "You have reached your maximum amount of custom voices.")
            voice = uuid4().hex[:20]
            self._made[voice] = name
            return web.json_response({"voice_id": voice, "requires_verification": False})

        return await self._desk.calls.free(request, self, answer, _key)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            if self._made.pop(request.match_info["voice"], None) is None:
                raise self.refusal("404", "")
            return web.json_response({"status": "ok"})

        return await self._desk.calls.free(request, self, answer, _key)

    def _voice(self, voice: str) -> dict[str, Any]:
        if voice in VOICES:
            return _voice(voice)
        about = {"voice_id": voice, "name": self._made[voice], "category": "cloned", "labels": {}}
        return about | {"preview_url": None, "settings": None}

    def invalid(self, error: InvalidFieldError) -> Refusal:
        kinds = {"missing": "missing", "unknown": "extra_forbidden", "type": "type_error", "value": "value_error"}
        return Refusal(422, kinds[error.kind], error.reason, error.field)

    def refusal(self, fault: str, model: str) -> Refusal:
        return Refusal(*_REFUSALS[plain(fault)])

    def error(self, refusal: Refusal, request_id: str) -> dict[str, Any]:
        if refusal.param is not None:
            return {"detail": [{"loc": ["body", refusal.param], "msg": refusal.message, "type": refusal.code}]}
        return {"detail": {"status": refusal.code, "message": refusal.message, "request_id": request_id}}

    def headers(self, request_id: str, seconds: float) -> dict[str, str]:
        return {"request-id": request_id, "current-concurrent-requests": "1", "maximum-concurrent-requests": "10"}

    async def _read(self, call: Call) -> Job:
        body = call.json()
        call.prompt = body["text"] if isinstance(body.get("text"), str) else ""
        fields = Fields(body, _KNOWN)
        text = fields.required_text("text", 100_000)
        call.model = fields.text("model_id", DEFAULT_MODEL)
        voice = call.request.match_info["voice"]
        if voice not in VOICES and voice not in self._made:
            raise self.refusal("404", "")
        if call.model not in MODELS:
            raise Refusal(400, "model_not_found", "A model of this id does not exist.")
        if len(text) > MODELS[call.model]:
            raise Refusal(400, "max_character_limit_exceeded", f"At most {MODELS[call.model]} characters at a time.")
        container, mime_type, rate = _format(call)
        settings = fields.part("voice_settings", _SETTINGS)
        for name in ("stability", "similarity_boost", "style"):
            settings.number(name, 0, 1, 0.5)
        settings.flag("use_speaker_boost", default=True)
        speed = settings.number("speed", 0.7, 1.2, 1)
        fields.whole("seed", 0, SEED_MAX, 0)
        fields.text("language_code", "", 10)
        fields.choice("apply_text_normalization", ("auto", "on", "off"), "auto")
        timed = call.request.path.endswith("/with-timestamps")

        async def make(call: Call, plan: Plan) -> Product:
            samples = await self._desk.gallery.made(lambda: speech(text, voice, speed))
            content = await self._desk.gallery.made(lambda: encode(samples, container, rate))
            flaw = plan.asset.fault.name if plan.asset is not None else ""
            if flaw in {"asset-empty", "asset-html"}:
                page = b"<!doctype html><title>502</title>" if flaw == "asset-html" else b""
                return Product(page, content_type="text/html" if page else mime_type)
            headers = {"character-cost": str(len(text)), "history-item-id": call.request_id}
            if not timed:
                return Product(content, content_type=mime_type, headers=headers)
            answer = {
                "audio_base64": base64.b64encode(content).decode(),
                "alignment": _alignment(text, seconds_of(samples)),
            }
            return Product(json.dumps(answer).encode(), headers=headers)

        return Job(call.model, text, SPEECH, make, Product(b"", 0, mime_type))


def _format(call: Call) -> tuple[Container, str, int | None]:
    """The container, its content type, and the samples a second of a WAV."""
    for name in call.request.query:
        if name not in _QUERY:
            raise InvalidFieldError(name, "unknown", "is not a parameter of this endpoint")
    wanted = call.request.query.get("output_format", "mp3_44100_128")
    if wanted not in FORMATS:
        raise InvalidFieldError("output_format", "value", f"must be one of {', '.join(FORMATS)}")
    rate = int(wanted.removeprefix("wav_")) if wanted.startswith("wav_") else None
    return *FORMATS[wanted], rate


def _alignment(text: str, seconds: float) -> dict[str, Any]:
    step = seconds / len(text)
    return {
        "characters": list(text),
        "character_start_times_seconds": [round(index * step, 3) for index in range(len(text))],
        "character_end_times_seconds": [round((index + 1) * step, 3) for index in range(len(text))],
    }


def _voice(name: str) -> dict[str, Any]:
    called, gender, accent = VOICES[name]
    return {
        "voice_id": name,
        "name": called,
        "category": "premade",
        "labels": {"gender": gender, "accent": accent},
        "preview_url": None,
        "settings": None,
    }
