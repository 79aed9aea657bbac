"""The Gemini API under `/google`: pictures by generateContent, Veo's long-running operations, and
files that only the key can download."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from uuid import uuid4

from aiohttp import web

from simulator.calls import Answer, Call, Job, Product
from simulator.desk import Desk, blocked, header_key, plain, shaped
from simulator.faults import Plan
from simulator.fields import Fields, InvalidFieldError
from simulator.given import small
from simulator.latency import SUBMISSION, Spread
from simulator.pictures import Recipe
from simulator.refusals import Refusal
from simulator.tasks import State, Task

FILE_ROOT = "https://generativelanguage.googleapis.com/v1beta/files/"
KEPT_SECONDS = 2 * 24 * 3600
URL_SECONDS = 300
PICTURE_MODELS = frozenset({"gemini-2.5-flash-image", "gemini-3-pro-image-preview"})
FILM_MODELS = frozenset({"veo-3.1-generate-preview", "veo-3.1-fast-generate-preview"})
_PICTURE = Spread(4, 15)
_FILM = Spread(11, 360)
_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_PARAMETERS = frozenset(
    {
        "sampleCount", "durationSeconds", "aspectRatio", "resolution", "personGeneration", "negativePrompt", "seed",
        "enhancePrompt", "generateAudio",
    }
)  # fmt: skip
_SHORT_PIXELS = {"720p": 720, "1080p": 1080, "4k": 2160}
_REFUSALS: dict[str, tuple[int, str, str]] = {
    "401": (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    "403": (403, "PERMISSION_DENIED", "The caller does not have permission."),
    "404": (404, "NOT_FOUND", "models/{model} is not found for API version v1beta."),
    "413": (413, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
    "422": (422, "INVALID_ARGUMENT", "The request cannot be processed."),
    "moderated": (400, "INVALID_ARGUMENT", "The prompt was blocked by our safety filters."),
    "moderated-output": (400, "INVALID_ARGUMENT", "The result was blocked by our safety filters."),
    "429": (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted."),
    "quota": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan."),
    "500": (500, "INTERNAL", "An internal error has occurred."),
    "502": (502, "INTERNAL", "Bad gateway."),
    "503": (503, "UNAVAILABLE", "The model is overloaded."),
    "504": (504, "DEADLINE_EXCEEDED", "The service did not answer in time."),
}
_DETAILS: dict[str, list[dict[str, Any]]] = {
    "401": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
    "quota": [
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}],
        }
    ],
}
_key = header_key("x-goog-api-key")


class Google:
    provider = "google"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[web.RouteDef]:
        root = "/google/{version:v1(?:beta)?}"
        return [
            web.post(root + "/models/{model}:generateContent", self.picture),
            web.post(root + "/models/{model}:predictLongRunning", self.film),
            web.get(root + "/models/{model}/operations/{id}", self.look),
            web.get(root + "/files/{id}:download", self.download),
        ]

    async def picture(self, request: web.Request) -> web.StreamResponse:
        return await self._desk.calls.serve(request, self, self._read_picture, _key)

    async def film(self, request: web.Request) -> web.StreamResponse:
        return await self._desk.calls.serve(request, self, self._read_film, _key)

    async def look(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            task, state = self._desk.look(self, request.match_info["id"], KEPT_SECONDS)
            if task.model != request.match_info["model"]:
                raise self.missing()
            return web.json_response(self._describe(task, state))

        return await self._desk.calls.free(request, self, answer, _key)

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Redirects to the host that has the bytes, which wants no key."""

        async def answer(call: Call) -> Answer:
            name, _, index = request.match_info["id"].partition("-")
            task = self._desk.known(self, name, KEPT_SECONDS)
            if request.query.get("alt") != "media":
                return web.json_response({"name": f"files/{request.match_info['id']}", "mimeType": "video/mp4"})
            asked, (width, height) = task.asked, task.asked["size"]
            recipe = Recipe(
                task.prompt, width, height, int(index or "0"), asked["seed"] or task.kept["variant"] + 1, "mp4",
                given=asked["given"], seconds=asked["seconds"], sound=True,
            )  # fmt: skip
            return web.Response(status=302, headers={"Location": self._desk.address(task, recipe, URL_SECONDS)})

        return await self._desk.calls.free(request, self, answer, _key)

    def invalid(self, error: InvalidFieldError) -> Refusal:
        return Refusal(400, "INVALID_ARGUMENT", f"Invalid value at '{error.field}': it {error.reason}.")

    def refusal(self, fault: str, model: str) -> Refusal:
        name = plain(fault)
        status, word, message = _REFUSALS[name]
        return Refusal(status, word, message.format(model=model), kind=name)

    def missing(self) -> Refusal:
        return Refusal(404, "NOT_FOUND", "Operation not found.")

    def error(self, refusal: Refusal, request_id: str) -> dict[str, Any]:
        error = {"code": refusal.status, "message": refusal.message, "status": refusal.code}
        details = _DETAILS.get(refusal.kind)
        return {"error": error | {"details": details} if details else error}

    def headers(self, request_id: str, seconds: float) -> dict[str, str]:
        return {"x-request-id": request_id}

    async def _read_picture(self, call: Call) -> Job:
        body = call.json()
        call.model = call.request.match_info["model"]
        if call.model not in PICTURE_MODELS:
            raise self.refusal("404", call.model)
        fields = Fields(body, {"contents", "generationConfig", "safetySettings", "systemInstruction"})
        call.prompt, given = _parts(fields)
        config = fields.part(
            "generationConfig",
            {"responseModalities", "imageConfig", "candidateCount", "temperature", "topP", "topK", "seed"},
        )
        if "IMAGE" not in (config.get("responseModalities") or ["TEXT", "IMAGE"]):
            raise config.invalid("responseModalities", "value", "must hold IMAGE for this model")
        config.whole("candidateCount", 1, 1, 1)
        ratio = config.part("imageConfig", {"aspectRatio", "imageSize"}).choice("aspectRatio", _RATIOS, "1:1")
        seed = config.whole("seed", -(2**31), 2**31 - 1, 0)

        async def make(call: Call, plan: Plan) -> Product:
            width, height = shaped(ratio, 768)
            if 1 in blocked(plan):
                return Product(json.dumps({"candidates": [{"finishReason": "IMAGE_SAFETY", "index": 0}]}).encode())
            chosen = seed or self._desk.variant(call, ratio) + 1
            content = await self._desk.content(Recipe(call.prompt, width, height, 0, chosen, "png", given=given), plan)
            data = {"mimeType": "image/png", "data": base64.b64encode(content).decode()}
            parts = [{"text": "Here it is."}, {"inlineData": data}]
            candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
            usage = {"promptTokenCount": len(call.prompt) // 4 + 1, "candidatesTokenCount": 1290}
            answer = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": call.model}
            return Product(json.dumps(answer).encode())

        return Job(call.model, call.prompt, _PICTURE, make)

    async def _read_film(self, call: Call) -> Job:
        fields = Fields(call.json(), {"instances", "parameters"})
        call.model = call.request.match_info["model"]
        if call.model not in FILM_MODELS:
            raise self.refusal("404", call.model)
        instances = fields.get("instances")
        if not isinstance(instances, list) or len(instances) != 1 or not isinstance(instances[0], dict):
            raise fields.invalid("instances", "value", "must be a list of one object")
        known = {"prompt", "image", "lastFrame", "referenceImages", "video"}
        instance = Fields(instances[0], known, "instances.")
        prompt = call.prompt = instance.required_text("prompt", 10_000)
        given = _inline(instance, "image")
        _inline(instance, "lastFrame")
        asked = _film(fields.part("parameters", _PARAMETERS)) | {"given": given}

        async def make(call: Call, plan: Plan) -> Product:
            name = uuid4().hex[:16]
            task = self._desk.tasks.add(
                name, model=call.model, prompt=prompt, asked=asked, plan=plan, spread=_FILM, host=call.host
            )
            task.kept |= {"blocked": blocked(plan), "variant": self._desk.variant(call, str(asked["size"]))}
            count = asked["count"] - len(task.kept["blocked"])
            body = json.dumps({"name": f"models/{call.model}/operations/{name}"}).encode()
            return Product(body, count if task.billed else 0, noted=task.noted)

        return Job(call.model, prompt, SUBMISSION, make, deferred=True)

    def _describe(self, task: Task, state: State) -> dict[str, Any]:
        body: dict[str, Any] = {"name": f"models/{task.model}/operations/{task.id}"}
        if "task-word" in task.wishes:
            return body | {"done": task.wishes["task-word"].value}
        if state in {"waiting", "running"}:
            return body  # `done` is absent until it is
        body["done"] = True
        if state in {"failed", "expired", "cancelled"}:
            words = f"Video generation failed for operation {task.id}."
            return body | {"error": {"code": 13, "message": words, "details": []}}
        filtered = task.asked["count"] if state == "moderated" else len(task.kept["blocked"])
        films: dict[str, Any] = {}
        if filtered:
            reason = "The film was filtered out by our safety filters."
            films = {"raiMediaFilteredCount": filtered, "raiMediaFilteredReasons": [reason] * filtered}
        if state != "moderated" and "task-no-url" not in task.wishes:
            # The SDK finds its file by `files/<name>` in an https address, whatever the host.
            root = FILE_ROOT + task.id
            films["generatedSamples"] = [
                {"video": {"uri": f"{root}{'' if number == 1 else f'-{number - 1}'}:download?alt=media"}}
                for number in range(1, task.asked["count"] + 1)
                if number not in task.kept["blocked"]
            ]
        kind = "type.googleapis.com/google.ai.generativelanguage.v1beta.PredictLongRunningResponse"
        return body | {"response": {"@type": kind, "generateVideoResponse": films}}


def _parts(fields: Fields) -> tuple[str, bytes]:
    """All words, and the first picture."""
    contents = fields.get("contents")
    turns = contents if isinstance(contents, list) else []
    words: list[str] = []
    given = b""
    for turn in turns:
        if not isinstance(turn, dict) or not isinstance(turn.get("parts"), list):
            raise fields.invalid("contents", "type", "must be a list of contents with parts")
        for part in turn["parts"]:
            piece = Fields(part if isinstance(part, dict) else {}, {"text", "inlineData"}, "contents.parts.")
            if piece.has("inlineData"):
                given = given or _inline(piece, "inlineData", "data")
            else:
                words.append(piece.required_text("text", 100_000))
    if not words:
        raise fields.invalid("contents", "missing", "is required")
    return " ".join(words), given


def _inline(fields: Fields, name: str, content: str = "bytesBase64Encoded") -> bytes:
    """A picture inside the body, small; empty where there is none."""
    if not fields.has(name):
        return b""
    return read_inline(fields.part(name, {content, "mimeType"}), content, "mimeType")


def read_inline(part: Fields, content: str, mime_type: str) -> bytes:
    part.choice(mime_type, ("image/png", "image/jpeg", "image/webp"), "")
    try:
        return small(base64.b64decode(part.required_text(content, 50_000_000), validate=True))
    except (binascii.Error, ValueError):
        raise part.invalid(content, "value", "is not a picture in base64") from None


def _film(parameters: Fields) -> dict[str, Any]:
    ratio = parameters.choice("aspectRatio", ("16:9", "9:16"), "16:9")
    resolution = parameters.choice("resolution", tuple(_SHORT_PIXELS), "720p")
    seconds = parameters.whole("durationSeconds", 4, 8, 8)
    if seconds not in (4, 6, 8):
        raise parameters.invalid("durationSeconds", "value", "must be 4, 6 or 8")
    if resolution != "720p" and seconds != 8:
        raise parameters.invalid("resolution", "value", f"{resolution} needs 8 seconds")
    parameters.choice("personGeneration", ("allow_all", "allow_adult", "dont_allow"), "allow_all")
    parameters.text("negativePrompt", "")
    return {
        "size": shaped(ratio, _SHORT_PIXELS[resolution]),
        "seconds": seconds,
        "count": parameters.whole("sampleCount", 1, 4, 1),
        "seed": parameters.whole("seed", 0, 2**32 - 1, 0),
    }
