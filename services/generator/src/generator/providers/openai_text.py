"""OpenAI's texts: `POST /chat/completions`, streamed.

A text counts when the provider says how it ended; one that broke off is not delivered, whatever was heard of it. A
model that calls for tools may say nothing beside. One that ended without a word is an answer too, where the provider
counted what it took: thinking may take all tokens, and the next time as well.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from openai import AsyncOpenAI
from pydantic import Field, JsonValue, ValidationError

from contracts.money import Usage
from contracts.talking import Call, Message
from generator.providers import sdk
from generator.providers.calling import Calls
from generator.providers.interface import Delivered, Invalid, Item, Rejected, Submission, Unknown
from generator.providers.openai_words import meaning

MAX_TEXT_CHARACTERS = 1_000_000
BYTES_PER_TOKEN = 4
"""About, in UTF-8, whatever the script; only where a provider does not count."""
_MAY_BE_EMPTY = frozenset({"stop", "length"})
_OPTIONS = frozenset(
    {"temperature", "top_p", "stop", "presence_penalty", "frequency_penalty", "reasoning_effort", "seed"}
)


class _Function(sdk.Answer):
    name: JsonValue = None
    arguments: JsonValue = None


class _Call(sdk.Answer):
    index: JsonValue = None
    id: JsonValue = None
    function: _Function = _Function()


class _Delta(sdk.Answer):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


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
        text, calls, ended, counted = await _hear(events, submission)
    if ended == "content_filter":
        raise Rejected
    is_answer = bool(text or calls) or (ended in _MAY_BE_EMPTY and counted is not None)
    if not ended or not is_answer:
        raise Unknown
    usage = (
        Usage(input_tokens=counted.prompt_tokens, output_tokens=counted.completion_tokens)
        if counted is not None
        else estimated(submission, text, calls)
    )
    return [Delivered(text=text, calls=calls, usage=usage)]


def estimated(submission: Submission, text: str, calls: Sequence[Call] = ()) -> Usage:
    """What a text took, where nobody counted."""
    said = [*submission.messages, *submission.since]
    read = sum(len(words.encode()) for words in (submission.prompt, *(message.content for message in said)))
    written = sum(len(words.encode()) for words in (text, *(call.arguments for call in calls)))
    return Usage(input_tokens=-(-read // BYTES_PER_TOKEN), output_tokens=-(-written // BYTES_PER_TOKEN))


async def _hear(
    events: AsyncIterator[dict[str, Any]], submission: Submission
) -> tuple[str, tuple[Call, ...], str | None, _Counted | None]:
    """The text, what it calls for, why it ended, and what it took."""
    parts: list[str] = []
    calls = Calls()
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
            for call in choice.delta.tool_calls or []:
                calls.hear(call.index, call.id, call.function.name, call.function.arguments)
            words = sdk.writable(choice.delta.content or "")
            if words:
                heard += len(words)
                if heard > MAX_TEXT_CHARACTERS:
                    raise Unknown
                parts.append(words)
                if submission.say is not None:
                    await submission.say(words)
    return "".join(parts), calls.whole(), ended, counted


def _counted(usage: JsonValue) -> _Counted | None:
    """What the provider counted; None where that makes no sense, which is no reason to lose a text."""
    try:
        return _Counted.model_validate(usage)
    except ValidationError:
        return None


def _body(submission: Submission, limit: str) -> dict[str, JsonValue]:
    said = (*submission.messages, Message(role="user", content=submission.prompt), *submission.since)
    messages: list[JsonValue] = [dict(_fields(message)) for message in said]
    body: dict[str, JsonValue] = {
        **sdk.chosen(submission.options, _OPTIONS),
        "model": submission.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if submission.max_tokens is not None:
        body[limit] = submission.max_tokens
    if submission.tools:
        body["tools"] = [{"type": "function", "function": tool.model_dump()} for tool in submission.tools]
    return body


def _fields(message: Message) -> Iterator[tuple[str, JsonValue]]:
    yield "role", message.role
    yield "content", message.content or (None if message.calls else "")
    if message.calls:
        yield "tool_calls", [_call(call) for call in message.calls]
    if message.call_id is not None:
        yield "tool_call_id", message.call_id


def _call(call: Call) -> JsonValue:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
