"""What every adapter must do, against the real simulator. An adapter's tests inherit it and name what is its own."""

import asyncio
import gzip
import time
import zlib
from abc import ABC, abstractmethod
from functools import cache
from typing import Any, ClassVar
from uuid import UUID

import aiohttp
import pytest

from contracts.facts import Failure, Kind
from generator.providers.interface import (
    Delivered,
    Invalid,
    Provider,
    ProviderRefusal,
    QuotaExhausted,
    Rejected,
    Submission,
    Throttled,
    Unauthorized,
    Unavailable,
    Unknown,
)
from generator.providers.transport import MAX_ANSWER_BYTES
from runtime.outbound import OutboundSettings, make_session

from .stage import until
from .vendor import answering, content_of

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


@cache
def much() -> bytes:
    """What unpacks to 64 MiB."""
    return gzip.compress(bytes(64 * 1024**2))


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
        async with answering(200, much(), {"Content-Encoding": "gzip"}) as url:
            with pytest.raises(Unknown):
                await self.make(session, url, max_answer_bytes=1_000_000).submit(self.submission())

    @pytest.mark.parametrize(
        ("charset", "body"), [("zlib", zlib.compress(b"{}")), ("punycode", b"{}-" + b"ba" * 200_000)]
    )
    async def test_an_answer_does_not_say_how_it_is_read(self, session, charset, body):
        """As text in punycode a megabyte takes a minute of everybody's time, and `zlib` unpacks."""
        began_at = time.process_time()
        async with answering(400, body, {"Content-Type": f"application/json; charset={charset}"}) as url:
            with pytest.raises(Invalid):
                await self.make(session, url).submit(self.submission())
        assert time.process_time() - began_at < 3

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

    async def test_no_cookie_is_brought_back(self, session):
        vendor = answering(400, b"{}", {"Set-Cookie": "who=a-user; Path=/"})
        async with vendor as url:
            provider = self.make(session, url)
            for _ in range(2):
                with pytest.raises(Invalid):
                    await provider.submit(self.submission())
        assert vendor.cookies == [{}, {}]

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
