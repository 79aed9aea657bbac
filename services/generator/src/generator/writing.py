"""Texts that are being written here. What was said of one to a client is delivered, also where its user cancels it, or
where its time is over (docs/adr/0049)."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from contracts.facts import CutBy, Kind
from contracts.progress import NUMBERS_PER_ATTEMPT, Progress
from generator.announcements import Announcer, Speech
from generator.attempts import Attempt
from generator.course import Assignment
from generator.providers.interface import Delivered, Item, Provider, Submission, Task
from generator.providers.openai_text import estimated

CONCLUDING_SECONDS = 0.3
"""Before a provider's time is over a text is cut: what cuts off the call itself knows nothing of what was said."""


class Text:
    """One call that writes a text: what it wrote is said at once, and kept, since it may be all that there will be."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._words: list[str] = []
        self._call: asyncio.Future[Sequence[Item] | Task] | None = None
        self._cut_by: CutBy | None = None

    async def say(self, words: str) -> None:
        self._words.append(words)
        await self._speech.say(words)

    async def written_by(self, provider: Provider, submission: Submission) -> Sequence[Item] | Task:
        """The whole, or what there was when it was cut. Of a call that ends otherwise nothing is kept.

        Raises:
            ProviderRefusal: as `Provider.submit` does.
        """
        try:
            found = await self._heard(provider, submission)
        except BaseException:
            self._words.clear()
            raise
        finally:
            self._speech.stop()
        await self._speech.finish()
        return found

    def cut(self, by: CutBy) -> bool:
        """Ends the call with what it has said; False where that is nothing. One that has ended stays whole."""
        if not self._words:
            return False
        if self._call is not None and not self._call.done():
            self._cut_by = by
            self._call.cancel()
        return True

    async def _heard(self, provider: Provider, submission: Submission) -> Sequence[Item] | Task:
        self._call = asyncio.ensure_future(provider.submit(submission))
        seconds = submission.timeout_seconds - CONCLUDING_SECONDS
        timer = asyncio.get_running_loop().call_later(seconds, self.cut, "deadline")
        try:
            return await self._call
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._cut_by is None or (task is not None and task.cancelling()):
                raise
            said = "".join(self._words)
            return [Delivered(text=said, usage=estimated(submission, said), cut_by=self._cut_by)]
        finally:
            timer.cancel()


class Texts:
    """By generation, each from its call until its generation is out of this process's hands."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer
        self._texts: dict[UUID, Text] = {}

    def begin(self, assignment: Assignment, attempt: Attempt) -> Text | None:
        """What an attempt writes; None where it makes something else."""
        if assignment.kind_of(attempt) is not Kind.TEXT:
            return None
        generation_id, number = assignment.request.generation_id, (attempt.number - 1) * NUMBERS_PER_ATTEMPT
        told = Progress(generation_id=generation_id, number=number, stage="rendering", percent=0)
        text = self._texts[generation_id] = Text(Speech(self._announcer, told))
        return text

    def cut(self, generation_id: UUID) -> bool:
        """Ends a text that its user cancels with what was said of it; False where nothing was said."""
        text = self._texts.get(generation_id)
        return text is not None and text.cut("cancel")

    def forget(self, generation_id: UUID) -> None:
        self._texts.pop(generation_id, None)
