"""Anthropic's texts: `POST /v1/messages`, streamed, through the official SDK over our session.

A text counts when the provider says why it stopped; one that broke off is not delivered, whatever was heard of it. A
refusal by the model is a stop reason inside a 200, and the end of a turn in which nothing was said is an answer. What
came of all calls of a text is said in one message.

Loading the SDK takes a quarter of what a generator does until it is ready, so the first text loads it.
"""

import asyncio
import importlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import httpx2

if TYPE_CHECKING:
    from anthropic import APIStatusError, AsyncAnthropic, AsyncStream
    from anthropic.types import MessageParam, RawMessageStreamEvent, ToolParam

from contracts.facts import Kind
from contracts.money import Usage
from contracts.talking import Call, Message
from generator.providers import sdk
from generator.providers.calling import Calls
from generator.providers.interface import (
    Delivered,
    Invalid,
    Item,
    ProviderRefusal,
    Rejected,
    Submission,
    Throttled,
    Unavailable,
    Unknown,
)
from generator.providers.openai_text import MAX_TEXT_CHARACTERS
from generator.providers.transport import MAX_ANSWER_BYTES, AiohttpClient

NAME = "anthropic"
DEFAULT_MAX_TOKENS = 4096
"""The field is required; the catalog and the quote say less or more."""
_OPTIONS = frozenset({"stop_sequences"})
_MAY_BE_EMPTY = frozenset({"end_turn", "stop_sequence", "max_tokens", "model_context_window_exceeded"})
_DELIVERED = _MAY_BE_EMPTY | {"tool_use"}
_FILTERED = "content filtering policy"


class Anthropic:
    """Anthropic behind the generator's interface."""

    name = NAME

    def __init__(
        self, session: aiohttp.ClientSession, key: str, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._http = AiohttpClient(session, max_answer_bytes)
        self._key = key
        self._base_url = base_url

    @cached_property
    def _client(self) -> "AsyncAnthropic":
        from anthropic import AsyncAnthropic

        return AsyncAnthropic(api_key=self._key, base_url=self._base_url, max_retries=0, http_client=self._http)

    async def submit(self, submission: Submission) -> Sequence[Item]:
        if submission.kind is not Kind.TEXT or submission.count != 1:
            raise Invalid("This model writes one text at a time.")
        await asyncio.to_thread(importlib.import_module, "anthropic")
        written = _Written(submission)
        with _meant(written):
            async with await self._open(submission) as stream:
                async for event in stream:
                    await written.hear(event)
        return [written.delivered()]

    async def _open(self, submission: Submission) -> "AsyncStream[RawMessageStreamEvent]":
        from anthropic import omit

        system = "\n\n".join(message.content for message in submission.messages if message.role == "system")
        return await self._client.messages.create(
            model=submission.model,
            max_tokens=submission.max_tokens or DEFAULT_MAX_TOKENS,
            messages=_messages(submission),
            system=system or omit,
            tools=_tools(submission) or omit,
            extra_body=sdk.chosen(submission.options, _OPTIONS),
            extra_headers={"X-Client-Request-Id": str(submission.reference)},
            timeout=httpx2.Timeout(submission.timeout_seconds, connect=sdk.CONNECT_TIMEOUT_SECONDS),
            stream=True,
        )


class _Written:
    """A text in the making. Nothing that arrives is believed to have its shape: the SDK does not check."""

    def __init__(self, submission: Submission) -> None:
        self._submission = submission
        self._parts: list[str] = []
        self._calls = Calls()
        self._has_called = False
        self._characters = 0
        self._stopped: str | None = None
        self._read_tokens = 0
        self._written_tokens = 0

    @property
    def begun(self) -> bool:
        return bool(self._parts) or self._has_called

    async def hear(self, event: "RawMessageStreamEvent") -> None:
        match event.type:
            case "message_start":
                usage = event.message.usage
                cached = (usage.cache_creation_input_tokens, usage.cache_read_input_tokens)
                self._read_tokens = sum(map(_count, (usage.input_tokens, *cached)))
            case "content_block_delta" if event.delta.type == "text_delta":
                await self._say(event.delta.text)
            case "content_block_start" if event.content_block.type == "tool_use":
                self._has_called = True
                self._calls.hear(event.index, event.content_block.id, event.content_block.name)
            case "content_block_delta" if event.delta.type == "input_json_delta":
                self._calls.hear(event.index, arguments=event.delta.partial_json)
            case "message_delta":
                self._stopped = event.delta.stop_reason
                self._written_tokens = _count(event.usage.output_tokens)

    def delivered(self) -> Delivered:
        if self._stopped == "refusal":
            raise Rejected
        calls = self._calls.whole()
        is_answer = bool(self._parts or calls) or (self._stopped in _MAY_BE_EMPTY and self._read_tokens > 0)
        if self._stopped not in _DELIVERED or not is_answer:
            raise Unknown
        usage = Usage(input_tokens=self._read_tokens, output_tokens=self._written_tokens)
        return Delivered(text="".join(self._parts), calls=calls, usage=usage)

    async def _say(self, text: object) -> None:
        if not isinstance(text, str):
            raise Unknown
        text = sdk.writable(text)
        self._characters += len(text)
        if self._characters > MAX_TEXT_CHARACTERS:
            raise Unknown
        if text:
            self._parts.append(text)
            if self._submission.say is not None:
                await self._submission.say(text)


@contextmanager
def _meant(written: _Written) -> Iterator[None]:
    """What the SDK raises, as what it means; once something was written, only that it is not known what it took."""
    from anthropic import APIConnectionError, APIError, APIStatusError

    try:
        yield
    except APIStatusError as error:
        raise (Unknown() if written.begun else _refusal(error)) from error
    except APIConnectionError as error:
        if isinstance(error.__cause__, sdk.BEFORE_A_BYTE_LEFT):
            raise Unavailable from error
        raise Unknown from error
    except (APIError, httpx2.HTTPError, httpx2.StreamError) as error:
        raise Unknown from error
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise Unknown from error  # an event of another shape than the SDK says


def _refusal(error: "APIStatusError") -> ProviderRefusal:
    body = error.body if isinstance(error.body, dict) else {}
    details: Any = body.get("error")
    if isinstance(details, dict) and _FILTERED in str(details.get("message")):
        return Rejected()
    return sdk.refusal(error.response, details, _meaning)


def _meaning(status: int, _: str, kind: str) -> type[ProviderRefusal] | None:
    return Throttled if status == 529 or kind == "overloaded_error" else None


def _messages(submission: Submission) -> "list[MessageParam]":
    said = [*submission.messages, Message(role="user", content=submission.prompt), *submission.since]
    messages: list[dict[str, Any]] = []
    for message in said:
        if message.role == "system":
            continue
        if message.role != "tool":
            messages.append({"role": message.role, "content": _content(message)})
            continue
        result = {"type": "tool_result", "tool_use_id": message.call_id, "content": message.content}
        if messages and messages[-1]["role"] == "user" and isinstance(messages[-1]["content"], list):
            messages[-1]["content"].append(result)
        else:
            messages.append({"role": "user", "content": [result]})
    return cast("list[MessageParam]", messages)


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.calls:
        return message.content
    text = [{"type": "text", "text": message.content}] if message.content else []
    return [*text, *map(_call, message.calls)]


def _call(call: Call) -> dict[str, Any]:
    """What the model wrote; an empty object where that was none, since only objects are taken back."""
    try:
        given = json.loads(call.arguments)
    except (ValueError, RecursionError):
        given = None
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": given if isinstance(given, dict) else {}}


def _tools(submission: Submission) -> "list[ToolParam]":
    return [
        {"name": tool.name, "description": tool.description, "input_schema": cast("Any", tool.parameters)}
        for tool in submission.tools
    ]


def _count(tokens: object) -> int:
    return tokens if isinstance(tokens, int) and tokens > 0 else 0
