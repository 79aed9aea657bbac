"""What is asked of a gateway, in the words of the wire."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Required, TypedDict
from uuid import UUID

Id = UUID | str


class NewInput(TypedDict, total=False):
    """Something to start from: exactly one of `asset_id`, `upload_id` and `url`."""

    role: Required[str]
    asset_id: Id
    upload_id: Id
    url: str


class Message(TypedDict):
    """What was said before the prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


class NewGeneration(TypedDict, total=False):
    """What to make. What is absent is as the gateway has it."""

    kind: Required[str]
    prompt: Required[str]
    model: str
    count: int
    size: str
    seconds: int
    inputs: Sequence[NewInput]
    messages: Sequence[Message]
    max_tokens: int
    prepaid: bool
    reuse: bool
    options: Mapping[str, Any]
    visibility: Literal["public", "owner"]
    lane: Literal["interactive", "batch"]


class Filter(TypedDict, total=False):
    """Which generations are meant."""

    status: str
    kind: str
    lane: str
    model: str
    batch: Id
    q: str
    since: datetime
    until: datetime


class NewApiKey(TypedDict, total=False):
    """What a program is allowed to do for a user. Caps are credits."""

    name: Required[str]
    scopes: Sequence[Literal["read", "write", "account"]]
    requests_per_minute: int
    credits_per_day: int
    credits_per_month: int
    expires_at: datetime
