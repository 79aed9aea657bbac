"""Voices of users' own: made of a sample that its speaker consents to, heard in their films alone, deleted."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import Failure
from contracts.keeping import Forget, TakenUpload, TakeUpload
from contracts.questions import (
    GATEWAY_FORGET_VOICES,
    GENERATOR_CLONE_VOICE,
    GENERATOR_FORGET_VOICE,
    STORAGE_DELETE,
    STORAGE_FIND_MEDIA,
    STORAGE_TAKE_UPLOAD,
)
from contracts.voices import ClonedVoice, CloneVoice, ForgetVoice, ForgottenVoice, ForgottenVoices
from gateway.dialects.reelmate import forgetting
from gateway.dialects.reelmate import voices as module
from gateway.settings import Settings

from .client import Answer, Client, until
from .conftest import MakeClient, migrated, settings_of
from .jaaz import answering
from .players import Players
from .reelmate import FILM, Media, offer

pytestmark = pytest.mark.connected

VOICES = "/api/ai-studio/voices"
SPEECH = b"ID3 as storage found it"


class Sounds(Media):
    """Takes what begins as a sound does for one of so many seconds."""

    seconds = 12.0
    visibility: Any = None

    async def take(self, message: Any) -> None:
        asked = TakeUpload.model_validate_json(message.data)
        self.visibility = asked.visibility
        respond = message.respond

        class Heard:
            data = message.data

            @staticmethod
            async def respond(payload: bytes) -> None:
                taken = TakenUpload.model_validate_json(payload)
                if taken.asset is not None and self.taken[asked.upload_id][1].startswith(b"ID3"):
                    sound = {"mime_type": "audio/mpeg", "seconds": self.seconds, "width": None, "height": None}
                    taken = taken.model_copy(update={"asset": taken.asset.model_copy(update=sound)})
                await respond(taken.model_dump_json().encode())

        await super().take(Heard())


class Cloner:
    """The generator, as far as it makes voices."""

    def __init__(self) -> None:
        self.made: dict[UUID, CloneVoice] = {}
        self.forgotten: list[ForgetVoice] = []
        self.failure: Failure | None = None
        self.keeps = False

    async def clone(self, message: Any) -> None:
        asked = CloneVoice.model_validate_json(message.data)
        self.made[asked.voice_id] = asked
        answer = ClonedVoice(provider="elevenlabs", name=f"v{asked.voice_id.hex[:8]}")
        if self.failure is not None:
            answer = ClonedVoice(failure=self.failure)
        await message.respond(answer.model_dump_json().encode())

    async def forget(self, message: Any) -> None:
        self.forgotten.append(ForgetVoice.model_validate_json(message.data))
        await message.respond(ForgottenVoice(is_gone=not self.keeps).model_dump_json().encode())


@pytest.fixture(scope="module")
async def settings(nats_server: Any, make_database: Callable[[str], str], players: Players) -> Settings:
    database_url = await migrated(make_database("gateway"))
    await offer(database_url, players)
    return settings_of(nats_server.nats_url, database_url)


@pytest.fixture
async def media(bus: NatsClient) -> AsyncIterator[Sounds]:
    media = Sounds(bus)
    questions = {STORAGE_FIND_MEDIA: media.find, STORAGE_TAKE_UPLOAD: media.take, STORAGE_DELETE: media.delete}
    async with answering(bus, questions):
        yield media


@pytest.fixture
async def cloner(bus: NatsClient, media: Sounds) -> AsyncIterator[Cloner]:
    cloner = Cloner()
    async with answering(bus, {GENERATOR_CLONE_VOICE: cloner.clone, GENERATOR_FORGET_VOICE: cloner.forget}):
        yield cloner


async def made(client: Client, content: bytes = SPEECH, key: str | None = None, **fields: str) -> Answer:
    form = aiohttp.FormData()
    for name, value in ({"name": "Me", "consent": "true"} | fields).items():
        if value:
            form.add_field(name, value)
    form.add_field("file", content, filename="me.mp3", content_type="audio/mpeg")
    return await client.post(VOICES, {"Idempotency-Key": key} if key else {}, data=form)


async def own(client: Client) -> list[str]:
    answer = await client.get(VOICES)
    assert answer.status == 200, answer.text
    return [voice["id"] for voice in answer.json["data"] if voice["is_custom"]]


async def test_a_voice_of_ones_own_is_heard_in_ones_films_and_in_nobody_elses(
    client_of: MakeClient, players: Players, cloner: Cloner, media: Sounds
) -> None:
    one, other = client_of(), client_of()
    answer = await made(one, language="de")
    assert answer.status == 201, answer.text
    voice = answer.json["data"]
    [asked] = cloner.made.values()
    assert (asked.user_id, asked.sample_id) == (one.user_id, UUID(voice["id"]))
    assert media.visibility == "owner", "a sample is shown to nobody else"
    shown = {name: voice[name] for name in ("name", "language", "is_custom", "preview_url")}
    assert shown == {"name": "Me", "language": "de", "is_custom": True, "preview_url": None}
    assert await own(one) == [voice["id"]] and await own(other) == []
    film = await one.post("/api/ai-studio/generate-video", json=FILM | {"voiceId": voice["id"]})
    assert film.status == 201, film.text
    request = await players.heard(film.json["data"]["id"])
    assert request.options["voice"] == voice["provider_voice_id"]
    assert request.options["voice_provider"] == "elevenlabs"
    assert (await other.post("/api/ai-studio/generate-video", json=FILM | {"voiceId": voice["id"]})).status == 404
    assert (await other.request("DELETE", f"{VOICES}/{voice['id']}")).status == 404 and cloner.forgotten == []
    assert (await one.request("DELETE", f"{VOICES}/{voice['id']}")).status == 200
    assert [each.name for each in cloner.forgotten] == [voice["provider_voice_id"]]
    assert await own(one) == []
    assert (await one.post("/api/ai-studio/generate-video", json=FILM | {"voiceId": voice["id"]})).status == 404


async def test_the_same_key_makes_one_voice_also_where_the_first_answer_was_lost(
    client: Client, cloner: Cloner
) -> None:
    cloner.failure = Failure(code="provider_unavailable", message="The provider is not available.")
    assert (await made(client, key="once")).status == 503
    assert await own(client) == []
    cloner.failure = None
    first, second = await made(client, key="once"), await made(client, key="once")
    assert (first.status, first.json["data"]["id"]) == (201, second.json["data"]["id"])
    assert len(cloner.made) == 1 and len(await own(client)) == 1


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"consent": ""}, 422),
        ({"consent": "false"}, 422),
        ({"name": ""}, 422),
        ({"name": "a\x00b"}, 422),
        ({"name": "n" * 201}, 422),
        ({"content": b"\x89PNG no sound"}, 415),
    ],
    ids=["no consent", "consent denied", "no name", "NUL", "a long name", "a picture"],
)
async def test_what_no_voice_can_be_made_of_is_refused_and_nothing_of_it_is_kept(
    client: Client, cloner: Cloner, media: Sounds, fields: dict[str, Any], status: int
) -> None:
    answer = await made(client, **fields)
    assert answer.status == status, answer.text
    assert cloner.made == {} and await own(client) == []
    assert media.kept_of(client) == []
    assert "content" in fields or media.brought_by(client) == [], "of whoever did not consent nothing is looked at"


@pytest.mark.parametrize(("seconds", "most_bytes"), [(1.0, 1 << 20), (301.0, 1 << 20), (12.0, 10)])
async def test_a_sample_is_neither_short_nor_long_nor_large(
    client: Client, cloner: Cloner, media: Sounds, monkeypatch: pytest.MonkeyPatch, seconds: float, most_bytes: int
) -> None:
    monkeypatch.setattr(module, "MAX_SAMPLE_BYTES", most_bytes)
    media.seconds = seconds
    assert (await made(client)).status == 422
    assert cloner.made == {} and media.kept_of(client) == []


async def test_what_the_provider_refuses_is_said_and_nothing_is_kept(
    client: Client, cloner: Cloner, media: Sounds
) -> None:
    cloner.failure = Failure(code="invalid_request", message="A sample is no sound.")
    answer = await made(client)
    assert answer.status == 422 and "A sample is no sound." in answer.json["message"]
    assert await own(client) == [] and media.kept_of(client) == []


async def test_nobody_has_more_than_so_many(client: Client, cloner: Cloner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_VOICES", 2)
    assert [(await made(client)).status for _ in range(3)] == [201, 201, 403]
    assert len(await own(client)) == len(cloner.made) == 2


async def test_a_voice_that_its_provider_keeps_is_there_until_it_is_gone(
    client: Client, cloner: Cloner, media: Sounds
) -> None:
    voice = (await made(client)).json["data"]["id"]
    cloner.keeps = True
    assert (await client.request("DELETE", f"{VOICES}/{voice}")).status == 503 and await own(client) == [voice]
    assert media.kept_of(client) == [UUID(voice)]
    cloner.keeps = False
    assert (await client.request("DELETE", f"{VOICES}/{voice}")).status == 200 and await own(client) == []
    assert media.kept_of(client) == [], "the sample goes with it"
    assert (await client.request("DELETE", f"{VOICES}/{voice}")).status == 404


async def test_ours_are_nobodys_to_delete_and_nobody_has_one_made(
    client: Client, nobody: Client, cloner: Cloner
) -> None:
    assert (await client.request("DELETE", f"{VOICES}/{FILM['voiceId']}")).status == 404
    assert (await made(nobody)).status == 401 and cloner.made == {} and cloner.forgotten == []


# -- a user who is forgotten ------------------------------------------------------------------------------------------


async def forget(bus: NatsClient, user_id: UUID) -> int:
    answer = await bus.request(GATEWAY_FORGET_VOICES, Forget(user_id=user_id).model_dump_json().encode(), timeout=5)
    return ForgottenVoices.model_validate_json(answer.data).voices


async def test_the_voices_of_who_is_forgotten_are_out_of_sight_and_asked_about_until_their_provider_has_none(
    client_of: MakeClient, cloner: Cloner, bus: NatsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "EVERY_SECONDS", 0.1)
    monkeypatch.setattr(forgetting, "AGAIN_SECONDS", 0)
    one, other = client_of(), client_of()
    voices = [(await made(each)).json["data"] for each in (one, one, other)]
    cloner.keeps = True
    assert await forget(bus, one.user_id) == 2
    assert await own(one) == [] and await own(other) == [voices[2]["id"]]
    film = FILM | {"voiceId": voices[0]["id"]}
    assert (await one.post("/api/ai-studio/generate-video", json=film)).status == 404
    assert (await one.request("DELETE", f"{VOICES}/{voices[0]['id']}")).status == 404

    async def asked_again() -> bool:
        return len(cloner.forgotten) > 4

    await until(asked_again, 10)
    assert await forget(bus, one.user_id) == 2, "the provider has them still"
    cloner.keeps = False

    async def are_gone() -> bool:
        return await forget(bus, one.user_id) == 0

    await until(are_gone, 10)
    assert {each.name for each in cloner.forgotten} == {voice["provider_voice_id"] for voice in voices[:2]}
    assert await own(other) == [voices[2]["id"]]


async def test_a_voice_whose_making_was_not_heard_of_is_looked_for_when_its_user_is_forgotten(
    client: Client, cloner: Cloner, bus: NatsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "EVERY_SECONDS", 0.1)
    monkeypatch.setattr(forgetting, "CLONE_SECONDS", 0)
    cloner.failure = Failure(code="provider_unavailable", message="The provider is not available.")
    assert (await made(client, key="lost")).status == 503
    assert await forget(bus, client.user_id) == 1

    async def is_gone() -> bool:
        return await forget(bus, client.user_id) == 0

    await until(is_gone, 10)
    [begun] = cloner.made
    assert [(each.name, each.voice_id) for each in cloner.forgotten] == [(None, begun)]


async def test_a_voice_that_is_made_while_its_user_is_forgotten_is_not_theirs(
    client: Client, cloner: Cloner, bus: NatsClient
) -> None:
    cloner.failure = Failure(code="provider_unavailable", message="The provider is not available.")
    assert (await made(client, key="once")).status == 503
    await forget(bus, client.user_id)
    cloner.failure = None
    assert (await made(client, key="once")).status == 404
    assert await own(client) == []
