"""What every provider looks like to the generator: one paid call in; outputs, a task, or one of eight refusals out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable
from uuid import UUID

from pydantic import JsonValue

from contracts.facts import CutBy, Failure, Kind
from contracts.money import Usage
from contracts.talking import Call, Message, Tool

PARTIAL_IMAGES = "partial_images"
"""The option that asks how often a picture is shown before it is finished."""
INSTRUCTIONS = "instructions"
"""The option that says in words how something is to be spoken."""
RAW = "Raw samples cannot be kept: they do not say what they are. Ask for another form, such as mp3 or wav."
"""Why some forms of sound are refused before anything is paid."""
Show = Callable[[int, str], Awaitable[None]]
"""Takes how many came before it, and a picture as far as it has come, in base64."""


@dataclass(frozen=True, slots=True)
class Given:
    """Something to start from: an address that the provider can read, or the bytes."""

    role: str
    """As in contracts.facts.Input."""
    url: str | None = None
    content: bytes | None = None
    mime_type: str | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """One paid call."""

    reference: UUID
    """The attempt's id, told to the provider so that both sides' records can be matched."""
    kind: Kind
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
    """How long this call may take; following a task has its own calls."""
    seconds: int | None = None
    given: tuple[Given, ...] = ()
    messages: tuple[Message, ...] = ()
    """What was said before the prompt."""
    since: tuple[Message, ...] = ()
    """What was said after it: calls of tools, and what came of them."""
    tools: tuple[Tool, ...] = ()
    """What the model may call for."""
    max_tokens: int | None = None
    callback_url: str | None = None
    """Where the provider may say that a task has moved; a hint and no more."""
    say: Callable[[str], Awaitable[None]] | None = None
    """Takes what a text grows by, as it is written."""
    show: Show | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """One output: the provider's address of it, its bytes, or its text."""

    url: str | None = None
    content: bytes | None = None
    mime_type: str | None = None
    text: str | None = None
    calls: tuple[Call, ...] = ()
    """What the model called for, in the place of more text."""
    usage: Usage | None = None
    """What a text took; counted by the adapter where the provider does not say."""
    cut_by: CutBy | None = None
    """Why a text is not whole."""


Item = Delivered | Failure


@dataclass(frozen=True, slots=True)
class Task:
    """The provider has taken the call and works on it. All that is needed to ask for it again, from any process."""

    id: str
    cost_micros: int | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A task that has not ended."""

    stage: str = "rendering"
    """`waiting` while it is in the provider's queue."""
    percent: int | None = None
    """Only what the provider says."""
    position: int | None = None
    """How many are before it in the provider's queue, where it says so."""


class Provider(Protocol):
    """A provider that takes submissions."""

    @property
    def name(self) -> str: ...

    async def submit(self, submission: Submission) -> Sequence[Item] | Task:
        """Exactly `submission.count` items, in order; at least one of them was delivered, or all say why not.
        A provider whose calls take long answers with a task instead.

        Raises:
            ProviderRefusal: nothing was delivered; the subclass says whether it may be tried again.
        """
        ...


@runtime_checkable
class TaskProvider(Provider, Protocol):
    """A provider that answers with tasks."""

    async def look(self, submission: Submission, task: Task) -> Sequence[Item] | Running:
        """How a task stands; its items once it has ended. Free of charge, and harmless at any time.

        Raises:
            ProviderRefusal: Throttled and Unavailable say nothing about the task, look again; any other ended it.
        """
        ...

    async def cancel(self, submission: Submission, task: Task) -> bool:
        """Whether the provider stopped it and takes nothing. A provider that cannot says False."""
        ...

    async def find(self, submission: Submission) -> Task | None:
        """The task of a submission whose answer was lost; None where the provider surely has none.

        Raises:
            Unknown: this provider cannot be asked by our reference.
        """
        ...


@runtime_checkable
class SigningProvider(Provider, Protocol):
    """A provider that signs what it posts to callback addresses."""

    async def is_signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether it posted this, just now; the headers' names are in lower case.

        Raises:
            Unavailable: this cannot be told at the moment.
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


class Unreadable(ProviderRefusal):
    """What the call starts from could not be read this time, so nobody was asked. It says nothing about the provider:
    whoever named the address is the only one that it fails for."""

    code = "input_unreadable"
    words = "What it should start from could not be read."


class Unknown(ProviderRefusal):
    """The request left and no usable answer came back: it may have been paid."""

    code = "provider_unknown"
    words = "The provider gave no usable answer, so it is not known whether it did the work."
