"""How a receiver is told: what the message says, and how it is signed. Each API has its own way."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from gateway.records import Generation
from gateway.webhooks.signing import signatures, signed_content
from runtime.database import Row

STANDARD = "standard"
Render = Callable[[Generation], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Style:
    """One way. `row` is a claimed delivery with what is known of its webhook."""

    body: Callable[[Row, Generation | None], dict[str, Any]]
    """The same each time that it is asked: the generation has ended. None: the event is of no generation."""
    headers: Callable[[SecretStr, Row, int, bytes], dict[str, str]]
    """Signs a body for a moment, in seconds since 1970."""


def standard(render: Render) -> Style:
    """Standard Webhooks 1.0."""

    def body(row: Row, generation: Generation | None) -> dict[str, Any]:
        ended_at = generation.completed_at if generation is not None else None
        return {
            "type": row.event,
            "timestamp": (ended_at or row.created_at).isoformat(),
            "data": render(generation) if generation is not None else {"webhook_id": str(row.webhook_id)},
        }

    def headers(key: SecretStr, row: Row, sent_at: int, content: bytes) -> dict[str, str]:
        versions = [row.secret_version, row.secret_version - 1] if row.has_previous else [row.secret_version]
        return standard_headers(
            row, sent_at, signatures(key, row.webhook_id, versions, signed_content(row.id, sent_at, content))
        )

    return Style(body, headers)


def standard_headers(row: Row, sent_at: int, signed: str) -> dict[str, str]:
    return {
        "webhook-id": f"msg_{row.id.hex}",
        "webhook-timestamp": str(sent_at),
        "webhook-signature": signed,
    }


def encoded(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()
