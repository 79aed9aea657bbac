"""OpenAI's videos: `/videos`, retired by the vendor and kept for servers that still speak it.

One video a task. What was made has no address: it is downloaded with the key once it is done, so a look brings bytes.
"""

from collections.abc import Sequence
from types import MappingProxyType

import aiohttp
from openai import AsyncOpenAI
from pydantic import Field, JsonValue

from generator.providers import sdk
from generator.providers.given import content_of
from generator.providers.interface import Delivered, Invalid, Item, Running, Submission, Task, Unavailable, Unknown
from generator.providers.openai_words import meaning

_PATH = "/videos"
_SECONDS = (4, 8, 12)
_SIZES = MappingProxyType(
    {
        "sora-2": ((1280, 720), (720, 1280)),
        "sora-2-pro": ((1280, 720), (720, 1280), (1792, 1024), (1024, 1792)),
    }
)


class _Made(sdk.Answer):
    id: str = Field(min_length=1, max_length=200, pattern=r"^[\w.-]+$")


class _Problem(sdk.Answer):
    code: str = ""


class _Video(sdk.Answer):
    status: str
    progress: float | None = None
    error: _Problem | None = None


async def begin(client: AsyncOpenAI, session: aiohttp.ClientSession, submission: Submission) -> Task:
    if submission.count != 1 or len(submission.given) > 1:
        raise Invalid("This model makes one video at a time, from one picture at most.")
    body: dict[str, JsonValue] = {"model": submission.model, "prompt": submission.prompt}
    if submission.seconds is not None:
        body["seconds"] = str(next((s for s in _SECONDS if s >= submission.seconds), _SECONDS[-1]))
    size = _size(submission)
    if size is not None:
        body["size"] = size
    files: list[sdk.File] = []
    for given in submission.given:
        mime_type = (given.mime_type or "image/png").lower()
        content = await content_of(session, given)
        files.append(("input_reference", (f"frame.{mime_type.rpartition('/')[2]}", content, mime_type)))
    answer = await sdk.post_json(client, _PATH, submission, body, meaning, files, form=True)
    return Task(sdk.read_answer(_Made, answer).id)


async def look(client: AsyncOpenAI, task: Task) -> Sequence[Item] | Running:
    video = sdk.read_look(_Video, await sdk.ask_json(client, f"{_PATH}/{task.id}", meaning))
    match video.status:
        case "completed":
            return [await _download(client, task)]
        case "failed":
            code = video.error.code if video.error is not None else ""
            return [(meaning(200, code, "") or Unavailable)().failure]
        case "queued":
            return Running(stage="waiting")
        case _:
            percent = video.progress
            return Running(percent=None if percent is None else max(0, min(99, int(percent))))


async def _download(client: AsyncOpenAI, task: Task) -> Item:
    try:
        response = await sdk.ask(
            client,
            "GET",
            f"{_PATH}/{task.id}/content",
            meaning,
            timeout_seconds=sdk.DOWNLOAD_TIMEOUT_SECONDS,
        )
    except sdk.NotKnown:
        raise Unknown("The provider says that it made the video and does not have it.") from None
    mime_type = response.headers.get("content-type", "").lower()
    is_film = mime_type.startswith(("video/", "application/")) and "json" not in mime_type
    if not is_film or not response.content:
        raise Unavailable
    return Delivered(content=response.content, mime_type="video/mp4")


def _size(submission: Submission) -> str | None:
    """The smallest that holds what was asked for and stands as it does; the largest for what none does."""
    width, _, height = (submission.size or "").partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        return None
    wide, high = int(width), int(height)
    offered = _SIZES.get(submission.model, _SIZES["sora-2"])
    standing = [size for size in offered if (size[0] >= size[1]) == (wide >= high)]
    fitting = [size for size in standing if size[0] >= wide and size[1] >= high]
    chosen = fitting[0] if fitting else standing[-1]
    return f"{chosen[0]}x{chosen[1]}"
