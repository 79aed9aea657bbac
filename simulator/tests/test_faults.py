"""Every fault of the table shows its effect, however it is asked for."""

from __future__ import annotations

import asyncio
import io
import time
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from PIL import Image

from simulator.faults import FAULTS, UnknownFaultError, read_wishes

REFUSALS = [name for name, fault in FAULTS.items() if fault.stage == "refusal" and name != "fail-every"]
STREAMS = {"stream-cut", "stream-error", "stream-endless", "stream-slow", "declined"}
GROUP = {
    "model": "seedream-4-0-250828",
    "size": "1K",
    "sequential_image_generation": "auto",
    "sequential_image_generation_options": {"max_images": 4},
}


def test_every_fault_is_tested_here():
    elsewhere = {"fail-every", "error-200", "empty-200", "reset", "lost", "hang", "hang-paid", "slow-first-byte"}
    elsewhere |= {"partial", "stopped", "latency", "unjudged"} | STREAMS
    elsewhere |= {name for name in FAULTS if name.startswith(("look-", "callback-", "task-"))}
    assert set(FAULTS) == set(REFUSALS) | elsewhere | set(ASSET_CHECKS)


@pytest.mark.parametrize("provider", ["ark", "openai"])
@pytest.mark.parametrize("fault", REFUSALS)
async def test_refusals(simulator, ark_body, openai_body, provider, fault):
    body = {"ark": ark_body, "openai": openai_body}[provider] | {"prompt": f"a hill [[sim:{fault}]]"}
    async with simulator.post(provider, body) as answer:
        assert answer.status == FAULTS[fault].status
        if fault == "502":
            assert answer.content_type == "text/html"
        else:
            assert (await answer.json())["error"]["message"]
        headers = answer.headers
    match fault:
        case "429":
            assert headers["Retry-After"] == "1"
        case "429-date":
            assert parsedate_to_datetime(headers["Retry-After"]).timestamp() >= time.time()
        case "429-ms":
            assert headers["Retry-After-Ms"] == "150"
        case "429-absurd":
            assert int(headers["Retry-After"]) >= 86_400
        case _:
            assert "Retry-After" not in headers
    (entry,) = await simulator.journal()
    assert (entry["billed"], entry["outcome"], entry["fault"]) == (0, "refused", fault)


async def statuses(simulator, provider, body, times, key="sk-test") -> list[int]:
    seen = []
    for _ in range(times):
        async with simulator.post(provider, body, key=key) as answer:
            seen.append(answer.status)
    return seen


async def test_counted_in_the_prompt(simulator, ark_body):
    body = ark_body | {"prompt": "a hill [[sim:429x2]]"}
    assert await statuses(simulator, "ark", body, 4) == [429, 429, 200, 200]
    assert await statuses(simulator, "ark", ark_body | {"prompt": "other [[sim:429x2]]"}, 3) == [429, 429, 200]


async def test_counted_in_the_key(simulator, ark_body):
    assert await statuses(simulator, "ark", ark_body, 3, key="sk-sim-503x2") == [503, 503, 200]
    assert await statuses(simulator, "ark", ark_body, 1, key="sk-sim-nothing-known") == [200]


async def test_every_nth_call_is_refused_for_good(simulator, openai_body):
    body = openai_body | {"prompt": "a hill [[sim:fail-every=4]]"}
    assert await statuses(simulator, "openai", body, 8) == [200, 200, 200, 400] * 2


async def test_queued_by_admin(simulator, ark_body, openai_body):
    push = {"provider": "ark", "outcomes": ["500", "ok", "429"]}
    assert await simulator.admin("PUT", "scenario", push) == (200, {"queued": 3})
    await simulator.admin("PUT", "scenario", {"prompt_contains": "harbour", "outcomes": ["moderated"]})
    assert await statuses(simulator, "openai", openai_body, 2) == [400, 200]
    assert await statuses(simulator, "ark", ark_body, 4) == [500, 200, 429, 200]
    assert (await simulator.admin("GET", "scenario"))[1] == []
    assert (await simulator.admin("PUT", "scenario", {"outcomes": ["nonsense"]}))[0] == 400
    assert (await simulator.admin("PUT", "scenario", {"outcome": ["500"]}))[0] == 400


async def test_an_unknown_marker_is_refused_loudly(simulator, ark_body):
    async with simulator.post("ark", ark_body | {"prompt": "a hill [[sim:42]]"}) as answer:
        assert answer.status == 400
        assert "unknown simulator fault: '42'" in (await answer.json())["error"]["message"]
    for wrong in ("429=soon", "latency=-1", "429x", "=3", "latency=nan"):
        with pytest.raises(UnknownFaultError):
            read_wishes(wrong)


@pytest.mark.parametrize("provider", ["ark", "openai"])
async def test_200_without_pictures(simulator, ark_body, openai_body, provider):
    body = {"ark": ark_body, "openai": openai_body}[provider]
    async with simulator.post(provider, body | {"prompt": "x [[sim:error-200]]"}) as answer:
        assert (answer.status, "error" in await answer.json()) == (200, True)
    async with simulator.post(provider, body | {"prompt": "x [[sim:empty-200]]"}) as answer:
        assert (answer.status, (await answer.json())["data"]) == (200, [])
    assert [entry["billed"] for entry in await simulator.journal()] == [0, 0]


@pytest.mark.parametrize(("fault", "billed"), [("reset", 1), ("lost", 1), ("hang", 0), ("hang-paid", 1)])
async def test_answers_that_never_arrive(simulator, openai_body, fault, billed):
    with pytest.raises((aiohttp.ClientError, TimeoutError)) as raised:
        async with (
            asyncio.timeout(0.4 if fault.startswith("hang") else 30),
            simulator.post("openai", openai_body | {"prompt": f"x [[sim:{fault}]]"}) as answer,
        ):
            await answer.read()
    assert isinstance(raised.value, TimeoutError) == fault.startswith("hang")
    (entry,) = await simulator.journal()
    assert (entry["billed"], entry["outcome"], entry["fault"]) == (billed, "lost", fault)


async def test_slow_first_byte_sends_the_headers_at_once(simulator, ark_body):
    started = time.monotonic()
    async with simulator.post("ark", ark_body | {"prompt": "x [[sim:slow-first-byte=1]]"}) as answer:
        assert time.monotonic() - started < 1
        assert (await answer.json())["data"]
    assert time.monotonic() - started >= 1


async def test_latency_by_marker_and_by_admin(simulator, ark_body):
    async def timed(body) -> float:
        started = time.monotonic()
        async with simulator.post("ark", body) as answer:
            assert answer.status == 200
        return time.monotonic() - started

    assert await timed(ark_body | {"prompt": "x [[sim:latency=0.2]]"}) >= 0.2
    assert await timed(ark_body) < 0.2
    assert (await simulator.admin("PUT", "latency", {"seconds": 0.15}))[0] == 200
    assert await timed(ark_body) >= 0.15
    assert await simulator.admin("PUT", "latency", {"mode": "real", "scale": 0.01}) == (
        200,
        {"mode": "real", "scale": 0.01},
    )
    assert 0.005 < await timed(ark_body) < 1
    assert (await simulator.admin("PUT", "latency", {"mode": "sometimes"}))[0] == 400


async def test_group_items(simulator, ark_body, openai_body):
    async with simulator.post("ark", GROUP | {"prompt": "x [[sim:stopped=3]]"}) as answer:
        data = (await answer.json())["data"]
        assert [item.get("error", {}).get("code") for item in data] == [None, None, "InternalServiceError"]
    async with simulator.post("openai", openai_body | {"n": 3, "prompt": "x [[sim:partial=2]]"}) as answer:
        assert len((await answer.json())["data"]) == 2
    async with simulator.post("ark", ark_body | {"prompt": "x [[sim:partial=1]]"}) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "OutputImageSensitiveContentDetected"


async def streamed(simulator, fault: str, seconds: float = 5) -> tuple[str, bool]:
    """What arrived of a group's stream, and whether it was still going when the time was over."""
    text = ""
    body = GROUP | {"prompt": f"x [[sim:{fault}]]", "stream": True}
    try:
        async with asyncio.timeout(seconds), simulator.post("ark", body) as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            async for line in answer.content:
                text += line.decode()
    except TimeoutError:
        return text, True
    return text, False


async def test_streams(simulator):
    whole, _ = await streamed(simulator, "ok")
    assert whole.count("event: image_generation.partial_succeeded") == 4
    assert whole.count("event: image_generation.completed") == 1
    assert whole.endswith("data: [DONE]\n\n")
    failed, _ = await streamed(simulator, "partial=2")
    assert failed.count("event: image_generation.partial_failed") == 1
    assert failed.count("event: image_generation.partial_succeeded") == 3
    cut, _ = await streamed(simulator, "stream-cut")
    assert cut.count("partial_succeeded") // 2 == 3 and "[DONE]" not in cut
    broken, _ = await streamed(simulator, "stream-error")
    assert "InternalServiceError" in broken and "[DONE]" not in broken
    endless, going = await streamed(simulator, "stream-endless", 0.5)
    assert going and endless.count("partial_succeeded") > 20
    started = time.monotonic()
    slow, _ = await streamed(simulator, "stream-slow=0.1")
    assert time.monotonic() - started > 0.5 and slow.endswith("[DONE]\n\n")
    assert [entry["billed"] for entry in await simulator.journal()] == [4, 3, 4, 4, 4, 4]


async def expired(answer):
    assert answer.status == 403


async def overloaded(answer):
    assert answer.status == 503


async def mistyped(answer):
    assert answer.content_type == "text/plain"
    Image.open(io.BytesIO(await answer.read())).load()


async def cut(answer):
    assert answer.status == 200
    with pytest.raises(aiohttp.ClientPayloadError):
        await answer.read()


async def redirected(answer):
    assert answer.status == 302
    assert answer.headers["Location"].startswith("/assets/")


async def led_astray(answer):
    assert answer.headers["Location"].startswith("http://169.254.169.254/")


async def empty(answer):
    assert (answer.status, await answer.read()) == (200, b"")


async def corrupt(answer):
    body = await answer.read()
    assert Image.open(io.BytesIO(body)).size == (512, 512)
    assert body[-2:] != b"\xff\xd9"


async def hypertext(answer):
    assert answer.content_type == "text/html"


async def bomb(answer):
    body = await answer.read()
    assert len(body) < 2000
    with pytest.raises(Image.DecompressionBombError, match="2500000000 pixels"):
        Image.open(io.BytesIO(body))


async def too_small(answer):
    assert Image.open(io.BytesIO(await answer.read())).size == (96, 96)


async def dripping(answer):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await answer.read()


async def forbidden(answer):
    with Image.open(io.BytesIO(await answer.read())) as image:
        red, green, blue = image.convert("RGB").getpixel((image.width // 8, image.height // 8))
    assert red > 220 and green < 40 and blue > 220


ASSET_CHECKS = {
    "asset-expired": expired,
    "asset-503": overloaded,
    "asset-type": mistyped,
    "asset-truncated": cut,
    "asset-chunk-cut": cut,
    "asset-drip": dripping,
    "asset-redirect": redirected,
    "asset-redirect-private": led_astray,
    "asset-empty": empty,
    "asset-corrupt": corrupt,
    "asset-html": hypertext,
    "asset-bomb": bomb,
    "asset-wrong-size": too_small,
    "asset-forbidden": forbidden,
}


@pytest.mark.parametrize("fault", ASSET_CHECKS)
async def test_assets(simulator, ark_body, fault):
    async with simulator.post("ark", ark_body | {"prompt": f"a hill [[sim:{fault}]]"}) as answer:
        url = (await answer.json())["data"][0]["url"]
    async with simulator.http.get(url, allow_redirects=False) as answer:
        await ASSET_CHECKS[fault](answer)
    (entry,) = await simulator.journal()
    assert (entry["billed"], entry["outcome"], entry["fault"]) == (1, "answered", fault)


async def test_asset_faults_can_be_counted_and_followed(simulator, ark_body):
    async with simulator.post("ark", ark_body | {"prompt": "a hill [[sim:asset-503x1]]"}) as answer:
        url = (await answer.json())["data"][0]["url"]
    seen = []
    for _ in range(3):
        async with simulator.http.get(url) as answer:
            seen.append(answer.status)
    assert seen == [503, 200, 200]
    async with simulator.post("ark", ark_body | {"prompt": "a hill [[sim:asset-redirect]]"}) as answer:
        url = (await answer.json())["data"][0]["url"]
    async with simulator.http.get(url) as answer:
        assert (answer.status, len(answer.history), answer.content_type) == (200, 1, "image/jpeg")


async def test_content_faults_reach_base64_too(simulator, openai_body):
    async with simulator.post("openai", openai_body | {"prompt": "a hill [[sim:asset-empty]]"}) as answer:
        assert (await answer.json())["data"] == [{"b64_json": ""}]
