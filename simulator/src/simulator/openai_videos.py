"""OpenAI videos: `/openai/v1/videos` (providers.md §2), retired by the vendor and played as it was."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from aiohttp import web

from simulator.calls import Call, Calls, Job, Product
from simulator.faults import Plan
from simulator.fields import Fields
from simulator.given import small
from simulator.latency import SUBMISSION, VIDEO_TASK
from simulator.models import read_size
from simulator.openai_words import OpenAIWords
from simulator.pictures import Gallery, Recipe
from simulator.refusals import Refusal
from simulator.tasks import FINAL, State, Task, Tasks

KEPT_SECONDS = 3600
MODELS = {
    "sora-2": ("720x1280", "1280x720"),
    "sora-2-pro": ("720x1280", "1280x720", "1024x1792", "1792x1024"),
}
_WORDS: dict[State, str] = {
    "waiting": "queued", "running": "in_progress", "succeeded": "completed", "moderated": "failed", "expired": "failed",
}  # fmt: skip
_PAGE_MAX = 100


class OpenAIVideos(OpenAIWords):
    def __init__(self, calls: Calls, tasks: Tasks, gallery: Gallery) -> None:
        super().__init__()
        self._calls, self._tasks, self._gallery = calls, tasks, gallery

    def routes(self) -> list[web.RouteDef]:
        path = "/openai/v1/videos"
        return [
            web.post(path, self.create),
            web.get(path, self.list),
            web.get(path + "/{id}", self.look),
            web.delete(path + "/{id}", self.remove),
            web.get(path + "/{id}/content", self.content),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        return await self._calls.serve(request, self, self._read)

    async def list(self, request: web.Request) -> web.StreamResponse:
        async def answer(_: Call) -> dict[str, Any]:
            limit = request.query.get("limit", "20")
            if not limit.isdigit() or not 1 <= int(limit) <= _PAGE_MAX:
                raise Refusal(400, "invalid_value", "Invalid value for 'limit'.", "limit", "invalid_request_error")
            found = self._tasks.listed(lambda task: task.id.startswith("video_"))
            shown = found[: int(limit)]
            data = [self._describe(task, self._tasks.state(task)) for task in shown]
            return {"object": "list", "data": data, "has_more": len(found) > len(shown)}

        return await self._calls.free(request, self, answer)

    async def look(self, request: web.Request) -> web.StreamResponse:
        async def answer(_: Call) -> dict[str, Any]:
            task = self._known(request)
            state = self._tasks.look(task)
            refused = self._tasks.due(task)
            if refused is not None:
                raise self.refusal(refused.value, task.model)
            return self._describe(task, state)

        return await self._calls.free(request, self, answer)

    async def remove(self, request: web.Request) -> web.StreamResponse:
        async def answer(_: Call) -> dict[str, Any]:
            task = self._known(request)
            if self._tasks.state(task) not in FINAL:
                raise Refusal(400, "invalid_request", "The video is not done yet.", "id", "invalid_request_error")
            self._tasks.forget(task)
            return {"id": task.id, "object": "video.deleted", "deleted": True}

        return await self._calls.free(request, self, answer)

    async def content(self, request: web.Request) -> web.StreamResponse:
        async def answer(_: Call) -> web.StreamResponse:
            task = self._known(request)
            if self._tasks.state(task) != "succeeded" or "task-no-url" in task.wishes:
                raise Refusal(404, "not_found", "There is no content.", "id", "invalid_request_error")
            return web.Response(body=await self._gallery.picture(task.asked["recipe"]), content_type="video/mp4")

        return await self._calls.free(request, self, answer)

    def _known(self, request: web.Request) -> Task:
        task = self._tasks.find(request.match_info["id"])
        if task is None:
            raise Refusal(404, "not_found", "The video does not exist.", "id", "invalid_request_error")
        return task

    async def _read(self, call: Call) -> Job:
        form = await call.form()
        pictures = form.pop("input_reference")
        fields = Fields(form.values(), {"prompt", "model", "seconds", "size"})
        name = call.model = fields.text("model", "sora-2")
        prompt = call.prompt = fields.required_text("prompt", 32_000)
        if name not in MODELS:
            raise self.refusal("404", name)
        seconds = fields.choice("seconds", ("4", "8", "12"), "4")
        size = read_size(fields.choice("size", MODELS[name], "720x1280"))
        if size is None or len(pictures) > 1:
            raise fields.invalid("input_reference", "value", "must be one picture")
        try:
            given = small(pictures[0]) if pictures else b""
        except ValueError as error:
            raise fields.invalid("input_reference", "value", str(error)) from None

        async def make(call: Call, plan: Plan) -> Product:
            flaw = plan.asset.fault.name if plan.asset and plan.asset.fault.stage == "content" else ""
            recipe = Recipe(prompt, *size, 0, 0, "mp4", seconds=int(seconds), sound=True, given=given, flaw=flaw)
            task = self._tasks.add(
                f"video_{uuid4().hex}",
                model=name,
                prompt=prompt,
                asked={"recipe": recipe, "seconds": seconds, "size": f"{size[0]}x{size[1]}"},
                plan=plan,
                spread=VIDEO_TASK,
                host=call.host,
            )
            body = json.dumps(self._describe(task, "waiting")).encode()
            return Product(body, task.billed, noted=task.noted)

        return Job(name, prompt, SUBMISSION, make, deferred=True)

    def _describe(self, task: Task, state: State) -> dict[str, Any]:
        blocked = state == "moderated"
        status = task.wishes["task-word"].value if "task-word" in task.wishes else _WORDS.get(state, state)
        error = None
        if status == "failed":
            code = "moderation_blocked" if blocked else "video_generation_failed"
            error = {"code": code, "message": f"The video could not be made: request id {uuid4().hex}."}
        done = status == "completed"
        return {
            "id": task.id,
            "object": "video",
            "model": task.model,
            "status": status,
            "progress": 100 if done else self._tasks.percent(task) if status == "in_progress" else 0,
            "created_at": int(task.made_at),
            "completed_at": int(task.ends_at) if done else None,
            "expires_at": int(task.ends_at) + KEPT_SECONDS if done else None,
            "seconds": task.asked["seconds"],
            "size": task.asked["size"],
            "prompt": task.prompt,
            "remixed_from_video_id": None,
            "error": error,
        }
