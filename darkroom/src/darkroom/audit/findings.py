"""What an audit says."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["wrong", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. `about` names the generation, user, transaction or object."""

    check: str
    about: str
    words: str
    severity: Severity = "wrong"
    """`note`: worth knowing, and as designed."""


@dataclass(slots=True)
class Result:
    """What one check came to. `skipped` says why it could not be made."""

    check: str
    promise: str
    """The number in design.md §3."""
    looked_at: int = 0
    findings: list[Finding] = field(default_factory=list)
    skipped: str | None = None

    @property
    def wrong(self) -> int:
        return sum(finding.severity == "wrong" for finding in self.findings)


@dataclass(slots=True)
class Report:
    """A whole audit."""

    results: list[Result] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.wrong

    @property
    def wrong(self) -> list[Finding]:
        return [finding for result in self.results for finding in result.findings if finding.severity == "wrong"]

    def as_json(self) -> dict[str, Any]:
        return {"clean": self.clean, "checks": [asdict(result) for result in self.results]}


def finder(check: str) -> Callable[..., Finding]:
    """Makes findings of one check: `found(row["generation_id"], "…")`."""

    def found(about: object, words: str, severity: Severity = "wrong") -> Finding:
        return Finding(check, str(about), words, severity)

    return found


Row = Mapping[str, Any]
