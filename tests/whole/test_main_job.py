"""The main job on real input: a request becomes a stored, paid-for picture."""

import asyncio
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import av
import pytest
from PIL import Image

from darkroom.stack import SERVICES
from tests.whole.conftest import Darkroom, User

pytestmark = pytest.mark.whole


async def test_a_request_becomes_a_stored_and_paid_for_picture(new_user: Callable[[], User]) -> None:
    user = new_user()
    accepted = await user.make("A beautiful sunset over mountains")
    assert accepted["quote"] == 1
    made = await user.ended(accepted["id"])
    assert made["status"] == "completed"
    assert made["cost"] == 1
    assert made["error"] is None
    (asset,) = made["assets"]
    content, headers = await user.download(asset["url"])
    assert hashlib.sha256(content).hexdigest() == asset["sha256"]
    assert headers["Content-Type"] == asset["mime_type"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        assert picture.size == (asset["width"], asset["height"]) == (512, 512)
    for name, longest in (("medium", 512), ("thumbnail", 256)):
        small, headers = await user.download(asset["variants"][name])
        assert headers["Content-Type"] == "image/webp"
        with Image.open(io.BytesIO(small)) as variant:
            assert max(variant.size) == longest
    assert await user.credits() == {"available": 9, "held": 0, "used": 1, "owed": 0}


async def test_a_picture_of_ones_own_speaks_in_a_film(new_user: Callable[[], User]) -> None:
    """By its address; nobody else's, though they know it. Whoever plays the film sees its poster first."""
    user, stranger = new_user(), new_user()
    (still,) = (await user.ended((await user.make("A captain, from the front"))["id"]))["assets"]
    film = {"kind": "video", "model": "darkroom-avatar", "size": "720x1280", "options": {"quality": "draft"}}
    film |= {"prompt": "Good evening.", "inputs": [{"role": "image", "url": still["url"]}]}
    status, refused, _ = await stranger.call("POST", "/v1/generations", json=film)
    assert (status, refused["code"]) == (422, "input_not_found")
    made = await user.ended((await user.make(**film))["id"], 60)
    assert (made["status"], made["cost"]) == ("completed", 0.2), made
    (asset,) = made["assets"]
    content, _ = await user.download(asset["url"])
    with av.open(io.BytesIO(content)) as opened:
        codecs = [stream.codec_context.name for stream in opened.streams if stream.codec_context is not None]
        assert codecs == ["h264", "aac"]
    assert (asset["mime_type"], asset["width"], asset["height"]) == ("video/mp4", 720, 1280)
    poster, _ = await user.download(asset["variants"]["poster"])
    with Image.open(io.BytesIO(poster)) as picture:
        assert picture.size == (720, 1280)


async def test_the_reelmate_frontend_gets_its_film(new_user: Callable[[], User]) -> None:
    """One of our faces says a script with one of our voices: the picture becomes the user's own on the way."""
    user = new_user()
    ids = [f"550e8400-e29b-41d4-a716-44665544000{number}" for number in (1, 5)]
    body = {"script": "Good evening.", "avatarId": ids[0], "voiceId": ids[1], "generationSettings": {"quality": "low"}}
    status, answer, _ = await user.call("POST", "/api/ai-studio/generate-video", json=body)
    assert status == 201, answer
    job_id = answer["data"]["id"]
    assert (await user.ended(job_id, 60))["status"] == "completed"
    status, answer, _ = await user.call("GET", f"/api/ai-studio/generation-status/{job_id}")
    output = answer["data"]["output"]
    assert (answer["data"]["status"], output["cost"]) == ("completed", 0.2), answer
    content, _ = await user.download(output["videoUrl"])
    with av.open(io.BytesIO(content)) as opened:
        assert [stream.type for stream in opened.streams] == ["video", "audio"]
    thumbnail, _ = await user.download(output["thumbnailUrl"])
    with Image.open(io.BytesIO(thumbnail)) as picture:
        assert picture.size == (720, 1280)


async def test_the_command_line_leaves_a_picture_that_opens(darkroom: Darkroom, tmp_path: Path) -> None:
    done = await asyncio.to_thread(
        darkroom.command, "generate", "A beautiful sunset over mountains", "-o", str(tmp_path)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (picture,) = tmp_path.iterdir()
    with Image.open(picture) as opened:
        opened.load()
    assert "credit" in done.stdout


@pytest.mark.parametrize(("kind", "stream"), [("video", "video"), ("speech", "audio"), ("text", None)])
async def test_the_command_line_makes_every_other_kind(
    darkroom: Darkroom, tmp_path: Path, kind: str, stream: str | None
) -> None:
    done = await asyncio.to_thread(
        darkroom.command, "generate", "A quiet harbour at night", "--kind", kind, "-o", str(tmp_path)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = list(tmp_path.iterdir())
    if stream is None:
        assert made == []
        assert "harbour" in done.stdout
        return
    (file,) = made
    with av.open(str(file)) as opened:
        assert [each.type for each in opened.streams if each.type == stream]
        assert opened.duration > 1_000_000


@pytest.mark.parametrize("model", ["seedream-3-0-t2i-250415", "gpt-image-1-mini", "dall-e-2"])
async def test_results_arrive_as_an_address_and_as_bytes(new_user: Callable[[], User], model: str) -> None:
    user = new_user()
    size = "1024x1024" if model.startswith("gpt") else "512x512"
    made = await user.ended((await user.make("A quiet harbour at night", model=model, size=size))["id"])
    assert made["status"] == "completed", made
    content, _ = await user.download(made["assets"][0]["url"])
    Image.open(io.BytesIO(content)).load()


async def test_only_what_is_delivered_is_paid_for(new_user: Callable[[], User]) -> None:
    """3 of 4 images: captured 3, released 1."""
    user = new_user()
    made = await user.ended((await user.make(f"Four boats {uuid4()} [[sim:fail-every=4]]", count=4))["id"])
    assert made["status"] == "completed"
    assert made["quote"] == 4
    assert len(made["assets"]) == 3
    assert made["cost"] == 3
    assert await user.credits() == {"available": 7, "held": 0, "used": 3, "owed": 0}


@pytest.mark.parametrize(
    ("marker", "code"), [("moderated", "content_policy"), ("401", "provider_unauthorized"), ("empty-200", None)]
)
async def test_a_failure_costs_nothing_and_says_why(
    new_user: Callable[[], User], marker: str, code: str | None
) -> None:
    user = new_user()
    made = await user.ended((await user.make(f"Nothing {uuid4()} [[sim:{marker}]]"))["id"])
    assert made["status"] == "failed"
    assert made["cost"] == 0
    assert made["error"]["message"]
    assert code is None or made["error"]["code"] == code
    assert await user.credits() == {"available": 10, "held": 0, "used": 0, "owed": 0}


async def test_exactly_ten_of_fifty_parallel_requests_on_ten_credits_are_funded(new_user: Callable[[], User]) -> None:
    user = new_user()
    body = {"kind": "image", "prompt": "One of fifty", "size": "512x512"}
    answers = await asyncio.gather(*(user.call("POST", "/v1/generations", json=body) for _ in range(50)))
    accepted = [answer for status, answer, _ in answers if status == 202]
    refused = [answer for status, answer, _ in answers if status == 402]
    assert len(accepted) + len(refused) == 50
    ended = await asyncio.gather(*(user.ended(generation["id"], 60) for generation in accepted))
    statuses = [generation["status"] for generation in ended]
    assert statuses.count("completed") == 10
    assert statuses.count("declined") == len(accepted) - 10
    assert await user.credits() == {"available": 0, "held": 0, "used": 10, "owed": 0}
    async with asyncio.timeout(30):
        # A gateway waits a quarter of a second for the ledger's answer, and goes on without it: then the hold decides.
        while (answer := await user.call("POST", "/v1/generations", json=body))[0] == 202:
            assert (await user.ended(answer[1]["id"]))["status"] == "declined"
    status, problem, _ = answer
    assert status == 402
    assert (problem["required"], problem["available"]) == (1, 0)


async def test_a_statement_tells_a_person_where_the_credits_went(
    darkroom: Darkroom, new_user: Callable[[], User]
) -> None:
    user = new_user()
    made = await user.ended((await user.make("Two of a kind", count=2))["id"])
    balance = await user.credits()
    status, page, _ = await user.call("GET", "/v1/credits/statement")
    assert status == 200
    assert [(item["entry"], item["captured"], item["granted"]) for item in page["items"]] == [
        ("generation", 2, 0),
        ("starting_grant", 0, 10),
    ]
    assert page["items"][0]["generation_id"] == made["id"]
    assert sum(item["granted"] - item["captured"] + item["refunded"] for item in page["items"]) == balance["available"]
    shown = await asyncio.to_thread(darkroom.command, "statement", "--user", str(user.id))
    assert shown.returncode == 0, shown.stderr
    assert f"UTC  {made['id']}\n    quote 2, captured 2: Completed: 2 delivered." in shown.stdout
    assert "UTC  starting grant\n    granted 10: a new user's credits" in shown.stdout
    assert "8 credits available, 0 held, 2 used." in shown.stdout


async def test_a_cancelled_generation_is_not_paid_for(new_user: Callable[[], User]) -> None:
    user = new_user()
    accepted = await user.make(f"Slow {uuid4()} [[sim:latency=5]]")
    await asyncio.sleep(0.3)
    status, cancelled, _ = await user.call("POST", f"/v1/generations/{accepted['id']}/cancel")
    assert (status, cancelled["status"]) == (200, "cancelled")
    await asyncio.sleep(0.3)
    assert await user.credits() == {"available": 10, "held": 0, "used": 0, "owed": 0}
    assert (await user.ended(accepted["id"]))["status"] == "cancelled"


async def test_progress_is_seen_live(
    darkroom: Darkroom, new_user: Callable[[], User], session: aiohttp.ClientSession
) -> None:
    user = new_user()
    accepted = await user.make(f"Live {uuid4()} [[sim:latency=1]]")
    events: list[tuple[str, Any]] = []
    address = f"{darkroom.url}/v1/generations/{accepted['id']}/events"
    async with session.get(address, headers={"Authorization": f"Bearer {darkroom.token(user.id)}"}) as stream:
        name = ""
        async for line in stream.content:
            text = line.decode().strip()
            if text.startswith("event:"):
                name = text.removeprefix("event:").strip()
            elif text.startswith("data:"):
                events.append((name, json.loads(text.removeprefix("data:"))))
    assert events[0][0] == "generation"
    assert any(name == "progress" and data["percent"] > 0 for name, data in events)
    assert events[-1][0] == "outcome"
    assert events[-1][1]["status"] == "completed"


async def test_the_modelark_frontend_gets_its_picture(darkroom: Darkroom, session: aiohttp.ClientSession) -> None:
    """The seed's own body, held open; the client sends no token."""
    body = {
        "prompt": "A beautiful sunset over mountains",
        "model": "seedream-3-0-t2i-250415",
        "size": "1024x1024",
        "userId": str(uuid4()),
        "watermark": False,
    }
    async with session.post(f"{darkroom.url}/api/images/generate", json=body) as answer:
        made = await answer.json()
        assert answer.status == 200, made
    (image,) = made["images"]
    assert set(image) == {"id", "url", "bucketUrl", "size"}
    assert image["url"] != image["bucketUrl"]
    async with session.get(image["bucketUrl"]) as answer:
        with Image.open(io.BytesIO(await answer.read())) as picture:
            assert picture.size == (1024, 1024)


async def test_the_social_frontend_gets_its_pictures_and_its_post(new_user: Callable[[], User]) -> None:
    """The seed's own body; what is left is right as soon as the pictures are there, and the link is a download."""
    user = new_user()
    body = {"prompt": "We open our new bakery on Saturday", "style": "vibrant", "count": 4}
    status, answer, _ = await user.call("POST", "/api/social/generate-image", json=body)
    assert status == 200, answer
    made = answer["data"]
    assert (made["cost"], made["remainingCredits"], len(made["images"])) == (4, 6, 4)
    for image in made["images"]:
        metadata = image["metadata"]
        assert (metadata["style"], metadata["prompt"]) == ("vibrant", body["prompt"])
        assert (metadata["aiService"], metadata["provider"], metadata["model"]) == ("openai", "openai", "gpt-image-2")
        for url, longest in ((image["url"], 1024), (image["thumbnail"], 256)):
            content, _ = await user.download(url)
            with Image.open(io.BytesIO(content)) as picture:
                assert max(picture.size) == longest
    status, answer, _ = await user.call("POST", f"/api/social/download-image/{made['images'][2]['id']}")
    assert status == 200, answer
    _, headers = await user.download(answer["data"]["downloadUrl"])
    assert headers["Content-Disposition"].startswith("attachment")
    status, answer, _ = await user.call("GET", "/api/ai/generated-images?page=1&limit=12")
    assert [image["id"] for image in answer["data"]["images"]] == [image["id"] for image in made["images"]]
    post = {"prompt": "Our new bakery", "tone": "casual", "type": "generate"}
    status, answer, _ = await user.call("POST", "/api/social/generate-text", json=post)
    assert status == 200, answer
    assert answer["data"]["text"]
    assert 0 < answer["data"]["cost"] < 1
    await asyncio.sleep(2)  # the generator hears of the first outcome a moment after its client (docs/adr/0022)
    similar = body | {"prompt": "  We open our\nnew bakery on Saturday "}
    status, answer, _ = await user.call("POST", "/api/social/generate-image", json=similar)
    assert (status, answer["data"]["cost"]) == (200, 0), answer
    assert all(image["metadata"]["cached"] for image in answer["data"]["images"])


async def test_one_generation_can_be_followed_through_every_service(
    darkroom: Darkroom, new_user: Callable[[], User]
) -> None:
    """The generation's id, and the trace that began at the edge, stand on the lines of all four services."""
    user = new_user()
    trace_id = uuid4().hex
    status, accepted, _ = await user.call(
        "POST",
        "/v1/generations",
        json={"kind": "image", "prompt": "Followed", "size": "512x512"},
        headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"},
    )
    assert status == 202
    await user.ended(accepted["id"])
    await asyncio.sleep(0.3)
    for service in ("gateway", "ledger", "generator", "storage"):
        lines = (darkroom.data / "logs" / f"{service}.log").read_text().splitlines()
        about = [json.loads(line) for line in lines if accepted["id"] in line and line.startswith("{")]
        assert about, service
        assert any(line.get("trace_id") == trace_id for line in about), service


@pytest.mark.skipif(sys.platform != "linux", reason="the policy is Linux's")
def test_services_put_nobody_off_a_core_and_wait_for_no_slice_of_the_servers(darkroom: Darkroom) -> None:
    found = {
        name: {os.sched_getscheduler(each.pid) for each in part if each.is_running()}
        for name, part in darkroom.stack.processes().items()
    }
    assert {name for name, policies in found.items() if policies == {os.SCHED_BATCH}} >= set(SERVICES)
    assert found["nats"] == found["postgres"] == {os.SCHED_OTHER}


def test_zz_the_auditor_finds_nothing(darkroom: Darkroom) -> None:
    """After everything above; the name keeps it last."""
    darkroom.audit()


async def test_the_doctor_finds_nothing_to_do(darkroom: Darkroom) -> None:
    examined = darkroom.command("doctor", "--json")
    parts = json.loads(examined.stdout)["parts"]
    assert [part["findings"] for part in parts] == [[]] * len(parts), examined.stdout
    assert examined.returncode == 0
    assert not any(part["skipped"] for part in parts)
    assert sum(part["looked_at"] for part in parts) > 60
