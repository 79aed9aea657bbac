"""The topology keeps its own promises: what is kept, by which stream, and who hears of it."""

from typing import Any

import pytest

from contracts.questions import QUESTIONS
from contracts.tests.samples import GENERATION, REQUEST, USER
from contracts.topology import (
    CHANNELS,
    CONSUMERS,
    HINTS,
    OUTCOMES,
    STREAMS,
    dead_subject,
    funded_subject,
    notification_subject,
    outcome_subject,
    progress_subject,
    rendered_subject,
    requested_subject,
    verdict_subject,
)
from darkroom.topology.parties import PUBLISHERS, as_pattern, consumers_of, covers, overlap, stream_of


def test_the_log_keeps_the_first_outcome_of_a_generation_and_forgets_none_for_want_of_room() -> None:
    """design.md §3.4, each setting by itself: without any of them the log would not decide."""
    config = OUTCOMES.config()
    assert config["max_msgs_per_subject"] == 1
    assert config["discard"] == "new"
    assert config["discard_new_per_subject"] is True
    assert config["max_bytes"] == -1
    assert config["max_msgs"] == -1
    assert config["republish"] == {"src": "generation.outcome.*", "dest": "verdict.{{wildcard(1)}}"}
    assert outcome_subject(GENERATION) == f"generation.outcome.{GENERATION}"
    assert verdict_subject(GENERATION) == f"verdict.{GENERATION}"


def test_no_two_streams_keep_the_same_subject() -> None:
    subjects = [(stream.name, subject) for stream in STREAMS for subject in stream.subjects]
    clashes = [
        (ours, theirs)
        for index, (ours, first) in enumerate(subjects)
        for theirs, second in subjects[index + 1 :]
        if overlap(first, second)
    ]
    assert clashes == []


def test_what_is_not_kept_is_in_no_stream() -> None:
    for subject in (progress_subject(GENERATION), HINTS, verdict_subject(GENERATION), *QUESTIONS):
        assert stream_of(subject) is None


@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda consumer: consumer.durable)
def test_a_consumer_hears_of_its_own_stream_only(consumer: Any) -> None:
    stream = next(stream for stream in STREAMS if stream.name == consumer.stream)
    for subject in consumer.filter_subjects:
        assert any(overlap(pattern, subject) for pattern in stream.subjects)
        others = [other for other in STREAMS if other is not stream]
        assert not any(overlap(pattern, subject) for other in others for pattern in other.subjects)
    assert consumer.durable.startswith(f"{consumer.service}-")
    assert consumer.replay == ("all" if stream is OUTCOMES else "recent"), "design.md §4"


def test_no_fact_reaches_one_service_twice() -> None:
    for index, ours in enumerate(CONSUMERS):
        for theirs in CONSUMERS[index + 1 :]:
            if (ours.service, ours.stream) == (theirs.service, theirs.stream):
                assert not any(
                    overlap(first, second) for first in ours.filter_subjects for second in theirs.filter_subjects
                ), (ours.durable, theirs.durable)


def test_every_fact_is_kept_and_every_service_hears_every_outcome() -> None:
    assert PUBLISHERS.keys() == CHANNELS.keys()
    assert all(stream_of(channel) is not None for channel in CHANNELS)
    heard = {consumer.service for consumer in CONSUMERS if consumer.stream == OUTCOMES.name}
    assert heard == {"ledger", "gateway", "generator", "storage"}, "design.md §3.3: every service closes the id"


def test_subjects_are_those_of_the_channels() -> None:
    said = {
        requested_subject(REQUEST): "generation.requested.{kind}.{lane}.{generation_id}",
        funded_subject(REQUEST): "generation.funded.{kind}.{lane}.{generation_id}",
        rendered_subject(REQUEST): "generation.rendered.{kind}.{lane}.{generation_id}",
        outcome_subject(GENERATION): "generation.outcome.{generation_id}",
        notification_subject(USER, "completed"): "notification.{user_id}.{status}",
    }
    for subject, channel in said.items():
        assert channel in CHANNELS
        assert covers(as_pattern(channel), subject)
        assert consumers_of(channel) or channel.startswith("notification")
    assert stream_of(dead_subject("ledger-hold-requested")) == "DEAD"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a.*.c", "a.b.*", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("a.*", "a.b.c", False),
        ("a.b", "a.c", False),
        ("*.b", "a.>", True),
    ],
)
def test_patterns_overlap_as_on_the_server(first: str, second: str, expected: bool) -> None:
    assert overlap(first, second) is expected
    assert overlap(second, first) is expected
