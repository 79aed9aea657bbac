"""The page of problems lists every refusal that there is, with its status."""

import re
from pathlib import Path

from gateway import refusals
from gateway.refusals import Refusal

PAGE = Path(__file__).parents[3] / "docs/problems.md"


def test_every_refusal_is_documented() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| (\d+) ", PAGE.read_text(), re.MULTILINE))
    known = {
        refusal.code: str(refusal.status)
        for refusal in vars(refusals).values()
        if isinstance(refusal, type) and issubclass(refusal, Refusal) and refusal is not Refusal
    }
    assert listed == known
