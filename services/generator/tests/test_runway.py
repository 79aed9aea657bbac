"""Runway: films by the conformance suite, and what is its own."""

import pytest

from generator.providers.interface import Invalid, Running, Task, Unavailable, Unknown
from generator.providers.runway import Runway
from generator.providers.transport import MAX_ANSWER_BYTES

from .conformance import KEY
from .conformance_tasks import TaskConformance
from .films import StoppedAtACost, still
from .vendor import answering, steer

TASK = Task("018f0000-0000-7000-8000-000000000009")


class TestText(StoppedAtACost, TaskConformance):
    model = "gen4.5"
    path = "/runway"
    endpoint = "/v1/text_to_video"
    size = "1280x720"
    finds = False

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return Runway(session, KEY, base_url, max_answer_bytes)

    def check_film(self, seconds, width, height):
        assert (seconds, width, height) == (2, 1280, 720)

    async def test_what_it_will_cost_and_how_far_it_is(self, provider, simulator):
        submission = self.submission("[[sim:latency=100]]")
        task = await provider.submit(submission)
        assert task.cost_micros == 240_000
        steer(simulator, "POST", "clock", {"seconds": 60})
        assert await provider.look(submission, task) == Running(percent=50)

    async def test_every_whole_second(self, provider):
        for seconds in range(2, 11):
            assert isinstance(await provider.submit(self.submission(seconds=seconds)), Task)
        with pytest.raises(Invalid) as refused:
            await provider.submit(self.submission(seconds=11))
        assert "duration" in str(refused.value)

    @pytest.mark.parametrize("progress", ["-1", "7", "true", '"half"', "null", "1e400"])
    async def test_a_progress_of_no_sense_is_none(self, session, progress):
        async with answering(200, f'{{"status": "RUNNING", "progress": {progress}}}'.encode()) as url:
            assert await self.make(session, url).look(self.submission(), TASK) == Running()

    @pytest.mark.parametrize(
        ("code", "failure"),
        [
            ("SAFETY.INPUT.TEXT", "content_policy"),
            ("SAFETY.OUTPUT.VIDEO", "content_policy"),
            ("INTERNAL.BAD_OUTPUT.CODE01", "provider_unavailable"),
            ("", "provider_unavailable"),
        ],
    )
    async def test_why_it_failed(self, session, code, failure):
        body = f'{{"status": "FAILED", "failure": "task {TASK.id} failed", "failureCode": "{code}"}}'.encode()
        async with answering(200, body) as url:
            [item] = await self.make(session, url).look(self.submission(), TASK)
        assert item.code == failure and TASK.id not in item.message

    @pytest.mark.parametrize("output", ["[]", "null", '"https://a.example/1"', '["file:///etc/passwd"]', "[5]"])
    async def test_an_output_of_no_use(self, session, output):
        async with answering(200, f'{{"status": "SUCCEEDED", "output": {output}}}'.encode()) as url:
            with pytest.raises(Unknown):
                await self.make(session, url).look(self.submission(), TASK)

    async def test_looking_again_gives_an_address_that_lives(self, provider, simulator):
        submission = self.submission()
        task = await provider.submit(submission)
        await provider.look(submission, task)
        steer(simulator, "POST", "clock", {"seconds": 30 * 3600})
        [item] = await provider.look(submission, task)
        await self.check(item)

    async def test_a_daily_limit_is_no_throttling(self, session):
        async with answering(429, b'{"error": "You have reached your daily task limit."}') as url:
            with pytest.raises(Exception) as refused:
                await self.make(session, url).submit(self.submission())
        assert refused.value.code == "provider_quota"

    async def test_a_cancellation_that_says_nothing_is_tried_again(self, session):
        async with answering(200, b'{"status": "CANCELLED"}') as url:
            with pytest.raises(Unavailable):
                await self.make(session, url).cancel(self.submission(), TASK)


class TestPicture(TestText):
    model = "gen4_turbo"
    endpoint = "/v1/image_to_video"
    asked = {"seconds": 2, "given": (still(),)}

    async def test_what_it_will_cost_and_how_far_it_is(self, provider):
        assert (await provider.submit(self.submission())).cost_micros == 100_000

    async def test_its_other_shapes(self, provider):
        for size in ("1104x832", "960x960", "720x1280"):
            [item] = await self.delivered(provider, self.submission(size=size))
            assert item.mime_type == "video/mp4"

    async def test_a_last_frame_that_it_does_not_take(self, provider):
        with pytest.raises(Invalid) as refused:
            await provider.submit(self.submission(given=(still(), still("last_frame"))))
        assert "position" in str(refused.value)
