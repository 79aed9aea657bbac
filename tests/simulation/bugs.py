"""Bugs that the simulation must notice: some in its own steps, by name, some in the services' decisions themselves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from contracts.facts import Ending, Verdict
from generator import attempts
from ledger.domain import holds
from tests.simulation import accepting, storing


@dataclass(frozen=True, slots=True)
class Bug:
    """What is wrong; `promise` is how a contradiction that shows it begins."""

    name: str
    promise: str
    seed: int
    """One that notices; where the steps have changed since, others are tried."""
    patch: Callable[[pytest.MonkeyPatch], None] | None = None
    """Changes a decision; None where the steps know the bug by its name."""


def failed_generations_are_charged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(holds, "due", lambda quote, outcome: quote.amount)


def a_quote_is_no_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(holds, "cost", lambda quote, delivered, *_: quote.unit_price * (delivered + 1))


def one_balance_pays_a_whole_batch(patch: pytest.MonkeyPatch) -> None:
    decide = holds.decide_openings

    def each_alone(requests: Any, known: Any, available: Any) -> Any:
        openings = decide([], known, available)
        for request in requests:
            alone = decide([request], known, available)
            for name in ("opened", "declined", "repeated", "ended"):
                getattr(openings, name).extend(getattr(alone, name))
        return openings

    patch.setattr(holds, "decide_openings", each_alone)


def what_is_unknown_is_tried_again(patch: pytest.MonkeyPatch) -> None:
    may = attempts._may_try_again
    patch.setattr(
        attempts,
        "_may_try_again",
        lambda history, *others: history[-1].state is attempts.State.UNKNOWN or may(history, *others),
    )


def a_deadline_ends_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accepting, "next_step", lambda due, drives: "drive")


def completed_without_anything(patch: pytest.MonkeyPatch) -> None:
    def ending(rendering: Any, delivered: Any, failures: Any) -> Ending:
        return Ending(
            generation_id=rendering.request.generation_id,
            verdict=Verdict.COMPLETED,
            assets=delivered,
            provider=rendering.provider,
        )

    patch.setattr(storing, "_ending", ending)


BUGS = (
    Bug("an_exception_ends_the_message", "P2", 53),
    Bug("acknowledged_before_it_is_committed", "P2", 1),
    Bug("a_request_driven_again_holds_again", "P", 0),
    Bug("balances_are_read_and_then_written", "P7", 26),
    Bug("the_sdk_tries_again_by_itself", "P11", 25),
    Bug("outcomes_are_synced_every_two_minutes", "P", 10),
    Bug("no_fence_is_compared", "P16", 0),
    Bug("a_process_that_was_stopped_calls_all_the_same", "P11", 1739),
    Bug("the_sweeper_reads_on_from_the_last_id", "P1", 1),
    Bug("a_hold_expires_without_asking_the_log", "P5", 2),
    Bug("a_capture_is_posted_twice", "P", 0),
    Bug("failed_generations_are_charged", "P4 P5", 0, failed_generations_are_charged),
    Bug("a_quote_is_no_limit", "P", 1, a_quote_is_no_limit),
    Bug("one_balance_pays_a_whole_batch", "P7", 51, one_balance_pays_a_whole_batch),
    Bug("what_is_unknown_is_tried_again", "P11", 143, what_is_unknown_is_tried_again),
    Bug("a_deadline_ends_nothing", "P1", 22, a_deadline_ends_nothing),
    Bug("completed_without_anything", "P17", 214, completed_without_anything),
)
