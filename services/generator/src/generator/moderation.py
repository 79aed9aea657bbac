"""What may be asked for, and what may be shown: the operator's rules, and OpenAI's moderation where it has a key.

A prompt is judged before anything is paid, a picture before anybody sees it, and so is a film, by some of its frames,
which storage sends. All are judged as they are: nothing that they say is obeyed. OpenAI's silence is not waited for
long, and the operator decides what it means.
"""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

import structlog
from prometheus_client import Counter

from contracts.facts import Failure, Kind, Request
from contracts.judging import Category, JudgedFrames, JudgeFrames, Judgement, Moderate, Moderated
from generator.providers.interface import INSTRUCTIONS, Delivered, Provider, Rejected
from generator.providers.openai import NAME, OpenAI
from generator.providers.openai_moderation import Opinion
from generator.rules import Rules
from generator.settings import ModerationSettings

PROMPT, PICTURE, FILM = "prompt", "picture", "film"
"""The stages at which something may be refused."""
PROMPT_SECONDS = 3.0
PICTURE_SECONDS = 10.0
"""How long a judgement is waited for."""
MAX_PICTURE_BYTES = 20_000_000
"""What it takes; a larger picture gets no judgement."""
SILENCES_TO_PAUSE = 5
"""In a row, of one process: it is not asked any more then."""
PAUSE_SECONDS = 15.0

Answer = TypeVar("Answer")

log = structlog.get_logger()
REFUSED = Counter("moderation_refused_total", "What moderation refused.", ["stage", "by"])
SILENT = Counter("moderation_silent_total", "Judgements that were asked for and not given.", ["stage"])
for _stage in (PROMPT, PICTURE, FILM):
    # There from the start: of a series that begins with its first 1, `increase` sees no increase.
    SILENT.labels(_stage)


class _SilentError(Exception):
    """No judgement was given; the message says why."""


class Moderation:
    """The judgement of one process."""

    def __init__(self, rules: Rules, providers: Mapping[str, Provider], settings: ModerationSettings) -> None:
        self._rules = rules
        self._providers = providers
        self._settings = settings
        self._silences = 0
        self._asked_again_at = float("-inf")

    async def judge_prompt(self, request: Request) -> Failure | None:
        """Why a request must not be carried out; None where it may. All that is said in it is judged together, also of
        how something is to be spoken.

        Raises:
            OSError, sqlalchemy.exc.DBAPIError: the rules could not be read yet.
        """
        manner = request.options.get(INSTRUCTIONS)
        said = "\n".join(
            [*(message.content for message in request.messages), request.prompt, *([str(manner)] if manner else [])]
        )
        rule = await self._rules.broken_by(said)
        if rule is not None:
            return _refused(PROMPT, "rules", [rule])
        if self._settings.by_provider == "off":
            return None
        openai = self._openai()
        return None if openai is None else await self._judgement(partial(openai.flags, said), PROMPT, PROMPT_SECONDS)

    async def judge_texts(self, question: Moderate) -> Moderated:
        """Each by itself, by the same rules as a prompt; nothing is refused here.

        Raises:
            OSError, sqlalchemy.exc.DBAPIError: the rules could not be read yet.
        """
        by_rules = [await self._rules.broken_by(text) is not None for text in question.texts]
        openai = self._openai() if self._settings.by_provider != "off" else None
        opinions: list[Opinion | None] = [None] * len(question.texts)
        if openai is not None:
            try:
                opinions = [*await self._asked(partial(openai.opinions, question.texts), PROMPT_SECONDS)]
            except _SilentError as silent:
                self._silence(PROMPT, str(silent))
                return Moderated()
        return Moderated(judgements=tuple(map(_judged, by_rules, opinions)))

    async def judge_picture(self, item: Delivered) -> Failure | None:
        """Why a finished picture must not be shown; None where it may."""
        openai = self._openai() if self._settings.by_provider == "all" else None
        if openai is None:
            return None
        if len(item.content or b"") > MAX_PICTURE_BYTES:
            return self._silence(PICTURE, "too large")
        return await self._judgement(partial(openai.picture_flags, _address(item)), PICTURE, PICTURE_SECONDS)

    def judges_frames(self, request: Request) -> bool:
        """Whether what is seen in the films of a request is to be judged before they are shown."""
        return request.kind is Kind.VIDEO and self._settings.by_provider == "all" and self._openai() is not None

    async def judge_frames(self, question: JudgeFrames) -> JudgedFrames:
        """Whether a film may be shown in which this is seen."""
        openai = self._openai() if self._settings.by_provider == "all" else None
        if openai is None:
            return JudgedFrames()

        async def flags() -> frozenset[str]:
            """Each by itself: the vendor takes one picture in a question."""
            addresses = (f"data:image/jpeg;base64,{frame}" for frame in question.frames)
            return frozenset().union(*await asyncio.gather(*map(openai.picture_flags, addresses)))

        return JudgedFrames(failure=await self._judgement(flags, FILM, PICTURE_SECONDS))

    async def _judgement(
        self, ask: Callable[[], Awaitable[frozenset[str]]], stage: str, seconds: float
    ) -> Failure | None:
        try:
            broken = await self._asked(ask, seconds)
        except _SilentError as silent:
            return self._silence(stage, str(silent))
        return _refused(stage, NAME, sorted(broken)) if broken else None

    async def _asked(self, ask: Callable[[], Awaitable[Answer]], seconds: float) -> Answer:
        """Raises _SilentError."""
        if time.monotonic() < self._asked_again_at:
            raise _SilentError("left alone")
        try:
            async with asyncio.timeout(seconds):
                answer = await ask()
        except Exception as error:  # whatever it is, it is no judgement, and what was paid for must not be lost by it
            self._silences += 1
            if self._silences >= SILENCES_TO_PAUSE:
                self._silences, self._asked_again_at = 0, time.monotonic() + PAUSE_SECONDS
            raise _SilentError(type(error).__name__) from error
        self._silences = 0
        return answer

    def _silence(self, stage: str, why: str) -> Failure | None:
        SILENT.labels(stage).inc()
        log.warning("moderation.silent", stage=stage, why=why, then=self._settings.when_silent)
        if self._settings.when_silent == "pass":
            return None
        return Failure(code="moderation_unavailable", message="This could not be judged at the moment.", stage=stage)

    def _openai(self) -> OpenAI | None:
        found = self._providers.get(NAME)
        return found if isinstance(found, OpenAI) else None


def _refused(stage: str, by: str, broken: list[str]) -> Failure:
    REFUSED.labels(stage, by).inc()
    log.info("moderation.refused", stage=stage, by=by, broken=broken)
    return Failure(code=Rejected.code, message=f"This {stage} is not allowed here.", stage=stage)


def _judged(by_rules: bool, opinion: Opinion | None) -> Judgement:
    broken = opinion.broken if opinion is not None else frozenset()
    scores = opinion.scores if opinion is not None else {}
    return Judgement(
        flagged=by_rules or bool(broken),
        by="rules" if by_rules else "openai" if broken else None,
        categories=tuple(
            Category(name=name, is_broken=name in broken, score=scores.get(name)) for name in sorted({*scores, *broken})
        ),
    )


def _address(item: Delivered) -> str:
    if item.content is None:
        return item.url or ""
    mime_type = (item.mime_type or "image/png").lower()
    return f"data:{mime_type};base64,{base64.b64encode(item.content).decode()}"
