"""Price files: amounts as they are written, to the unit, and nothing that somebody may have meant otherwise."""

import io
import sys
from pathlib import Path

import pytest

from contracts.money import Price
from darkroom.price_files import read_prices

JSON = """[
    {"model": "dall-e-3", "credits": 1.5, "size": "1024x1024", "provider_dollars": "0.04"},
    {"model": "claude", "credits": "15", "input_credits": 3, "per": "million_tokens"},
    {"model": "big", "credits": 922337.2036}
]"""
CSV = """model,credits,per,input_credits,size,quality,provider_dollars
dall-e-3,1.5,output,,1024x1024,,0.04
claude,15,million_tokens,3,,,
big,922337.2036,,,,,
"""
PRICES = [
    Price(model="dall-e-3", amount=15_000, size="1024x1024", provider_cost_micros=40_000),
    Price(model="claude", amount=150_000, input_amount=30_000, per="million_tokens"),
    Price(model="big", amount=9_223_372_036),
]


@pytest.mark.parametrize(("name", "text"), [("prices.json", JSON), ("prices.csv", CSV)])
def test_a_file_says_the_same_as_json_and_as_csv(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_prices(tmp_path / name) == PRICES


@pytest.mark.parametrize("text", [JSON, CSV])
def test_prices_may_come_by_standard_input(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A container of the command has no folder of ours."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert read_prices(Path("-")) == PRICES


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{"model": "a", "credits": true}]', "not an amount of credits"),
        ('[{"model": "a", "credits": 0.00001}]', "not an amount of credits"),
        ('[{"model": "a", "credits": 1e18}]', "not an amount of credits"),
        ('[{"model": "a", "credits": NaN}]', "not an amount of credits"),
        ('[{"model": "a", "credits": -1}]', "greater than or equal to 0"),
        ('[{"model": "a", "credits": 1, "currency": "EUR"}]', "has no 'currency'"),
        ('[{"model": "a"}]', "needs 'credits'"),
        ('[{"credits": 1}]', "needs 'model'"),
        ('[{"model": "a", "credits": 1, "provider_dollars": "cheap"}]', "not an amount of dollars"),
        ('[{"model": "a", "credits": 1, "provider_dollars": true}]', "not an amount of dollars"),
        ('{"model": "a", "credits": 1}', "not a list of prices"),
        ("[prices", "Expecting value"),
        ("prices", "not a list of prices"),
    ],
)
def test_b9_what_is_no_price_is_named(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "prices.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=problem):
        read_prices(file)
