"""OpenAI's moderation: `POST /moderations`, which costs nothing."""

from openai import AsyncOpenAI

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

    Raises:
        Throttled: ask again later.
        Unavailable: it gave no judgement, which is none of innocence.
    """
    answer = await sdk.ask_json(client, "/moderations", meaning, body={"model": MODEL, "input": text})
    results = sdk.read_look(_Judgement, answer).results
    if not results:
        raise Unavailable
    broken = {name for result in results for name, is_so in result.categories.items() if is_so}
    return frozenset(broken or {"flagged"}) if any(result.flagged for result in results) else frozenset()
