"""An order: what a dialect understood of a request, and whether a model can do it."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, isfinite
from typing import Any
from unicodedata import east_asian_width
from uuid import UUID

from contracts.facts import Input, Kind, Lane, Visibility
from contracts.ids import keyed_generation_id, new_generation_id
from contracts.money import Usage
from contracts.questions import (
    CatalogModel,
    Plan,
)
from contracts.talking import Message, Tool
from gateway.identity import Caller
from gateway.records import Generation
from gateway.refusals import Invalid, InvalidKey
from runtime.database import Connection

MAX_COUNT = 4
MAX_INPUTS = 16
MAX_KEY_CHARACTERS = 255
MAX_MESSAGES = 200
MAX_OPTIONS_DEPTH = 32
"""Far below what the encoders on the way of a fact can take."""
MAX_ECHO_CHARACTERS = 40
LETTERS_PER_SECOND = 14
"""As people speak; a sign that stands for a syllable takes as long as three letters."""
TOKENS_PER_MESSAGE = 16
"""More than what any provider adds to a message of its own."""
Beside = Callable[[Connection, UUID], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Order:
    """What a dialect understood of a request."""

    dialect: str
    route: str
    """What an Idempotency-Key belongs to."""
    kind: Kind
    prompt: str
    """The user's own words."""
    told: str | None = None
    """What the provider is told instead of them."""
    model: str | None = None
    count: int = 1
    size: str | None = None
    seconds: int | None = None
    inputs: tuple[Input, ...] = ()
    messages: tuple[Message, ...] = ()
    since: tuple[Message, ...] = ()
    """What was said after the prompt: calls of tools, and what came of them."""
    tools: tuple[Tool, ...] = ()
    max_tokens: int | None = None
    is_again: bool = False
    """Whether it repeats a generation: who may look at that can change, and is no part of what is asked for."""
    prepaid: bool = False
    """Whether what the user consumed a moment ago pays first."""
    reuse: bool = False
    """Whether what the user got for the same order before will do."""
    visibility: Visibility = Visibility.PUBLIC
    options: dict[str, Any] = field(default_factory=dict)
    remarks: dict[str, Any] = field(default_factory=dict)
    """What the dialect keeps of the request for itself: nobody else is told."""
    lane: Lane = Lane.INTERACTIVE
    idempotency_key: str | None = None
    traceparent: str | None = None
    deadline_seconds: int | None = None
    """How long its dialect waits for it at most; never longer than the model may take."""
    beside: Beside | None = None
    """What a dialect records with a new generation, in one transaction; with its Refusal nothing is recorded."""

    def body_hash(self) -> bytes:
        """Tells whether two requests under one key ask for the same."""
        asked = [self.kind, self.prompt, self.model, self.count, self.size, self.options, self.lane]
        particulars = self.particulars
        if self.is_again:
            particulars.pop("visibility", None)
        if particulars:
            asked.append(particulars)
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()

    @property
    def particulars(self) -> dict[str, Any]:
        """What only some requests have, as in the fact, and the dialect's remarks; empty for most."""
        asked = {
            "prompt": self.told,
            "seconds": self.seconds,
            "inputs": [given.model_dump(mode="json", exclude_none=True) for given in self.inputs],
            "messages": [message.model_dump(mode="json", exclude_defaults=True) for message in self.messages],
            "since": [message.model_dump(mode="json", exclude_defaults=True) for message in self.since],
            "tools": [tool.model_dump(mode="json") for tool in self.tools],
            "max_tokens": self.max_tokens,
            "prepaid": self.prepaid,
            "remarks": self.remarks,
            "reuse": self.reuse,
            "visibility": self.visibility if self.visibility is not Visibility.PUBLIC else None,
        }
        return {name: value for name, value in asked.items() if value}

    @property
    def words(self) -> str:
        """What the provider is told."""
        return self.prompt if self.told is None else self.told

    @property
    def usage(self) -> Usage | None:
        """The most tokens that it can take: none is shorter than a byte."""
        if self.max_tokens is None:
            return None
        said = [self.words, *(message.content for message in (*self.messages, *self.since))]
        said += [call.arguments for message in self.since for call in message.calls]
        said += [tool.model_dump_json() for tool in self.tools]
        read = sum(len(text.encode()) + TOKENS_PER_MESSAGE for text in said)
        return Usage(input_tokens=read, output_tokens=self.max_tokens)


def checked_key(text: str) -> str:
    """An Idempotency-Key without the quotes that some put around it. Raises InvalidKey."""
    key = text.strip().removeprefix('"').removesuffix('"')
    if not key or len(key) > MAX_KEY_CHARACTERS or not key.isascii() or not key.isprintable():
        raise InvalidKey(f"An Idempotency-Key has 1 to {MAX_KEY_CHARACTERS} printable ASCII characters.")
    return key


def generation_id_of(caller: Caller, order: Order, item: int = 0) -> UUID:
    return id_of(caller, order.route, order.idempotency_key, item)


def id_of(caller: Caller, route: str, key: str | None, item: int = 0) -> UUID:
    """The id that an Idempotency-Key always names; without one a new id. Raises InvalidKey."""
    if key is None:
        return new_generation_id()
    return keyed_generation_id(caller.user_id, route, checked_key(key), item)


def again(generation: Generation, key: str | None, traceparent: str | None) -> Order:
    """The order that a generation came from."""
    request = generation.request()
    return Order(
        dialect=generation.dialect,
        route=f"retry of {generation.id}",
        kind=request.kind,
        prompt=generation.prompt,
        told=generation.particulars.get("prompt"),
        model=request.model,
        count=request.count,
        size=request.size,
        seconds=request.seconds,
        inputs=request.inputs,
        messages=request.messages,
        since=request.since,
        tools=request.tools,
        max_tokens=request.max_tokens,
        is_again=True,
        prepaid=request.prepaid,
        reuse=request.reuse is not None,
        visibility=request.visibility,
        options=request.options,
        remarks=generation.remarks,
        lane=request.lane,
        idempotency_key=key,
        traceparent=traceparent,
    )


def fit(order: Order, model: CatalogModel) -> Order:
    """The order with what the model does where nothing was said. Raises Invalid for what the model does not offer."""
    _check_words(order, model)
    most = min(MAX_COUNT, model.max_count)
    if not 1 <= order.count <= most:
        raise Invalid(f"The count has to be 1 to {most}.", details=_at("count", f"1 to {most}"))
    for place, kept in {"options": order.options, **order.remarks}.items():
        if (problem := unfit(kept)) is not None:
            raise Invalid(f"What {place} says cannot be kept: {problem}.", details=_at(place, problem))
    _check_inputs(order, model)
    return replace(
        order, size=_size(order, model), seconds=_seconds(order, model), max_tokens=_max_tokens(order, model)
    )


def check_count(plan: Plan, orders: Sequence[Order]) -> None:
    """Raises Invalid where one asks for more than the plan of whoever pays allows at once."""
    most = plan.max_count
    if most is not None and any(order.count > most for order in orders):
        raise Invalid(f"The plan allows at most {most} at once.", details=_at("count", f"at most {most}"))


def playing_seconds(order: Order, model: CatalogModel) -> int | None:
    """How long what is made will play, as far as it is known beforehand: what is paid for by the second.

    Raises:
        Invalid: it would be too long, or nobody can know.
    """
    if not model.follows_speech or order.seconds is not None:
        return order.seconds
    heard = next((given for given in order.inputs if given.role == "audio"), None)
    if heard is not None and heard.seconds is None:
        message = "How long a sound from elsewhere is has to be said."
        raise Invalid(message, details=_at("seconds", message))
    seconds = ceil(
        heard.seconds if heard is not None and heard.seconds else _letters(order.prompt) / LETTERS_PER_SECOND
    )
    longest = max(model.seconds, default=0)
    if seconds > longest:
        field = "prompt" if heard is None else "inputs"
        message = f"It would take {seconds} s, and {longest} s is the longest."
        raise Invalid(message, details=_at(field, message))
    return max(1, seconds)


def _letters(text: str) -> int:
    return sum(3 if east_asian_width(letter) in {"W", "F"} else 1 for letter in text)


def _check_words(order: Order, model: CatalogModel) -> None:
    if not order.prompt.strip():
        raise Invalid("The prompt is empty.", details=_at("prompt", "must not be empty"))
    said = [order.words, *(message.content for message in (*order.messages, *order.since))]
    if sum(map(len, said)) > model.max_prompt_characters:
        limit = model.max_prompt_characters
        raise Invalid(f"The prompt is longer than {limit} characters.", details=_at("prompt", f"at most {limit}"))
    if not all(map(_is_text, [order.prompt, *said])):
        raise Invalid(
            "The prompt contains characters that are not text.", details=_at("prompt", "no NUL, no surrogate")
        )
    if order.messages and model.kind is not Kind.TEXT:
        raise Invalid("Only a text has messages.", details=_at("messages", "only for text"))
    if len(order.messages) > MAX_MESSAGES:
        raise Invalid(f"At most {MAX_MESSAGES} messages.", details=_at("messages", f"at most {MAX_MESSAGES}"))


def _check_inputs(order: Order, model: CatalogModel) -> None:
    offered = ", ".join(model.inputs) or "none"
    for given in order.inputs:
        if given.role not in model.inputs:
            raise Invalid(
                f"{model.id} does not start from {given.role!r}. Offered: {offered}.", details=_at("inputs", offered)
            )
    roles = {given.role for given in order.inputs}
    if model.kind is Kind.VIDEO and "image" in roles:
        roles.add("first_frame")  # which is what a film's picture is
    missing = [role for role in model.needs if role not in roles]
    if missing:
        raise Invalid(f"{model.id} needs {missing[0]!r} to start from.", details=_at("inputs", f"needs {missing[0]}"))
    if len(order.inputs) > MAX_INPUTS:
        raise Invalid(f"At most {MAX_INPUTS} inputs.", details=_at("inputs", f"at most {MAX_INPUTS}"))


def _size(order: Order, model: CatalogModel) -> str | None:
    size = model.default_size if order.size is None else order.size
    if size is not None and size not in model.sizes:
        offered, asked = ", ".join(model.sizes) or "none", size[:MAX_ECHO_CHARACTERS]
        raise Invalid(
            f"{model.id} does not offer the size {asked!r}. Offered: {offered}.", details=_at("size", offered)
        )
    return size


def _seconds(order: Order, model: CatalogModel) -> int | None:
    """Every whole second up to the model's longest: what is made too long is trimmed."""
    if order.seconds is None:
        return model.default_seconds
    longest = max(model.seconds, default=0)
    if not 1 <= order.seconds <= longest:
        offered = f"1 to {longest}" if longest else "none"
        raise Invalid(f"{model.id} does not offer {order.seconds} s.", details=_at("seconds", offered))
    return order.seconds


def _max_tokens(order: Order, model: CatalogModel) -> int | None:
    if order.max_tokens is None:
        return model.max_tokens
    longest = model.max_tokens or 0
    if not 1 <= order.max_tokens <= longest:
        offered = f"1 to {longest}" if longest else "none"
        raise Invalid(f"{model.id} does not write {order.max_tokens} tokens.", details=_at("max_tokens", offered))
    return order.max_tokens


def _is_text(text: str) -> bool:
    """Whether Postgres and UTF-8 can hold it."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def unfit(value: Any, depth: int = 0) -> str | None:
    """Why a JSON value cannot be kept, if it cannot."""
    if depth > MAX_OPTIONS_DEPTH:
        return f"at most {MAX_OPTIONS_DEPTH} levels"
    if isinstance(value, str):
        return None if _is_text(value) else "no NUL, no surrogate"
    if isinstance(value, float) and not isfinite(value):
        return "no number that is larger than any"
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return next((problem for part in parts if (problem := unfit(part, depth + 1))), None)


def _at(place: str, message: str) -> dict[str, object]:
    return {"errors": [{"field": place, "message": message}]}
