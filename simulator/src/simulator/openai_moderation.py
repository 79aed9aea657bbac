"""OpenAI moderation: `POST /openai/v1/moderations` (providers.md §2). It costs nothing.

A text is judged by its words, whatever else it says; a picture by whether it shows `pictures.FORBIDDEN`.
"""

from __future__ import annotations

import io
import re
from typing import Any

from aiohttp import web
from PIL import Image

from simulator.calls import Call, Calls
from simulator.fields import Fields
from simulator.given import read_given
from simulator.openai_words import OpenAIWords
from simulator.outside import Outside
from simulator.pictures import FORBIDDEN, FORBIDDEN_SHARE

INPUTS_MAX = 100
CHARACTERS_MAX = 1_000_000
SHOWN = "violence/graphic"
"""What a picture that shows the forbidden is flagged as."""
_WORDS = re.compile(r"[^\W\d_]+")
_NEARLY = 40
"""In levels: what is left of a colour after a JPEG."""
CATEGORIES: dict[str, frozenset[str]] = {
    "harassment": frozenset({"idiot", "loser"}),
    "harassment/threatening": frozenset({"threaten"}),
    "hate": frozenset({"slur"}),
    "hate/threatening": frozenset({"exterminate"}),
    "illicit": frozenset({"counterfeit", "methamphetamine"}),
    "illicit/violent": frozenset({"bomb"}),
    "self-harm": frozenset({"suicide"}),
    "self-harm/intent": frozenset(),
    "self-harm/instructions": frozenset(),
    "sexual": frozenset({"nude", "naked", "porn"}),
    "sexual/minors": frozenset({"lolita"}),
    "violence": frozenset({"murder", "behead", "torture"}),
    "violence/graphic": frozenset({"gore", "entrails"}),
}
_FLAGGED, _CLEAN = 0.97, 0.0004


class OpenAIModeration(OpenAIWords):
    def __init__(self, calls: Calls, outside: Outside) -> None:
        super().__init__()
        self._calls = calls
        self._outside = outside

    async def judge(self, request: web.Request) -> web.StreamResponse:
        return await self._calls.free(request, self, self._answer)

    async def _answer(self, call: Call) -> dict[str, Any]:
        fields = Fields(call.json(), {"input", "model"})
        model = fields.choice("model", ("omni-moderation-latest",), "omni-moderation-latest")
        given = fields.get("input")
        if isinstance(given, str):
            given = [given]
        if not isinstance(given, list) or not 1 <= len(given) <= INPUTS_MAX:
            raise fields.invalid("input", "missing" if given is None else "type", "must be a text or a list")
        if all(isinstance(one, str) for one in given):
            texts = [one for one in given if isinstance(one, str)]
            await self._calls.judge_as_asked(self, " ".join(texts), model)
            results = [_result(_flags(text), ["text"]) for text in texts]
        else:
            results = [await self._judged(fields, given, model)]
        return {"id": f"modr-{call.request_id}", "model": model, "results": results}

    async def _judged(self, fields: Fields, given: list[Any], model: str) -> dict[str, Any]:
        """One result for all parts together."""
        flags = dict.fromkeys(CATEGORIES, False)
        kinds: list[str] = []
        for one in given:
            if not isinstance(one, dict):
                raise fields.invalid("input", "type", "must not mix texts and objects")
            kind = Fields({"type": one.get("type")}, {"type"}, "input.").choice("type", ("text", "image_url"), "")
            part = Fields(one, {"type", kind}, "input.")
            if kind == "text":
                text = part.required_text("text", CHARACTERS_MAX)
                await self._calls.judge_as_asked(self, text, model)
                found = _flags(text)
            else:
                found = await self._shown(part.part("image_url", {"url"}))
            flags = {name: flag or found[name] for name, flag in flags.items()}
            kinds.append("image" if kind == "image_url" else kind)
        return _result(flags, kinds)

    async def _shown(self, part: Fields) -> dict[str, bool]:
        try:
            picture = await read_given(str(part.get("url") or ""), self._outside.fetch)
        except ValueError as error:
            raise part.invalid("url", "value", str(error)) from None
        with Image.open(io.BytesIO(picture)) as image:
            side = 2 * FORBIDDEN_SHARE
            colour = image.convert("RGB").getpixel((image.width // side, image.height // side))
        assert isinstance(colour, tuple)  # noqa: S101 - of an RGB picture
        shows = all(abs(level - wanted) < _NEARLY for level, wanted in zip(colour, FORBIDDEN, strict=True))
        return {name: shows and name == SHOWN for name in CATEGORIES}


def _flags(text: str) -> dict[str, bool]:
    words = {word.lower() for word in _WORDS.findall(text)}
    return {name: bool(words & bad) for name, bad in CATEGORIES.items()}


def _result(flags: dict[str, bool], kinds: list[str]) -> dict[str, Any]:
    return {
        "flagged": any(flags.values()),
        "categories": flags,
        "category_scores": {name: _FLAGGED if flag else _CLEAN for name, flag in flags.items()},
        "category_applied_input_types": dict.fromkeys(flags, kinds),
    }
