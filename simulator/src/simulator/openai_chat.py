"""OpenAI chat: `POST /openai/v1/chat/completions`, whole or streamed (providers.md §2)."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from aiohttp import web

from simulator.calls import Call, Calls, Job, Product, event_of
from simulator.clock import Clock
from simulator.faults import Plan
from simulator.fields import Fields
from simulator.latency import FIRST_TOKEN
from simulator.openai_words import OpenAIWords
from simulator.writing import tokens_of, write

CHAT_MODELS = frozenset(
    {"gpt-5.4", "gpt-5.4-mini", "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini"}
)
TOKENS_MAX = 128_000
MESSAGES_MAX = 2000
DONE = b"data: [DONE]\n\n"
_KNOWN = frozenset(
    {
        "model", "messages", "max_completion_tokens", "max_tokens", "temperature", "top_p", "stop", "seed", "stream",
        "stream_options", "n", "presence_penalty", "frequency_penalty", "reasoning_effort", "user",
        "safety_identifier", "store", "metadata", "service_tier", "logprobs",
    }
)  # fmt: skip
_ROLES = ("system", "developer", "user", "assistant")


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
        messages = _messages(fields)
        call.prompt = messages[-1][1]
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
            tokens = write(messages)
            reason = "content_filter" if declined else "stop" if len(tokens) <= tokens_max else "length"
            tokens = tokens[: 2 if declined else tokens_max]
            read = sum(tokens_of(text) + 3 for _, text in messages)
            about = {"id": f"chatcmpl-{call.request_id}", "created": int(self._clock.now()), "model": name}
            usage = {"prompt_tokens": read, "completion_tokens": len(tokens), "total_tokens": read + len(tokens)}
            if streamed:
                return self._stream(about, tokens, reason, usage if counted else None)
            message = {"role": "assistant", "content": "".join(tokens), "refusal": None}
            choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
            whole = about | {"object": "chat.completion", "choices": [choice], "usage": usage}
            return Product(json.dumps(whole).encode())

        nothing = Product(json.dumps({"object": "chat.completion", "choices": []}).encode(), 0)
        if streamed:
            nothing = Product(billed=0, content_type="text/event-stream", pieces=[DONE])
        return Job(name, call.prompt, FIRST_TOKEN, make, nothing)

    def _stream(self, about: dict[str, Any], tokens: list[str], reason: str, usage: dict[str, int] | None) -> Product:
        def chunk(delta: dict[str, Any], ended: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": ended, "logprobs": None}
            return event_of("", about | {"object": "chat.completion.chunk", "choices": [choice]})

        pieces = [chunk({"role": "assistant", "content": "", "refusal": None})]
        pieces += [chunk({"content": token}) for token in tokens]
        pieces.append(chunk({}, reason))
        if usage is not None:
            pieces.append(event_of("", about | {"object": "chat.completion.chunk", "choices": [], "usage": usage}))
        error = event_of("", self.error(self.refusal("500", ""), ""))
        return Product(content_type="text/event-stream", pieces=[*pieces, DONE], error=error)


def _messages(fields: Fields) -> list[tuple[str, str]]:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= MESSAGES_MAX:
        raise fields.invalid("messages", "missing" if messages is None else "value", "must be a list of messages")
    read = []
    for message in messages:
        if not isinstance(message, dict):
            raise fields.invalid("messages", "type", "must be a list of objects")
        part = Fields(message, {"role", "content", "name"}, "messages.")
        role = part.choice("role", _ROLES, "")
        if not role:
            raise part.invalid("role", "missing", "is required")
        read.append(("system" if role == "developer" else role, part.required_text("content", 1_000_000)))
    if read[-1][0] != "user":
        raise fields.invalid("messages", "value", "must end with the user's")
    return read
