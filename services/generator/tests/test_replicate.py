"""Replicate: pictures and films by the conformance suite, and what is its own."""

import asyncio
import base64
import hashlib
import hmac
import json

import pytest
from aiohttp import web

from contracts.facts import Kind
from generator.providers.interface import Delivered, Invalid, QuotaExhausted, Task, Throttled, Unknown
from generator.providers.replicate import Replicate
from generator.providers.transport import MAX_ANSWER_BYTES

from .conformance import KEY
from .conformance_tasks import TaskConformance
from .films import StoppedAtACost, still
from .stage import until
from .vendor import answering, content_of, steer


class TestKling(StoppedAtACost, TaskConformance):
    model = "kwaivgi/kling-v2.1"
    path = "/replicate"
    endpoint = f"/v1/models/{model}/predictions"
    asked = {"seconds": 5, "options": {"mode": "pro", "resolution": "1080p"}}  # dearer, and no part of what was quoted
    size = "1280x720"
    finds = False

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return Replicate(session, KEY, base_url, max_answer_bytes)

    def check_film(self, seconds, width, height):
        assert (seconds, width, height) == (5, 1280, 720)

    async def test_from_a_picture(self, provider):
        [item] = await self.delivered(provider, self.submission(given=(still(),)))
        await self.check(item)

    async def test_what_it_does_not_offer(self, provider):
        with pytest.raises(Invalid) as refused:
            await provider.submit(self.submission(seconds=7))
        assert "duration" in str(refused.value)

    async def test_outputs_are_deleted_after_an_hour(self, provider, simulator):
        submission = self.submission()
        task = await provider.submit(submission)
        steer(simulator, "POST", "clock", {"seconds": 3700})
        with pytest.raises(Unknown):
            await provider.look(submission, task)

    async def test_no_word_of_its_machine_is_passed_on(self, provider):
        submission = self.submission("[[sim:task-failed]]")
        task = await provider.submit(submission)
        [item] = await provider.look(submission, task)
        assert task.id not in item.message and "machine" not in item.message

    async def test_an_aborted_one_has_ended(self, session):
        async with answering(200, b'{"id": "p1", "status": "aborted", "error": null}') as url:
            [item] = await self.make(session, url).look(self.submission(), Task("p1"))
        assert item.code == "provider_unavailable"

    async def test_throttling_says_in_words_how_long(self, session):
        said = b'{"detail": "Request was throttled. Your rate limit resets in ~30s.", "status": 429}'
        async with answering(429, said) as url:
            with pytest.raises(Throttled) as refused:
                await self.make(session, url).submit(self.submission())
        assert refused.value.retry_after_seconds == 30

    async def test_low_credit_is_no_throttling(self, session):
        async with answering(429, b'{"detail": "You have insufficient credit to run this model."}') as url:
            with pytest.raises(QuotaExhausted):
                await self.make(session, url).submit(self.submission())

    async def test_it_calls_back_by_its_standard(self, provider, simulator):
        """The simulator signs as the vendor does; we take it as a hint, whoever says it."""
        heard = asyncio.Queue()

        async def hook(request):
            heard.put_nowait((request.headers, await request.read()))
            return web.Response()

        app = web.Application()
        app.router.add_post("/hook", hook)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            port = runner.addresses[0][1]
            task = await provider.submit(self.submission(callback_url=f"http://127.0.0.1:{port}/hook"))
            async with asyncio.timeout(5):
                headers, body = await heard.get()
        finally:
            await runner.cleanup()
        said = json.loads(body)
        assert (said["id"], said["status"]) == (task.id, "succeeded")
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        mac = hmac.new(b"a simulated secret of 32 octets!", signed, hashlib.sha256).digest()
        assert headers["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"


class TestFlux(StoppedAtACost, TaskConformance):
    kind = Kind.IMAGE
    model = "black-forest-labs/flux-schnell"
    path = "/replicate"
    endpoint = f"/v1/models/{model}/predictions"
    asked = {}
    size = "1024x1024"
    finds = False

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return Replicate(session, KEY, base_url, max_answer_bytes)

    async def check(self, item):
        await super(TaskConformance, self).check(item)

    async def test_several_in_one_call(self, provider, simulator):
        items = await self.delivered(provider, self.submission(count=2))
        assert len({await content_of(item) for item in items}) == 2
        [call] = self.journal(simulator)
        assert call["billed"] == 2

    async def test_by_the_version_of_a_model(self, provider, simulator):
        version = "c846a69991daf4c0e5d016514849d14ee5b2e6846ce6b9d6f21369e564cfe51e"
        [item] = await self.delivered(provider, self.submission(model=f"{self.model}:{version}"))
        assert isinstance(item, Delivered)
        [call] = self.journal(simulator)
        assert call["model"] == self.model

    @pytest.mark.parametrize(
        "output", ['"file:///etc/passwd"', "[]", "5", '["https://a.example/1", "ftp://b.example/2"]', "{}", "null"]
    )
    async def test_an_output_of_no_use(self, session, output):
        async with answering(200, f'{{"id": "p1", "status": "succeeded", "output": {output}}}'.encode()) as url:
            with pytest.raises(Unknown):
                await self.make(session, url).look(self.submission(), Task("p1"))

    async def test_the_key_goes_to_no_address_inside_an_answer(self, session, simulator):
        elsewhere = answering(200, b"{}")
        async with elsewhere as other:
            body = {"id": "p1", "status": "starting", "urls": {"get": f"{other}/p", "cancel": f"{other}/c"}}
            vendor = answering(200, json.dumps(body).encode())
            async with vendor as url:
                provider = self.make(session, url)
                task = await provider.submit(self.submission())
                await provider.look(self.submission(), task)
                await provider.cancel(self.submission(), task)
        assert elsewhere.heard == []
        assert await until(
            lambda: set(vendor.heard) == {self.endpoint, "/v1/predictions/p1", "/v1/predictions/p1/cancel"}
        )
