"""Video tasks of ModelArk: what a caller sees of them from the first look to the last."""

from __future__ import annotations

import asyncio
import base64
import io

import av
import pytest
from aiohttp import web
from PIL import Image

from simulator.faults import FAULTS

TASKS = "/ark/api/v3/contents/generations/tasks"
LITE, IMAGE_TO_VIDEO, PRO, SOUND = (
    "seedance-1-0-lite-t2v-250428",
    "seedance-1-0-lite-i2v-250428",
    "seedance-1-0-pro-250528",
    "seedance-1-5-pro-251215",
)


def text(words: str) -> list:
    return [{"type": "text", "text": words}]


def body(words: str = "waves at night", **others) -> dict:
    return {"model": LITE, "content": text(words), "resolution": "480p", "duration": 2} | others


def frame(role: str, colour: str = "red") -> dict:
    buffer = io.BytesIO()
    Image.new("RGB", (90, 160), colour).save(buffer, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}, "role": role}


async def create(simulator, **others) -> str:
    async with simulator.ask("POST", TASKS, body(**others)) as answer:
        assert answer.status == 200, await answer.text()
        made = await answer.json()
    assert set(made) == {"id"}
    return made["id"]


async def look(simulator, name: str) -> dict:
    async with simulator.ask("GET", f"{TASKS}/{name}") as answer:
        return await answer.json()


async def film(simulator, task: dict) -> tuple[bytes, list]:
    async with simulator.http.get(task["content"]["video_url"]) as answer:
        assert (answer.status, answer.content_type) == (200, "video/mp4")
        content = await answer.read()
    with av.open(io.BytesIO(content)) as opened:
        frames = [picture.to_image() for picture in opened.decode(video=0)]
        assert opened.streams.video[0].codec.name == "h264"
    return content, frames


async def test_a_film_of_the_size_and_length_that_were_asked_for_moves(simulator):
    task = await look(simulator, await create(simulator, ratio="9:16", duration=3, resolution="480p"))
    assert (task["status"], task["ratio"], task["duration"]) == ("succeeded", "9:16", 3)
    assert task["usage"]["total_tokens"] == 3 * 480 * 864 * 24 // 1024
    content, frames = await film(simulator, task)
    with av.open(io.BytesIO(content)) as opened:
        assert opened.duration == 3_000_000
        assert not opened.streams.audio
    assert frames[0].size == (480, 864)
    assert frames[0].tobytes() != frames[-1].tobytes()


async def test_another_prompt_is_another_film_and_the_newest_models_speak(simulator):
    films = []
    for words in ("a red desert", "a forest in fog"):
        name = await create(simulator, words=words, model=SOUND, duration=4)
        content, _ = await film(simulator, await look(simulator, name))
        with av.open(io.BytesIO(content)) as opened:
            assert opened.streams.audio[0].codec.name == "aac"
            assert sum(piece.samples for piece in opened.decode(audio=0)) / 24_000 == pytest.approx(4, abs=0.2)
        films.append(content)
    assert films[0] != films[1]


async def test_a_first_frame_decides_the_shape_and_the_colour(simulator):
    for colour, channel in (("red", 0), ("blue", 2)):
        content = [*text("a kite"), frame("first_frame", colour)]
        name = await create(simulator, model=IMAGE_TO_VIDEO, content=content)
        task = await look(simulator, name)
        _, [first, *_] = await film(simulator, task)
        assert task["ratio"] == "9:16"
        average = first.resize((1, 1)).getpixel((0, 0))
        assert max(average) == average[channel]


async def test_the_last_frame_is_given_where_it_was_asked_for(simulator):
    task = await look(simulator, await create(simulator, return_last_frame=True))
    async with simulator.http.get(task["content"]["last_frame_url"]) as answer:
        last = Image.open(io.BytesIO(await answer.read()))
    assert (last.format, last.size) == ("PNG", (864, 480))


async def test_a_task_waits_runs_and_ends(simulator):
    name = await create(simulator, words="a boat [[sim:latency=100]]")
    seen = []
    for seconds in (0, 30, 80):
        await simulator.admin("POST", "clock", {"seconds": seconds})
        task = await look(simulator, name)
        seen.append(task["status"])
    assert seen == ["queued", "running", "succeeded"]
    await simulator.admin("POST", "clock", {"seconds": 24 * 3600 + 5})
    async with simulator.http.get(task["content"]["video_url"]) as answer:
        assert answer.status == 403
    await simulator.admin("POST", "clock", {"seconds": 6 * 24 * 3600 + 5})
    async with simulator.ask("GET", f"{TASKS}/{name}") as answer:
        assert answer.status == 404


async def test_only_what_waits_can_be_cancelled_and_costs_nothing_then(simulator):
    name = await create(simulator, words="a boat [[sim:latency=100]]")
    assert [entry["billed"] for entry in await simulator.journal()] == [1]
    async with simulator.ask("DELETE", f"{TASKS}/{name}") as answer:
        assert (answer.status, await answer.json()) == (200, {})
    assert (await look(simulator, name))["status"] == "cancelled"
    assert [entry["billed"] for entry in await simulator.journal()] == [0]
    running = await create(simulator, words="a ship [[sim:latency=100]]")
    await simulator.admin("POST", "clock", {"seconds": 30})
    for wrong in (name, running):
        async with simulator.ask("DELETE", f"{TASKS}/{wrong}") as answer:
            assert answer.status == 400
    await simulator.admin("POST", "clock", {"seconds": 100})
    async with simulator.ask("DELETE", f"{TASKS}/{running}") as answer:
        assert answer.status == 200
    async with simulator.ask("GET", f"{TASKS}/{running}") as answer:
        assert answer.status == 404
    assert (await simulator.journal())[-1]["billed"] == 1


async def test_the_list_is_filtered_and_has_pages(simulator):
    names = [await create(simulator, words=f"listed {number}", seed=number) for number in range(3)]
    query = "&".join(f"filter.task_ids={name}" for name in names)
    async with simulator.ask("GET", f"{TASKS}?page_size=2&{query}") as answer:
        page = await answer.json()
    assert (page["total"], [item["seed"] for item in page["items"]]) == (3, [2, 1])
    async with simulator.ask("GET", f"{TASKS}?filter.status=queued&{query}") as answer:
        assert (await answer.json())["total"] == 0
    async with simulator.ask("GET", f"{TASKS}?page_size=501") as answer:
        assert answer.status == 400


ENDINGS = {
    "task-failed": ("failed", 0),
    "task-moderated": ("failed", 0),
    "task-no-url": ("succeeded", 1),
    "task-word": ("pondering", 1),
    "task-stuck": ("running", 0),
    "task-expired": ("queued", 0),
}


@pytest.mark.parametrize("fault", ENDINGS)
async def test_endings(simulator, fault):
    status, billed = ENDINGS[fault]
    name = await create(simulator, words=f"a boat [[sim:{fault}]]")
    task = await look(simulator, name)
    assert task["status"] == status
    assert bool(task.get("error")) == (status == "failed")
    assert not task.get("content")
    assert [entry["billed"] for entry in await simulator.journal()] == [billed]
    if fault in {"task-stuck", "task-expired"}:
        await simulator.admin("POST", "clock", {"seconds": 172_801})
        assert (await look(simulator, name))["status"] == "expired"


async def test_looks_that_mislead(simulator):
    name = await create(simulator, words="a boat [[sim:task-backwards]]")
    assert [(await look(simulator, name))["status"] for _ in range(3)] == ["succeeded", "queued", "succeeded"]
    name = await create(simulator, words="a boat [[sim:task-forgotten]]")
    assert (await look(simulator, name))["error"]["code"] == "ResourceNotFound"
    name = await create(simulator, words="a boat [[sim:look-refusedx2=429]]")
    seen = [await look(simulator, name) for _ in range(3)]
    assert ["error" in one for one in seen] == [True, True, False]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("", ["queued", "running", "succeeded"]),
        ("callback-twice,", ["queued", "queued", "running", "running", "succeeded", "succeeded"]),
        ("callback-lost,", []),
    ],
)
async def test_the_caller_is_told(simulator, fault, told):
    heard: list[str] = []

    async def hear(request):
        heard.append((await request.json())["status"])
        return web.Response()

    app = web.Application()
    app.router.add_post("/told", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/told"
    name = await create(simulator, words=f"a boat [[sim:{fault}latency=0.3]]", callback_url=url)
    await asyncio.sleep(0.6)
    await runner.cleanup()
    assert heard == told
    assert (await look(simulator, name))["status"] == "succeeded"


async def test_flags_in_the_prompt_are_obeyed(simulator):
    task = await look(simulator, await create(simulator, words="a boat --dur 5 --rt 1:1"))
    assert (task["duration"], task["ratio"]) == (5, "1:1")


REFUSED = [
    {"model": "seedance-9"},
    {"content": []},
    {"content": "a boat"},
    {"content": [{"type": "speech"}]},
    {"content": [frame("first_frame")]},
    {"model": IMAGE_TO_VIDEO},
    {"model": IMAGE_TO_VIDEO, "content": [frame("last_frame")]},
    {"model": IMAGE_TO_VIDEO, "content": [frame("first_frame"), frame("reference_image")]},
    {"model": IMAGE_TO_VIDEO, "content": [frame("first_frame"), frame("first_frame")]},
    {"model": IMAGE_TO_VIDEO, "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
    {"duration": 13},
    {"duration": "5"},
    {"model": SOUND, "duration": 3},
    {"resolution": "8k"},
    {"ratio": "2:1"},
    {"size": "1280x720"},
    {"seed": 2**31},
    {"generate_audio": True},
    {"execution_expires_after": 60},
    {"callback_url": "ftp://x"},
    {"safety_identifier": "x" * 65},
]


@pytest.mark.parametrize("change", REFUSED)
async def test_what_a_lax_imitation_would_let_pass(simulator, change):
    async with simulator.ask("POST", TASKS, body() | change) as answer:
        assert answer.status in {400, 404}, await answer.text()
        assert (await answer.json())["error"]["code"]
    assert [entry["billed"] for entry in await simulator.journal()] == [0]


@pytest.mark.parametrize("fault", ["401", "429", "500", "504", "moderated", "quota"])
async def test_refusals_come_before_a_task(simulator, fault):
    async with simulator.ask("POST", TASKS, body(f"x [[sim:{fault}]]")) as answer:
        assert answer.status == FAULTS[fault].status
    async with simulator.ask("GET", TASKS, key="") as answer:
        assert answer.status == 401
