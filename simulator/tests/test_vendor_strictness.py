"""What a lax imitation of the vendors of tasks, speech and Stability would let pass, and their signed webhooks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import random

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from PIL import Image

SPEECH = "/elevenlabs/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb"
VEO = "/google/v1beta/models/veo-3.1-generate-preview:predictLongRunning"
PICTURE = "/google/v1beta/models/gemini-2.5-flash-image:generateContent"
FLUX = "/replicate/v1/models/black-forest-labs/flux-schnell/predictions"
KLING = "/replicate/v1/models/kwaivgi/kling-v2.1/predictions"
RUNWAY = {"model": "gen4.5", "promptText": "x", "ratio": "1280:720", "duration": 2}
HEADERS = {
    "Authorization": "Bearer sk-test",
    "xi-api-key": "test",
    "x-goog-api-key": "test",
    "X-Runway-Version": "2024-11-06",
}


def asked(**others):
    return {"contents": [{"role": "user", "parts": [{"text": "x"}]}], "generationConfig": others}


def film(**parameters):
    return {"instances": [{"prompt": "x"}], "parameters": parameters}


STRICT = [
    (SPEECH, {"text": "x"}, 200),
    (SPEECH, {"text": ""}, 422),
    (SPEECH, {"text": "x", "speed": 1}, 422),
    (SPEECH, {"text": "x", "voice_settings": {"speed": 2}}, 422),
    (SPEECH, {"text": "x", "model_id": "tts-1"}, 400),
    (SPEECH, {"text": "x" * 10_001}, 400),
    (SPEECH + "?output_format=mp3", {"text": "x"}, 422),
    (SPEECH + "?format=mp3_44100_128", {"text": "x"}, 422),
    ("/elevenlabs/v1/text-to-speech/nobody", {"text": "x"}, 404),
    (PICTURE, asked(responseModalities=["IMAGE"]), 200),
    (PICTURE, {"contents": []}, 400),
    (PICTURE, {"prompt": "x"}, 400),
    (PICTURE, asked(responseModalities=["AUDIO"]), 400),
    (PICTURE, asked(imageConfig={"aspectRatio": "7:1"}), 400),
    (PICTURE, asked(n=2), 400),
    (PICTURE.replace("gemini-2.5-flash-image", "imagen-1"), asked(), 404),
    (VEO, film(durationSeconds=4), 200),
    (VEO, film(durationSeconds=5), 400),
    (VEO, film(resolution="1080p", durationSeconds=4), 400),
    (VEO, film(aspectRatio="1:1"), 400),
    (VEO, film(duration=4), 400),
    (VEO, {"instances": []}, 400),
    (VEO, {"instances": [{"prompt": "x", "image": {"bytesBase64Encoded": "!", "mimeType": "image/png"}}]}, 400),
    (FLUX, {"input": {"prompt": "x"}}, 200),
    (FLUX, {"prompt": "x"}, 422),
    (FLUX, {"input": {"prompt": "x", "size": "1024x1024"}}, 422),
    (FLUX, {"input": {"prompt": "x", "num_outputs": 5}}, 422),
    (FLUX, {"input": {"prompt": "x"}, "version": "v"}, 422),
    (FLUX, {"input": {"prompt": "x"}, "webhook": "ftp://x"}, 422),
    (FLUX, {"input": {"prompt": "x"}, "webhook_events_filter": ["done"]}, 422),
    (KLING, {"input": {"prompt": "x", "duration": 7}}, 422),
    ("/replicate/v1/predictions", {"input": {"prompt": "x"}, "version": "nothing"}, 422),
    ("/replicate/v1/models/nobody/nothing/predictions", {"input": {"prompt": "x"}}, 404),
    ("/runway/v1/text_to_video", RUNWAY, 200),
    ("/runway/v1/text_to_video", RUNWAY | {"ratio": "16:9"}, 400),
    ("/runway/v1/text_to_video", RUNWAY | {"duration": 1}, 400),
    ("/runway/v1/text_to_video", RUNWAY | {"duration": "2"}, 400),
    ("/runway/v1/text_to_video", RUNWAY | {"promptText": "é" * 1001}, 400),
    ("/runway/v1/text_to_video", RUNWAY | {"promptText": "😀" * 501}, 400),
    ("/runway/v1/text_to_video", RUNWAY | {"model": "gen4_turbo"}, 400),
    ("/runway/v1/text_to_video", RUNWAY | {"prompt": "x"}, 400),
    ("/runway/v1/image_to_video", RUNWAY, 400),
    ("/runway/v1/image_to_video", RUNWAY | {"promptImage": "ftp://x/y.png"}, 400),
    ("/runway/v1/image_to_video", RUNWAY | {"promptImage": [{"uri": "data:image/png;base64,AAAA"}]}, 400),
    ("/flow/videos:generate", {"prompt": "x"}, 200),
    ("/flow/videos:generate", {"prompt": ""}, 400),
    ("/flow/videos:generate", {"prompt": "x", "model": "veo"}, 400),
    ("/flow/videos:generate", {"prompt": "x", "durationSeconds": 11}, 400),
    ("/flow/videos:status", {"operationName": "operations/none", "sceneId": "none"}, 404),
]


@pytest.mark.parametrize(("path", "body", "status"), STRICT)
async def test_fields(simulator, path, body, status):
    async with simulator.http.post(simulator.url + path, json=body, headers=HEADERS) as answer:
        assert answer.status == status, await answer.text()
    if path != "/flow/videos:status":
        [entry] = await simulator.journal()
        assert entry["billed"] == (status == 200)


@pytest.mark.parametrize(
    ("path", "body"),
    [(SPEECH, {"text": "x"}), (PICTURE, asked()), (FLUX, {"input": {"prompt": "x"}}), ("/fal/fal-ai/flux/dev", {})],
)
async def test_a_key_is_needed(simulator, path, body):
    async with simulator.http.post(simulator.url + path, json=body) as answer:
        assert answer.status in {400, 401}  # Google says 400


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/stability/v2beta/stable-image/upscale/fast", "errors"),
        ("/replicate/v1/trainings", "detail"),
        ("/elevenlabs/v1/sound-generation", "detail"),
        ("/runway/v1/upscale", "error"),
        ("/google/v1beta/models/veo:predict", "error"),
        ("/flow/videos:delete", "error"),
    ],
)
async def test_an_unknown_address_is_refused_in_the_vendor_s_own_words(simulator, path, key):
    async with simulator.http.put(simulator.url + path, json={}, headers=HEADERS) as answer:
        assert answer.status == 404 and key in await answer.json()


async def test_runway_wants_its_version(simulator):
    headers = {"Authorization": "Bearer x"}
    async with simulator.http.post(f"{simulator.url}/runway/v1/text_to_video", json=RUNWAY, headers=headers) as answer:
        assert answer.status == 400 and "X-Runway-Version" in await answer.text()


def form(**fields):
    data = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        if isinstance(value, bytes):
            data.add_field(name, value, filename=name)
        else:
            data.add_field(name, value)
    return data


def picture(width=64, height=64):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("service", "fields", "status"),
    [
        ("core", {"prompt": "x", "none": ""}, 200),
        ("core", {"prompt": ""}, 400),
        ("core", {"prompt": "x", "aspect_ratio": "7:3"}, 400),
        ("core", {"prompt": "x", "size": "1024x1024"}, 400),
        ("core", {"prompt": "x", "n": "2"}, 400),
        ("core", {"prompt": "x", "seed": "4294967295"}, 400),
        ("core", {"prompt": "x", "seed": "five"}, 400),
        ("core", {"prompt": "x", "output_format": "gif"}, 400),
        ("core", {"prompt": "x", "image": picture()}, 400),
        ("core", {"prompt": "x" * 10_001}, 400),
        ("ultra", {"prompt": "x", "image": picture()}, 400),
        ("ultra", {"prompt": "x", "image": picture(), "strength": "0.5"}, 200),
        ("ultra", {"prompt": "x", "image": b"no picture", "strength": "0.5"}, 400),
        ("sd3", {"prompt": "x", "model": "sd3.5-medium"}, 200),
        ("sd3", {"prompt": "x", "model": "sd1"}, 400),
        ("sd3", {"prompt": "x", "image": picture(), "strength": "0.5"}, 400),
        ("sd3", {"prompt": "x", "mode": "image-to-image"}, 400),
        ("sd4", {"prompt": "x"}, 404),
    ],
)
async def test_stability_s_forms(simulator, service, fields, status):
    path = f"{simulator.url}/stability/v2beta/stable-image/generate/{service}"
    async with simulator.http.post(path, data=form(**fields), headers=HEADERS) as answer:
        assert answer.status == status, await answer.text()
        if status == 200:
            assert answer.headers["finish-reason"] == "SUCCESS" and answer.content_type == "image/png"
            Image.open(io.BytesIO(await answer.read())).load()
        else:
            said = await answer.json()
            assert set(said) == {"id", "name", "errors"}


async def test_a_picture_of_a_megabyte_is_read_like_a_small_one(simulator):
    buffer = io.BytesIO()
    Image.frombytes("RGB", (600, 600), random.Random(1).randbytes(600 * 600 * 3)).save(buffer, "PNG")
    path = f"{simulator.url}/stability/v2beta/stable-image/generate/ultra"
    fields = {"prompt": "x", "image": buffer.getvalue(), "strength": "0.5"}
    async with simulator.http.post(path, data=form(**fields), headers=HEADERS) as answer:
        assert (len(buffer.getvalue()) > 1_000_000, answer.status) == (True, 200)


async def test_stability_takes_forms_alone(simulator):
    path = f"{simulator.url}/stability/v2beta/stable-image/generate/core"
    async with simulator.http.post(path, json={"prompt": "x"}, headers=HEADERS) as answer:
        assert answer.status == 400
    headers = HEADERS | {"Accept": "text/html"}
    async with simulator.http.post(path, data=form(prompt="x"), headers=headers) as answer:
        assert answer.status == 400


async def test_a_filtered_picture_is_delivered_and_charged(simulator):
    path = f"{simulator.url}/stability/v2beta/stable-image/generate/core"
    headers = HEADERS | {"Accept": "application/json"}
    async with simulator.http.post(path, data=form(prompt="x [[sim:partial=1]]"), headers=headers) as answer:
        assert (answer.status, (await answer.json())["finish_reason"]) == (200, "CONTENT_FILTERED")
    [entry] = await simulator.journal()
    assert entry["billed"] == 1


async def test_fal_says_202_until_it_is_done_and_drops_the_path(simulator):
    key = {"Authorization": "Key id:secret"}
    body = {"prompt": "x [[sim:latency=60]]"}
    async with simulator.http.post(f"{simulator.url}/fal/fal-ai/flux/schnell", json=body, headers=key) as answer:
        made = await answer.json()
    assert made["status_url"] == f"{simulator.url}/fal/fal-ai/flux/requests/{made['request_id']}/status"
    statuses = []
    for seconds in (0, 20, 60):
        await simulator.admin("POST", "clock", {"seconds": seconds})
        async with simulator.http.get(made["status_url"], headers=key) as answer:
            statuses.append((answer.status, (await answer.json())["status"]))
    assert statuses == [(202, "IN_QUEUE"), (202, "IN_PROGRESS"), (200, "COMPLETED")]


@pytest.mark.parametrize("fault", ["ok", "task-moderated", "callback-twice"])
async def test_fal_signs_its_webhooks(simulator, fault):
    heard: asyncio.Queue = asyncio.Queue()

    async def hook(request):
        heard.put_nowait((request.headers, await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        query = {"fal_webhook": f"http://127.0.0.1:{runner.addresses[0][1]}/hook"}
        key = {"Authorization": "Key id:secret"}
        body = {"prompt": f"x [[sim:{fault}]]"}
        path = f"{simulator.url}/fal/fal-ai/flux/schnell"
        async with simulator.http.post(path, json=body, headers=key, params=query) as answer:
            made = await answer.json()
        async with asyncio.timeout(5):
            told = [await heard.get() for _ in range(2 if fault == "callback-twice" else 1)]
    finally:
        await runner.cleanup()
    async with simulator.http.get(f"{simulator.url}/fal/.well-known/jwks.json") as answer:
        [found] = (await answer.json())["keys"]
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(found["x"] + "="))
    for headers, raw in told:
        said = json.loads(raw)
        assert (said["request_id"], said["status"]) == (made["request_id"], "ERROR" if "moderated" in fault else "OK")
        names = ("Request-Id", "User-Id", "Timestamp")
        signed = [headers[f"X-Fal-Webhook-{name}"] for name in names] + [hashlib.sha256(raw).hexdigest()]
        public.verify(bytes.fromhex(headers["X-Fal-Webhook-Signature"]), "\n".join(signed).encode())


async def test_google_s_files_want_the_key(simulator):
    async with simulator.http.post(simulator.url + VEO, json=film(durationSeconds=4), headers=HEADERS) as answer:
        name = (await answer.json())["name"]
    async with simulator.http.get(f"{simulator.url}/google/v1beta/{name}", headers=HEADERS) as answer:
        operation = await answer.json()
    [sample] = operation["response"]["generateVideoResponse"]["generatedSamples"]
    file = sample["video"]["uri"].partition("/v1beta/")[2]
    async with simulator.http.get(f"{simulator.url}/google/v1beta/{file}") as answer:
        assert answer.status == 400
    async with simulator.http.get(f"{simulator.url}/google/v1beta/{file}", headers=HEADERS) as answer:
        assert (answer.status, answer.content_type) == (200, "video/mp4")
        assert answer.history[0].status == 302
