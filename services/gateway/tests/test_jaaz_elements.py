"""Two writers' versions of a canvas become one: whatever order they come in, nothing newer is lost."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.jaaz.elements import Element, is_older, merged, named, visible

ELEMENTS = st.builds(
    lambda name, version, nonce: {"id": name, "version": version, "versionNonce": nonce},
    st.sampled_from("abcdef"),
    st.integers(0, 4),
    st.integers(0, 3),
)
DRAWING = st.lists(ELEMENTS, max_size=8, unique_by=lambda element: element["id"])


def by_id(elements: list[Element]) -> dict[str, Element]:
    return {element["id"]: element for element in elements}


@given(DRAWING, DRAWING)
def test_nothing_is_lost_and_nothing_becomes_older(kept: list[Element], incoming: list[Element]) -> None:
    result = by_id(merged(kept, incoming))
    assert set(result) == {element["id"] for element in [*kept, *incoming]}
    for element in [*kept, *incoming]:
        assert not is_older(result[element["id"]], element)


@given(DRAWING, DRAWING)
def test_the_order_of_two_writers_does_not_matter(one: list[Element], other: list[Element]) -> None:
    assert by_id(merged(merged([], one), other)) == by_id(merged(merged([], other), one))


@given(DRAWING, DRAWING)
def test_the_same_again_changes_nothing(kept: list[Element], incoming: list[Element]) -> None:
    once = merged(kept, incoming)
    assert merged(once, incoming) == once


def test_an_older_version_brings_back_nothing_that_was_deleted() -> None:
    deleted = merged([{"id": "a", "version": 2}], [{"id": "a", "version": 3, "isDeleted": True}])
    assert visible(merged(deleted, [{"id": "a", "version": 2}])) == []


def test_an_element_without_an_id_keeps_the_one_that_it_is_given() -> None:
    [element] = named([{"type": "arrow"}])
    assert named([{"type": "arrow"}]) == named([element]) == [element]
    assert named([{"type": "arrow", "id": 5}])[0]["id"] != element["id"]
