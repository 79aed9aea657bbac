"""Calls of tools as providers' streams bring them: in pieces, each of which says to which call it belongs."""

from dataclasses import dataclass

from contracts.talking import Call
from generator.providers import sdk
from generator.providers.interface import Unknown

MAX_CALLS = 16
"""Of one text."""
MAX_ARGUMENT_CHARACTERS = 100_000
"""Of all calls of a text together."""
MAX_NAME_CHARACTERS = 200


@dataclass(slots=True)
class _Heard:
    id: str = ""
    name: str = ""
    arguments: str = ""


class Calls:
    """The calls of one text in the making. Nothing that arrives is believed to have its shape."""

    def __init__(self) -> None:
        self._heard: dict[int, _Heard] = {}
        self._characters = 0

    def hear(self, index: object, call_id: object = None, name: object = None, arguments: object = None) -> None:
        """One piece; what it leaves out was said before. Without an index it belongs to the last call, or to a new one
        where it says a name. Raises Unknown."""
        if index is None:
            index = len(self._heard) if name else len(self._heard) - 1
        if not isinstance(index, int) or (index not in self._heard and len(self._heard) >= MAX_CALLS):
            raise Unknown
        call = self._heard.setdefault(index, _Heard())
        call.id = call.id or _word(call_id)
        call.name = call.name or _word(name)
        if arguments is not None:
            if not isinstance(arguments, str):
                raise Unknown
            self._characters += len(arguments)
            if self._characters > MAX_ARGUMENT_CHARACTERS:
                raise Unknown
            call.arguments += sdk.writable(arguments)

    def whole(self) -> tuple[Call, ...]:
        """All of them, in the provider's order. Raises Unknown where one says neither its name nor its id."""
        heard = [call for _, call in sorted(self._heard.items())]
        if any(not call.id or not call.name for call in heard):
            raise Unknown
        return tuple(Call(id=call.id, name=call.name, arguments=call.arguments or "{}") for call in heard)


def _word(said: object) -> str:
    """Raises Unknown."""
    if said is None:
        return ""
    if not isinstance(said, str) or len(said) > MAX_NAME_CHARACTERS:
        raise Unknown
    return sdk.writable(said)
