"""What every provider looks like to the generator: one paid call in, outputs or one of seven refusals out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from pydantic import JsonValue

from contracts.facts import Failure


@dataclass(frozen=True, slots=True)
class Submission:
    """One paid call."""

    reference: UUID
    """The attempt's id, told to the provider so that both sides' records can be matched."""
    model: str
    """By the provider's own name."""
    prompt: str
    count: int
    """At most what the provider makes in one call."""
    first_index: int
    """Which of the generation's outputs this call begins with."""
    size: str | None
    options: Mapping[str, JsonValue]
    """By the model's own names; an adapter passes on those that it knows to be safe and drops the rest."""
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Delivered:
    """One output: either the provider's address of it, or its bytes."""

    url: str | None = None
    content: bytes | None = None
    mime_type: str | None = None


Item = Delivered | Failure


class Provider(Protocol):
    """A provider that answers a submission with its outputs."""

    @property
    def name(self) -> str: ...

    async def submit(self, submission: Submission) -> Sequence[Item]:
        """Exactly `submission.count` items, in order; at least one of them was delivered, or all say why not.

        Raises:
            ProviderRefusal: nothing was delivered; the subclass says whether it may be tried again.
        """
        ...


class ProviderRefusal(Exception):
    """Nothing was delivered. `code` and the message may be shown to people: neither holds a secret or an id."""

    code = "provider_unavailable"
    words = "The provider did not deliver."

    def __init__(self, words: str | None = None, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(words or self.words)
        self.retry_after_seconds = retry_after_seconds

    @property
    def failure(self) -> Failure:
        return Failure(code=self.code, message=str(self))


class Rejected(ProviderRefusal):
    """The provider's rules forbid this; the same again is forbidden again."""

    code = "content_policy"
    words = "The provider's safety system refused this request."


class Invalid(ProviderRefusal):
    """The provider does not understand or offer this."""

    code = "invalid_request"
    words = "The provider does not accept this request."


class Unauthorized(ProviderRefusal):
    """Our key is wrong or may not do this."""

    code = "provider_unauthorized"
    words = "The provider does not accept our key."


class QuotaExhausted(ProviderRefusal):
    """Our account is used up; waiting does not help."""

    code = "provider_quota"
    words = "Our quota at the provider is used up."


class Throttled(ProviderRefusal):
    """Too many requests; `retry_after_seconds` is what the provider asked for, None where it did not say."""

    code = "provider_throttled"
    words = "The provider is busy."


class Unavailable(ProviderRefusal):
    """Definitely nothing was made: no connection, or the provider's own word that it failed."""

    code = "provider_unavailable"
    words = "The provider is not available."


class Unknown(ProviderRefusal):
    """The request left and no usable answer came back: it may have been paid."""

    code = "provider_unknown"
    words = "The provider gave no usable answer, so it is not known whether it did the work."
