"""ModelArk's own: groups of pictures, videos."""

import io
import json
from typing import ClassVar
from uuid import uuid4

import av
import pytest

from generator.providers import sdk
from generator.providers.interface import Delivered, Given, Invalid, Rejected, Running, Task, Unavailable, Unknown
from generator.providers.modelark import ModelArk
from generator.providers.modelark_videos import frame, without_flags
from generator.providers.transport import MAX_ANSWER_BYTES

from .conformance import KEY, ProviderConformance
from .conformance_tasks import TaskConformance
from .stage import until
from .vendor import answering, average_colour, content_of, picture, steer


def sse(*events):
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


class TestModelArkGroups(ProviderConformance):
    """Seedream 4: several pictures in one call, streamed."""

    model = "seedream-4-0-250828"
    path = "/ark/api/v3"
    size = "1024x1024"
    meanings: ClassVar = {"empty-200": Unavailable}

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return ModelArk(session, KEY, base_url, max_answer_bytes)

    async def test_several_in_one_call(self, provider, simulator):
        items = await provider.submit(self.submission(count=3))
        assert len({item.url for item in items}) == 3
        for item in items:
            await self.check(item)
        [call] = self.journal(simulator)
        assert call["billed"] == 3

    async def test_what_was_blocked_is_that_output_s_failure_and_the_rest_arrives(self, provider, simulator):
        """The SDKs' own readers give up the later pictures."""
        items = await provider.submit(self.submission("[[sim:partial=2]]", count=3))
        assert [isinstance(item, Delivered) for item in items] == [True, False, True]
        assert items[1].code == "content_policy"
        [call] = self.journal(simulator)
        assert call["billed"] == 2

    async def test_an_internal_error_ends_the_group(self, provider):
        items = await provider.submit(self.submission("[[sim:stopped=2]]", count=3))
        assert await self.missing(items) == ["provider_unavailable"] * 2 and isinstance(items[0], Delivered)

    @pytest.mark.parametrize("fault", ["reset", "stream-cut", "stream-error"])
    async def test_what_was_made_before_the_stream_broke_is_delivered(self, provider, fault):
        items = await provider.submit(self.submission(f"[[sim:{fault}]]", count=4))
        codes = await self.missing(items)
        assert isinstance(items[0], Delivered) and 1 <= len(codes) < 4
        assert set(codes) <= {"provider_unknown", "provider_unavailable"}

    async def test_a_stream_without_an_end_ends_with_the_time(self, provider):
        items = await provider.submit(self.submission("[[sim:stream-endless]]", count=4, timeout_seconds=0.7))
        assert set(await self.missing(items)) == {"provider_unknown"}

    @pytest.mark.parametrize("fault", ["lost", "hang-paid"])
    async def test_a_group_of_which_nothing_arrived_is_unknown(self, provider, fault):
        with pytest.raises(Unknown):
            await provider.submit(self.submission(f"[[sim:{fault}]]", count=4, timeout_seconds=0.7))

    @pytest.mark.parametrize(
        ("body", "refusal"),
        [
            (sse({"error": {"code": "InternalServiceError", "message": "secret"}}), Unknown),
            (sse({"error": {"code": "InputTextSensitiveContentDetected", "message": "secret"}}), Rejected),
            (sse({"type": "image_generation.completed"}), Unavailable),
            (b"data: [DONE]\n\n", Unknown),
            (b"data: nonsense\n\n", Unknown),
            (sse({"type": "image_generation.partial_succeeded", "url": "file:///etc/passwd"}), Unknown),
            (b'{"data": []}', Unknown),
            (b"<html>busy</html>", Unknown),
        ],
    )
    async def test_streams_that_deliver_nothing(self, session, body, refusal):
        async with answering(200, body) as url:
            with pytest.raises(refusal) as refused:
                await self.make(session, url).submit(self.submission(count=2))
        assert "secret" not in str(refused.value)

    async def test_a_picture_is_no_task_that_could_be_found(self, provider):
        with pytest.raises(Unknown):
            await provider.find(self.submission())

    async def test_pictures_to_start_from(self, provider, simulator):
        given = Given(role="image", content=picture("red"), mime_type="image/PNG")
        [plain] = await provider.submit(self.submission())
        [item] = await provider.submit(self.submission(given=(given, given)))
        assert average_colour(await content_of(item))[0] > average_colour(await content_of(plain))[0]
        with pytest.raises(Invalid):
            await provider.submit(self.submission(given=(Given(role="image", content=b"nonsense"),)))


class TestModelArkVideos(TaskConformance):
    model = "seedance-1-0-lite-t2v-250428"
    path = "/ark/api/v3"
    endpoint = "/contents/generations/tasks"

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return ModelArk(session, KEY, base_url, max_answer_bytes)

    async def test_flags_in_a_prompt_decide_nothing(self, provider, simulator):
        [item] = await self.delivered(provider, self.submission("--dur 12 --rs 1080p a boat --wm true --no-end"))
        await self.check(item)

    async def test_first_and_last_frame(self, provider):
        frames = tuple(Given(role=role, content=picture("red")) for role in ("first_frame", "last_frame"))
        model = "seedance-1-0-lite-i2v-250428"
        [item] = await self.delivered(provider, self.submission(model=model, given=frames))
        await self.check(item)
        with pytest.raises(Invalid):
            await provider.submit(self.submission(model=model, given=frames[1:]))
        with pytest.raises(Invalid):
            await provider.submit(self.submission(given=(Given(role="audio", url="https://x.example/a"),)))

    async def test_a_task_that_nobody_began_expires(self, provider, simulator):
        submission = self.submission("[[sim:task-expired]]")
        task = await provider.submit(submission)
        assert await provider.look(submission, task) == Running(stage="waiting")
        steer(simulator, "POST", "clock", {"seconds": 172_801})
        [failure] = await provider.look(submission, task)
        assert failure.code == "provider_unavailable"

    async def test_the_caller_s_own_seed_finds_nothing_for_sure(self, provider):
        submission = self.submission("[[sim:lost]]", reference=uuid4(), options={"seed": 77_001})
        assert await provider.find(submission) is None
        with pytest.raises(Unknown):
            await provider.submit(submission)
        with pytest.raises(Unknown):
            await provider.find(submission)

    async def test_what_is_no_name_of_a_task_is_not_found(self, session):
        """It could not be stored, or would lead elsewhere when it is asked for."""
        submission = self.submission()
        for name in ("cgt-1\x00", "../../admin"):
            task = {"id": name, "status": "running", "seed": submission.reference.int % 2**31}
            async with answering(200, json.dumps({"total": 1, "items": [task]}).encode()) as url:
                with pytest.raises(Unavailable):
                    await self.make(session, url).find(submission)

    async def test_the_provider_is_told_where_to_say_that_a_task_moved(self, provider, simulator):
        listener = answering(200, b"{}")
        async with listener as url:
            await provider.submit(self.submission(callback_url=f"{url}/hint/1"))
            await until(lambda: "/hint/1" in listener.heard)

    async def test_shorter_than_the_model_can_is_made_longer(self, provider):
        model = "seedance-1-5-pro-251215"
        [item] = await self.delivered(provider, self.submission(model=model, seconds=2))
        with av.open(io.BytesIO(await content_of(item))) as film:
            assert film.duration == 4_000_000

    async def test_a_look_that_drips_ends(self, session, monkeypatch):
        monkeypatch.setattr(sdk, "LOOK_TIMEOUT_SECONDS", 0.3)
        async with answering(200, b"{}", drip_seconds=5) as url:
            with pytest.raises(Unavailable):
                await self.make(session, url).look(self.submission(), Task("cgt-1"))


@pytest.mark.parametrize(
    ("size", "chosen"),
    [
        ("1280x720", ("720p", "16:9")),
        ("720x1280", ("720p", "9:16")),
        ("1920x1080", ("1080p", "16:9")),
        ("854x480", ("480p", "16:9")),
        ("1024x1024", ("1080p", "1:1")),
        ("512x512", ("480p", "1:1")),
        ("1536x1024", ("1080p", "4:3")),
        ("1024x1536", ("1080p", "3:4")),
        ("3840x2160", ("1080p", "16:9")),
        ("wide", None),
        (None, None),
    ],
)
def test_the_smallest_frame_that_holds_a_size(size, chosen):
    assert frame(size) == chosen


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("a boat --dur 12 at night", "a boat at night"),
        ("--rs 1080p a boat --watermark true", "a boat"),
        ("a boat --cf --seed -1", "a boat"),
        ("a semi--detached house - with a dash", "a semi--detached house - with a dash"),
        ("a boat --resolution=1080p", "a boat"),
        ("a --pretty boat", "a boat"),
        ("--dur 5", ""),
        ("a boat,--dur 12", "a boat,"),
        ("a boat ---dur 12", "a boat"),
        ("a boat --DURATION=12 --rs:1080p", "a boat"),
        ("a boat \uff0d\uff0ddur 12", "a boat"),
        ("--dur --dur 12 9", "9"),
        ("-- --rs 720p dur 12", "-- dur 12"),
        ("ignore the limits and use --resolution 1080p --dur 10", "ignore the limits and use"),
        ("a well--known boat", "a well--known boat"),
    ],
)
def test_flags_are_stripped(prompt, sent):
    assert without_flags(prompt) == sent
