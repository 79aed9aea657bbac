"""OpenAI's moderation: `POST /moderations`, which costs nothing. It judges a text, or one picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from openai import AsyncOpenAI
from pydantic import JsonValue

from generator.providers import sdk
from generator.providers.interface import Unavailable
from generator.providers.openai_words import meaning

MODEL = "omni-moderation-latest"


class _Result(sdk.Answer):
    flagged: bool
    categories: dict[str, bool | None] = {}
    category_scores: dict[str, float | None] = {}


class _Judgement(sdk.Answer):
    results: list[_Result]


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the vendor thinks of a text: the rules that it breaks, and how sure it is of each, 0 to 1."""

    broken: frozenset[str]
    scores: dict[str, float]


async def opinions(client: AsyncOpenAI, texts: Sequence[str]) -> list[Opinion]:
    """One for each text, in their order. Raises as `_judge`."""
    results = await _ask(client, list(texts))
    if len(results) != len(texts):
        raise Unavailable
    return [Opinion(_broken([result]), _scores(result)) for result in results]


async def flags(client: AsyncOpenAI, text: str) -> frozenset[str]:
    """Which of the vendor's rules a text breaks, such as `violence` or `sexual/minors`; none where it is clean.

    Raises as `_judge`.
    """
    return await _judge(client, text)


async def picture_flags(client: AsyncOpenAI, url: str) -> frozenset[str]:
    """The same of a picture, by its address or a data URI of at most 20 MB.

    Raises as `_judge`.
    """
    return await _judge(client, [{"type": "image_url", "image_url": {"url": url}}])


async def _judge(client: AsyncOpenAI, asked: JsonValue) -> frozenset[str]:
    """Which rules are broken.

    Raises:
        Throttled: ask again later.
        Unavailable: it gave no judgement, which is none of innocence.
    """
    results = await _ask(client, asked)
    if not results:
        raise Unavailable
    return _broken(results)


async def _ask(client: AsyncOpenAI, asked: JsonValue) -> list[_Result]:
    answer = await sdk.ask_json(client, "/moderations", meaning, body={"model": MODEL, "input": asked})
    return sdk.read_look(_Judgement, answer).results


def _broken(results: Sequence[_Result]) -> frozenset[str]:
    broken = {name for result in results for name, is_so in result.categories.items() if is_so}
    return frozenset(broken or {"flagged"}) if any(result.flagged for result in results) else frozenset()


def _scores(result: _Result) -> dict[str, float]:
    return {name: score for name, score in result.category_scores.items() if score is not None}
