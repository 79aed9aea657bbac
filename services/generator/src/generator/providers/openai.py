"""OpenAI: pictures, speech and texts in one call, the retired videos as tasks, and its moderation."""

from collections.abc import Sequence

import aiohttp

from contracts.facts import Kind
from generator.providers import openai_images, openai_moderation, openai_speech, openai_text, openai_videos, sdk
from generator.providers.interface import Item, Running, Submission, Task, Unknown
from generator.providers.transport import MAX_ANSWER_BYTES

NAME = "openai"


class OpenAI:
    """OpenAI behind the generator's interface."""

    name = NAME

    def __init__(
        self, session: aiohttp.ClientSession, key: str, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._session = session
        self._client = sdk.make_client(session, key, base_url, max_answer_bytes)

    async def submit(self, submission: Submission) -> Sequence[Item] | Task:
        match submission.kind:
            case Kind.IMAGE:
                return await openai_images.make(self._client, self._session, submission)
            case Kind.VIDEO:
                return await openai_videos.begin(self._client, self._session, submission)
            case Kind.SPEECH:
                return await openai_speech.speak(self._client, submission)
            case Kind.TEXT:
                return await openai_text.write(self._client, submission)

    async def look(self, submission: Submission, task: Task) -> Sequence[Item] | Running:
        return await openai_videos.look(self._client, task)

    async def cancel(self, submission: Submission, task: Task) -> bool:
        """It deletes what is done and stops nothing."""
        return False

    async def find(self, submission: Submission) -> Task | None:
        """Its list repeats nothing that is ours alone."""
        raise Unknown

    async def flags(self, text: str) -> frozenset[str]:
        """Which of the vendor's rules a text breaks; raises Throttled or Unavailable where it gives no judgement."""
        return await openai_moderation.flags(self._client, text)

    async def opinions(self, texts: Sequence[str]) -> list[openai_moderation.Opinion]:
        """What the vendor thinks of each; raises as `flags` does."""
        return await openai_moderation.opinions(self._client, texts)

    async def picture_flags(self, url: str) -> frozenset[str]:
        """The same of a picture, by its address or a data URI."""
        return await openai_moderation.picture_flags(self._client, url)
