"""The unmodified Anthropic SDK."""

from __future__ import annotations

import anthropic
import pytest

SAY = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 500,
    "messages": [{"role": "user", "content": "Tell me about lighthouses and storms"}],
}


def asking(words: str) -> dict:
    return SAY | {"messages": [{"role": "user", "content": words}]}


async def test_a_message_is_about_what_was_asked(simulator):
    message = await simulator.anthropic().messages.create(**SAY, system="Speak like a sailor")
    assert "lighthouses" in message.content[0].text and "speak like a sailor" in message.content[0].text
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == len(message.content[0].text.split())
    [entry] = await simulator.journal()
    assert (entry["provider"], entry["billed"], entry["prompt"]) == ("anthropic", 1, SAY["messages"][0]["content"])


async def test_a_stream_says_the_same(simulator):
    whole = await simulator.anthropic().messages.create(**SAY)
    async with simulator.anthropic().messages.stream(**SAY) as stream:
        text = "".join([delta async for delta in stream.text_stream])
        final = await stream.get_final_message()
    assert text == whole.content[0].text
    assert final.usage.output_tokens == whole.usage.output_tokens
    async with simulator.anthropic().messages.stream(**(SAY | {"max_tokens": 3})) as stream:
        final = await stream.get_final_message()
    assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", 3)


async def test_a_refusal_is_a_stop_reason(simulator):
    message = await simulator.anthropic().messages.create(**asking("x [[sim:declined]]"))
    assert message.stop_reason == "refusal"


async def test_an_error_in_the_middle_of_a_stream(simulator):
    with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
        async with simulator.anthropic().messages.stream(**asking("x [[sim:stream-error]]")) as stream:
            await stream.get_final_message()


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        ("401", anthropic.AuthenticationError, 401),
        ("404", anthropic.NotFoundError, 404),
        ("429", anthropic.RateLimitError, 429),
        ("500", anthropic.InternalServerError, 500),
        ("503", anthropic.InternalServerError, 529),
        ("quota", anthropic.APIStatusError, 402),
        ("moderated", anthropic.BadRequestError, 400),
    ],
)
async def test_faults_become_the_sdk_s_own_exceptions(simulator, fault, kind, status):
    with pytest.raises(kind) as raised:
        await simulator.anthropic().messages.create(**asking(f"x [[sim:{fault}]]"))
    assert raised.value.status_code == status
    assert raised.value.body["type"] == "error" and raised.value.request_id


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 0},
        {"max_tokens": 100_000},
        {"messages": []},
        {"messages": [{"role": "assistant", "content": "x"}]},
        {"messages": [{"role": "system", "content": "x"}]},
        {"messages": [{"role": "user", "content": ""}]},
        {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
        {"extra_body": {"temperature": 1}},
    ],
)
async def test_what_is_refused(simulator, change):
    with pytest.raises(anthropic.BadRequestError):
        await simulator.anthropic().messages.create(**(SAY | change))


async def test_either_header_carries_the_key_and_a_version_is_needed(simulator):
    url, version = f"{simulator.url}/anthropic/v1/messages", {"anthropic-version": "2023-06-01"}
    for headers, status in (
        ({"x-api-key": "k"} | version, 200),
        ({"Authorization": "Bearer k"} | version, 200),
        (version, 401),
        ({"x-api-key": "k"}, 400),
    ):
        async with simulator.http.post(url, json=SAY, headers=headers) as answer:
            assert answer.status == status
            assert answer.headers["request-id"]
