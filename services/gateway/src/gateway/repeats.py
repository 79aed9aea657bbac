"""How a generation is made again: as it was asked for, with what its dialect keeps beside it."""

from collections.abc import Awaitable, Callable

from gateway.identity import Caller
from gateway.orders import Order, again
from gateway.records import Generation

Repeat = Callable[[Caller, Generation, Order], Awaitable[Order]]


class Repeats:
    """What dialects have to say of it."""

    def __init__(self) -> None:
        self.of_dialect: dict[str, Repeat] = {}
        """How a dialect completes the order that makes one of its generations again; with its Refusal none is made."""

    async def order(self, caller: Caller, generation: Generation, key: str | None, traceparent: str | None) -> Order:
        """The order that makes a caller's generation again. Raises Refusal: its dialect does not."""
        order = again(generation, key, traceparent)
        repeat = self.of_dialect.get(generation.dialect)
        return order if repeat is None else await repeat(caller, generation, order)
