"""What should not be asked for any more, and how answers say so: `Deprecation` (RFC 9745), `Sunset` (RFC 8594), `Link`.

The name of a model that its provider retired goes on being served (ADR 20), so that it has no sunset. An operation of
`OPERATIONS` says the same in its answers and is `deprecated` in the OpenAPI document.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime


@dataclass(frozen=True, slots=True)
class Deprecation:
    since: datetime
    about: str
    """Where it is explained, at our own address."""
    sunset: datetime | None = None
    """From when it may be gone."""

    @property
    def headers(self) -> dict[str, str]:
        said = {
            "Deprecation": f"@{int(self.since.timestamp())}",
            "Link": f'<{self.about}>; rel="deprecation"',
        }
        return said | ({"Sunset": format_datetime(self.sunset, usegmt=True)} if self.sunset else {})


RETIRED_NAME = Deprecation(since=datetime(2026, 11, 21, tzinfo=UTC), about="/v1/models")
"""Of every model in the state `legacy`: since this API's first version. `/v1/models` names the successors."""
OPERATIONS: dict[tuple[str, str], Deprecation] = {}
"""By method and path. The page that explains one is `/docs`."""


def of_operation(methods: Iterable[str] | None, path: str) -> Deprecation | None:
    return next((OPERATIONS[method, path] for method in methods or () if (method, path) in OPERATIONS), None)
