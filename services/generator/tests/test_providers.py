"""The adapters: the conformance suite, and what is each one's own."""

import asyncio

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as some

from generator.providers import sdk
from generator.providers.interface import Delivered, Invalid
from generator.providers.modelark import ModelArk
from generator.providers.openai import OpenAI
from generator.providers.transport import MAX_ANSWER_BYTES

from .conformance import KEY, ProviderConformance


class TestModelArk(ProviderConformance):
    model = "seedream-3-0-t2i-250415"
    path = "/ark/api/v3"

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return ModelArk(session, KEY, base_url, max_answer_bytes)

    async def test_no_watermark_unless_asked_for(self, provider, simulator):
        """Its own default is to put one on every picture."""
        for options in ({}, {"watermark": False}, {"watermark": True}):
            await provider.submit(self.submission(options=options))
        hashes = [call["body_sha256"] for call in self.journal(simulator)]
        assert hashes[0] == hashes[1] != hashes[2]

    async def test_a_seed_makes_each_of_several_pictures_its_own(self, provider, simulator):
        for index in range(2):
            await provider.submit(self.submission(options={"seed": 5}, first_index=index))
        await provider.submit(self.submission(options={"seed": 6}))
        hashes = [call["body_sha256"] for call in self.journal(simulator)]
        assert hashes[0] != hashes[1] == hashes[2]

    async def test_a_size_that_is_not_offered(self, provider):
        with pytest.raises(Invalid) as refused:
            await provider.submit(self.submission(size="64x64"))
        assert "size" in str(refused.value)


class TestOpenAI(ProviderConformance):
    model = "gpt-image-2"
    path = "/openai/v1"

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return OpenAI(session, KEY, base_url, max_answer_bytes)

    async def test_several_in_one_call(self, provider, simulator):
        items = await provider.submit(self.submission(count=3))
        assert len({item.content for item in items}) == 3
        [call] = self.journal(simulator)
        assert call["billed"] == 3

    async def test_part_of_several(self, provider):
        """It leaves out what it blocked."""
        items = await provider.submit(self.submission("[[sim:partial=2]]", count=3))
        assert await self.missing(items) == ["provider_unavailable"] and isinstance(items[0], Delivered)

    async def test_the_type_is_the_one_that_was_asked_for(self, provider):
        [item] = await provider.submit(self.submission(options={"output_format": "webp"}))
        assert item.mime_type == "image/webp"
        await self.check(item)


class TestDallE(ProviderConformance):
    """The retired models: an address instead of bytes."""

    model = "dall-e-3"
    path = "/openai/v1"
    size = "1024x1024"

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return OpenAI(session, KEY, base_url, max_answer_bytes)

    async def test_its_pictures_have_an_address(self, provider):
        [item] = await provider.submit(self.submission())
        assert item.url is not None


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("The size 3x3 is too small. Request id: 021764ab3f9e0d", "The size 3x3 is too small."),
        ("Incorrect API key provided: sk-proj-abc***wxyz.", "Incorrect API key provided: ."),
        ("Ask help@provider.example or https://provider.example/limits now", "Ask or now"),
        ("Limit for org-Ab12Cd34 in project proj_9f8e7d reached", "Limit for in project reached"),
        ("task 0217641234567890123456 failed", "task failed"),
        ("The task cgt-20251121101010-ab1cd of video_68ff01 is gone", "The task of is gone"),
        ("video_url must be one of image_url or video_url", "video_url must be one of image_url or video_url"),
        ("", None),
        (None, None),
        ({"a": 1}, None),
    ],
)
def test_a_provider_s_words_are_shown_without_ids_keys_and_addresses(said, shown):
    assert sdk.readable(said) == shown


def test_a_provider_s_words_are_bounded():
    assert len(sdk.readable("no " * 10_000)) <= 300


@pytest.mark.parametrize("value", ["soon", "nan", "inf", "Thu, 99 Jan 9999 99:99:99 GMT", ""])
def test_a_senseless_wait_counts_as_none(value):
    assert sdk.retry_after_seconds({"retry-after": value}) is None


def test_a_wait_in_the_past_is_over():
    assert sdk.retry_after_seconds({"retry-after": "-5"}) == 0
    assert sdk.retry_after_seconds({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


@given(some.lists(some.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\xc2\x85", b"\xe2\x80\xa8", b""])))
def test_the_lines_of_events_are_the_same_however_they_arrive(chunks):
    class Arriving(httpx2.AsyncByteStream):
        async def __aiter__(self):
            for chunk in chunks:
                yield chunk

    async def lines():
        return [line async for line in sdk._lines(httpx2.Response(200, stream=Arriving()))]

    whole = b"".join(chunks).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert asyncio.run(lines()) == whole.split(b"\n")[:-1]
