"""What is asked of the generator about voices of users' own: made of a sample, spoken with in films, forgotten."""

from uuid import UUID

from contracts.facts import Failure
from contracts.model import Frozen


class CloneVoice(Frozen):
    """A voice is to be made of a sound that a user brought; whoever asks has checked that the speaker consents.

    Asked again it is the same voice.
    """

    voice_id: UUID
    user_id: UUID
    sample_id: UUID
    """The asset."""


class ClonedVoice(Frozen):
    """The voice by its provider's name, which is told to nobody but its owner; or why there is none."""

    provider: str | None = None
    name: str | None = None
    failure: Failure | None = None


class ForgetVoice(Frozen):
    """A voice is to be deleted at its provider. Asked again it is gone as well."""

    user_id: UUID
    name: str | None = None
    """By its provider; None where that was never heard: it is looked for by `voice_id`."""
    voice_id: UUID | None = None


class ForgottenVoice(Frozen):
    """Whether the provider has it no more."""

    is_gone: bool


class ForgottenVoices(Frozen):
    """How many voices of a user's own there were; they are deleted at their provider as soon as that answers."""

    voices: int
