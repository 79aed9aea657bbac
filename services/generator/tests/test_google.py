"""Google: pictures and films by the conformance suite, and the Flow contract beside it."""

import json

import pytest
from aiohttp import web

from contracts.facts import Failure
from generator.providers.flow import Flow
from generator.providers.google import Google
from generator.providers.interface import (
    Delivered,
    Invalid,
    QuotaExhausted,
    Rejected,
    Running,
    Task,
    Throttled,
    Unauthorized,
    Unavailable,
    Unknown,
)
from generator.providers.transport import MAX_ANSWER_BYTES

from .conformance import KEY, ProviderConformance
from .conformance_tasks import TaskConformance
from .films import StoppedAtACost, still
from .vendor import answering, content_of, steer

PIXEL = "iVBORw0KGgo="


class TestPicture(ProviderConformance):
    model = "gemini-2.5-flash-image"
    path = "/google"
    endpoint = f"/v1beta/models/{model}:generateContent"
    malformed = (
        *ProviderConformance.malformed,
        b'{"candidates": [{"content": {"parts": [{"inlineData": {"data": "not base64!"}}]}}]}',
        b'{"candidates": [{"content": {"parts": [{"inlineData": {"data": ""}}]}}]}',
        b'{"candidates": [{"content": {"parts": [{"inlineData": {"data": 5}}]}}]}',
        b'{"candidates": {}}',
    )

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return Google(session, KEY, base_url, max_answer_bytes)

    async def test_from_a_picture(self, provider):
        plain, given = self.submission(), self.submission(given=(still("image"),))
        contents = [(await provider.submit(each))[0].content for each in (plain, given)]
        assert contents[0] != contents[1]

    async def test_a_picture_that_was_blocked_is_none(self, provider):
        with pytest.raises(Rejected):
            await provider.submit(self.submission("[[sim:partial=1]]"))

    @pytest.mark.parametrize(
        ("status", "error", "refusal"),
        [
            (400, {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}, Unauthorized),
            (400, {"status": "INVALID_ARGUMENT", "message": "aspectRatio must be one of these"}, Invalid),
            (403, {"status": "PERMISSION_DENIED"}, Unauthorized),
            (
                429,
                {"status": "RESOURCE_EXHAUSTED", "details": [{"violations": [{"quotaId": "PerDay"}]}]},
                QuotaExhausted,
            ),
            (503, {"status": "UNAVAILABLE"}, Unavailable),
            (504, {"status": "DEADLINE_EXCEEDED"}, Unknown),
            (500, "not an object", Unavailable),
            (429, {"status": "RESOURCE_EXHAUSTED", "details": "none"}, Throttled),
        ],
    )
    async def test_its_own_words(self, session, status, error, refusal):
        async with answering(status, json.dumps({"error": error}).encode()) as url:
            with pytest.raises(refusal) as refused:
                await self.make(session, url).submit(self.submission())
        assert type(refused.value) is refusal

    async def test_throttling_says_in_its_details_how_long(self, session):
        error = {"status": "RESOURCE_EXHAUSTED", "details": [{"@type": "google.rpc.RetryInfo", "retryDelay": "17.5s"}]}
        async with answering(429, json.dumps({"error": error}).encode()) as url:
            with pytest.raises(Throttled) as refused:
                await self.make(session, url).submit(self.submission())
        assert refused.value.retry_after_seconds == 17.5

    @pytest.mark.parametrize(
        ("answer", "refusal"),
        [
            ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, Rejected),
            ({"candidates": [{"finishReason": "IMAGE_SAFETY"}]}, Rejected),
            ({"candidates": [{"finishReason": "MAX_TOKENS", "content": {"parts": [{"text": "no"}]}}]}, Unavailable),
            ({"candidates": [{"content": {"parts": [{"thought": True, "inlineData": {"data": PIXEL}}]}}]}, Unavailable),
            ({"candidates": []}, Unknown),
        ],
    )
    async def test_an_answer_without_a_picture(self, session, answer, refusal):
        async with answering(200, json.dumps(answer).encode()) as url:
            with pytest.raises(refusal) as refused:
                await self.make(session, url).submit(self.submission())
        assert type(refused.value) is refusal


class TestFilm(TaskConformance):
    model = "veo-3.1-fast-generate-preview"
    path = "/google"
    endpoint = f"/v1beta/models/{model}:predictLongRunning"
    asked = {"seconds": 4}
    size = "1280x720"
    malformed = (*TaskConformance.malformed, b'{"name": "models/x/operations/../../../v1/user"}', b'{"name": ""}')
    finds = False
    stops_what_waits = False

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return Google(session, KEY, base_url, max_answer_bytes)

    def check_film(self, seconds, width, height):
        assert (seconds, width, height) == (4, 1280, 720)

    async def test_it_waits_runs_and_ends(self, provider, simulator):
        """It tells neither waiting from running, nor how far it is."""
        submission = self.submission("[[sim:latency=100]]")
        task = await provider.submit(submission)
        assert await provider.look(submission, task) == Running()
        steer(simulator, "POST", "clock", {"seconds": 120})
        [item] = await provider.look(submission, task)
        await self.check(item)
        assert item.content is not None  # nobody else can download it

    async def test_several_of_which_some_were_filtered(self, provider, simulator):
        items = await self.delivered(provider, self.submission("[[sim:partial=2]]", count=3))
        assert [getattr(item, "code", None) for item in items] == [None, None, "content_policy"]
        assert items[0].content != items[1].content
        [call] = self.journal(simulator)
        assert call["billed"] == 2

    async def test_from_a_first_and_a_last_frame(self, provider):
        [item] = await self.delivered(provider, self.submission(given=(still(), still("last_frame"))))
        await self.check(item)

    @pytest.mark.parametrize("seconds", [3, 5, 9])
    async def test_what_it_does_not_offer(self, provider, seconds):
        with pytest.raises(Invalid) as refused:
            await provider.submit(self.submission(seconds=seconds))
        assert "durationSeconds" in str(refused.value)

    @pytest.mark.parametrize(
        ("uri", "status", "headers", "refusal"),
        [
            ("https://evil.example/files/abc:download", 200, {}, Unavailable),  # an empty file
            ("https://g.example/v1beta/files/abc:download", 302, {"Location": "http://169.254.169.254/"}, Unknown),
            ("https://g.example/v1beta/files/abc:download", 302, {"Location": "http://127.0.0.1:9/"}, Unavailable),
            ("https://g.example/v1beta/files/abc:download", 302, {}, Unknown),
            ("https://g.example/v1beta/files/abc:download", 302, {"Location": "file:///etc/passwd"}, Unknown),
            ("https://g.example/v1beta/files/abc:download", 404, {}, Unknown),
            ("https://g.example/v1beta/files/abc:download", 403, {}, Unavailable),
            ("https://g.example/v1beta/files/abc:download", 503, {}, Unavailable),
            ("https://g.example/v1beta/files/../../x", 200, {}, Unknown),
            ("https://g.example/", 200, {}, Unknown),
            ("", 200, {}, Unknown),
        ],
    )
    async def test_a_film_that_cannot_be_downloaded(self, session, uri, status, headers, refusal):
        """Only a file's name is taken from an address, and the key goes to the vendor alone."""
        heard, url, runner = await _vendor(uri, status, headers)
        try:
            with pytest.raises(refusal) as refused:
                await self.make(session, url).look(self.submission(), Task("op1"))
        finally:
            await runner.cleanup()
        assert type(refused.value).code == refusal.code and "abc" not in str(refused.value)
        assert {path for path in heard if "files" in path} <= {"/v1beta/files/abc:download"}

    async def test_what_it_says_of_a_failure(self, session):
        for code, failure in ((3, "content_policy"), (13, "provider_unavailable"), ("x", "provider_unavailable")):
            body = {"name": "n", "done": True, "error": {"code": code, "message": "operation op1 failed"}}
            async with answering(200, json.dumps(body).encode()) as url:
                [item] = await self.make(session, url).look(self.submission(), Task("op1"))
            assert isinstance(item, Failure) and item.code == failure and "op1" not in item.message

    @pytest.mark.parametrize("response", [None, {}, "none", {"generateVideoResponse": {"generatedSamples": [{}]}}])
    async def test_done_without_a_film(self, session, response):
        body = {"name": "n", "done": True, "response": response}
        async with answering(200, json.dumps(body).encode()) as url:
            with pytest.raises(Unknown):
                await self.make(session, url).look(self.submission(), Task("op1"))


class TestInteractions(StoppedAtACost, TaskConformance):
    """The way of the newest models, which can be stopped."""

    model = "gemini-omni-1.1-flash"
    path = "/google"
    endpoint = "/v1/interactions"
    size = "640x360"
    finds = False

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return Google(session, KEY, base_url, max_answer_bytes)

    def check_film(self, seconds, width, height):
        assert (seconds, width, height) == (2, 640, 352)

    async def test_from_a_picture_and_every_whole_second(self, provider):
        for seconds in (3, 7, 10):
            [item] = await self.delivered(provider, self.submission(seconds=seconds, given=(still(),)))
            assert item.content is not None
        with pytest.raises(Invalid) as refused:
            await provider.submit(self.submission(seconds=11))
        assert "duration" in str(refused.value)

    @pytest.mark.parametrize(
        "steps",
        [
            [],
            None,
            [{"type": "model_output", "content": [{"type": "text"}]}],
            [{"type": "user_input", "content": [{"type": "video", "uri": "https://g.example/files/abc"}]}],
            [{"type": "model_output", "content": [{"type": "video"}]}],
            [{"type": "model_output", "content": [{"type": "video", "uri": "https://g.example/secret"}]}],
            [{"type": "model_output", "content": [{"type": "video", "data": "not base64!"}]}],
        ],
    )
    async def test_done_without_a_film(self, session, steps):
        body = json.dumps({"id": "i1", "status": "completed", "steps": steps}).encode()
        async with answering(200, body) as url:
            with pytest.raises(Unknown):
                await self.make(session, url).look(self.submission(), Task("i1"))


class TestFlow(TaskConformance):
    model = "flow"
    path = "/flow"
    endpoint = "/videos:generate"
    size = "1280x720"
    malformed = (
        *TaskConformance.malformed,
        b'{"operationName": "a"}',
        b'{"operationName": "a", "sceneId": 5}',
        b'{"operationName": "a#b", "sceneId": "c"}',
    )
    finds = False
    stops_what_waits = False

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return Flow(session, KEY, base_url, max_answer_bytes)

    def check_film(self, seconds, width, height):
        assert (seconds, width, height) == (2, 1280, 720)

    async def test_a_task_is_an_operation_and_a_scene(self, provider):
        """One without the other is not known."""
        submission = self.submission()
        task = await provider.submit(submission)
        operation, scene = task.id.split("#")
        other = await provider.submit(submission)
        for wrong in (Task(f"{operation}#{other.id.split('#')[1]}"), Task(f"{operation}#"), Task(f"#{scene}")):
            with pytest.raises((Unknown, Invalid)):
                await provider.look(submission, wrong)

    @pytest.mark.parametrize(
        ("words", "refusal"), [("unsafe generation", Rejected), ("unusual activity", Throttled), ("odd", Invalid)]
    )
    async def test_its_own_words(self, session, words, refusal):
        async with answering(400, json.dumps({"error": words}).encode()) as url:
            with pytest.raises(refusal) as refused:
                await self.make(session, url).submit(self.submission())
        assert type(refused.value) is refusal

    async def test_from_a_picture_and_upright(self, provider):
        [item] = await self.delivered(provider, self.submission(size="720x1280", given=(still(),)))
        assert isinstance(item, Delivered) and await content_of(item)


async def _vendor(uri, status, headers):
    """One whose only operation is done, with its film at this address; what was asked of it, and where it is."""
    heard = []

    async def handle(request):
        heard.append(request.path)
        if "/operations/" in request.path:
            samples = [{"video": {"uri": uri}}]
            return web.json_response(
                {"done": True, "response": {"generateVideoResponse": {"generatedSamples": samples}}}
            )
        assert request.headers["x-goog-api-key"] == KEY
        return web.Response(status=status, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return heard, f"http://127.0.0.1:{runner.addresses[0][1]}", runner
