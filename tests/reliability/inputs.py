"""The bad-input matrix, B1–B48."""

from tests.reliability.entry import Entry

INPUTS = (
    Entry(
        "B1",
        "invalid JSON, a truncated body",
        "400 problem, no stack",
        ("gateway/bad_input::bodies_that_are_no_request",),
    ),
    Entry(
        "B2",
        "wrong types, missing and unknown fields",
        "422 that names them; unknown ones are ignored by a dialect alone",
        (
            "gateway/bad_input::invalid_fields_are_named_and_nothing_changes",
            "gateway/bad_input::what_is_missing_is_named",
            "gateway/bad_input::extra_fields_are_ignored_by_a_dialect",
        ),
    ),
    Entry(
        "B3",
        "a body over the limit, also without a length",
        "413 while it comes",
        (
            "gateway/bad_input::a_body_without_a_length_is_cut_off_at_the_limit",
            "gateway/uploads::b3_a_file_that_is_too_large_is_refused_while_it_comes",
        ),
    ),
    Entry(
        "B4",
        "JSON nested ten thousand deep, a megabyte of digits, NaN, 1e999",
        "400 or 422 in an instant",
        ("gateway/bad_input::bodies_that_are_no_request",),
    ),
    Entry(
        "B5", "a field given twice", "the last counts", ("gateway/bad_input::of_a_field_given_twice_the_last_counts",)
    ),
    Entry(
        "B6",
        "a prompt that is empty, blank or endless",
        "422",
        ("gateway/bad_input::invalid_fields_are_named_and_nothing_changes",),
    ),
    Entry(
        "B7",
        "NUL, half a surrogate pair, emoji",
        "422 for the first two; the rest byte for byte",
        ("gateway/bad_input::invalid_fields_are_named_and_nothing_changes",),
    ),
    Entry(
        "B8",
        "SQL, templates, line breaks for logs and headers",
        "text and nothing more",
        (
            "gateway/bad_input::options_come_through_as_they_are",
            "storage/handover::a_download_is_kept_as_a_file_with_a_safe_name",
        ),
    ),
    Entry(
        "B9",
        "amounts of 0, -1, 0.1 + 0.2, 1e18, a string, true",
        "422; exact integers alone",
        (
            "ledger/bad_amounts::b9_none_of_them_moves_anything_and_the_next_question_is_answered",
            "gateway/credits::b9_an_amount_that_is_none_is_422_and_names_the_field",
        ),
    ),
    Entry(
        "B10",
        "a count, size or length beyond the model's",
        "422 before anything is held",
        ("gateway/bad_input::invalid_fields_are_named_and_nothing_changes",),
    ),
    Entry("B11", "an unknown or switched-off model", "404 or 422", ("gateway/bad_input::models_that_are_not_offered",)),
    Entry("B12", "an Idempotency-Key of any form", "400 for what is none", ("gateway/bad_input::keys_of_every_form",)),
    Entry(
        "B13",
        "the same key with another body",
        "422 idempotency_mismatch",
        ("gateway/idempotency::another_body_under_the_same_key_is_refused",),
    ),
    Entry(
        "B14",
        "the same key of another user",
        "independent",
        ("gateway/idempotency::the_same_key_of_another_user_is_another_key",),
    ),
    Entry(
        "B15",
        "the same key while it is at work",
        "the same id; who waits joins the wait",
        (
            "gateway/idempotency::a_hundred_equal_requests_at_once_are_one_generation",
            "gateway/idempotency::a_held_open_request_that_is_repeated_joins_the_wait",
        ),
    ),
    Entry(
        "B16",
        "not enough credits",
        "402 and nothing recorded",
        ("gateway/affordable::too_few_credits_are_402_and_nothing_is_recorded",),
    ),
    Entry(
        "B17",
        "no token, garbage, an expired one, two headers",
        "401 in one shape",
        (
            "gateway/identity::what_is_not_to_be_believed_is_refused_and_nothing_changes",
            "gateway/identity::two_authorization_headers_are_one_too_many",
        ),
    ),
    Entry(
        "B18",
        "every trick with a JWT's header",
        "401, and no address of a header is fetched",
        (
            "gateway/tokens::no_trick_with_a_header_helps",
            "gateway/tokens::no_key_speaks_for_another_issuer",
            "gateway/issuer_keys::a_public_key_is_no_secret",
        ),
    ),
    Entry(
        "B19",
        "a signed request with another byte, time, path or a used nonce",
        "401",
        ("gateway/instaveo_signing::what_is_not_signed_as_sent_is_refused_and_does_nothing",),
    ),
    Entry(
        "B20",
        "somebody else's ids, guessed ids",
        "404",
        ("gateway/identity::every_route_with_an_id_is_404_for_others",),
    ),
    Entry(
        "B21",
        "a user, price or status in the body",
        "422 or ignored; never believed",
        (
            "gateway/bad_input::extra_fields_are_ignored_by_a_dialect",
            "gateway/bad_input::invalid_fields_are_named_and_nothing_changes",
        ),
    ),
    Entry(
        "B22",
        "paths with .., %00, doubled slashes",
        "404 or 400",
        ("gateway/bad_input::paths_and_methods_that_are_not_ours",),
    ),
    Entry(
        "B23",
        "five thousand parameters, a thousand parts, headers of megabytes",
        "ignored, 400, 413 or 431",
        ("gateway/bad_input::five_thousand_parameters_are_nothing", "gateway/uploads::b23_forms_that_are_none"),
    ),
    Entry(
        "B24",
        "a Range header of ten thousand ranges",
        "one range or none",
        ("storage/media::ranges_are_read_strictly",),
    ),
    Entry(
        "B25",
        "TRACE, CONNECT, an overridden method, bytes that are not HTTP",
        "405 or 400",
        ("gateway/bad_input::a_method_cannot_be_overridden", "gateway/bad_input::requests_that_are_not_http"),
    ),
    Entry(
        "B26", "a body of another content type", "415", ("gateway/bad_input::a_body_of_another_type_is_not_guessed_at",)
    ),
    Entry(
        "B27",
        "private addresses in every spelling",
        "refused without a connection",
        (
            "storage/bad_input::b27_private_addresses_in_every_spelling",
            "runtime/outbound::no_notation_of_a_private_address_is_reached",
        ),
    ),
    Entry(
        "B28",
        "other schemes, users, ports",
        "refused",
        ("storage/bad_input::b28_other_schemes_names_and_ports", "runtime/outbound::only_https_without_credentials"),
    ),
    Entry(
        "B29",
        "redirects that lead home, in circles or away from TLS",
        "each hop is looked at, three at most",
        (
            "storage/bad_input::b29_redirects_that_lead_home_or_nowhere",
            "runtime/outbound::a_redirect_to_something_of_ours_is_refused",
            "runtime/outbound::at_most_three_redirects",
        ),
    ),
    Entry(
        "B30",
        "a name that resolves inside, or elsewhere the second time",
        "resolved once and pinned; one private answer refuses",
        (
            "runtime/outbound::a_name_is_resolved_once_and_pinned",
            "storage/bad_input::b30_a_name_of_which_one_address_is_private",
        ),
    ),
    Entry(
        "B31",
        "bodies without end, bombs, drips, false lengths",
        "bytes and seconds are bounded",
        ("storage/bad_input::b31_bodies_that_lie",),
    ),
    Entry(
        "B32",
        "a picture that is something else",
        "415, or a failed result",
        ("storage/bad_input::b32_a_picture_that_is_something_else",),
    ),
    Entry("B33", "polyglots", "made anew, the tail is dropped", ("storage/bad_input::b33_polyglots",)),
    Entry("B34", "SVG, XML with entities", "refused", ("storage/bad_input::b34_svg_and_xml",)),
    Entry(
        "B35",
        "pictures of billions of pixels or frames",
        "refused by the header",
        ("storage/bad_input::b35_bombs_are_refused_by_their_header",),
    ),
    Entry(
        "B36",
        "broken and unusual pictures",
        "422 or normalised, never 500",
        ("storage/bad_input::b36_broken_and_unusual_pictures",),
    ),
    Entry(
        "B37",
        "metadata with places and scripts",
        "left out; orientation applied",
        (
            "storage/exact::b37_orientation_is_applied",
            "storage/exact::b37_metadata_and_b33_tails_are_left_out_and_not_one_pixel_changes",
        ),
    ),
    Entry(
        "B38",
        "malware, more than the scanner looks at, a scanner that is away",
        "refused, each",
        (
            "storage/uploads::b38_eicar_is_refused",
            "storage/uploads::b38_more_than_clamd_looks_at_is_refused",
            "storage/uploads::b38_a_clamd_that_is_down_or_silent_takes_nothing",
        ),
    ),
    Entry(
        "B39",
        "playlists, ten hours, a thousand streams",
        "refused; nothing that is named is opened",
        (
            "storage/recordings::hostile_recordings_are_refused_in_plain_words",
            "storage/recordings::p28_nothing_that_a_recording_names_is_opened",
        ),
    ),
    Entry(
        "B40",
        "hostile file names",
        "nobody's business: names are ours",
        ("gateway/uploads::b40_what_a_file_is_called_is_nobodys_business",),
    ),
    Entry(
        "B41",
        "an upload form used for something else",
        "refused by the bucket or when it is finalized",
        (
            "storage/uploads::b41_another_size_name_type_or_policy_is_refused_by_the_bucket",
            "storage/uploads::b41_an_offer_ends",
        ),
    ),
    Entry(
        "B42",
        "a webhook to an address inside",
        "refused when it is registered and when it is called",
        (
            "gateway/webhooks::an_address_that_must_not_be_called_is_refused",
            "gateway/webhooks::a_name_that_leads_inside_is_not_called",
        ),
    ),
    Entry(
        "B43",
        "a Stripe event that is forged, old, unknown or contradicts our row",
        "400 or ignored, never credited",
        (
            "ledger/payment_events::a_signature_is_of_now_five_minutes_both_ways",
            "ledger/payment_events::a_body_that_was_changed_after_it_was_signed_is_refused",
            "ledger/payment_events::what_contradicts_our_row_is_never_credited",
        ),
    ),
    Entry(
        "B44",
        "a provider's callback for an unknown attempt or with a wrong signature",
        "404, and nothing changes",
        (
            "generator/callbacks::what_a_provider_signed_is_heard_and_nothing_else",
            "generator/callbacks::an_address_is_good_in_its_own_place_only",
        ),
    ),
    Entry(
        "B45",
        "sockets without a token, in another's room, with huge frames, by the hundred; a garbled Last-Event-ID",
        "refused, closed, or read anew",
        (
            "gateway/sockets::nobody_is_let_in_without_a_good_one",
            "gateway/sockets::a_room_belongs_to_one_user",
            "gateway/sockets::a_frame_that_is_too_large_closes_its_socket_alone",
            "gateway/sockets::a_user_does_not_take_all_sockets",
        ),
    ),
    Entry(
        "B46",
        "pages of -1 or 10⁹, a cursor that was changed",
        "422 or 400",
        ("gateway/bad_input::pages_that_cannot_be", "gateway/bad_input::a_cursor_that_was_tampered_with"),
    ),
    Entry(
        "B47",
        "the wrong service on the bus, an unreadable fact, two megabytes",
        "refused, or dead and buried",
        (
            "darkroom/permissions::what_only_another_service_needs_is_refused",
            "runtime/consumption::an_unreadable_fact_goes_to_dead_at_once_and_blocks_nobody",
        ),
    ),
    Entry(
        "B48",
        "cancelling twice, too late, or somebody else's",
        "the same again, 409, 404",
        (
            "gateway/cancel::cancelling_twice_is_the_same_as_once",
            "gateway/cancel::what_has_ended_otherwise_is_409",
            "gateway/cancel::what_is_not_ones_own_is_404",
        ),
    ),
)
