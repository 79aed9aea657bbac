"""Calls of tools, by the unmodified SDKs: what is asked for, what has to be answered, and what is refused."""

from __future__ import annotations

import json

import anthropic
import openai
import pytest

SCHEMA = {"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]}
SAID = [{"role": "user", "content": "Draw an image of a fox"}]
OPENAI = {
    "model": "gpt-5-mini",
    "messages": SAID,
    "tools": [{"type": "function", "function": {"name": "draw_image", "parameters": SCHEMA}}],
}
ANTHROPIC = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 500,
    "messages": SAID,
    "tools": [{"name": "draw_image", "description": "Draws.", "input_schema": SCHEMA}],
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "draw_image", "arguments": "{}"}}
ASSISTANT = {"role": "assistant", "content": None, "tool_calls": [CALL]}
USE = {"type": "tool_use", "id": "toolu_1", "name": "draw_image", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "drawn"}


async def test_openai_s_model_calls_and_goes_on(simulator):
    create = simulator.sdk("openai").chat.completions.create
    [choice] = (await create(**OPENAI)).choices
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    [call] = choice.message.tool_calls
    assert call.function.name == "draw_image" and json.loads(call.function.arguments)["prompt"] == SAID[0]["content"]
    answer = {"role": "tool", "tool_call_id": call.id, "content": "drawn at noon"}
    messages = [*SAID, choice.message.model_dump(exclude_none=True), answer]
    [choice] = (await create(**OPENAI | {"messages": messages})).choices
    assert choice.finish_reason == "stop" and "drawn at noon" in choice.message.content


async def test_anthropic_s_model_calls_and_goes_on(simulator):
    create = simulator.anthropic().messages.create
    message = await create(**ANTHROPIC)
    [use] = [block for block in message.content if block.type == "tool_use"]
    assert message.stop_reason == "tool_use" and use.input == {"prompt": SAID[0]["content"]}
    async with simulator.anthropic().messages.stream(**ANTHROPIC) as stream:
        streamed = await stream.get_final_message()
    assert [block.model_dump(exclude={"id"}) for block in streamed.content if block.type == "tool_use"] == [
        use.model_dump(exclude={"id"})
    ]
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "drawn at noon"}
    said = [block.model_dump(exclude_none=True) for block in message.content]
    messages = [*SAID, {"role": "assistant", "content": said}, {"role": "user", "content": [result]}]
    message = await create(**ANTHROPIC | {"messages": messages})
    assert message.stop_reason == "end_turn" and "drawn at noon" in message.content[0].text


@pytest.mark.parametrize(
    "change",
    [
        {"tools": []},
        {"tools": [*OPENAI["tools"], *OPENAI["tools"]]},
        {"tools": [{"type": "function", "function": {"name": "draw image"}}]},
        {"tools": [{"type": "function", "function": {"name": "draw", "parameters": {"type": "array"}}}]},
        {"messages": [*SAID, ASSISTANT]},
        {"messages": [*SAID, ASSISTANT, {"role": "user", "content": "well?"}]},
        {"messages": [*SAID, {"role": "tool", "tool_call_id": "call_1", "content": "drawn"}]},
        {"messages": [*SAID, ASSISTANT, {"role": "tool", "tool_call_id": "call_2", "content": "drawn"}]},
        {"messages": [*SAID, {**ASSISTANT, "tool_calls": [{**CALL, "function": {"name": "x", "arguments": "{"}}]}]},
    ],
    ids=["none", "twice", "name", "schema", "unanswered", "talked-over", "unasked", "other", "no-json"],
)
async def test_what_openai_would_refuse(simulator, change):
    with pytest.raises(openai.BadRequestError):
        await simulator.sdk("openai").chat.completions.create(**OPENAI | change)


@pytest.mark.parametrize(
    "change",
    [
        {"tools": [{"name": "draw_image", "input_schema": {"type": "string"}}]},
        {"messages": [*SAID, {"role": "assistant", "content": [USE]}]},
        {"messages": [*SAID, {"role": "assistant", "content": [USE]}, {"role": "user", "content": "well?"}]},
        {"messages": [*SAID, {"role": "user", "content": [RESULT]}]},
        {"messages": [*SAID, {"role": "assistant", "content": [{**USE, "input": "{}"}]}]},
    ],
    ids=["schema", "unanswered", "talked-over", "unasked", "no-object"],
)
async def test_what_anthropic_would_refuse(simulator, change):
    with pytest.raises(anthropic.BadRequestError):
        await simulator.anthropic().messages.create(**ANTHROPIC | change)


async def test_anthropic_wants_the_tools_said_again(simulator):
    messages = [*SAID, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [RESULT]}]
    asked = {name: value for name, value in ANTHROPIC.items() if name != "tools"}
    with pytest.raises(anthropic.BadRequestError):
        await simulator.anthropic().messages.create(**asked | {"messages": messages})
