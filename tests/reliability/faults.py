"""The fault matrix, F1–F40."""

from tests.reliability.entry import Entry

_KILLED = "chaos/faults::whatever_is_killed_in_mid_job_what_was_accepted_ends"
_SEEDS = "simulation/simulation::p1_to_p9_p11_p16_p17_hold_for_every_seed"

FAULTS = (
    Entry(
        "F1",
        "gateway killed before its commit",
        "the client sees an error; the same key again is one generation",
        (_KILLED, "gateway/idempotency::a_connection_lost_while_recording_records_once"),
    ),
    Entry(
        "F2",
        "gateway killed after its commit, before it answered",
        "the same key again gives the same id",
        ("gateway/idempotency::a_repetition_shows_the_generation_as_it_is_now", _SEEDS),
    ),
    Entry(
        "F3",
        "gateway killed after its commit, before it published",
        "the sweeper publishes; a second requested is harmless",
        (
            "gateway/sweeper::what_does_not_move_is_driven_with_the_same_words",
            "ledger/operations::promise_2_a_request_driven_again_is_funded_again_and_held_once",
            _SEEDS,
        ),
    ),
    Entry(
        "F4",
        "the bus is down for minutes",
        "rows wait, 202 goes on, all are driven when it is back",
        (
            "gateway/bus_down::what_is_accepted_while_the_bus_is_down_is_driven_when_it_is_back",
            "gateway/bus_down::a_cancel_is_agreed_to_at_once_and_carried_out_when_the_bus_is_back",
            "gateway/bus_down::a_gateway_starts_without_a_bus_and_joins_it_later",
        ),
    ),
    Entry(
        "F5",
        "NATS kill -9",
        "consumers go on by themselves and nothing is lost",
        ("runtime/consumption::consumption_goes_on_after_the_broker_was_killed", _KILLED),
    ),
    Entry(
        "F6",
        "NATS stopped for longer than a publish waits",
        "an ambiguous publish has no second effect",
        ("runtime/broker::a_time_out_says_nothing", "chaos/links::a_minute_of_everything_and_nothing_is_lost", _SEEDS),
    ),
    Entry(
        "F7",
        "the broker's disk is wiped",
        "streams come back, the rows drive everything again, nothing is lost",
        (
            "chaos/faults::what_was_accepted_survives_a_wiped_broker",
            "chaos/faults::a_broker_wiped_between_two_readers_of_an_outcome_changes_nothing",
            "gateway/bus_down::a_broker_whose_disk_was_wiped_loses_nothing",
        ),
    ),
    Entry(
        "F8",
        "a durable consumer or a stream is deleted",
        "the watcher repairs within ten seconds, services say not ready until then",
        (
            "darkroom/topology::the_watcher_repairs_within_ten_seconds_and_stays_small",
            "runtime/consumption::a_consumer_that_disappears_is_reported_and_taken_up_again",
            "chaos/links::a_minute_of_everything_and_nothing_is_lost",
        ),
    ),
    Entry(
        "F9",
        "the broker's disk is full",
        "a refused publish raises, the row waits, and it goes on when there is room",
        ("proof/full_disk::f9_a_full_broker_refuses_and_what_it_took_stays",),
    ),
    Entry(
        "F10",
        "the same fact in three processes at once",
        "one claim wins, the others acknowledge without effect",
        ("generator/crash::f10_the_same_fact_in_three_processes_at_once_is_paid_once", _SEEDS),
    ),
    Entry(
        "F11",
        "a fact is delivered too often",
        "it goes to DEAD, and its generation ends by its deadline uncharged",
        (
            "runtime/consumption::a_fact_that_kills_its_process_is_buried_after_five_deliveries",
            "runtime/consumption::a_defect_is_tried_again_later_and_then_buried",
            "chaos/poison::a_fact_that_kills_its_consumer_ends_by_its_deadline",
        ),
    ),
    Entry(
        "F12",
        "a message that cannot be read",
        "it goes to DEAD at once and blocks nobody",
        (
            "runtime/consumption::an_unreadable_fact_goes_to_dead_at_once_and_blocks_nobody",
            "ledger/connected::f12_what_cannot_be_read_goes_to_dead_and_blocks_nobody",
        ),
    ),
    Entry(
        "F13",
        "generator killed before the call left",
        "resumed and called once, or unknown by the model's policy",
        ("generator/crash::f13_and_f14_killed_before_the_call_left_and_after_it_was_accepted", _SEEDS),
    ),
    Entry(
        "F14",
        "generator killed after the provider accepted",
        "found by our reference, else the policy decides; no silent second charge",
        (
            "generator/crash::f13_and_f14_killed_before_the_call_left_and_after_it_was_accepted",
            "generator/tasks::f14_a_lost_answer_is_found_by_our_reference",
            _SEEDS,
        ),
    ),
    Entry(
        "F15",
        "generator killed while it follows a task",
        "another follows the same task; no new call",
        (
            "generator/crash::f13_f14_f15_a_film_survives_a_kill_at_every_arrow",
            "generator/tasks::f15_what_a_stopped_process_followed_is_followed_by_another_at_once",
        ),
    ),
    Entry(
        "F16",
        "two processes own one generation: the first was only stopped",
        "the fence refuses the stale one, and it makes no call any more",
        (
            "generator/crash::f16_a_stale_writer_changes_nothing_and_says_nothing",
            "generator/crash::f16_a_stale_writer_is_refused_also_while_the_other_still_works",
            "generator/crash::f16_a_stale_follower_changes_nothing_and_says_nothing",
            "generator/crash::f16_a_process_that_was_stopped_before_its_call_does_not_make_it_any_more",
            _SEEDS,
        ),
    ),
    Entry(
        "F17",
        "provider says 429 with Retry-After",
        "waited for in the row, no attempt is burnt, others go on",
        (
            "generator/generate::f17_a_long_wait_is_waited_for_in_the_row",
            "generator/generate::f17_a_short_wait_is_waited_for_in_place",
        ),
    ),
    Entry(
        "F18",
        "provider fails or times out on submission",
        "500 is tried three times at most; a lost answer is unknown and never blindly repeated",
        (
            "generator/generate::f18_a_definite_failure_is_tried_three_times_and_no_more",
            "generator/generate::f18_a_lost_answer_is_paid_again_only_where_the_model_says_so",
        ),
    ),
    Entry(
        "F19",
        "provider accepts the connection and says nothing",
        "left before the deadline; the breaker opens",
        (
            "generator/generate::f19_a_silent_provider_is_left_before_the_deadline",
            "generator/breakers::what_fails_in_a_row_is_left_alone_and_the_work_waits_in_its_row",
        ),
    ),
    Entry(
        "F20",
        "the result's address is 404 or expired",
        "asked anew once, else failed and uncharged",
        (
            "storage/downloads::f20_an_expired_address_is_asked_anew_once",
            "storage/downloads::f20_a_fresh_address_that_has_expired_as_well_is_the_end",
            "generator/tasks::f20_where_a_film_is_by_now_is_asked_of_its_provider_free_of_charge",
        ),
    ),
    Entry(
        "F21",
        "the provider returns HTML, nothing or five gigabytes as a picture",
        "refused, capped and uncharged",
        (
            "storage/hostile::content_that_is_no_picture",
            "generator/http::five_gigabytes_are_not_read",
            "storage/ingest::nothing_kept_is_failed_with_the_first_reason",
        ),
    ),
    Entry(
        "F22",
        "a provider's callback is early, repeated, forged or late",
        "a hint at most; what nobody signed is 404",
        (
            "generator/callbacks::what_a_provider_signed_is_heard_and_nothing_else",
            "generator/callbacks::what_a_provider_does_not_sign_is_a_hint_by_its_address_alone",
            "generator/callbacks::an_address_is_good_in_its_own_place_only",
        ),
    ),
    Entry(
        "F23",
        "a download drips",
        "the time for the whole answer ends it",
        ("storage/bad_input::b31_bodies_that_lie", "generator/http::a_drip_ends_with_the_time_of_the_call"),
    ),
    Entry(
        "F24",
        "the object store is away",
        "no verdict: tried again, and charged only once it is stored",
        ("storage/ingest::own_store_away_is_no_verdict",),
    ),
    Entry(
        "F25",
        "storage killed after the object, before the row",
        "put again under the same name; orphans go to the collector",
        (
            "storage/ingest::killed_between_two_steps",
            "storage/service::p17_killed_again_and_again_what_is_stored_has_its_bytes",
            "storage/collector::named_objects_stay_and_orphans_go",
        ),
    ),
    Entry(
        "F26",
        "Postgres kill -9",
        "503 on writes, pools recover by themselves, no half transaction",
        (
            "gateway/database_down::requests_are_503_nothing_is_recorded_and_it_recovers_by_itself",
            "gateway/database_down::a_restart_between_two_requests_is_noticed_by_nobody",
            "generator/crash::f26_a_database_that_comes_back_finds_the_result_still_there",
            _KILLED,
        ),
    ),
    Entry(
        "F27",
        "a commit whose answer is lost",
        "read again by its key: recorded once, captured once",
        (
            "gateway/idempotency::a_connection_lost_while_recording_records_once",
            "ledger/races::p4_a_capture_in_two_processes_at_once_is_one",
            "chaos/links::a_minute_of_everything_and_nothing_is_lost",
        ),
    ),
    Entry(
        "F28",
        "more requests at once than connections to the database",
        "a short wait, then 503 with Retry-After, and no deadlock",
        ("proof/overload::f28_p20_five_times_what_it_can_do_is_shed_in_words",),
    ),
    Entry(
        "F29",
        "batches lock the same rows in opposite orders",
        "nobody waits in a circle",
        (
            "ledger/races::batches_in_opposite_orders_never_wait_for_each_other_in_a_circle",
            "ledger/races::settling_for_the_same_users_in_opposite_orders_never_waits_in_a_circle",
        ),
    ),
    Entry(
        "F30",
        "ledger down when a generation completes",
        "the outcome waits for it, the hold is captured later, once",
        (_KILLED, "ledger/connected::promise_9_a_balance_counts_an_outcome_that_is_in_the_log_already"),
    ),
    Entry(
        "F31",
        "a hold ends in two ways at the same moment",
        "exactly one wins",
        (
            "ledger/operations::f31_opening_and_closing_raced_200_times_never_leave_an_open_hold",
            "ledger/races::promise_6_a_hold_that_ends_in_two_ways_at_once_ends_in_one",
            _SEEDS,
        ),
    ),
    Entry(
        "F32",
        "a payment's event is lost, or comes after its refund",
        "asked for and credited; nets to zero",
        (
            "ledger/taken_back::f32_a_refund_before_the_success_is_taken_when_that_comes",
            "ledger/payment_pull::p10_what_no_webhook_brought_is_healed_by_a_round",
        ),
    ),
    Entry(
        "F33",
        "a customer's endpoint says 500, redirects, hangs, answers without end or leads inside",
        "tried again; no redirect; the body is capped; an inner address is not called",
        (
            "gateway/webhooks::anything_but_2xx_is_a_failure",
            "gateway/webhooks::an_answer_without_end_is_not_read",
            "gateway/webhooks::a_slow_receiver_delays_nobody_else",
            "gateway/webhooks::a_name_that_leads_inside_is_not_called",
        ),
    ),
    Entry(
        "F34",
        "the sender of webhooks dies in mid delivery",
        "delivered again under the same id",
        ("gateway/webhooks::it_is_tried_for_a_day_under_one_id_and_then_parked",),
        but="the kill itself is part of the chaos run, where nobody has a webhook",
    ),
    Entry(
        "F35",
        "a node with open event streams dies",
        "the client connects elsewhere and hears what it missed",
        (
            "gateway/events::whoever_connects_again_sees_it_all",
            "gateway/sockets::what_was_missed_is_said_again",
            "gateway/sockets::a_socket_on_another_replica_hears_the_same",
        ),
    ),
    Entry(
        "F36",
        "one service's clock is ten minutes off",
        "leases and deadlines go by the database; nothing is lost or paid twice",
        ("proof/clocks::f36_a_service_whose_clock_is_ten_minutes_off_loses_nothing",),
    ),
    Entry(
        "F37",
        "links are slow, reset, swallow everything or stay half open",
        "slower; nothing lost, nothing paid twice",
        ("chaos/links::a_minute_of_everything_and_nothing_is_lost", "chaos/proxy::a_fault_does_what_it_is_called"),
    ),
    Entry(
        "F38",
        "Postgres' disk is full",
        "writes fail clean, what was committed stays, and it goes on when there is room",
        ("proof/full_disk::f38_a_full_database_refuses_and_what_it_committed_stays",),
    ),
    Entry(
        "F39",
        "a worker is killed by a picture",
        "only that result fails",
        ("storage/hostile::p29_the_whole_corpus_within_a_workers_limits",),
    ),
    Entry(
        "F40",
        "SIGTERM in the midst of anything",
        "finished or handed over, nothing twice",
        (
            "generator/crash::f40_a_stopped_process_hands_over_at_once_and_says_what_is_unknown",
            "runtime/consumption::at_shutdown_what_is_begun_finishes_and_the_rest_is_handed_back_at_once",
            "ledger/connected::p22_a_process_that_stopped_answers_nothing_and_the_next_one_goes_on",
        ),
    ),
)
