"""ModelArk videos: `/ark/api/v3/contents/generations/tasks` (providers.md §1.2)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from aiohttp import web

from simulator.ark import Ark
from simulator.assets import Assets
from simulator.calls import Call, Calls, Job, Product
from simulator.clock import Clock
from simulator.faults import Plan
from simulator.fields import Fields, InvalidFieldError
from simulator.given import aspect, read_given
from simulator.latency import SUBMISSION, VIDEO_TASK
from simulator.models import ENDPOINT_PREFIX, VOLCENGINE_PREFIX, Size
from simulator.outside import Outside
from simulator.pictures import Recipe
from simulator.refusals import Refusal
from simulator.tasks import State, Task, Tasks

URL_SECONDS = 24 * 3600
KEPT_SECONDS = 7 * 24 * 3600
FRAMES_PER_SECOND = 24
PAGE_MAX = 500
SEED_MAX = 2**31 - 1
SIZES: Mapping[str, Mapping[str, Size]] = MappingProxyType(
    {
        "480p": {
            "16:9": (864, 480), "4:3": (736, 544), "1:1": (640, 640),
            "3:4": (544, 736), "9:16": (480, 864), "21:9": (960, 416),
        },
        "720p": {
            "16:9": (1248, 704), "4:3": (1120, 832), "1:1": (960, 960),
            "3:4": (832, 1120), "9:16": (704, 1248), "21:9": (1504, 640),
        },
        "1080p": {
            "16:9": (1920, 1088), "4:3": (1664, 1248), "1:1": (1440, 1440),
            "3:4": (1248, 1664), "9:16": (1088, 1920), "21:9": (2176, 928),
        },
    }
)  # fmt: skip
_KNOWN = frozenset(
    {
        "model", "content", "resolution", "ratio", "duration", "frames", "seed", "camera_fixed", "watermark",
        "generate_audio", "return_last_frame", "draft", "service_tier", "execution_expires_after", "priority",
        "callback_url", "safety_identifier", "tools", "omni_reference_task_type",
    }
)  # fmt: skip
_FLAG = re.compile(r"--(resolution|rs|ratio|rt|duration|dur|seed|watermark|wm|camerafixed|cf)\s+(\S+)")
_FLAG_FIELDS = {"rs": "resolution", "rt": "ratio", "dur": "duration", "wm": "watermark", "cf": "camera_fixed"}
_WORDS: dict[State, str] = {"waiting": "queued", "moderated": "failed"}
_FAILED = ("InternalServiceError", "The service met an internal error.")
_BLOCKED = ("OutputVideoSensitiveContentDetected", "The generated video may contain sensitive information.")


@dataclass(frozen=True, slots=True)
class VideoModel:
    """`seconds` are the shortest and the longest; `first`, `last` and `references` say what it can start from."""

    seconds: tuple[int, int]
    text: bool = True
    first: bool = True
    last: bool = True
    references: int = 0
    sound: bool = False
    resolutions: tuple[str, ...] = ("480p", "720p", "1080p")
    default_resolution: str = "720p"


VIDEO_MODELS: Mapping[str, VideoModel] = MappingProxyType(
    {
        "seedance-1-0-lite-t2v-250428": VideoModel((2, 12), first=False, last=False),
        "seedance-1-0-lite-i2v-250428": VideoModel((2, 12), text=False, references=4),
        "seedance-1-0-pro-250528": VideoModel((2, 12), default_resolution="1080p"),
        "seedance-1-0-pro-fast-251015": VideoModel((2, 12), last=False, default_resolution="1080p"),
        "seedance-1-5-pro-251215": VideoModel((4, 12), sound=True),
    }
)


class ArkVideos:
    def __init__(self, calls: Calls, tasks: Tasks, assets: Assets, outside: Outside, clock: Clock) -> None:
        self._calls, self._tasks, self._assets, self._outside, self._clock = calls, tasks, assets, outside, clock
        self._vendor = Ark(outside.fetch)

    def routes(self) -> list[web.RouteDef]:
        path = "/ark/api/v3/contents/generations/tasks"
        return [
            web.post(path, self.create),
            web.get(path, self.list),
            web.get(path + "/{id}", self.look),
            web.delete(path + "/{id}", self.remove),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        return await self._calls.serve(request, self._vendor, self._read)

    async def list(self, request: web.Request) -> web.StreamResponse:
        async def answer(_: Call) -> dict[str, Any]:
            query = request.query
            number, size = _page(query.get("page_num", "1")), _page(query.get("page_size", "10"))
            since = self._clock.now() - KEPT_SECONDS
            names, status, model = (
                query.getall("filter.task_ids", []),
                query.get("filter.status"),
                query.get("filter.model"),
            )
            found = self._tasks.listed(
                lambda task: (
                    task.id.startswith("cgt-")
                    and task.made_at > since
                    and (not names or task.id in names)
                    and (model is None or task.model == model)
                    and (status is None or self._word(self._tasks.state(task)) == status)
                )
            )
            shown = found[(number - 1) * size : number * size]
            return {"total": len(found), "items": [self._describe(task, self._tasks.state(task)) for task in shown]}

        return await self._calls.free(request, self._vendor, answer)

    async def look(self, request: web.Request) -> web.StreamResponse:
        async def answer(_: Call) -> dict[str, Any]:
            task = self._known(request)
            state = self._tasks.look(task)
            refused = self._tasks.due(task)
            if refused is not None:
                raise self._vendor.refusal(refused.value, task.model)
            return self._describe(task, state)

        return await self._calls.free(request, self._vendor, answer)

    async def remove(self, request: web.Request) -> web.StreamResponse:
        async def answer(_: Call) -> dict[str, Any]:
            task = self._known(request)
            state = self._tasks.state(task)
            if state in {"running", "cancelled"}:
                raise Refusal(400, "InvalidParameter", f"A {state} task cannot be deleted.", "id", "BadRequest")
            if state == "waiting":
                self._tasks.cancel(task)
            else:
                self._tasks.forget(task)
            return {}

        return await self._calls.free(request, self._vendor, answer)

    def _known(self, request: web.Request) -> Task:
        task = self._tasks.find(request.match_info["id"])
        if task is None or task.made_at < self._clock.now() - KEPT_SECONDS:
            raise Refusal(404, "ResourceNotFound", "The task does not exist.", "id", "NotFound")
        return task

    async def _read(self, call: Call) -> Job:
        fields = Fields(call.json(), _KNOWN)
        name = fields.required_text("model", 200)
        model = _find(name)
        if model is None:
            raise self._vendor.refusal("404", name)
        call.prompt, images = _content(fields)
        asked = await self._asked(fields, model, call.prompt, images)
        callback_url = fields.text("callback_url", "", 2000)
        if callback_url and not callback_url.startswith(("http://", "https://")):
            raise fields.invalid("callback_url", "value", "must be an http(s) URL")

        async def make(call: Call, plan: Plan) -> Product:
            now = datetime.fromtimestamp(self._clock.now(), UTC)
            task = self._tasks.add(
                f"cgt-{now:%Y%m%d%H%M%S}-{uuid4().hex[:5]}",
                model=name,
                prompt=call.prompt,
                asked=asked,
                plan=plan,
                spread=VIDEO_TASK,
                host=call.host,
                expires_after_seconds=asked["execution_expires_after"],
            )
            if callback_url:
                word = lambda task: self._describe(task, self._tasks.state(task))  # noqa: E731
                self._outside.follow(task, callback_url, word)
            return Product(json.dumps({"id": task.id}).encode(), task.billed, noted=task.noted)

        return Job(name, call.prompt, SUBMISSION, make, deferred=True)

    async def _asked(self, fields: Fields, model: VideoModel, prompt: str, images: dict[str, str]) -> dict[str, Any]:
        """What the request decides, flags in the prompt before fields."""
        flags = {_FLAG_FIELDS.get(flag, flag): value for flag, value in _FLAG.findall(prompt)}
        _check_roles(fields, model, images)
        given = {}
        for role, value in images.items():
            try:
                given[role] = await read_given(value, self._outside.fetch)
            except ValueError as error:
                raise fields.invalid("content.image_url", "value", str(error)) from None
        low, high = model.seconds
        seconds = fields.whole("duration", low, high, 5)
        if flags.get("duration", "").isdigit():
            seconds = max(low, min(high, int(flags["duration"])))
        if not model.sound:
            fields.refuse("generate_audio", "draft", reason="is not supported by this model")
        fields.refuse("frames", "tools", "omni_reference_task_type", reason="is not supported by this model")
        resolution = fields.choice("resolution", model.resolutions, model.default_resolution)
        ratio = fields.choice("ratio", (*SIZES["480p"], "adaptive"), "adaptive" if images else "16:9")
        resolution = flags["resolution"] if flags.get("resolution") in SIZES else resolution
        ratio = flags["ratio"] if flags.get("ratio") in SIZES[resolution] else ratio
        if ratio == "adaptive":
            ratio = _closest(resolution, aspect(next(iter(given.values())))) if given else "16:9"
        width, height = SIZES[resolution][ratio]
        fields.whole("priority", 0, 9, 0)
        fields.text("safety_identifier", "", 64)
        return {
            "resolution": resolution,
            "ratio": ratio,
            "duration": seconds,
            "seed": fields.whole("seed", -1, SEED_MAX, -1),
            "camera_fixed": fields.flag("camera_fixed", default=False),
            "watermark": fields.flag("watermark", default=False),
            "generate_audio": fields.flag("generate_audio", default=True) and model.sound,
            "return_last_frame": fields.flag("return_last_frame", default=False),
            "draft": fields.flag("draft", default=False),
            "service_tier": fields.choice("service_tier", ("default", "flex"), "default"),
            "execution_expires_after": fields.whole("execution_expires_after", 3600, 259_200, 172_800),
            "size": (width, height),
            "given": given.get("first_frame") or next(iter(given.values()), b""),
        }

    def _describe(self, task: Task, state: State) -> dict[str, Any]:
        asked = task.asked
        echoed = ("seed", "resolution", "ratio", "duration", "service_tier", "execution_expires_after", "draft")
        body: dict[str, Any] = {
            "id": task.id,
            "model": task.model,
            "status": self._word(state),
            "created_at": int(task.made_at),
            "updated_at": int(self._tasks.ended_at(task)),
            "framespersecond": FRAMES_PER_SECOND,
            "generate_audio": asked["generate_audio"],
        } | {name: asked[name] for name in echoed}
        if "task-word" in task.wishes:
            return body | {"status": task.wishes["task-word"].value}
        if state in {"failed", "moderated"}:
            code, message = _BLOCKED if state == "moderated" else _FAILED
            return body | {"error": {"code": code, "message": f"{message} Request id: {uuid4().hex}"}}
        if state == "succeeded":
            width, height = asked["size"]
            tokens = asked["duration"] * width * height * FRAMES_PER_SECOND // 1024
            body["usage"] = {"completion_tokens": tokens, "total_tokens": tokens}
            body["content"] = {} if "task-no-url" in task.wishes else self._content_of(task)
        return body

    def _content_of(self, task: Task) -> dict[str, str]:
        if not task.kept:
            asked, (width, height) = task.asked, task.asked["size"]
            recipe = Recipe(
                task.prompt, width, height, 0, asked["seed"], "mp4", given=asked["given"], seconds=asked["duration"],
                sound=asked["generate_audio"], watermark=asked["watermark"],
            )  # fmt: skip
            task.kept["video_url"] = self._assets.publish(task.host, recipe, URL_SECONDS, task.asset)
            if asked["return_last_frame"]:
                frame = Recipe(
                    task.prompt, width, height, 0, asked["seed"], "png", given=asked["given"],
                    seconds=asked["duration"], poster=True,
                )  # fmt: skip
                task.kept["last_frame_url"] = self._assets.publish(task.host, frame, URL_SECONDS, None)
        return task.kept

    def _word(self, state: State) -> str:
        return _WORDS.get(state, state)


def _find(name: str) -> VideoModel | None:
    if name.startswith(ENDPOINT_PREFIX):
        return VIDEO_MODELS["seedance-1-0-pro-250528"]
    return VIDEO_MODELS.get(name.removeprefix(VOLCENGINE_PREFIX))


def _content(fields: Fields) -> tuple[str, dict[str, str]]:
    """The text, and each image by its role."""
    parts = fields.get("content")
    if not isinstance(parts, list) or not parts:
        raise fields.invalid("content", "missing" if parts is None else "type", "must be a list of at least one part")
    text, images = "", dict[str, str]()
    for part in parts:
        if not isinstance(part, dict):
            raise fields.invalid("content", "type", "must be a list of objects")
        kind = part.get("type")
        if kind == "text":
            text = Fields(part, {"type", "text"}, "content.").required_text("text", 10_000)
        elif kind == "image_url":
            piece = Fields(part, {"type", "image_url", "role"}, "content.")
            address = piece.part("image_url", {"url"}).required_text("url", 50_000_000)
            role = piece.choice("role", ("first_frame", "last_frame", "reference_image"), "first_frame")
            name = f"{role}-{len(images)}" if role == "reference_image" else role
            if name in images:
                raise piece.invalid("role", "value", f"{role} was given twice")
            images[name] = address
        else:
            raise fields.invalid("content.type", "value", "must be text or image_url")
    return text, images


def _check_roles(fields: Fields, model: VideoModel, images: Mapping[str, str]) -> None:
    references = sum(role.startswith("reference") for role in images)
    frames = len(images) - references
    wrong = (
        (not images and not model.text)
        or ("first_frame" in images and not model.first)
        or ("last_frame" in images and (not model.last or "first_frame" not in images))
        or references > model.references
        or (references and frames)
    )
    if wrong:
        raise fields.invalid("content", "value", "holds images that this model cannot start from")


def _closest(resolution: str, wanted: float) -> str:
    sizes = SIZES[resolution]
    return min(sizes, key=lambda ratio: abs(sizes[ratio][0] / sizes[ratio][1] - wanted))


def _page(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= PAGE_MAX:
        raise InvalidFieldError("page_num", "value", f"must lie between 1 and {PAGE_MAX}")
    return int(text)
