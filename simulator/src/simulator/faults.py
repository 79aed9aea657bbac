"""Every fault the simulator can play, how one is asked for, and which one a call meets.

A fault is written `name`, `name=value`, `namexN` (only the first N times) or `namexN=value`; several are joined by
commas. It is asked for in the prompt (`[[sim:429x2]]`), by the end of the API key (`sk-sim-429x2`) or through the
admin queue. The first of queue, prompt and key that says anything decides alone.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Stage = Literal["refusal", "answer", "item", "time", "asset", "content", "task", "judgement"]

COUNTERS_MAX = 50_000
QUEUED_OUTCOMES_MAX = 10_000
KEY_PREFIX = "sk-sim-"
PASS = "ok"  # noqa: S105
HANG = "hang"
_MARKER = re.compile(r"\[\[sim:(.+?)\]\]")
_SYNTAX = re.compile(r"(?P<name>[a-z0-9-]+?)(?:x(?P<times>\d{1,6}))?(?:=(?P<value>[^,\s]+))?")


@dataclass(frozen=True, slots=True)
class Fault:
    """`status` is what the caller sees, 0 where that is no HTTP status; `value` is used when the marker gives none."""

    name: str
    stage: Stage
    status: int
    value: str
    summary: str


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("401", "refusal", 401, "", "the key is not accepted"),
        Fault("403", "refusal", 403, "", "the account may not do this"),
        Fault("404", "refusal", 404, "", "the model does not exist"),
        Fault("413", "refusal", 413, "", "the body is too large"),
        Fault("422", "refusal", 422, "", "the body is well-formed but cannot be processed"),
        Fault("moderated", "refusal", 400, "", "the prompt was blocked before any work"),
        Fault("moderated-output", "refusal", 400, "", "the picture was blocked after the work; not billed"),
        Fault("429", "refusal", 429, "1", "rate limit, Retry-After in seconds (value)"),
        Fault("429-date", "refusal", 429, "2", "rate limit, Retry-After as an HTTP date, value seconds ahead"),
        Fault("429-ms", "refusal", 429, "150", "rate limit, Retry-After-Ms (value)"),
        Fault("429-bare", "refusal", 429, "", "rate limit without Retry-After"),
        Fault("429-absurd", "refusal", 429, "86400", "rate limit, Retry-After of a day (value in seconds)"),
        Fault("quota", "refusal", 429, "", "the account is out of quota; waiting does not help"),
        Fault("500", "refusal", 500, "", "internal error"),
        Fault("502", "refusal", 502, "", "a proxy's HTML page"),
        Fault("503", "refusal", 503, "", "overloaded"),
        Fault("504", "refusal", 504, "", "gateway timeout"),
        Fault("fail-every", "refusal", 400, "2", "every value-th call with this prompt is blocked for good"),
        Fault("error-200", "answer", 200, "", "status 200 with an error body; not billed"),
        Fault("empty-200", "answer", 200, "", "status 200 with an empty list; not billed"),
        Fault("reset", "answer", 200, "", "billed, then the connection is reset in the middle of the body"),
        Fault("lost", "answer", 0, "", "billed, then the connection is dropped without an answer"),
        Fault("hang", "answer", 0, "", "accepted and never answered; not billed"),
        Fault("hang-paid", "answer", 0, "", "accepted, billed and never answered"),
        Fault("slow-first-byte", "answer", 200, "2", "headers at once, the first byte of the body value seconds later"),
        Fault("declined", "answer", 200, "", "billed, and the model refuses in the place of an answer"),
        Fault("stream-cut", "answer", 200, "", "billed, and the stream ends halfway without its last event"),
        Fault("stream-slow", "answer", 200, "0.1", "each piece of the stream comes value seconds after the last"),
        Fault("stream-error", "answer", 200, "", "billed, and halfway the stream says that it failed"),
        Fault("stream-endless", "answer", 200, "", "billed, and the stream repeats itself until the caller leaves"),
        Fault("task-failed", "task", 200, "", "the task runs and fails; not billed"),
        Fault("task-moderated", "task", 200, "", "the task runs and its result is blocked; not billed"),
        Fault("task-expired", "task", 200, "", "the task waits until the vendor gives it up; not billed"),
        Fault("task-stuck", "task", 200, "", "the task runs for ever; not billed"),
        Fault("task-forgotten", "task", 404, "", "the vendor does not know the task that it made; not billed"),
        Fault("task-backwards", "task", 200, "", "every other look at a finished task finds it waiting again"),
        Fault("task-no-url", "task", 200, "", "the task succeeds and has nothing to show"),
        Fault("task-word", "task", 200, "pondering", "the task's status is a word (value) that nobody documented"),
        Fault("look-refused", "task", 0, "500", "asking for the task is refused with value, a fault of its own"),
        Fault("callback-lost", "task", 200, "", "nobody is told that the task moved"),
        Fault("callback-twice", "task", 200, "", "everything about the task is told twice"),
        Fault("partial", "item", 200, "1", "item value (from 1; several as 2+3) is blocked, the others arrive"),
        Fault("stopped", "item", 200, "2", "an internal error at item value ends the group there"),
        Fault(
            "unjudged", "judgement", 0, "500", "moderation is refused with value, a fault of its own, or never answers"
        ),
        Fault("latency", "time", 200, "2", "the call takes value seconds"),
        Fault("asset-expired", "asset", 403, "", "the URL has expired when it is handed out"),
        Fault("asset-503", "asset", 503, "", "the asset host is overloaded"),
        Fault("asset-type", "asset", 200, "text/plain", "the right bytes under a wrong content type (value)"),
        Fault("asset-truncated", "asset", 200, "", "Content-Length promises twice what is sent"),
        Fault("asset-chunk-cut", "asset", 200, "", "a chunked body without its end"),
        Fault("asset-drip", "asset", 200, "20000", "value bytes per second"),
        Fault("asset-redirect", "asset", 302, "", "one redirect to the same host, then the picture"),
        Fault(
            "asset-redirect-private", "asset", 302, "http://169.254.169.254/latest/meta-data/", "a redirect to value"
        ),
        Fault("asset-empty", "content", 200, "", "0 bytes"),
        Fault("asset-corrupt", "content", 200, "", "a valid header, then nonsense"),
        Fault("asset-html", "content", 200, "", "an HTML page instead of a picture"),
        Fault("asset-bomb", "content", 200, "", "a tiny PNG that claims 50000x50000 pixels"),
        Fault("asset-wrong-size", "content", 200, "", "96x96 pixels instead of the announced size"),
        Fault("asset-forbidden", "content", 200, "", "shows what moderation flags as graphic violence"),
    )
}


class UnknownFaultError(ValueError):
    """A marker that is not in the table, or not in its syntax."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One asked-for fault: at most `times` times (None is always)."""

    fault: Fault
    value: str
    times: int | None

    @property
    def number(self) -> float:
        try:
            return float(self.value)
        except ValueError:
            raise UnknownFaultError(f"{self.fault.name} needs a number, not {self.value!r}") from None


@dataclass(slots=True)
class Plan:
    """What one call meets, by stage. `asset` also covers content faults; its `times` counts downloads."""

    refusal: Wish | None = None
    answer: Wish | None = None
    items: list[Wish] = field(default_factory=list)
    latency_seconds: float | None = None
    asset: Wish | None = None
    tasks: dict[str, Wish] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The faults as the journal notes them; a refusal hides what would have come after it."""
        if self.refusal is not None:
            return self.refusal.fault.name
        wishes = [*self.items, *self.tasks.values(), *(wish for wish in (self.answer, self.asset) if wish is not None)]
        return ",".join(wish.fault.name for wish in wishes)


def read_wishes(text: str) -> list[Wish]:
    """`429x2,latency=0.5` as wishes. Raises UnknownFaultError."""
    wishes = []
    for part in text.split(","):
        word = part.strip()
        if word == PASS:
            continue
        match = _SYNTAX.fullmatch(word)
        fault = FAULTS.get(match["name"]) if match else None
        if match is None or fault is None:
            raise UnknownFaultError(f"unknown simulator fault: {word!r}")
        wish = Wish(fault, match["value"] or fault.value, int(match["times"]) if match["times"] else None)
        if fault.name == "look-refused" and (wish.value not in FAULTS or FAULTS[wish.value].stage != "refusal"):
            raise UnknownFaultError(f"{fault.name} needs a refusal, not {wish.value!r}")
        if fault.name == "unjudged" and wish.value != HANG and FAULTS.get(wish.value, fault).stage != "refusal":
            raise UnknownFaultError(f"{fault.name} needs a refusal or {HANG}, not {wish.value!r}")
        if fault.name in _NUMBERED and not wish.number >= 0:
            raise UnknownFaultError(f"{fault.name} needs a number of at least 0")
        wishes.append(wish)
    return wishes


_NUMBERED = {
    "429",
    "429-date",
    "429-ms",
    "429-absurd",
    "fail-every",
    "slow-first-byte",
    "stream-slow",
    "stopped",
    "latency",
    "asset-drip",
}


class Faults:
    """Chooses the plan of each call and counts how often each wish came true."""

    def __init__(self) -> None:
        self.scenarios: dict[tuple[str, str], deque[str]] = {}
        self._counters: OrderedDict[tuple[str, str], int] = OrderedDict()

    def reset(self) -> None:
        self.scenarios.clear()
        self._counters.clear()

    def queue(self, provider: str, prompt_contains: str, outcomes: Iterable[str]) -> int:
        """Appends outcomes for a provider ("" is any) and prompts with a text ("" is any); returns the length."""
        queue = self.scenarios.setdefault((provider, prompt_contains), deque(maxlen=QUEUED_OUTCOMES_MAX))
        queue.extend(outcomes)
        return len(queue)

    def plan(self, provider: str, prompt: str, key: str) -> Plan:
        """Raises UnknownFaultError for a marker in the prompt that means nothing."""
        queued = self._next_queued(provider, prompt)
        if queued is not None:
            return self._plan(read_wishes(queued), f"queue {queued}", counted=False)
        markers = _MARKER.findall(prompt)
        if markers:
            return self._plan([wish for marker in markers for wish in read_wishes(marker)], prompt)
        if key.startswith(KEY_PREFIX):
            try:
                return self._plan(read_wishes(key.removeprefix(KEY_PREFIX)), key)
            except UnknownFaultError:
                return Plan()  # an ordinary key that happens to share the prefix
        return Plan()

    def judgement(self, text: str) -> str | None:
        """What a text asks moderation to do in the place of judging it; nothing else about it counts there."""
        for marker in _MARKER.findall(text):
            for wish in read_wishes(marker):
                if wish.fault.stage == "judgement" and self._due(wish, text):
                    return wish.value
        return None

    def count(self, scope: str, name: str) -> int:
        """How often this was asked, this time included."""
        key = (scope, name)
        count = self._counters.pop(key, 0) + 1
        self._counters[key] = count
        if len(self._counters) > COUNTERS_MAX:
            self._counters.popitem(last=False)
        return count

    def _next_queued(self, provider: str, prompt: str) -> str | None:
        matching = [
            (scope, queue)
            for scope, queue in self.scenarios.items()
            if queue and scope[0] in ("", provider) and scope[1] in prompt
        ]
        if not matching:
            return None
        scope, queue = max(matching, key=lambda pair: (len(pair[0][1]), len(pair[0][0])))
        outcome = queue.popleft()
        if not queue:
            del self.scenarios[scope]
        return outcome

    def _plan(self, wishes: list[Wish], scope: str, *, counted: bool = True) -> Plan:
        plan = Plan()
        for wish in wishes:
            stage = wish.fault.stage
            if stage in ("asset", "content"):
                plan.asset = wish
                continue
            if stage == "judgement":
                continue
            if counted and not self._due(wish, scope):
                continue
            if stage == "refusal":
                plan.refusal = plan.refusal or wish
            elif stage == "answer":
                plan.answer = wish
            elif stage == "task":
                plan.tasks[wish.fault.name] = wish
            elif stage == "item":
                plan.items.append(wish)
            else:
                plan.latency_seconds = wish.number
        return plan

    def _due(self, wish: Wish, scope: str) -> bool:
        if wish.fault.name == "fail-every":
            return self.count(scope, wish.fault.name) % max(1, int(wish.number)) == 0
        return wish.times is None or self.count(scope, wish.fault.name) <= wish.times
