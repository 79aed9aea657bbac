"""What every adapter must do, against the real simulator. An adapter's tests inherit it and name what is its own."""

import asyncio
import contextlib
import gzip
import io
import json
import time
import urllib.request
from abc import ABC, abstractmethod
from typing import Any, ClassVar
from uuid import UUID, uuid4

import aiohttp
import av
import pytest
from aiohttp import web
from PIL import Image

from contracts.facts import Failure, Kind
from contracts.talking import Message, Tool
from generator.providers.interface import (
    Delivered,
    Invalid,
    Provider,
    ProviderRefusal,
    QuotaExhausted,
    Rejected,
    Running,
    Submission,
    Task,
    TaskProvider,
    Throttled,
    Unauthorized,
    Unavailable,
    Unknown,
)
from generator.providers.transport import MAX_ANSWER_BYTES
from runtime.outbound import OutboundSettings, make_session

from .stage import until

REFERENCE = UUID("018f0000-0000-7000-8000-000000000001")
KEY = "sk-simulated-key-0123456789"
REFUSALS = [
    ("401", Unauthorized),
    ("403", Unauthorized),
    ("404", Invalid),
    ("413", Invalid),
    ("422", Invalid),
    ("moderated", Rejected),
    ("moderated-output", Rejected),
    ("quota", QuotaExhausted),
    ("500", Unavailable),
    ("502", Unavailable),
    ("504", Unknown),
    ("error-200", Unavailable),
    ("empty-200", Unavailable),
]
WAITS = [("429=3", 3.0), ("429-ms=150", 0.15), ("429-absurd", 86_400.0), ("429-bare", None)]
MALFORMED = [
    b"",
    b"<html>busy</html>",
    b"[1, 2]",
    b'{"data": "none"}',
    b'{"data": [{}]}',
    b'{"data": [{"url": "file:///etc/passwd"}]}',
    b'{"data": [{"url": 5}]}',
    b'{"data": [{"b64_json": "not base64!"}]}',
    b'{"data": [{"b64_json": ""}]}',
]


LIES = [b"null", b'"done"', b"1e999", b"\xff\xfe\x00\x01", b"[" * 100_000, b'{"data":' * 50_000]
"""JSON of no use, and what a reader of JSON may stumble over."""
HOSTILE_OPTIONS = {
    "n": 4,
    "model": "another",
    "prompt": "another",
    "stream": True,
    "response_format": "b64_json",
    "sequential_image_generation": "auto",
    "image": "https://example.org/x.png",
    "content": [],
    "duration": 12,
    "seconds": "12",
    "input": "another",
    "messages": [],
    "max_tokens": 100_000,
    "max_completion_tokens": 100_000,
    "callback_url": "https://example.org/told",
    "no_such_option": 1,
}


class ProviderConformance(ABC):
    """One provider's adapter, for one kind; pictures in one call unless a subclass says otherwise."""

    model: str
    path: str
    kind = Kind.IMAGE
    endpoint = "/images/generations"
    size: str | None = "512x512"
    asked: ClassVar[dict[str, Any]] = {}
    """What every submission of this adapter has besides."""
    meanings: ClassVar[dict[str, type[ProviderRefusal]]] = {}
    """Faults that mean something else here."""
    malformed = tuple(MALFORMED)
    hostile: ClassVar[dict[str, Any]] = HOSTILE_OPTIONS

    @abstractmethod
    def make(
        self, session: aiohttp.ClientSession, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> Provider: ...

    @pytest.fixture
    async def session(self, simulator):
        async with make_session(OutboundSettings(outbound_allow="127.0.0.0/8")) as session:
            yield session

    @pytest.fixture
    def provider(self, session, simulator):
        return self.make(session, simulator.url + self.path)

    def submission(self, words="a quiet harbour", **others):
        asked = {
            "kind": self.kind,
            "reference": REFERENCE,
            "model": self.model,
            "prompt": f"{words} {type(self).__name__}",
            "count": 1,
            "first_index": 0,
            "size": self.size,
            "options": {},
            "timeout_seconds": 20.0,
        } | self.asked
        return Submission(**(asked | others))

    def journal(self, simulator):
        return [entry for entry in simulator._ask("GET", "journal") if type(self).__name__ in entry["prompt"]]

    async def delivered(self, provider, submission):
        """What comes of a submission in the end."""
        return await provider.submit(submission)

    async def test_one(self, provider, simulator):
        [item] = await self.delivered(provider, self.submission())
        await self.check(item)
        [call] = self.journal(simulator)
        assert call["billed"] == 1 and call["client_request_id"] == str(REFERENCE)

    async def check(self, item):
        """A picture, as the type says that came with it."""
        assert isinstance(item, Delivered)
        content = await content_of(item)
        start = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff", "image/webp": b"RIFF"}[item.mime_type]
        assert content.startswith(start)

    @pytest.mark.parametrize(("fault", "refusal"), REFUSALS)
    async def test_a_refusal_is_known_for_what_it_is_and_is_not_retried(self, provider, simulator, fault, refusal):
        """The generator is the one owner of retries."""
        refusal = self.meanings.get(fault, refusal)
        with pytest.raises(refusal) as refused:
            await provider.submit(self.submission(f"[[sim:{fault}]]"))
        assert type(refused.value) is refusal
        assert refused.value.failure.code == refusal.code
        assert KEY not in str(refused.value) and "request id" not in str(refused.value).lower()
        [call] = self.journal(simulator)
        assert call["billed"] == 0

    @pytest.mark.parametrize(("fault", "seconds"), WAITS)
    async def test_throttling_says_how_long(self, provider, fault, seconds):
        with pytest.raises(Throttled) as refused:
            await provider.submit(self.submission(f"[[sim:{fault}]]"))
        assert refused.value.retry_after_seconds == seconds

    async def test_throttling_may_name_a_date(self, provider):
        with pytest.raises(Throttled) as refused:
            await provider.submit(self.submission("[[sim:429-date=30]]"))
        assert 25 < refused.value.retry_after_seconds <= 31

    @pytest.mark.parametrize(
        ("fault", "seconds", "billed"), [("lost", 20, 1), ("reset", 20, 1), ("hang", 0.3, 0), ("hang-paid", 0.3, 1)]
    )
    async def test_a_lost_answer_is_unknown_paid_or_not(self, provider, simulator, fault, seconds, billed):
        with pytest.raises(Unknown):
            await provider.submit(self.submission(f"[[sim:{fault}]]", timeout_seconds=seconds))
        [call] = await until(lambda: self.journal(simulator))
        assert call["billed"] == billed

    async def test_a_drip_ends_with_the_time(self, provider, simulator):
        """The limit is on the whole call, not on silence."""
        began_at = time.monotonic()
        with pytest.raises(Unknown):
            await provider.submit(self.submission("[[sim:slow-first-byte=5]]", timeout_seconds=0.5))
        assert time.monotonic() - began_at < 2
        await until(lambda: self.journal(simulator))  # what was still being made must not reach the next test

    async def test_a_refused_connection_means_that_nothing_left(self, session):
        provider = self.make(session, "http://127.0.0.1:9" + self.path)
        with pytest.raises(Unavailable):
            await provider.submit(self.submission())

    async def test_an_address_that_is_not_allowed_is_not_reached(self, simulator):
        async with make_session(OutboundSettings()) as session:
            with pytest.raises(Unavailable):
                await self.make(session, simulator.url + self.path).submit(self.submission())
        assert self.journal(simulator) == []

    async def test_a_malformed_answer_is_unknown(self, session):
        """It was made, and perhaps paid: not to be paid again without the model's leave."""
        for body in self.malformed:
            async with answering(200, body) as url:
                with pytest.raises(Unknown):
                    await self.make(session, url).submit(self.submission())

    async def test_an_oversize_answer_is_not_read_to_its_end(self, session, simulator):
        with pytest.raises(Unknown):
            await self.make(session, simulator.url + self.path, max_answer_bytes=20).submit(self.submission())

    @pytest.mark.parametrize("body", LIES)
    async def test_what_only_looks_like_an_answer_is_unknown(self, session, body):
        async with answering(200, body) as url:
            with pytest.raises(Unknown):
                await self.make(session, url).submit(self.submission())

    @pytest.mark.parametrize("headers", [{}, {"Content-Length": str(5 * 1024**3)}])
    async def test_five_gigabytes_are_not_read(self, session, headers):
        vendor = answering(200, b" " * 65_536, headers, times=80_000)
        async with vendor as url:
            with pytest.raises(Unknown):
                await self.make(session, url, max_answer_bytes=1_000_000).submit(self.submission())
        assert vendor.sent < 50 * 1024 * 1024  # what buffers on the way may hold, and no more

    async def test_what_unpacks_to_more_than_it_may_is_not_unpacked(self, session):
        async with answering(200, gzip.compress(bytes(64 * 1024**2)), {"Content-Encoding": "gzip"}) as url:
            with pytest.raises(Unknown):
                await self.make(session, url, max_answer_bytes=1_000_000).submit(self.submission())

    async def test_a_redirect_into_the_local_network_is_not_followed(self, session):
        async with answering(302, b"", {"Location": "http://169.254.169.254/latest/meta-data/"}) as url:
            with pytest.raises(Invalid) as refused:
                await self.make(session, url).submit(self.submission())
        assert "169" not in str(refused.value)

    async def test_a_redirect_is_not_followed(self, session, simulator):
        async with answering(307, b"", {"Location": f"{simulator.url}{self.path}{self.endpoint}"}) as url:
            with pytest.raises(Invalid):
                await self.make(session, url).submit(self.submission())
        assert self.journal(simulator) == []

    async def test_options_cannot_change_what_is_paid(self, provider, simulator):
        for options in ({}, {}, self.hostile):
            items = await self.delivered(provider, self.submission(options=options))
            assert len(items) == 1
        calls = self.journal(simulator)
        assert [(call["billed"], call["model"]) for call in calls] == [(1, self.model)] * 3
        plain, again, hostile = (call["body_sha256"] for call in calls)
        if plain == again:  # a form has another boundary each time
            assert hostile == plain

    async def test_a_cancelled_call_leaves_no_connection_behind(self, provider, session):
        call = asyncio.create_task(provider.submit(self.submission("[[sim:hang]]")))
        await asyncio.sleep(0.2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not session.connector._acquired

    async def missing(self, items):
        """The failures among items."""
        return [item.code for item in items if isinstance(item, Failure)]


class TaskConformance(ProviderConformance):
    """An adapter that answers with tasks; videos unless a subclass says otherwise."""

    kind = Kind.VIDEO
    size = "864x480"
    asked: ClassVar[dict[str, Any]] = {"seconds": 2}
    meanings: ClassVar[dict[str, type[ProviderRefusal]]] = {"empty-200": Unknown}
    malformed = (b"", b"<html>busy</html>", b"[1, 2]", b"{}", b'{"id": 5}', b'{"id": ""}', b'{"id": "../../admin"}')
    malformed_looks: tuple[bytes, ...] = (b"", b"<html>busy</html>", b"[1, 2]", b'{"id": "x", "status": 5}')
    stops_what_waits = True
    finds = True
    """Whether the provider can be asked for what it has by something that we told it."""
    stops_what_runs = False

    async def delivered(self, provider, submission):
        task = await provider.submit(submission)
        assert isinstance(task, Task)

        async def ended():
            found = await provider.look(submission, task)
            return None if isinstance(found, Running) else found

        return await until(ended)

    async def check(self, item):
        """A film that plays."""
        assert isinstance(item, Delivered) and item.mime_type == "video/mp4"
        with av.open(io.BytesIO(await content_of(item))) as film:
            [stream] = film.streams.video
            assert stream.codec.name == "h264"
            self.check_film(film.duration / 1_000_000, stream.width, stream.height)

    def check_film(self, seconds, width, height):
        assert (seconds, width, height) == (2, 864, 480)

    async def test_it_can_follow_tasks(self, provider):
        assert isinstance(provider, TaskProvider)

    async def test_it_waits_runs_and_ends(self, provider, simulator):
        submission = self.submission("[[sim:latency=100]]")
        task = await provider.submit(submission)
        stages = []
        for seconds in (0, 30, 30):
            steer(simulator, "POST", "clock", {"seconds": seconds})
            found = await provider.look(submission, task)
            assert isinstance(found, Running)
            stages.append(found.stage)
        assert stages == ["waiting", "rendering", "rendering"]
        steer(simulator, "POST", "clock", {"seconds": 60})
        [item] = await provider.look(submission, task)
        await self.check(item)
        [call] = self.journal(simulator)
        assert call["billed"] == 1

    async def test_any_process_can_look(self, provider, session, simulator):
        """What is kept of a task is enough."""
        submission = self.submission()
        task = await provider.submit(submission)
        other = self.make(session, simulator.url + self.path)
        [item] = await other.look(submission, Task(task.id))
        assert isinstance(item, Delivered)

    @pytest.mark.parametrize(
        ("fault", "code"), [("task-failed", "provider_unavailable"), ("task-moderated", "content_policy")]
    )
    async def test_a_task_that_fails_says_why(self, provider, simulator, fault, code):
        items = await self.delivered(provider, self.submission(f"[[sim:{fault}]]"))
        assert [item.code for item in items] == [code]
        assert KEY not in str(items) and "request id" not in str(items).lower()
        [call] = self.journal(simulator)
        assert call["billed"] == 0

    @pytest.mark.parametrize("fault", ["task-no-url", "task-forgotten"])
    async def test_a_task_of_which_nothing_can_be_had_is_unknown(self, provider, fault):
        submission = self.submission(f"[[sim:{fault}]]")
        task = await provider.submit(submission)
        with pytest.raises(Unknown) as refused:
            await provider.look(submission, task)
        assert task.id not in str(refused.value)

    async def test_a_word_that_nobody_documented_ends_nothing(self, provider):
        submission = self.submission("[[sim:task-word]]")
        assert isinstance(await provider.look(submission, await provider.submit(submission)), Running)

    async def test_a_task_that_goes_back_is_told_as_it_is(self, provider):
        """Nothing is remembered between looks: the first that delivers counts."""
        submission = self.submission("[[sim:task-backwards]]")
        task = await provider.submit(submission)
        looks = [isinstance(await provider.look(submission, task), Running) for _ in range(3)]
        assert looks == [False, True, False]

    @pytest.mark.parametrize(
        ("fault", "refusal"),
        [("429", Throttled), ("500", Unavailable), ("502", Unavailable), ("504", Unavailable), ("401", Unavailable)],
    )
    async def test_a_look_that_fails_says_nothing_about_the_task(self, provider, fault, refusal):
        submission = self.submission(f"[[sim:look-refusedx1={fault}]]")
        task = await provider.submit(submission)
        with pytest.raises(refusal) as refused:
            await provider.look(submission, task)
        assert type(refused.value) is refusal
        [item] = await provider.look(submission, task)
        assert isinstance(item, Delivered)

    async def test_a_look_that_makes_no_sense_says_nothing_about_the_task(self, session, provider, simulator):
        submission, task = self.submission(), Task("cgt-1")
        for body in self.malformed_looks:
            async with answering(200, body) as url:
                with pytest.raises(Unavailable):
                    await self.make(session, url).look(submission, task)
        async with answering(302, b"", {"Location": "http://169.254.169.254/latest/meta-data/"}) as url:
            with pytest.raises(Unavailable):
                await self.make(session, url).look(submission, task)
        for body in LIES:
            async with answering(200, body) as url:
                with pytest.raises(Unavailable):
                    await self.make(session, url).look(submission, task)
        with pytest.raises(Unavailable):
            await self.make(session, "http://127.0.0.1:9").look(submission, task)
        with pytest.raises(Unavailable):
            await self.make(session, simulator.url + self.path, max_answer_bytes=20).look(submission, task)

    async def test_what_waits_can_be_stopped_and_costs_nothing(self, provider, simulator):
        submission = self.submission("[[sim:latency=100]]")
        task = await provider.submit(submission)
        for _ in range(2):  # a handler can run twice
            assert await provider.cancel(submission, task) == self.stops_what_waits
        if not self.stops_what_waits:
            return
        items = await provider.look(submission, task)
        assert [item.code for item in items] == ["provider_unavailable"]
        [call] = self.journal(simulator)
        assert call["billed"] == 0

    async def test_what_runs_goes_on_unless_the_provider_can_stop_it(self, provider, simulator):
        submission = self.submission("[[sim:latency=100]]")
        task = await provider.submit(submission)
        steer(simulator, "POST", "clock", {"seconds": 30})
        assert await provider.cancel(submission, task) == self.stops_what_runs
        steer(simulator, "POST", "clock", {"seconds": 100})
        [item] = await provider.look(submission, task)
        assert isinstance(item, Delivered) != self.stops_what_runs

    async def test_what_is_done_is_kept(self, provider):
        submission = self.submission()
        task = await provider.submit(submission)
        assert not await provider.cancel(submission, task)
        [item] = await provider.look(submission, task)
        assert isinstance(item, Delivered)
        assert not await provider.cancel(submission, Task("cgt-unknown"))

    async def test_a_task_whose_answer_was_lost_is_found(self, provider, simulator):
        submission = self.submission("[[sim:lost]]", reference=uuid4())
        with pytest.raises(Unknown):
            await provider.submit(submission)
        if not self.finds:
            with pytest.raises(Unknown):
                await provider.find(submission)
            return
        task = await provider.find(submission)
        assert task is not None
        [item] = await provider.look(submission, task)
        assert isinstance(item, Delivered)
        [call] = self.journal(simulator)
        assert call["billed"] == 1

    async def test_what_never_arrived_is_surely_not_there(self, provider):
        submission = self.submission(reference=uuid4())
        if not self.finds:
            with pytest.raises(Unknown):
                await provider.find(submission)
            return
        assert await provider.find(submission) is None

    async def test_finding_is_tried_again_when_it_fails(self, session):
        for status, body in ((500, b""), (200, b"<html>"), (429, b"{}")):
            async with answering(status, body) as url:
                with pytest.raises((Unavailable, Throttled) if self.finds else Unknown):
                    await self.make(session, url).find(self.submission())


class TextConformance(ProviderConformance):
    """An adapter that writes."""

    kind = Kind.TEXT
    endpoint = "/chat/completions"
    size = None
    meanings: ClassVar[dict[str, type[ProviderRefusal]]] = {"empty-200": Unknown}
    malformed = (
        b"",
        b"<html>busy</html>",
        b"[1, 2]",
        b"data: nonsense\n\n",
        b'data: {"choices": 5}\n\n',
        b'data: {"choices": [{"delta": {"content": 5}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "half a sen"}}]}\n\n',
        b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n',
    )

    async def check(self, item):
        assert isinstance(item, Delivered) and item.url is None and item.content is None
        assert len(item.text) > 20
        assert item.usage.input_tokens > 0 and item.usage.output_tokens > 0

    async def heard(self, provider, words="", **others):
        """The item, or what it raised, and what was said meanwhile."""
        said = []

        async def say(delta):
            said.append(delta)

        try:
            [result] = await provider.submit(self.submission(words, say=say, **others))
        except ProviderRefusal as refused:
            result = refused
        return result, said

    async def test_it_says_what_it_writes(self, provider):
        item, said = await self.heard(provider, "Tell me about lighthouses")
        assert "".join(said) == item.text and len(said) > 5
        assert "lighthouses" in item.text

    async def test_a_conversation_goes_on(self, provider):
        messages = (
            Message(role="system", content="Speak like a sailor"),
            Message(role="user", content="My boat is the Arrow"),
            Message(role="assistant", content="Aye"),
        )
        item, _ = await self.heard(provider, "What is my boat", messages=messages)
        alone, _ = await self.heard(provider, "What is my boat")
        assert "speak like a sailor" in item.text and "Aye" in item.text
        assert item.usage.input_tokens > alone.usage.input_tokens

    async def test_a_model_calls_for_tools_and_is_told_what_came_of_it(self, provider):
        """Only what it was offered, in whatever pieces it says so; then it goes on."""
        schema = {"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]}
        tools = tuple(
            Tool(name=f"generate_{kind}", description=f"Makes a {kind}.", parameters=schema)
            for kind in ("image", "video", "speech")
        )
        said = "An image and a video of a fox"
        item, _ = await self.heard(provider, said, tools=tools)
        assert [call.name for call in item.calls] == ["generate_image", "generate_video"]
        assert all(said in json.loads(call.arguments)["prompt"] for call in item.calls)
        assert len({call.id for call in item.calls}) == 2 and item.usage.output_tokens >= 0
        answers = [Message(role="tool", content=f"made {n}", call_id=call.id) for n, call in enumerate(item.calls)]
        since = (Message(role="assistant", content=item.text, calls=item.calls), *answers)
        more, pieces = await self.heard(provider, said, tools=tools, since=since)
        assert not more.calls and "".join(pieces) == more.text and "made 0" in more.text and "made 1" in more.text
        plain, _ = await self.heard(provider, said)
        assert not plain.calls

    async def test_it_writes_no_more_than_may_be_paid(self, provider):
        item, said = await self.heard(provider, max_tokens=4)
        assert item.usage.output_tokens == len(said) == 4

    @pytest.mark.parametrize("fault", ["reset", "stream-cut", "stream-error"])
    async def test_a_text_that_broke_off_is_not_delivered(self, provider, simulator, fault):
        """What was heard of it costs nothing; whether the provider takes something is not known."""
        refused, said = await self.heard(provider, f"[[sim:{fault}]]")
        assert isinstance(refused, Unknown) and said
        [call] = self.journal(simulator)
        assert call["billed"] == 1

    async def test_a_model_that_refuses_is_a_refusal(self, provider):
        refused, _ = await self.heard(provider, "[[sim:declined]]")
        assert isinstance(refused, Rejected)

    async def test_a_stream_without_an_end_ends_with_the_time(self, provider):
        began_at = time.monotonic()
        refused, said = await self.heard(provider, "[[sim:stream-endless]]", timeout_seconds=0.7)
        assert isinstance(refused, Unknown) and said
        assert time.monotonic() - began_at < 2

    async def test_a_stream_without_an_end_ends_with_the_bytes(self, session, simulator):
        provider = self.make(session, simulator.url + self.path, max_answer_bytes=20_000)
        refused, said = await self.heard(provider, "[[sim:stream-endless]]")
        assert isinstance(refused, Unknown) and said

    async def test_it_can_be_stopped_while_it_writes(self, provider, session):
        said = []

        async def say(delta):
            said.append(delta)

        call = asyncio.create_task(provider.submit(self.submission("[[sim:stream-slow=0.05]]", say=say)))
        await until(lambda: len(said) > 2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not session.connector._acquired

    async def test_somebody_who_cannot_listen_stops_it(self, provider, session):
        async def say(_):
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await provider.submit(self.submission(say=say))
        assert not session.connector._acquired


class SpeechConformance(ProviderConformance):
    """An adapter that speaks."""

    kind = Kind.SPEECH
    endpoint = "/audio/speech"
    size = None
    malformed = (b"[1, 2]", b'{"audio": "none"}')
    hostile: ClassVar[dict[str, Any]] = {
        name: value for name, value in HOSTILE_OPTIONS.items() if name != "response_format"
    }

    async def check(self, item):
        assert isinstance(item, Delivered) and item.mime_type == "audio/mpeg"
        assert await self.seconds(item) > 0.5

    async def seconds(self, item):
        with av.open(io.BytesIO(await content_of(item))) as sound:
            return sum(frame.samples / frame.sample_rate for frame in sound.decode(audio=0))

    async def test_a_longer_text_takes_longer(self, provider):
        [short] = await provider.submit(self.submission("A word."))
        [long] = await provider.submit(self.submission("A sentence that goes on and on and on until it ends. " * 3))
        assert await self.seconds(long) > 2 * await self.seconds(short)

    @pytest.mark.parametrize(("fault", "refusal"), [("asset-empty", Unavailable), ("asset-html", Unknown)])
    async def test_what_is_no_sound_is_not_delivered(self, provider, fault, refusal):
        with pytest.raises(refusal):
            await provider.submit(self.submission(f"[[sim:{fault}]]"))


def steer(simulator, method, path, body):
    """Tells the simulator what the next calls meet."""
    question = urllib.request.Request(
        f"{simulator.url}/__sim/{path}",
        method=method,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(question, timeout=5) as answer:
        return json.loads(answer.read())


async def content_of(item):
    """The bytes, wherever they are; no key is needed for an address."""
    assert (item.url is None) != (item.content is None)
    if item.content is not None:
        return item.content
    async with aiohttp.ClientSession() as session, session.get(item.url) as answer:
        assert answer.status == 200
        return await answer.read()


def picture(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


def average_colour(content):
    return Image.open(io.BytesIO(content)).convert("RGB").resize((1, 1)).getpixel((0, 0))


class answering:  # noqa: N801 - reads as a word
    """A server that answers everything the same; `heard` are the paths that it was asked for."""

    def __init__(self, status, body, headers=None, drip_seconds=0.0, times=1):
        self._answer = (status, body, headers or {}, drip_seconds, times)
        self.heard = []
        self.sent = 0

    async def __aenter__(self):
        status, body, headers, drip_seconds, times = self._answer
        kind = "text/event-stream" if body.startswith((b"data:", b"event:")) else "application/json"

        async def handle(request):
            self.heard.append(request.path)
            response = web.StreamResponse(status=status, headers={"Content-Type": kind} | headers)
            if times == 1 and not drip_seconds:
                response.content_length = len(body)
            await response.prepare(request)
            for _ in range(int(drip_seconds * 20)):
                await response.write(b" ")
                await asyncio.sleep(0.05)
            with contextlib.suppress(ConnectionError):
                for _ in range(times):
                    await response.write(body)
                    self.sent += len(body)
            return response

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_):
        await self._runner.cleanup()
