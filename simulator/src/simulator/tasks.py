"""Work that a vendor takes now and delivers later, as every task vendor keeps it: waiting, running, ended.

Nothing runs: how a task stands follows from the clock, so that a thousand of them cost nothing and a day passes by an
admin call.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from simulator.clock import Clock
from simulator.faults import Plan, Wish
from simulator.journal import Entry, Journal
from simulator.latency import Latency, Spread

TASKS_MAX = 50_000
WAITING_SHARE = 0.2
"""How much of a task's time it spends in the queue."""
UNBILLED = frozenset({"task-failed", "task-moderated", "task-expired", "task-stuck", "task-forgotten"})

State = Literal["waiting", "running", "succeeded", "failed", "moderated", "cancelled", "expired"]
FINAL = frozenset({"succeeded", "failed", "moderated", "cancelled", "expired"})


@dataclass(slots=True)
class Task:
    """One task. `asked` is what its vendor has to remember of the request; times are of the clock."""

    id: str
    model: str
    prompt: str
    asked: Mapping[str, Any]
    made_at: float
    starts_at: float
    ends_at: float
    expires_at: float
    wishes: dict[str, Wish]
    asset: Wish | None
    host: str
    cancelled_at: float | None = None
    looks: int = 0
    sequence: int = 0
    address: str = ""
    """Where its result is, once somebody has looked."""
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def billed(self) -> int:
        return 0 if UNBILLED & set(self.wishes) else 1

    def noted(self, entry: Entry) -> None:
        self.sequence = entry.sequence


class Tasks:
    """Knows the latest `TASKS_MAX`."""

    def __init__(self, clock: Clock, latency: Latency, journal: Journal) -> None:
        self._clock, self._latency, self._journal = clock, latency, journal
        self._tasks: OrderedDict[str, Task] = OrderedDict()

    def add(
        self,
        name: str,
        *,
        model: str,
        prompt: str,
        asked: Mapping[str, Any],
        plan: Plan,
        spread: Spread,
        host: str,
        expires_after_seconds: float = 172_800,
    ) -> Task:
        seconds = plan.latency_seconds
        if seconds is None:
            seconds = self._latency.seconds(spread)
        now = self._clock.now()
        task = Task(
            id=name,
            model=model,
            prompt=prompt,
            asked=asked,
            made_at=now,
            starts_at=now + seconds * WAITING_SHARE,
            ends_at=now + seconds,
            expires_at=now + expires_after_seconds,
            wishes=plan.tasks,
            asset=plan.asset,
            host=host,
        )
        self._tasks[name] = task
        if len(self._tasks) > TASKS_MAX:
            self._tasks.popitem(last=False)
        return task

    def find(self, name: str) -> Task | None:
        task = self._tasks.get(name)
        return None if task is None or "task-forgotten" in task.wishes else task

    def listed(self, keep: Callable[[Task], bool]) -> list[Task]:
        """The newest first."""
        return [task for task in reversed(self._tasks.values()) if keep(task)]

    def forget(self, task: Task) -> None:
        self._tasks.pop(task.id, None)

    def look(self, task: Task) -> State:
        """How it stands for somebody who asks, which may not be how it stands."""
        task.looks += 1
        state = self.state(task)
        if state == "succeeded" and "task-backwards" in task.wishes and task.looks % 2 == 0:
            return "waiting"
        return state

    def state(self, task: Task) -> State:
        now = self._clock.now()
        if task.cancelled_at is not None:
            return "cancelled"
        held = {"task-stuck", "task-expired"} & set(task.wishes)
        if held:
            if now >= task.expires_at:
                return "expired"
            return "running" if "task-stuck" in held and now >= task.starts_at else "waiting"
        if now < task.ends_at:
            return "waiting" if now < task.starts_at else "running"
        if "task-failed" in task.wishes:
            return "failed"
        return "moderated" if "task-moderated" in task.wishes else "succeeded"

    def due(self, task: Task) -> Wish | None:
        """How this look is refused, if it is."""
        wish = task.wishes.get("look-refused")
        return None if wish is None or (wish.times is not None and task.looks > wish.times) else wish

    def percent(self, task: Task) -> int:
        if self.state(task) in FINAL:
            return 100
        whole = task.ends_at - task.starts_at
        share = (self._clock.now() - task.starts_at) / whole if whole > 0 else 0.0
        return max(0, min(99, int(share * 100)))

    def ended_at(self, task: Task) -> float:
        """When it last moved."""
        state = self.state(task)
        if state == "expired":
            return task.expires_at
        times = {"waiting": task.made_at, "running": task.starts_at, "cancelled": task.cancelled_at or 0.0}
        return times.get(state, task.ends_at)

    def cancel(self, task: Task) -> None:
        """Nothing is taken for it."""
        task.cancelled_at = self._clock.now()
        self._journal.unbill(task.sequence)
