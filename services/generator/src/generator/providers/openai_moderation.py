"""OpenAI's moderation: `POST /moderations`, which costs nothing. It judges a text, or one picture."""

from openai import AsyncOpenAI
from pydantic import JsonValue

from generator.providers import sdk
from generator.providers.interface import Unavailable
from generator.providers.openai_words import meaning

MODEL = "omni-moderation-latest"


class _Result(sdk.Answer):
    flagged: bool
    categories: dict[str, bool | None] = {}


class _Judgement(sdk.Answer):
    results: list[_Result]


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
    answer = await sdk.ask_json(client, "/moderations", meaning, body={"model": MODEL, "input": asked})
    results = sdk.read_look(_Judgement, answer).results
    if not results:
        raise Unavailable
    broken = {name for result in results for name, is_so in result.categories.items() if is_so}
    return frozenset(broken or {"flagged"}) if any(result.flagged for result in results) else frozenset()
