"""What the studio offers: templates, avatars, voices and prices."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import aiohttp
import av
import pytest
from nats.aio.client import Client as NatsClient
from PIL import Image

from gateway.dialects.reelmate.avatars import PREVIEWS
from gateway.dialects.reelmate.templates import filled, variables_of
from gateway.settings import Settings

from .client import Answer, Client, until
from .conftest import PUBLIC_URL, MakeClient, migrated, settings_of
from .jaaz import PNG
from .players import Players
from .reelmate import FILM, Media, keeping_media, offer

pytestmark = pytest.mark.connected

STUDIO = "/api/ai-studio"
AVATARS = [f"550e8400-e29b-41d4-a716-44665544000{number}" for number in range(1, 5)]
VOICES = [f"550e8400-e29b-41d4-a716-44665544000{number}" for number in range(5, 9)]


@pytest.fixture(scope="module")
async def settings(nats_server: Any, make_database: Callable[[str], str], players: Players) -> Settings:
    database_url = await migrated(make_database("gateway"))
    await offer(database_url, players)
    return settings_of(nats_server.nats_url, database_url)


@pytest.fixture(scope="module", autouse=True)
async def media(bus: NatsClient) -> AsyncIterator[Media]:
    async with keeping_media(bus) as media:
        yield media


async def data(client: Client, path: str) -> Any:
    answer = await client.get(STUDIO + path)
    assert answer.status == 200, answer.text
    assert answer.json["success"] is True and answer.json["message"]
    return answer.json["data"]


async def kept(client: Client, **fields: Any) -> Any:
    body = {"name": "Mine", "template": "Look at {{ thing }}. {{custom_text}}"} | fields
    answer = await client.post(f"{STUDIO}/prompt-templates", json=body)
    assert answer.status == 201, answer.text
    return answer.json["data"]


async def is_made(client: Client, film: str) -> bool:
    return bool((await client.get(f"/v1/generations/{film}")).json["status"] == "completed")


async def brought(
    client: Client, name: str | None = "Me", key: str | None = None, file: bool = True, picture: bytes = PNG
) -> Answer:
    form = aiohttp.FormData()
    if name is not None:
        form.add_field("name", name)
    if file:
        form.add_field("file", picture, filename="me.png", content_type="image/png")
    else:
        form.add_field("gender", "x", content_type="text/plain")
    return await client.post(f"{STUDIO}/avatars", {"Idempotency-Key": key} if key else {}, data=form)


# -- templates ------------------------------------------------------------------------------------------------------


async def test_public_templates_are_everybodys_and_ones_own_are_ones_own(client_of: MakeClient) -> None:
    one, other = client_of(), client_of()
    own = await kept(one)
    assert (own["variables"], own["usage_count"], own["is_public"]) == (["thing", "custom_text"], 0, False)
    shared = await kept(one, isPublic=True, category="ours")
    seen = await data(other, "/prompt-templates")
    assert {template["id"] for template in seen} >= {shared["id"]}
    assert own["id"] not in {template["id"] for template in seen}
    assert {template["category"] for template in seen} >= {"product", "testimonial", "education"}
    assert {own["id"], shared["id"]} <= {template["id"] for template in await data(one, "/prompt-templates")}
    assert [template["id"] for template in await data(other, "/prompt-templates?category=ours")] == [shared["id"]]
    assert await data(other, "/prompt-templates?category=all&limit=&offset=") == seen


async def test_a_script_is_written_and_the_use_is_counted(client: Client) -> None:
    own = await kept(client)
    body = {"templateId": own["id"], "customText": "It shines.", "variables": {"thing": "this lamp"}}
    answers = await asyncio.gather(
        *(client.post(f"{STUDIO}/script-from-template", json=body) for _ in range(5)),
    )
    assert {answer.json["data"]["script"] for answer in answers} == {"Look at this lamp. It shines."}
    assert sorted(answer.json["data"]["usageCount"] for answer in answers) == [1, 2, 3, 4, 5]
    plain = await client.post(f"{STUDIO}/script-from-template", json=body | {"customText": None})
    assert plain.json["data"]["script"] == "Look at this lamp.", plain.text
    left = await client.post(f"{STUDIO}/script-from-template", json={"templateId": own["id"], "customText": "x"})
    assert left.json["data"]["missing"] == ["thing"] and "{{ thing }}" in left.json["data"]["script"]


async def test_somebody_elses_own_template_writes_nothing(client_of: MakeClient) -> None:
    one, other = client_of(), client_of()
    own = await kept(one)
    answer = await other.post(f"{STUDIO}/script-from-template", json={"templateId": own["id"], "customText": "x"})
    assert answer.status == 404
    [seen] = [each for each in await data(one, "/prompt-templates") if each["id"] == own["id"]]
    assert seen["usage_count"] == 0


@pytest.mark.parametrize(
    ("template", "custom", "values", "script", "missing"),
    [
        ("Buy {{a}}!", "", {"a": "it"}, "Buy it!", []),
        ("Buy {{a}}!", "Now.", {"a": "it"}, "Buy it! Now.", []),
        ("{{custom_text}} {{a}} {{b}} {{a}}", "Hi.", {}, "Hi. {{a}} {{b}} {{a}}", ["a", "b"]),
        ("{{custom_text}}", "{{a}}", {"a": "no"}, "{{a}}", []),
        ("{{a}}", r"\1", {"a": r"\g<0>"}, r"\g<0> \1", []),
        ("a {{custom_text}} b", "", {}, "a b", []),
    ],
)
def test_variables_are_filled_in_once(
    template: str, custom: str, values: dict[str, str], script: str, missing: list[str]
) -> None:
    assert filled(template, custom, values) == (script, missing)


def test_a_variable_is_named_once() -> None:
    assert variables_of("{{b}} {{ a }} {{b}} {a} {{}} {{a b}}") == ["b", "a"]


# -- avatars and voices ---------------------------------------------------------------------------------------------


async def test_the_eight_of_the_wizard_are_there_with_pictures_and_sound(client: Client, nobody: Client) -> None:
    avatars, voices = await data(client, "/avatars"), await data(client, "/voices")
    assert [avatar["id"] for avatar in avatars] == AVATARS
    assert [voice["id"] for voice in voices] == VOICES
    for shown, kind in [*((each, "image/jpeg") for each in avatars), *((each, "audio/mpeg") for each in voices)]:
        assert shown["preview_url"].startswith(PUBLIC_URL)
        path = shown["preview_url"].removeprefix(PUBLIC_URL)
        async with aiohttp.ClientSession() as session, session.get(nobody.url + path) as got:
            assert (got.status, got.content_type) == (200, kind)
            assert "max-age" in got.headers["Cache-Control"]
            assert await got.read() == PREVIEWS[path.rpartition("/")[2]].read_bytes()


def test_previews_are_real_and_small() -> None:
    assert len(PREVIEWS) == 8
    seen = set()
    for name, path in PREVIEWS.items():
        content = path.read_bytes()
        seen.add(content)
        assert len(content) < 50_000
        if name.endswith(".jpg"):
            picture = Image.open(io.BytesIO(content))
            picture.load()
            assert picture.size == (720, 1280)
        else:
            with av.open(io.BytesIO(content)) as sound:
                samples = sum(frame.samples for frame in sound.decode(audio=0))
                assert 1 < samples / sound.streams.audio[0].rate < 5
    assert len(seen) == 8


@pytest.mark.parametrize("name", ["avatar-9.jpg", "__init__.py", "..%2F__init__.py", "%00", "%2Fetc%2Fpasswd"])
async def test_nothing_else_is_served_from_the_shelf(nobody: Client, name: str) -> None:
    assert (await nobody.get(f"{STUDIO}/previews/{name}")).status == 404


async def test_a_face_of_ones_own_is_seen_and_used_by_its_user_alone(
    client_of: MakeClient, players: Players, media: Media
) -> None:
    one, other = client_of(), client_of()
    answer = await brought(one)
    assert answer.status == 201, answer.text
    own = answer.json["data"]
    assert (own["name"], own["is_custom"], own["user_id"]) == ("Me", True, str(one.user_id))
    assert own["thumbnail_url"].endswith("/thumbnail.webp")
    assert [each["id"] for each in await data(one, "/avatars")] == [*AVATARS, own["id"]]
    assert [each["id"] for each in await data(other, "/avatars")] == AVATARS
    made = await one.post(f"{STUDIO}/generate-video", json=FILM | {"avatarId": own["id"]})
    assert made.status == 201, made.text
    [start] = (await players.heard(film := made.json["data"]["id"])).inputs
    assert media.kept[start.asset_id] == one.user_id  # type: ignore[index]
    assert (await other.post(f"{STUDIO}/generate-video", json=FILM | {"avatarId": own["id"]})).status == 404
    assert (await other.request("DELETE", f"{STUDIO}/avatars/{own['id']}")).status == 404
    await until(lambda: is_made(one, film))
    assert media.kept_of(one) == [UUID(own["id"])]
    assert (await one.request("DELETE", f"{STUDIO}/avatars/{own['id']}")).status == 200
    assert [each["id"] for each in await data(one, "/avatars")] == AVATARS
    assert media.kept_of(one) == [], "nor is its picture shown to anybody any more"


async def test_a_face_is_not_deleted_while_a_film_with_it_is_made(
    client: Client, players: Players, media: Media
) -> None:
    own = (await brought(client)).json["data"]
    players.scripts[client.user_id] = players.hold
    made = await client.post(f"{STUDIO}/generate-video", json=FILM | {"avatarId": own["id"]})
    assert made.status == 201, made.text
    answer = await client.request("DELETE", f"{STUDIO}/avatars/{own['id']}")
    assert (answer.status, answer.json["code"]) == (409, "not_finished")
    assert media.kept_of(client) == [UUID(own["id"])] and len(await data(client, "/avatars")) == len(AVATARS) + 1


async def test_a_face_that_was_deleted_meanwhile_makes_no_film(client: Client, media: Media) -> None:
    own = (await brought(client)).json["data"]
    media.kept.clear()
    answer = await client.post(f"{STUDIO}/generate-video", json=FILM | {"avatarId": own["id"]})
    assert (answer.status, answer.json["code"]) == (422, "input_not_found")


async def test_the_same_key_brings_one_face(client: Client) -> None:
    first, second = await brought(client, key="once"), await brought(client, key="once")
    assert first.json["data"]["id"] == second.json["data"]["id"]
    assert len(await data(client, "/avatars")) == len(AVATARS) + 1
    other = await brought(client, key="once", picture=PNG + b"another")
    assert other.json["data"]["id"] != first.json["data"]["id"]


async def test_what_is_no_face_is_refused_and_nothing_of_it_is_kept(
    client: Client, media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await brought(client, name=None)).status == 422
    assert (await brought(client, name="a\x00b")).status == 422
    assert (await brought(client, file=False)).status == 422
    assert (await client.post(f"{STUDIO}/avatars", json={"name": "x"})).status == 415
    assert media.brought_by(client) == [], "it was not even looked at"
    monkeypatch.setattr(media, "mime_type", "audio/mpeg")
    assert (await brought(client)).status == 415
    assert len(media.brought_by(client)) == 1 and media.kept_of(client) == []
    assert len(await data(client, "/avatars")) == len(AVATARS)


async def test_nobody_brings_a_face(nobody: Client, media: Media) -> None:
    before = media.asked
    assert (await brought(nobody)).status == 401
    assert media.asked == before


async def test_ours_are_nobodys_to_delete(client: Client) -> None:
    assert (await client.request("DELETE", f"{STUDIO}/avatars/{AVATARS[0]}")).status == 404
    assert [each["id"] for each in await data(client, "/avatars")] == AVATARS


# -- prices ---------------------------------------------------------------------------------------------------------


async def test_a_film_is_priced_by_the_second_before_it_is_made(client: Client) -> None:
    body = {"jobType": "avatar_video", "duration": 30, "quality": "high"}
    answer = await client.post(f"{STUDIO}/estimate-cost", json=body)
    assert answer.status == 200, answer.text
    said = answer.json["data"]
    assert (said["estimatedCost"], said["credits"], said["duration"], said["quality"]) == (6, 6, 30, "high")
    assert said["priceUsd"] == 0.6
    for wrong in ({"duration": 0}, {"duration": 301}, {"duration": "long"}):
        assert (await client.post(f"{STUDIO}/estimate-cost", json=body | wrong)).status == 422
