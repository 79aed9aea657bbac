"""ElevenLabs speech: `POST /v1/text-to-speech/{voice}`, whose answer is the sound itself; and the voices there are,
of which some are made of a sample (`POST /v1/voices/add`).

The API takes a few calls at a time, by plan, and refuses the rest. Its texts are bounded per model.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import aiohttp
from pydantic import JsonValue

from generator.providers import http, sdk
from generator.providers.interface import (
    RAW,
    Delivered,
    Given,
    Invalid,
    Item,
    QuotaExhausted,
    Rejected,
    Submission,
    Throttled,
    Unauthorized,
    Unavailable,
    Unknown,
)
from generator.providers.transport import MAX_ANSWER_BYTES

NAME = "elevenlabs"
DEFAULT_VOICE = "JBFqnCBsd6RMkjVDRZzb"
"""One of the voices that every account has."""
DEFAULT_FORMAT = "mp3_44100_128"
MAX_CHARACTERS = {
    "eleven_multilingual_v2": 10_000,
    "eleven_flash_v2": 30_000,
    "eleven_turbo_v2": 30_000,
    "eleven_flash_v2_5": 40_000,
    "eleven_turbo_v2_5": 40_000,
}
VOICES_PER_PAGE = 100
CLONE_SECONDS = 60.0
MAX_PAGES = 20
_OPTIONS = frozenset({"language_code", "seed", "apply_text_normalization"})
_VOICE_SETTINGS = frozenset({"stability", "similarity_boost", "style", "use_speaker_boost", "speed"})
_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "opus": "audio/ogg"}
_RAW = {"pcm", "ulaw", "alaw"}
_MEANING = {
    "quota_exceeded": QuotaExhausted,
    "invalid_api_key": Unauthorized,
    "missing_permissions": Unauthorized,
    "max_character_limit_exceeded": Invalid,
    "voice_not_found": Invalid,
    "content_policy_violation": Rejected,
    "content_against_policy": Rejected,
    "system_busy": Throttled,
    "too_many_concurrent_requests": Throttled,
}


class Voice(sdk.Answer):
    """A voice that this account can speak with."""

    voice_id: str
    name: str
    category: str | None = None
    labels: dict[str, str] = {}
    preview_url: str | None = None


class _Added(sdk.Answer):
    voice_id: str


class _Voices(sdk.Answer):
    voices: list[Voice]
    has_more: bool = False
    next_page_token: str | None = None


class ElevenLabs:
    """ElevenLabs behind the generator's interface."""

    name = NAME

    def __init__(
        self, session: aiohttp.ClientSession, key: str, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._caller = http.Caller(session, base_url, {"xi-api-key": key}, _reading, max_answer_bytes)

    async def submit(self, submission: Submission) -> Sequence[Item]:
        limit = MAX_CHARACTERS.get(submission.model)
        if limit is not None and len(submission.prompt) > limit:
            raise Invalid(f"This model speaks at most {limit} characters at a time.")
        voice = submission.options.get("voice") or DEFAULT_VOICE
        form = submission.options.get("output_format") or DEFAULT_FORMAT
        codec = str(form).partition("_")[0]
        if codec in _RAW:
            raise Invalid(RAW)
        path = f"/v1/text-to-speech/{http.in_path(str(voice))}?{urlencode({'output_format': form})}"
        reply = await self._caller.pay(submission, path, _body(submission), headers={"Accept": "audio/*"})
        if not reply.mime_type.startswith("audio/"):
            problem = reply.json()
            if not problem.get("detail"):
                raise Unknown
            raise self._caller.refusal(reply.status, reply.headers, problem)
        if not reply.content:
            raise Unavailable
        usual = _TYPES.get(codec, reply.mime_type)
        return http.filled(submission, [Delivered(content=reply.content, mime_type=usual)])

    async def add_voice(self, name: str, sample: Given) -> str:
        """Makes a voice of a sample; its id. It costs nothing, and takes one of the places that the account has.

        Raises:
            Invalid: the sample is no good. ProviderRefusal: as of any free question; it may have been made.
        """
        form = aiohttp.FormData()
        form.add_field("name", name)
        kind = sample.mime_type or "audio/mpeg"
        form.add_field("files", sample.content or b"", filename="sample", content_type=kind)
        reply = await self._caller.ask("POST", "/v1/voices/add", timeout_seconds=CLONE_SECONDS, form=form)
        return http.task_id(sdk.read_look(_Added, reply.told()).voice_id)

    async def delete_voice(self, voice_id: str) -> None:
        """Also one that is not there. Raises ProviderRefusal, as of any free question."""
        with contextlib.suppress(sdk.NotKnown):
            await self._caller.ask("DELETE", f"/v1/voices/{http.in_path(voice_id)}")

    async def voices(self, search: str | None = None) -> Sequence[Voice]:
        """All of them, or those that bear such words, in the vendor's order; at most `MAX_PAGES` pages.

        Raises:
            ProviderRefusal: as of any free question.
        """
        found: list[Voice] = []
        query: dict[str, str | int] = {"page_size": VOICES_PER_PAGE} | ({"search": search} if search else {})
        for _ in range(MAX_PAGES):
            page = sdk.read_look(_Voices, await self._caller.look(f"/v2/voices?{urlencode(query)}"))
            found += page.voices
            if not page.has_more or page.next_page_token is None:
                break
            query["next_page_token"] = page.next_page_token
        return found


def _body(submission: Submission) -> dict[str, JsonValue]:
    body = sdk.chosen(submission.options, _OPTIONS)
    settings = sdk.chosen(submission.options, _VOICE_SETTINGS)
    if settings:
        body["voice_settings"] = settings
    return {**body, "text": submission.prompt, "model_id": submission.model}


def _reading(status: int, problem: Mapping[str, Any]) -> http.Said:
    detail = problem.get("detail")
    if isinstance(detail, dict):
        return http.Said(_MEANING.get(str(detail.get("status") or detail.get("code"))), detail.get("message"))
    if isinstance(detail, list):
        entries = [entry for entry in detail if isinstance(entry, dict)]
        return http.Said(words=" ".join(str(entry.get("msg")) for entry in entries))
    return http.Said(words=detail)
