"""What the endpoints of a vendor work with, and what vendors of tasks do alike."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Protocol

from aiohttp import web

from simulator.assets import Assets
from simulator.calls import Call, Calls, Vendor
from simulator.clock import Clock
from simulator.faults import Faults, Plan
from simulator.fields import Fields
from simulator.given import read_given
from simulator.outside import Outside
from simulator.pictures import Gallery, Recipe
from simulator.refusals import Refusal
from simulator.tasks import State, Task, Tasks

GIVEN_CHARACTERS_MAX = 50_000_000


class TaskVendor(Vendor, Protocol):
    """A vendor that can be asked for a task."""

    def missing(self) -> Refusal:
        """It does not know this task, or no longer."""


def plain(fault: str) -> str:
    """The refusal that a fault comes to, for a vendor's table of refusals."""
    return "moderated" if fault == "fail-every" else "429" if fault.startswith("429") else fault


@dataclass(frozen=True, slots=True)
class Desk:
    """Every part of the simulator that a vendor may need."""

    calls: Calls
    tasks: Tasks
    assets: Assets
    outside: Outside
    gallery: Gallery
    clock: Clock
    faults: Faults
    variants: int

    def known(self, vendor: TaskVendor, name: str, kept_seconds: float) -> Task:
        """Raises Refusal for a task that was never there, or is kept no longer."""
        task = self.tasks.find(name)
        if task is None or self.tasks.ended_at(task) < self.clock.now() - kept_seconds:
            raise vendor.missing()
        return task

    def look(self, vendor: TaskVendor, name: str, kept_seconds: float) -> tuple[Task, State]:
        """A task and how it stands for this look. Raises Refusal."""
        task = self.known(vendor, name, kept_seconds)
        state = self.tasks.look(task)
        refused = self.tasks.due(task)
        if refused is not None:
            raise vendor.refusal(refused.value, task.model)
        return task, state

    def stop(self, task: Task) -> None:
        """What waits costs nothing; what began to run is charged."""
        if self.tasks.state(task) == "waiting":
            self.tasks.cancel(task)
        else:
            task.cancelled_at = self.clock.now()

    def address(self, task: Task, recipe: Recipe, seconds: int) -> str:
        """Where a task's output is; the same at every look, until it expires."""
        key = f"output {recipe.index}"
        if key not in task.kept:
            task.kept[key] = self.assets.publish(task.host, recipe, seconds, task.asset)
        found: str = task.kept[key]
        return found

    async def content(self, recipe: Recipe, plan: Plan | Task) -> bytes:
        """An output's bytes, with the flaw that was wished for."""
        wish = plan.asset
        flaw = wish.fault.name if wish is not None and wish.fault.stage == "content" else ""
        return await self.gallery.picture(replace(recipe, flaw=flaw))

    def variant(self, call: Call, shape: str) -> int:
        """Which of the pictures that exist for an unseeded request this call gets."""
        return self.faults.count(f"{call.model}|{shape}|{call.prompt}", "variant") % self.variants

    async def given(self, fields: Fields, name: str, inside: Any = None) -> bytes:
        """A picture in a field, from its address or data URI; empty where there is none."""
        value = fields.get(name) if inside is None else inside
        if value is None:
            return b""
        if not isinstance(value, str) or len(value) > GIVEN_CHARACTERS_MAX:
            raise fields.invalid(name, "type", "must be an address or a data URI")
        try:
            return await read_given(value, self.outside.fetch)
        except ValueError as error:
            raise fields.invalid(name, "value", str(error)) from None


def shaped(ratio: str, short_pixels: int) -> tuple[int, int]:
    """The even size of a ratio, `16:9` or `1280:720`, whose shorter side is about so long."""
    width, _, height = ratio.partition(":")
    scale = short_pixels / min(int(width), int(height))
    return round(int(width) * scale / 16) * 16, round(int(height) * scale / 16) * 16


def header_key(name: str, scheme: str = "") -> Callable[[web.Request, Vendor], str]:
    """Reads the API key from a header of the vendor's own, after a scheme where there is one."""

    def key(request: web.Request, vendor: Vendor) -> str:
        value = request.headers.get(name, "").removeprefix(scheme).strip()
        if not value or not request.headers[name].startswith(scheme):
            raise vendor.refusal("401", "")
        return value

    return key


def blocked(plan: Plan) -> Collection[int]:
    """Which items of an answer were wished away, counted from 1."""
    wishes = [wish for wish in plan.items if wish.fault.name == "partial"]
    return {int(part) for wish in wishes for part in wish.value.split("+") if part.isdigit()}
