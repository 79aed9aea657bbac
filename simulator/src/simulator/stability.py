"""Stability v2beta: `/stability/v2beta/stable-image/generate/{core|ultra|sd3}` and `/stability/v2beta/image-to-video`
."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from aiohttp import web

from simulator.calls import Answer, Call, Job, Product
from simulator.desk import Desk, blocked, plain
from simulator.faults import Plan
from simulator.fields import Fields, InvalidFieldError
from simulator.given import sides, small
from simulator.latency import SUBMISSION, Spread
from simulator.pictures import CONTENT_TYPES, Recipe
from simulator.refusals import Refusal

PROMPT_CHARACTERS_MAX = 10_000
SEED_MAX = 4_294_967_294
GIVEN_BYTES_MAX = 10 * 1024 * 1024
KEPT_SECONDS = 24 * 3600
FILM_SECONDS = 4
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "21:9": (1536, 640), "16:9": (1344, 768), "3:2": (1216, 832), "5:4": (1088, 896), "1:1": (1024, 1024),
        "4:5": (896, 1088), "2:3": (832, 1216), "9:16": (768, 1344), "9:21": (640, 1536),
    }
)  # fmt: skip
FILM_SIZES = frozenset({(1024, 576), (576, 1024), (768, 768)})
STYLES = (
    "enhance", "anime", "photographic", "digital-art", "comic-book", "fantasy-art", "line-art", "analog-film",
    "neon-punk", "isometric", "low-poly", "origami", "modeling-compound", "cinematic", "3d-model", "pixel-art",
    "tile-texture",
)  # fmt: skip
SD3_MODELS = ("sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium", "sd3.5-flash")
_COMMON = frozenset({"prompt", "negative_prompt", "aspect_ratio", "seed", "output_format", "none"})
_KNOWN: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "core": _COMMON | {"style_preset"},
        "ultra": _COMMON | {"style_preset", "image", "strength"},
        "sd3": _COMMON | {"model", "mode", "image", "strength", "cfg_scale", "style_preset"},
    }
)
_SPREADS = {"core": Spread(2, 5), "ultra": Spread(6, 15), "sd3": Spread(3, 8)}
_FILM = Spread(30, 120)
_REFUSALS: dict[str, tuple[int, str, str]] = {
    "401": (401, "unauthorized", "Your API key is missing or invalid."),
    "403": (403, "forbidden", "Your account may not use this service."),
    "404": (404, "not_found", "The model {model} does not exist."),
    "413": (413, "payload_too_large", "The request body is larger than 10 MiB."),
    "422": (422, "invalid_language", "Only English is supported."),
    "moderated": (403, "content_moderation", "Your request was flagged by our content moderation system."),
    "moderated-output": (403, "content_moderation", "The result was flagged by our content moderation system."),
    "429": (429, "rate_limit_exceeded", "You have made more than 150 requests in 10 seconds."),
    "quota": (402, "payment_required", "Your account lacks the credits for this request."),
    "500": (500, "internal_error", "An unexpected error occurred."),
    "502": (502, "bad_gateway", "Bad gateway."),
    "503": (503, "unavailable", "The service is not available."),
    "504": (504, "timeout", "The service did not answer in time."),
}


class Stability:
    provider = "stability"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[web.RouteDef]:
        root = "/stability/v2beta"
        return [
            web.post(root + "/stable-image/generate/{service}", self.picture),
            web.post(root + "/image-to-video", self.film),
            web.get(root + "/image-to-video/result/{id}", self.result),
            web.get("/stability/v1/user/balance", self.balance),
        ]

    async def picture(self, request: web.Request) -> web.StreamResponse:
        return await self._desk.calls.serve(request, self, self._read_picture)

    async def film(self, request: web.Request) -> web.StreamResponse:
        return await self._desk.calls.serve(request, self, self._read_film)

    async def result(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            task, state = self._desk.look(self, request.match_info["id"], KEPT_SECONDS)
            if state in {"waiting", "running"}:
                return web.json_response({"id": task.id, "status": "in-progress"}, status=202)
            if state != "succeeded":
                raise self.refusal("moderated-output", "") if state == "moderated" else self._failed()
            width, height = task.asked["size"]
            seed = task.asked["seed"]
            recipe = Recipe("", width, height, 0, seed, "mp4", given=task.asked["given"], seconds=FILM_SECONDS)
            content = b"" if "task-no-url" in task.wishes else await self._desk.content(recipe, task)
            return web.Response(**_result(request, content, "video", "video/mp4", "SUCCESS", seed))

        return await self._desk.calls.free(request, self, answer)

    async def balance(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            return web.json_response({"credits": 1000.0})

        return await self._desk.calls.free(request, self, answer)

    def invalid(self, error: InvalidFieldError) -> Refusal:
        return Refusal(400, "bad_request", f"{error.field}: {error.reason}")

    def refusal(self, fault: str, model: str) -> Refusal:
        status, code, message = _REFUSALS[plain(fault)]
        return Refusal(status, code, message.format(model=model))

    def missing(self) -> Refusal:
        return Refusal(404, "not_found", "There is no result of this id.")

    def error(self, refusal: Refusal, request_id: str) -> dict[str, Any]:
        return {"id": request_id, "name": refusal.code, "errors": [refusal.message]}

    def headers(self, request_id: str, seconds: float) -> dict[str, str]:
        return {"x-request-id": request_id}

    def _failed(self) -> Refusal:
        return Refusal(400, "bad_request", "The film could not be made from this picture.")

    async def _read_picture(self, call: Call) -> Job:
        service = call.request.match_info["service"]
        if service not in _KNOWN:
            raise self.refusal("404", service)
        accepted = _accepted(call.request, "image")
        fields = await self._fields(call, _KNOWN[service], "seed", "strength", "cfg_scale")
        call.model = fields.choice("model", SD3_MODELS, SD3_MODELS[0]) if service == "sd3" else service
        call.prompt = fields.required_text("prompt", PROMPT_CHARACTERS_MAX)
        fields.text("negative_prompt", "", PROMPT_CHARACTERS_MAX)
        given, size = _given(fields)
        mode = fields.choice("mode", ("text-to-image", "image-to-image"), "text-to-image")
        if service == "sd3" and (mode == "image-to-image") != bool(given):
            raise fields.invalid("mode", "value", "must be image-to-image when there is an image, and only then")
        if given and not fields.has("strength"):
            raise fields.invalid("strength", "missing", "is required with an image")
        if service == "sd3" and given:
            fields.refuse("aspect_ratio", reason="is not supported with an image")
        fields.number("strength", 0, 1, 0.5)
        fields.number("cfg_scale", 1, 10, 4)
        fields.choice("style_preset", STYLES, "")
        ratio = fields.choice("aspect_ratio", tuple(SIZES), "1:1")
        form = fields.choice("output_format", ("png", "jpeg", "webp"), "png")
        seed = fields.whole("seed", 0, SEED_MAX, 0)
        width, height = size if given and service == "sd3" else SIZES[ratio]

        async def make(call: Call, plan: Plan) -> Product:
            chosen = seed or self._desk.variant(call, ratio) + 1
            recipe = Recipe(call.prompt, width, height, 0, chosen, form, given=given)
            # What its filter blurs is delivered, and charged.
            finish = "CONTENT_FILTERED" if 1 in blocked(plan) else "SUCCESS"
            content = await self._desk.content(recipe, plan)
            sent = _result(call.request, content, "image", CONTENT_TYPES[form], finish, chosen)
            return Product(sent["body"], content_type=sent["content_type"], headers=sent["headers"])

        nothing = Product(b"{}", 0) if accepted == "application/json" else Product(b"", 0, CONTENT_TYPES[form])
        return Job(call.model, call.prompt, _SPREADS[service], make, nothing)

    async def _read_film(self, call: Call) -> Job:
        fields = await self._fields(call, {"image", "seed", "cfg_scale", "motion_bucket_id"}, *_FILM_NUMBERS)
        call.model = "image-to-video"
        given, size = _given(fields)
        if not given:
            raise fields.invalid("image", "missing", "is required")
        if size not in FILM_SIZES:
            raise fields.invalid("image", "value", "must be 1024x576, 576x1024 or 768x768")
        fields.number("cfg_scale", 0, 10, 1.8)
        fields.whole("motion_bucket_id", 1, 255, 127)
        asked = {"seed": fields.whole("seed", 0, SEED_MAX, 0), "size": size, "given": given}

        async def make(call: Call, plan: Plan) -> Product:
            name = uuid4().hex + uuid4().hex
            task = self._desk.tasks.add(
                name, model=call.model, prompt="", asked=asked, plan=plan, spread=_FILM, host=call.host
            )
            return Product(json.dumps({"id": name}).encode(), task.billed, noted=task.noted)

        return Job(call.model, "", SUBMISSION, make, deferred=True)

    async def _fields(self, call: Call, known: frozenset[str] | set[str], *numeric: str) -> Fields:
        form = await call.form()
        files = form.pop("image")
        body = form.values() | ({"image": files[0]} if files else {})
        call.prompt = body["prompt"] if isinstance(body.get("prompt"), str) else ""
        return Fields({name: _number(value) if name in numeric else value for name, value in body.items()}, known)


_FILM_NUMBERS = ("seed", "cfg_scale", "motion_bucket_id")


def _number(text: Any) -> Any:
    """A form has texts alone; one that is no number stays as wrong as it is."""
    try:
        return float(text) if "." in text else int(text)
    except (ValueError, TypeError):
        return text


def _given(fields: Fields) -> tuple[bytes, tuple[int, int]]:
    """The picture that came along, small, and the size that it had."""
    content = fields.get("image")
    if content is None:
        return b"", (0, 0)
    if not isinstance(content, bytes) or len(content) > GIVEN_BYTES_MAX:
        raise fields.invalid("image", "type", "must be a file of at most 10 MiB")
    try:
        picture = small(content)
    except ValueError as error:
        raise fields.invalid("image", "value", str(error)) from None
    return picture, sides(content)


def _accepted(request: web.Request, medium: str) -> str:
    """How the caller wants the result."""
    accepted = request.headers.get("Accept", "*/*")
    if accepted in {"*/*", f"{medium}/*"}:
        return f"{medium}/*"
    if accepted == "application/json":
        return accepted
    raise InvalidFieldError("accept", "value", f"must be {medium}/* or application/json")


def _result(
    request: web.Request, content: bytes, medium: str, mime_type: str, finish: str, seed: int
) -> dict[str, Any]:
    if _accepted(request, medium) != "application/json":
        headers = {"finish-reason": finish, "seed": str(seed)}
        return {"body": content, "content_type": mime_type, "headers": headers}
    answer = {medium: base64.b64encode(content).decode(), "finish_reason": finish, "seed": seed}
    return {"body": json.dumps(answer).encode(), "content_type": "application/json", "headers": {}}
