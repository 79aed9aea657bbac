"""ModelArk's videos: `/contents/generations/tasks`, one video a task.

It has sizes of its own, so the smallest of them that holds what was asked for is taken; storage scales. Addresses live
for 24 hours, tasks are listed for seven days. No reference of ours is kept, but the seed of a task is repeated by the
list: without one from the caller it is made from our reference, and finds the task again.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from openai import AsyncOpenAI
from pydantic import Field, JsonValue

from generator.providers import sdk
from generator.providers.interface import (
    Delivered,
    Given,
    Invalid,
    Item,
    Running,
    Submission,
    Task,
    Unavailable,
    Unknown,
)
from generator.providers.modelark_words import address, meaning

_PATH = "/contents/generations/tasks"
_OPTIONS = frozenset({"seed", "camera_fixed", "watermark", "generate_audio"})
_DASHES = r"[-\uff0d\ufe63]{2,}"
_FLAG = re.compile(
    rf"{_DASHES}(?:resolution|rs|ratio|rt|duration|dur|framespersecond|frames|fps|seed|camerafixed|cf|watermark|wm)(?!\w)"
    rf"(?:[\s=:]+(?!{_DASHES})\S+)?|(?<!\S){_DASHES}\w\S*",
    re.IGNORECASE,
)
"""What the vendor reads wherever it stands, with its value; anything else that looks like it at the start of a word."""
_ROLES = MappingProxyType({"image": "first_frame", "first_frame": "first_frame", "last_frame": "last_frame"})
_NEARLY = 0.95
"""A frame a twentieth smaller than asked for is scaled: the next larger one costs more than twice as much."""
_MAX_SEED = 2**31 - 1
_PAGE_SIZE = 500
_MAX_PAGES = 10
_SHORTEST_SECONDS = MappingProxyType({"seedance-1-0": 2})
_SHORTEST_OF_OTHERS = 4
_SIZES: Mapping[tuple[str, str], tuple[int, int]] = MappingProxyType(
    {
        ("480p", "16:9"): (864, 480), ("480p", "4:3"): (736, 544), ("480p", "1:1"): (640, 640),
        ("480p", "3:4"): (544, 736), ("480p", "9:16"): (480, 864), ("480p", "21:9"): (960, 416),
        ("720p", "16:9"): (1248, 704), ("720p", "4:3"): (1120, 832), ("720p", "1:1"): (960, 960),
        ("720p", "3:4"): (832, 1120), ("720p", "9:16"): (704, 1248), ("720p", "21:9"): (1504, 640),
        ("1080p", "16:9"): (1920, 1088), ("1080p", "4:3"): (1664, 1248), ("1080p", "1:1"): (1440, 1440),
        ("1080p", "3:4"): (1248, 1664), ("1080p", "9:16"): (1088, 1920), ("1080p", "21:9"): (2176, 928),
    }
)  # fmt: skip


class _Made(sdk.Answer):
    id: str = Field(min_length=1, max_length=200, pattern=r"^[\w.-]+$")


class _Problem(sdk.Answer):
    code: str = ""


class _Content(sdk.Answer):
    video_url: str | None = Field(default=None, pattern=r"^https?://", max_length=sdk.MAX_ADDRESS_CHARACTERS)


class _Task(_Made):
    status: str
    error: _Problem | None = None
    content: _Content | None = None
    seed: int | None = None


class _Page(sdk.Answer):
    total: int = Field(ge=0)
    items: list[_Task]


async def begin(client: AsyncOpenAI, submission: Submission) -> Task:
    if submission.count != 1:
        raise Invalid("This model makes one video at a time.")
    answer = await sdk.post_json(client, _PATH, submission, _body(submission), meaning)
    return Task(sdk.read_answer(_Made, answer).id)


async def look(client: AsyncOpenAI, submission: Submission, task: Task) -> Sequence[Item] | Running:
    answer = await sdk.ask_json(client, f"{_PATH}/{task.id}", meaning)
    found = sdk.read_look(_Task, answer)
    match found.status:
        case "succeeded":
            if found.content is None or found.content.video_url is None:
                raise Unknown("The provider says that it made the video and does not say where it is.")
            return [Delivered(url=found.content.video_url, mime_type="video/mp4")]
        case "failed":
            code = found.error.code if found.error is not None else ""
            return [(meaning(200, code, "") or Unavailable)().failure]
        case "expired" | "cancelled":
            return [Unavailable("The provider gave the task up before it was done.").failure]
        case "queued":
            return Running(stage="waiting")
        case _:
            return Running()


async def cancel(client: AsyncOpenAI, task: Task) -> bool:
    """Only what still waits can be stopped; of what has ended this would remove the record, so it looks first.

    Raises:
        Throttled, Unavailable: ask again.
    """
    try:
        answer = await sdk.ask_json(client, f"{_PATH}/{task.id}", meaning)
        if answer.get("status") != "queued":
            return answer.get("status") == "cancelled"
        await sdk.ask(client, "DELETE", f"{_PATH}/{task.id}", meaning)
        answer = await sdk.ask_json(client, f"{_PATH}/{task.id}", meaning)
    except sdk.NotKnown:
        return False
    return answer.get("status") == "cancelled"


async def find(client: AsyncOpenAI, submission: Submission) -> Task | None:
    wanted = _seed(submission)
    for number in range(1, _MAX_PAGES + 1):
        params = {"page_num": number, "page_size": _PAGE_SIZE, "filter.model": submission.model}
        page = sdk.read_look(_Page, await sdk.ask_json(client, _PATH, meaning, params))
        for task in page.items:
            if task.seed == wanted:
                if wanted == submission.options.get("seed"):
                    raise Unknown  # the caller's own, and perhaps of another call
                return Task(task.id)
        if number * _PAGE_SIZE >= page.total:
            return None
    raise Unknown


def without_flags(prompt: str) -> str:
    """The prompt without `--dur 12` and its like: the vendor reads them, and they would decide what is paid."""
    return " ".join(_FLAG.sub(" ", prompt).split())


def frame(size: str | None) -> tuple[str, str] | None:
    """(resolution, ratio) of the smallest frame that holds a size such as `1280x720`; the largest for what none does.

    The shape comes first: a frame of another shape would cut off what was painted for its edges.
    """
    width, _, height = (size or "").partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        return None
    wanted, area = int(width) / int(height), int(width) * int(height)
    ratio = min((ratio for _, ratio in _SIZES), key=lambda ratio: _distance(_SIZES["720p", ratio], wanted))
    fitting = [key for key, (w, h) in _SIZES.items() if key[1] == ratio and w * h >= area * _NEARLY]
    return fitting[0] if fitting else ("1080p", ratio)


def _distance(size: tuple[int, int], wanted: float) -> float:
    shape = size[0] / size[1]
    return max(shape / wanted, wanted / shape)


def _body(submission: Submission) -> dict[str, JsonValue]:
    options = sdk.chosen(submission.options, _OPTIONS)
    content: list[JsonValue] = [_image(given) for given in submission.given]
    prompt = without_flags(submission.prompt)
    if prompt:
        content.insert(0, {"type": "text", "text": prompt})
    body: dict[str, JsonValue] = {"watermark": False, **options, "model": submission.model, "content": content}
    body["seed"] = _seed(submission)
    chosen = frame(submission.size)
    if chosen is not None:
        body["resolution"], body["ratio"] = chosen
    if submission.seconds is not None:
        body["duration"] = max(submission.seconds, _shortest(submission.model))
    if submission.callback_url is not None:
        body["callback_url"] = submission.callback_url
    return body


def _image(given: Given) -> dict[str, Any]:
    role = _ROLES.get(given.role)
    if role is None:
        raise Invalid("This model starts from pictures alone.")
    return {"type": "image_url", "image_url": {"url": address(given)}, "role": role}


def _seed(submission: Submission) -> int:
    seed = submission.options.get("seed")
    if isinstance(seed, int) and 0 <= seed <= _MAX_SEED:
        return seed
    return submission.reference.int % (_MAX_SEED + 1)


def _shortest(model: str) -> int:
    named = (seconds for name, seconds in _SHORTEST_SECONDS.items() if name in model)
    return next(named, _SHORTEST_OF_OTHERS)
