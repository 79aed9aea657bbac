"""Identifiers: sortable by time, or the same for the same key."""

import time
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.facts import Ending, Outcome, Verdict
from contracts.ids import asset_id, event_id, keyed_generation_id, new_generation_id, user_of
from contracts.media import address, signature, signed
from contracts.topology import generation_of, outcome_subject, verdict_subject


def test_a_generation_id_is_a_uuid_of_version_seven() -> None:
    made = [new_generation_id() for _ in range(1000)]
    assert all(identifier.version == 7 and identifier.variant == "specified in RFC 4122" for identifier in made)
    assert len(set(made)) == 1000
    milliseconds = [identifier.int >> 80 for identifier in made]
    assert milliseconds == sorted(milliseconds)


@given(st.uuids(), st.text(), st.text(), st.integers(min_value=0))
def test_a_key_always_names_the_same_generation(user: UUID, route: str, key: str, item: int) -> None:
    assert keyed_generation_id(user, route, key, item) == keyed_generation_id(user, route, key, item)
    assert keyed_generation_id(user, route, key, item) != keyed_generation_id(uuid4(), route, key, item)
    assert keyed_generation_id(user, route, key, item) != keyed_generation_id(user, route, key, item + 1)


def test_who_says_the_same_again_says_it_under_the_same_id() -> None:
    """Design §3.4: a publisher knows its own outcome again."""
    ending = Ending(generation_id=uuid4(), verdict=Verdict.COMPLETED)
    assert Outcome.of(ending, "storage", None).id == Outcome.of(ending, "storage", None).id
    assert Outcome.of(ending, "storage", None).id != Outcome.of(ending, "gateway", None).id
    other = ending.model_copy(update={"verdict": Verdict.FAILED})
    assert Outcome.of(ending, "storage", None).id != Outcome.of(other, "storage", None).id


def test_an_output_becomes_the_same_asset_however_often_it_is_stored() -> None:
    generation = uuid4()
    assert asset_id(generation, 0) == asset_id(generation, 0)
    assert asset_id(generation, 0) != asset_id(generation, 1)
    assert event_id("outcome", "storage", generation) != asset_id(generation, 0)


def test_a_user_is_issuer_and_subject() -> None:
    named = uuid4()
    assert user_of("anybody", str(named)) == named
    assert user_of("one", "mary") == user_of("one", "mary")
    assert user_of("one", "mary") != user_of("two", "mary")


def test_nothing_that_can_vary_stands_in_the_subject_of_an_outcome() -> None:
    """Design §3.4."""
    generation = uuid4()
    assert outcome_subject(generation) == f"generation.outcome.{generation}"
    assert verdict_subject(generation) == f"verdict.{generation}"


def test_the_id_of_an_unreadable_fact_comes_from_its_subject() -> None:
    generation = uuid4()
    assert generation_of(f"generation.requested.image.batch.{generation}") == generation


def test_a_signed_address_is_ours_and_dies() -> None:
    url = address("https://media.example", "token/original.png", "key", 60)
    path, _, query = url.removeprefix("https://media.example").partition("?")
    given_values = dict(pair.split("=") for pair in query.split("&"))
    expires, proof = int(given_values["expires"]), given_values["signature"]
    assert signed(path, expires, proof, "key")
    assert not signed(path, expires + 1, proof, "key")
    assert not signed(path, expires, proof, "other")
    assert not signed("/media/token/medium.webp", expires, proof, "key")
    assert not signed(path, 1, signature(path, 1, "key"), "key")


@pytest.mark.parametrize(("lifetime", "step"), [(60, 1), (3600, 900), (9, 5)])
def test_an_address_never_lives_longer_than_it_may(lifetime: int, step: int) -> None:
    url = address("https://x", "token/original.png", "key", lifetime, step_seconds=step)
    expires = int(url.partition("expires=")[2].partition("&")[0])
    assert expires % step == 0
    assert lifetime - step - 1 <= expires - time.time() <= lifetime


def test_a_permanent_address_has_no_query() -> None:
    assert address("https://x", "token/original.png") == "https://x/media/token/original.png"
