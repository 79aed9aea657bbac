"""BytePlus ModelArk: pictures (Seedream) in one call, videos (Seedance) as tasks."""

from collections.abc import Sequence

import aiohttp

from contracts.facts import Kind
from generator.providers import modelark_images, modelark_videos, sdk
from generator.providers.interface import Invalid, Item, Running, Submission, Task, Unknown
from generator.providers.transport import MAX_ANSWER_BYTES

NAME = "modelark"


class ModelArk:
    """ModelArk behind the generator's interface."""

    name = NAME

    def __init__(
        self, session: aiohttp.ClientSession, key: str, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._client = sdk.make_client(session, key, base_url, max_answer_bytes)

    async def submit(self, submission: Submission) -> Sequence[Item] | Task:
        match submission.kind:
            case Kind.IMAGE:
                return await modelark_images.make(self._client, submission)
            case Kind.VIDEO:
                return await modelark_videos.begin(self._client, submission)
            case _:
                raise Invalid

    async def look(self, submission: Submission, task: Task) -> Sequence[Item] | Running:
        return await modelark_videos.look(self._client, submission, task)

    async def cancel(self, submission: Submission, task: Task) -> bool:
        return await modelark_videos.cancel(self._client, task)

    async def find(self, submission: Submission) -> Task | None:
        """Only videos are tasks, and only these are listed."""
        if submission.kind is not Kind.VIDEO:
            raise Unknown
        return await modelark_videos.find(self._client, submission)
