"""What the generator hears: what was funded, what has ended, and what it can make."""

from collections.abc import Awaitable, Callable, Sequence

from faststream.nats import NatsBroker, NatsMessage

from contracts.facts import Funded, Lane, Outcome
from contracts.judging import JudgedFrames, JudgeFrames, Moderate, Moderated
from contracts.questions import (
    GENERATOR_CATALOG,
    GENERATOR_CLONE_VOICE,
    GENERATOR_COURSE,
    GENERATOR_FIGURES,
    GENERATOR_FINISH_TEXT,
    GENERATOR_FORGET_VOICE,
    GENERATOR_FRESH_ADDRESS,
    GENERATOR_JUDGE_FRAMES,
    GENERATOR_KEYS,
    GENERATOR_LOOK_AT_TASK,
    GENERATOR_MODELS,
    GENERATOR_MODERATE,
    GENERATOR_SET_KEY,
    GENERATOR_SWITCH_MODEL,
    GENERATOR_TAKE_RESULT,
    FinishedText,
    FinishText,
    Keys,
    KeysOf,
    Models,
    Nothing,
    SetKey,
    SwitchedModel,
    SwitchModel,
)
from contracts.questions import (
    Catalog as Answer,
)
from contracts.tasks import FreshAddress, FreshAddressOf, LookAtTask, LookedAtTask, TakenResult, TakeResult
from contracts.topology import GENERATOR_CLOSE_OUTCOMES, GENERATOR_RENDER
from contracts.voices import ClonedVoice, CloneVoice, ForgetVoice, ForgottenVoice
from contracts.watching import Course, CourseOf, FiguresOf, WorkFigures
from generator import watching
from generator.catalog import Catalog
from generator.generate import Generator
from generator.moderation import Moderation
from generator.outside import Outside
from generator.settings import WorkSettings
from generator.user_keys import UserKeys
from generator.voices import Voices
from runtime.consumption import Consumers
from runtime.database import Database

BATCH = 64
ANSWERS_AT_ONCE = 8
"""Each asks a provider in turn."""
LINGER_SECONDS = 0.25
"""Nobody waits for these: fewer and larger batches."""


def register(
    consumers: Consumers,
    broker: NatsBroker,
    database: Database,
    generator: Generator,
    catalog: Catalog,
    user_keys: UserKeys,
    renew: Callable[[FreshAddressOf], Awaitable[FreshAddress]],
    outside: Outside,
    moderation: Moderation,
    voices: Voices,
    settings: WorkSettings,
) -> None:
    """The generator's subscriptions."""

    async def generate(fact: Funded) -> None:
        await generator.generate(fact.data, fact.traceparent)

    for (_, lane), consumer in GENERATOR_RENDER.items():
        slots = settings.slots if lane is Lane.INTERACTIVE else settings.batch_slots
        consumers.each(consumer, Funded, slots=slots)(generate)

    @consumers.batch(GENERATOR_CLOSE_OUTCOMES, Outcome, size=BATCH, linger_seconds=LINGER_SECONDS)
    async def close(facts: Sequence[Outcome]) -> None:
        await generator.close(facts)

    @broker.subscriber(GENERATOR_FINISH_TEXT, max_workers=ANSWERS_AT_ONCE, no_reply=True)
    async def finish_text(question: FinishText, message: NatsMessage) -> None:
        is_finished = await generator.finish_text(question.generation_id)
        if is_finished is not None:  # else another process works on it, or nobody
            await broker.publish(FinishedText(is_finished=is_finished), message.reply_to)

    @broker.subscriber(GENERATOR_CATALOG, queue="generator")
    async def answer(question: Nothing) -> Answer:
        return await catalog.answer()

    @broker.subscriber(GENERATOR_MODELS, queue="generator")
    async def models(question: Nothing) -> Models:
        return await catalog.listed()

    @broker.subscriber(GENERATOR_SWITCH_MODEL, queue="generator")
    async def switch(question: SwitchModel) -> SwitchedModel:
        return await catalog.switch(question)

    @broker.subscriber(GENERATOR_FRESH_ADDRESS, queue="generator", max_workers=ANSWERS_AT_ONCE)
    async def fresh(question: FreshAddressOf) -> FreshAddress:
        return await renew(question)

    @broker.subscriber(GENERATOR_KEYS, queue="generator")
    async def keys(question: KeysOf) -> Keys:
        return await user_keys.answer(question.user_id)

    @broker.subscriber(GENERATOR_SET_KEY, queue="generator")
    async def set_key(question: SetKey) -> Keys:
        return await user_keys.set(question)

    @broker.subscriber(GENERATOR_TAKE_RESULT, queue="generator")
    async def take_result(question: TakeResult) -> TakenResult:
        return await outside.take_result(question)

    @broker.subscriber(GENERATOR_LOOK_AT_TASK, queue="generator")
    async def look_at_task(question: LookAtTask) -> LookedAtTask:
        return await outside.look_at_task(question)

    @broker.subscriber(GENERATOR_MODERATE, queue="generator", max_workers=ANSWERS_AT_ONCE)
    async def moderate(question: Moderate) -> Moderated:
        return await moderation.judge_texts(question)

    @broker.subscriber(GENERATOR_JUDGE_FRAMES, queue="generator", max_workers=ANSWERS_AT_ONCE)
    async def judge_frames(question: JudgeFrames) -> JudgedFrames:
        return await moderation.judge_frames(question)

    _answer_watchers(broker, database)
    _answer_about_voices(broker, voices)


def _answer_watchers(broker: NatsBroker, database: Database) -> None:
    """What the gateway asks about one generation, and for an operator."""

    @broker.subscriber(GENERATOR_COURSE, queue="generator")
    async def course(question: CourseOf) -> Course:
        return await watching.course(database, question)

    @broker.subscriber(GENERATOR_FIGURES, queue="generator")
    async def figures(question: FiguresOf) -> WorkFigures:
        return await watching.figures(database, question)


def _answer_about_voices(broker: NatsBroker, voices: Voices) -> None:
    @broker.subscriber(GENERATOR_CLONE_VOICE, queue="generator", max_workers=ANSWERS_AT_ONCE)
    async def clone(question: CloneVoice) -> ClonedVoice:
        return await voices.clone(question)

    @broker.subscriber(GENERATOR_FORGET_VOICE, queue="generator", max_workers=ANSWERS_AT_ONCE)
    async def forget(question: ForgetVoice) -> ForgottenVoice:
        return await voices.forget(question)
