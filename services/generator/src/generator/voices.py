"""Voices of users' own: made at the provider of a sample that is theirs, and deleted there. Nothing is paid."""

from collections.abc import Callable, Mapping
from uuid import UUID

import structlog

from contracts.facts import Failure, Input
from contracts.voices import ClonedVoice, CloneVoice, ForgetVoice, ForgottenVoice
from generator.claims import Claims
from generator.providers.elevenlabs import NAME, ElevenLabs
from generator.providers.interface import Provider, ProviderRefusal, Unavailable
from runtime.health import is_transient

_NOT_OFFERED = Failure(code=Unavailable.code, message="Nobody here makes voices.")
log = structlog.get_logger()


class Voices:
    """Made by whoever can; with a user's own key, where they have set one."""

    def __init__(
        self, providers: Mapping[str, Provider], own: Callable[[UUID, str], Provider | None], claims: Claims
    ) -> None:
        self._providers = providers
        self._own = own
        self._claims = claims

    async def clone(self, asked: CloneVoice) -> ClonedVoice:
        """Looked for first by the name that it was given: an answer may have been lost."""
        provider = self._provider(asked.user_id)
        if provider is None:
            return ClonedVoice(failure=_NOT_OFFERED)
        try:
            known = await _made(provider, asked.voice_id)
            if known is None:
                sample = Input(role="audio", asset_id=asked.sample_id)
                [given] = await self._claims.given(asked.user_id, (sample,))
                known = await provider.add_voice(_name(asked.voice_id), given)
        except ProviderRefusal as refusal:
            log.info("voice.not_made", code=refusal.code)
            return ClonedVoice(failure=refusal.failure)
        except Exception as error:
            if not is_transient(error):
                raise
            return ClonedVoice(failure=Unavailable().failure)
        log.info("voice.made", provider=NAME)
        return ClonedVoice(provider=NAME, name=known)

    async def forget(self, asked: ForgetVoice) -> ForgottenVoice:
        provider = self._provider(asked.user_id)
        try:
            if provider is not None:
                name = asked.name
                if name is None and asked.voice_id is not None:
                    name = await _made(provider, asked.voice_id)
                if name is not None:
                    await provider.delete_voice(name)
        except ProviderRefusal as refusal:
            log.warning("voice.not_forgotten", code=refusal.code)
            return ForgottenVoice(is_gone=False)
        return ForgottenVoice(is_gone=provider is not None)

    def _provider(self, user_id: UUID) -> ElevenLabs | None:
        found = self._own(user_id, NAME) or self._providers.get(NAME)
        return found if isinstance(found, ElevenLabs) else None


def _name(voice_id: UUID) -> str:
    """By which a voice is found again whose making was not heard of."""
    return f"darkroom-{voice_id}"


async def _made(provider: ElevenLabs, voice_id: UUID) -> str | None:
    """What the provider calls a voice that was made here before. Raises ProviderRefusal."""
    name = _name(voice_id)
    return next((each.voice_id for each in await provider.voices(name) if each.name == name), None)
