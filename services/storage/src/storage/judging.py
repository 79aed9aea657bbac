"""Asking whether a film may be shown: storage has the film, the generator has the keys of those who judge."""

import base64
from collections.abc import Sequence

from faststream.nats import NatsBroker

from contracts.facts import Failure
from contracts.judging import JudgedFrames, JudgeFrames
from contracts.questions import GENERATOR_JUDGE_FRAMES

TIMEOUT_SECONDS = 15.0
"""The generator asks a provider in turn, and decides what that one's silence means."""


async def judge(broker: NatsBroker, frames: Sequence[bytes]) -> Failure | None:
    """Why a film must not be shown; None where it may.

    Raises:
        nats.errors.Error, OSError: the generator is away; ask again.
    """
    question = JudgeFrames(frames=tuple(base64.b64encode(frame).decode() for frame in frames))
    payload = question.model_dump_json().encode()
    answer = await broker.connection.request(GENERATOR_JUDGE_FRAMES, payload, timeout=TIMEOUT_SECONDS)
    return JudgedFrames.model_validate_json(answer.data).failure
