"""ElevenLabs: speech by the conformance suite, and what is its own."""

import io
from uuid import uuid4

import av
import pytest
from elevenlabs.client import AsyncElevenLabs

from generator.providers.elevenlabs import ElevenLabs
from generator.providers.interface import Given, Invalid, Rejected, Throttled, Unavailable
from generator.providers.transport import MAX_ANSWER_BYTES

from .conformance import KEY
from .conformance_words import SpeechConformance
from .vendor import answering


class TestElevenLabs(SpeechConformance):
    model = "eleven_multilingual_v2"
    path = "/elevenlabs"
    endpoint = "/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb"

    def make(self, session, base_url, max_answer_bytes=MAX_ANSWER_BYTES):
        return ElevenLabs(session, KEY, base_url, max_answer_bytes)

    @pytest.mark.parametrize(
        ("form", "mime_type", "codec"),
        [
            ("mp3_44100_128", "audio/mpeg", "mp3"),
            ("opus_48000_64", "audio/ogg", "opus"),
            ("wav_24000", "audio/wav", "pcm"),
            ("wav_44100", "audio/wav", "pcm"),
        ],
    )
    async def test_the_type_is_the_one_that_was_asked_for(self, provider, form, mime_type, codec):
        [item] = await provider.submit(self.submission(options={"output_format": form}))
        assert item.mime_type == mime_type
        with av.open(io.BytesIO(item.content)) as sound:
            assert sound.streams.audio[0].codec.name.startswith(codec)

    async def test_another_voice_and_manner(self, provider):
        sounds = [
            (await provider.submit(self.submission(options=options)))[0].content
            for options in ({}, {"voice": "21m00Tcm4TlvDq8ikWAM"}, {"speed": 0.8, "stability": 0.3})
        ]
        assert len(set(sounds)) == 3

    @pytest.mark.parametrize("options", [{"voice": "nobody"}, {"speed": 9}, {"output_format": "mp3_1_1"}])
    async def test_what_it_does_not_offer(self, provider, simulator, options):
        with pytest.raises(Invalid):
            await provider.submit(self.submission(options=options))
        [call] = self.journal(simulator)
        assert call["billed"] == 0

    @pytest.mark.parametrize("form", ["pcm_44100", "ulaw_8000", "alaw_8000"])
    async def test_raw_samples_are_not_paid_for(self, provider, simulator, form):
        with pytest.raises(Invalid):
            await provider.submit(self.submission(options={"output_format": form}))
        assert self.journal(simulator) == []

    @pytest.mark.parametrize("voice", ["../../v1/user", "a/../b", "..", "x?output_format=pcm", "x#y"])
    async def test_a_voice_s_name_leads_nowhere_else(self, session, voice):
        vendor = answering(200, b"")
        async with vendor as url:
            with pytest.raises(Exception) as refused:
                await self.make(session, url).submit(self.submission(options={"voice": voice}))
        assert refused.value.code in {"invalid_request", "provider_unknown"}
        assert all(path.startswith("/v1/text-to-speech/x") for path in vendor.heard)

    async def test_a_text_that_is_too_long_is_not_sent(self, provider, simulator):
        with pytest.raises(Invalid) as refused:
            await provider.submit(self.submission(prompt=type(self).__name__ + "a" * 10_000))
        assert "10000" in str(refused.value)
        with pytest.raises(Invalid):
            await provider.submit(self.submission(prompt=type(self).__name__ + "a" * 40_000, model="eleven_flash_v2_5"))
        assert self.journal(simulator) == []

    @pytest.mark.parametrize(
        ("status", "body", "refusal"),
        [
            (400, b'{"detail": {"status": "max_character_limit_exceeded", "message": "x"}}', Invalid),
            (429, b'{"detail": {"status": "system_busy", "message": "x"}}', Throttled),
            (400, b'{"detail": {"status": "content_against_policy"}}', Rejected),
            (500, b'{"detail": "x"}', Unavailable),
        ],
    )
    async def test_its_own_words(self, session, status, body, refusal):
        async with answering(status, body) as url:
            with pytest.raises(refusal) as refused:
                await self.make(session, url).submit(self.submission())
        assert type(refused.value) is refusal

    async def test_its_voices(self, provider):
        voices = await provider.voices()
        assert {"George", "Rachel"} <= {voice.name for voice in voices}
        assert voices[0].labels["gender"] == "male"

    async def test_voices_end_though_the_pages_do_not(self, session):
        page = b'{"voices": [{"voice_id": "v", "name": "Echo"}], "has_more": true, "next_page_token": "again"}'
        vendor = answering(200, page)
        async with vendor as url:
            assert len(await self.make(session, url).voices()) == 20
        for lie in (b"<html>", b'{"voices": [{"name": 5}]}', b'{"voices": null}'):
            async with answering(200, lie) as url:
                with pytest.raises(Unavailable):
                    await self.make(session, url).voices()

    async def test_a_voice_is_made_of_a_sample_spoken_with_and_deleted(self, provider):
        """It is found by its name, should the answer be lost."""
        [item] = await provider.submit(self.submission())
        sample = Given("audio", content=item.content, mime_type="audio/mpeg")
        name = f"darkroom-{uuid4()}"
        voice = await provider.add_voice(name, sample)
        assert [(each.voice_id, each.category) for each in await provider.voices(name)] == [(voice, "cloned")]
        [spoken] = await provider.submit(self.submission(options={"voice": voice}))
        assert spoken.content != item.content
        for _ in range(2):
            await provider.delete_voice(voice)
        assert await provider.voices(name) == []
        with pytest.raises(Invalid):
            await provider.submit(self.submission(options={"voice": voice}))

    @pytest.mark.parametrize("content", [b"", b"no sound", b"ID3" + bytes(3000)])
    async def test_of_what_is_no_sound_no_voice_is_made(self, provider, content):
        with pytest.raises(Invalid):
            await provider.add_voice("mine", Given("audio", content=content, mime_type="audio/mpeg"))
        assert await provider.voices("mine") == []

    async def test_the_official_client_makes_and_deletes_voices_there_too(self, simulator, provider):
        """What the simulator understands is what the vendor's own client sends."""
        [item] = await provider.submit(self.submission())
        client = AsyncElevenLabs(api_key=KEY, base_url=f"{simulator.url}/elevenlabs")
        made = await client.voices.ivc.create(name="by the client", files=[("me.mp3", item.content, "audio/mpeg")])
        assert [each.voice_id for each in await provider.voices("by the client")] == [made.voice_id]
        assert (await client.voices.delete(voice_id=made.voice_id)).status == "ok"
        assert await provider.voices("by the client") == []
