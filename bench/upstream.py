"""`python -m bench.upstream --port N`: a provider that costs next to nothing, the same for everybody who is measured.

It speaks OpenAI's images: an answer names a PNG of 64 KB at its own address. No two pictures are the same bytes, so
nobody stores one for another, and none takes longer to decode than another: a number is in the last row of pixels,
since what is only metadata is not stored. It speaks OpenAI's chats as well, always as a stream of a few words, and
counts one as answered when it says the first of them. `PUT /__bench/latency?seconds=` says how long each answer takes;
`GET /__bench/answered` tells when each prompt was answered, on this machine's monotonic clock.
"""

import argparse
import asyncio
import json
import random
import struct
import time
import zlib
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from PIL import Image

PICTURE_BYTES = 64 * 1024
SIDE = 512
BLOCKS = 100
"""So many a side, each of one colour at random, make a PNG of about 49 KB, which is padded to `PICTURE_BYTES`."""
MAX_ANSWERED = 100_000
WORDS = ("A ", "quiet ", "harbour ", "at ", "night.")
WORD_SECONDS = 0.02
"""From one to the next."""


class Upstream:
    """An ASGI application without a framework: it must never be what is measured."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}/pictures/"
        self._head, self._sum = _picture()
        self._numbers = count()
        self._latency = 0.0
        self._answered: dict[str, float] = {}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = await _body(receive)
        path = scope["path"]
        if path.startswith("/pictures/"):
            await _answer(send, 200, self._numbered(int(path.rsplit("/", 1)[-1].partition(".")[0])), b"image/png")
        elif path.endswith("/images/generations"):
            await self._generate(json.loads(body), send)
        elif path.endswith("/chat/completions"):
            await self._write(json.loads(body), send)
        elif path == "/__bench/latency":
            self._latency = float(parse_qs(scope["query_string"].decode())["seconds"][0])
            await _answer(send, 200, b"{}")
        elif path == "/__bench/answered":
            await _answer(send, 200, json.dumps(self._answered).encode())
        else:
            await _answer(send, 404, b"{}")

    async def _generate(self, asked: dict[str, Any], send: Any) -> None:
        if self._latency:
            await asyncio.sleep(self._latency)
        made = [{"url": f"{self._address}{next(self._numbers)}.png"} for _ in range(asked.get("n") or 1)]
        await _answer(send, 200, json.dumps({"created": int(time.time()), "data": made}).encode())
        self._answers(asked["prompt"])

    async def _write(self, asked: dict[str, Any], send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await _say(send, {"choices": [_choice({"role": "assistant", "content": ""})]})
        await asyncio.sleep(self._latency)
        self._answers(asked["messages"][-1]["content"])
        for word in WORDS:
            await _say(send, {"choices": [_choice({"content": word})]})
            await asyncio.sleep(WORD_SECONDS)
        await _say(send, {"choices": [_choice({}, "stop")]})
        await _say(send, {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    def _answers(self, prompt: str) -> None:
        if len(self._answered) < MAX_ANSWERED:
            self._answered[prompt] = time.perf_counter()

    def _numbered(self, number: int) -> bytes:
        row = b"\0" + f"{number:0{3 * SIDE}}".encode()
        last = (
            b"\1"
            + struct.pack("<HH", len(row), len(row) ^ 0xFFFF)
            + row
            + struct.pack(">I", zlib.adler32(row, self._sum))
        )
        return self._head + _chunk(b"IDAT", last) + _chunk(b"IEND", b"")


def _picture() -> tuple[bytes, int]:
    """A PNG of `PICTURE_BYTES` but for its last row, which is a block of its own, and Adler's sum of the others."""
    chance = random.Random(11)
    blocks = Image.frombytes("RGB", (BLOCKS, BLOCKS), chance.randbytes(3 * BLOCKS * BLOCKS))
    pixels = blocks.resize((SIDE, SIDE), Image.Resampling.NEAREST).tobytes()
    rows = b"".join(b"\0" + pixels[3 * SIDE * row : 3 * SIDE * (row + 1)] for row in range(SIDE - 1))
    packed = zlib.compressobj()
    first = packed.compress(rows) + packed.flush(zlib.Z_FULL_FLUSH)
    head = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0))
    length = len(head) + len(first) + 3 * SIDE + 60
    padding = _chunk(b"tEXt", b"Padding\0" + b"." * max(0, PICTURE_BYTES - length))
    return head + padding + _chunk(b"IDAT", first), zlib.adler32(rows)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _choice(delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": reason}


async def _say(send: Any, chunk: dict[str, Any]) -> None:
    whole = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 0, "model": "bench", **chunk}
    await send({"type": "http.response.body", "body": f"data: {json.dumps(whole)}\n\n".encode(), "more_body": True})


async def _body(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(send: Any, status: int, body: bytes, content_type: bytes = b"application/json") -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    uvicorn.run(Upstream(port), host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off")


if __name__ == "__main__":
    main()
