"""Stability: pictures by the conformance suite, and its films, which have no words to steer the simulator by."""

import io
from uuid import uuid4

import av
import pytest
from PIL import Image

from contracts.facts import Failure, Kind
from generator.providers.interface import (
    Delivered,
    Given,
    Invalid,
    Rejected,
    Running,
    TaskProvider,
    Unavailable,
    Unknown,
    Unreadable,
)
from generator.providers.stability import Stability
from generator.providers.transport import MAX_ANSWER_BYTES

from .conformance import KEY, ProviderConformance
from .vendor import answering, steer


def picture(width=1024, height=576):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(buffer, "PNG")
    return Given("image", content=buffer.getvalue(), mime_type="image/png")


class TestCore(ProviderConformance):
    model = "core"
    path = "/stability"
    endpoint = "/v2beta/stable-image/generate/core"
    size = "1024x1024"

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return Stability(session, KEY, base_url, max_answer_bytes)

    @pytest.mark.parametrize(
        ("size", "delivered"), [("1536x640", (1536, 640)), ("1000x1100", (1024, 1024)), ("720x1280", (768, 1344))]
    )
    async def test_the_ratio_nearest_to_the_size(self, provider, size, delivered):
        [item] = await provider.submit(self.submission(size=size))
        assert Image.open(io.BytesIO(item.content)).size == delivered

    async def test_a_result_that_its_filter_blurred_is_none_though_it_is_charged(self, provider, simulator):
        with pytest.raises(Rejected):
            await provider.submit(self.submission("[[sim:partial=1]]"))
        [call] = self.journal(simulator)
        assert (call["billed"], call["status"]) == (1, 200)

    async def test_the_type_is_the_one_that_was_asked_for(self, provider):
        for form in ("webp", "jpeg"):
            [item] = await provider.submit(self.submission(options={"output_format": form, "style_preset": "anime"}))
            assert item.mime_type == f"image/{form}"
            await self.check(item)

    async def test_a_seed_makes_each_of_several_pictures_its_own(self, provider):
        made = [
            await provider.submit(self.submission(options={"seed": seed}, first_index=index))
            for seed, index in ((5, 0), (5, 1), (6, 0))
        ]
        assert made[0][0].content != made[1][0].content == made[2][0].content

    async def test_a_finish_that_nobody_documented_is_not_delivered(self, session):
        async with answering(200, b'{"image": "aGVsbG8=", "finish_reason": "ERROR", "seed": 1}') as url:
            with pytest.raises(Unknown):
                await self.make(session, url).submit(self.submission())

    async def test_what_it_does_not_offer(self, provider):
        with pytest.raises(Invalid) as refused:
            await provider.submit(self.submission(options={"style_preset": "baroque"}))
        assert "style_preset" in str(refused.value)

    @pytest.mark.parametrize("model", ["../../v1/user", "core/../../v1", "", "."])
    async def test_a_model_s_name_leads_nowhere_else(self, provider, simulator, model):
        with pytest.raises(Invalid):
            await provider.submit(self.submission(model=model))
        assert self.journal(simulator) == []


class TestStableDiffusion(TestCore):
    model = "sd3.5-large"
    endpoint = "/v2beta/stable-image/generate/sd3"

    async def test_from_a_picture(self, provider):
        """Which keeps its size."""
        [item] = await provider.submit(self.submission(given=(picture(640, 512),)))
        assert Image.open(io.BytesIO(item.content)).size == (640, 512)

    async def test_from_the_address_of_a_picture(self, provider, simulator):
        """It reads none, so we do."""
        async with answering(200, picture(640, 512).content) as url:
            [item] = await provider.submit(self.submission(given=(Given("image", url=f"{url}/a.png"),)))
        assert isinstance(item, Delivered)
        with pytest.raises(Invalid):
            await provider.submit(self.submission(given=(Given("image", url="http://169.254.169.254/"),)))
        with pytest.raises(Unreadable):
            await provider.submit(self.submission(given=(Given("image", url="http://127.0.0.1:9/"),)))
        assert len(self.journal(simulator)) == 1


class TestFilms:
    """The retired image-to-video. Faults are asked for by the end of the key."""

    @pytest.fixture
    async def session(self, simulator):
        from runtime.outbound import OutboundSettings, make_session

        async with make_session(OutboundSettings(outbound_allow="127.0.0.0/8")) as session:
            yield session

    def make(self, session, simulator, fault="ok"):
        return Stability(session, f"sk-sim-{fault}", f"{simulator.url}/stability")

    def submission(self, given=None):
        from generator.providers.interface import Submission

        given = (picture(),) if given is None else given
        return Submission(uuid4(), Kind.VIDEO, "image-to-video", "ignored", 1, 0, None, {}, 20.0, given=given)

    async def test_a_film_from_a_picture(self, session, simulator):
        provider, submission = self.make(session, simulator, "latency=50"), self.submission()
        assert isinstance(provider, TaskProvider)
        task = await provider.submit(submission)
        assert isinstance(await provider.look(submission, task), Running)
        assert not await provider.cancel(submission, task)
        steer(simulator, "POST", "clock", {"seconds": 60})
        [item] = await provider.look(submission, task)
        with av.open(io.BytesIO(item.content)) as film:
            assert (film.streams.video[0].width, film.streams.video[0].height) == (1024, 576)
        [call] = [entry for entry in simulator._ask("GET", "journal") if entry["provider"] == "stability"]
        assert call["billed"] == 1 and call["client_request_id"] == str(submission.reference)

    async def test_it_needs_a_picture_of_its_sizes(self, session, simulator):
        provider = self.make(session, simulator)
        for given in ((), (picture(100, 100),)):
            with pytest.raises(Invalid):
                await provider.submit(self.submission(given))

    @pytest.mark.parametrize(
        ("fault", "refusal"), [("task-moderated", "content_policy"), ("task-failed", "provider_unavailable")]
    )
    async def test_a_film_that_fails_says_why(self, session, simulator, fault, refusal):
        provider, submission = self.make(session, simulator, fault), self.submission()
        [item] = await provider.look(submission, await provider.submit(submission))
        assert isinstance(item, Failure) and item.code == refusal

    @pytest.mark.parametrize(
        ("fault", "refusal"),
        [("task-no-url", Unknown), ("task-forgotten", Unknown), ("look-refused=500", Unavailable)],
    )
    async def test_a_film_of_which_nothing_can_be_had(self, session, simulator, fault, refusal):
        provider, submission = self.make(session, simulator, fault), self.submission()
        task = await provider.submit(submission)
        with pytest.raises(refusal):
            await provider.look(submission, task)

    async def test_results_are_kept_for_a_day(self, session, simulator):
        provider, submission = self.make(session, simulator), self.submission()
        task = await provider.submit(submission)
        steer(simulator, "POST", "clock", {"seconds": 25 * 3600})
        with pytest.raises(Unknown):
            await provider.look(submission, task)
