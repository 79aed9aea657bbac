"""What is paid for a film that is as long as what is said in it: known when it is accepted, by script or by sound."""

from typing import Any
from uuid import uuid4

import pytest

from contracts.facts import Input, Kind
from contracts.money import PriceList, cost
from contracts.questions import CatalogModel
from gateway.orders import Order, fit, playing_seconds
from gateway.refusals import Invalid

AVATAR = CatalogModel(
    id="darkroom-avatar",
    kind=Kind.VIDEO,
    provider="darkroom",
    sizes=("1080x1920", "1080x1080"),
    default_size="1080x1920",
    seconds=(300,),
    inputs=("image", "audio"),
    needs=("image",),
    follows_speech=True,
)
STILL = Input(role="image", asset_id=uuid4(), mime_type="image/png")


def sound(seconds: float | None) -> Input:
    return Input(role="audio", asset_id=uuid4(), mime_type="audio/mpeg", seconds=seconds)


def order(*inputs: Input, prompt: str = "Hello.", **others: Any) -> Order:
    return Order(dialect="native", route="/", kind=Kind.VIDEO, prompt=prompt, inputs=inputs, **others)


@pytest.mark.parametrize(
    ("prompt", "seconds"), [("a", 1), ("a" * 14, 1), ("a" * 15, 2), ("a" * 1400, 100), ("灯" * 14, 3), ("ﾀ" * 14, 1)]
)
def test_a_script_is_paid_by_how_long_it_takes_to_say(prompt: str, seconds: int) -> None:
    fitted = fit(order(STILL, prompt=prompt), AVATAR)
    assert playing_seconds(fitted, AVATAR) == seconds
    assert fitted.seconds is None, "what is said is never cut off"


def test_a_sound_is_paid_by_its_length_and_its_script_by_nothing() -> None:
    assert playing_seconds(fit(order(STILL, sound(12.2), prompt="a" * 1000), AVATAR), AVATAR) == 13
    assert playing_seconds(fit(order(STILL, sound(0.01)), AVATAR), AVATAR) == 1


def test_a_sound_from_elsewhere_is_paid_by_what_is_asked_for_and_cut_there() -> None:
    elsewhere = Input(role="audio", url="https://sounds.example/a.mp3")
    with pytest.raises(Invalid) as refused:
        playing_seconds(fit(order(STILL, elsewhere), AVATAR), AVATAR)
    assert refused.value.details["errors"][0]["field"] == "seconds"  # type: ignore[index]
    fitted = fit(order(STILL, elsewhere, seconds=20), AVATAR)
    assert (playing_seconds(fitted, AVATAR), fitted.seconds) == (20, 20)


@pytest.mark.parametrize("inputs", [(), (sound(3),)])
def test_without_a_picture_nothing_is_accepted(inputs: tuple[Input, ...]) -> None:
    with pytest.raises(Invalid, match="needs 'image'"):
        fit(order(*inputs), AVATAR)


@pytest.mark.parametrize("role", ["image", "first_frame"])
def test_a_film_begins_with_its_picture_by_either_name(role: Any) -> None:
    model = AVATAR.model_copy(update={"inputs": ("image", "first_frame"), "needs": ("first_frame",)})
    start = Input(role=role, asset_id=uuid4(), mime_type="image/png")
    assert fit(order(start), model).inputs == (start,)
    with pytest.raises(Invalid, match="needs 'first_frame'"):
        fit(order(), model)


@pytest.mark.parametrize(
    ("asked", "field"),
    [(order(STILL, prompt="灯" * 2000), "prompt"), (order(STILL, sound(300.5)), "inputs")],
    ids=["script", "sound"],
)
def test_what_would_be_too_long_is_refused(asked: Order, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        playing_seconds(fit(asked, AVATAR), AVATAR)
    assert refused.value.details["errors"][0]["field"] == field  # type: ignore[index]


def test_the_quote_is_for_all_steps_and_nothing_is_paid_without_the_film() -> None:
    prices = PriceList.model_validate({"version": 1, "prices": {AVATAR.id: 2000}, "table": [SECOND]})
    quote = prices.quote(AVATAR.id, 1, seconds=playing_seconds(order(STILL, sound(12.2)), AVATAR))
    assert quote is not None and quote.amount == 26_000
    assert (cost(quote, 0), cost(quote, 1)) == (0, 26_000)


SECOND = {"model": AVATAR.id, "amount": 2000, "per": "second"}
