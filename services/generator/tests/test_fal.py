"""fal: pictures and films by the conformance suite, and what is its queue's own."""

import io
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from PIL import Image

from contracts.facts import Kind
from generator.providers.fal import Fal
from generator.providers.interface import Invalid, Running, Task, Throttled, Unavailable, Unknown
from generator.providers.transport import MAX_ANSWER_BYTES

from .conformance import KEY
from .conformance_tasks import TaskConformance
from .films import StoppedAtACost, still
from .vendor import answering, content_of

FLUX = "fal-ai/flux/schnell"


class TestPika(StoppedAtACost, TaskConformance):
    model = "fal-ai/pika/v2.2/text-to-video"
    path = "/fal"
    endpoint = f"/{model}"
    asked = {"seconds": 5, "options": {"resolution": "1080p"}}  # dearer, and no part of what was quoted
    malformed = (*TaskConformance.malformed, b'{"request_id": "../../admin"}', b'{"request_id": ""}')
    finds = False

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return Fal(session, KEY, base_url, max_answer_bytes)

    def check_film(self, seconds, width, height):
        assert (seconds, width, height) == (5, 1280, 720)

    async def test_a_place_in_the_queue(self, provider):
        submission = self.submission("[[sim:latency=100]]")
        task = await provider.submit(submission)
        places = [(await provider.look(submission, task)).position for _ in range(3)]
        assert places == [4, 3, 2]

    async def test_what_is_wrong_is_found_when_it_runs(self, provider, simulator):
        """A request that is completed may have failed; nobody pays for it."""
        items = await self.delivered(provider, self.submission(seconds=7))
        assert [item.code for item in items] == ["invalid_request"] and "duration" in items[0].message
        [call] = self.journal(simulator)
        assert call["billed"] == 0

    @pytest.mark.parametrize(("status", "refusal"), [(429, Throttled), (500, Unavailable)])
    async def test_who_is_not_heard_when_it_is_stopped_is_told_again(self, session, status, refusal):
        async with _queue({"status": "IN_QUEUE"}, status, b"{}") as url:
            with pytest.raises(refusal):
                await self.make(session, url).cancel(self.submission(), Task("r1"))
        async with _queue({"status": "IN_QUEUE"}, 400, b'{"status": "ALREADY_COMPLETED"}') as url:
            assert not await self.make(session, url).cancel(self.submission(), Task("r1"))

    async def test_its_queue_does_not_try_again_by_itself(self, session):
        heard = []

        async def handle(request):
            heard.append((request.headers["x-fal-no-retry"], request.headers["Authorization"]))
            return web.json_response({"request_id": "r1"})

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            await self.make(session, f"http://127.0.0.1:{runner.addresses[0][1]}").submit(self.submission())
        finally:
            await runner.cleanup()
        assert heard == [("1", f"Key {KEY}")]

    async def test_a_callback_is_asked_for_in_the_address(self, provider, simulator):
        async with answering(200, b"") as url:
            await provider.submit(self.submission(callback_url=f"{url}/hook?attempt=1&by=fal"))
        with pytest.raises(Invalid):
            await provider.submit(self.submission(callback_url="ftp://nowhere"))


class TestFlux(TestPika):
    kind = Kind.IMAGE
    model = FLUX
    endpoint = f"/{FLUX}"
    asked = {}
    size = "512x512"

    async def check(self, item):
        await super(TaskConformance, self).check(item)

    async def test_what_is_wrong_is_found_when_it_runs(self, provider, simulator):
        items = await self.delivered(provider, self.submission(options={"num_inference_steps": 40}))
        assert [item.code for item in items] == ["invalid_request"]

    async def test_several_of_exactly_the_size_in_one_call(self, provider, simulator):
        items = await self.delivered(provider, self.submission(count=3, size="640x384"))
        contents = [await content_of(item) for item in items]
        assert len(set(contents)) == 3
        assert Image.open(io.BytesIO(contents[0])).size == (640, 384)
        [call] = self.journal(simulator)
        assert call["billed"] == 3

    @pytest.mark.parametrize("fault", ["task-forgotten"])
    async def test_a_task_of_which_nothing_can_be_had_is_unknown(self, provider, fault):
        await super().test_a_task_of_which_nothing_can_be_had_is_unknown(provider, fault)

    async def test_a_task_that_is_done_and_holds_no_picture_says_so(self, provider):
        """An empty list is an answer."""
        items = await self.delivered(provider, self.submission("[[sim:task-no-url]]", count=2))
        assert [item.code for item in items] == ["nothing_made"] * 2

    async def test_one_of_several_that_is_blocked(self, provider):
        items = await self.delivered(provider, self.submission("[[sim:partial=2]]", count=3))
        assert [getattr(item, "code", None) for item in items] == [None, "content_policy", None]

    @pytest.mark.parametrize(
        ("status", "body", "code"),
        [
            (
                422,
                b'{"detail": [{"loc": ["body"], "msg": "no", "type": "content_policy_violation"}]}',
                "content_policy",
            ),
            (504, b'{"detail": [{"msg": "late", "type": "generation_timeout"}]}', "provider_unavailable"),
            (503, b'{"detail": "gone", "error_type": "runner_disconnected"}', "provider_unavailable"),
            (200, b'{"detail": "a lie"}', "provider_unavailable"),
            (200, b'{"images": [], "seed": 1}', "nothing_made"),
        ],
    )
    async def test_a_result_that_says_why_there_is_none(self, session, status, body, code):
        items = await _result_of(self, session, status, body)
        assert [item.code for item in items] == [code]

    @pytest.mark.parametrize(
        ("status", "body", "refusal"),
        [
            (502, b"<html>nginx</html>", Unavailable),
            (200, b"<html>", Unavailable),
            (404, b"{}", Unknown),
            (200, b"{}", Unknown),
            (200, b'{"images": [{"url": "file:///etc/passwd"}]}', Unknown),
            (200, b'{"images": "none"}', Unknown),
        ],
    )
    async def test_a_result_of_no_use(self, session, status, body, refusal):
        with pytest.raises(refusal) as refused:
            await _result_of(self, session, status, body)
        assert type(refused.value).code == refusal.code

    async def test_the_key_goes_to_no_address_inside_an_answer(self, session, simulator):
        """Whatever the answer says about where to ask, we ask the vendor."""
        async with answering(200, b"{}") as elsewhere:
            body = f'{{"request_id": "r1", "status_url": "{elsewhere}/s", "response_url": "{elsewhere}/r"}}'
            async with answering(200, body.encode()) as url:
                provider = self.make(session, url)
                task = await provider.submit(self.submission())
                assert task == Task("r1")
                with pytest.raises(Unavailable):
                    await provider.look(self.submission(), task)


class TestKling(TestPika):
    """From a picture."""

    model = "fal-ai/kling-video/v2.1/master/image-to-video"
    endpoint = f"/{model}"
    asked = {"seconds": 5, "given": (still(),)}

    def check_film(self, seconds, width, height):
        assert (seconds, width, height) == (5, 1280, 720)


async def _result_of(suite, session, status, body):
    """Of a request that is completed."""
    async with _queue({"status": "COMPLETED", "logs": None}, status, body) as url:
        found = await suite.make(session, url).look(suite.submission(), Task("r1"))
        assert not isinstance(found, Running)
        return found


@asynccontextmanager
async def _queue(told, status, body):
    """A server that tells this of every request, and answers this to whatever else it is asked."""

    async def handle(request):
        if request.path.endswith("/status"):
            return web.json_response(told)
        return web.Response(status=status, body=body, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
