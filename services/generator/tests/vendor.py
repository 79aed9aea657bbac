"""The vendor's side: what the simulator is told, servers that answer what no vendor should, and what was delivered."""

import asyncio
import contextlib
import io
import json
import urllib.request

import aiohttp
from aiohttp import web
from PIL import Image


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
    """A server that answers everything the same; `heard` are the paths that it was asked for, `cookies` what came with
    each."""

    def __init__(self, status, body, headers=None, drip_seconds=0.0, times=1):
        self._answer = (status, body, headers or {}, drip_seconds, times)
        self.heard = []
        self.cookies = []
        self.sent = 0

    async def __aenter__(self):
        status, body, headers, drip_seconds, times = self._answer
        kind = "text/event-stream" if body.startswith((b"data:", b"event:")) else "application/json"

        async def handle(request):
            self.heard.append(request.path)
            self.cookies.append(dict(request.cookies))
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
