"""What follows from the attempts: split, tried again, waited for, given up. Pure."""

import random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from contracts.facts import Failure, Output
from generator.attempts import (
    DEADLINE,
    INTERRUPTED,
    MAX_TRIES,
    UNHEARD,
    State,
    attempt_id,
    first_attempts,
    pause_after,
    provider_seconds,
    standing,
)
from generator.conclusions import said_again
from generator.providers.interface import Invalid, Rejected, Task, Throttled, Unavailable, Unknown, Unreadable

from .stage import ask

GENERATION = UUID(int=7)
PROCESS = UUID(int=1)
ARRIVED = Output(index=0, url="https://provider.example/1")


def history(*refusals):
    """One submission whose attempts ended like this, in order; None is one that is still open."""
    [attempt] = first_attempts(GENERATION, 1, 1, "modelark", PROCESS)
    attempts = []
    for refusal in refusals:
        if refusal is None:
            attempts.append(attempt)
        else:
            state = State.UNKNOWN if refusal is Unknown else State.FAILED
            attempts.append(attempt.ended(state, refusal().failure))
        attempt = attempt.next(GENERATION, PROCESS)
    return attempts


@given(some.integers(1, 50), some.integers(1, 10))
def test_submissions_cover_every_output_once_and_none_is_too_large(count, per_submission):
    attempts = first_attempts(GENERATION, count, per_submission, "openai", PROCESS)
    assert [index for attempt in attempts for index in attempt.indexes] == list(range(count))
    assert all(1 <= attempt.count <= per_submission for attempt in attempts)
    assert len({attempt.id for attempt in attempts}) == len(attempts)


def test_an_attempt_cannot_be_begun_twice_under_two_ids():
    assert attempt_id(GENERATION, 0, 2) == history(Unavailable, None)[1].id != attempt_id(GENERATION, 1, 2)


@pytest.mark.parametrize("refusal", [Rejected, Invalid])
def test_a_refusal_for_good_is_not_tried_again(refusal):
    now = standing(history(refusal), "resubmit_once")
    assert now.again == () and now.outputs[0].failure.code == refusal.code and not now.delivered


@settings(max_examples=40)
@given(some.lists(some.sampled_from([Throttled, Unavailable, Unreadable, Unknown]), max_size=40))
def test_no_more_than_three_tries_and_one_resubmission_in_any_order(refusals):
    """To be sent away as one too many is no try."""
    made = []
    while refusals and (not made or standing(history(*made), "resubmit_once").again):
        made.append(refusals.pop())
    assert sum(refusal is not Throttled for refusal in made) <= MAX_TRIES
    assert sum(refusal is Unknown for refusal in made) <= 2


def test_a_model_whose_policy_is_fail_is_never_paid_again_for_an_unknown_attempt():
    assert standing(history(Unknown), "fail").again == ()
    assert len(standing(history(Unknown), "resubmit_once").again) == 1


def test_what_was_made_once_more_is_not_made_a_third_time_where_the_first_is_known_by_now():
    """Its task came late: who takes over meets it as one, beside the other that nobody knows of."""
    first, second = history(Unknown, Unknown)
    assert standing([first.submitted(Task("t")), second], "resubmit_once").again == ()


def test_without_time_left_nothing_is_tried_again_and_what_arrived_counts():
    late = first_attempts(GENERATION, 2, 1, "modelark", PROCESS)
    now = standing([late[0].rendered((ARRIVED,)), late[1]], "resubmit_once", time_left=False)
    assert now.delivered and now.again == ()
    assert [output.failure for output in now.outputs] == [None, DEADLINE]


def test_what_could_not_be_stopped_is_said_again_as_it_was_said():
    """It stays a task in its row, and what was delivered beside it does not wait for it."""
    first, second = first_attempts(GENERATION, 2, 1, "modelark", PROCESS)
    kept = [first.rendered((ARRIVED,)), second.submitted(Task("t"))]
    outputs = said_again(ask(count=2), kept).outputs
    assert [output.failure for output in outputs] == [None, UNHEARD]


def test_an_interrupted_attempt_says_so():
    [attempt] = history(None)
    now = standing([attempt.ended(State.UNKNOWN, INTERRUPTED)], "fail")
    assert now.outputs[0].failure == INTERRUPTED


def test_a_submission_of_which_nothing_arrived_failed_as_its_first_output_did():
    [attempt] = history(None)
    failed = attempt.rendered((Output(index=0, failure=Failure(code="content_policy", message="no")),))
    assert (failed.state, failed.failure.code, failed.outputs) == (State.FAILED, "content_policy", ())


@given(some.floats(0, 1e9), some.integers(1, 1000), some.integers())
def test_what_the_provider_asks_for_is_obeyed_up_to_a_minute(seconds, number, seed):
    """Where it asks for less than it would be given anyway, or for none at all, it is given that."""
    pause = pause_after(Throttled(retry_after_seconds=seconds), number, random.Random(seed))
    assert pause == max(min(seconds, 60.0), pause_after(Throttled(), number, random.Random(seed)))


@given(some.sampled_from([(Throttled, 30.0), (Unavailable, 8.0), (Unreadable, 8.0)]), some.integers(1, 1000))
def test_other_pauses_have_full_jitter_and_a_ceiling(which, number):
    refusal, ceiling_seconds = which
    assert 0 <= pause_after(refusal(), number, random.Random()) <= ceiling_seconds


@given(some.floats(1, 1000), some.floats(1, 1000))
def test_a_provider_must_answer_before_the_generation_is_over(model_seconds, remaining_seconds):
    """Always: provider deadline < generation deadline."""
    assert 0 < provider_seconds(model_seconds, remaining_seconds) < min(model_seconds, remaining_seconds)
