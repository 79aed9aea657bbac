"""OpenAI chat: `POST /openai/v1/chat/completions`, whole or streamed (providers.md §2)."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from aiohttp import web

from simulator.calling import Conversation, Tool, asked_for, fits_schema, tools_of
from simulator.calls import Call, Calls, Job, Product, event_of
from simulator.clock import Clock
from simulator.faults import Plan
from simulator.fields import Fields
from simulator.latency import FIRST_TOKEN
from simulator.openai_words import OpenAIWords
from simulator.writing import tokens_of, write

CHAT_MODELS = frozenset(
    {
        "gpt-5.4", "gpt-5.4-mini", "gpt-5.2", "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-4.1", "gpt-4.1-mini", "gpt-4o",
        "gpt-4o-mini",
    }
)  # fmt: skip
TOKENS_MAX = 128_000
MESSAGES_MAX = 2000
DONE = b"data: [DONE]\n\n"
_KNOWN = frozenset(
    {
        "model", "messages", "max_completion_tokens", "max_tokens", "temperature", "top_p", "stop", "seed", "stream",
        "stream_options", "n", "presence_penalty", "frequency_penalty", "reasoning_effort", "user",
        "safety_identifier", "store", "metadata", "service_tier", "logprobs", "tools", "tool_choice",
        "parallel_tool_calls",
    }
)  # fmt: skip
_ROLES = ("system", "developer", "user", "assistant", "tool")
_MESSAGE = {
    "system": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "refusal", "tool_calls"},
    "tool": {"role", "content", "tool_call_id"},
}


class OpenAIChat(OpenAIWords):
    """`models` None takes any name; `limit` is the field that bounds an answer."""

    def __init__(
        self,
        calls: Calls,
        clock: Clock,
        provider: str = "openai",
        models: Collection[str] | None = CHAT_MODELS,
        limit: str = "max_completion_tokens",
    ) -> None:
        super().__init__(provider)
        self._calls, self._clock, self._models, self._limit = calls, clock, models, limit

    async def complete(self, request: web.Request) -> web.StreamResponse:
        return await self._calls.serve(request, self, self._read)

    async def _read(self, call: Call) -> Job:
        fields = Fields(call.json(), _KNOWN)
        name = fields.required_text("model", 200)
        talk = _conversation(fields)
        messages = talk.said
        call.prompt = talk.prompt
        tools = _tools(fields)
        if self._models is not None and name not in self._models:
            raise self.refusal("404", name)
        if self._limit != "max_tokens" and fields.has("max_tokens"):
            raise fields.invalid("max_tokens", "unknown", "is not supported with this model")
        tokens_max = fields.whole(self._limit, 1, TOKENS_MAX, TOKENS_MAX)
        fields.whole("n", 1, 1, 1)
        for option, low, high in (("temperature", 0, 2), ("top_p", 0, 1), ("presence_penalty", -2, 2)):
            fields.number(option, low, high, 0)
        streamed = fields.flag("stream", default=False)
        counted = fields.part("stream_options", {"include_usage"}).flag("include_usage", default=False)
        if counted and not streamed:
            raise fields.invalid("stream_options", "value", "needs stream")

        async def make(call: Call, plan: Plan) -> Product:
            declined = plan.answer is not None and plan.answer.fault.name == "declined"
            calls = [] if declined else asked_for(tools, talk)
            tokens = write(messages) if not calls else []
            reason = "content_filter" if declined else "stop" if len(tokens) <= tokens_max else "length"
            reason = "tool_calls" if calls else reason
            tokens = tokens[: 2 if declined else tokens_max]
            called = [
                {"id": f"call_{call.request_id[:20]}{index}", "type": "function", "function": function}
                for index, function in enumerate(calls)
            ]
            read = sum(tokens_of(text) + 3 for _, text in messages)
            about = {"id": f"chatcmpl-{call.request_id}", "created": int(self._clock.now()), "model": name}
            usage = {"prompt_tokens": read, "completion_tokens": len(tokens), "total_tokens": read + len(tokens)}
            if streamed:
                return self._stream(about, tokens, called, reason, usage if counted else None)
            message: dict[str, Any] = {"role": "assistant", "content": "".join(tokens) or None, "refusal": None}
            message |= {"tool_calls": called} if called else {}
            choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
            whole = about | {"object": "chat.completion", "choices": [choice], "usage": usage}
            return Product(json.dumps(whole).encode())

        nothing = Product(json.dumps({"object": "chat.completion", "choices": []}).encode(), 0)
        if streamed:
            nothing = Product(billed=0, content_type="text/event-stream", pieces=[DONE])
        return Job(name, call.prompt, FIRST_TOKEN, make, nothing)

    def _stream(
        self,
        about: dict[str, Any],
        tokens: list[str],
        called: list[dict[str, Any]],
        reason: str,
        usage: dict[str, int] | None,
    ) -> Product:
        def chunk(delta: dict[str, Any], ended: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": ended, "logprobs": None}
            return event_of("", about | {"object": "chat.completion.chunk", "choices": [choice]})

        pieces = [chunk({"role": "assistant", "content": "", "refusal": None})]
        pieces += [chunk({"content": token}) for token in tokens]
        for index, each in enumerate(called):
            function = each["function"]
            begun = {**each, "function": {"name": function["name"], "arguments": ""}}
            pieces.append(chunk({"tool_calls": [{"index": index, **begun}]}))
            half = len(function["arguments"]) // 2
            for part in (function["arguments"][:half], function["arguments"][half:]):
                pieces.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]}))
        pieces.append(chunk({}, reason))
        if usage is not None:
            pieces.append(event_of("", about | {"object": "chat.completion.chunk", "choices": [], "usage": usage}))
        error = event_of("", self.error(self.refusal("500", ""), ""))
        return Product(content_type="text/event-stream", pieces=[*pieces, DONE], error=error)


def _conversation(fields: Fields) -> Conversation:
    """Each call of a tool is answered, in the messages right after it, before anything else is said."""
    messages = fields.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= MESSAGES_MAX:
        raise fields.invalid("messages", "missing" if messages is None else "value", "must be a list of messages")
    talk = Conversation()
    for message in messages:
        if not isinstance(message, dict):
            raise fields.invalid("messages", "type", "must be a list of objects")
        known = _MESSAGE.get(str(message.get("role")).replace("developer", "system"), _MESSAGE["assistant"])
        part = Fields(message, known, "messages.")
        role = part.choice("role", _ROLES, "")
        if not role:
            raise part.invalid("role", "missing", "is required")
        role = "system" if role == "developer" else role
        if role == "tool":
            if not talk.answer(part.required_text("tool_call_id", 200), part.text("content", "", 1_000_000)):
                reason = "must follow an assistant message with the tool_calls that it answers"
                raise part.invalid("tool_call_id", "value", reason)
            continue
        if talk.open:
            raise fields.invalid("messages", "value", f"must answer the tool_calls {', '.join(sorted(talk.open))}")
        calls = _called(part) if part.has("tool_calls") else {}
        content = part.text("content", "", 1_000_000) if calls else part.required_text("content", 1_000_000)
        talk.say(role, content, calls)
    if talk.open or not talk.may_be_answered:
        raise fields.invalid("messages", "value", "must end with the user's, or with answers to every call")
    return talk


def _called(part: Fields) -> dict[str, str]:
    """The id and the name of each call."""
    calls = part.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        raise part.invalid("tool_calls", "type", "must be a list of calls")
    found = {}
    for call in calls:
        if not isinstance(call, dict):
            raise part.invalid("tool_calls", "type", "must be a list of objects")
        one = Fields(call, {"id", "type", "function"}, "messages.tool_calls.")
        one.choice("type", ("function",), "")
        function = one.part("function", {"name", "arguments"})
        try:
            json.loads(function.required_text("arguments", 1_000_000))
        except ValueError:
            raise function.invalid("arguments", "value", "must be JSON") from None
        found[one.required_text("id", 200)] = function.required_text("name", 64)
    return found


def _tools(fields: Fields) -> list[Tool]:
    if not fields.has("tools"):
        fields.refuse("tool_choice", "parallel_tool_calls", reason="is only allowed when 'tools' are specified")
        return []

    def read(entry: dict[str, Any]) -> Tool:
        part = Fields(entry, {"type", "function"}, "tools.")
        part.choice("type", ("function",), "")
        function = part.part("function", {"name", "description", "parameters", "strict"})
        schema = function.get("parameters") or {"type": "object", "properties": {}}
        if not fits_schema(schema):
            raise function.invalid("parameters", "value", "must be a JSON Schema of type 'object'")
        return Tool(function.required_text("name", 64), function.text("description", ""), schema)

    return tools_of(fields, read, 128)
