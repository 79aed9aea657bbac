"""The dead letters: what no consumer could handle, and what the broker stopped delivering.

A letter is put into stream DEAD by the consumer that gave up; an advisory by the broker, when a message was delivered
too often and never settled. Looked at one by one, replayed or dropped by people.
"""

import base64
import binascii
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nats.aio.client import Client
from nats.js.errors import APIError

from contracts.facts import CONTENT_TYPE
from contracts.topology import DEAD
from darkroom.jetstream import RefusedError, ask

_ADVISORY_PREFIX = "$JS.EVENT.ADVISORY."
_NO_MESSAGE = 10037
_OUTCOME_PREFIX = "generation.outcome."
_REPLACED = "\ufffd"


class ReplayError(Exception):
    """The letter stays where it is; the message says why."""


@dataclass(frozen=True, slots=True)
class Letter:
    """`subject` and `payload` are the fact's, not the letter's; both are None where they are no longer known."""

    sequence: int
    at: datetime
    consumer: str
    subject: str | None
    reason: str
    deliveries: int
    payload: str | None
    stream: str | None = None
    """Of an advisory: where the message lies, with `stream_sequence`."""
    stream_sequence: int | None = None


async def letters(client: Client, start: int = 1) -> AsyncIterator[Letter]:
    """Every letter from a sequence on, oldest first.

    Raises:
        nats.errors.Error: the broker does not answer.
    """
    while True:
        message = await _message(client, DEAD.name, {"seq": start, "next_by_subj": ">"})
        if message is None:
            return
        yield await _letter(client, message)
        start = message["seq"] + 1


async def letter(client: Client, sequence: int) -> Letter | None:
    """One letter; None where there is none."""
    message = await _message(client, DEAD.name, {"seq": sequence})
    return None if message is None else await _letter(client, message)


async def drop(client: Client, sequence: int) -> None:
    """Forgets a letter. Raises RefusedError where there is none."""
    await ask(client, f"STREAM.MSG.DELETE.{DEAD.name}", {"seq": sequence})


async def replay(client: Client, found: Letter) -> None:
    """Says the fact again, on its own subject, and forgets the letter. Every consumer of it hears it again.

    Raises:
        ReplayError: it cannot be said again.
    """
    if found.subject is None or found.payload is None:
        raise ReplayError("the message is no longer kept anywhere; drop the letter")
    if _REPLACED in found.payload:
        raise ReplayError("its bytes were not text, so the letter does not hold them as they were")
    try:
        await client.jetstream().publish(
            found.subject, found.payload.encode(), headers={"content-type": CONTENT_TYPE}, timeout=5
        )
    except APIError as error:
        raise ReplayError(_why_refused(found.subject, error)) from error
    await drop(client, found.sequence)


def _why_refused(subject: str, error: APIError) -> str:
    if subject.startswith(_OUTCOME_PREFIX):
        return (
            "the log holds this generation's outcome already and takes no second one. The gateway asks the log about "
            "what it missed when it drives the generation again (at once where the letter is replayed in the studio), "
            "and the ledger and storage ask the gateway; then drop the letter"
        )
    return f"the stream refused it: {error.description}"


async def _letter(client: Client, message: dict[str, Any]) -> Letter:
    sequence, at = message["seq"], datetime.fromisoformat(message["time"])
    try:
        content = json.loads(message["data"])
        if message["subject"].startswith(_ADVISORY_PREFIX):
            return await _advised(client, sequence, at, content)
        return Letter(
            sequence=sequence,
            at=at,
            consumer=str(content["consumer"]),
            subject=str(content["subject"]),
            reason=str(content["reason"]),
            deliveries=int(content["deliveries"]),
            payload=str(content["payload"]),
        )
    except (ValueError, KeyError, TypeError):
        text = message["data"].decode("utf-8", "replace")
        consumer = message["subject"].removeprefix("dead.")
        return Letter(sequence, at, consumer, None, f"not a letter: {text}", 0, None)


async def _advised(client: Client, sequence: int, at: datetime, advisory: dict[str, Any]) -> Letter:
    stream, stream_sequence = str(advisory["stream"]), int(advisory["stream_seq"])
    original = await _message(client, stream, {"seq": stream_sequence})
    return Letter(
        sequence=sequence,
        at=at,
        consumer=str(advisory["consumer"]),
        subject=None if original is None else original["subject"],
        reason="delivered too often, never settled",
        deliveries=int(advisory["deliveries"]),
        payload=None if original is None else original["data"].decode("utf-8", "replace"),
        stream=stream,
        stream_sequence=stream_sequence,
    )


async def _message(client: Client, stream: str, question: dict[str, Any]) -> dict[str, Any] | None:
    """`{seq, subject, time, data: bytes}`; None where the stream or the message does not exist."""
    try:
        message: dict[str, Any] = (await ask(client, f"STREAM.MSG.GET.{stream}", question))["message"]
    except RefusedError as refused:
        if refused.absent or refused.error_code == _NO_MESSAGE:
            return None
        raise
    try:
        data = base64.b64decode(message.get("data", ""))
    except binascii.Error:
        data = b""
    return message | {"data": data}
