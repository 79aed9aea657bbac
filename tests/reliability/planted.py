"""Bugs that are planted in test runs, and who notices: without this, green proves nothing."""

from tests.reliability.entry import Entry

_SEEDS = "simulation/simulation::a_planted_bug_is_found"

PLANTED = (
    Entry("1", "the broker's default: an exception ends the message", "an_exception_ends_the_message", (_SEEDS,)),
    Entry("2", "acknowledged before it is committed", "acknowledged_before_it_is_committed", (_SEEDS,)),
    Entry("3", "no natural key: what is driven again is held again", "a_request_driven_again_holds_again", (_SEEDS,)),
    Entry(
        "4",
        "balances are read and then written",
        "balances_are_read_and_then_written",
        (_SEEDS, "ledger/planted::a_planted_bug_turns_its_check_red"),
    ),
    Entry("5", "the SDK tries again by itself", "the_sdk_tries_again_by_itself", (_SEEDS,)),
    Entry("6", "the log is synced every two minutes", "outcomes_are_synced_every_two_minutes", (_SEEDS,)),
    Entry("7", "no fence is compared", "no_fence_is_compared", (_SEEDS,)),
    Entry(
        "8",
        "redirects are followed",
        "a_redirect_is_followed",
        ("runtime/outbound::planted_a_redirect_that_is_followed_unseen_turns_the_check_red",),
    ),
    Entry("9", "the sweeper reads on from the last id", "the_sweeper_reads_on_from_the_last_id", (_SEEDS,)),
    Entry("10", "a hold expires without asking the log", "a_hold_expires_without_asking_the_log", (_SEEDS,)),
    Entry("11", "a capture is posted twice", "a_capture_is_posted_twice", (_SEEDS,)),
    Entry(
        "12",
        "an owner is missing in a WHERE",
        "an_owner_is_missing",
        ("gateway/identity::planted_an_owner_that_is_missing_in_a_where_turns_the_check_red",),
    ),
    Entry("13", "a failed generation is charged", "failed_generations_are_charged", (_SEEDS,)),
    Entry("14", "a quote is no limit", "a_quote_is_no_limit", (_SEEDS,)),
    Entry("15", "one balance pays for a whole batch", "one_balance_pays_a_whole_batch", (_SEEDS,)),
    Entry("16", "what is unknown is tried again", "what_is_unknown_is_tried_again", (_SEEDS,)),
    Entry("17", "a deadline ends nothing", "a_deadline_ends_nothing", (_SEEDS,)),
    Entry("18", "completed without anything", "completed_without_anything", (_SEEDS,)),
    Entry(
        "19",
        "a process that was stopped makes its call all the same",
        "a_process_that_was_stopped_calls_all_the_same",
        (_SEEDS,),
    ),
)
