"""OpenAI's SDK, unmodified: chats, whole and while they are written."""

import asyncio
from typing import Any

import openai
import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import CutBy, Failure, Kind, Outcome, Request, Verdict
from contracts.progress import Progress
from contracts.questions import CatalogModel
from contracts.talking import Message
from contracts.topology import progress_subject
from gateway import words
from gateway.dialects.openai.chats import _provider
from gateway.settings import Settings

from .client import Client
from .conftest import with_limits
from .jaaz import answer_to, pieces_of, write, write_anew
from .openai import BASE, sdk_of
from .outcomes import outcome_of
from .players import WRITER, Players

pytestmark = pytest.mark.connected

SAID: Any = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": "a darkroom?"}]},
]
QUESTION = "What is\na darkroom?"
SHORT: Any = [{"role": "user", "content": "x"}]


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return with_limits(settings, sync_wait_seconds=2)


async def test_a_chat_is_a_text_with_what_was_said_before(client: Client, players: Players) -> None:
    async with sdk_of(client) as sdk:
        chat = await sdk.chat.completions.create(
            model=WRITER,
            messages=SAID,
            max_completion_tokens=100,
            temperature=0.5,
            top_p=0.9,
            stop=["END"],
            seed=7,
            presence_penalty=0.1,
            frequency_penalty=0.2,
            user="u1",
        )
    [request] = await players.published(client.user_id)
    assert (request.kind, request.model, request.prompt, request.max_tokens) == (Kind.TEXT, WRITER, QUESTION, 100)
    assert request.messages == (
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hello"),
        Message(role="assistant", content="Hi."),
    )
    assert request.options == {
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
    }
    [choice] = chat.choices
    assert (choice.message.content, choice.message.role, choice.finish_reason) == (
        answer_to(QUESTION),
        "assistant",
        "stop",
    )
    assert chat.usage and (chat.usage.prompt_tokens, chat.usage.completion_tokens, chat.usage.total_tokens) == (
        7,
        9,
        16,
    )
    assert (chat.id, chat.object, chat.model) == (f"chatcmpl-{request.generation_id}", "chat.completion", WRITER)


async def test_the_older_name_of_the_limit_is_taken_and_what_reaches_it_was_cut_off(
    client: Client, players: Players
) -> None:
    async with sdk_of(client) as sdk:
        chat = await sdk.chat.completions.create(model=WRITER, messages=SHORT, max_tokens=9)
    assert (await players.published(client.user_id))[0].max_tokens == 9
    assert chat.choices[0].finish_reason == "length"


@pytest.mark.parametrize("by", ["cancel", "deadline"])
async def test_what_was_cut_off_while_it_was_written_says_so(client: Client, players: Players, by: CutBy) -> None:
    async def cut(request: Request) -> None:
        ending = outcome_of(request, Verdict.COMPLETED).data.model_copy(update={"text": "Once upon", "cut_by": by})
        await players.say(Outcome.of(ending, "generator", None))

    players.scripts[client.user_id] = cut
    async with sdk_of(client) as sdk:
        chat = await sdk.chat.completions.create(model=WRITER, messages=SHORT, max_tokens=900)
    assert (chat.choices[0].message.content, chat.choices[0].finish_reason) == ("Once upon", "length")


async def test_a_developer_is_the_system(client: Client, players: Players) -> None:
    said: Any = [{"role": "developer", "content": "Be brief."}, *SHORT]
    async with sdk_of(client) as sdk:
        await sdk.chat.completions.create(model=WRITER, messages=said)
    assert (await players.published(client.user_id))[0].messages == (Message(role="system", content="Be brief."),)


async def test_a_message_that_says_nothing_is_left_out(client: Client, players: Players) -> None:
    """Frontends send the system's also where nobody wrote any; providers refuse it."""
    said: Any = [
        {"role": "system", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": " "}]},
        *SHORT,
    ]
    async with sdk_of(client) as sdk:
        await sdk.chat.completions.create(model=WRITER, messages=said)
    [request] = await players.published(client.user_id)
    assert (request.prompt, request.messages) == ("x", ())


PASSED_OVER: Any = {
    "logit_bias": {"50256": -100}, "metadata": {"a": "b"}, "parallel_tool_calls": False, "prompt_cache_key": "k",
    "prediction": {"type": "content", "content": "y"}, "safety_identifier": "u1", "service_tier": "flex", "store": True,
    "verbosity": "low",
}  # fmt: skip


async def test_what_the_answer_means_the_same_without_is_passed_over(client: Client, players: Players) -> None:
    async with sdk_of(client) as sdk:
        await sdk.chat.completions.create(model=WRITER, messages=SHORT, reasoning_effort="low", **PASSED_OVER)
    [request] = await players.published(client.user_id)
    assert request.options == {"reasoning_effort": "low"}


async def test_a_streamed_chat_comes_in_its_pieces(client: Client, players: Players, bus: NatsClient) -> None:
    async def play(request: Request) -> None:
        await write(bus, players, request)

    players.scripts[client.user_id] = play
    async with sdk_of(client) as sdk:
        stream = await sdk.chat.completions.create(
            model=WRITER, messages=SHORT, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    *written, counted = chunks
    words = [chunk.choices[0].delta.content or "" for chunk in written]
    assert [word for word in words if word] == [*pieces_of("x")]
    assert written[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in written] == [None] * (len(written) - 1) + ["stop"]
    assert {chunk.id for chunk in chunks} == {f"chatcmpl-{(await players.published(client.user_id))[0].generation_id}"}
    assert counted.choices == []
    assert counted.usage and counted.usage.total_tokens == 16


async def test_a_piece_that_was_lost_is_made_good(client: Client, players: Players, bus: NatsClient) -> None:
    async def play(request: Request) -> None:
        await write(bus, players, request, lost=2)

    players.scripts[client.user_id] = play
    async with sdk_of(client) as sdk:
        stream = await sdk.chat.completions.create(model=WRITER, messages=SHORT, stream=True)
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert said == answer_to("x")


async def test_whoever_asks_again_meanwhile_is_told_the_whole(
    client: Client, players: Players, bus: NatsClient
) -> None:
    """Under one key: the second has not heard how the text began."""
    players.scripts[client.user_id] = players.hold
    asked: Any = {"model": WRITER, "messages": SHORT, "stream": True, "extra_headers": {"Idempotency-Key": "once"}}
    async with sdk_of(client) as sdk:
        first = await sdk.chat.completions.create(**asked)
        request = (await players.published(client.user_id))[0]
        beginning = Progress(generation_id=request.generation_id, number=1, stage="rendering", percent=1, text="About")
        await bus.publish(progress_subject(request.generation_id), beginning.model_dump_json().encode())
        second = await sdk.chat.completions.create(**asked)
        rest = beginning.model_copy(update={"number": 2, "text": " x"})
        await bus.publish(progress_subject(request.generation_id), rest.model_dump_json().encode())
        await bus.flush()
        await players.complete(request)
        told = ["".join([chunk.choices[0].delta.content or "" async for chunk in stream]) for stream in (first, second)]
    assert told == [answer_to("x")] * 2
    assert len(await players.published(client.user_id)) == 1


async def test_a_stream_ends_as_openais_does(client: Client) -> None:
    answer = await client.post(f"{BASE}/chat/completions", json={"messages": SHORT, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")
    assert '"usage"' not in answer.text
    assert answer.headers["x-request-id"]


async def test_a_stream_says_that_it_lives_while_nothing_is_written(
    client: Client, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies end what is silent for a minute; the SDK passes over comments."""

    async def play(request: Request) -> None:
        await asyncio.sleep(0.5)
        await players.complete(request)

    monkeypatch.setattr(words, "PING_SECONDS", 0.1)
    monkeypatch.setattr(words, "LOOK_AGAIN_SECONDS", 0.05)
    players.scripts[client.user_id] = play
    answer = await client.post(f"{BASE}/chat/completions", json={"messages": SHORT, "stream": True})
    assert ": ping\n\n" in answer.text.partition('finish_reason":"stop')[0]
    async with sdk_of(client) as sdk:
        stream = await sdk.chat.completions.create(model=WRITER, messages=SHORT, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == answer_to("x")


async def test_a_stream_that_fails_says_so(client: Client, players: Players) -> None:
    async def play(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="provider_error", message="It broke."))

    players.scripts[client.user_id] = play
    async with sdk_of(client) as sdk:
        stream = await sdk.chat.completions.create(model=WRITER, messages=SHORT, stream=True)
        with pytest.raises(openai.APIError, match=r"It broke\."):
            [chunk async for chunk in stream]


async def test_a_text_that_was_written_anew_is_not_said_to_be_finished(client: Client, players: Players) -> None:
    """What the SDK has read of it may say the opposite."""

    async def play(request: Request) -> None:
        await write_anew(players, request, "Paris is the capital.")

    players.scripts[client.user_id] = play
    heard = []
    async with sdk_of(client) as sdk:
        stream = await sdk.chat.completions.create(model=WRITER, messages=SHORT, stream=True)
        with pytest.raises(openai.APIError, match="written anew: GET /v1/generations/") as changed:
            async for chunk in stream:
                heard.append(chunk.choices[0])  # noqa: PERF401 - an error follows
    assert changed.value.code == "text_changed"
    assert "".join(choice.delta.content or "" for choice in heard) == "The capital of France is not "
    assert {choice.finish_reason for choice in heard} == {None}
    [request] = await players.published(client.user_id)
    assert f"{changed.value}".endswith(str(request.generation_id))
    assert (await client.show(str(request.generation_id)))["text"] == "Paris is the capital."


async def test_what_is_refused_at_once_is_no_stream(client: Client, players: Players) -> None:
    players.available[client.user_id] = 0
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.RateLimitError):
            await sdk.chat.completions.create(model=WRITER, messages=SHORT, stream=True)


TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages"),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, "messages"),
        ({"messages": [*SHORT, {"role": "assistant", "content": "y"}]}, "messages"),
        ({"messages": [{"role": "assistant", "content": None}, *SHORT]}, "messages.0.content"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}, *SHORT]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example"}}]}]},
         "messages.0.content"),
        ({"messages": SHORT, "tools": [TOOL]}, "tools"),
        ({"messages": SHORT, "response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": SHORT, "modalities": ["text", "audio"]}, "modalities"),
        ({"messages": SHORT, "logprobs": True}, "logprobs"),
        ({"messages": SHORT, "top_logprobs": 2}, "top_logprobs"),
        ({"messages": SHORT, "web_search_options": {}}, "web_search_options"),
        ({"messages": SHORT, "moderation": {"model": "omni-moderation-latest"}}, "moderation"),
        ({"messages": [*SHORT, {"role": "user", "content": ""}]}, "messages"),
        ({"messages": SHORT, "n": 2}, "n"),
        ({"messages": SHORT, "temperature": 3}, "temperature"),
        ({"messages": SHORT, "max_tokens": 10_000}, "max_tokens"),
    ],
    ids=lambda value: str(value)[-60:],
)  # fmt: skip
async def test_what_would_change_the_answers_meaning_is_refused(
    client: Client, players: Players, asked: Any, param: str
) -> None:
    async with sdk_of(client) as sdk:
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.chat.completions.create(model=WRITER, **asked)
    assert refused.value.param == param
    assert not players.of(client.user_id)


def test_the_stop_words_of_another_provider_have_another_name() -> None:
    offered = [CatalogModel(id=name, kind=Kind.TEXT, provider=name) for name in ("openai", "anthropic")]
    assert [_provider(offered, name) for name in (None, "anthropic", "nobody")] == ["openai", "anthropic", None]
