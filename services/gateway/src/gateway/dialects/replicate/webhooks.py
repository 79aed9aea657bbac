"""What Replicate tells the address that a prediction named: the prediction, signed with its user's one secret."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from gateway.dialects.replicate import translate
from gateway.dialects.replicate.schemas import Told
from gateway.dialects.surface import Surface
from gateway.identity import Caller
from gateway.orders import Order
from gateway.records import Generation
from gateway.refusals import NotFound
from gateway.repeats import Repeat
from gateway.webhooks.endpoints import EVENTS, STARTED
from gateway.webhooks.signing import signature_of_user, signed_content
from gateway.webhooks.styles import Style, standard_headers
from runtime.database import Row

STYLE = translate.DIALECT
_EVENTS: dict[Told, tuple[str, ...]] = {
    "start": (STARTED,),
    "output": ("generation.completed",),
    "logs": (),
    "completed": EVENTS,
}
"""There is no output before the end, and no log: who asks for output is told once, when there is all of it."""


def events_of(asked: Sequence[Told] | None) -> list[str]:
    """Without a filter: what is new of the output, and the end."""
    return sorted({event for told in (asked or ("output", "completed")) for event in _EVENTS[told]})


def told(surface: Surface, caller: Caller, order: Order, url: str, events: Sequence[str]) -> Order:
    """The order of which an address is told these events. Raises Invalid: it will not be called. NotConfigured."""
    beside = surface.webhooks.beside(caller, url, STYLE, events)
    return replace(order, beside=beside, remarks=order.remarks | {"webhook": [url, [*events]]})


def repeat(surface: Surface) -> Repeat:
    """What is made again is told to the same address."""

    async def again(caller: Caller, _: Generation, order: Order) -> Order:
        webhook = order.remarks.get("webhook")
        return order if webhook is None else told(surface, caller, order, *webhook)

    return again


def style(surface: Surface) -> Style:
    def body(_: Row, generation: Generation | None) -> dict[str, Any]:
        if generation is None:
            raise NotFound("There is no such prediction.")
        return translate.view(surface, generation).model_dump(mode="json")

    return Style(body, _headers)


def _headers(key: SecretStr, row: Row, sent_at: int, content: bytes) -> dict[str, str]:
    return standard_headers(row, sent_at, signature_of_user(key, row.user_id, signed_content(row.id, sent_at, content)))
