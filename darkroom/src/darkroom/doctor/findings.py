"""What is looked at, and what is said about it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    about: str
    found: str
    do: str
    """What to do, as an imperative."""


@dataclass(slots=True)
class Part:
    """What was looked at in one place. `skipped` says why it was not."""

    name: str
    looked_at: int = 0
    findings: list[Finding] = field(default_factory=list)
    skipped: str | None = None

    def check(self, fine: bool, about: str, found: str, do: str) -> None:
        """Counts one look; a finding where it is not fine."""
        self.looked_at += 1
        if not fine:
            self.findings.append(Finding(about, found, do))


@dataclass(slots=True)
class Examination:
    """All of it."""

    parts: list[Part] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        return [finding for part in self.parts for finding in part.findings]

    def as_json(self) -> dict[str, Any]:
        return {"healthy": not self.findings, "parts": [asdict(part) for part in self.parts]}


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where its parts are; None where nobody named them."""

    database_url: str | None = None
    """The administrator's."""
    nats_url: str | None = None
    nats_monitoring_url: str | None = None
    """HTTP, where NATS says how it is configured."""
    gateway_url: str | None = None
    media_url: str | None = None
    storage_environment: Mapping[str, str] | None = None
    secrets: Mapping[str, str] = field(repr=False, default_factory=dict)
    """Name → value of those that this process knows."""
    loopback_only: bool = False
    """A stack of this machine alone, where nobody else can reach anything."""
