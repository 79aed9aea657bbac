"""Voices of users' own, through the provider: made once of what storage lends, spoken with in films, deleted."""

from uuid import uuid4

import pytest

from contracts.facts import Failure
from contracts.keeping import Lend, Lent
from contracts.questions import STORAGE_LEND
from contracts.voices import CloneVoice, ForgetVoice
from generator.adapters import everybody
from generator.claims import Claims
from generator.providers.elevenlabs import NAME
from generator.voices import Voices

from .stage import provider_settings
from .test_composition import picture, sound
from .test_spoken_films import ask_avatar, film_of, give, still

pytestmark = pytest.mark.connected
__all__ = ["give", "still"]


class Lender:
    """Storage, which lends one sample."""

    def __init__(self, claims):
        self._claims = claims
        self.sample_id, self.content = uuid4(), sound(4)
        self.asked = []

    async def lend(self, message):
        question = Lend.model_validate_json(message.data)
        self.asked.append(question)
        answer = Lent(failure=Failure(code="input_not_found", message="No."))
        if question.asset_id == self.sample_id:
            await self._claims.put("a-sample", self.content)
            answer = Lent(claim="a-sample", mime_type="audio/wav")
        await message.respond(answer.model_dump_json().encode())


@pytest.fixture
async def lender(process):
    lender = Lender(Claims(process.broker))
    subscription = await process.broker.connection.subscribe(STORAGE_LEND, cb=lender.lend)
    for _ in range(2):  # the first ping overtakes what nats-py has not written yet
        await process.broker.connection.flush()
    yield lender
    await subscription.unsubscribe()


@pytest.fixture
def voices(process, simulator):
    providers = everybody(process.session, provider_settings(simulator.url))
    return Voices(providers, lambda *_: None, Claims(process.broker))


async def test_a_voice_is_made_once_speaks_in_a_film_and_is_deleted(process, simulator, lender, voices, still):
    asked = CloneVoice(voice_id=uuid4(), user_id=uuid4(), sample_id=lender.sample_id)
    made, again = await voices.clone(asked), await voices.clone(asked)
    assert made.failure is None and made.provider == NAME and made == again
    assert len(lender.asked) == 1 and lender.asked[0].user_id == asked.user_id
    request = ask_avatar(still, voice=made.name, voice_provider=made.provider)
    await process.generate(request)
    [call] = simulator.calls(request)
    assert (call["provider"], call["billed"]) == (NAME, 1)
    assert (await film_of(process, request))[0] == ("h264", "aac")
    forget = ForgetVoice(user_id=asked.user_id, name=made.name)
    assert (await voices.forget(forget)).is_gone and (await voices.forget(forget)).is_gone
    assert (await voices.clone(asked)).name not in {made.name, None}


async def test_a_voice_whose_name_was_never_heard_is_deleted_by_its_id(process, simulator, lender, voices):
    """As when its user is forgotten before the answer to whoever had it made has come."""
    asked = CloneVoice(voice_id=uuid4(), user_id=uuid4(), sample_id=lender.sample_id)
    kept = await voices.clone(CloneVoice(voice_id=uuid4(), user_id=asked.user_id, sample_id=lender.sample_id))
    made = await voices.clone(asked)
    forget = ForgetVoice(user_id=asked.user_id, voice_id=asked.voice_id)
    assert (await voices.forget(forget)).is_gone and (await voices.forget(forget)).is_gone
    there = {
        each.voice_id for each in await everybody(process.session, provider_settings(simulator.url))[NAME].voices()
    }
    assert kept.name in there and made.name not in there


async def test_without_a_sample_there_is_no_voice(lender, voices):
    missing = await voices.clone(CloneVoice(voice_id=uuid4(), user_id=uuid4(), sample_id=uuid4()))
    assert missing.name is None and missing.failure.code == "input_not_found"
    lender.content = picture()
    silent = await voices.clone(CloneVoice(voice_id=uuid4(), user_id=uuid4(), sample_id=lender.sample_id))
    assert silent.name is None and silent.failure.code == "invalid_request"


async def test_without_a_key_nobody_makes_voices(process, lender):
    voices = Voices({}, lambda *_: None, Claims(process.broker))
    asked = CloneVoice(voice_id=uuid4(), user_id=uuid4(), sample_id=lender.sample_id)
    assert (await voices.clone(asked)).failure.code == "provider_unavailable" and lender.asked == []
    assert not (await voices.forget(ForgetVoice(user_id=uuid4(), name="x"))).is_gone
