"""The vendors' own SDKs, unmodified, against the simulator."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import io
import ipaddress
import json
import os
import ssl
import subprocess
import sys

import av
import elevenlabs.core
import pytest
import replicate
import runwayml
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from elevenlabs.client import AsyncElevenLabs
from google import genai
from google.genai import errors, types
from PIL import Image
from replicate.exceptions import ReplicateError

from simulator.app import build_app
from simulator.settings import Settings


def plays(content: bytes) -> float:
    """How long, in seconds."""
    with av.open(io.BytesIO(content)) as opened:
        return opened.duration / 1_000_000


async def fetched(simulator, url: str) -> bytes:
    async with simulator.http.get(url) as answer:
        assert answer.status == 200
        return await answer.read()


class TestElevenLabs:
    @pytest.fixture
    def client(self, simulator):
        return AsyncElevenLabs(api_key="xi-test", base_url=f"{simulator.url}/elevenlabs")

    async def test_speech(self, simulator, client):
        stream = client.text_to_speech.convert(
            "JBFqnCBsd6RMkjVDRZzb", text="good morning", model_id="eleven_multilingual_v2"
        )
        assert plays(b"".join([chunk async for chunk in stream])) > 0.5
        [entry] = await simulator.journal()
        assert (entry["provider"], entry["model"], entry["billed"]) == ("elevenlabs", "eleven_multilingual_v2", 1)

    async def test_timestamps(self, client):
        answer = await client.text_to_speech.convert_with_timestamps("JBFqnCBsd6RMkjVDRZzb", text="good morning")
        assert answer.alignment.characters == list("good morning")
        assert answer.alignment.character_end_times_seconds[-1] == pytest.approx(
            plays(base64.b64decode(answer.audio_base_64)), abs=0.2
        )

    async def test_voices(self, client):
        assert {voice.name for voice in (await client.voices.get_all()).voices} >= {"George", "Rachel"}
        page = await client.voices.search(page_size=3)
        assert (len(page.voices), page.has_more) == (3, True)
        rest = await client.voices.search(page_size=3, next_page_token=page.next_page_token)
        assert (len(rest.voices), rest.has_more) == (1, False)

    @pytest.mark.parametrize(
        ("fault", "status"), [("401", 401), ("quota", 401), ("404", 404), ("429", 429), ("500", 500)]
    )
    async def test_refusals(self, client, fault, status):
        with pytest.raises(elevenlabs.core.ApiError) as refused:
            stream = client.text_to_speech.convert("JBFqnCBsd6RMkjVDRZzb", text=f"x [[sim:{fault}]]")
            async for _ in stream:
                pass
        assert refused.value.status_code == status


class TestRunway:
    @pytest.fixture
    def client(self, simulator, monkeypatch):
        monkeypatch.setattr("runwayml.lib.polling.POLL_TIME", 0.02)
        monkeypatch.setattr("runwayml.lib.polling.POLL_JITTER", 0.0)
        return runwayml.AsyncRunwayML(api_key="key_test", base_url=f"{simulator.url}/runway", max_retries=0)

    async def test_from_words_to_the_end(self, simulator, client):
        made = await client.text_to_video.create(model="gen4.5", prompt_text="waves", ratio="720:1280", duration=2)
        task = await made.wait_for_task_output()
        content = await fetched(simulator, task.output[0])
        with av.open(io.BytesIO(content)) as film:
            assert (film.streams.video[0].width, film.streams.video[0].height) == (720, 1280)

    async def test_cancelled(self, simulator, client):
        made = await client.text_to_video.create(
            model="gen4.5", prompt_text="waves [[sim:latency=60]]", ratio="1280:720", duration=2
        )
        assert made.estimated_cost.credits == 24
        await client.tasks.delete(made.id)
        task = await client.tasks.retrieve(made.id)
        assert (task.status, task.cost.credits) == ("CANCELLED", 0)

    async def test_a_failure_is_its_own_exception(self, client):
        made = await client.text_to_video.create(
            model="gen4.5", prompt_text="waves [[sim:task-moderated]]", ratio="1280:720", duration=2
        )
        with pytest.raises(runwayml.TaskFailedError):
            await made.wait_for_task_output()

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            ("401", runwayml.AuthenticationError),
            ("429", runwayml.RateLimitError),
            ("moderated", runwayml.BadRequestError),
        ],
    )
    async def test_refusals(self, client, fault, kind):
        with pytest.raises(kind):
            await client.text_to_video.create(
                model="gen4.5", prompt_text=f"x [[sim:{fault}]]", ratio="1280:720", duration=2
            )


class TestReplicate:
    @pytest.fixture
    def client(self, simulator, monkeypatch):
        monkeypatch.setenv("REPLICATE_POLL_INTERVAL", "0.02")
        return replicate.Client(api_token="r8_test", base_url=f"{simulator.url}/replicate")

    async def test_from_words_to_the_end(self, simulator, client):
        asked = {"prompt": "a harbour", "num_outputs": 2, "output_format": "png", "aspect_ratio": "16:9"}
        made = await client.models.predictions.async_create("black-forest-labs/flux-schnell", input=asked)
        await made.async_wait()
        assert made.status == "succeeded"
        pictures = [Image.open(io.BytesIO(await fetched(simulator, url))) for url in made.output]
        assert [picture.size for picture in pictures] == [(1360, 768)] * 2

    async def test_cancelled(self, client):
        made = await client.models.predictions.async_create(
            "kwaivgi/kling-v2.1", input={"prompt": "waves [[sim:latency=60]]"}
        )
        assert made.status == "starting"
        await made.async_cancel()
        await made.async_reload()
        assert made.status == "canceled"

    async def test_failed(self, client):
        made = await client.models.predictions.async_create(
            "black-forest-labs/flux-schnell", input={"prompt": "x [[sim:task-moderated]]"}
        )
        await made.async_wait()
        assert made.status == "failed" and "NSFW" in made.error

    @pytest.mark.parametrize(("fault", "status"), [("401", 401), ("quota", 402), ("422", 422), ("500", 500)])
    async def test_refusals(self, client, fault, status):
        with pytest.raises(ReplicateError) as refused:
            await client.models.predictions.async_create(
                "black-forest-labs/flux-schnell", input={"prompt": f"x [[sim:{fault}]]"}
            )
        assert refused.value.status == status


class TestGoogle:
    @pytest.fixture
    def client(self, simulator):
        return genai.Client(
            api_key="test", vertexai=False, http_options=types.HttpOptions(base_url=f"{simulator.url}/google")
        )

    async def test_a_picture(self, client):
        answer = await client.aio.models.generate_content(
            model="gemini-2.5-flash-image",
            contents="a harbour",
            config=types.GenerateContentConfig(
                response_modalities=["IMAGE"], image_config=types.ImageConfig(aspect_ratio="16:9")
            ),
        )
        [data] = [part.inline_data for part in answer.candidates[0].content.parts if part.inline_data]
        assert Image.open(io.BytesIO(data.data)).size == (1360, 768)

    async def test_a_film_by_interactions(self, simulator, client):
        made = await client.aio.interactions.create(
            model="gemini-omni-1.1-flash",
            input="waves",
            background=True,
            response_format={"type": "video", "duration": "2s", "resolution": "360p", "delivery": "uri"},
        )
        assert made.status == "queued"
        film = await client.aio.interactions.get(made.id)
        assert film.status == "completed" and film.output_video.uri.startswith("https://")
        stopped = await client.aio.interactions.create(
            model="gemini-omni-1.1-flash",
            input="waves [[sim:latency=60]]",
            background=True,
            response_format={"type": "video", "delivery": "uri"},
        )
        assert (await client.aio.interactions.cancel(stopped.id)).status == "cancelled"

    @pytest.mark.parametrize(("fault", "status"), [("401", 400), ("404", 404), ("429", 429), ("503", 503)])
    async def test_refusals(self, client, fault, status):
        with pytest.raises(errors.APIError) as refused:
            await client.aio.models.generate_content(model="gemini-2.5-flash-image", contents=f"x [[sim:{fault}]]")
        assert refused.value.code == status


FAL_CALLS = """
import asyncio, json, sys
import fal_client

async def main():
    client = fal_client.AsyncClient(key="id:secret")
    seen = []
    answer = await client.subscribe(
        "fal-ai/flux/schnell",
        {"prompt": "a harbour [[sim:latency=0.5]]", "num_images": 2, "image_size": {"width": 320, "height": 256}},
        with_logs=True,
        on_queue_update=lambda status: seen.append(type(status).__name__),
    )
    handle = await client.submit("fal-ai/flux/dev", {"prompt": "a harbour [[sim:latency=60]]"})
    await handle.cancel()
    try:
        await client.subscribe("fal-ai/flux/schnell", {"prompt": "x [[sim:task-moderated]]"})
        blocked = 0
    except fal_client.FalClientHTTPError as error:
        blocked = error.status_code
    print(json.dumps({"images": answer["images"], "seen": seen, "blocked": blocked}))

asyncio.run(main())
"""


async def test_fal_over_tls(tmp_path):
    """Its client knows https alone, and reads where to go when it is imported."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    _sign_ourselves(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    runner = web.AppRunner(build_app(Settings()), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        host = f"127.0.0.1:{runner.addresses[0][1]}/fal"
        told = {"FAL_RUN_HOST": host, "FAL_QUEUE_RUN_HOST": host, "SSL_CERT_FILE": str(certificate)}
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", FAL_CALLS, env={**os.environ, **told}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        async with asyncio.timeout(60):
            output, error = await child.communicate()
    finally:
        await runner.cleanup()
    assert child.returncode == 0, error.decode()
    said = json.loads(output)
    assert [(image["width"], image["height"]) for image in said["images"]] == [(320, 256)] * 2
    assert {"Completed"} < set(said["seen"]) <= {"Queued", "InProgress", "Completed"}
    assert said["blocked"] == 422


def _sign_ourselves(certificate_path, key_path) -> None:
    """A certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
