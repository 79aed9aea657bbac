"""OpenAI moderation: `POST /openai/v1/moderations` (providers.md §2), by words. It costs nothing."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from simulator.calls import Call, Calls
from simulator.fields import Fields
from simulator.openai_words import OpenAIWords

INPUTS_MAX = 100
_WORDS = re.compile(r"[^\W\d_]+")
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
    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self._calls = calls

    async def judge(self, request: web.Request) -> web.StreamResponse:
        return await self._calls.free(request, self, self._answer)

    async def _answer(self, call: Call) -> dict[str, Any]:
        fields = Fields(call.json(), {"input", "model"})
        model = fields.choice("model", ("omni-moderation-latest",), "omni-moderation-latest")
        texts = _texts(fields)
        self._calls.refuse_as_asked(self, " ".join(text for text, _ in texts), model)
        return {"id": f"modr-{call.request_id}", "model": model, "results": [_judged(*one) for one in texts]}


def _texts(fields: Fields) -> list[tuple[str, list[str]]]:
    """Each text that gets a result, and what kinds of input it came as."""
    given = fields.get("input")
    if isinstance(given, str):
        return [(given, ["text"])]
    if not isinstance(given, list) or not 1 <= len(given) <= INPUTS_MAX:
        raise fields.invalid("input", "missing" if given is None else "type", "must be a text or a list")
    if all(isinstance(one, str) for one in given):
        return [(one, ["text"]) for one in given]
    parts = [Fields(one, {"type", "text", "image_url"}, "input.") for one in given if isinstance(one, dict)]
    if len(parts) != len(given):
        raise fields.invalid("input", "type", "must not mix texts and objects")
    kinds = [part.choice("type", ("text", "image_url"), "") for part in parts]
    words = [part.text("text", "", 100_000) for part in parts]
    return [(" ".join(words), ["image" if kind == "image_url" else kind for kind in kinds])]


def _judged(text: str, kinds: list[str]) -> dict[str, Any]:
    words = {word.lower() for word in _WORDS.findall(text)}
    flags = {name: bool(words & bad) for name, bad in CATEGORIES.items()}
    return {
        "flagged": any(flags.values()),
        "categories": flags,
        "category_scores": {name: _FLAGGED if flag else _CLEAN for name, flag in flags.items()},
        "category_applied_input_types": dict.fromkeys(flags, kinds),
    }
