"""fal's queue under `/fal`: submit, status, result, cancel, and webhooks signed with Ed25519.

What is wrong with a request is found when it runs, as in the real one: the task completes, and its result is a 422.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from simulator.calls import Answer, Call, Job, Product
from simulator.desk import Desk, blocked, header_key, plain, shaped
from simulator.faults import Plan
from simulator.fields import Fields, InvalidFieldError
from simulator.latency import SUBMISSION, Spread
from simulator.pictures import CONTENT_TYPES, Recipe
from simulator.refusals import Refusal
from simulator.tasks import FINAL, State, Task

KEPT_SECONDS = 30 * 24 * 3600
URL_SECONDS = 365 * 24 * 3600
QUEUE_LENGTH = 5
SIDE_MAX = 14_142
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "square_hd": (1024, 1024), "square": (512, 512), "portrait_4_3": (768, 1024), "portrait_16_9": (576, 1024),
        "landscape_4_3": (1024, 768), "landscape_16_9": (1024, 576),
    }
)  # fmt: skip
_PICTURE = frozenset(
    {
        "prompt", "image_size", "num_images", "num_inference_steps", "seed", "guidance_scale", "sync_mode",
        "enable_safety_checker", "output_format", "acceleration",
    }
)  # fmt: skip
_FILM = frozenset({"prompt", "duration", "aspect_ratio", "negative_prompt"})
_RATIOS = ("16:9", "9:16", "1:1")
_BLOCKED = "The content could not be processed because it contained material flagged by a content checker."


@dataclass(frozen=True, slots=True)
class App:
    """`durations` are what a film may last, as the app writes them; none for pictures. `given` needs an image."""

    known: frozenset[str]
    spread: Spread
    durations: tuple[str, ...] | tuple[int, ...] = ()
    ratios: tuple[str, ...] = _RATIOS
    steps_max: int = 50
    given: bool = False


_KLING = App(_FILM | {"cfg_scale"}, Spread(60, 240), ("5", "10"))
_KLING_GIVEN = App(_FILM | {"cfg_scale", "image_url", "tail_image_url"}, Spread(60, 240), ("5", "10"), given=True)
_PIKA = App(_FILM | {"seed", "resolution"}, Spread(30, 120), (5, 10), (*_RATIOS, "4:5", "5:4", "3:2", "2:3"))
APPS: Mapping[str, App] = MappingProxyType(
    {
        "fal-ai/flux/schnell": App(_PICTURE, Spread(0.5, 3), steps_max=12),
        "fal-ai/flux/dev": App(_PICTURE, Spread(3, 10)),
        "fal-ai/flux/dev/image-to-image": App(_PICTURE | {"image_url", "strength"}, Spread(3, 10), given=True),
        "fal-ai/kling-video/v2.1/master/text-to-video": _KLING,
        "fal-ai/kling-video/v2.1/master/image-to-video": _KLING_GIVEN,
        "fal-ai/pika/v2.2/text-to-video": _PIKA,
        "fal-ai/pika/v2.2/image-to-video": App(
            _FILM - {"aspect_ratio"} | {"seed", "resolution", "image_url"}, Spread(30, 120), (5, 10), given=True
        ),
    }
)  # fmt: skip
_REFUSALS: dict[str, tuple[int, str, str]] = {
    "401": (401, "", "Cannot access application. Authentication is required to access this application."),
    "403": (403, "", "Cannot access application. Access denied."),
    "404": (404, "", "Application '{model}' not found"),
    "413": (413, "", "Request body too large"),
    "422": (422, "value_error", "Unprocessable input"),
    "moderated": (422, "content_policy_violation", _BLOCKED),
    "moderated-output": (422, "content_policy_violation", _BLOCKED),
    "429": (429, "", "Too many requests"),
    "quota": (403, "", "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."),
    "500": (500, "internal_error", "Internal server error"),
    "502": (502, "", "Bad gateway"),
    "503": (503, "runner_connection_error", "No runner available"),
    "504": (504, "request_timeout", "Request timed out"),
}
_key = header_key("Authorization", "Key ")


class Fal:
    provider = "fal"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._signing = Ed25519PrivateKey.generate()

    def routes(self) -> list[web.RouteDef]:
        request = "/fal/{owner}/{app}/requests/{id}"
        return [
            web.get("/fal/.well-known/jwks.json", self.keys),
            web.get(request + "/status", self.status),
            web.get(request, self.result),
            web.put(request + "/cancel", self.cancel),
            web.post("/fal/{path:.+}", self.submit),
        ]

    async def submit(self, request: web.Request) -> web.StreamResponse:
        return await self._desk.calls.serve(request, self, self._read, _key)

    async def status(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            task, state = self._desk.look(self, request.match_info["id"], KEPT_SECONDS)
            body = self._status(task, state, logs=request.query.get("logs") in {"1", "true"})
            return web.json_response(body, status=200 if body["status"] == "COMPLETED" else 202)

        return await self._desk.calls.free(request, self, answer, _key)

    async def result(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            task = self._desk.known(self, request.match_info["id"], KEPT_SECONDS)
            state = self._desk.tasks.state(task)
            if state not in FINAL:
                raise Refusal(400, "", "Request is still in progress")
            if problem := self._problem(task, state):
                return web.json_response(problem[1], status=problem[0], headers={"X-Fal-Retryable": "false"})
            return web.json_response(self._payload(task))

        return await self._desk.calls.free(request, self, answer, _key)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            task = self._desk.known(self, request.match_info["id"], KEPT_SECONDS)
            if self._desk.tasks.state(task) in FINAL:
                return web.json_response({"status": "ALREADY_COMPLETED"}, status=400)
            self._desk.stop(task)
            return web.json_response({"status": "CANCELLATION_REQUESTED"}, status=202)

        return await self._desk.calls.free(request, self, answer, _key)

    async def keys(self, _: web.Request) -> web.StreamResponse:
        public = self._signing.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        x = base64.urlsafe_b64encode(public).decode().rstrip("=")
        return web.json_response({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "1", "x": x}]})

    def invalid(self, error: InvalidFieldError) -> Refusal:
        kinds = {"missing": "missing", "unknown": "extra_forbidden"}
        return Refusal(422, kinds.get(error.kind, "value_error"), error.reason, error.field)

    def refusal(self, fault: str, model: str) -> Refusal:
        status, code, message = _REFUSALS[plain(fault)]
        return Refusal(status, code, message.format(model=model), "prompt" if status == 422 else None)

    def missing(self) -> Refusal:
        return Refusal(404, "", "Request not found")

    def error(self, refusal: Refusal, request_id: str) -> dict[str, Any]:
        """A model's word is a list; the infrastructure's is a sentence with a type beside it."""
        if refusal.param is not None:
            where = ["body", refusal.param]
            return {"detail": [{"loc": where, "msg": refusal.message, "type": refusal.code, "input": {}}]}
        detail = {"detail": refusal.message}
        return detail | {"error_type": refusal.code} if refusal.code else detail

    def headers(self, request_id: str, seconds: float) -> dict[str, str]:
        return {"x-fal-request-id": request_id}

    async def _read(self, call: Call) -> Job:
        body = call.json()
        call.model = call.request.match_info["path"]
        app = APPS.get(call.model)
        if app is None:
            raise self.refusal("404", call.model)
        webhook = call.request.query.get("fal_webhook", "")
        if webhook and not webhook.startswith(("http://", "https://")):
            raise InvalidFieldError("fal_webhook", "value", "must be an http(s) URL")
        problem: InvalidFieldError | None = None
        asked: dict[str, Any] = {}
        try:
            asked = await self._asked(Fields(body, app.known), app)
        except InvalidFieldError as error:
            problem = error

        async def make(call: Call, plan: Plan) -> Product:
            name = str(uuid4())
            task = self._desk.tasks.add(
                name, model=call.model, prompt=call.prompt, asked=asked, plan=plan, spread=app.spread, host=call.host
            )
            task.kept |= {"problem": problem, "blocked": blocked(plan)}
            task.kept["variant"] = self._desk.variant(call, str(asked.get("size")))
            if webhook:
                self._desk.outside.follow(task, webhook, self._word, lambda raw: self._signature(name, raw))
            billed = 0 if problem is not None or not task.billed else asked["count"]
            taken: dict[str, Any] = {**self._addresses(task), "request_id": name, "gateway_request_id": name}
            taken |= {"status": "IN_QUEUE", "queue_position": 0}
            return Product(json.dumps(taken).encode(), billed, noted=task.noted)

        return Job(call.model, call.prompt, SUBMISSION, make, deferred=True)

    async def _asked(self, fields: Fields, app: App) -> dict[str, Any]:
        fields.required_text("prompt", 10_000)
        given = await self._desk.given(fields, "image_url")
        if app.given and not given:
            raise fields.invalid("image_url", "missing", "is required")
        seed = fields.whole("seed", 0, 2**32 - 1, 0)
        if app.durations:
            duration = fields.get("duration")
            if duration is not None and duration not in app.durations:
                raise fields.invalid("duration", "value", f"must be one of {app.durations}")
            ratio = fields.choice("aspect_ratio", app.ratios, "16:9")
            resolution = fields.choice("resolution", ("480p", "720p", "1080p"), "720p")
            size = shaped(ratio, int(resolution[:-1]))
            seconds = int(duration or app.durations[0])
            return {"size": size, "count": 1, "seconds": seconds, "seed": seed, "given": given, "format": "mp4"}
        fields.whole("num_inference_steps", 1, app.steps_max, 4)
        fields.number("guidance_scale", 1, 20, 3.5)
        fields.flag("sync_mode", default=False)
        fields.flag("enable_safety_checker", default=True)
        fields.choice("acceleration", ("none", "regular", "high"), "none")
        return {
            "size": _size(fields),
            "count": fields.whole("num_images", 1, 4, 1),
            "seconds": 0,
            "seed": seed,
            "given": given,
            "format": fields.choice("output_format", ("jpeg", "png"), "jpeg"),
        }

    def _status(self, task: Task, state: State, *, logs: bool) -> dict[str, Any]:
        body = {"request_id": task.id, **self._addresses(task)}
        if "task-word" in task.wishes:
            return body | {"status": task.wishes["task-word"].value}
        if state == "waiting":
            return body | {"status": "IN_QUEUE", "queue_position": max(0, QUEUE_LENGTH - task.looks)}
        lines = [{"message": "working", "level": "INFO", "source": "USER"}] if logs else None
        if state == "running":
            return body | {"status": "IN_PROGRESS", "logs": lines}
        seconds = task.ends_at - task.starts_at
        return body | {"status": "COMPLETED", "logs": lines, "metrics": {"inference_time": seconds}}

    def _problem(self, task: Task, state: State) -> tuple[int, dict[str, Any]] | None:
        """The status and the body of a result that is none."""
        if task.kept["problem"] is not None:
            refusal = self.invalid(task.kept["problem"])
        elif state == "moderated":
            refusal = self.refusal("moderated-output", task.model)
        elif state == "failed":
            refusal = Refusal(500, "internal_error", "The runner failed.", "prompt")
        elif state == "expired":
            refusal = Refusal(504, "request_timeout", "The request was not started in time.")
        elif state == "cancelled":
            refusal = Refusal(400, "client_cancelled", "The request was cancelled.")
        else:
            return None
        return refusal.status, self.error(refusal, task.id)

    def _payload(self, task: Task) -> dict[str, Any]:
        asked, (width, height) = task.asked, task.asked["size"]
        seed = asked["seed"] or task.kept["variant"] + 1
        if "task-no-url" in task.wishes:
            return {"video": None} if asked["seconds"] else {"images": [], "seed": seed}
        files = []
        for index in range(asked["count"]):
            recipe = Recipe(
                task.prompt, width, height, index, seed, asked["format"], given=asked["given"],
                seconds=asked["seconds"],
            )  # fmt: skip
            url = self._desk.address(task, recipe, URL_SECONDS)
            files.append({"url": url, "content_type": CONTENT_TYPES[asked["format"]]})
        if asked["seconds"]:
            return {"video": files[0] | {"file_name": "output.mp4", "file_size": None}}
        flags = [number in task.kept["blocked"] for number in range(1, len(files) + 1)]
        images = [file | {"width": width, "height": height} for file in files]
        return {"images": images, "seed": seed, "has_nsfw_concepts": flags, "prompt": task.prompt, "timings": {}}

    def _addresses(self, task: Task) -> dict[str, str]:
        """Below the app, without the path that was submitted to."""
        owner, app, *_ = task.model.split("/")
        request = f"{task.host}/fal/{owner}/{app}/requests/{task.id}"
        return {"response_url": request, "status_url": f"{request}/status", "cancel_url": f"{request}/cancel"}

    def _word(self, task: Task) -> Mapping[str, Any] | None:
        state = self._desk.tasks.state(task)
        if state not in FINAL:
            return None
        said = {"request_id": task.id, "gateway_request_id": task.id}
        problem = self._problem(task, state)
        if problem is not None:
            status, body = problem
            return said | {"status": "ERROR", "error": f"Invalid status code: {status}", "payload": body}
        return said | {"status": "OK", "payload": self._payload(task), "error": None}

    def _signature(self, name: str, raw: bytes) -> Mapping[str, str]:
        user, moment = "simulated-user", str(int(self._desk.clock.now()))
        message = "\n".join((name, user, moment, hashlib.sha256(raw).hexdigest())).encode()
        return {
            "X-Fal-Webhook-Request-Id": name,
            "X-Fal-Webhook-User-Id": user,
            "X-Fal-Webhook-Timestamp": moment,
            "X-Fal-Webhook-Signature": self._signing.sign(message).hex(),
        }


def _size(fields: Fields) -> tuple[int, int]:
    value = fields.get("image_size")
    if isinstance(value, dict):
        inside = fields.part("image_size", {"width", "height"})
        return inside.whole("width", 64, SIDE_MAX, 512), inside.whole("height", 64, SIDE_MAX, 512)
    return SIZES[fields.choice("image_size", tuple(SIZES), "landscape_4_3")]
