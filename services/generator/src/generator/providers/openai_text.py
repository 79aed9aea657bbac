"""OpenAI's texts: `POST /chat/completions`, streamed.

A text counts when the provider says how it ended; one that broke off is not delivered, whatever was heard of it.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from openai import AsyncOpenAI
from pydantic import Field, JsonValue, ValidationError

from contracts.money import Usage
from generator.providers import sdk
from generator.providers.interface import Delivered, Invalid, Item, Rejected, Submission, Unknown
from generator.providers.openai_words import meaning

MAX_TEXT_CHARACTERS = 1_000_000
CHARACTERS_PER_TOKEN = 4
"""About; only where a provider does not count."""
_OPTIONS = frozenset(
    {"temperature", "top_p", "stop", "presence_penalty", "frequency_penalty", "reasoning_effort", "seed"}
)


class _Delta(sdk.Answer):
    content: str | None = None
    refusal: str | None = None


class _Choice(sdk.Answer):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Counted(sdk.Answer):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)


class _Chunk(sdk.Answer):
    choices: list[_Choice] | None = None
    usage: JsonValue = None
    error: JsonValue = None


async def write(client: AsyncOpenAI, submission: Submission, limit: str = "max_completion_tokens") -> Sequence[Item]:
    """`limit` is what the server calls the most tokens that it may write."""
    if submission.count != 1:
        raise Invalid("This model writes one text at a time.")
    body = _body(submission, limit)
    async with sdk.post_for_events(client, "/chat/completions", submission, body, meaning) as events:
        text, ended, counted = await _hear(events, submission)
    if ended == "content_filter":
        raise Rejected
    if not ended or not text:
        raise Unknown
    usage = (
        Usage(input_tokens=counted.prompt_tokens, output_tokens=counted.completion_tokens)
        if counted is not None
        else estimated(submission, text)
    )
    return [Delivered(text=text, usage=usage)]


def estimated(submission: Submission, text: str) -> Usage:
    """What a text took, where nobody counted."""
    read = len(submission.prompt) + sum(len(message.content) for message in submission.messages)
    return Usage(input_tokens=-(-read // CHARACTERS_PER_TOKEN), output_tokens=-(-len(text) // CHARACTERS_PER_TOKEN))


async def _hear(
    events: AsyncIterator[dict[str, Any]], submission: Submission
) -> tuple[str, str | None, _Counted | None]:
    """The text, why it ended, and what it took."""
    parts: list[str] = []
    heard, ended, counted = 0, None, None
    async for event in events:
        chunk = sdk.read_answer(_Chunk, event)
        if chunk.error:
            raise Unknown
        counted = _counted(chunk.usage) or counted
        for choice in (chunk.choices or [])[:1]:
            ended = choice.finish_reason or ended
            if choice.delta.refusal:
                raise Rejected
            words = sdk.writable(choice.delta.content or "")
            if words:
                heard += len(words)
                if heard > MAX_TEXT_CHARACTERS:
                    raise Unknown
                parts.append(words)
                if submission.say is not None:
                    await submission.say(words)
    return "".join(parts), ended, counted


def _counted(usage: JsonValue) -> _Counted | None:
    """What the provider counted; None where that makes no sense, which is no reason to lose a text."""
    try:
        return _Counted.model_validate(usage)
    except ValidationError:
        return None


def _body(submission: Submission, limit: str) -> dict[str, JsonValue]:
    messages: list[JsonValue] = [{"role": message.role, "content": message.content} for message in submission.messages]
    messages.append({"role": "user", "content": submission.prompt})
    body: dict[str, JsonValue] = {
        **sdk.chosen(submission.options, _OPTIONS),
        "model": submission.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if submission.max_tokens is not None:
        body[limit] = submission.max_tokens
    return body
