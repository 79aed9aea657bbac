"""Anthropic messages: `POST /anthropic/v1/messages`, whole or streamed (providers.md §3)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from simulator.calling import Conversation, Tool, asked_for, fits_schema, tools_of
from simulator.calls import Call, Calls, Job, Product, Vendor, event_of
from simulator.faults import Plan
from simulator.fields import Fields, InvalidFieldError
from simulator.latency import FIRST_TOKEN
from simulator.refusals import Refusal, bearer_key
from simulator.writing import tokens_of, write

MODELS = frozenset(
    {
        "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-opus-5", "claude-sonnet-5",
        "claude-opus-4-8", "claude-sonnet-4-6", "claude-haiku-4-5", "claude-opus-4-5", "claude-sonnet-4-5",
    }
)  # fmt: skip
TOKENS_MAX = 64_000
MESSAGES_MAX = 2000
_KNOWN = frozenset(
    {
        "model", "max_tokens", "messages", "system", "stop_sequences", "metadata", "thinking", "service_tier", "stream",
        "tools", "tool_choice",
    }
)  # fmt: skip
_REFUSALS: dict[str, tuple[int, str, str]] = {
    "401": (401, "authentication_error", "invalid x-api-key"),
    "403": (403, "permission_error", "Your API key does not have permission to use this model."),
    "404": (404, "not_found_error", "model: {model}"),
    "413": (413, "request_too_large", "Request exceeds the maximum size."),
    "422": (422, "invalid_request_error", "The request cannot be processed."),
    "moderated": (400, "invalid_request_error", "Input blocked by content filtering policy"),
    "moderated-output": (400, "invalid_request_error", "Output blocked by content filtering policy"),
    "429": (429, "rate_limit_error", "This request would exceed the rate limit of your organization."),
    "quota": (402, "billing_error", "Your credit balance is too low."),
    "500": (500, "api_error", "Internal server error"),
    "502": (502, "api_error", "Bad gateway"),
    "503": (529, "overloaded_error", "Overloaded"),
    "504": (504, "timeout_error", "Request timed out."),
}


class Anthropic:
    provider = "anthropic"

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(self, request: web.Request) -> web.StreamResponse:
        return await self._calls.serve(request, self, self._read, _key)

    def invalid(self, error: InvalidFieldError) -> Refusal:
        words = {"missing": "Field required", "unknown": "Extra inputs are not permitted"}.get(error.kind, error.reason)
        return Refusal(400, None, f"{error.field}: {words}", kind="invalid_request_error")

    def refusal(self, fault: str, model: str) -> Refusal:
        name = "moderated" if fault == "fail-every" else "429" if fault.startswith("429") else fault
        status, kind, message = _REFUSALS[name]
        return Refusal(status, None, message.format(model=model), kind=kind)

    def error(self, refusal: Refusal, request_id: str) -> dict[str, Any]:
        return {
            "type": "error",
            "error": {"type": refusal.kind, "message": refusal.message},
            "request_id": f"req_{request_id}",
        }

    def headers(self, request_id: str, seconds: float) -> dict[str, str]:
        return {"request-id": f"req_{request_id}", "anthropic-organization-id": "simulator"}

    async def _read(self, call: Call) -> Job:
        if not call.request.headers.get("anthropic-version"):
            raise InvalidFieldError("anthropic-version", "value", "header is required")
        fields = Fields(call.json(), _KNOWN)
        name = fields.required_text("model", 200)
        talk = _conversation(fields)
        call.prompt = talk.prompt
        tools = _tools(fields)
        if not tools and talk.has_called:
            raise fields.invalid("tools", "value", "must be defined where messages contain tool_use or tool_result")
        if name not in MODELS:
            raise self.refusal("404", name)
        if not fields.has("max_tokens"):
            raise fields.invalid("max_tokens", "missing", "is required")
        tokens_max = fields.whole("max_tokens", 1, TOKENS_MAX, TOKENS_MAX)
        system = _text(fields, "system") if fields.has("system") else ""
        streamed = fields.flag("stream", default=False)
        said = [("system", system), *talk.said] if system else talk.said

        async def make(call: Call, plan: Plan) -> Product:
            declined = plan.answer is not None and plan.answer.fault.name == "declined"
            calls = [] if declined else asked_for(tools, talk)
            tokens = write(said) if not calls else ["I", " shall", " do", " that."]
            reason = "refusal" if declined else "end_turn" if len(tokens) <= tokens_max else "max_tokens"
            reason = "tool_use" if calls else reason
            tokens = tokens[: 2 if declined else tokens_max]
            called = [
                {"type": "tool_use", "id": f"toolu_{call.request_id[:20]}{index}", "name": function["name"],
                 "input": json.loads(function["arguments"])}
                for index, function in enumerate(calls)
            ]  # fmt: skip
            usage = {
                "input_tokens": sum(tokens_of(text) + 3 for _, text in said),
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": len(tokens),
            }
            message = {"id": f"msg_{call.request_id}", "type": "message", "role": "assistant", "model": name}
            if streamed:
                return self._stream(message, tokens, called, reason, usage)
            whole = {"content": [{"type": "text", "text": "".join(tokens)}, *called], "stop_reason": reason}
            return Product(json.dumps(message | whole | {"stop_sequence": None, "usage": usage}).encode())

        return Job(name, call.prompt, FIRST_TOKEN, make)

    def _stream(
        self,
        message: dict[str, Any],
        tokens: list[str],
        called: list[dict[str, Any]],
        reason: str,
        usage: dict[str, int],
    ) -> Product:
        def event(kind: str, **data: Any) -> bytes:
            return event_of(kind, {"type": kind} | data)

        begun = message | {
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage | {"output_tokens": 1},
        }
        pieces = [
            event("message_start", message=begun),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            event("ping"),
            *(event("content_block_delta", index=0, delta={"type": "text_delta", "text": token}) for token in tokens),
            event("content_block_stop", index=0),
            *(piece for index, block in enumerate(called, 1) for piece in _call(event, index, block)),
            event(
                "message_delta",
                delta={"stop_reason": reason, "stop_sequence": None},
                usage={"output_tokens": usage["output_tokens"]},
            ),
            event("message_stop"),
        ]
        overloaded = {"error": {"type": "overloaded_error", "message": "Overloaded"}}
        return Product(content_type="text/event-stream", pieces=pieces, error=event("error", **overloaded))


def _key(request: web.Request, vendor: Vendor) -> str:
    """Either header."""
    return request.headers.get("x-api-key", "").strip() or bearer_key(request, vendor)


def _call(event: Callable[..., bytes], index: int, block: dict[str, Any]) -> list[bytes]:
    said = json.dumps(block["input"])
    half = len(said) // 2
    return [
        event("content_block_start", index=index, content_block={**block, "input": {}}),
        *(
            event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": part})
            for part in ("", said[:half], said[half:])
        ),
        event("content_block_stop", index=index),
    ]


def _conversation(fields: Fields) -> Conversation:
    """All calls of a message are answered at the beginning of the next one."""
    messages = fields.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= MESSAGES_MAX:
        raise fields.invalid("messages", "missing" if messages is None else "value", "must be a list of messages")
    talk = Conversation()
    for message in messages:
        if not isinstance(message, dict):
            raise fields.invalid("messages", "type", "must be a list of objects")
        part = Fields(message, {"role", "content"}, "messages.")
        role = part.choice("role", ("user", "assistant"), "")
        if not role:
            raise part.invalid("role", "missing", "is required")
        if not talk.said and role != "user":
            raise fields.invalid("messages", "value", "must begin with the user's")
        content = part.get("content")
        blocks = content if isinstance(content, list) and all(isinstance(block, dict) for block in content) else None
        kinds = {block.get("type") for block in blocks or ()}
        if blocks is None or not kinds & {"tool_use", "tool_result"}:
            _refuse_open(fields, talk)
            talk.say(role, _text(part, "content"))
        elif role == "assistant":
            _refuse_open(fields, talk)
            _used(part, talk, blocks)
        else:
            _answered(fields, part, talk, blocks)
    _refuse_open(fields, talk)
    if not talk.may_be_answered:
        raise fields.invalid("messages", "value", "must end with the user's")
    return talk


def _refuse_open(fields: Fields, talk: Conversation) -> None:
    if talk.open:
        reason = f"`tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(talk.open)}"
        raise fields.invalid("messages", "value", reason)


def _used(part: Fields, talk: Conversation, blocks: list[dict[str, Any]]) -> None:
    words, calls = [], {}
    for block in blocks:
        one = Fields(block, {"type", "text", "id", "name", "input", "cache_control"}, "messages.content.")
        if one.choice("type", ("text", "tool_use"), "") == "text":
            words.append(one.required_text("text", 10_000_000))
            continue
        if not isinstance(one.get("input"), dict):
            raise one.invalid("input", "type", "must be an object")
        calls[one.required_text("id", 200)] = one.required_text("name", 128)
    if not calls:
        raise part.invalid("content", "value", "has a block that does not belong to an assistant")
    talk.say("assistant", "\n".join(words), calls)


def _answered(fields: Fields, part: Fields, talk: Conversation, blocks: list[dict[str, Any]]) -> None:
    words = []
    for block in blocks:
        known = {"type", "tool_use_id", "content", "is_error", "text", "cache_control"}
        one = Fields(block, known, "messages.content.")
        if one.choice("type", ("tool_result", "text"), "") == "text":
            words.append(one.required_text("text", 10_000_000))
            continue
        if words or not talk.answer(one.required_text("tool_use_id", 200), one.text("content", "", 10_000_000)):
            raise one.invalid("tool_use_id", "value", "must answer a `tool_use` of the message before, and come first")
    _refuse_open(fields, talk)
    if words:
        talk.say("user", "\n".join(words))


def _tools(fields: Fields) -> list[Tool]:
    if not fields.has("tools"):
        fields.refuse("tool_choice", reason="may only be specified while providing tools")
        return []

    def read(entry: dict[str, Any]) -> Tool:
        part = Fields(entry, {"name", "description", "input_schema", "type", "cache_control"}, "tools.")
        if not fits_schema(part.get("input_schema")):
            raise part.invalid("input_schema", "value", "must be a JSON Schema of type 'object'")
        return Tool(part.required_text("name", 128), part.text("description", ""), part.get("input_schema"))

    return tools_of(fields, read, 1000)


def _text(fields: Fields, name: str) -> str:
    """A text, or the texts of its blocks."""
    value = fields.get(name)
    if not isinstance(value, list):
        return fields.required_text(name, 10_000_000)
    blocks = [
        Fields(block, {"type", "text", "cache_control"}, f"{name}.") for block in value if isinstance(block, dict)
    ]
    if not blocks or len(blocks) != len(value):
        raise fields.invalid(name, "type", "must be a text or a list of blocks")
    for block in blocks:
        block.choice("type", ("text",), "")
    return "\n".join(block.required_text("text", 10_000_000) for block in blocks)
