"""Facts survive the wire, the future and whatever a provider says."""

import json
import tracemalloc
from uuid import uuid4

import pytest
from pydantic import ValidationError

from contracts.facts import Ending, Failure, Outcome, Output, Verdict


def outcome(message: str = "no") -> Outcome:
    failure = Failure(code="content_policy", message=message)
    return Outcome.of(Ending(generation_id=uuid4(), verdict=Verdict.FAILED, failure=failure), "generator", None)


def test_a_fact_survives_the_wire() -> None:
    said = outcome()
    assert Outcome.decode(said.encode()) == said


def test_fields_of_a_newer_version_are_tolerated() -> None:
    newer = json.loads(outcome().encode()) | {"mood": "good"}
    newer["data"]["weather"] = "fine"
    assert Outcome.decode(json.dumps(newer).encode()).data.verdict is Verdict.FAILED


def test_another_fact_is_not_taken_for_this_one() -> None:
    other = json.loads(outcome().encode()) | {"type": "darkroom.generation.funded"}
    with pytest.raises(ValidationError):
        Outcome.decode(json.dumps(other).encode())


def test_a_fact_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        outcome().subject = "other"  # type: ignore[misc]


@pytest.mark.parametrize("message", ["a\x00b", "half \ud83d pair"])
def test_what_a_provider_says_can_be_stored(message: str) -> None:
    """Postgres refuses NUL in jsonb, and UTF-8 has no half pairs."""
    said = outcome(message)
    assert b"\\u0000" not in said.encode()
    assert Outcome.decode(said.encode()).data.failure == said.data.failure


@pytest.mark.parametrize("odd", ["\x00", "\ud83d"])
def test_what_a_provider_says_of_an_output_can_be_stored(odd: str) -> None:
    """Whoever could not record what was paid would try for ever."""
    said = Output(index=0, url=f"https://provider.example/{odd}1", mime_type=f"image/png{odd}")
    assert b"\\u0000" not in said.model_dump_json().encode()
    assert Output.model_validate_json(said.model_dump_json()) == said


def test_what_was_read_is_not_kept() -> None:
    payloads = [outcome(f"no, says {uuid4()}").encode() for _ in range(3000)]
    Outcome.decode(payloads[0])
    tracemalloc.start()
    try:
        for payload in payloads:
            Outcome.decode(payload)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 50_000  # bytes; with pydantic's cache of values half a megabyte
